"""Configuration, which is static, and parameters, which are pytree leaves.

Rule of the library: strings, numbers, tuples and NumPy arrays are configuration
(static, hashable, comparable); a `jax.Array` is a parameter (a pytree leaf).

A field that only holds configuration is an `eqx.field(static=True)`. Where either may
be given, `static_or_leaf` keeps JAX arrays, and turns everything else into an equal
value of a static pytree class: `loss.w_log` is a float to the user, but JAX sees no
leaf.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np


@jax.tree_util.register_static
class StaticFloat(float):
    """A float without leaves."""

    __slots__ = ()


@jax.tree_util.register_static
class StaticInt(int):
    """An integer without leaves."""

    __slots__ = ()


@jax.tree_util.register_static
class StaticStr(str):
    """A string without leaves."""

    __slots__ = ()


@jax.tree_util.register_static
class StaticTuple(tuple[Any, ...]):
    """A tuple of hashable values without leaves, e.g. a window's name and parameter."""

    __slots__ = ()


class StaticArray(np.ndarray):
    """A read-only NumPy array without leaves, compared and hashed by its contents.

    To NumPy and JAX it is an array like any other; results of operations on it are
    plain arrays again.
    """

    def __new__(cls, value: Any) -> "StaticArray":
        array = np.array(value, order="C").view(cls)
        array.setflags(write=False)
        return array

    def __array_wrap__(
        self, array: Any, context: Any = None, return_scalar: bool = False
    ) -> Any:
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain

    def __getitem__(self, index: Any) -> Any:
        return np.asarray(self)[index]

    def __hash__(self) -> int:  # pyright: ignore
        # Modules hash their fields.
        return hash(_Contents(self))

    def __repr__(self) -> str:
        return repr(np.asarray(self))

    def __reduce__(self) -> Any:
        # As bytes: NumPy's own pickles are in the byte order of the machine.
        return _from_bytes, (self.dtype, self.shape, self.tobytes())

    def __deepcopy__(self, memo: Any) -> "StaticArray":
        return self

    def __copy__(self) -> "StaticArray":
        return self


def _from_bytes(dtype: np.dtype, shape: tuple[int, ...], data: bytes) -> StaticArray:
    return StaticArray(np.frombuffer(data, dtype).reshape(shape))


class _Contents:
    """Compares and hashes a static array by its contents.

    The hash is not cached, as hashes of bytes differ from process to process.
    """

    __slots__ = ("array",)

    def __init__(self, array: StaticArray) -> None:
        self.array = array

    def _key(self) -> tuple[Any, ...]:
        return self.array.shape, self.array.dtype.str, self.array.tobytes()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Contents):
            return NotImplemented
        return self.array is other.array or self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        shape = ",".join(map(str, self.array.shape))
        return f"{self.array.dtype}[{shape}]"


jax.tree_util.register_pytree_node(
    StaticArray, lambda array: ((), _Contents(array)), lambda aux, _: aux.array
)


class NamedParts(dict[str, Any]):
    """A dictionary whose order survives JAX, which sorts the keys of plain ones.

    Read-only, so that it and the module that holds it can be hashed.
    """

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return hash(frozenset(self.items()))

    def __setitem__(self, name: str, value: Any) -> None:
        raise TypeError("Parts of a loss cannot be assigned: make another loss.")

    def __delitem__(self, name: str) -> None:
        raise TypeError("Parts of a loss cannot be deleted: make another loss.")

    def __reduce__(self) -> Any:
        # Otherwise `copy` and `pickle` would fill the dictionary item by item.
        return NamedParts, (dict(self),)


def _unflatten_parts(names: tuple[str, ...], parts: Any) -> NamedParts:
    return NamedParts(zip(names, parts, strict=True))


jax.tree_util.register_pytree_with_keys(
    NamedParts,
    lambda parts: (
        [(jax.tree_util.DictKey(name), part) for name, part in parts.items()],
        tuple(parts),
    ),
    _unflatten_parts,
)

STATIC_TYPES = (StaticFloat, StaticInt, StaticStr, StaticTuple, StaticArray)


@jax.tree_util.register_static
class Fixed:
    """A static argument, or result, of a compiled function."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fixed) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


def freeze(value: Any) -> Any:
    """Return `value` in hashable form: NumPy scalars as numbers, lists as tuples."""
    if isinstance(value, np.ndarray):
        return value if isinstance(value, StaticArray) else StaticArray(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple) and not isinstance(value, StaticTuple):
        return tuple(freeze(item) for item in value)
    return value


def static_or_leaf(value: Any) -> Any:
    """Keep a `jax.Array` as a leaf; make everything else static configuration.

    `None`, which has no leaves anyway, and values of any other type are returned
    unchanged. The class that gets a value of another type rejects it.
    """
    if isinstance(value, (jax.Array, *STATIC_TYPES)):
        return value
    value = freeze(value)
    if isinstance(value, bool):
        return value
    kinds: tuple[tuple[type, Any], ...] = (
        (float, StaticFloat),
        (int, StaticInt),
        (str, StaticStr),
        (tuple, StaticTuple),
    )
    made: Any = value
    static: Any
    for kind, static in kinds:
        if isinstance(made, kind):
            return static(made)
    return made


def is_leaf(value: Any) -> bool:
    """Whether `value` is a parameter (a JAX array), not configuration."""
    return isinstance(value, jax.Array)


def items_of(value: Any) -> Sequence[Any] | None:
    """Return the items of a list, tuple or other sequence; `None` for anything else."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return None
    return tuple(value)


class Function(eqx.Module):
    """A plain callable held as configuration, so that it is not a leaf of the tree."""

    fn: Callable[..., Any] = eqx.field(static=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return repr(self.fn)


class _Held(eqx.Module):
    """One static argument of a partial function, of any hashable type."""

    value: Any = eqx.field(static=True)


class PartialFunction(eqx.Module):
    """A `functools.partial` that is compared by its function and arguments.

    `functools.partial` objects compare by identity, so each new one would compile
    again. JAX arrays among the arguments are leaves, as everywhere.
    """

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    keyword_values: tuple[Any, ...]
    keyword_names: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        values = map(_released, self.keyword_values)
        keywords = dict(zip(self.keyword_names, values, strict=True))
        return self.fn(*map(_released, self.args), *args, **{**keywords, **kwargs})


def _held(value: Any) -> Any:
    if isinstance(value, jax.Array | eqx.Module):
        return value
    value = freeze(value)
    return value if isinstance(value, StaticArray) else _Held(value)


def _released(value: Any) -> Any:
    return value.value if isinstance(value, _Held) else value


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def as_module(fn: Any) -> Any:
    """Turn any callable into a pytree whose only leaves are its JAX arrays."""
    if isinstance(fn, eqx.Module | jax.tree_util.Partial):
        return fn
    if isinstance(fn, functools.partial):
        args = tuple(map(_held, fn.args))
        values = tuple(map(_held, fn.keywords.values()))
        held = [v.value for v in (*args, *values) if isinstance(v, _Held)]
        if all(map(_is_hashable, held)):
            return PartialFunction(as_module(fn.func), args, values, tuple(fn.keywords))
    return Function(fn)


def is_plain_callable(node: Any) -> bool:
    """Whether a node of a tree is a function given by the user, not a module."""
    return isinstance(node, Function | PartialFunction)


def has_plain_callables(tree: Any) -> bool:
    """Whether a tree holds plain functions, whose contents are unknown."""
    nodes = jax.tree.leaves(tree, is_leaf=is_plain_callable)
    return any(map(is_plain_callable, nodes))
