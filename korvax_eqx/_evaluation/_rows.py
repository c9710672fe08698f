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
    """Rows to columns, one number a row for each, and gradients of groups of them.

    A group is what has one gradient: the weighted sum of all terms that are means over
    rows, and every column of the other terms.

    **Arguments:**

    - `skeleton`: the comparisons without their arrays; the arrays come as `shared`.
    - `layout`: of the rows.
    - `wrt_shared`, `wrt_rows`: which arrays to differentiate for.
    - `has_cotangents`: whether the first of the shared arrays holds the weights of all
        columns, which then are one group.
    """

    skeleton: Skeleton
    layout: Layout
    wrt_shared: tuple[int, ...] = ()
    wrt_rows: tuple[int, ...] = ()
    has_cotangents: bool = False

    @functools.cached_property
    def column_groups(self) -> tuple[int, ...]:
        """The number of the group of each column; terms that are means come first."""
        sizes = [n for c in self.skeleton.leafless() for n in c.n_columns]
        if self.has_cotangents:
            return (0,) * sum(sizes)
        n_groups, groups = int(1 in sizes), []
        for size in sizes:
            if size == 1:
                groups.append(0)
                continue
            groups += range(n_groups, n_groups + size)
            n_groups += size
        return tuple(groups)

    @property
    def n_groups(self) -> int:
        return max(self.column_groups) + 1

    @property
    def n_shared_grads(self) -> int:
        return self.n_groups * len(self.wrt_shared)

    @property
    def n_row_outputs(self) -> int:
        return 1 + self.n_groups * len(self.wrt_rows)

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
        columns = jnp.broadcast_to(columns, (*lead, len(self.column_groups)))
        likes = tuple(
            jnp.broadcast_to(rows[i], (*lead, rows[i].shape[-1])) for i in self.wrt_rows
        )
        like_outputs = (columns, *likes * self.n_groups)
        like_sums = tuple(shared[i] for i in self.wrt_shared) * self.n_groups
        if isinstance(n_rows, int) and n_rows == 0:  # of `jax.vmap` over no examples
            return like_outputs, jax.tree.map(jnp.zeros_like, like_sums)
        piece = functools.partial(self._piece, shared)
        # In blocks the gradient of a long signal would be in memory twice more.
        in_blocks = not self._segments(range(len(comparisons)), shared, flat)
        return in_pieces(piece, flat, n_rows, size, like_outputs, like_sums, in_blocks)

    def _comparisons(self, shared: Arrays) -> tuple[AbstractComparison, ...]:
        return self.skeleton.filled(shared[1:] if self.has_cotangents else shared)

    def _piece(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        comparisons = self._comparisons(shared)
        units = sorted({c.unit for c in comparisons})
        if len(units) == 1:
            grads, columns = self._unit(units[0], shared, rows, {})
            return self._outputs(columns, grads)
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
        return self._outputs(columns, grads)

    def _unit(
        self, unit: int, shared: Arrays, rows: Arrays, grads: "_Grads"
    ) -> tuple["_Grads", dict[int, Array]]:
        """Return the gradients with those of a unit added, and its columns by number.

        Gradients that are empty are zeros.
        """
        comparisons = self.skeleton.leafless()
        own = [i for i, c in enumerate(comparisons) if c.unit == unit]
        segments = self._segments(own, shared, rows) if rows[0].shape[0] == 1 else {}
        whole = [i for i in own if i not in segments]
        columns: dict[int, Array] = {}
        if whole:
            of_whole = functools.partial(self._columns, whole)
            more, columns = self._gradients(whole, of_whole, shared, rows)
            grads = _sum_of_grads(grads, more)
        if segments:
            if self.wrt_shared or self.wrt_rows:
                grads = {**self._no_grads(shared, rows), **grads}
            grads, more = self._in_segments(segments, shared, rows, grads)
            columns = {**columns, **more}
        return grads, columns

    def _gradients(
        self, which: list[int], columns_of: Any, shared: Arrays, rows: Arrays
    ) -> tuple["_Grads", dict[int, Array]]:
        """Return the gradients of the groups of some comparisons, and their columns."""
        if not (self.wrt_shared or self.wrt_rows):
            return {}, columns_of(shared, rows)

        def totals(
            some_shared: Arrays, some_rows: Arrays
        ) -> tuple[dict[int, Array], dict[int, Array]]:
            all_shared = replaced(shared, self.wrt_shared, some_shared)
            all_rows = replaced(rows, self.wrt_rows, some_rows)
            columns = columns_of(all_shared, all_rows)
            weights, parts = self.column_weights(all_shared), {}
            for i, column in columns.items():
                part = weighed(column, weights[i])
                parts.setdefault(self.column_groups[i], []).append(part)
            return {g: jnp.sum(sum(p[1:], p[0])) for g, p in parts.items()}, columns

        arrays = (
            tuple(shared[i] for i in self.wrt_shared),
            tuple(rows[i] for i in self.wrt_rows),
        )
        groups = sorted({self.column_groups[i] for i in self._numbers(which)})
        if len(groups) == 1:
            one = functools.partial(_entry, totals, groups[0])
            grads, columns = jax.grad(one, argnums=(0, 1), has_aux=True)(*arrays)
            return {groups[0]: (*grads[0], *grads[1])}, columns
        # Linearised once, so that groups share the spectra. What does not depend on
        # the arrays, as the norm of the target, has no gradient to compute.
        _, linear, columns = jax.linearize(totals, *arrays, has_aux=True)
        grads = {}
        for group in groups:
            own = functools.partial(_of_entry, linear, group)
            (of_shared, of_rows) = jax.linear_transpose(own, *arrays)(
                jnp.ones((), columns[self._numbers(which)[0]].dtype)
            )
            grads[group] = (*of_shared, *of_rows)
        return grads, columns

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
        grads: "_Grads",
    ) -> tuple["_Grads", dict[int, Array]]:
        """`_unit` for comparisons that are cut."""
        numbers = tuple(self._numbers(segments))
        zero = jnp.zeros_like(rows[0][:, 0])
        n = len(self.wrt_shared)
        of_shared = tuple(g for group in grads for g in grads[group][:n])
        of_rows = tuple(g for group in grads for g in grads[group][n:])
        sums = (*[zero] * len(numbers), *of_shared)
        many = tuple(
            _cut(dataclasses.replace(fn, numbers=numbers, groups=tuple(grads)), framing)
            for fn, framing in segments.values()
        )
        of_rows, sums = added_in_segments(many, shared, rows, of_rows, sums, SAMPLES)
        columns = dict(zip(numbers, sums, strict=False))
        left = iter(of_rows), iter(sums[len(numbers) :])
        n_rows = len(self.wrt_rows)
        result = {
            group: (
                *(next(left[1]) for _ in range(n)),
                *(next(left[0]) for _ in range(n_rows)),
            )
            for group in grads
        }
        return result, columns

    def _no_grads(self, shared: Arrays, rows: Arrays) -> "_Grads":
        if not (self.wrt_shared or self.wrt_rows):
            return {}
        arrays = [shared[i] for i in self.wrt_shared]
        arrays += [rows[i] for i in self.wrt_rows]
        # Sums over rows vary from device to device as rows do.
        zeros = tuple(varying_like(jnp.zeros_like(a), rows[0]) for a in arrays)
        return dict.fromkeys(range(self.n_groups), zeros)

    def _outputs(
        self, columns: dict[int, Array], grads: "_Grads"
    ) -> tuple[Arrays, Arrays]:
        stacked = jnp.stack([columns[i] for i in sorted(columns)], axis=-1)
        n = len(self.wrt_shared)
        row_grads = [g for group in sorted(grads) for g in grads[group][n:]]
        shared_grads = [g for group in sorted(grads) for g in grads[group][:n]]
        return (stacked, *row_grads), tuple(shared_grads)

    def _numbers(self, which: Iterable[int]) -> list[int]:
        """Return which columns are made by some comparisons."""
        sizes = [sum(c.n_columns) for c in self.skeleton.leafless()]
        starts = [0, *itertools.accumulate(sizes)]
        return [n for i in which for n in range(starts[i], starts[i + 1])]

    def column_weights(self, shared: Arrays) -> list[Any]:
        """The weight of every column in its group."""
        if self.has_cotangents:
            return list(shared[0])
        return [
            weight if n == 1 else 1.0
            for c in self._comparisons(shared)
            for weight, n in zip(c.weights, c.n_columns, strict=True)
            for _ in range(n)
        ]

    def _columns(
        self, which: list[int], shared: Arrays, rows: Arrays
    ) -> dict[int, Array]:
        """Return the columns of some comparisons, by number."""
        x, y, n_samples = self.layout.events(rows)
        comparisons = self._comparisons(shared)
        columns: list[Array] = []
        for i in which:
            comparison = comparisons[i]
            if self.layout.targets is None:
                target = target_of_events(comparison, y, n_samples)
            else:
                target = y[i]
            columns += values_of_events(comparison, x, target, n_samples)
        if n_samples is not None:
            # A signal of no samples fills up a batch.
            columns = [jnp.where(n_samples > 0, c, jnp.zeros_like(c)) for c in columns]
        return dict(zip(self._numbers(which), columns, strict=True))


@dataclasses.dataclass(frozen=True)
class _SegmentOf:
    """What a segment of a long signal adds to gradients, and to columns."""

    values: RowValues
    index: int
    n_frames: int
    ends: Ends = Ends()
    numbers: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[MaybeArrays, MaybeArrays]:
        values, index = self.values, self.index
        grads, columns = values._gradients([index], self._columns, shared, rows)
        n = len(values.wrt_shared)
        none = (None,) * (n + len(values.wrt_rows))
        each = [grads.get(group, none) for group in self.groups]
        of_rows = tuple(g for own in each for g in own[n:])
        of_shared = tuple(g for own in each for g in own[:n])
        return of_rows, (*map(columns.get, self.numbers), *of_shared)

    def _columns(self, shared: Arrays, rows: Arrays) -> dict[int, Array]:
        x, y = rows
        comparison = self.values._comparisons(shared)[self.index]
        columns = segment_columns(comparison, x, y, self.n_frames, self.ends)
        return dict(zip(self.values._numbers([self.index]), columns, strict=True))

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


# By group: gradients for the shared arrays, then for the rows.
_Grads = dict[int, Arrays]


def _sum_of_grads(one: _Grads, other: _Grads) -> _Grads:
    added = {
        group: tuple(a + b for a, b in zip(one[group], other[group], strict=True))
        for group in one.keys() & other.keys()
    }
    return {**one, **other, **added}


def _entry(fn: Any, key: int, *args: Any) -> tuple[Array, Any]:
    entries, aux = fn(*args)
    return entries[key], aux


def _of_entry(fn: Any, key: int, *args: Any) -> Array:
    return fn(*args)[key]


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
