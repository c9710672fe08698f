"""Recursive filters without recursion: products of blocks with matrices.

Within a block of samples the filter is a triangular matrix, and a block passes only a
state of four numbers on to the next. The states at the starts of all blocks are in turn
the outputs of a filter, over blocks of blocks. So a signal of n samples takes about
log n products, without a loop, and their transposes are products too. Nothing is
truncated: the outputs equal the recursion's, up to rounding.

The K-weighting of signals of (32, 1, 44100) in float32 takes 1.3 ms on 2 CPU cores, and
2.5 ms with its gradient.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from korvax_eqx._tables._loudness import BlockMatrices

Matrices = Callable[[int], BlockMatrices]


def filter_by_blocks(
    x: Float[Array, "*channels n_samples"], matrices: Matrices
) -> Float[Array, "*channels n_samples"]:
    """Filter `x`, starting from a state of zero, with the matrices of each level."""
    n_samples = x.shape[-1]
    size = matrices(0).through.shape[0]
    y = _outputs(_grouped(x[..., None], size), matrices, level=0)
    return lax.slice_in_dim(_flat(y), 0, n_samples, axis=-1)


def _outputs(
    blocks: Float[Array, "*channels n_blocks n_in"], matrices: Matrices, level: int
) -> Float[Array, "*channels n_blocks n_out"]:
    here = matrices(level)
    outputs = _product(blocks, here.through)
    n_blocks = blocks.shape[-2]
    if n_blocks == 1:
        return outputs
    ends = _product(blocks, here.entering)
    n_states = ends.shape[-1]
    group = matrices(level + 1).through.shape[0] // n_states
    starts = _outputs(_grouped(ends, group), matrices, level + 1)
    starts = starts.reshape(*starts.shape[:-2], -1, n_states)
    starts = lax.slice_in_dim(starts, 0, n_blocks, axis=-2)
    return outputs + _product(starts, here.leaving)


def _grouped(
    items: Float[Array, "*channels n_items width"], size: int
) -> Float[Array, "*channels n_groups grouped"]:
    """Concatenate every `size` items into a group, with zeros after the last item."""
    *lead, n_items, width = items.shape
    n_groups = -(-n_items // size)
    none = (0, 0, 0)
    widths = (*[none] * len(lead), (0, n_groups * size - n_items, 0), none)
    items = lax.pad(items, jnp.zeros((), items.dtype), widths)
    return items.reshape(*lead, n_groups, size * width)


def _flat(
    blocks: Float[Array, "*channels n_blocks size"],
) -> Float[Array, "*channels n_blocks*size"]:
    return blocks.reshape(*blocks.shape[:-2], -1)


def _product(
    a: Float[Array, "*channels n_blocks n"], matrix: Float[np.ndarray, "n m"]
) -> Float[Array, "*channels n_blocks m"]:
    b = jnp.asarray(matrix, a.dtype)
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
