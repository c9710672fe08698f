"""Compiling what the library's objects compute, once for equal objects."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from korvax_eqx._static import has_plain_callables


def compiled(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of modules and arrays.

    `jax.jit` where every leaf is an array, as in the library's own classes: its
    dispatch is several times faster. `eqx.filter_jit` for the other trees that users
    build, e.g. with functions as leaves. Not at all where a tree holds plain callables
    of the user's: their result may change from call to call, and compiled they would
    be evaluated once and for ever.
    """
    plain, filtered = jax.jit(fn), eqx.filter_jit(fn)

    def call(*args: Any) -> Any:
        if has_plain_callables(args):
            return fn(*args)
        is_plain = all(map(eqx.is_array, jax.tree.leaves(args)))
        return (plain if is_plain else filtered)(*args)

    return call
