"""Compiling functions of the library's objects, once for equal objects."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from korvax_eqx._static import is_plain_callable


def compiled(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of modules and arrays.

    Uses `jax.jit` if every leaf is an array, as in the library's own classes, because
    its dispatch is several times faster, and `eqx.filter_jit` for other trees, e.g.
    with functions as leaves. A tree with plain callables of the user is not compiled:
    their results may change from call to call, but a program would keep the first.
    """
    plain, filtered = jax.jit(fn), eqx.filter_jit(fn)

    def call(*args: Any) -> Any:
        leaves = jax.tree.leaves(args, is_leaf=is_plain_callable)
        if all(map(eqx.is_array, leaves)):
            return plain(*args)
        return (fn if any(map(is_plain_callable, leaves)) else filtered)(*args)

    return call
