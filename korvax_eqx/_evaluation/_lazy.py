"""The derivative of single terms, computed if something is done with it.

Whoever differentiates a loss and takes its terms along for a log must not pay for the
derivative of every term, and whoever differentiates the terms themselves must not get
zeros. So the tangent of the terms is one linear operation that holds the signals. If
nobody uses it, its transpose is never asked for. If somebody does, the gradient of
their combination is computed in a pass of its own.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from korvax_eqx._tree import Arrays

from ._evaluated import evaluated, n_rows_of
from ._rows import RowValues, replaced


@dataclasses.dataclass(frozen=True)
class _Tangents:
    """The linear operation on flat arrays: shared, rows, then tangents of some.

    `axes` has one entry for each `jax.vmap` around it, outermost first: where each
    array is mapped; `sizes` are the sizes of the mapped axes.
    """

    fn: RowValues
    n_shared: int
    n_rows: int
    axes: tuple[tuple[int | None, ...], ...] = ()
    sizes: tuple[int, ...] = ()

    @property
    def n_fixed(self) -> int:
        return self.n_shared + self.n_rows

    def split(self, arrays: Sequence[Array]) -> tuple[Arrays, Arrays, Arrays, Arrays]:
        shared, rows = arrays[: self.n_shared], arrays[self.n_shared : self.n_fixed]
        tangents = arrays[self.n_fixed :]
        n = len(self.fn.wrt_shared)
        return tuple(shared), tuple(rows), tuple(tangents[:n]), tuple(tangents[n:])

    def __call__(self, *arrays: Array) -> Array:
        function = self._one
        for axes in reversed(self.axes):
            function = jax.vmap(function, in_axes=axes)
        return function(*arrays)

    def _one(self, *arrays: Array) -> Array:
        shared, rows, shared_tangents, row_tangents = self.split(arrays)
        fn = dataclasses.replace(self.fn, wrt_shared=(), wrt_rows=())

        def columns(some_shared: Arrays, some_rows: Arrays) -> Array:
            all_shared = replaced(shared, self.fn.wrt_shared, some_shared)
            all_rows = replaced(rows, self.fn.wrt_rows, some_rows)
            (columns,), _ = evaluated(fn, all_shared, all_rows)
            total = jnp.sum(columns, axis=tuple(range(columns.ndim - 1)))
            return total / n_rows_of(fn, rows).astype(columns.dtype)

        primals = (
            tuple(shared[i] for i in self.fn.wrt_shared),
            tuple(rows[i] for i in self.fn.wrt_rows),
        )
        _, moved = jax.jvp(columns, primals, (shared_tangents, row_tangents))
        return moved

    def transposed(self, cotangent: Array, *fixed: Array) -> list[Array]:
        """Return the cotangents of the tangents."""
        function = self._one_transposed
        for axes in reversed(self.axes):
            function = jax.vmap(function, in_axes=(0, *axes[: self.n_fixed]))
        cotangents = function(cotangent, *fixed)
        # Of what is the same for all, the cotangents add up. Inner axes first: taking
        # one away leaves the outer ones where they are.
        for level, axes in reversed(list(enumerate(self.axes))):
            rest = axes[self.n_fixed :]
            cotangents = [
                jnp.sum(c, level) if axis is None else c
                for c, axis in zip(cotangents, rest, strict=True)
            ]
        return cotangents

    def _one_transposed(self, cotangent: Array, *fixed: Array) -> list[Array]:
        shared, rows, *_ = self.split(fixed)
        fn = dataclasses.replace(
            self.fn,
            wrt_shared=tuple(i + 1 for i in self.fn.wrt_shared),
            has_cotangents=True,
        )
        (_, *row_grads), shared_grads = evaluated(fn, (cotangent, *shared), rows)
        n_rows = n_rows_of(fn, rows)
        return [g / n_rows.astype(g.real.dtype) for g in (*shared_grads, *row_grads)]


def lazy_tangents(
    fn: RowValues,
    shared: Arrays,
    rows: Arrays,
    shared_tangents: Sequence[Array],
    row_tangents: Sequence[Array],
) -> Array:
    """Return the tangents of the means of all columns, when they are needed."""
    call = _Tangents(fn, len(shared), len(rows))
    if not (shared_tangents or row_tangents):
        return jnp.zeros(fn.n_columns, rows[0].dtype)
    return _lazy_tangents_p.bind(
        *shared, *rows, *shared_tangents, *row_tangents, call=call
    )


_lazy_tangents_p = Primitive("lazy_tangents")


@_lazy_tangents_p.def_impl
@functools.partial(jax.jit, static_argnames="call")
def _impl(*arrays: Array, call: _Tangents) -> Array:
    return call(*arrays)


@_lazy_tangents_p.def_abstract_eval
def _abstract_eval(*avals: Any, call: _Tangents) -> Any:
    # Something cheap of the same kind: tracing the whole takes as long as a loss.
    n_columns = call.fn.n_columns

    def like(*arrays: Array) -> Array:
        x = arrays[call.n_shared]
        total = sum(jnp.sum(a).real.astype(x.dtype) for a in arrays if _is_inexact(a))
        return jnp.broadcast_to(total, (*call.sizes, n_columns))

    return jax.make_jaxpr(like)(*avals).out_avals[0]


def _is_inexact(array: Array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.inexact)


def _transpose(cotangent: Any, *arrays: Any, call: _Tangents) -> list[Any]:
    fixed = arrays[: call.n_fixed]
    if type(cotangent) is ad.Zero:
        return [None] * len(arrays)
    return [None] * len(fixed) + call.transposed(cotangent, *fixed)


def _batch(
    arrays: tuple[Array, ...], axes: tuple[int | None, ...], *, call: _Tangents
) -> tuple[Array, int]:
    is_mapped = [axis is not None for axis in axes]
    moved = [
        jnp.moveaxis(array, axis, 0) if axis is not None else array
        for array, axis in zip(arrays, axes, strict=True)
    ]
    level = tuple(0 if mapped else None for mapped in is_mapped)
    size = next(
        m.shape[0] for m, mapped in zip(moved, is_mapped, strict=True) if mapped
    )
    call = dataclasses.replace(
        call, axes=(level, *call.axes), sizes=(size, *call.sizes)
    )
    return _lazy_tangents_p.bind(*moved, call=call), 0


def _jvp(
    primals: tuple[Array, ...], tangents: tuple[Any, ...], *, call: _Tangents
) -> tuple[Array, Array]:
    moved = [ad.instantiate_zeros(t) if type(t) is ad.Zero else t for t in tangents]
    return jax.jvp(call, primals, moved)


ad.primitive_jvps[_lazy_tangents_p] = _jvp
ad.primitive_transposes[_lazy_tangents_p] = _transpose
batching.primitive_batchers[_lazy_tangents_p] = _batch
mlir.register_lowering(_lazy_tangents_p, mlir.lower_fun(_impl, multiple_results=False))
