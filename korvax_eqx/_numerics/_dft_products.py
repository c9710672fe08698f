"""The real DFT as real matrix products, which are fast on TPU.

XLA has no FFT for TPU: it multiplies by the complex DFT matrix, and makes transposed
copies. Here real frames are multiplied by cosines and sines, in two stages if large.
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Float

# A matrix of up to this many rows fits into the matrix unit of a TPU, so splitting it
# into stages of smaller ones saves nothing.
_LARGEST_MATRIX = 256


def real_dft_by_products(
    frames: Float[Array, "*frames n"],
) -> Complex[Array, "*frames n//2+1"]:
    r"""Return $X_k = \sum_j x_j e^{-2\pi i jk/n}$ for the `n // 2 + 1` bins k.

    With $n = ab$, $j = bs + t$ and $k = r + aq$, it is
    $\sum_t e^{-2\pi i tq/b} e^{-2\pi i tr/n} \sum_s x_{bs+t} e^{-2\pi i sr/a}$.
    """
    n = frames.shape[-1]
    a = _first_stage(n)
    if a == 1:
        cosines, sines = _matrices(n, n, n // 2 + 1, frames.dtype)
        return lax.complex(_product(frames, cosines), _product(frames, sines))
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
    return lax.complex(re, im)


def _over_rows(
    x: Float[Array, "*lead rows columns"], matrix: Float[Array, "rows m"]
) -> Float[Array, "*lead columns m"]:
    return jnp.einsum("...st,sr->...tr", x, matrix, precision=lax.Precision.HIGHEST)


def _product(
    x: Float[Array, "*lead n"], matrix: Float[Array, "n m"]
) -> Float[Array, "*lead m"]:
    return jnp.matmul(x, matrix, precision=lax.Precision.HIGHEST)


def _first_stage(n: int) -> int:
    """Return the size of the first of two stages; 1 if there is only one stage."""
    if n <= _LARGEST_MATRIX:
        return 1
    return max(a for a in range(1, math.isqrt(n) + 1) if n % a == 0)


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
    angles = 2 * np.pi / n * (np.outer(np.arange(rows), np.arange(columns)) % n)
    tables = np.cos(angles), -np.sin(angles)
    for table in tables:
        table.setflags(write=False)
    return tables
