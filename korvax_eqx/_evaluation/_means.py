"""The value and the gradient of comparisons in one pass over the rows.

A loss is a scalar, so its gradient is one array of the signal's shape. Each piece of
the batch computes its values and, if anything is differentiated, the gradient at once;
spectra live as long as their piece. The derivative rule then is an inner product with
the stored gradient. It is a JVP rule written in JAX, so that forward mode, reverse
mode and higher derivatives follow from it. Only a loss that is a function of means over
the batch takes a pass before, without gradients, for these means.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from korvax_eqx._tree import Arrays

from ._evaluated import evaluated, n_rows_of
from ._lazy import lazy_tangents
from ._rows import RowValues, replaced


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def total(
    fn: RowValues, wants_columns: bool, shared: Arrays, rows: Arrays
) -> tuple[Float[Array, ""], Float[Array, " columns"] | None]:
    """Return the sum of all terms and the means over rows of all columns.

    Of the sum the gradient is taken in the same pass. Of columns it is taken in a pass
    of its own, if it is asked for at all. Without `wants_columns` they are left out.
    """
    (columns,), _ = evaluated(fn, shared, rows)
    means = _mean(fn, rows, columns)
    return fn.total(shared, means), means if wants_columns else None


@functools.partial(total.defjvp, symbolic_zeros=True)
def _total_jvp(fn, wants_columns, primals, tangents):
    shared, rows = primals
    wrt_shared, wrt_rows = map(_perturbed, tangents)
    shared_tangents = [tangents[0][i] for i in wrt_shared]
    row_tangents = [tangents[1][i] for i in wrt_rows]
    moving = dataclasses.replace(fn, wrt_shared=wrt_shared, wrt_rows=wrt_rows)
    arrays, finished_means = shared, 0.0
    if fn.is_finished:
        # How much a row adds to a term depends on all rows. So what these terms are
        # made of is computed first, in a pass without gradients: keeping a gradient of
        # every column takes as long, and the memory of as many signals.
        finished_means = _finished_means(fn, shared, rows)
        arrays = (_slopes(fn, shared, finished_means), *shared)
        moving = dataclasses.replace(
            moving, wrt_shared=tuple(i + 1 for i in wrt_shared), has_cotangents=True
        )
    (columns, *row_grads), shared_grads = evaluated(moving, arrays, rows)
    means = _mean(fn, rows, columns) + finished_means
    value = fn.total(shared, means)
    pairs = zip(
        (*row_grads, *shared_grads), (*row_tangents, *shared_tangents), strict=True
    )
    change = sum((_inner(g, t) for g, t in pairs), jnp.zeros_like(value))
    change = change / n_rows_of(fn, rows).astype(change.dtype)
    if fn.is_finished and wrt_shared:
        # Weights and what else finishes the terms.
        def finished(some_shared: Arrays) -> Array:
            return fn.total(replaced(shared, wrt_shared, some_shared), means)

        own = tuple(shared[i] for i in wrt_shared)
        _, direct = jax.jvp(finished, (own,), (tuple(shared_tangents),))
        change = change + direct
    moved = None
    if wants_columns:
        lazy = dataclasses.replace(fn, wrt_shared=wrt_shared, wrt_rows=wrt_rows)
        moved = lazy_tangents(lazy, shared, rows, shared_tangents, row_tangents)
    return (value, means if wants_columns else None), (change, moved)


def _finished_means(
    fn: RowValues, shared: Arrays, rows: Arrays
) -> Float[Array, " columns"]:
    """Return the means of the columns of terms that are more than a mean."""
    (columns,), _ = evaluated(dataclasses.replace(fn, only_finished=True), shared, rows)
    return _mean(fn, rows, columns)


def _slopes(
    fn: RowValues, shared: Arrays, means: Float[Array, " columns"]
) -> Float[Array, " columns"]:
    """Return the derivative of the sum of all terms by the mean of each column.

    A quotient by next to nothing has an infinite slope to its denominator, which may
    not depend on the signal at all: it is finite, so that zero times it is zero.
    """
    slopes = jax.grad(fn.total, argnums=1)(shared, means)
    most = jnp.finfo(slopes.dtype).max
    # Not `clip`, whose derivative asks where the result is equal to what was clipped.
    return jnp.where(jnp.isinf(slopes), jnp.copysign(most, slopes), slopes)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def column_means(
    fn: RowValues, shared: Arrays, rows: Arrays
) -> Float[Array, " columns"]:
    """Return the means over rows of all columns, without a gradient in the same pass.

    For whoever differentiates a combination of terms of his own.
    """
    (columns,), _ = evaluated(fn, shared, rows)
    return _mean(fn, rows, columns)


@functools.partial(column_means.defjvp, symbolic_zeros=True)
def _column_means_jvp(fn, primals, tangents):
    shared, rows = primals
    shared_tangents, row_tangents = tangents
    wrt_shared, wrt_rows = _perturbed(shared_tangents), _perturbed(row_tangents)
    moving = dataclasses.replace(fn, wrt_shared=wrt_shared, wrt_rows=wrt_rows)
    moved = lazy_tangents(
        moving,
        shared,
        rows,
        [shared_tangents[i] for i in wrt_shared],
        [row_tangents[i] for i in wrt_rows],
    )
    return column_means(fn, shared, rows), moved


def _mean(
    fn: RowValues, rows: Arrays, columns: Float[Array, "*lead columns"]
) -> Float[Array, " columns"]:
    axes = tuple(range(columns.ndim - 1))
    return jnp.sum(columns, axis=axes) / n_rows_of(fn, rows).astype(columns.dtype)


def _inner(gradient: Array, tangent: Array) -> Array:
    # The gradient of a real function of complex numbers is, as JAX has it, the
    # conjugate of the direction of ascent: no conjugate here.
    return jnp.real(jnp.sum(gradient * tangent))


def _perturbed(tangents: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(i for i, t in enumerate(tangents) if not isinstance(t, SymbolicZero))
