"""The real DFT as real matrix products.

XLA has no FFT for TPU: it multiplies by the complex DFT matrix, and makes transposed
copies. Here real frames are multiplied by cosines and sines: short frames as they are,
longer ones folded, which halves the products, and the longest in two stages. On CPU
short frames of sizes that are hard for an FFT are multiplied, too.
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Float

# Up to this size, folding takes longer than the products that it saves.
LARGEST_MATRIX = 512
# For longer frames, two stages take less than a folded product. The second has about
# as many rows as the matrix unit of a TPU.
_LARGEST_FOLDED = 2048
_UNIT = 128


def real_dft_by_products(
    frames: Float[Array, "*frames n"],
) -> Complex[Array, "*frames n//2+1"]:
    r"""Return $X_k = \sum_j x_j e^{-2\pi i jk/n}$ for the `n // 2 + 1` bins k.

    With $n = ab$, $j = bs + t$ and $k = r + aq$, it is
    $\sum_t e^{-2\pi i tq/b} e^{-2\pi i tr/n} \sum_s x_{bs+t} e^{-2\pi i sr/a}$.
    """
    n = frames.shape[-1]
    if n <= LARGEST_MATRIX:
        cosines, sines = _matrices(n, n, n // 2 + 1, frames.dtype)
        return lax.complex(_product(frames, cosines), _product(frames, sines))
    if n <= _LARGEST_FOLDED:
        return _folded_dft(frames)
    a = _first_stage(n)
    b = n // a
    n_last = b // 2 + 1
    lead = frames.shape[:-1]
    split = frames.reshape(*lead, a, b)
    # (*frames, t, r)
    cosines, sines = _matrices(a, a, a, frames.dtype)
    re, im = (_over_rows(split, m) for m in (cosines, sines))
    turn_re, turn_im = _matrices(n, b, a, frames.dtype)
    re, im = re * turn_re - im * turn_im, re * turn_im + im * turn_re
    # (*frames, r, q)
    cosines, sines = _matrices(b, b, n_last, frames.dtype)
    re, im = (
        _over_rows(re, cosines) - _over_rows(im, sines),
        _over_rows(re, sines) + _over_rows(im, cosines),
    )
    # Bin r + aq is at (q, r).
    re, im = (
        jnp.swapaxes(z, -1, -2).reshape(*lead, a * n_last)[..., : n // 2 + 1]
        for z in (re, im)
    )
    # The first and the last bin are real, which two stages of rounding would change.
    is_complex = 2 * np.arange(n // 2 + 1) % n != 0
    return lax.complex(re, im * jnp.asarray(is_complex, im.dtype))


def _folded_dft(
    frames: Float[Array, "*frames n"],
) -> Complex[Array, "*frames n//2+1"]:
    """The even part of a frame gives the real part, the odd part the imaginary."""
    n = frames.shape[-1]
    cosines, sines = (jnp.asarray(m, frames.dtype) for m in _half_matrices(n))
    half = (n - 1) // 2
    mirrored = lax.rev(frames[..., n - half :], (frames.ndim - 1,))
    early = frames[..., 1 : half + 1]
    even = [frames[..., :1], early + mirrored, frames[..., half + 1 : n - half]]
    real = _product(jnp.concatenate(even, axis=-1), cosines)
    return lax.complex(real, _product(early - mirrored, sines))


def _product(
    a: Float[Array, "*frames n"], matrix: Float[Array, "n m"]
) -> Float[Array, "*frames m"]:
    return jnp.matmul(a, matrix, precision=lax.Precision.HIGHEST)


def _over_rows(
    x: Float[Array, "*lead rows columns"], matrix: Float[Array, "rows m"]
) -> Float[Array, "*lead columns m"]:
    return jnp.einsum("...st,sr->...tr", x, matrix, precision=lax.Precision.HIGHEST)


def _first_stage(n: int) -> int:
    """Return the size of the first of two stages, a divisor of `n`."""
    divisors = (a for a in range(1, n + 1) if n % a == 0)
    return min(divisors, key=lambda a: abs(math.log(n / a / _UNIT)))


def _matrices(
    n: int, rows: int, columns: int, dtype: np.dtype
) -> tuple[Float[Array, "rows columns"], Float[Array, "rows columns"]]:
    cosines, sines = _tables(n, rows, columns)
    return jnp.asarray(cosines, dtype), jnp.asarray(sines, dtype)


@functools.cache
def _tables(
    n: int, rows: int, columns: int
) -> tuple[Float[np.ndarray, "rows columns"], Float[np.ndarray, "rows columns"]]:
    """Return the real and the imaginary part of e^(-2 pi i jk/n) in float64."""
    return _phasors(np.outer(np.arange(rows), np.arange(columns)) % n, n)


@functools.cache
def _half_matrices(
    n: int,
) -> tuple[Float[np.ndarray, "even bins"], Float[np.ndarray, "odd bins"]]:
    """Return cosines and negative sines for half the samples and all bins, float64."""
    turns = np.outer(np.arange(n // 2 + 1), np.arange(n // 2 + 1)) % n
    cosines, sines = _phasors(turns, n)
    return cosines, _read_only(sines[1 : (n - 1) // 2 + 1])


def _phasors(
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
