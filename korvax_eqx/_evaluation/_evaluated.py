"""Evaluating row values where the rows are, and how many rows count."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import Array

from korvax_eqx._sharding._devices import map_rows
from korvax_eqx._sharding._rows import explicit_lead
from korvax_eqx._tree import Arrays

from ._rows import RowValues


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def evaluated(fn: RowValues, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
    """Evaluate `fn` where the rows are."""
    return map_rows(
        fn,
        shared,
        rows,
        n_row_outputs=1 + len(fn.wrt_rows),
        n_summed_outputs=len(fn.wrt_shared),
        folds_vmap=True,
    )


@evaluated.defjvp
def _evaluated_jvp(fn, primals, tangents):
    # The derivative of the gradient. On several devices `map_rows` has no rules under
    # automatic sharding; the FFTs inside the row function find their devices alone.
    is_explicit = any(explicit_lead(*primals[1]))
    function = evaluated.fun if is_explicit else RowValues.__call__
    return jax.jvp(functools.partial(function, fn), primals, tangents)


def n_rows_of(fn: RowValues, rows: Arrays) -> Array:
    """Return how many rows there are; those of no samples do not count."""
    if fn.layout.has_lengths:
        return jnp.maximum(1, jnp.sum(jnp.max(rows[-1], axis=-1) > 0))
    n_rows = math.prod(jnp.broadcast_shapes(*(row.shape[:-1] for row in rows)))
    return jnp.asarray(n_rows, rows[0].dtype)
