"""The DFT of two real frames as one complex frame, for sizes with large prime factors.

One frame is the real part and the other the imaginary part. They are transformed
together, and separated by symmetry. Rounding errors of a loud frame would leak into a
quiet one, so both are scaled to the same level first, by a power of two. A frame that
is not finite is replaced by zeros, and its result by NaN, so that its partner is right.
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Float, Int

from ._ranks import along_last

# FFT libraries have code for prime factors up to 11 or 13, and are fast for some more.
_LARGEST_EASY_PRIME = 31
# For primes above this, Rader's algorithm is faster: on CPU it takes 0.7 times the time
# for 2053, but 1.2 times for 1021.
_SMALLEST_RADER = 1500


def smooth_part(n: int) -> int:
    """Return `n` without its large prime factors."""
    part, rest = 1, n
    for factor in range(2, _LARGEST_EASY_PRIME + 1):
        while rest % factor == 0:
            part, rest = part * factor, rest // factor
    return part


def real_dft_in_pairs(
    frames: Float[Array, "*lead t n"],
) -> Complex[Array, "*lead t n//2+1"]:
    """See `real_dft`. Each frame of the first half is paired with one of the second."""
    n = frames.shape[-1]
    n_bins = n // 2 + 1
    level_frames, level = _at_one_level(frames)
    Z = _complex_dft(lax.complex(*_halves(level_frames)))
    mirrored = jnp.concatenate([Z[..., :1], _reversed(Z[..., n - n_bins + 1 :])], -1)
    Z = Z[..., :n_bins]
    # Spectra of real frames are conjugate symmetric, so with Z', the mirrored Z, they
    # are (Z + conj(Z')) / 2 and (Z - conj(Z')) / 2i.
    one, other = _halves(0.5 * level)
    X = lax.complex((Z.real + mirrored.real) * one, (Z.imag - mirrored.imag) * one)
    Y = lax.complex((Z.imag + mirrored.imag) * other, (mirrored.real - Z.real) * other)
    return jnp.concatenate([X, Y], -2)[..., : frames.shape[-2], :]


def real_dft_in_pairs_transpose(
    cotangent: Complex[Array, "*lead t n_bins"], n: int
) -> Float[Array, "*lead t n"]:
    """See `real_dft_transpose`."""
    n_bins = n // 2 + 1
    parts = jnp.concatenate([cotangent.real, cotangent.imag], -1)
    parts, level = _at_one_level(parts)
    (a, c), (b, d) = _halves(parts[..., :n_bins]), _halves(parts[..., n_bins:])
    # Each bin, a + ib of one frame and c + id of the other, stands for itself and for
    # its conjugate in the mirrored bin, except the first and, for even n, the last.
    share = np.full(n_bins, 0.5)
    share[[0, n_bins - 1] if n % 2 == 0 else [0]] = 1.0
    odd = jnp.asarray(np.where(share == 1.0, 0.0, share), parts.dtype)
    odd, even = along_last(odd, a), along_last(jnp.asarray(share, parts.dtype), a)
    low = lax.complex(a * even - d * odd, c * even + b * odd)
    high = lax.complex(a * even + d * odd, c * even - b * odd)[..., 1 : (n + 1) // 2]
    z = _complex_dft(jnp.concatenate([low, _reversed(high)], -1))
    one, other = _halves(level)
    x = jnp.concatenate([z.real * one, z.imag * other], -2)
    return x[..., : cotangent.shape[-2], :]


def _at_one_level(
    frames: Float[Array, "*lead t n"],
) -> tuple[Float[Array, "*lead t n"], Float[Array, "*lead t 1"]]:
    """Return frames scaled to a peak of 1 to 2, and factors that undo the scaling.

    The factors are powers of two, which do not change any digit. Silence stays silence.
    """
    dtype = frames.dtype
    is_single = dtype == jnp.float32
    bits, exponent = (
        (jnp.uint32, 0xFF << 23) if is_single else (jnp.uint64, 0x7FF << 52)
    )
    largest = jnp.max(jnp.abs(frames), axis=-1, keepdims=True)
    pattern = lax.bitcast_convert_type(largest, bits) & jnp.asarray(exponent, bits)
    level = lax.bitcast_convert_type(pattern, dtype)
    # For a larger level, the reciprocal would be subnormal, which XLA flushes to zero.
    level = jnp.minimum(level, 2.0 ** (jnp.finfo(dtype).maxexp - 2))
    is_silent = level == 0
    scale = jnp.where(is_silent, 0, 1 / jnp.where(is_silent, 1, level))
    is_finite = jnp.all(jnp.isfinite(frames), axis=-1, keepdims=True)
    scaled = jnp.where(is_finite, frames * scale, 0)
    return scaled, jnp.where(is_finite, level, jnp.nan)


def _halves(
    frames: Float[Array, "*lead t n"],
) -> tuple[Float[Array, "*lead half n"], Float[Array, "*lead half n"]]:
    """Return the first and the second half, with a frame of zeros if t is odd."""
    t = frames.shape[-2]
    middle = (t + 1) // 2
    second = frames[..., middle:, :]
    widths = [(0, 0)] * (frames.ndim - 2) + [(0, t % 2), (0, 0)]
    return frames[..., :middle, :], jnp.pad(second, widths)


def _reversed(a: Array) -> Array:
    return lax.rev(a, (a.ndim - 1,))


def _complex_dft(z: Complex[Array, "*lead n"]) -> Complex[Array, "*lead n"]:
    n = z.shape[-1]
    if n >= _SMALLEST_RADER and _is_prime(n) and smooth_part(n - 1) == n - 1:
        return _rader(z)
    return lax.fft(z, lax.FftType.FFT, (n,))


def _rader(z: Complex[Array, "*lead n"]) -> Complex[Array, "*lead n"]:
    """The DFT of a prime size n, by a cyclic convolution of size n - 1.

    C. M. Rader (1968), "Discrete Fourier transforms when the number of data samples is
    prime", Proceedings of the IEEE 56(6): with a generator g of the residues modulo n,
    X[g**-q] - z[0] is the convolution of z[g**q] and exp(-2 pi i g**-q / n).
    """
    n = z.shape[-1]
    order, place, kernel = _rader_tables(n)
    permuted = jnp.take(z, order, axis=-1, mode="clip")
    product = lax.fft(permuted, lax.FftType.FFT, (n - 1,))
    product = product * along_last(jnp.asarray(kernel, z.dtype), z)
    convolved = lax.fft(product, lax.FftType.IFFT, (n - 1,))
    others = z[..., :1] + jnp.take(convolved, place, axis=-1, mode="clip")
    return jnp.concatenate([jnp.sum(z, axis=-1, keepdims=True), others], axis=-1)


@functools.cache
def _rader_tables(
    n: int,
) -> tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"], Complex[np.ndarray, " _"]]:
    """Return the order of the samples, the place of each bin, and the kernel."""
    generator = next(g for g in range(2, n) if _is_generator(g, n))
    order = np.array([pow(generator, q, n) for q in range(n - 1)])
    inverse = order[-np.arange(n - 1)]
    place = np.empty(n, int)
    place[inverse] = np.arange(n - 1)
    kernel = np.fft.fft(np.exp(-2j * np.pi / n * inverse))
    # Always int32: JAX mixes up cached results with and without 64-bit types.
    return order.astype(np.int32), place[1:].astype(np.int32), kernel


def _is_generator(g: int, prime: int) -> bool:
    """Whether `g` generates all residues: none of its powers but the last is 1."""
    proper = (k for k in range(1, prime - 1) if (prime - 1) % k == 0)
    return all(pow(g, k, prime) != 1 for k in proper)


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % k for k in range(2, math.isqrt(n) + 1))
