"""A function as another compiler might round it, to find what hangs on rounding.

XLA may compute an intermediate result once for each of its readers, and round it in
another way each time: whether it does depends on the device, the version and flags.
What compares two such results for equality, as JAX's derivative of a maximum does, then
breaks. Here every reader of an intermediate result sees it moved by a few roundings of
its own.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

# Their results are written to memory once, and read from there.
_STORED = {"scan", "while", "cond", "sort", "fft", "dot_general", "scatter"}
_STORED |= {"scatter-add", "scatter_add", "optimization_barrier", "cumsum"}


def rounded_anew(fn: Any, *args: Any, seed: int = 0) -> list[np.ndarray]:
    """What `fn` returns, as a flat list, if every reader rounds for itself."""
    closed = jax.make_jaxpr(fn)(*args)
    rng = np.random.default_rng(seed)
    flat = [(a, True) for a in jax.tree.leaves(args)]
    return [np.asarray(a) for a, _ in _run(closed.jaxpr, closed.consts, flat, rng)]


def _run(jaxpr: Any, consts: Any, args: Any, rng: np.random.Generator) -> list[Any]:
    """Results, and whether each of them is the same to every reader."""
    env = dict(zip(jaxpr.constvars, ((c, True) for c in consts), strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        if isinstance(atom, core.Literal):
            return atom.val
        value, is_stored = env[atom]
        return value if is_stored else _moved(value, rng)

    def held(atom: Any) -> Any:
        return (atom.val, True) if isinstance(atom, core.Literal) else env[atom]

    for eqn in jaxpr.eqns:
        inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
        if inner is not None and eqn.primitive.name not in _STORED:
            consts = getattr(inner, "consts", ())
            inner = getattr(inner, "jaxpr", inner)
            out = _run(inner, consts, [held(atom) for atom in eqn.invars], rng)
        else:
            values = eqn.primitive.bind(*map(read, eqn.invars), **eqn.params)
            values = values if eqn.primitive.multiple_results else [values]
            is_stored = eqn.primitive.name in _STORED
            out = [(value, is_stored) for value in values]
        env.update(zip(eqn.outvars, out, strict=True))
    return [held(atom) for atom in jaxpr.outvars]


def _moved(value: Any, rng: np.random.Generator) -> Any:
    if not jnp.issubdtype(jnp.result_type(value), jnp.inexact):
        return value
    # All entries alike, as equal numbers are rounded alike within one loop.
    factor = 1 + 2 * float(jnp.finfo(value.dtype).eps) * rng.integers(-2, 3)
    # But counts are exact.
    is_count = (value == jnp.round(value)) & (jnp.abs(value) < 1e6)
    return jnp.where(is_count, value, value * jnp.asarray(factor, value.dtype))
