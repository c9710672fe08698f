"""Running a function as another compiler might round it, to find fragile code.

XLA may compute an intermediate result again for each operation that reads it, and round
it differently each time, which depends on the device, the version and flags. Code that
compares two such results for equality, like JAX's derivative of a maximum, then breaks.
Here, every operation that reads an intermediate result gets it with a rounding error of
its own.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

# The results of these primitives are stored once, and read from memory.
_STORED = {"scan", "while", "cond", "sort", "fft", "dot_general", "scatter"}
_STORED |= {"scatter-add", "scatter_add", "optimization_barrier", "cumsum"}


def rounded_anew(fn: Any, *args: Any, seed: int = 0) -> list[np.ndarray]:
    """The results of `fn`, as a flat list, if every reader rounds for itself."""
    closed = jax.make_jaxpr(fn)(*args)
    rng = np.random.default_rng(seed)
    flat = [(a, True) for a in jax.tree.leaves(args)]
    return [np.asarray(a) for a, _ in _run(closed.jaxpr, closed.consts, flat, rng)]


def _run(jaxpr: Any, consts: Any, args: Any, rng: np.random.Generator) -> list[Any]:
    """Return the results, and whether each is the same for every reader."""
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
            is_stored = eqn.primitive.name in _STORED or _is_constant(eqn)
            out = [(value, is_stored) for value in values]
        env.update(zip(eqn.outvars, out, strict=True))
    return [held(atom) for atom in jaxpr.outvars]


def _is_constant(eqn: Any) -> bool:
    """Whether an operation fills an array with a number, which rounds nothing."""
    is_literal = all(isinstance(atom, core.Literal) for atom in eqn.invars)
    return eqn.primitive.name == "broadcast_in_dim" and is_literal


def _moved(value: Any, rng: np.random.Generator) -> Any:
    if not jnp.issubdtype(jnp.result_type(value), jnp.inexact):
        return value
    # The same factor for all entries, as a loop rounds equal numbers equally.
    factor = 1 + 2 * float(jnp.finfo(value.dtype).eps) * rng.integers(-2, 3)
    return _times(value, jnp.asarray(factor, value.dtype))


@jax.jit
def _times(value: Any, factor: Any) -> Any:
    """Return the product; counts, which are exact, stay as they are."""
    is_count = (value == jnp.round(value)) & (jnp.abs(value) < 1e6)
    return jnp.where(is_count, value, value * factor)
