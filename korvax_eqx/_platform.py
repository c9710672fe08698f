"""The platform that a program is compiled for, and all that differs between them.

A program is traced for one platform at a time, when it is lowered for it: what a
process started with says nothing about that (compiling for a GPU on a machine without
one, `jax.default_device`, `jax.export` for several platforms).
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator

import jax


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
    - `masses`: of spectra whose transport is computed at a time. On CPU the temporary
        buffers near malloc's 32 MB above, from where on page faults double the time.
    - `in_turn`: whether the transforms of a loss are evaluated one after another, each
        in a conditional: the memory of all is that of the largest one, and spectra stay
        in the cache. A GPU's host waits for every conditional.
    - `in_blocks`: whether long gradients are written in blocks of samples. XLA's code
        for CPU computes, for every sample, its frame and its place in it: in blocks
        that no hop cuts, once a block.
    - `scans`: whether cumulative sums are loops. XLA's for CPU goes over the array once
        for every power of two of its length.
    - `joins_mel`: whether a mel matrix is one product. On CPU it is several, of the
        bins that its bands need.
    - `keeps_order`: whether the sign of a difference of logarithms is that of what they
        are of. The logarithms are then read once, and XLA for GPU writes the gradient
        in the loop that adds up the values.
    - `dft`: `"cpu"`: XLA's FFT for sizes of small prime factors, products and pairs for
        others; `"fft"`: XLA's FFT for all; `"products"`: real matrix products.
    """

    samples: int
    dense_samples: int
    signal_samples: int
    transform_samples: int
    masses: int
    in_turn: bool
    in_blocks: bool
    scans: bool
    joins_mel: bool
    keeps_order: bool
    dft: str


def _accelerator(samples: int, dft: str) -> Platform:
    return Platform(
        samples=samples,
        dense_samples=samples,
        signal_samples=samples,
        transform_samples=samples,
        masses=16 * samples,
        in_turn=False,
        in_blocks=False,
        scans=False,
        joins_mel=True,
        keeps_order=True,
        dft=dft,
    )


PLATFORMS = {
    "cpu": Platform(
        samples=90_000,
        dense_samples=45_000,
        signal_samples=360_000,
        transform_samples=180_000,
        masses=200_000,
        in_turn=True,
        in_blocks=True,
        scans=True,
        joins_mel=False,
        keeps_order=False,
        dft="cpu",
    ),
    # About 70 bytes of temporary memory a sample: 2.3 GB.
    "gpu": _accelerator(2**25, "fft"),
    "tpu": _accelerator(2**24, "products"),
}
# Where operations run one by one, as they are: nothing is cut, joined or rewritten.
EAGER = dataclasses.replace(_accelerator(2**62, "fft"), keeps_order=False)

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


@contextlib.contextmanager
def compiling_here() -> Iterator[None]:
    """Trace for the platform that the process computes on, unless one is known.

    For scales and losses of spectra called on their own, which are operations of JAX
    and traced before it is known what they are compiled for.
    """
    name = jax.default_backend()
    if target() is not EAGER or name not in PLATFORMS:
        yield
        return
    with compiling_for(name):
        yield
