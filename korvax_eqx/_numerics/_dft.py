"""The DFT of real frames and its transpose, on the device that holds the frames.

FFT libraries are fast for sizes with small prime factors. For others, such as the prime
sizes of the smooth multi-resolution loss, they compute a convolution by complex FFTs of
more than twice the size, for every real frame. Here, short frames of such sizes are
folded and multiplied by halves of the DFT matrix. On CPU this is 3 to 5 times as fast
for sizes 67 and 127, 2.4 times for 257, 1.6 times for 509, and the smooth loss takes
three quarters of its time.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Float

from .._platform import target

# FFT libraries have code for prime factors up to 11 or 13, and are fast for some more.
_LARGEST_EASY_PRIME = 31
# For larger sizes, the matrix product takes longer than an FFT.
_LARGEST_MATRIX = 512


def real_dft(
    frames: Float[Array, "*frames n"],
) -> Complex[Array, "*frames n//2+1"]:
    r"""Return $X_k = \sum_j x_j e^{-2\pi i jk/n}$ for the `n // 2 + 1` bins k."""
    n = frames.shape[-1]
    if _is_multiplied(n):
        return folded_dft(frames)
    return lax.fft(frames, lax.FftType.RFFT, (n,))


def real_dft_transpose(
    cotangent: Complex[Array, "*frames n_bins"], n: int
) -> Float[Array, "*frames n"]:
    r"""Return $x_j = \mathrm{Re} \sum_k c_k e^{-2\pi i jk/n}$ over the bins k."""
    if _is_multiplied(n):
        return _folded_dft_transpose(cotangent, n)
    return _inverse_fft(cotangent, n)


def _is_multiplied(n: int) -> bool:
    """Whether frames of size `n` are multiplied by matrices."""
    is_small = n <= _LARGEST_MATRIX
    return target().dft == "cpu" and is_small and smooth_part(n) < n


def smooth_part(n: int) -> int:
    """Return `n` without its large prime factors."""
    part, rest = 1, n
    for factor in range(2, _LARGEST_EASY_PRIME + 1):
        while rest % factor == 0:
            part, rest = part * factor, rest // factor
    return part


def _inverse_fft(
    cotangent: Complex[Array, "*frames n_bins"], n: int
) -> Float[Array, "*frames n"]:
    """The transpose by an inverse FFT.

    An inverse FFT counts every bin twice, for itself and for its mirror image, except
    the first and, for even n, the last.
    """
    re, im = lax.real(cotangent), lax.imag(cotangent)
    counts = np.full(n // 2 + 1, 0.5)
    counts[0] = 1.0
    if n % 2 == 0:
        counts[-1] = 1.0
    scale = jnp.asarray(n * counts, re.dtype)
    scale = lax.broadcast_in_dim(scale, re.shape, (re.ndim - 1,))
    half = lax.complex(lax.mul(scale, re), lax.neg(lax.mul(scale, im)))
    return lax.fft(half, lax.FftType.IRFFT, (n,))


def folded_dft(
    frames: Float[Array, "*frames n"],
) -> Complex[Array, "*frames n//2+1"]:
    """The even part of a frame gives the real part, the odd part the imaginary."""
    n = frames.shape[-1]
    cosines, sines = (jnp.asarray(m, frames.dtype) for m in _half_matrices(n))
    half = (n - 1) // 2
    mirrored = lax.rev(frames[..., n - half :], (frames.ndim - 1,))
    early = frames[..., 1 : half + 1]
    even = [frames[..., :1], early + mirrored, frames[..., half + 1 : n - half]]
    real = product(jnp.concatenate(even, axis=-1), cosines)
    return lax.complex(real, product(early - mirrored, sines))


def _folded_dft_transpose(
    cotangent: Complex[Array, "*frames n_bins"], n: int
) -> Float[Array, "*frames n"]:
    re, im = lax.real(cotangent), lax.imag(cotangent)
    cosines, sines = (jnp.asarray(m, re.dtype) for m in _half_matrices(n))
    half = (n - 1) // 2
    even, odd = product(re, cosines.T), product(im, -sines.T)
    early = even[..., 1 : half + 1]
    late = lax.rev(early - odd, (even.ndim - 1,))
    parts = [even[..., :1], early + odd, even[..., half + 1 :], late]
    return jnp.concatenate(parts, axis=-1)


def product(
    a: Float[Array, "*frames n"], matrix: Float[Array, "n m"]
) -> Float[Array, "*frames m"]:
    return jnp.matmul(a, matrix, precision=lax.Precision.HIGHEST)


@functools.cache
def _half_matrices(
    n: int,
) -> tuple[Float[np.ndarray, "even bins"], Float[np.ndarray, "odd bins"]]:
    """Return cosines and negative sines for half the samples and all bins, float64."""
    turns = np.outer(np.arange(n // 2 + 1), np.arange(n // 2 + 1)) % n
    cosines, sines = phasors(turns, n)
    return cosines, _read_only(sines[1 : (n - 1) // 2 + 1])


def phasors(
    turns: np.ndarray, n: int
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    r"""Return the real and the imaginary part of $e^{-2\pi i t/n}$ in float64.

    The imaginary part is exactly 0 for whole and half turns, so that the first and the
    last bin of real frames are real.
    """
    angles = 2 * np.pi / n * turns
    sines = np.where(2 * turns % n == 0, 0.0, -np.sin(angles))
    return _read_only(np.cos(angles)), _read_only(sines)


def _read_only(table: np.ndarray) -> np.ndarray:
    table.setflags(write=False)
    return table
