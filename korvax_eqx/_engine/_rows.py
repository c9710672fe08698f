"""The row function of a loss: its terms and, if wanted, their gradients."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from korvax_eqx._data import Signals
from korvax_eqx._platform import target
from korvax_eqx._static import has_plain_callables
from korvax_eqx._tree import Skeleton

from ._functions import Arrays, Kinds, RowFunction, Wrt
from ._layout import Layout, lengths_for
from ._loop import pieces_of
from ._piece import Piece, each_value, finished, weighted
from ._plan import Branch, End
from ._turns import Columns
from ._walk import main_array, targets_of

# What is differentiated: the weighted sum of the terms; a sum of the columns with given
# weights, for batch losses; the columns, given their cotangents.
Seed = Literal["weights", "slopes", "cotangents"]


@dataclasses.dataclass(frozen=True)
class RowTerms(RowFunction):
    """Compute the columns of all terms, and gradients of a sum of them.

    A column has one value per row. Most terms have one column, and are its mean over
    rows. A batch loss has one column for each of its sums, and is a function of the
    means of the columns.

    **Arguments:**

    - `skeleton`: the tree without its arrays; the arrays come as `shared`.
    - `layout`: layout of the rows.
    - `seed`: what is differentiated; `None` for no gradients. Slopes and cotangents are
        passed as the last row array, one number for each column.
    - `wrt`: what to differentiate with respect to.
    - `only_batch`: whether only batch losses are computed.
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
        """Number of columns of each term."""
        return {end.number: end.n_columns for end in self.ends}

    @property
    def n_columns(self) -> int:
        return sum(self.sizes.values())

    @property
    def is_of_batch(self) -> bool:
        """Whether the gradient of a row depends on other rows."""
        return any(e.loss.is_of_batch for e in self.ends if not e.is_monitored)

    @property
    def mixes_rows(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.seed == "slopes"

    @functools.cached_property
    def is_pure(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not has_plain_callables(self.tree)

    @property
    def adds_frames(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        # Blocks would hold two more copies of the gradient of a long signal. Where no
        # frames overlap, they are only a copy: a quarter of the time of `SISDRLoss`.
        steps = self.tree.all_steps()
        has_frames = not all(s.makes_signals or s.takes_spectra for s in steps)
        return has_frames and self.seed is not None and not self._is_long

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
            return 2**62  # XLA fuses these sums and stores no intermediate arrays
        each = [inner for end in self.ends for inner in end.joined_ends or [end]]
        most = max(end.loss.values_per_sample for end in each)
        return int(platform.signal_samples / most)

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
        """Return the unweighted terms, given the mean of each column over rows.

        A loss that joins several terms has one value for each of them.
        """
        ends = self._columns(shared, means)
        return [value for end, own in ends for value in each_value(end, own)]

    def _columns(
        self, shared: Arrays, means: Array
    ) -> Iterator[tuple[End, tuple[Array, ...]]]:
        rest = iter(means)
        for end in self.skeleton.filled(shared).all_ends():
            yield end, tuple(itertools.islice(rest, self.sizes[end.number]))

    def total(self, shared: Arrays, means: Array) -> Array:
        """Return the weighted sum of the terms."""
        terms = [
            weighted(finished(end, own), end.weight)
            for end, own in self._columns(shared, means)
            if not end.is_monitored
        ]
        return sum(terms, jnp.zeros((), means.dtype))

    def __call__(
        self, shared: Arrays, rows: Arrays, is_all: bool = False
    ) -> tuple[Arrays, Arrays]:
        piece = Piece(self, shared, rows, is_all)
        columns, grads = piece.evaluated()
        stacked = self._stacked(piece, columns)
        if self.seed is None:
            return (stacked,), ()
        # In the order of the rows: signals come first.
        lengths = self.layout.lengths(rows)
        of_signals = [self.layout.signal(g, lengths) for g in grads[1]]
        pairs = zip(self.wrt.rows, (*of_signals, *grads[2]), strict=True)
        of_rows = tuple(g.reshape(rows[i].shape) for i, g in pairs)
        if self.seed == "cotangents":
            return of_rows, grads[0]
        return (stacked, *of_rows), grads[0]

    def _stacked(self, piece: Piece, columns: Columns) -> Array:
        none = {n: (piece.zero,) * size for n, size in self.sizes.items()}
        each = [c for own in {**none, **columns}.values() for c in own]
        return jnp.stack(each, axis=-1)

    @property
    def takes_pairs(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        is_plain = len(self.layout.event_shape) == 1 and not self.layout.has_lengths
        return is_plain and self.seed is None

    def pairs_at_once(self, n_pairs: int, n_samples: int) -> int:
        if self._is_long:
            return 1
        n_rows = self.rows_at_once(n_pairs, n_samples)
        is_auto = all(end.piece_size == "auto" for end in self.ends)
        return math.isqrt(n_rows * (target().pairs if is_auto else 1))

    def of_pairs(self, shared: Arrays, rows: Arrays) -> Arrays:
        piece = Piece(self, shared, rows, False, of_pairs=True)
        columns, _ = piece.evaluated()
        stacked = self._stacked(piece, columns)
        return (stacked.reshape(rows[0].shape[0], -1, self.n_columns),)


@dataclasses.dataclass(frozen=True)
class RowTargets(RowFunction):
    """Compute what a bound loss keeps for its targets: an array for each given term.

    **Arguments:**

    - `skeleton`, `layout`: as in `RowTerms`.
    - `numbers`: indices of the terms whose targets are returned.
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
        found = dict(targets_of(tree, Signals(y, lengths_for(y, n_samples))))
        arrays = [main_array(_cut(found[n])) for n in self.numbers]
        return tuple(arrays), ()


def _cut(data: Any) -> Any:
    return data if isinstance(data, Signals) else data.cut()
