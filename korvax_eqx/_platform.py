"""The platform that a program is compiled for, and all that differs between them.

A program is traced for one platform at a time, when it is lowered for it: what a
process started with says nothing about that (compiling for a GPU on a machine without
one, `jax.default_device`, `jax.export` for several platforms).
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Platform:
    """What suits a platform.

    **Attributes:**

    - `samples`: of the signals in a piece of a loss. On CPU the spectra of a piece
        should stay in the cache: of 1 to 16 signals of 44100 samples, pieces of 1 and 2
        were fastest, and memory grows with the piece. On accelerators pieces bound the
        memory and nothing else: each makes the host wait.
    - `dense_samples`: the same for frames that overlap six times or more; measured on
        CPU for auraloss's resolutions, a quarter of the time of value and gradient.
    - `signal_samples`: the same where no spectra are made. XLA plans an FFT at every
        call: on CPU one of 8 signals takes hardly longer than one of 2.
    - `transform_samples`: of a transform on its own: of 1, 2, 4 and 8 signals of 44100
        samples, pieces of 4 were fastest on CPU.
    - `in_turn`: whether the transforms of a loss are evaluated one after another, each
        in a conditional: the memory of all is that of the largest one, and spectra stay
        in the cache. A GPU's host waits for every conditional.
    - `in_blocks`: whether long gradients are written in blocks of samples. XLA's code
        for CPU computes, for every sample, its frame and its place in it: in blocks
        that no hop cuts, once a block.
    - `dft`: `"cpu"`: XLA's FFT for sizes of small prime factors, products and pairs for
        others; `"fft"`: XLA's FFT for all; `"products"`: real matrix products.
    """

    samples: int
    dense_samples: int
    signal_samples: int
    transform_samples: int
    in_turn: bool
    in_blocks: bool
    dft: str


PLATFORMS = {
    "cpu": Platform(90_000, 45_000, 360_000, 180_000, True, True, "cpu"),
    # About 70 bytes of temporary memory a sample: 2.3 GB.
    "gpu": Platform(2**25, 2**25, 2**25, 2**25, False, False, "fft"),
    "tpu": Platform(2**24, 2**24, 2**24, 2**24, False, False, "products"),
}
# Where operations run one by one, as they are: nothing is cut, joined or rewritten.
EAGER = Platform(2**62, 2**62, 2**62, 2**62, False, False, "fft")

_target: contextvars.ContextVar[Platform]
_target = contextvars.ContextVar("target", default=EAGER)


def target() -> Platform:
    """Return the platform that is traced for."""
    return _target.get()


@contextlib.contextmanager
def compiling_for(name: str) -> Iterator[None]:
    """Trace for a platform: `"cpu"`, `"gpu"` or `"tpu"`."""
    token = _target.set(PLATFORMS[name])
    try:
        yield
    finally:
        _target.reset(token)
