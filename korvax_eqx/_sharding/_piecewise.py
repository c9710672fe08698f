"""A differentiable function of rows, evaluated in pieces in every direction.

What a piece makes on its way, e.g. complex spectra, is never kept for the gradient:
the gradient's pieces make it again. That takes the time of one more forward pass, and
memory that does not depend on the number of rows. XLA sees the two passes of a single
piece as the same operations and does them once.

Primitives, as nothing else in JAX has a transpose of its own together with rules for
forward mode and for `vmap`, here one that folds a mapped axis into the rows.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import ClosedJaxpr, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

from ._devices import equally_varying, place_rows, with_level
from ._piece_functions import InPieces
from ._rows import Arrays, RowCall
from ._segments import PieceFunction, Segments


def piecewise(
    fn: PieceFunction,
    shared: Arrays,
    rows: Arrays,
    samples: Mapping[str, int],
    segments: Segments | None = None,
) -> Arrays:
    """`fn(shared, rows)[0]` in pieces of the rows, differentiable in every way.

    **Arguments:**

    - `fn`: a function of pieces with one row output and no sums.
    - `shared`: arrays that every row needs, of any shape: windows, matrices.
    - `rows`: arrays of shape `(*lead, n)` with the same `lead`.
    - `samples`: how many samples of the first row to evaluate at a time, by backend.
    - `segments`: how to cut a row that is longer than that.
    """
    limits = tuple(sorted(samples.items()))
    call = RowCall(InPieces(fn, limits, segments), len(shared), 1, 0)
    arrays = equally_varying((*shared, *rows))
    return tuple(_evaluate_p.bind(*arrays, call=call, traced=_traced(call, arrays)))


@dataclasses.dataclass(frozen=True)
class _Wrt:
    """Which arrays of a call change: places among the shared ones and the rows."""

    shared: tuple[int, ...]
    rows: tuple[int, ...]


def _tangent_call(call: RowCall, n_rows: int, wrt: _Wrt) -> RowCall:
    """The change of a call, as a call of its own."""
    fn: Any = call.fn
    return RowCall(
        fn.tangent(call.n_shared, n_rows, wrt.shared, wrt.rows),
        call.n_shared + len(wrt.shared),
        call.n_row_outputs,
        call.n_summed_outputs,
        tuple((*level, *(level[i] for i in wrt.shared)) for level in call.levels),
    )


def _cotangent_call(call: RowCall, n_rows: int, wrt: _Wrt) -> RowCall:
    """The transpose of the change of a call: sums have an axis for every level."""
    fn: Any = call.fn
    return RowCall(
        fn.cotangent(call.n_shared, n_rows, wrt.shared, wrt.rows),
        call.n_shared + call.n_summed_outputs,
        len(wrt.rows),
        len(wrt.shared),
        tuple((*level, *[True] * call.n_summed_outputs) for level in call.levels),
    )


def _run(call: RowCall, *arrays: Array) -> Arrays:
    outputs, sums = place_rows(call, arrays[: call.n_shared], arrays[call.n_shared :])
    return (*outputs, *sums)


def _traced(call: RowCall, arrays: Any) -> ClosedJaxpr:
    """The operations of a call; see `_linear` for why they are traced here."""
    avals = tuple(map(jax.typeof, arrays))
    return _traced_avals(call, avals, jax.sharding.get_abstract_mesh())


@functools.lru_cache(maxsize=4096)
def _traced_avals(call: RowCall, avals: tuple[Any, ...], mesh: Any) -> ClosedJaxpr:
    del mesh
    return jax.make_jaxpr(functools.partial(_run, call))(*avals)


_evaluate_p = Primitive("piecewise")
_evaluate_p.multiple_results = True
_move_p = Primitive("piecewise_tangent")
_move_p.multiple_results = True


@_evaluate_p.def_impl
@functools.partial(jax.jit, static_argnames=("call", "traced"))
def _evaluate(*arrays: Array, call: RowCall, traced: ClosedJaxpr) -> list[Array]:
    del call
    return jaxpr_as_fun(traced)(*arrays)


@_move_p.def_impl
@functools.partial(jax.jit, static_argnames=("call", "wrt", "outputs", "traced"))
def _move(
    *arrays: Array, call: RowCall, wrt: _Wrt, outputs: Any, traced: Any
) -> list[Array]:
    del outputs
    n_rows = _n_rows(call, wrt, arrays)
    tangents = arrays[call.n_shared + n_rows :]
    shared = (*arrays[: call.n_shared], *tangents[: len(wrt.shared)])
    rows = arrays[call.n_shared : call.n_shared + n_rows]
    ordered = (*shared, *rows, *tangents[len(wrt.shared) :])
    if traced is not None:
        return jaxpr_as_fun(traced)(*ordered)
    return list(_run(_tangent_call(call, n_rows, wrt), *ordered))


def _n_rows(call: RowCall, wrt: _Wrt, arrays: Any) -> int:
    return len(arrays) - call.n_shared - len(wrt.shared) - len(wrt.rows)


@_evaluate_p.def_abstract_eval
def _evaluate_abstract(*avals: Any, call: RowCall, traced: ClosedJaxpr) -> Any:
    del avals, call
    return traced.out_avals


@_move_p.def_abstract_eval
def _move_abstract(
    *avals: Any, call: RowCall, wrt: _Wrt, outputs: Any, traced: Any
) -> Any:
    del avals, call, wrt, traced
    return list(outputs)


def _bind_move(
    call: RowCall, wrt: _Wrt, primals: Arrays, tangents: Arrays, outputs: Any
) -> list[Array]:
    """The change of the outputs; operands are shared, rows, then changes of some."""
    traced = None
    if jax.device_count() > 1:
        n_rows = len(primals) - call.n_shared
        n = len(wrt.shared)
        shared, rows = primals[: call.n_shared], primals[call.n_shared :]
        ordered = (*shared, *tangents[:n], *rows, *tangents[n:])
        traced = _traced(_tangent_call(call, n_rows, wrt), ordered)
    return _move_p.bind(
        *primals, *tangents, call=call, wrt=wrt, outputs=tuple(outputs), traced=traced
    )


def _moving(call: RowCall, tangents: Any) -> _Wrt:
    moving = [i for i, t in enumerate(tangents) if type(t) is not ad.Zero]
    n = call.n_shared
    return _Wrt(
        tuple(i for i in moving if i < n), tuple(i - n for i in moving if i >= n)
    )


def _evaluate_jvp(
    primals: Any, tangents: Any, *, call: RowCall, traced: ClosedJaxpr
) -> tuple[Any, Any]:
    values = _evaluate_p.bind(*primals, call=call, traced=traced)
    wrt = _moving(call, tangents)
    some = tuple(t for t in tangents if type(t) is not ad.Zero)
    return values, _bind_move(call, wrt, tuple(primals), some, traced.out_avals)


def _move_jvp(
    primals: Any, tangents: Any, *, call: RowCall, wrt: _Wrt, outputs: Any, traced: Any
) -> tuple[Any, Any]:
    values = _move_p.bind(*primals, call=call, wrt=wrt, outputs=outputs, traced=traced)
    n_rows = _n_rows(call, wrt, primals)
    arrays = _ordered(call, wrt, n_rows, primals)
    changes = _ordered(call, wrt, n_rows, tangents)
    outer = _tangent_call(call, n_rows, wrt)
    some = tuple(t for t in changes if type(t) is not ad.Zero)
    return values, _bind_move(outer, _moving(outer, changes), arrays, some, outputs)


def _ordered(call: RowCall, wrt: _Wrt, n_rows: int, arrays: Any) -> tuple[Any, ...]:
    """The operands of a change, in the order of the call that computes it."""
    n, n_fixed = call.n_shared, call.n_shared + n_rows
    n_moving = n_fixed + len(wrt.shared)
    return (
        *arrays[:n],
        *arrays[n_fixed:n_moving],
        *arrays[n:n_fixed],
        *arrays[n_moving:],
    )


def _move_transpose(
    cotangents: Any, *operands: Any, call: RowCall, wrt: _Wrt, outputs: Any, traced: Any
) -> list[Any]:
    del traced
    n_rows = _n_rows(call, wrt, operands)
    n_fixed = call.n_shared + n_rows
    if all(type(c) is ad.Zero for c in cotangents):
        return [None] * len(operands)
    cts = [
        jnp.zeros(o.shape, o.dtype) if type(c) is ad.Zero else c
        for c, o in zip(cotangents, outputs, strict=True)
    ]
    of_rows, of_sums = cts[: call.n_row_outputs], cts[call.n_row_outputs :]
    shared, rows = operands[: call.n_shared], operands[call.n_shared : n_fixed]
    back = _cotangent_call(call, n_rows, wrt)
    arrays = (*shared, *of_sums, *rows, *of_rows)
    values = _evaluate_p.bind(*arrays, call=back, traced=_traced(back, arrays))
    row_grads, sums = values[: len(wrt.rows)], values[len(wrt.rows) :]
    # A sum has an axis for each level; what is the same for all of one adds up.
    shared_grads = []
    for i, total in zip(wrt.shared, sums, strict=True):
        axes = tuple(k for k, level in enumerate(call.levels) if not level[i])
        shared_grads.append(jnp.sum(total, axes) if axes else total)
    return [None] * n_fixed + shared_grads + list(row_grads)


def _evaluate_batch(
    arrays: Any, axes: Any, *, call: RowCall, traced: ClosedJaxpr
) -> tuple[Any, Any]:
    del traced
    arrays, mapped = _with_axis_in_front(arrays, axes, range(call.n_shared))
    call = with_level(call, mapped[: call.n_shared])
    outputs = _evaluate_p.bind(*arrays, call=call, traced=_traced(call, arrays))
    return outputs, [0] * len(outputs)


def _move_batch(
    arrays: Any, axes: Any, *, call: RowCall, wrt: _Wrt, outputs: Any, traced: Any
) -> tuple[Any, Any]:
    del outputs, traced
    n_fixed = call.n_shared + _n_rows(call, wrt, arrays)
    # A shared array and its change have the same axes.
    axes = list(axes)
    pairs = [(i, n_fixed + k) for k, i in enumerate(wrt.shared)]
    may_stay = {*range(call.n_shared), *(k for _, k in pairs)}
    may_stay -= {
        i for pair in pairs for i in pair if any(axes[k] is not None for k in pair)
    }
    may_stay -= {i for i in may_stay if axes[i] is not None}
    arrays, mapped = _with_axis_in_front(arrays, axes, may_stay)
    call = with_level(call, mapped[: call.n_shared])
    primals, tangents = arrays[:n_fixed], arrays[n_fixed:]
    kinds = _traced(call, primals).out_avals
    moved = _bind_move(call, wrt, primals, tangents, kinds)
    return moved, [0] * len(moved)


def _with_axis_in_front(
    arrays: Any, axes: Any, may_stay: Any
) -> tuple[Arrays, tuple[bool, ...]]:
    """The arrays with the mapped axis first; those that may have none stay without."""
    size = next(
        array.shape[axis]
        for array, axis in zip(arrays, axes, strict=True)
        if axis is not None
    )
    result, mapped = [], []
    for i, (array, axis) in enumerate(zip(arrays, axes, strict=True)):
        is_mapped = axis is not None
        if is_mapped:
            array = jnp.moveaxis(array, axis, 0)
        elif i not in may_stay:
            array = jnp.broadcast_to(array, (size, *array.shape))
        result.append(array)
        mapped.append(is_mapped or i not in may_stay)
    return tuple(result), tuple(mapped)


ad.primitive_jvps[_evaluate_p] = _evaluate_jvp
ad.primitive_jvps[_move_p] = _move_jvp
ad.primitive_transposes[_move_p] = _move_transpose
batching.primitive_batchers[_evaluate_p] = _evaluate_batch
batching.primitive_batchers[_move_p] = _move_batch
mlir.register_lowering(_evaluate_p, mlir.lower_fun(_evaluate, multiple_results=True))
mlir.register_lowering(_move_p, mlir.lower_fun(_move, multiple_results=True))
