"""Going through the rows of a batch in pieces, so that memory does not grow."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

from ._devices import varying_like
from ._rows import Arrays

PieceSize: TypeAlias = int | Literal["auto"] | None

# Samples of a piece. On CPU the spectra of a piece should stay in the cache: of 1 to
# 16 signals of 44100 samples, pieces of 1 and 2 were fastest (of 2 for the smooth
# loss), and memory grows with the piece. On accelerators a piece must be large enough
# to keep the device busy.
_SAMPLES = {"cpu": 90_000, "gpu": 2**22, "tpu": 2**22}


def rows_in_piece(n_rows: int, n_samples: int, piece_size: PieceSize) -> int:
    """Return how many rows to evaluate at a time.

    An automatic size is lowered, by less than half, to one that divides the number of
    rows if there is such a size: a rest would be compiled as a second program.
    """
    if piece_size is None:
        return max(1, n_rows)
    if piece_size != "auto":
        return min(piece_size, max(1, n_rows))
    budget = _SAMPLES.get(jax.default_backend(), _SAMPLES["gpu"])
    most = max(1, min(n_rows, round(budget / n_samples)))
    divisors = [k for k in range(most, most // 2, -1) if n_rows % k == 0]
    return divisors[0] if divisors else most


def in_pieces(
    fn: Callable[[Arrays], tuple[Arrays, Arrays]],
    rows: Arrays,
    size: int,
    like_sums: Arrays,
) -> tuple[Arrays, Arrays]:
    """Apply `fn` to pieces of `size` rows; join its row outputs, add up its sums.

    **Arguments:**

    - `fn`: takes arrays of shape `(k, ...)`, returns `(row_outputs, sums)`: arrays of
        shape `(k, ...)` and arrays of any shape that are sums over rows.
    - `rows`: arrays of shape `(n_rows, ...)`.
    - `size`: rows in a piece.
    - `like_sums`: arrays of the shapes and dtypes of the sums. Asking `fn` for them
        would trace it once more: a third of the time to a compiled loss.
    """
    n_rows = rows[0].shape[0]
    if n_rows <= size:
        return fn(rows)
    n_pieces, rest = divmod(n_rows, size)
    cut = n_pieces * size
    pieces = tuple(r[:cut].reshape(n_pieces, size, *r.shape[1:]) for r in rows)

    def step(sums: Arrays, piece: Arrays) -> tuple[Arrays, Arrays]:
        row_outputs, more = fn(piece)
        return _add(sums, more), row_outputs

    zeros = tuple(varying_like(jnp.zeros(s.shape, s.dtype), rows[0]) for s in like_sums)
    sums, stacked = jax.lax.scan(step, zeros, pieces)
    outputs = tuple(o.reshape(cut, *o.shape[2:]) for o in stacked)
    if rest:
        last_outputs, last_sums = fn(tuple(r[cut:] for r in rows))
        joined = zip(outputs, last_outputs, strict=True)
        outputs = tuple(jnp.concatenate(pair) for pair in joined)
        sums = _add(sums, last_sums)
    return outputs, sums


def _add(sums: Arrays, more: Arrays) -> Arrays:
    return tuple(a + b for a, b in zip(sums, more, strict=True))
