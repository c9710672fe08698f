"""The real FFT of frames, with each device transforming the frames that it holds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._engine._devices import whole_samples
from .._engine._linear import linear_rows
from .._engine._rows import Arrays


def rfft(frames: Array, n: int) -> Array:
    """`jnp.fft.rfft(frames)` for frames of `n` samples, shape `(*lead, n)`.

    XLA does not split an FFT along its batch: on several devices it gathers all
    frames on all of them, and so for its transpose, the FFT of the gradient. Here both
    directions stay where the frames are. On one device this is `jnp.fft.rfft`.
    """
    if frames.shape[-1] != n:
        raise ValueError(f"Expected frames of {n} samples. Got shape {frames.shape}.")
    if jax.device_count() == 1 or frames.ndim == 1:
        return jnp.fft.rfft(frames)
    return linear_rows(_Forward(n), _Transpose(n), whole_samples(frames))


@dataclasses.dataclass(frozen=True)
class _Forward:
    n: int

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        del shared
        return (jnp.fft.rfft(rows[0]),), ()


@dataclasses.dataclass(frozen=True)
class _Transpose:
    """`x_j = Re sum_k c_k exp(-2 pi i j k / n)` over the `n // 2 + 1` bins k.

    An inverse real FFT counts every bin twice, for itself and for its mirror image,
    except the first and, for even n, the last. JAX transposes through a complex FFT
    of length n instead, which is twice the work.
    """

    n: int

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        del shared
        (cotangent,) = rows
        counts = np.full(self.n // 2 + 1, 0.5)
        counts[0] = 1.0
        if self.n % 2 == 0:
            counts[-1] = 1.0
        scale = jnp.asarray(self.n * counts, cotangent.real.dtype)
        spectrum = jax.lax.complex(scale * cotangent.real, -scale * cotangent.imag)
        return (jnp.fft.irfft(spectrum, n=self.n),), ()
