"""A function of pieces as a function of all rows, and what its derivatives are."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ._pieces import in_pieces, rows_within
from ._rows import Arrays
from ._segments import PieceFunction, Segments, filled, in_segments, zero_like

Places = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class InPieces:
    """A piece function as a row function, which takes any number of leading axes."""

    fn: PieceFunction
    limits: tuple[tuple[str, int], ...]
    segments: Segments | None
    in_blocks: bool = False

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        lead, n_samples = rows[0].shape[:-1], rows[0].shape[-1]
        own = tuple(row.shape[len(lead) :] for row in rows)
        flat = tuple(row.reshape(-1, *s) for row, s in zip(rows, own, strict=True))
        n_rows = flat[0].shape[0]
        limits = dict(self.limits)
        if self.segments is not None and self.segments.cuts(n_samples, limits):
            outputs, sums = in_segments(self.segments, shared, flat, limits)
            return tuple(o.reshape(*lead, *o.shape[1:]) for o in outputs), sums
        size = rows_within(n_rows, n_samples, limits)
        if isinstance(n_rows, int) and n_rows <= size:
            outputs, sums = self.fn(shared, flat)
            return tuple(o.reshape(*lead, *o.shape[1:]) for o in outputs), sums

        def flattened(piece: Arrays) -> tuple[Arrays, Arrays]:
            pairs = zip(piece, own, strict=True)
            outputs, sums = self.fn(shared, tuple(r.reshape(-1, *s) for r, s in pairs))
            return tuple(o.reshape(o.shape[0], -1) for o in outputs), sums

        kinds, sums = jax.eval_shape(self.fn, shared, tuple(r[:1] for r in flat))
        sizes = [math.prod(kind.shape[1:]) for kind in kinds]
        zero = zero_like(flat[0])
        flat = tuple(
            r.reshape(-1, math.prod(s)) for r, s in zip(flat, own, strict=True)
        )

        def zeros() -> tuple[Arrays, Arrays]:
            outputs = tuple(
                filled(zero, (*lead, size), kind.dtype)
                for size, kind in zip(sizes, kinds, strict=True)
            )
            return outputs, tuple(filled(zero, k.shape, k.dtype) for k in sums)

        def looped() -> tuple[Arrays, Arrays]:
            return in_pieces(
                flattened, flat, n_rows, size, *zeros(), in_blocks=self.in_blocks
            )

        if self.in_blocks and jax.default_backend() == "cpu":
            # So that a gradient's memory is taken in its turn. XLA fills what a loop
            # writes to as early as it can: for several transforms all at the start,
            # while the spectra of all are held.
            outputs, totals = jax.lax.cond(_is_never(flat[-1]), zeros, looped)
        else:
            outputs, totals = looped()
        pairs = zip(outputs, kinds, strict=True)
        return tuple(o.reshape(*lead, *k.shape[1:]) for o, k in pairs), totals

    def tangent(
        self, n_shared: int, n_rows: int, wrt_shared: Places, wrt_rows: Places
    ) -> "InPieces":
        """The change of the outputs, of the arrays and then changes of some of them."""
        places = n_shared, n_rows, wrt_shared, wrt_rows
        segments = self.segments
        if segments is not None:
            kinds = segments.row_kinds
            segments = dataclasses.replace(
                segments,
                fn=_Tangent(segments.fn, *places),
                row_kinds=(*kinds, *(kinds[i] for i in wrt_rows)),
            )
        inner = _Tangent(self.fn, *places)
        return dataclasses.replace(self, fn=inner, segments=segments)

    def cotangent(
        self, n_shared: int, n_rows: int, wrt_shared: Places, wrt_rows: Places
    ) -> "InPieces":
        """The transpose of `tangent`."""
        places = n_shared, n_rows, wrt_shared, wrt_rows
        segments = self.segments
        if segments is not None:
            kinds = segments.row_kinds
            segments = dataclasses.replace(
                segments,
                fn=_Cotangent(segments.fn, *places),
                row_kinds=(*kinds, *segments.output_kinds),
                output_kinds=tuple(kinds[i] for i in wrt_rows),
            )
        inner = _Cotangent(self.fn, *places)
        return InPieces(inner, self.limits, segments, in_blocks=True)


def _is_never(x: Array) -> Array:
    """False, in a way that XLA cannot know before it has the values of `x`."""
    value = jnp.real(x[(slice(0, 1),) * x.ndim]).reshape(())
    return (value != value) & jnp.isfinite(value)


@dataclasses.dataclass(frozen=True)
class _Tangent:
    """The change of the outputs of `fn`: its arrays, then changes of some of them."""

    fn: Any
    n_shared: int
    n_rows: int
    wrt_shared: tuple[int, ...]
    wrt_rows: tuple[int, ...]

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        some, function = _of_some(self, shared, rows)
        changes = shared[self.n_shared :], rows[self.n_rows :]
        return jax.jvp(function, some, changes)[1]

    def padding(self, before: int, after: int) -> "_Tangent":
        return _padding(self, before, after)


@dataclasses.dataclass(frozen=True)
class _Cotangent:
    """The transpose of `_Tangent`.

    Shared are the arrays of `fn` and the cotangents of its sums, rows are its rows and
    the cotangents of its row outputs.
    """

    fn: Any
    n_shared: int
    n_rows: int
    wrt_shared: tuple[int, ...]
    wrt_rows: tuple[int, ...]

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        some, function = _of_some(self, shared, rows)
        _, transpose = jax.vjp(function, *some)
        grads = transpose((rows[self.n_rows :], shared[self.n_shared :]))
        return grads[1], grads[0]

    def padding(self, before: int, after: int) -> "_Cotangent":
        return _padding(self, before, after)


def _padding(of: Any, before: int, after: int) -> Any:
    """The change, or its transpose, of the function for an end."""
    return dataclasses.replace(of, fn=of.fn.padding(before, after))


def _of_some(of: _Tangent | _Cotangent, shared: Arrays, rows: Arrays) -> Any:
    """Return what is differentiated for, and the function of that alone."""

    def function(some_shared: Arrays, some_rows: Arrays) -> tuple[Arrays, Arrays]:
        all_shared = list(shared[: of.n_shared])
        all_rows = list(rows[: of.n_rows])
        for i, array in zip(of.wrt_shared, some_shared, strict=True):
            all_shared[i] = array
        for i, array in zip(of.wrt_rows, some_rows, strict=True):
            all_rows[i] = array
        return of.fn(tuple(all_shared), tuple(all_rows))

    some_shared = tuple(shared[i] for i in of.wrt_shared)
    return (some_shared, tuple(rows[i] for i in of.wrt_rows)), function
