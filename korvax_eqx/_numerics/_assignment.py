"""The linear assignment problem: pairing rows with columns at the least cost."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

# Up to this number of rows all permutations are tried, at most 720.
MOST_TRIED = 6


def least_cost(
    costs: Float[Array, "*rows n n"],
) -> Int[Array, "*rows n"]:
    """Return the row for each column that minimises the sum of `costs[row, column]`.

    Of several optimal permutations, the first in lexicographic order is returned if
    there are at most `MOST_TRIED` rows, otherwise any. If a cost is NaN, any
    permutation is returned.

    **Raises:** `ValueError` for more rows without optax, whose algorithm is used.
    """
    n = costs.shape[-1]
    if n > MOST_TRIED:
        return _by_augmenting(costs)
    rows = _permutations(n)
    best = jnp.argmin(jnp.sum(costs[..., rows, np.arange(n)], axis=-1), axis=-1)
    return jnp.asarray(rows)[best]


@functools.cache
def _permutations(n: int) -> np.ndarray:
    rows = np.array(list(itertools.permutations(range(n))), np.int32)
    rows.setflags(write=False)
    return rows


def _by_augmenting(costs: Float[Array, "*rows n n"]) -> Int[Array, "*rows n"]:
    try:
        from optax.assignment import hungarian_algorithm
    except ImportError as error:
        raise ValueError(
            f"Permutations of more than {MOST_TRIED} sources need optax. Got "
            f"{costs.shape[-1]} sources. Install it: `pip install 'optax>=0.2.4'`."
        ) from error
    # In the dtype that optax computes in. Its loop does not end for NaN.
    costs = costs.astype(jax.dtypes.canonicalize_dtype(float))
    costs = jnp.where(jnp.isfinite(costs), costs, jnp.zeros_like(costs))
    square = costs.reshape(-1, *costs.shape[-2:])
    rows, _ = jax.vmap(hungarian_algorithm)(square)
    return rows.astype(jnp.int32).reshape(costs.shape[:-1])
