"""The real DFT as real matrix products, which are fast on TPU.

XLA has no FFT for TPU: it multiplies by the complex DFT matrix, and makes transposed
copies. Here real frames are multiplied by cosines and sines: short frames as they are,
longer ones folded, which halves the products, and the longest in two stages.
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Float

from ._dft import folded_dft, phasors, product

# For shorter frames, folding takes longer than the products that it saves.
_LARGEST_MATRIX = 512
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
    if n <= _LARGEST_MATRIX:
        cosines, sines = _matrices(n, n, n // 2 + 1, frames.dtype)
        return lax.complex(product(frames, cosines), product(frames, sines))
    if n <= _LARGEST_FOLDED:
        return folded_dft(frames)
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
    return phasors(np.outer(np.arange(rows), np.arange(columns)) % n, n)
