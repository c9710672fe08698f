"""Filter banks applied at every step along a signal: sub-bands, synthesis, resampling.

They are products of blocks of the signal with a matrix, as in `_fir`: a few large
products instead of many small ones.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from korvax_eqx._platform import target

from ._frames import padded

# Smallest number of samples of a block.
_LEAST_BLOCK = 64


def filter_bank(
    x: Float[Array, "*channels n_samples"],
    taps: Float[np.ndarray, "n_outputs n_taps"],
    step: int,
    left: int,
    n_periods: int,
) -> Float[Array, "*channels n_periods n_outputs"]:
    r"""Return $y_{t,r} = \sum_j h_{r,j}\, x_{tp + j - l}$: step $p$, left $l$.

    The signal is zero outside its samples.

    **Arguments:**

    - `taps`: $h$, float64.
    - `step`: samples from one period to the next.
    - `left`: how many samples before the start of a period the first tap lies.
    - `n_periods`: number of periods.
    """
    n_outputs, n_taps = taps.shape
    # About three products per block, as in `_fir`.
    n_each = -(-max(_LEAST_BLOCK, n_taps // 2) // step)
    size = n_each * step
    n_slots = -(-(size - step + n_taps) // size)
    n_blocks = -(-n_periods // n_each)
    matrix = _matrix(taps.tobytes(), n_outputs, step, n_each, n_slots * size)
    length = (n_blocks + n_slots - 1) * size
    start = max(0, -left)
    x = lax.slice_in_dim(x, min(start, x.shape[-1]), x.shape[-1], axis=-1)
    z = padded(x, max(0, left), max(0, length - max(0, left) - x.shape[-1]))
    z = lax.slice_in_dim(z, 0, length, axis=-1)
    blocks = z.reshape(*z.shape[:-1], n_blocks + n_slots - 1, size)
    y = block_products(blocks, matrix)
    y = y.reshape(*y.shape[:-2], n_blocks * n_each, n_outputs)
    return lax.slice_in_dim(y, 0, n_periods, axis=-2)


def block_products(
    blocks: Float[Array, "*channels n_blocks size"], matrix: Float[np.ndarray, "m n"]
) -> Float[Array, "*channels n_products n"]:
    """Return the product of every `m / size` neighbouring blocks with a matrix."""
    size = blocks.shape[-1]
    n_slots = matrix.shape[0] // size
    n = blocks.shape[-2] - n_slots + 1
    slots = [lax.slice_in_dim(blocks, i, i + n, axis=-2) for i in range(n_slots)]
    parts = np.split(matrix, n_slots)
    if target().joins_products:
        slots, parts = [jnp.concatenate(slots, axis=-1)], [matrix]
    y = jnp.zeros((), blocks.dtype)
    for slot, part in zip(slots, parts, strict=True):
        part = jnp.asarray(part, blocks.dtype)
        y = y + jnp.matmul(slot, part, precision=lax.Precision.HIGHEST)
    return y


@functools.lru_cache(maxsize=64)
def _matrix(
    taps: bytes, n_outputs: int, step: int, n_each: int, n_rows: int
) -> Float[np.ndarray, "n_rows n_columns"]:
    """Return the matrix whose columns are the taps, for each of `n_each` periods."""
    table = np.frombuffer(taps).reshape(n_outputs, -1)
    matrix = np.zeros((n_rows, n_each, n_outputs))
    for t in range(n_each):
        matrix[t * step : t * step + table.shape[1], t] = table.T
    matrix.setflags(write=False)
    return matrix.reshape(n_rows, -1)
