"""The platform that a program is compiled for, and everything that depends on it.

A program is traced for one platform at a time, when it is lowered for it. The default
backend of the process need not be that platform: a program may be compiled for a GPU on
a machine without one, under `jax.default_device`, or by `jax.export` for several.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator

import jax


@dataclasses.dataclass(frozen=True)
class Platform:
    """The settings that suit a platform.

    **Attributes:**

    - `samples`: number of samples in a piece of a loss. On CPU the spectra of a piece
        should stay in the cache: for signals of 44100 samples, pieces of 1 and 2
        signals were the fastest of 1 to 16, and memory grows with the piece. On
        accelerators pieces only limit the memory: the host waits for each of them.
    - `dense_samples`: the same for frames that overlap six times or more. On CPU this
        saves a quarter of the time of value and gradient for auraloss's resolutions.
    - `signal_samples`: the same for losses without spectra. Larger, because XLA plans
        an FFT at every call: on CPU, 8 signals take hardly longer than 2.
    - `pairs`: how many times as many pairs as a piece has rows are compared at a time,
        where all pairs of two batches are wanted. Many signals share a transform then.
        On CPU 32 signals of 8000 samples with 32 others take 13 MB and as long as in
        plain JAX, and 1.3 times as long with 36 times as many as rows.
    - `transform_samples`: the same for a transform on its own. For signals of 44100
        samples on CPU, pieces of 4 signals were the fastest of 1, 2, 4 and 8.
    - `masses`: number of spectral values whose transport is computed at a time. With
        more, the temporary buffers on CPU approach malloc's threshold of 32 MB, above
        which page faults double the time.
    - `in_turn`: whether the transforms of a loss are evaluated one after another, each
        in a conditional. Not on GPU, where the host waits for a conditional.
    - `joined_values`: transforms whose spectra have at most this many values together
        are evaluated in one turn. On CPU a conditional keeps XLA from using both cores:
        with one for each transform, `MRSTFTLoss` took 1.4 times as long, in 3 MB
        instead of 12.
    - `stacks_hops`: whether the hops of a frame are joined along an axis of their own.
        Not on TPU, which would pad that axis to 8 and copy the frames.
    - `in_blocks`: whether long gradients are written in blocks of samples. XLA's code
        for CPU computes, for every sample, its frame and its position in the frame. For
        a block inside one hop, it does so only once.
    - `scans`: whether cumulative sums are loops. On CPU, XLA's own cumulative sum
        passes over the array once for every power of two of its length.
    - `sums_in_blocks`: whether cumulative masses are products of blocks with triangular
        matrices. XLA for GPU fuses its own cumulative sums with the loops around them.
    - `joins_products`: whether a mel filter bank, or a filter of blocks of samples, is
        one matrix product. On CPU it is several: each over only the bins that its
        bands need, or over blocks that need no copy.
    - `keeps_source`: whether logarithms and powers are compared by their arguments,
        for the sign of a difference and for equality. They are then read once, and XLA
        for GPU writes the gradient in the loop that adds up the values.
    - `dft`: `"cpu"`: XLA's FFT, but matrix products for small sizes with large
        prime factors; `"fft"`: XLA's FFT for all; `"products"`: real matrix products.
    """

    samples: int
    dense_samples: int
    signal_samples: int
    pairs: int
    transform_samples: int
    masses: int
    in_turn: bool
    joined_values: int
    stacks_hops: bool
    in_blocks: bool
    scans: bool
    sums_in_blocks: bool
    joins_products: bool
    keeps_source: bool
    dft: str


def _accelerator(samples: int, dft: str) -> Platform:
    return Platform(
        samples=samples,
        dense_samples=samples,
        signal_samples=samples,
        pairs=1,
        transform_samples=samples,
        masses=16 * samples,
        in_turn=False,
        joined_values=0,
        stacks_hops=dft == "fft",
        in_blocks=False,
        scans=False,
        sums_in_blocks=dft != "fft",
        joins_products=True,
        keeps_source=True,
        dft=dft,
    )


PLATFORMS = {
    "cpu": Platform(
        samples=90_000,
        dense_samples=45_000,
        signal_samples=360_000,
        pairs=256,
        transform_samples=180_000,
        masses=200_000,
        in_turn=True,
        joined_values=3_000_000,
        stacks_hops=True,
        in_blocks=True,
        scans=True,
        sums_in_blocks=True,
        joins_products=False,
        keeps_source=False,
        dft="cpu",
    ),
    # About 70 bytes of temporary memory per sample: 2.3 GB.
    "gpu": _accelerator(2**25, "fft"),
    "tpu": _accelerator(2**24, "products"),
}
# For operations that run one by one: all rows are one piece.
EAGER = dataclasses.replace(
    _accelerator(2**62, "fft"), sums_in_blocks=True, keeps_source=False
)

_target: contextvars.ContextVar[Platform]
_target = contextvars.ContextVar("target", default=EAGER)


def target() -> Platform:
    """Return the platform that the current trace is for."""
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
    """Trace for the default backend of the process, unless the platform is known.

    For scales and losses on spectra that are called on their own: they are plain JAX
    operations, and are traced before their platform is known.
    """
    name = jax.default_backend()
    if target() is not EAGER or name not in PLATFORMS:
        yield
        return
    with compiling_for(name):
        yield
