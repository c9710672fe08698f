"""The value and the gradient of comparisons in one pass over the rows.

A loss is a scalar, so its gradient is one array of the signal's shape. Each piece of
the batch computes its values and, if anything is differentiated, the gradient at once;
spectra live as long as their piece. The derivative rule then is an inner product with
the stored gradient. It is a JVP rule written in JAX, so that forward mode, reverse
mode and higher derivatives follow from it.
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
from ._rows import RowValues


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def means(
    fn: RowValues, wants_columns: bool, shared: Arrays, rows: Arrays
) -> tuple[Arrays, Float[Array, " columns"] | None]:
    """Return the means over rows of all groups and of all columns.

    Of groups the gradient is taken in the same pass. Of columns it is taken in a pass
    of its own, if it is asked for at all. Without `wants_columns` they are left out.
    """
    (columns,), _ = evaluated(fn, shared, rows)
    return _means(fn, wants_columns, shared, rows, columns)


def _means(
    fn: RowValues,
    wants_columns: bool,
    shared: Arrays,
    rows: Arrays,
    columns: Float[Array, "*lead columns"],
) -> tuple[Arrays, Float[Array, " columns"] | None]:
    mean = _mean(fn, rows, columns)
    weights = fn.column_weights(shared)
    groups: list[Any] = [None] * fn.n_groups
    for i, (weight, group) in enumerate(zip(weights, fn.column_groups, strict=True)):
        part = mean[i] * jnp.asarray(weight).astype(mean.dtype)
        groups[group] = part if groups[group] is None else groups[group] + part
    return tuple(groups), mean if wants_columns else None


@functools.partial(means.defjvp, symbolic_zeros=True)
def _means_jvp(fn, wants_columns, primals, tangents):
    shared, rows = primals
    shared_tangents, row_tangents = tangents
    fn = dataclasses.replace(
        fn, wrt_shared=_perturbed(shared_tangents), wrt_rows=_perturbed(row_tangents)
    )
    (columns, *row_grads), shared_grads = evaluated(fn, shared, rows)
    values = _means(fn, wants_columns, shared, rows, columns)
    row_tangents = [row_tangents[i] for i in fn.wrt_rows]
    shared_tangents = [shared_tangents[i] for i in fn.wrt_shared]
    n_rows = n_rows_of(fn, rows)
    row_grads, shared_grads = iter(row_grads), iter(shared_grads)
    changes = []
    for group in values[0]:
        pairs = [(next(row_grads), t) for t in row_tangents]
        pairs += [(next(shared_grads), t) for t in shared_tangents]
        inner = _inner if len(values[0]) == 1 else _inner_or_zero
        change = sum((inner(g, t) for g, t in pairs), jnp.zeros_like(group))
        changes.append(change / n_rows.astype(change.dtype))
    moved = None
    if wants_columns:
        moved = lazy_tangents(fn, shared, rows, shared_tangents, row_tangents)
    return values, (tuple(changes), moved)


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


def _inner_or_zero(gradient: Array, tangent: Array) -> Array:
    """`_inner`, whose derivative is zero where the gradient is, infinity times it too.

    A quotient by next to nothing has an infinite slope to its denominator, which may
    not depend on the signal at all.
    """
    product = jnp.real(gradient * tangent)
    return jnp.sum(jnp.where(gradient == 0, jnp.zeros_like(product), product))


def _perturbed(tangents: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(i for i, t in enumerate(tangents) if not isinstance(t, SymbolicZero))
