"""Evaluating the terms of one piece, and the gradient of a sum of them.

A loss is a scalar, so its gradient is one array of the signal's shape. Each piece of
the batch computes its values and the gradient of their weighted sum together, so its
spectra are freed before the next piece.
"""

import copy
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from korvax_eqx._data import Signals
from korvax_eqx._platform import target

from ._functions import Arrays, Wrt, replaced
from ._layout import lengths_for
from ._long import LongPart, segments_of
from ._plan import Branch, End
from ._turns import Columns, Grads, Part, always_true, in_turns, n_values_of
from ._walk import compared, folded, main_array, step_on

# Up to this many channels or sub-bands of a row are added one by one.
_MOST_ADDED = 16


class Piece:
    """The rows of one piece, and the arrays of the tree.

    With `of_pairs`, each first row is compared with each of the others.
    """

    def __init__(
        self,
        fn: Any,
        shared: Arrays,
        rows: Arrays,
        is_all: bool,
        of_pairs: bool = False,
    ) -> None:
        self.fn, self.shared, self.is_all = fn, shared, is_all
        self.signals, self.kept, self.n_samples = fn.layout.events(rows)
        self.zero = jnp.zeros_like(rows[0][:, 0])
        self.n_pairs = None
        if of_pairs:
            self.n_pairs = rows[0].shape[0], rows[1].shape[0]
            self.zero = jnp.repeat(self.zero, rows[1].shape[0])
        self.always = always_true(rows[0].reshape(-1)[0])
        self.given = rows[-1] if fn.seed in ("slopes", "cotangents") else None
        self.n_rows = self.zero.shape[0]
        self.is_there = None
        if self.n_samples is not None:
            self.is_there = self.n_samples > 0
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
        """Return the columns of the terms below a branch, and gradients of its signals.

        Several parts are evaluated one after another, each adding to the gradients. On
        CPU parts with large spectra, and everywhere those of long signals, are in
        conditionals: XLA does not interleave these.
        """
        parts = list(self._parts(address, signals))
        if not self.fn._is_long:
            parts = in_turns(parts, target().joined_values)
        if len(parts) == 1 and parts[0].gate is None:
            return parts[0].run(signals, self._no_grads(signals, is_empty=True))
        columns: Columns = {}
        grads = self._no_grads(signals)
        for i, part in enumerate(parts):
            if i and not self._in_turn:
                # A barrier instead of a conditional. Without it XLA would compute the
                # spectra of all parts, and only then add up their gradients.
                signals, grads = jax.lax.optimization_barrier((signals, grads))
            run = functools.partial(part.run, signals)
            skip = functools.partial(part.skipped, self.zero, self.fn.sizes)
            if part.gate is not None:
                found, grads = jax.lax.cond(part.gate, run, skip, grads)
            elif self._in_turn:
                # The condition is always true, but XLA does not know that.
                found, grads = jax.lax.cond(self.always, run, skip, grads)
            else:
                found, grads = run(grads)
            columns.update(found)
        return columns, grads

    def _parts(self, address: tuple[int, ...], signals: Arrays) -> Iterator[Part]:
        """Yield the parts to evaluate: each branch, then the ends, grouped by gate."""
        branch = self.fn.tree.at(address)
        for i, inner in enumerate(branch.branches):
            numbers = [e.number for e in inner.all_ends() if self._counts(e)]
            if not numbers:
                continue
            place = (*address, i)
            own = self._for(numbers)
            run = own._mapped if inner.step.makes_signals else own._subtree
            gate = self._gate(numbers)
            size = n_values_of(inner.step, signals)
            yield Part(numbers, gate, size, self._adding(own, run, place, numbers))
        ends = [e.number for e in branch.ends if self._counts(e)]
        for gate, numbers in self._by_gate(ends):
            own = self._for(numbers)
            run = self._adding(own, own._ends, address, numbers)
            yield Part(numbers, gate, 0, run)

    def _for(self, numbers: list[int]) -> "Piece":
        """Return a piece for some terms; without gradients if all are monitored."""
        if self.fn.seed is None or not all(map(self._is_silent, numbers)):
            return self
        own = copy.copy(self)
        own.fn = dataclasses.replace(self.fn, seed=None, wrt=Wrt((), ()))
        own.wrt_signals = own.wrt_kept = ()
        return own

    def _is_silent(self, number: int) -> bool:
        """Whether a term is monitored and gets no cotangent."""
        return self.plain_ends[number].is_monitored and self.fn.seed != "cotangents"

    def _adding(self, own: "Piece", run: Any, *place: Any) -> Callable[..., Any]:
        """Wrap `run` to pass the gradients on if its piece computes none."""
        if own is self:
            return functools.partial(run, *place)

        def reported(signals: Arrays, grads: Grads) -> tuple[Columns, Grads]:
            columns, _ = run(*place, signals, ((), (), ()))
            is_empty = not jax.tree.leaves(grads)
            return columns, self._no_grads(signals) if is_empty else grads

        return reported

    def _by_gate(self, numbers: list[int]) -> list[tuple[Array | None, list[int]]]:
        """Group the ends: those without a gate together, every gated one alone."""
        always = [n for n in numbers if self.plain_ends[n].gate is None]
        others = [n for n in numbers if n not in always]
        found = [(self.plain_ends[n].gate, [n]) for n in others]
        return [*found, (None, always)] if always else found

    def _counts(self, end: End) -> bool:
        return end.loss.is_of_batch or not self.fn.only_batch

    def _gate(self, numbers: list[int]) -> Array | None:
        """Return whether any of the terms counts; `None` if one has no gate."""
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
        # Made from rows, so that JAX knows that it varies over devices too.
        zero = jnp.sum(self.zero).astype(array.dtype)
        return jnp.broadcast_to(zero, array.shape)

    def _subtree(
        self, place: tuple[int, ...], numbers: list[int], signals: Arrays, grads: Grads
    ) -> tuple[Columns, Grads]:
        """Evaluate the terms of a branch, and their gradient."""
        long = self._in_segments(place, numbers, signals, grads)
        if long is not None:
            return long

        def columns_of(shared: Arrays, signals: Arrays, kept: Arrays) -> Columns:
            branch = self.fn.skeleton.filled(shared).at(place)
            found = self._compared(branch, signals, kept)
            return {n: found[n] for n in numbers}

        return self.differentiated(columns_of, signals, grads)

    def _ends(
        self,
        address: tuple[int, ...],
        numbers: list[int],
        signals: Arrays,
        grads: Grads,
    ) -> tuple[Columns, Grads]:
        """Evaluate terms that end at a branch, without a further step."""

        def columns_of(shared: Arrays, signals: Arrays, kept: Arrays) -> Columns:
            ends = self.fn.skeleton.filled(shared).at(address).ends
            own = tuple(end for end in ends if end.number in numbers)
            return self._compared(Branch(None, (), own), signals, kept)

        return self.differentiated(columns_of, signals, grads)

    def _compared(self, branch: Branch, signals: Arrays, kept: Arrays) -> Columns:
        """Return the columns of terms: values averaged over the channels of a row."""
        mixes = any(_mixes(part) for part in branch.all_steps()) or any(
            _mixes(end.loss) for end in branch.all_ends()
        )
        data = [Signals(s, lengths_for(s, self.n_samples)) for s in signals]
        if not mixes:
            data = [folded(d) for d in data]
            kept = tuple(_folded_kept(k, self.n_rows, signals[0]) for k in kept)
        y = data[1] if len(data) > 1 else None
        found = compared(branch, data[0], y, kept, self.n_pairs)
        return {n: tuple(map(self._column, own)) for n, own in found.items()}

    def _column(self, values: Array) -> Array:
        values = values.astype(self.zero.dtype)
        if values.ndim == 1 and values.shape[0] == self.n_rows:
            return values
        values = values.reshape(self.n_rows, -1)
        if values.shape[1] > _MOST_ADDED:
            return jnp.mean(values, axis=-1)
        # XLA fuses this with what follows; on GPU a mean is a separate kernel.
        each = [values[:, i] for i in range(values.shape[1])]
        return sum(each[1:], each[0]) / len(each)

    def differentiated(
        self, columns_of: Callable[..., Columns], signals: Arrays, grads: Grads
    ) -> tuple[Columns, Grads]:
        """Return the columns, and `grads` plus the gradients of their sum.

        Empty `grads` stand for zeros.
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
        """Return 0 for signals of length 0, which only fill up a batch."""
        if self.is_there is None:
            return column
        return jnp.where(self.is_there, column, jnp.zeros_like(column))

    def _gated(self, columns: Columns) -> Columns:
        """Set the columns of terms with closed gates to 0."""
        return {
            n: tuple(gated(column, self.plain_ends[n].gate) for column in own)
            for n, own in columns.items()
        }

    def _sum(self, shared: Arrays, columns: Columns) -> Array:
        """Return the scalar that is differentiated."""
        fn, parts = self.fn, []
        ends = {e.number: e for e in fn.skeleton.filled(shared).all_ends()}
        for number, own in columns.items():
            end = self.plain_ends[number]
            if self._is_silent(number):
                continue
            if fn.seed == "weights":
                value = finished(ends[number], tuple(map(jnp.sum, own)))
                parts.append(weighted(value, ends[number].weight))
            elif fn.seed == "slopes" and self.is_all and not end.loss.is_of_batch:
                value = finished(end, tuple(map(jnp.sum, own)))
                parts.append(weighted(value, end.weight))
            elif fn.seed == "slopes" and self.is_all and end.loss.is_of_batch:
                # All rows are here, so the slopes of the earlier pass are not needed.
                n: Any = self.n_rows
                if self.is_there is not None:
                    n = jnp.maximum(1, jnp.sum(self.is_there)).astype(own[0].dtype)
                means = tuple(jnp.sum(c) / n for c in own)
                parts.append(n * weighted(finished(end, means), end.weight))
            else:
                assert self.given is not None
                start = self.starts[number]
                for i, column in enumerate(own, start):
                    parts.append(jnp.sum(column * self.given[:, i]))
        return sum(parts[1:], parts[0])

    def _mapped(
        self, place: tuple[int, ...], numbers: list[int], signals: Arrays, grads: Grads
    ) -> tuple[Columns, Grads]:
        """Map the signals once for all terms below, and pull their gradient back."""
        del numbers
        fn = self.fn

        def mapped(some: Arrays, own: Arrays) -> Arrays:
            shared = replaced(self.shared, fn.wrt.shared, some)
            all_signals = replaced(signals, self.wrt_signals, own)
            step = fn.skeleton.filled(shared).at(place).step
            return tuple(
                main_array(step_on(step, Signals(s, lengths_for(s, self.n_samples))))
                for s in all_signals
            )

        some = tuple(self.shared[i] for i in fn.wrt.shared)
        own = tuple(signals[i] for i in self.wrt_signals)
        behind = copy.copy(self)
        if self.n_samples is not None:
            step = fn.tree.at(place).step
            behind.n_samples = step.samples_left(self.n_samples)
        if fn.seed is None:
            columns, _ = behind._level(place, mapped(some, own))
            return columns, grads
        inner, transpose = jax.vjp(mapped, some, own)
        if jax.tree.leaves(fn.skeleton.filled(self.shared).at(place).step):
            # The mapped signals depend on the parameters of the map, even where the
            # signals themselves are constant.
            behind.wrt_signals = tuple(range(len(inner))) if some else self.wrt_signals
        columns, (of_shared, of_inner, of_kept) = behind._level(place, inner)
        by_place = dict(zip(behind.wrt_signals, of_inner, strict=True))
        ct = tuple(by_place.get(i, jnp.zeros_like(s)) for i, s in enumerate(inner))
        more_shared, of_own = transpose(ct)
        total = jax.tree.map(jnp.add, of_shared, more_shared), of_own, of_kept
        if jax.tree.leaves(grads):
            total = jax.tree.map(jnp.add, grads, total)
        return columns, total

    def _in_segments(
        self, place: tuple[int, ...], numbers: list[int], signals: Arrays, grads: Grads
    ) -> tuple[Columns, Grads] | None:
        """Evaluate a branch in segments of one long signal, if it may be cut."""
        fn = self.fn
        is_plain = fn.layout.has_target and not fn.layout.has_lengths
        if not is_plain or self.n_rows != 1 or fn.seed == "slopes" and self.is_all:
            return None
        *channels, n_samples = signals[0].shape
        part = LongPart(self, place, tuple(numbers), math.prod(channels), n_samples)
        segments = segments_of(part)
        return None if segments is None else part.evaluated(segments, signals, grads)


def _mixes(part: Any) -> bool:
    return part.scope == "channels"


def _folded_kept(kept: Array, n_rows: int, signals: Array) -> Array:
    """Return a kept target with its leading axes flattened to one."""
    return kept.reshape(-1, *kept.shape[signals.ndim - 1 :])


def finished(end: End, means: tuple[Array, ...]) -> Array:
    """Return the value of a term, without its weight."""
    if end.inside is None:
        return end.loss.finish(means) if end.loss.is_of_batch else means[0]
    pairs = zip(end.joined_ends, means, strict=True)
    values = [weighted(m, own.weight) for own, m in pairs if not own.is_monitored]
    return sum(values, jnp.zeros_like(means[0]))


def each_value(end: End, means: tuple[Array, ...]) -> list[Array]:
    """Return the value of a term, or of each term that its loss joins."""
    return [finished(end, means)] if end.inside is None else list(means)


def gated(value: Array, gate: Array | None) -> Array:
    """Return a value, or 0 if its gate is closed."""
    return value if gate is None else jnp.where(gate, value, jnp.zeros_like(value))


def weighted(value: Array, weight: Any) -> Array:
    return value * jnp.asarray(weight).astype(value.dtype)
