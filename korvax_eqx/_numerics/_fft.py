"""The real FFT of frames, with each device transforming the frames that it holds."""

import dataclasses

from jax import Array

from .._sharding._devices import whole_samples
from .._sharding._linear import linear_rows
from .._sharding._rows import Arrays
from ._dft import real_dft, real_dft_transpose


def rfft(frames: Array, n: int) -> Array:
    """`jnp.fft.rfft(frames)` for frames of `n` samples, shape `(*lead, n)`.

    XLA does not split an FFT along its batch: on several devices it gathers all
    frames on all of them, and so for its transpose, the FFT of the gradient. Here both
    directions stay where the frames are.
    """
    if frames.shape[-1] != n:
        raise ValueError(f"Expected frames of {n} samples. Got shape {frames.shape}.")
    return linear_rows(_Forward(n), _Transpose(n), whole_samples(frames))


@dataclasses.dataclass(frozen=True)
class _Forward:
    n: int

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        del shared
        return (real_dft(rows[0]),), ()


@dataclasses.dataclass(frozen=True)
class _Transpose:
    n: int

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        del shared
        return (real_dft_transpose(rows[0], self.n),), ()
