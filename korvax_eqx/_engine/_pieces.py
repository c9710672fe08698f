"""Going through the rows of a batch in pieces, so that memory does not grow."""

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

from ._devices import varying_like
from ._rows import Arrays

PieceSize: TypeAlias = int | Literal["auto"] | None

# Samples of a piece. On CPU the spectra of a piece should stay in the cache: of 1 to
# 16 signals of 44100 samples, pieces of 1 and 2 were fastest (of 2 for the smooth
# loss), and memory grows with the piece. On accelerators a piece must be large enough
# to keep the device busy.
_SAMPLES = {"cpu": 90_000, "gpu": 2**22, "tpu": 2**22}

# Long outputs leave a piece as blocks of this many samples. XLA computes, for every
# sample of a gradient, its frame and its place in it: in blocks that no hop cuts, once
# a block. Measured on CPU, about a tenth of the time of a multi-resolution loss.
_BLOCK = 32

MaybeArrays: TypeAlias = tuple[Array | None, ...]


def rows_in_piece(n_rows: int, n_samples: int, piece_size: PieceSize) -> int:
    """Return how many rows to evaluate at a time.

    An automatic size is lowered, by at most half, to one that divides the number of
    rows if there is such a size: a rest would be compiled as a second program.
    """
    if piece_size is None:
        return max(1, n_rows)
    if piece_size != "auto":
        return min(piece_size, max(1, n_rows))
    budget = _SAMPLES.get(jax.default_backend(), _SAMPLES["gpu"])
    most = max(1, min(n_rows, round(budget / n_samples)))
    divisors = [k for k in range(most, (most - 1) // 2, -1) if n_rows % k == 0]
    return divisors[0] if divisors else most


def in_pieces(
    fn: Callable[[Arrays], tuple[Arrays, Arrays]],
    rows: Arrays,
    size: int,
    like_outputs: Arrays,
    like_sums: Arrays,
) -> tuple[Arrays, Arrays]:
    """Apply `fn` to pieces of `size` rows; join its row outputs, add up its sums.

    **Arguments:**

    - `fn`: takes arrays of shape `(k, n)`, returns `(row_outputs, sums)`: arrays of
        shape `(k, m)` and arrays of any shape that are sums over rows.
    - `rows`: arrays of shape `(n_rows, n)`.
    - `size`: rows in a piece.
    - `like_outputs`, `like_sums`: arrays of the shapes and dtypes of the results, of
        which the outputs may have several leading axes that make up `n_rows`. Asking
        `fn` for them would trace it once more: a third of the time to a compiled loss.
    """
    n_rows = rows[0].shape[0]
    if n_rows <= size:
        outputs, sums = fn(rows)
        return _shaped(outputs, like_outputs), sums
    n_pieces, rest = divmod(n_rows, size)
    cut = n_pieces * size
    # Flat: for an axis of one row in a piece, XLA copies the whole batch.
    pieces = tuple(r[:cut].reshape(n_pieces, -1) for r in rows)

    def step(carry: tuple[Arrays, MaybeArrays, Arrays], at: tuple[Array, Arrays]):
        (outputs, late, sums), (start, piece) = carry, at
        outputs = _put(outputs, late, jnp.maximum(start - size, 0))
        parts, more = fn(tuple(r.reshape(size, -1) for r in piece))
        now, late = _now_and_late(parts)
        return (_put(outputs, now, start), late, _add(sums, more)), None

    # The outputs are written in place, in their final shape if one axis has all rows.
    # Stacked by the loop or reshaped at the end, XLA would copy them: a second gradient
    # in memory.
    buffers = tuple(_zeros(a.reshape(_buffer_shape(a)), rows[0]) for a in like_outputs)
    # Parts of the outputs, as only these know the mesh that they are on.
    parts = tuple(a.reshape(n_rows, -1)[:size] for a in like_outputs)
    _, late = _now_and_late(tuple(_zeros(part, rows[0]) for part in parts))
    sums = tuple(_zeros(a, rows[0]) for a in like_sums)
    starts = size * jnp.arange(n_pieces)
    carry, _ = jax.lax.scan(step, (buffers, late, sums), (starts, pieces))
    outputs, late, sums = carry
    outputs = _put(outputs, late, jnp.asarray(cut - size))
    if rest:
        parts, more = fn(tuple(r[cut:] for r in rows))
        outputs, sums = _put(outputs, parts, jnp.asarray(cut)), _add(sums, more)
    return _shaped(outputs, like_outputs), sums


def _buffer_shape(like: Array) -> tuple[int, ...]:
    *lead, n = like.shape
    is_one_axis = sum(size != 1 for size in lead) == 1
    return (*lead, n) if is_one_axis else (math.prod(lead), n)


def _now_and_late(parts: Arrays) -> tuple[MaybeArrays, MaybeArrays]:
    """Return what of a piece is written at once, and what in the next step.

    Long rows are late: made as blocks, with zeros at the end, which are kept for a
    step and then cut and joined. Joined at once, XLA would make them sample by sample.
    """
    is_late = [part.shape[-1] > _BLOCK for part in parts]
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
