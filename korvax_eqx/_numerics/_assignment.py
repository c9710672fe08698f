"""The linear assignment problem: pairing rows with columns at the least cost."""

import functools
import itertools
from typing import Any

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

    **Raises:** `ValueError` for more rows if optax, which solves them, is missing.
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
    # In the dtype that optax computes in.
    costs = _finite(costs.astype(jax.dtypes.canonicalize_dtype(float)))
    square = costs.reshape(-1, *costs.shape[-2:])
    rows, _ = jax.vmap(hungarian_algorithm)(square)
    return rows.astype(jnp.int32).reshape(costs.shape[:-1])


def _finite(costs: Float[Array, "*rows n n"]) -> Float[Array, "*rows n n"]:
    """Return finite costs with finite sums: otherwise optax's loop may not end.

    An infinite cost becomes larger than all other pairs together can save; likewise for
    minus infinity. NaN becomes some finite number.
    """
    n = costs.shape[-1]
    is_number = jnp.abs(costs) <= float(jnp.finfo(costs.dtype).max) / (8 * n)

    def of_numbers(function: Any, otherwise: float) -> Array:
        numbers = function(
            costs, axis=(-2, -1), keepdims=True, where=is_number, initial=otherwise
        )
        return jnp.where(jnp.isinf(numbers), 0, numbers)

    least, most = of_numbers(jnp.min, jnp.inf), of_numbers(jnp.max, -jnp.inf)
    # No larger than necessary: adding it rounds the other costs.
    is_one = most == least
    step = jnp.where(is_one, jnp.maximum(jnp.abs(most), 1), n * (most - least))
    infinite = jnp.where(costs > 0, most + step, least - step)
    infinite = jnp.where(jnp.isnan(costs), most, infinite)
    return jnp.where(is_number, costs, infinite)
