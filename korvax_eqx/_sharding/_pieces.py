"""Going through the rows of a batch in pieces, so that memory does not grow."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

from ._devices import varying_like
from ._rows import Arrays

# Long outputs leave a piece as blocks of this many samples. XLA computes, for every
# sample of a gradient, its frame and its place in it: in blocks that no hop cuts, once
# a block. Measured on CPU, about a tenth of the time of a multi-resolution loss.
_BLOCK = 32

MaybeArrays: TypeAlias = tuple[Array | None, ...]


def limit_of(samples: Mapping[str, int]) -> int:
    """Return the entry for this backend."""
    return samples.get(jax.default_backend(), samples["gpu"])


def rows_within(n_rows: Any, n_samples: int, samples: Mapping[str, int]) -> int:
    """Return how many rows of `n_samples` to evaluate at a time.

    About as many as make up the `samples` for this backend. Lowered, by at most half,
    to a number that divides the number of rows if there is one: a rest would be
    compiled as a second program.
    """
    if not isinstance(n_rows, int):
        return 1  # of a symbolic shape, for `jax.export`
    budget = limit_of(samples)
    most = max(1, min(n_rows, round(budget / max(1, n_samples))))
    divisors = [k for k in range(most, (most - 1) // 2, -1) if n_rows % k == 0]
    return divisors[0] if divisors else most


def in_pieces(
    fn: Callable[[Arrays], tuple[Arrays, Arrays]],
    rows: Arrays,
    n_rows: int,
    size: int,
    like_outputs: Arrays,
    like_sums: Arrays,
    in_blocks: bool = True,
) -> tuple[Arrays, Arrays]:
    """Apply `fn` to pieces of `size` rows; join its row outputs, add up its sums.

    **Arguments:**

    - `fn`: takes arrays of shape `(k, n)`, returns `(row_outputs, sums)`: arrays of
        shape `(k, m)` and arrays of any shape that are sums over rows.
    - `rows`: arrays of shape `(n_rows, n)`, or `(1, n)` of one that is the same for
        all.
    - `size`: rows in a piece.
    - `like_outputs`, `like_sums`: arrays of the shapes and dtypes of the results, of
        which the outputs may have several leading axes that make up `n_rows`. Asking
        `fn` for them would trace it once more: a third of the time to a compiled loss.
    - `in_blocks`: whether long row outputs are sums over overlapping frames, which are
        made faster in blocks.
    """
    is_common = [r.shape[0] != n_rows for r in rows]

    def applied(piece: Arrays, n: int) -> tuple[Arrays, Arrays]:
        """`fn` of the rows of a piece and those that are the same for all."""
        own = iter(piece)
        pairs = zip(is_common, rows, strict=True)
        return fn(
            tuple(
                jnp.broadcast_to(r, (n, r.shape[-1])) if common else next(own)
                for common, r in pairs
            )
        )

    own = tuple(r for common, r in zip(is_common, rows, strict=True) if not common)
    if isinstance(n_rows, int) and n_rows <= size:
        outputs, sums = applied(own, n_rows)
        return _shaped(outputs, like_outputs), sums
    n_pieces, rest = divmod(n_rows, size)
    cut = n_pieces * size
    # Flat: for an axis of one row in a piece, XLA copies the whole batch. With a rest
    # the loop would get a copy as well, and so takes its pieces itself.
    pieces = () if rest else tuple(r.reshape(n_pieces, -1) for r in own)

    def step(carry: tuple[Arrays, MaybeArrays, Arrays], at: tuple[Array, Arrays]):
        (outputs, late, sums), (start, piece) = carry, at
        outputs = _put(outputs, late, jnp.maximum(start - size, 0))
        if rest:
            take = functools.partial(jax.lax.dynamic_slice_in_dim, slice_size=size)
            piece = tuple(take(r, start) for r in own)
        parts, more = applied(tuple(r.reshape(size, -1) for r in piece), size)
        now, late = _now_and_late(parts, in_blocks)
        return (_put(outputs, now, start), late, _add(sums, more)), None

    # The outputs are written in place, in their final shape if one axis has all rows.
    # Stacked by the loop or reshaped at the end, XLA would copy them: a second gradient
    # in memory.
    buffers = tuple(_zeros(a.reshape(_buffer_shape(a)), rows[0]) for a in like_outputs)
    # Parts of the outputs, as only these know the mesh that they are on.
    parts = tuple(a.reshape(n_rows, -1)[:size] for a in like_outputs)
    _, late = _now_and_late(tuple(_zeros(p, rows[0]) for p in parts), in_blocks)
    sums = tuple(_zeros(a, rows[0]) for a in like_sums)
    starts = size * jnp.arange(n_pieces)
    carry, _ = jax.lax.scan(step, (buffers, late, sums), (starts, pieces))
    outputs, late, sums = carry
    outputs = _put(outputs, late, jnp.asarray(cut - size))
    if rest:
        parts, more = applied(tuple(r[cut:] for r in own), rest)
        outputs, sums = _put(outputs, parts, jnp.asarray(cut)), _add(sums, more)
    return _shaped(outputs, like_outputs), sums


def _buffer_shape(like: Array) -> tuple[int, ...]:
    *lead, n = like.shape
    is_one_axis = sum(size != 1 for size in lead) == 1
    return (*lead, n) if is_one_axis else (math.prod(lead), n)


def _now_and_late(parts: Arrays, in_blocks: bool) -> tuple[MaybeArrays, MaybeArrays]:
    """Return what of a piece is written at once, and what in the next step.

    Long rows are late: made as blocks, with zeros at the end, which are kept for a
    step and then cut and joined. Joined at once, XLA would make them sample by sample.
    """
    is_late = [in_blocks and part.shape[-1] > _BLOCK for part in parts]
    pairs = list(zip(parts, is_late, strict=True))
    now = tuple(None if late else part for part, late in pairs)
    return now, tuple(_in_blocks(part) if late else None for part, late in pairs)


def _in_blocks(part: Array) -> Array:
    n_rows, n = part.shape
    return jnp.pad(part, [(0, 0), (0, -n % _BLOCK)]).reshape(n_rows, -1, _BLOCK)


def _zeros(like: Array, rows: Array) -> Array:
    return varying_like(jnp.zeros_like(like), rows)


def _put(outputs: Arrays, parts: MaybeArrays, start: Array) -> Arrays:
    """Write rows, or their blocks, into buffers, from row number `start` on."""
    put = []
    for output, part in zip(outputs, parts, strict=True):
        if part is not None:
            *lead, n = output.shape
            axis = next(i for i, size in enumerate(lead) if size != 1)
            rows = part.reshape(part.shape[0], -1)[:, :n]
            rows = rows.reshape(*lead[:axis], -1, *lead[axis + 1 :], n)
            update = jax.lax.dynamic_update_slice_in_dim
            output = update(output, rows, start, axis)
        put.append(output)
    return tuple(put)


def _shaped(outputs: Arrays, like: Arrays) -> Arrays:
    return tuple(o.reshape(a.shape) for o, a in zip(outputs, like, strict=True))


def _add(sums: Arrays, more: Arrays) -> Arrays:
    return tuple(a + b for a, b in zip(sums, more, strict=True))
