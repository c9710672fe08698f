"""Rows to the columns of all comparisons and, if asked for, their gradients."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from korvax_eqx._sharding._devices import varying_like
from korvax_eqx._sharding._pieces import MaybeArrays, in_pieces
from korvax_eqx._sharding._segments import Framing, Kind, Segments, added_in_segments
from korvax_eqx._tree import Arrays, Skeleton

from ._comparison import (
    AbstractComparison,
    target_of_events,
    values_of_events,
    weighed,
)
from ._layout import Layout
from ._long import Ends, framing_of, segment_columns
from ._pieces import SAMPLES, Pieces, rows_in_piece


@dataclasses.dataclass(frozen=True)
class RowValues:
    """Rows to columns, one number a row for each, and gradients of a weighted sum.

    The weights are those of the terms, which all are means over rows then, or given
    for each column.

    **Arguments:**

    - `skeleton`: the comparisons without their arrays; the arrays come as `shared`.
    - `layout`: of the rows.
    - `wrt_shared`, `wrt_rows`: which arrays to differentiate for.
    - `has_cotangents`: whether the first of the shared arrays holds the weights of all
        columns. Those of terms that are more than a mean, which had to be known for
        their weights, are not returned: zeros.
    - `only_finished`: whether those alone are computed, and the others are zeros.
    """

    skeleton: Skeleton
    layout: Layout
    wrt_shared: tuple[int, ...] = ()
    wrt_rows: tuple[int, ...] = ()
    has_cotangents: bool = False
    only_finished: bool = False

    @functools.cached_property
    def column_sizes(self) -> tuple[int, ...]:
        """Of the term of each column, the number of columns."""
        sizes = (n for c in self.skeleton.leafless() for n in c.n_columns)
        return tuple(n for n in sizes for _ in range(n))

    @property
    def n_columns(self) -> int:
        return len(self.column_sizes)

    @property
    def is_finished(self) -> bool:
        """Whether a term is more than the mean of a column."""
        return any(n > 1 for n in self.column_sizes)

    def terms(self, shared: Arrays, means: Array) -> list[Array]:
        """Return the weighted terms, given the means over rows of the columns."""
        rest, terms = iter(means), []
        for comparison in self._comparisons(shared):
            weights = zip(comparison.weights, comparison.n_columns, strict=True)
            for i, (weight, n) in enumerate(weights):
                own = tuple(itertools.islice(rest, n))
                terms.append(weighed(comparison.finish(i, own), weight))
        return terms

    def total(self, shared: Arrays, means: Array) -> Array:
        """Return the sum of the terms."""
        return sum(self.terms(shared, means), jnp.zeros((), means.dtype))

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        """Return the columns and the rows' gradients, and the sums of the others'."""
        lead = jnp.broadcast_shapes(*(row.shape[:-1] for row in rows))
        flat = tuple(_flat(row, lead) for row in rows)
        n_rows, n_samples = math.prod(lead), flat[0].shape[-1]
        comparisons = self._comparisons(shared)
        sizes: set[Pieces] = {c.piece_size for c in comparisons}  # pyright: ignore
        if self.layout.has_lengths and "fused" in sizes:
            sizes.add("auto")  # signals that are cut off take memory
        size = min(rows_in_piece(n_rows, n_samples, size) for size in sizes)
        columns = jnp.broadcast_to(jnp.zeros_like(rows[0])[..., :1], (*lead, 1))
        columns = jnp.broadcast_to(columns, (*lead, self.n_columns))
        likes = tuple(
            jnp.broadcast_to(rows[i], (*lead, rows[i].shape[-1])) for i in self.wrt_rows
        )
        like_outputs = (columns, *likes)
        like_sums = tuple(shared[i] for i in self.wrt_shared)
        if isinstance(n_rows, int) and n_rows == 0:  # of `jax.vmap` over no examples
            return like_outputs, jax.tree.map(jnp.zeros_like, like_sums)
        piece = functools.partial(self._piece, shared)
        # In blocks the gradient of a long signal would be in memory twice more.
        in_blocks = not self._segments(range(len(comparisons)), shared, flat)
        return in_pieces(piece, flat, n_rows, size, like_outputs, like_sums, in_blocks)

    def _comparisons(self, shared: Arrays) -> tuple[AbstractComparison, ...]:
        return self.skeleton.filled(shared[1:] if self.has_cotangents else shared)

    def _piece(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        comparisons = self.skeleton.leafless()
        units = sorted({comparisons[i].unit for i in self._needed()})
        if len(units) == 1:
            grads, columns = self._unit(units[0], shared, rows, ())
            return self._outputs(rows, columns, grads)
        # Units after one another: each is a conditional, which XLA runs as a whole, and
        # passes the gradient on. The condition always holds, which XLA does not know.
        is_true = _always_true(rows[0][0, 0])
        grads = self._no_grads(shared, rows)
        columns: dict[int, Array] = {}
        for unit in units:
            unit_of = functools.partial(self._unit, unit, shared, rows)
            never = functools.partial(_never, jax.eval_shape(unit_of, grads))
            # Both vary over the devices of a user's `shard_map`, as rows do.
            branches = (_varying(fn, rows[0]) for fn in (unit_of, never))
            grads, new = jax.lax.cond(is_true, *branches, grads)
            columns.update(new)
        return self._outputs(rows, columns, grads)

    def _unit(
        self, unit: int, shared: Arrays, rows: Arrays, grads: Arrays
    ) -> tuple[Arrays, dict[int, Array]]:
        """Return the gradients with those of a unit added, and its columns by number.

        Gradients that are empty are zeros.
        """
        comparisons = self.skeleton.leafless()
        own = [i for i in self._needed() if comparisons[i].unit == unit]
        segments = self._segments(own, shared, rows) if rows[0].shape[0] == 1 else {}
        whole = [i for i in own if i not in segments]
        columns: dict[int, Array] = {}
        if whole:
            of_whole = functools.partial(self._columns, whole)
            more, columns = self._gradients(of_whole, shared, rows)
            grads = tuple(map(jnp.add, grads, more)) if grads else more
        if segments:
            grads = grads or self._no_grads(shared, rows)
            grads, more = self._in_segments(segments, shared, rows, grads)
            columns = {**columns, **more}
        return grads, columns

    def _gradients(
        self, columns_of: Any, shared: Arrays, rows: Arrays
    ) -> tuple[Arrays, dict[int, Array]]:
        """Return the gradients of the weighted sum of some columns, and the columns."""
        if not (self.wrt_shared or self.wrt_rows):
            return (), columns_of(shared, rows)

        def total(
            some_shared: Arrays, some_rows: Arrays
        ) -> tuple[Array, dict[int, Array]]:
            all_shared = replaced(shared, self.wrt_shared, some_shared)
            all_rows = replaced(rows, self.wrt_rows, some_rows)
            columns = columns_of(all_shared, all_rows)
            weights = self._column_weights(all_shared)
            parts = [weighed(column, weights[i]) for i, column in columns.items()]
            return jnp.sum(sum(parts[1:], parts[0])), columns

        arrays = (
            tuple(shared[i] for i in self.wrt_shared),
            tuple(rows[i] for i in self.wrt_rows),
        )
        gradient = jax.grad(total, argnums=(0, 1), has_aux=True)
        (of_shared, of_rows), columns = gradient(*arrays)
        if self.has_cotangents:
            sizes = self.column_sizes
            columns = {n: c for n, c in columns.items() if sizes[n] == 1}
        return (*of_shared, *of_rows), columns

    def _segments(
        self, which: Iterable[int], shared: Arrays, rows: Arrays
    ) -> dict[int, tuple["_SegmentOf", Framing]]:
        """Return how to cut a long signal for each comparison that may be cut."""
        n_samples = rows[0].shape[-1]
        is_plain = self.layout == Layout((n_samples,), None, False)
        if not is_plain or not isinstance(n_samples, int):
            return {}
        comparisons, segments = self._comparisons(shared), {}
        for i in which:
            found = framing_of(comparisons[i], n_samples)
            if found is None:
                continue
            framing, n_frames = found
            fn = _SegmentOf(self, i, n_frames)
            if _cut(fn, framing).cuts(n_samples, SAMPLES):
                segments[i] = fn, framing
        return segments

    def _in_segments(
        self,
        segments: dict[int, tuple["_SegmentOf", Framing]],
        shared: Arrays,
        rows: Arrays,
        grads: Arrays,
    ) -> tuple[Arrays, dict[int, Array]]:
        """`_unit` for comparisons that are cut."""
        numbers = tuple(self._numbers(segments))
        zero = jnp.zeros_like(rows[0][:, 0])
        n = len(self.wrt_shared)
        sums = (*[zero] * len(numbers), *grads[:n])
        many = tuple(
            _cut(dataclasses.replace(fn, numbers=numbers), framing)
            for fn, framing in segments.values()
        )
        of_rows, sums = added_in_segments(many, shared, rows, grads[n:], sums, SAMPLES)
        columns = dict(zip(numbers, sums, strict=False))
        return (*sums[len(numbers) :], *of_rows), columns

    def _no_grads(self, shared: Arrays, rows: Arrays) -> Arrays:
        arrays = [shared[i] for i in self.wrt_shared]
        arrays += [rows[i] for i in self.wrt_rows]
        # Sums over rows vary from device to device as rows do.
        return tuple(varying_like(jnp.zeros_like(a), rows[0]) for a in arrays)

    def _outputs(
        self, rows: Arrays, columns: dict[int, Array], grads: Arrays
    ) -> tuple[Arrays, Arrays]:
        zero = jnp.zeros_like(rows[0][:, 0])
        each = [columns.get(i, zero) for i in range(self.n_columns)]
        n = len(self.wrt_shared)
        return (jnp.stack(each, axis=-1), *grads[n:]), grads[:n]

    def _needed(self) -> list[int]:
        """Return which comparisons have columns that are computed."""
        comparisons = self.skeleton.leafless()
        return [i for i in range(len(comparisons)) if self._numbers([i])]

    def _numbers(self, which: Iterable[int]) -> list[int]:
        """Return which columns of some comparisons are computed."""
        starts = self._starts()
        return [
            n
            for i in which
            for n in range(starts[i], starts[i + 1])
            if self.column_sizes[n] > 1 or not self.only_finished
        ]

    def _starts(self) -> list[int]:
        sizes = [sum(c.n_columns) for c in self.skeleton.leafless()]
        return [0, *itertools.accumulate(sizes)]

    def _numbered(self, index: int, columns: Iterable[Array]) -> dict[int, Array]:
        """Return the columns of a comparison that are computed, by number."""
        every = dict(enumerate(columns, self._starts()[index]))
        return {n: every[n] for n in self._numbers([index])}

    def _column_weights(self, shared: Arrays) -> list[Any]:
        """The weight of every column."""
        if self.has_cotangents:
            return list(shared[0])
        return [w for c in self._comparisons(shared) for w in c.weights]

    def _columns(
        self, which: list[int], shared: Arrays, rows: Arrays
    ) -> dict[int, Array]:
        """Return the columns of some comparisons, by number."""
        x, y, n_samples = self.layout.events(rows)
        comparisons = self._comparisons(shared)
        columns: dict[int, Array] = {}
        for i in which:
            comparison = comparisons[i]
            if self.layout.targets is None:
                target = target_of_events(comparison, y, n_samples)
            else:
                target = y[i]
            own = values_of_events(comparison, x, target, n_samples)
            columns.update(self._numbered(i, own))
        if n_samples is not None:
            # A signal of no samples fills up a batch.
            is_there = n_samples > 0
            for n, c in columns.items():
                columns[n] = jnp.where(is_there, c, jnp.zeros_like(c))
        return columns


@dataclasses.dataclass(frozen=True)
class _SegmentOf:
    """What a segment of a long signal adds to gradients, and to columns."""

    values: RowValues
    index: int
    n_frames: int
    ends: Ends = Ends()
    numbers: tuple[int, ...] = ()

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[MaybeArrays, MaybeArrays]:
        grads, columns = self.values._gradients(self._columns, shared, rows)
        n = len(self.values.wrt_shared)
        return grads[n:], (*map(columns.get, self.numbers), *grads[:n])

    def _columns(self, shared: Arrays, rows: Arrays) -> dict[int, Array]:
        x, y = rows
        comparison = self.values._comparisons(shared)[self.index]
        columns = segment_columns(comparison, x, y, self.n_frames, self.ends)
        return self.values._numbered(self.index, columns)

    def padding(self, before: int, after: int) -> "_SegmentOf":
        return dataclasses.replace(self, ends=Ends(before, after))


def _cut(fn: _SegmentOf, framing: Framing) -> Segments:
    along: tuple[Kind, ...] = ("signal", "signal")
    return Segments(fn, framing, fn.n_frames, along, along)


def _flat(row: Array, lead: tuple[int, ...]) -> Array:
    """Return all rows in one axis; one that is the same for all stays a single one."""
    own = row.shape[:-1]
    if own != lead and any(size != 1 for size in own):
        # The same along one axis mapped by `jax.vmap` only, as for all pairs of rows.
        row = jnp.broadcast_to(row, (*lead, row.shape[-1]))
    return row.reshape(-1, row.shape[-1])


def _always_true(number: Array) -> Array:
    """True for any number, NaN included, in a way that is not simplified."""
    kind = jnp.dtype(f"int{8 * number.dtype.itemsize}")
    return (jax.lax.bitcast_convert_type(number, kind) | 1) != 0


def _varying(fn: Any, like: Array) -> Any:
    """A function whose results vary over devices where `like` does."""
    return lambda *args: jax.tree.map(lambda a: varying_like(a, like), fn(*args))


def _never(kinds: Any, *_: Any) -> Any:
    return jax.tree.map(lambda a: jnp.full(a.shape, jnp.nan, a.dtype), kinds)


def replaced(arrays: Arrays, indices: tuple[int, ...], new: Arrays) -> Arrays:
    """Return the arrays with others at some places."""
    result = list(arrays)
    for index, array in zip(indices, new, strict=True):
        result[index] = array
    return tuple(result)
