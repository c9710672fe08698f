"""Which rows of a matrix of costs go with which columns, at the least total cost."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

# All permutations are tried up to here: 720 of them.
MOST_TRIED = 6


def least_cost(
    costs: Float[Array, "*rows n n"],
) -> Int[Array, "*rows n"]:
    """Return the row of each column that make the sum of `costs[row, column]` least.

    Up to `MOST_TRIED` rows, the first of equally good permutations in lexicographic
    order is returned; beyond, any of them. If a cost is not a number, any permutation.

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
            f"Permutations of more than {MOST_TRIED} sources are found by optax. Got "
            f"{costs.shape[-1]} sources. Install it: `pip install 'optax>=0.2.4'`."
        ) from error
    # In the precision that optax computes in. It does not end for what is no number.
    costs = costs.astype(jax.dtypes.canonicalize_dtype(float))
    costs = jnp.where(jnp.isfinite(costs), costs, jnp.zeros_like(costs))
    square = costs.reshape(-1, *costs.shape[-2:])
    rows, _ = jax.vmap(hungarian_algorithm)(square)
    return rows.astype(jnp.int32).reshape(costs.shape[:-1])
