"""Evaluating a batch in pieces of its rows, so that memory does not grow with it."""

import functools
import math
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax

from korvax_eqx._platform import target

from ._functions import Arrays, Kinds, RowFunction
from ._pairs import over_pairs
from ._segments import filled, in_segments, zero_like
from ._varying import varying_like

MaybeArrays: TypeAlias = tuple[Array | None, ...]

# Samples of a block, see `Platform.in_blocks`. On CPU, blocks save about a tenth of the
# time of a multi-resolution loss.
_BLOCK = 32


def over_rows(
    fn: RowFunction, is_share: bool, shared: Arrays, rows: Arrays
) -> tuple[Arrays, Arrays]:
    """Apply a row function to rows with any number of leading axes, in pieces.

    `is_share` says that the rows are one device's share of a batch.
    """
    n_lead, n_samples = rows[0].ndim - 1, rows[0].shape[-1]
    lead = jnp.broadcast_shapes(*(row.shape[:n_lead] for row in rows))
    n_rows = math.prod(lead)
    kinds, sum_kinds = fn.kinds(_kinds(shared, 0), _kinds(rows, n_lead))
    if isinstance(n_rows, int) and n_rows == 0:  # `jax.vmap` over an empty axis
        zero = varying_like(jnp.zeros((), rows[0].dtype), rows[0])
        outputs = tuple(filled(zero, (*lead, *k.shape), k.dtype) for k in kinds)
        return outputs, tuple(filled(zero, k.shape, k.dtype) for k in sum_kinds)
    of_pairs = over_pairs(fn, shared, rows, lead)
    if of_pairs is not None:
        return of_pairs, ()
    flat = tuple(_flat(row, lead) for row in rows)
    segments = fn.segments(n_samples) if isinstance(n_samples, int) else None
    if segments is not None:
        flat = tuple(jnp.broadcast_to(r, (n_rows, *r.shape[1:])) for r in flat)
        outputs, sums = in_segments(segments, shared, flat)
    else:
        size = fn.rows_at_once(n_rows, n_samples)
        if isinstance(n_rows, int) and n_rows <= size:
            every = tuple(jnp.broadcast_to(r, (n_rows, *r.shape[1:])) for r in flat)
            outputs, sums = fn(shared, every, not is_share)
        else:
            loop = functools.partial(
                _in_pieces, fn, shared, flat, lead, size, kinds, sum_kinds
            )
            outputs, sums = _in_its_turn(loop, rows[0]) if fn.waits else loop()
    pairs = zip(outputs, kinds, strict=True)
    return tuple(o.reshape(*lead, *k.shape) for o, k in pairs), sums


def _in_its_turn(loop: Any, x: Array) -> tuple[Arrays, Arrays]:
    """Run a loop inside a conditional, so that its buffers are allocated at its start.

    XLA for CPU fills the output buffers of a loop as early as it can. With several
    transforms, all gradients would be allocated while all spectra are held.
    """
    if not target().in_turn:
        return loop()
    zero = zero_like(x)
    kinds = jax.eval_shape(loop)
    number = jnp.real(x[(slice(0, 1),) * x.ndim]).reshape(())
    is_never = (number != number) & jnp.isfinite(number)  # unknown to XLA

    def nothing() -> tuple[Arrays, Arrays]:
        return jax.tree.map(lambda k: filled(zero, k.shape, k.dtype), kinds)

    return lax.cond(is_never, nothing, loop)


def _kinds(arrays: Arrays, n_leading: int) -> Kinds:
    return tuple(jax.ShapeDtypeStruct(a.shape[n_leading:], a.dtype) for a in arrays)


def _flat(row: Array, lead: tuple[int, ...]) -> Array:
    """Return the rows along one axis, of size 1 if all rows are the same."""
    own, rest = row.shape[: len(lead)], row.shape[len(lead) :]
    if own != lead and any(size != 1 for size in own):
        # Broadcast along some leading axes only, as the gradients of all pairs are.
        row = jnp.broadcast_to(row, (*lead, *rest))
    return row.reshape(-1, *rest)


def pieces_of(n_rows: Any, n_samples: int, budget: int) -> int:
    """Return how many rows of `n_samples` to evaluate at a time.

    About as many as fit the `budget` of samples. The largest divisor of `n_rows` up to
    that number is used if it is at least half of it: a remainder would be compiled as a
    second program.
    """
    if not isinstance(n_rows, int):
        return 1  # a symbolic shape, in `jax.export`
    most = max(1, min(n_rows, round(budget / max(1, n_samples))))
    divisors = [k for k in range(most, (most - 1) // 2, -1) if n_rows % k == 0]
    return divisors[0] if divisors else most


def _in_pieces(
    fn: RowFunction,
    shared: Arrays,
    rows: Arrays,
    lead: tuple[int, ...],
    size: int,
    kinds: Kinds,
    sum_kinds: Kinds,
) -> tuple[Arrays, Arrays]:
    """Apply `fn` to pieces of `size` rows; join its row outputs, add up its sums.

    `rows` have shape `(n_rows, ...)`, or `(1, ...)` to be broadcast.
    """
    n_rows: Any = math.prod(lead)
    own_shapes = [row.shape[1:] for row in rows]
    is_common = [isinstance(r.shape[0], int) and r.shape[0] == 1 for r in rows]
    flat = tuple(r.reshape(r.shape[0], math.prod(r.shape[1:])) for r in rows)
    own = tuple(r for common, r in zip(is_common, flat, strict=True) if not common)
    in_blocks = fn.adds_frames and target().in_blocks

    def applied(piece: Arrays, n: int) -> tuple[Arrays, Arrays]:
        """Apply `fn` to the rows of a piece, and to the rows that are broadcast."""
        mine = iter(piece)
        every = [
            jnp.broadcast_to(r, (n, r.shape[-1])) if common else next(mine)
            for common, r in zip(is_common, flat, strict=True)
        ]
        shaped = zip(every, own_shapes, strict=True)
        outputs, sums = fn(shared, tuple(r.reshape(n, *s) for r, s in shaped), False)
        return tuple(o.reshape(n, -1) for o in outputs), sums

    n_pieces, rest = divmod(n_rows, size)
    cut = n_pieces * size
    # Flat, because XLA copies the whole batch if pieces have an axis of size 1. Cutting
    # off a remainder would copy it too, so then the loop slices the rows.
    pieces = () if rest else tuple(r.reshape(n_pieces, -1) for r in own)

    def step(carry: tuple[Arrays, MaybeArrays, Arrays], at: tuple[Array, Arrays]):
        (outputs, late, sums), (start, piece) = carry, at
        outputs = _put(outputs, late, jnp.maximum(start - size, 0))
        if rest:
            take = functools.partial(lax.dynamic_slice_in_dim, slice_size=size)
            piece = tuple(take(r, start) for r in own)
        parts, more = applied(tuple(r.reshape(size, -1) for r in piece), size)
        now, late = _now_and_late(parts, in_blocks)
        return (_put(outputs, now, start), late, _add(sums, more)), None

    # Outputs are written in place, in their final shape if one axis has all rows. If
    # the loop stacked them, or they were reshaped at the end, XLA would copy them: a
    # second gradient in memory.
    zero = zero_like(rows[0])
    sizes = [math.prod(k.shape) for k in kinds]
    dtypes = [k.dtype for k in kinds]
    pairs = list(zip(sizes, dtypes, strict=True))
    buffers = tuple(filled(zero, (*_buffer_lead(lead), n), d) for n, d in pairs)
    empty = tuple(filled(zero, (size, n), d) for n, d in pairs)
    _, late = _now_and_late(empty, in_blocks)
    sums = tuple(filled(zero, k.shape, k.dtype) for k in sum_kinds)
    starts = size * jnp.arange(n_pieces)
    carry, _ = lax.scan(step, (buffers, late, sums), (starts, pieces))
    outputs, late, sums = carry
    outputs = _put(outputs, late, jnp.asarray(cut - size))
    if rest:
        parts, more = applied(tuple(r[cut:] for r in own), rest)
        outputs, sums = _put(outputs, parts, jnp.asarray(cut)), _add(sums, more)
    return outputs, sums


def _buffer_lead(lead: tuple[int, ...]) -> tuple[int, ...]:
    is_one_axis = sum(size != 1 for size in lead) == 1
    return lead if is_one_axis else (math.prod(lead),)


def _now_and_late(parts: Arrays, in_blocks: bool) -> tuple[MaybeArrays, MaybeArrays]:
    """Return the outputs of a piece to write now, and those to write a step later.

    Long rows are written a step later. They are computed in blocks, padded with zeros,
    and kept until the next step joins and trims them. If they were joined in the same
    step, XLA would fuse the two and compute the rows sample by sample.
    """
    is_late = [in_blocks and part.shape[-1] > _BLOCK for part in parts]
    pairs = list(zip(parts, is_late, strict=True))
    now = tuple(None if late else part for part, late in pairs)
    return now, tuple(_in_blocks(part) if late else None for part, late in pairs)


def _in_blocks(part: Array) -> Array:
    n_rows, n = part.shape
    return jnp.pad(part, [(0, 0), (0, -n % _BLOCK)]).reshape(n_rows, -1, _BLOCK)


def _put(outputs: Arrays, parts: MaybeArrays, start: Array) -> Arrays:
    """Write rows, or their blocks, into buffers, from row number `start` on."""
    put = []
    for output, part in zip(outputs, parts, strict=True):
        if part is not None:
            *lead, n = output.shape
            axis = next(i for i, size in enumerate(lead) if size != 1)
            rows = part.reshape(part.shape[0], -1)[:, :n]
            rows = rows.reshape(*lead[:axis], -1, *lead[axis + 1 :], n)
            output = lax.dynamic_update_slice_in_dim(output, rows, start, axis)
        put.append(output)
    return tuple(put)


def _add(sums: Arrays, more: Arrays) -> Arrays:
    return tuple(a + b for a, b in zip(sums, more, strict=True))
