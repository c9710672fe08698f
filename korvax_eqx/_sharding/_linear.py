"""A linear function of rows whose transpose is another function of rows."""

import functools
from typing import Any

import jax
from jax import Array
from jax.extend.core import ClosedJaxpr, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

from ._devices import map_rows
from ._rows import RowFunction


def linear_rows(forward: RowFunction, transpose: RowFunction, x: Array) -> Array:
    """`forward` of the rows of `x`, differentiable any number of times.

    Both functions are as for `map_rows`, without shared arrays, with one row in and
    one row out, linear in it, and transposes of one another.

    A primitive, because nothing else in JAX has a transpose of its own and a rule for
    `vmap` too: `linear_call` has no such rule, `custom_vmap` no transpose.
    """
    call = _traced(forward, jax.typeof(x), jax.sharding.get_abstract_mesh())
    return _linear_rows_p.bind(x, call=call, forward=forward, transpose=transpose)


@functools.lru_cache(maxsize=4096)
def _traced(forward: RowFunction, aval: Any, mesh: Any) -> ClosedJaxpr:
    """The operations of `forward`, which are a parameter of the primitive.

    Traced here and not when lowered: JAX looks for custom partitioning in the
    parameters of an operation, to know that it needs devices for lowering. Kept,
    because to JAX a jaxpr traced anew is another one: every eager call would compile
    again, and be kept for ever. Depends on what surrounds a call by its mesh alone.
    """
    del mesh
    return jax.make_jaxpr(functools.partial(_run, forward))(aval)


def _run(fn: RowFunction, x: Array) -> Array:
    (output,), _ = map_rows(fn, (), (x,), n_row_outputs=1)
    return output


_linear_rows_p = Primitive("linear_rows")


@_linear_rows_p.def_impl
@functools.partial(jax.jit, static_argnames=("call", "forward", "transpose"))
def _impl(x: Array, *, call: ClosedJaxpr, **functions: RowFunction) -> Array:
    del functions
    (output,) = jaxpr_as_fun(call)(x)
    return output


@_linear_rows_p.def_abstract_eval
def _abstract_eval(x: Any, *, call: ClosedJaxpr, **functions: RowFunction) -> Any:
    del x, functions
    return call.out_avals[0]


def _transpose(
    cotangent: Array,
    x: Any,
    *,
    call: ClosedJaxpr,
    forward: RowFunction,
    transpose: RowFunction,
) -> list[Array]:
    del x, call
    return [linear_rows(transpose, forward, cotangent)]


def _batch(
    operands: tuple[Array],
    axes: tuple[int],
    *,
    call: ClosedJaxpr,
    forward: RowFunction,
    transpose: RowFunction,
) -> tuple[Array, int]:
    del call
    x = jax.numpy.moveaxis(operands[0], axes[0], 0)
    return linear_rows(forward, transpose, x), 0


ad.deflinear2(_linear_rows_p, _transpose)
batching.primitive_batchers[_linear_rows_p] = _batch
mlir.register_lowering(_linear_rows_p, mlir.lower_fun(_impl, multiple_results=False))
