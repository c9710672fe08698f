"""All pairs of two batches: `jax.vmap` of `jax.vmap`, each over one argument.

Pairs are compared in tiles of some signals of either batch. Each signal of a tile is
transformed once, not once for each pair.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ._functions import Arrays, RowFunction


def over_pairs(
    fn: RowFunction, shared: Arrays, rows: Arrays, lead: tuple[int, ...]
) -> Arrays | None:
    """Return the outputs of a row function for all pairs; `None` if the rows span none.

    Leading axes that the first row array has and the others lack, and the other way
    round, span the pairs. Each entry of an axis that both have is a batch of its own.
    """
    if not fn.takes_pairs or not all(isinstance(size, int) for size in lead):
        return None
    first, other = _axes_of(rows[:1], len(lead)), _axes_of(rows[1:], len(lead))
    both, own, others = first & other, first - other, other - first
    if not own or not others:
        return None
    groups = [sorted(axes) for axes in (both, own, others)]
    sizes = [math.prod(lead[axis] for axis in axes) for axes in groups]
    x = _arranged(rows[0], lead, groups[0], groups[1])
    rest = tuple(_arranged(row, lead, groups[0], groups[2]) for row in rows[1:])
    n_samples = rows[0].shape[-1]
    side = fn.pairs_at_once(sizes[1] * sizes[2], n_samples)
    run = functools.partial(_in_tiles, fn, shared, side)
    outputs = _mapped(lambda arrays: run(arrays[0], arrays[1:]), (x, *rest))
    order = [axis for axes in groups for axis in axes]
    return tuple(_in_place(output, lead, order) for output in outputs)


def _axes_of(rows: Arrays, n_lead: int) -> set[int]:
    """Return the leading axes along which any of the rows differ."""
    return {i for row in rows for i in range(n_lead) if row.shape[i] != 1}


def _arranged(
    row: Array, lead: tuple[int, ...], both: list[int], own: list[int]
) -> Array:
    """Return rows of shape `(n_both, n_own, ...)`."""
    wanted = {*both, *own}
    shape = tuple(size if i in wanted else 1 for i, size in enumerate(lead))
    rest = row.shape[len(lead) :]
    row = jnp.broadcast_to(row, (*shape, *rest))
    ones = [i for i in range(len(lead)) if i not in wanted]
    last = range(len(lead), row.ndim)
    row = jnp.transpose(row, (*both, *own, *ones, *last))
    return row.reshape(math.prod(lead[i] for i in both), -1, *rest)


def _in_place(output: Array, lead: tuple[int, ...], order: list[int]) -> Array:
    """Return the outputs of all pairs with the leading axes where they were."""
    own = output.shape[3:]
    output = output.reshape(*(lead[i] for i in order), *own)
    n = len(order)
    back = sorted(range(n), key=order.__getitem__)
    output = jnp.transpose(output, (*back, *range(n, output.ndim)))
    return output.reshape(*lead, *own)


def _in_tiles(
    fn: RowFunction, shared: Arrays, side: int, x: Array, others: Arrays
) -> Arrays:
    """Return the outputs of shape `(n_first, n_others, ...)`, tile by tile."""
    n, m = x.shape[0], others[0].shape[0]
    rows, columns = _cut(x, side), tuple(_cut(other, side) for other in others)

    def row_of_tiles(piece: Array) -> Arrays:
        return _mapped(lambda own: fn.of_pairs(shared, (piece, *own)), columns)

    outputs = _mapped(row_of_tiles, rows)
    joined = (jnp.moveaxis(output, 2, 1) for output in outputs)
    return tuple(
        o.reshape(o.shape[0] * o.shape[1], -1, *o.shape[4:])[:n, :m] for o in joined
    )


def _cut(rows: Array, side: int) -> Array:
    """Return rows in groups of at most `side`; the last row fills up the last one."""
    n_groups = -(-rows.shape[0] // side)
    size = -(-rows.shape[0] // n_groups)
    missing = n_groups * size - rows.shape[0]
    rows = jnp.pad(rows, [(0, missing), *[(0, 0)] * (rows.ndim - 1)], mode="edge")
    return rows.reshape(n_groups, size, *rows.shape[1:])


def _mapped(fn: Callable[[Any], Any], arrays: Any) -> Any:
    """`jax.lax.map`, without a loop for a single entry."""
    if jax.tree.leaves(arrays)[0].shape[0] > 1:
        return jax.lax.map(fn, arrays)
    result = fn(jax.tree.map(lambda array: array[0], arrays))
    return jax.tree.map(lambda array: array[None], result)
