"""Functions of the rows of a batch, and their derivatives.

A row function takes shared arrays, such as windows, and rows, which have one leading
axis. It returns row outputs, which have that axis too, and sums over it. It is
hashable: its configuration is static, and all arrays are arguments.
"""

import dataclasses
from abc import abstractmethod
from typing import Any

import jax
from jax import Array

from ._varying import varying_like

Arrays = tuple[Array, ...]
Kinds = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Wrt:
    """Indices of the shared arrays and rows to differentiate with respect to."""

    shared: tuple[int, ...]
    rows: tuple[int, ...]

    def of(self, shared: Any, rows: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple(shared[i] for i in self.shared), tuple(rows[i] for i in self.rows)


class RowFunction:
    """The interface for the loop over pieces, sharding and the derivative rules."""

    # Whether the outputs of a row depend on other rows of the batch.
    mixes_rows: bool = False
    # Whether a compiled program may be reused, i.e. it holds no user functions.
    is_pure: bool = True
    # Whether long row outputs are sums over overlapping frames.
    adds_frames: bool = False
    # Whether its buffers should be allocated only when it starts to run.
    waits: bool = False
    # Whether `of_pairs` applies it to all pairs of a first row and others.
    takes_pairs: bool = False

    @abstractmethod
    def __call__(
        self, shared: Arrays, rows: Arrays, is_all: bool = False
    ) -> tuple[Arrays, Arrays]:
        """Return outputs and sums of a piece; `is_all` if it is the whole batch."""

    @abstractmethod
    def kinds(self, shared: Kinds, rows: Kinds) -> tuple[Kinds, Kinds]:
        """Return shapes and dtypes of the outputs of one row, and of the sums.

        `rows` are the shapes and dtypes of one row, without a leading axis.
        """

    @abstractmethod
    def rows_at_once(self, n_rows: Any, n_samples: int) -> int:
        """Return how many rows make a piece."""

    def segments(self, n_samples: int) -> Any:
        """Return how to cut a row that is longer than a piece, or `None`."""
        return None

    def of_pairs(self, shared: Arrays, rows: Arrays) -> Arrays:
        """Return outputs of shape `(n, m, ...)`, given `n` first and `m` other rows."""
        raise NotImplementedError

    def pairs_at_once(self, n_pairs: int, n_samples: int) -> int:
        """Return how many first rows, and how many others, make a piece."""
        raise NotImplementedError

    def tangent(self, n_shared: int, n_rows: int, wrt: Wrt) -> "RowFunction":
        """Return the JVP, a function of all arrays and the tangents of `wrt`."""
        return Tangent(self, n_shared, n_rows, wrt)

    def cotangent(self, n_shared: int, n_rows: int, wrt: Wrt) -> "RowFunction":
        """Return the transpose of `tangent`.

        The cotangents of the sums follow the shared arrays, and the cotangents of the
        row outputs follow the rows.
        """
        return Cotangent(self, n_shared, n_rows, wrt)


@dataclasses.dataclass(frozen=True)
class _Derivative(RowFunction):
    fn: Any
    n_shared: int
    n_rows: int
    wrt: Wrt

    @property
    def mixes_rows(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.fn.mixes_rows

    @property
    def is_pure(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.fn.is_pure

    def rows_at_once(self, n_rows: Any, n_samples: int) -> int:
        return self.fn.rows_at_once(n_rows, n_samples)

    def padding(self, before: int, after: int) -> Any:
        """Return the derivative for the first or last segment."""
        return dataclasses.replace(self, fn=self.fn.padding(before, after))

    def _of_some(self, shared: Arrays, rows: Arrays, is_all: bool) -> Any:
        """Return the arrays of `wrt`, and `fn` as a function of these alone."""
        shared, rows = shared[: self.n_shared], rows[: self.n_rows]

        def function(some_shared: Arrays, some_rows: Arrays) -> tuple[Arrays, Arrays]:
            all_shared = replaced(shared, self.wrt.shared, some_shared)
            all_rows = replaced(rows, self.wrt.rows, some_rows)
            results = self.fn(all_shared, all_rows, is_all)
            # To JAX, a result that does not depend on the rows is replicated. Its
            # cotangent varies over devices, so the result must be cast to match.
            return jax.tree.map(lambda r: varying_like(r, rows[0]), results)

        return self.wrt.of(shared, rows), function


@dataclasses.dataclass(frozen=True)
class Tangent(_Derivative):
    """The JVP of `fn`, a function of its arrays and the tangents of `wrt`."""

    def __call__(
        self, shared: Arrays, rows: Arrays, is_all: bool = False
    ) -> tuple[Arrays, Arrays]:
        some, function = self._of_some(shared, rows, is_all)
        return jax.jvp(function, some, (shared[self.n_shared :], rows[self.n_rows :]))[
            1
        ]

    def kinds(self, shared: Kinds, rows: Kinds) -> tuple[Kinds, Kinds]:
        return self.fn.kinds(shared[: self.n_shared], rows[: self.n_rows])

    def segments(self, n_samples: int) -> Any:
        own = self.fn.segments(n_samples)
        return own and dataclasses.replace(
            own,
            fn=dataclasses.replace(self, fn=own.fn),
            row_kinds=(*own.row_kinds, *(own.row_kinds[i] for i in self.wrt.rows)),
        )


@dataclasses.dataclass(frozen=True)
class Cotangent(_Derivative):
    """The transpose of `Tangent`."""

    adds_frames: bool = True
    waits: bool = True

    def __call__(
        self, shared: Arrays, rows: Arrays, is_all: bool = False
    ) -> tuple[Arrays, Arrays]:
        some, function = self._of_some(shared, rows, is_all)
        _, transpose = jax.vjp(function, *some)
        of_shared, of_rows = transpose((rows[self.n_rows :], shared[self.n_shared :]))
        return of_rows, of_shared

    def kinds(self, shared: Kinds, rows: Kinds) -> tuple[Kinds, Kinds]:
        of_shared, of_rows = self.wrt.of(shared, rows)
        return of_rows, of_shared

    def segments(self, n_samples: int) -> Any:
        own = self.fn.segments(n_samples)
        return own and dataclasses.replace(
            own,
            fn=dataclasses.replace(self, fn=own.fn),
            row_kinds=(*own.row_kinds, *own.output_kinds),
            output_kinds=tuple(own.row_kinds[i] for i in self.wrt.rows),
        )


def replaced(arrays: Arrays, places: tuple[int, ...], new: Arrays) -> Arrays:
    """Return the arrays with those at `places` replaced."""
    result = list(arrays)
    for place, array in zip(places, new, strict=True):
        result[place] = array
    return tuple(result)
