"""A JAX primitive that applies a row function, the only primitive of the library.

It has four properties that nothing else in JAX combines. The row function is traced at
lowering, for the platform that it is lowered for. `jax.vmap` folds the mapped axis into
the rows. The derivative is a row function again, so it is evaluated in pieces too.
Unused results cost no tracing: the terms of a loss are differentiable, and cost nothing
if nobody differentiates them.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import ClosedJaxpr, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

from korvax_eqx._platform import compiling_for

from ._devices import aligned, is_disabled, on_mesh_of, places, works_for
from ._functions import Arrays, RowFunction, Wrt
from ._loop import over_rows
from ._varying import equally_varying


@dataclasses.dataclass(frozen=True)
class Call:
    """A row function, and how its arrays are laid out.

    **Arguments:**

    - `fn`: the row function.
    - `n_shared`: how many of the arrays are shared; the rest are rows, of shape
        `(*lead, ...)`, where leading axes of size 1 are broadcast. The first row array
        has one axis after the leading ones.
    - `n_sums`: how many of the outputs are sums.
    - `levels`: the outer leading axes, one for each `jax.vmap` over independent calls.
        Sums keep these axes, unlike those of a batch. Each entry says which shared
        arrays have that axis too.
    - `base`: if this is the JVP of another call: that call, its number of row arrays,
        and what to differentiate it with respect to. The arrays are its shared arrays,
        their tangents, its rows, their tangents.
    - `is_back`: whether this is the transpose of that JVP: cotangents of sums follow
        the shared arrays, and cotangents of row outputs follow the rows.
    - `is_share`: whether the rows are one device's share of a batch.
    """

    fn: RowFunction
    n_shared: int
    n_sums: int
    levels: tuple[tuple[bool, ...], ...] = ()
    base: "tuple[Call, int, Wrt] | None" = None
    is_back: bool = False
    is_share: bool = False

    def split(self, arrays: Any) -> tuple[Any, Any]:
        return tuple(arrays[: self.n_shared]), tuple(arrays[self.n_shared :])

    def lead(self, arrays: Any) -> tuple[int, ...]:
        """Return the sizes of the leading axes."""
        shared, rows = self.split(arrays)
        n = len(rows[0].shape) - 1
        lead: list[Any] = list(jnp.broadcast_shapes(*(row.shape[:n] for row in rows)))
        for i, level in enumerate(self.levels):
            outer = [
                sum(other[k] for other in self.levels[:i]) for k in range(len(shared))
            ]
            sizes = [
                s.shape[o] for s, o, m in zip(shared, outer, level, strict=True) if m
            ]
            lead[i] = max([lead[i], *sizes])
        return tuple(lead)

    def kinds(self, arrays: Any) -> list[jax.ShapeDtypeStruct]:
        """Return shapes and dtypes of outputs and sums."""
        shared, rows = self.split(arrays)
        lead = self.lead(arrays)
        counts = [sum(level[k] for level in self.levels) for k in range(len(shared))]
        own_shared = [_without(s, n) for s, n in zip(shared, counts, strict=True)]
        own_rows = [_without(row, len(lead)) for row in rows]
        outputs, sums = self.fn.kinds(tuple(own_shared), tuple(own_rows))
        outer = lead[: len(self.levels)]
        with_lead = (
            [(*lead, *k.shape) for k in outputs],
            [(*outer, *k.shape) for k in sums],
        )
        shapes = [*with_lead[0], *with_lead[1]]
        dtypes = [k.dtype for k in (*outputs, *sums)]
        return [jax.ShapeDtypeStruct(s, d) for s, d in zip(shapes, dtypes, strict=True)]

    def run(self, *arrays: Array) -> list[Array]:
        """Compute the outputs and sums of the given rows."""
        shared, rows = self.split(arrays)
        run = functools.partial(over_rows, self.fn, self.is_share)
        for level in reversed(self.levels):
            run = functools.partial(_one_by_one, run, level)
        outputs, sums = run(shared, rows)
        return [*outputs, *sums]

    def local(self, *arrays: Array) -> list[Array]:
        """`run` as one operation, on the current device."""
        return rows_p.bind(*arrays, call=self, placed=None)

    def bind(self, *arrays: Array) -> list[Array]:
        """`run` as one operation, each device computing the rows that it holds."""
        arrays = equally_varying(arrays)
        if jax.device_count() > 1 and not is_disabled():
            arrays = aligned(self, arrays)
        return rows_p.bind(*arrays, call=self, placed=_placed(self, arrays))

    def tangent(self, n_rows: int, wrt: Wrt) -> "Call":
        fn = self.fn.tangent(self.n_shared, n_rows, wrt)
        levels = tuple(
            (*level, *(level[i] for i in wrt.shared)) for level in self.levels
        )
        n_shared = self.n_shared + len(wrt.shared)
        return Call(fn, n_shared, self.n_sums, levels, (self, n_rows, wrt))

    def cotangent(self, n_rows: int, wrt: Wrt) -> "Call":
        fn = self.fn.cotangent(self.n_shared, n_rows, wrt)
        levels = tuple((*level, *[True] * self.n_sums) for level in self.levels)
        n_shared = self.n_shared + self.n_sums
        base = self, n_rows, wrt
        return Call(fn, n_shared, len(wrt.shared), levels, base, True)

    def transposed(self) -> "Call":
        """Return the transpose of a JVP, or the JVP that was transposed."""
        assert self.base is not None, "only a JVP is linear"
        call, n_rows, wrt = self.base
        if not self.is_back:
            return call.cotangent(n_rows, wrt)
        # The tangents are the sums of this call, which have an axis for each level.
        levels = ((*level, *[True] * len(wrt.shared)) for level in call.levels)
        return dataclasses.replace(call.tangent(n_rows, wrt), levels=tuple(levels))

    def mapped(self, is_mapped: tuple[bool, ...]) -> "Call":
        """Return the call under one more `jax.vmap`, given which arrays it maps."""
        has_level = self.levels or self.n_sums or any(is_mapped) or self.fn.mixes_rows
        # Otherwise the mapped axis is one more leading axis of the batch.
        return self._with_level(is_mapped) if has_level else self

    def _with_level(self, is_mapped: tuple[bool, ...]) -> "Call":
        base = self.base
        if base is not None:
            call, *rest = base
            base = call._with_level(is_mapped[: call.n_shared]), *rest
        return dataclasses.replace(self, levels=(is_mapped, *self.levels), base=base)


def call_rows(fn: RowFunction, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
    """Apply `fn` to all rows, in pieces, on their devices: a differentiable operation.

    **Arguments:**

    - `fn`: a row function.
    - `shared`: arrays of any shape.
    - `rows`: arrays of shape `(*lead, ...)`, the first of shape `(*lead, n)`.

    **Returns:** row outputs of shape `(*lead, ...)`, and sums.
    """
    own = tuple(
        jax.ShapeDtypeStruct(r.shape[rows[0].ndim - 1 :], r.dtype) for r in rows
    )
    _, sums = fn.kinds(shared, own)
    call = Call(fn, len(shared), len(sums))
    results = call.bind(*shared, *rows)
    n = len(results) - len(sums)
    return tuple(results[:n]), tuple(results[n:])


def _without(array: Any, n: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape[n:], array.dtype)


def _one_by_one(
    run: Any, is_mapped: tuple[bool, ...], shared: Arrays, rows: Arrays
) -> tuple[Arrays, Arrays]:
    """Apply `run` to the entries of the leading axis, one after another.

    Not all at once: each entry is a separate call, which may be as large as a batch.
    """
    sizes = [s.shape[0] for s, mapped in zip(shared, is_mapped, strict=True) if mapped]
    size = max([*sizes, *(row.shape[0] for row in rows)])
    moving = tuple(s for s, mapped in zip(shared, is_mapped, strict=True) if mapped)
    own_rows = tuple(row for row in rows if row.shape[0] == size)

    def one(entry: tuple[Arrays, Arrays]) -> tuple[Arrays, Arrays]:
        some_shared, some_rows = map(iter, entry)
        pairs = zip(shared, is_mapped, strict=True)
        all_shared = tuple(next(some_shared) if m else s for s, m in pairs)
        all_rows = tuple(
            next(some_rows) if row.shape[0] == size else row[0] for row in rows
        )
        return run(all_shared, all_rows)

    return jax.lax.map(one, (moving, own_rows))


def _placed(call: Call, arrays: Arrays) -> ClosedJaxpr | None:
    """Return the operations that keep rows where they are; `None` on one device.

    Traced here and not at lowering: JAX looks for custom partitioning in an operation's
    parameters to learn whether lowering needs the devices. Cached, because JAX compares
    jaxprs by identity: every eager call would compile again.
    """
    if jax.device_count() == 1 or is_disabled():
        return None
    avals = tuple(map(jax.typeof, arrays))
    return _placed_avals(call, avals, jax.sharding.get_abstract_mesh())


@functools.lru_cache(maxsize=4096)
def _placed_avals(call: Call, avals: tuple[Any, ...], mesh: Any) -> ClosedJaxpr | None:
    del mesh
    place = places(call, *call.split(avals))
    return None if place is None else jax.make_jaxpr(place)(*avals)


rows_p = Primitive("korvax_eqx_rows")
rows_p.multiple_results = True


@rows_p.def_impl
def _impl(*arrays: Array, call: Call, placed: ClosedJaxpr | None) -> list[Array]:
    if is_disabled() or not call.fn.is_pure:
        # A user's function may return something else next time.
        with on_mesh_of(arrays):
            return call.run(*arrays)
    return _compiled(*arrays, call=call, placed=placed)


@functools.partial(jax.jit, static_argnames=("call", "placed"))
def _compiled(*arrays: Array, call: Call, placed: ClosedJaxpr | None) -> list[Array]:
    return rows_p.bind(*arrays, call=call, placed=placed)


@rows_p.def_abstract_eval
def _abstract_eval(*avals: Any, call: Call, placed: ClosedJaxpr | None) -> list[Any]:
    if placed is not None:
        return placed.out_avals
    # Stand-ins with the right types: tracing `run` takes as long as tracing a loss.
    kinds = call.kinds(avals)

    def like(*arrays: Array) -> list[Array]:
        parts = [jnp.sum(jnp.real(a)) for a in arrays if _is_inexact(a)]
        return [
            jnp.broadcast_to(sum(p.astype(k.dtype) for p in parts), k.shape)
            for k in kinds
        ]

    return jax.make_jaxpr(like)(*avals).out_avals


def _is_inexact(array: Any) -> bool:
    return jnp.issubdtype(array.dtype, jnp.inexact)


def _jvp(
    primals: Any, tangents: Any, *, call: Call, placed: Any
) -> tuple[list[Array], list[Array]]:
    values = rows_p.bind(*primals, call=call, placed=placed)
    moving = [i for i, t in enumerate(tangents) if type(t) is not ad.Zero]
    n = call.n_shared
    wrt = Wrt(tuple(i for i in moving if i < n), tuple(i - n for i in moving if i >= n))
    (shared, rows), changes = call.split(primals), wrt.of(*call.split(tangents))
    change = call.tangent(len(rows), wrt)
    return values, change.bind(*shared, *changes[0], *rows, *changes[1])


def _transpose(cotangents: Any, *operands: Any, call: Call, placed: Any) -> list[Any]:
    del placed
    if all(type(c) is ad.Zero for c in cotangents):
        return [None] * len(operands)
    back = call.transposed()
    assert call.base is not None
    base, n_rows, _ = call.base
    some = [o.aval if ad.is_undefined_primal(o) else o for o in operands]
    kinds = call.kinds(some)
    cts = [
        jnp.zeros(k.shape, k.dtype) if type(c) is ad.Zero else c
        for c, k in zip(cotangents, kinds, strict=True)
    ]
    n, (shared, rows) = len(cts) - call.n_sums, call.split(some)
    own_shared, own_rows = shared[: base.n_shared], rows[:n_rows]
    results = back.bind(*own_shared, *cts[n:], *own_rows, *cts[:n])
    n_moved = len(rows) - n_rows
    of_rows, of_shared = results[:n_moved], results[n_moved:]
    # Gradients have an axis for each level: sum over those that the array lacks.
    shared_grads = []
    for k, total in enumerate(of_shared, base.n_shared):
        axes = tuple(i for i, level in enumerate(call.levels) if not level[k])
        shared_grads.append(jnp.sum(total, axes) if axes else total)
    row_grads = map(_summed_to, of_rows, (row.shape for row in rows[n_rows:]))
    return [None] * base.n_shared + shared_grads + [None] * n_rows + list(row_grads)


def _summed_to(array: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes that were broadcast, which are 1 in `shape`."""
    pairs = enumerate(zip(array.shape, shape, strict=True))
    axes = tuple(i for i, (a, b) in pairs if a != b)
    return jnp.sum(array, axes, keepdims=True) if axes else array


def _batch(
    arrays: Any, axes: Any, *, call: Call, placed: Any
) -> tuple[list[Array], list[int]]:
    del placed
    is_mapped = tuple(axis is not None for axis in axes)
    moved = [
        jnp.moveaxis(array, axis, 0) if mapped else array
        for array, axis, mapped in zip(arrays, axes, is_mapped, strict=True)
    ]
    shared, rows = call.split(moved)
    rows_mapped = is_mapped[call.n_shared :]
    rows = [row if m else row[None] for row, m in zip(rows, rows_mapped, strict=True)]
    size = max(a.shape[0] for a, m in zip(moved, is_mapped, strict=True) if m)
    if not any(rows_mapped):  # only shared arrays are mapped
        rows[0] = jnp.broadcast_to(rows[0], (size, *rows[0].shape[1:]))
    new = call.mapped(is_mapped[: call.n_shared])
    results = new.bind(*shared, *rows)
    return results, [0] * len(results)


def _lowering(name: str) -> Any:
    def run(*arrays: Array, call: Call, placed: ClosedJaxpr | None) -> list[Array]:
        if placed is not None and works_for(name, arrays):
            return jaxpr_as_fun(placed)(*arrays)
        with compiling_for(name):
            return call.run(*arrays)

    return mlir.lower_fun(run, multiple_results=True)


ad.primitive_jvps[rows_p] = _jvp
ad.primitive_transposes[rows_p] = _transpose
batching.primitive_batchers[rows_p] = _batch
mlir.register_lowering(rows_p, _lowering("gpu"))
mlir.register_lowering(rows_p, _lowering("cpu"), platform="cpu")
mlir.register_lowering(rows_p, _lowering("tpu"), platform="tpu")
