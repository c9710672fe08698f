"""Casting arrays from replicated to varying in a user's `shard_map`."""

from collections.abc import Sequence
from typing import Any

import jax
from jax import Array


def equally_varying(arrays: Sequence[Array]) -> tuple[Array, ...]:
    """Return the arrays, all varying over each manual mesh axis that one varies over.

    In a user's `shard_map`, JAX sums the gradient of a replicated array, such as a
    window, over devices. If the array is cast before a derivative rule, JAX sums once,
    outside the rule. Otherwise it sums inside too, and the gradient is too large.
    """
    names = frozenset[str]().union(*map(_varies_over, arrays))
    return tuple(_varying(array, names) for array in arrays)


def varying_like(array: Array, other: Array) -> Array:
    """`array`, varying over the manual mesh axes that `other` varies over."""
    return _varying(array, _varies_over(other))


def _varies_over(array: Array) -> frozenset[str]:
    aval: Any = jax.typeof(array)
    kinds = getattr(aval, "manual_axis_type", None)
    return aval.vma if kinds is None else kinds.varying  # JAX 0.8: `vma`


def _varying(array: Array, names: frozenset[str]) -> Array:
    missing = tuple(names - _varies_over(array))
    if not missing:
        return array
    cast: Any = getattr(jax.lax, "pcast", None)
    if cast is None:  # JAX 0.8
        return jax.lax.pvary(array, missing)  # pyright: ignore
    return cast(array, missing, to="varying")
