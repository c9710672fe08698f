"""A piece of rows through the tree: its terms and, if asked for, their gradients.

A loss is a scalar, so its gradient is one array of the signal's shape. Each piece of
the batch computes its values and the gradient of their weighted sum at once; spectra
live as long as their piece.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from korvax_eqx._data import Signals
from korvax_eqx._numerics._padding import cut_off
from korvax_eqx._platform import target
from korvax_eqx._static import has_plain_callables
from korvax_eqx._tree import Skeleton

from ._functions import Arrays, Kinds, RowFunction, Wrt, replaced
from ._long import LongPart, segments_of
from ._loop import pieces_of
from ._plan import Branch, End
from ._walk import compared, folded, main_array, step_on, targets_of

Columns = dict[int, tuple[Array, ...]]
Grads = tuple[Arrays, Arrays, Arrays]
# What the gradient is of: of the weighted sum of terms; of a sum of columns with given
# weights, as for terms of the batch; of columns, given their cotangents.
Seed = Literal["weights", "slopes", "cotangents"]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the arrays of one row are laid out, flat, in the rows that are evaluated.

    **Arguments:**

    - `event_shape`: `(n_samples,)`, or `(n_channels, n_samples)` of mixed channels.
    - `has_target`: whether the targets come second, as signals.
    - `kept_shapes`: of what is kept of bound targets.
    - `has_lengths`: whether the number of samples of each signal comes last.
    """

    event_shape: tuple[int, ...]
    has_target: bool
    kept_shapes: tuple[tuple[int, ...], ...]
    has_lengths: bool

    @property
    def n_signals(self) -> int:
        return 1 + self.has_target

    def events(self, rows: Arrays) -> tuple[Arrays, Arrays, Array | None]:
        """Return signals, kept targets and lengths; signals are cut at their ends."""
        n = self.n_signals
        n_samples = None
        if self.has_lengths:
            n_samples = rows[n + len(self.kept_shapes)]
            n_samples = n_samples[:, 0] if n_samples.shape[-1] == 1 else n_samples
            if len(self.event_shape) == 2 and n_samples.ndim == 1:
                shape = (n_samples.shape[0], self.event_shape[0])
                n_samples = jnp.broadcast_to(n_samples[:, None], shape)
        signals = tuple(
            cut_off(row.reshape(-1, *self.event_shape), n_samples) for row in rows[:n]
        )
        kept = zip(rows[n:], self.kept_shapes, strict=False)
        return signals, tuple(k.reshape(-1, *s) for k, s in kept), n_samples


@dataclasses.dataclass(frozen=True)
class RowTerms(RowFunction):
    """Rows to the columns of all terms, and gradients of a sum of them.

    A term has one column, which is averaged over rows, or one for each of the sums of a
    loss of the batch, which is a function of their means.

    **Arguments:**

    - `skeleton`: the tree without its arrays; the arrays come as `shared`.
    - `layout`: of the rows.
    - `seed`: what the gradients are of; `None` for none. Slopes and cotangents are the
        last row, one number for each column.
    - `wrt`: what they are for.
    - `only_batch`: whether only the terms of the batch are computed.
    """

    skeleton: Skeleton
    layout: Layout
    seed: Seed | None = None
    wrt: Wrt = Wrt((), ())
    only_batch: bool = False

    @functools.cached_property
    def tree(self) -> Branch:
        return self.skeleton.leafless()

    @functools.cached_property
    def ends(self) -> list[End]:
        return self.tree.all_ends()

    @functools.cached_property
    def sizes(self) -> dict[int, int]:
        """How many columns each term has."""
        return {e.number: e.loss.n_sums if e.loss.is_of_batch else 1 for e in self.ends}

    @property
    def n_columns(self) -> int:
        return sum(self.sizes.values())

    @property
    def is_of_batch(self) -> bool:
        return any(end.loss.is_of_batch for end in self.ends)

    @property
    def mixes_rows(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.seed == "slopes"

    @functools.cached_property
    def is_pure(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not has_plain_callables(self.tree)

    @property
    def adds_frames(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        # In blocks the gradient of a long signal would be in memory twice more.
        return self.seed is not None and not self._is_long

    @property
    def _is_long(self) -> bool:
        n_samples = self.layout.event_shape[-1]
        return isinstance(n_samples, int) and n_samples >= 4 * target().samples

    def rows_at_once(self, n_rows: Any, n_samples: int) -> int:
        wanted = {end.piece_size for end in self.ends} - {"auto"}
        if wanted:
            sizes = [n_rows if size is None else size for size in wanted]
            return max(1, min(sizes))
        return pieces_of(n_rows, n_samples, self._budget())

    def _budget(self) -> int:
        """Return how many samples to evaluate at a time."""
        platform = target()
        steps = self.tree.all_steps()
        framings = [f for step in steps if (f := step.framing()) is not None]
        if any(framing.is_dense for framing in framings):
            return platform.dense_samples
        if steps:
            return platform.samples
        scopes = {end.loss.scope for end in self.ends}
        if scopes == {"value"} and not self.layout.has_lengths:
            return 2**62  # loops over the samples that keep nothing
        return platform.signal_samples

    def kinds(self, shared: Kinds, rows: Kinds) -> tuple[Kinds, Kinds]:
        columns = jax.ShapeDtypeStruct((self.n_columns,), rows[0].dtype)
        of_shared, of_rows = self.wrt.of(shared, rows)
        if self.seed is None:
            return (columns,), ()
        if self.seed == "cotangents":
            return of_rows, of_shared
        return (columns, *of_rows), of_shared

    def cotangent(self, n_shared: int, n_rows: int, wrt: Wrt) -> RowFunction:
        if self.seed is not None:
            return super().cotangent(n_shared, n_rows, wrt)
        return dataclasses.replace(self, seed="cotangents", wrt=wrt)

    def terms(self, shared: Arrays, means: Array) -> list[Array]:
        """Return the weighted terms, given the means over rows of the columns."""
        rest, terms = iter(means), []
        for end in self.skeleton.filled(shared).all_ends():
            own = tuple(itertools.islice(rest, self.sizes[end.number]))
            terms.append(_weighted(_finished(end, own), end.weight))
        return terms

    def total(self, shared: Arrays, means: Array) -> Array:
        """Return the sum of the terms."""
        return sum(self.terms(shared, means), jnp.zeros((), means.dtype))

    def __call__(
        self, shared: Arrays, rows: Arrays, is_all: bool = False
    ) -> tuple[Arrays, Arrays]:
        piece = _Piece(self, shared, rows, is_all)
        columns, grads = piece.evaluated()
        each = [c for end in self.ends for c in columns[end.number]]
        stacked = jnp.stack(each, axis=-1)
        if self.seed is None:
            return (stacked,), ()
        n = self.layout.n_signals
        own = [*grads[1], *grads[2]]
        places = (
            [i for i in self.wrt.rows if i < n],
            [i for i in self.wrt.rows if i >= n],
        )
        by_place = dict(zip([*places[0], *places[1]], own, strict=True))
        of_rows = tuple(by_place[i].reshape(rows[i].shape) for i in self.wrt.rows)
        if self.seed == "cotangents":
            return of_rows, grads[0]
        return (stacked, *of_rows), grads[0]


class _Piece:
    """The rows of one piece, and the arrays of the tree."""

    def __init__(
        self, fn: RowTerms, shared: Arrays, rows: Arrays, is_all: bool
    ) -> None:
        self.fn, self.shared, self.is_all = fn, shared, is_all
        self.signals, self.kept, self.n_samples = fn.layout.events(rows)
        self.zero = jnp.zeros_like(rows[0][:, 0])
        self.always = _always_true(rows[0].reshape(-1)[0])
        self.given = rows[-1] if fn.seed in ("slopes", "cotangents") else None
        self.n_rows = rows[0].shape[0]
        self.is_there = None
        if self.n_samples is not None:
            any_there = self.n_samples > 0
            self.is_there = any_there if any_there.ndim == 1 else jnp.any(any_there, -1)
        n = fn.layout.n_signals
        self.wrt_signals = tuple(i for i in fn.wrt.rows if i < n)
        self.wrt_kept = tuple(i - n for i in fn.wrt.rows if i >= n)
        ends = self.fn.skeleton.filled(shared).all_ends()
        self.plain_ends = {end.number: end for end in ends}
        starts = itertools.accumulate([0, *fn.sizes.values()])
        self.starts = dict(zip(fn.sizes, starts, strict=False))

    @property
    def _in_turn(self) -> bool:
        return target().in_turn or self.fn._is_long

    def evaluated(self) -> tuple[Columns, Grads]:
        return self._level((), self.signals)

    def _level(
        self, address: tuple[int, ...], signals: Arrays
    ) -> tuple[Columns, Grads]:
        """Return the columns behind a branch, and gradients for its signals.

        What is behind it is evaluated together, or one part after another: each is a
        conditional, which XLA runs as a whole, and passes the gradient on.
        """
        parts = list(self._parts(address, signals))
        columns = {n: (self.zero,) * self.fn.sizes[n] for p in parts for n in p.numbers}
        if len(parts) == 1 and parts[0].gate is None:
            found, grads = parts[0].run(self._no_grads(signals, is_empty=True))
            return {**columns, **found}, grads
        grads = self._no_grads(signals)
        for part in parts:
            skip = functools.partial(part.skipped, self.zero, self.fn.sizes)
            if part.gate is not None:
                found, grads = jax.lax.cond(part.gate, part.run, skip, grads)
            elif self._in_turn:
                # The condition always holds, which XLA does not know.
                found, grads = jax.lax.cond(self.always, part.run, skip, grads)
            else:
                found, grads = part.run(grads)
            columns.update(found)
        return columns, grads

    def _parts(self, address: tuple[int, ...], signals: Arrays) -> Any:
        """Yield what is evaluated in turn."""
        branch = self.fn.tree.at(address)
        in_turn = self._in_turn
        together: list[tuple[int, ...]] = []
        ends = [e for e in branch.ends if self._counts(e) and e.gate is None]
        gated = [e for e in branch.ends if self._counts(e) and e.gate is not None]
        for i, inner in enumerate(branch.branches):
            numbers = [e.number for e in inner.all_ends() if self._counts(e)]
            if not numbers:
                continue
            gate = self._gate(numbers)
            place = (*address, i)
            if inner.step.makes_signals and (in_turn or self._has_gates(inner)):
                run = functools.partial(self._mapped, place, signals)
                yield _Part(self, numbers, gate, run)
            elif in_turn or gate is not None:
                run = self._long_part(place, numbers, signals) or functools.partial(
                    self._subtree, [place], (), numbers, signals
                )
                yield _Part(self, numbers, gate, run)
            else:
                together.append(place)
        for end in gated:
            run = functools.partial(
                self._subtree, [], (address, end.number), [end.number], signals
            )
            yield _Part(self, [end.number], self._gate([end.number]), run)
        rest = [e.number for e in ends]
        if rest or together:
            behind = [self.fn.tree.at(place).all_ends() for place in together]
            numbers = rest + [e.number for b in behind for e in b if self._counts(e)]
            own = (address, *rest) if rest else ()
            run = functools.partial(self._subtree, together, own, numbers, signals)
            yield _Part(self, numbers, None, run)

    def _counts(self, end: End) -> bool:
        return end.loss.is_of_batch or not self.fn.only_batch

    def _has_gates(self, branch: Branch) -> bool:
        return any(end.gate is not None for end in branch.all_ends())

    def _gate(self, numbers: list[int]) -> Array | None:
        """Return whether any of some terms counts; `None` if one always does."""
        gates = [self.plain_ends[n].gate for n in numbers]
        if any(gate is None for gate in gates):
            return None
        return functools.reduce(jnp.logical_or, gates)

    def _no_grads(self, signals: Arrays, is_empty: bool = False) -> Grads:
        if self.fn.seed is None or is_empty:
            return (), (), ()
        return (
            tuple(self._zeros(self.shared[i]) for i in self.fn.wrt.shared),
            tuple(self._zeros(signals[i]) for i in self.wrt_signals),
            tuple(self._zeros(self.kept[i]) for i in self.wrt_kept),
        )

    def _zeros(self, array: Array) -> Array:
        # Sums over rows vary from device to device as rows do.
        zero = jnp.sum(self.zero).astype(array.dtype)
        return jnp.broadcast_to(zero, array.shape)

    def _subtree(
        self,
        places: list[tuple[int, ...]],
        own: tuple[Any, ...],
        numbers: list[int],
        signals: Arrays,
        grads: Grads,
    ) -> tuple[Columns, Grads]:
        """Evaluate branches, and some of the ends of one, by one gradient."""

        def columns_of(shared: Arrays, signals: Arrays, kept: Arrays) -> Columns:
            tree = self.fn.skeleton.filled(shared)
            found: Columns = {}
            for place in places:
                found.update(self._compared(tree.at(place), signals, kept))
            if own:
                branch = tree.at(own[0])
                ends = tuple(e for e in branch.ends if e.number in own[1:])
                found.update(self._compared(Branch(None, (), ends), signals, kept))
            return {n: found[n] for n in numbers}

        return self.differentiated(columns_of, signals, grads)

    def _compared(self, branch: Branch, signals: Arrays, kept: Arrays) -> Columns:
        """Return the columns of terms: values are averaged over the channels of a row."""
        mixes = any(_mixes(part) for part in branch.all_steps()) or any(
            _mixes(end.loss) for end in branch.all_ends()
        )
        data = [Signals(s, self._lengths_for(s)) for s in signals]
        if not mixes:
            data = [folded(d) for d in data]
            kept = tuple(_folded_kept(k, self.n_rows, signals[0]) for k in kept)
        found = compared(branch, data[0], data[1] if len(data) > 1 else None, kept)
        return {n: tuple(map(self._column, own)) for n, own in found.items()}

    def _lengths_for(self, signals: Array) -> Array | None:
        lengths = self.n_samples
        if lengths is None or lengths.shape == signals.shape[:-1]:
            return lengths
        most = lengths if lengths.ndim == 1 else jnp.max(lengths, -1)
        return jnp.broadcast_to(most[:, None], signals.shape[:-1])

    def _column(self, values: Array) -> Array:
        values = values.astype(self.zero.dtype)
        if values.ndim == 1 and values.shape[0] == self.n_rows:
            return values
        return jnp.mean(values.reshape(self.n_rows, -1), axis=-1)

    def differentiated(
        self, columns_of: Callable[..., Columns], signals: Arrays, grads: Grads
    ) -> tuple[Columns, Grads]:
        """Return the columns, and the gradients with those of their sum added.

        Gradients that are empty are zeros.
        """
        fn = self.fn

        def counted(*arrays: Arrays) -> Columns:
            columns = columns_of(*arrays)
            return {n: tuple(map(self._there, own)) for n, own in columns.items()}

        if fn.seed is None:
            return self._gated(counted(self.shared, signals, self.kept)), grads

        def total(some: Arrays, own: Arrays, kept: Arrays) -> tuple[Array, Columns]:
            shared = replaced(self.shared, fn.wrt.shared, some)
            all_signals = replaced(signals, self.wrt_signals, own)
            all_kept = replaced(self.kept, self.wrt_kept, kept)
            columns = self._gated(counted(shared, all_signals, all_kept))
            return self._sum(shared, columns), columns

        arrays = (
            tuple(self.shared[i] for i in fn.wrt.shared),
            tuple(signals[i] for i in self.wrt_signals),
            tuple(self.kept[i] for i in self.wrt_kept),
        )
        more, columns = jax.grad(total, argnums=(0, 1, 2), has_aux=True)(*arrays)
        if jax.tree.leaves(grads):
            more = jax.tree.map(jnp.add, grads, more)
        return columns, more

    def _there(self, column: Array) -> Array:
        """A signal of no samples fills up a batch."""
        if self.is_there is None:
            return column
        return jnp.where(self.is_there, column, jnp.zeros_like(column))

    def _gated(self, columns: Columns) -> Columns:
        """What does not count is 0, where it is evaluated beside what does."""
        gates = {n: self.plain_ends[n].gate for n in columns}
        return {
            n: own
            if gates[n] is None
            else tuple(jnp.where(gates[n], c, jnp.zeros_like(c)) for c in own)
            for n, own in columns.items()
        }

    def _sum(self, shared: Arrays, columns: Columns) -> Array:
        """Return what is differentiated."""
        fn, parts = self.fn, []
        ends = {e.number: e for e in fn.skeleton.filled(shared).all_ends()}
        for number, own in columns.items():
            end = self.plain_ends[number]
            if fn.seed == "weights":
                parts.append(_weighted(jnp.sum(own[0]), ends[number].weight))
            elif fn.seed == "slopes" and self.is_all and end.loss.is_of_batch:
                # All rows are here: no slopes are needed, which a pass before made.
                n: Any = self.n_rows
                if self.is_there is not None:
                    n = jnp.maximum(1, jnp.sum(self.is_there)).astype(own[0].dtype)
                means = tuple(jnp.sum(c) / n for c in own)
                parts.append(n * _weighted(_finished(end, means), end.weight))
            else:
                assert self.given is not None
                start = self.starts[number]
                for i, column in enumerate(own, start):
                    parts.append(jnp.sum(column * self.given[:, i]))
        return sum(parts[1:], parts[0])

    def _mapped(
        self, place: tuple[int, ...], signals: Arrays, grads: Grads
    ) -> tuple[Columns, Grads]:
        """Map the signals once, evaluate what is behind, and take the gradient back."""
        fn = self.fn

        def mapped(some: Arrays, own: Arrays) -> Arrays:
            shared = replaced(self.shared, fn.wrt.shared, some)
            all_signals = replaced(signals, self.wrt_signals, own)
            step = fn.skeleton.filled(shared).at(place).step
            return tuple(
                main_array(step_on(step, Signals(s, self._lengths_for(s))))
                for s in all_signals
            )

        some = tuple(self.shared[i] for i in fn.wrt.shared)
        own = tuple(signals[i] for i in self.wrt_signals)
        if fn.seed is None:
            columns, _ = self._level(place, mapped(some, own))
            return columns, grads
        inner, transpose = jax.vjp(mapped, some, own)
        columns, (of_shared, of_inner, of_kept) = self._level(place, inner)
        by_place = dict(zip(self.wrt_signals, of_inner, strict=True))
        ct = tuple(by_place.get(i, jnp.zeros_like(s)) for i, s in enumerate(inner))
        more_shared, of_own = transpose(ct)
        total = jax.tree.map(jnp.add, of_shared, more_shared), of_own, of_kept
        if jax.tree.leaves(grads):
            total = jax.tree.map(jnp.add, grads, total)
        return columns, total

    def _long_part(
        self, place: tuple[int, ...], numbers: list[int], signals: Arrays
    ) -> Any:
        """Return how to evaluate a branch on segments of one long signal, if it may."""
        fn = self.fn
        is_plain = fn.layout.has_target and not fn.layout.has_lengths
        is_single = self.n_rows == 1 and math.prod(signals[0].shape[:-1]) == 1
        if not (is_plain and is_single) or fn.seed == "slopes" and self.is_all:
            return None
        part = LongPart(self, place, tuple(numbers))
        segments = segments_of(part, signals[0].shape[-1])
        if segments is None:
            return None
        return functools.partial(part.evaluated, segments, signals)


@dataclasses.dataclass(frozen=True)
class _Part:
    """What is evaluated together: it takes gradients, and returns them with its own."""

    piece: _Piece
    numbers: list[int]
    gate: Array | None
    fn: Callable[[Grads], tuple[Columns, Grads]]

    def run(self, grads: Grads) -> tuple[Columns, Grads]:
        return self.fn(grads)

    def skipped(
        self, zero: Array, sizes: dict[int, int], grads: Grads
    ) -> tuple[Columns, Grads]:
        return {n: (zero,) * sizes[n] for n in self.numbers}, grads


def _mixes(part: Any) -> bool:
    return part.scope == "channels"


def _folded_kept(kept: Array, n_rows: int, signals: Array) -> Array:
    """Return what is kept of channels as rows of their own."""
    return kept if signals.ndim == 2 else kept.reshape(-1, *kept.shape[2:])


def _finished(end: End, means: tuple[Array, ...]) -> Array:
    return end.loss.finish(means) if end.loss.is_of_batch else means[0]


def _weighted(value: Array, weight: Any) -> Array:
    return value * jnp.asarray(weight).astype(value.dtype)


def _always_true(number: Array) -> Array:
    """True for any number, NaN included, in a way that is not simplified."""
    kind = jnp.dtype(f"int{8 * number.dtype.itemsize}")
    return (jax.lax.bitcast_convert_type(number, kind) | 1) != 0


@dataclasses.dataclass(frozen=True)
class RowTargets(RowFunction):
    """Rows of targets to what is kept of them: an array for each of some terms.

    **Arguments:**

    - `skeleton`, `layout`: as in `RowTerms`.
    - `numbers`: of the terms whose targets are returned.
    """

    skeleton: Skeleton
    layout: Layout
    numbers: tuple[int, ...]

    @functools.cached_property
    def is_pure(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not has_plain_callables(self.skeleton.leafless())

    def rows_at_once(self, n_rows: Any, n_samples: int) -> int:
        return pieces_of(n_rows, n_samples, target().samples)

    def kinds(self, shared: Kinds, rows: Kinds) -> tuple[Kinds, Kinds]:
        batch = [jax.ShapeDtypeStruct((1, *r.shape), r.dtype) for r in rows]
        outputs, _ = jax.eval_shape(self, shared, tuple(batch))
        return tuple(jax.ShapeDtypeStruct(o.shape[1:], o.dtype) for o in outputs), ()

    def __call__(
        self, shared: Arrays, rows: Arrays, is_all: bool = False
    ) -> tuple[Arrays, Arrays]:
        (y,), _, n_samples = self.layout.events(rows)
        tree = self.skeleton.filled(shared)
        found = dict(targets_of(tree, Signals(y, n_samples)))
        arrays = [main_array(_cut(found[n])) for n in self.numbers]
        return tuple(arrays), ()


def _cut(data: Any) -> Any:
    return data if isinstance(data, Signals) else data.cut()
