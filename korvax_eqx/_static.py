"""Configuration and parameters: what is part of the structure, what is a leaf.

Rule of the library: strings, numbers, tuples and NumPy arrays are configuration
(static, hashable, comparable); a `jax.Array` is a parameter (a pytree leaf).
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np


class FrozenArray:
    """A read-only NumPy array with the hash and equality of its contents.

    NumPy arrays cannot be hashed, so they cannot be static configuration as they
    are: `jax.jit` would fail on the second equal instance.
    """

    __slots__ = ("_hash", "value")

    value: np.ndarray

    def __init__(self, value: np.ndarray) -> None:
        value = np.array(value)
        value.setflags(write=False)
        self.value = value
        self._hash = hash((value.shape, value.dtype.str, value.tobytes()))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, FrozenArray)
            and self.value.dtype == other.value.dtype
            and self.value.shape == other.value.shape
            and self.value.tobytes() == other.value.tobytes()
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        shape = ",".join(map(str, self.value.shape))
        return f"FrozenArray({self.value.dtype}[{shape}])"


class Static(eqx.Module):
    """One static value in a place that could also hold a learnable array."""

    value: Any = eqx.field(static=True)

    def __repr__(self) -> str:
        return repr(self.value)


def parameter(value: Any) -> jax.Array | Static:
    """Keep a `jax.Array` as a leaf; make everything else static configuration."""
    if isinstance(value, jax.Array | Static):
        return value
    return Static(freeze(value))


def freeze(value: Any) -> Any:
    """Return `value` in hashable form: arrays frozen, sequences as tuples."""
    if isinstance(value, np.ndarray):
        return FrozenArray(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    return value


def thaw(value: Any) -> Any:
    """Return what the user gave: the inverse of `parameter` and `freeze`."""
    if isinstance(value, Static):
        return thaw(value.value)
    if isinstance(value, FrozenArray):
        return value.value
    return value


class Function(eqx.Module):
    """A plain callable held as configuration, so that it is no leaf of the tree."""

    fn: Callable[..., Any] = eqx.field(static=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return repr(self.fn)


class PartialFunction(eqx.Module):
    """A `functools.partial` that equals another of the same function and arguments.

    `functools.partial` objects compare by identity, so each new one would compile
    again. Arrays among the arguments follow the rule: JAX arrays are leaves.
    """

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    keyword_values: tuple[Any, ...]
    keyword_names: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        values = map(thaw, self.keyword_values)
        keywords = dict(zip(self.keyword_names, values, strict=True))
        return self.fn(*map(thaw, self.args), *args, **{**keywords, **kwargs})


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def as_module(fn: Any) -> Any:
    """Make any callable a pytree without leaves other than its JAX arrays."""
    if isinstance(fn, eqx.Module | jax.tree_util.Partial):
        return fn
    if isinstance(fn, functools.partial):
        args = tuple(map(parameter, fn.args))
        values = tuple(map(parameter, fn.keywords.values()))
        static = [v.value for v in (*args, *values) if isinstance(v, Static)]
        if all(map(_is_hashable, static)):
            return PartialFunction(as_module(fn.func), args, values, tuple(fn.keywords))
    return Function(fn)
