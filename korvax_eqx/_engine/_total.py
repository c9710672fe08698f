"""The mean over rows, and its derivative rule.

The derivative rule is an inner product with the gradient that was computed in the same
pass. It is a JVP rule written in JAX, so that forward mode, reverse mode and higher
derivatives follow from it. Batch losses are functions of means over all rows, so an
earlier pass without gradients computes these means. If all rows are in one piece, the
result of that pass is not used, and XLA removes it.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from ._call import call_rows
from ._functions import Arrays, Wrt, replaced
from ._rows import RowTerms


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def total(
    fn: RowTerms, wants_columns: bool, shared: Arrays, rows: Arrays
) -> tuple[Float[Array, ""], Float[Array, " columns"] | None]:
    """Return the sum of all terms and the means over rows of all columns.

    The gradient of the sum is computed in the same pass. The gradient of the means, if
    needed, takes another pass. Without `wants_columns` the means are `None`.
    """
    means = column_means(fn, shared, rows)
    return fn.total(shared, means), means if wants_columns else None


@functools.partial(total.defjvp, symbolic_zeros=True)
def _total_jvp(fn, wants_columns, primals, tangents):
    shared, rows = primals
    wrt = Wrt(_perturbed(tangents[0]), _perturbed(tangents[1]))
    some_tangents = wrt.of(*tangents)
    if fn.is_of_batch:
        # How much a row adds to a batch loss depends on all rows.
        before = dataclasses.replace(fn, only_batch=True)
        slopes = _slopes(fn, shared, column_means(before, shared, rows))
        slopes = jnp.broadcast_to(slopes, (*(1,) * (rows[0].ndim - 1), fn.n_columns))
        moving = dataclasses.replace(fn, seed="slopes", wrt=wrt)
        results, shared_grads = call_rows(moving, shared, (*rows, slopes))
    else:
        moving = dataclasses.replace(fn, seed="weights", wrt=wrt)
        results, shared_grads = call_rows(moving, shared, rows)
    columns, *row_grads = results
    means = _mean(fn, rows, columns)
    value = fn.total(shared, means)
    pairs = zip(
        (*shared_grads, *row_grads), (*some_tangents[0], *some_tangents[1]), strict=True
    )
    # A leaf may have another precision than the signals.
    changes = (_inner(g, t).astype(value.dtype) for g, t in pairs)
    change = sum(changes, jnp.zeros_like(value))
    change = change / n_rows_of(fn, rows).astype(change.dtype)
    if fn.is_of_batch and wrt.shared:
        # For fixed means, the terms still depend on weights and other shared arrays.
        def finished(some: Arrays) -> Array:
            return fn.total(replaced(shared, wrt.shared, some), means)

        own = tuple(shared[i] for i in wrt.shared)
        _, direct = jax.jvp(finished, (own,), (some_tangents[0],))
        change = change + direct
    moved = None
    if wants_columns:
        moved = _moved_means(fn, wrt, shared, rows, some_tangents)
    return (value, means if wants_columns else None), (change, moved)


def _slopes(
    fn: RowTerms, shared: Arrays, means: Float[Array, " columns"]
) -> Float[Array, " columns"]:
    """Return the derivative of the loss with respect to the mean of each column.

    The slope of a quotient with a tiny denominator is infinite. It is replaced by the
    largest finite number: if the denominator does not depend on the signal, the chain
    rule multiplies the slope by zero, which must give zero and not NaN.
    """
    slopes = jax.grad(fn.total, argnums=1)(shared, means)
    most = jnp.finfo(slopes.dtype).max
    # Not `clip`: its derivative compares the result with the unclipped value, which
    # depends on how XLA rounds.
    return jnp.where(jnp.isinf(slopes), jnp.copysign(most, slopes), slopes)


def column_means(
    fn: RowTerms, shared: Arrays, rows: Arrays
) -> Float[Array, " columns"]:
    """Return the mean of each column over rows, without a gradient in the same pass.

    For callers that differentiate their own combination of terms.
    """
    (columns,), _ = call_rows(fn, shared, rows)
    return _mean(fn, rows, columns)


def _moved_means(
    fn: RowTerms, wrt: Wrt, shared: Arrays, rows: Arrays, tangents: tuple[Any, Any]
) -> Float[Array, " columns"]:
    """Return the tangent of the means. XLA drops the operation if it is not used."""

    def means(some: Arrays, own: Arrays) -> Array:
        all_shared = replaced(shared, wrt.shared, some)
        return column_means(fn, all_shared, replaced(rows, wrt.rows, own))

    return jax.jvp(means, wrt.of(shared, rows), tangents)[1]


def _mean(
    fn: RowTerms, rows: Arrays, columns: Float[Array, "*lead columns"]
) -> Float[Array, " columns"]:
    # Divided before they are added up, which saves a kernel on GPU.
    parts = columns / n_rows_of(fn, rows).astype(columns.dtype)
    return jnp.sum(parts, axis=tuple(range(columns.ndim - 1)))


def n_rows_of(fn: RowTerms, rows: Arrays) -> Array:
    """Return the number of rows of nonzero length."""
    if fn.layout.has_lengths:
        lengths = rows[fn.layout.n_signals + len(fn.layout.kept_shapes)]
        return jnp.maximum(1, jnp.sum(jnp.any(lengths > 0, axis=-1)))
    n_rows = math.prod(jnp.broadcast_shapes(*(row.shape[:-1] for row in rows)))
    return jnp.asarray(n_rows, rows[0].dtype)


def _inner(gradient: Array, tangent: Array) -> Array:
    # No conjugate here: JAX's gradient of a real function of complex numbers is already
    # the conjugate of the direction of steepest ascent.
    return jnp.real(jnp.sum(gradient * tangent))


def _perturbed(tangents: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(i for i, t in enumerate(tangents) if not isinstance(t, SymbolicZero))
