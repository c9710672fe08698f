"""The part of a file after the first line: the arrays, as Equinox writes leaves."""

import io
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.lib import format as npy

from ._arrays import array_type, check_precision, dtype_name, split_weak_type, to_jax
from ._encode import check_array
from ._error import LoadError
from ._limits import Budget

# NumPy's own header of an array: 128 bytes, unless the array has many axes.
_MAX_NPY_HEADER = 1024


def describe_leaves(tree: Any) -> list[dict[str, Any]]:
    """Return dtype and shape of the JAX arrays of a tree, in its order."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    budget = Budget()
    return [
        _describe_leaf(leaf, jax.tree_util.keystr(path).removeprefix("."), budget)
        for path, leaf in leaves
        if isinstance(leaf, jax.Array)
    ]


def _describe_leaf(leaf: jax.Array, where: str, budget: Budget) -> dict[str, Any]:
    check_array(leaf, where)
    if leaf.weak_type:
        try:
            budget.compile((leaf.dtype.name, leaf.shape), where)
        except LoadError as error:
            raise ValueError(
                f"Cannot save this: it would not load. {error} Give arrays a dtype."
            ) from error
    entry = {"dtype": dtype_name(leaf.dtype), "shape": list(leaf.shape)}
    return {**entry, "weak_type": True} if leaf.weak_type else entry


def write_leaves(tree: Any) -> bytes:
    """Return the JAX arrays of a tree as `eqx.tree_serialise_leaves` writes them."""
    buffer = io.BytesIO()
    eqx.tree_serialise_leaves(buffer, tree, _save_leaf)
    return buffer.getvalue()


def _save_leaf(file: Any, leaf: Any) -> None:
    if isinstance(leaf, jax.Array):
        jnp.save(file, leaf)


def check_leaves(entries: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    """Return the arrays that the first line declares."""
    declared, budget = [], Budget()
    for i, entry in enumerate(entries):
        where = f"leaves[{i}]"
        entry, is_weak = split_weak_type(entry, where)
        shape, dtype = array_type(entry, where)
        check_precision(dtype, where)
        if is_weak:
            budget.compile((dtype.name, shape), where)
        declared.append(jax.ShapeDtypeStruct(shape, dtype, weak_type=is_weak))
    return declared


def max_bytes(declared: Sequence[jax.ShapeDtypeStruct]) -> int:
    """Return how many bytes the declared arrays can take at most."""
    return sum(_n_bytes(leaf) + _MAX_NPY_HEADER for leaf in declared)


def read_leaves(
    data: bytes, declared: Sequence[jax.ShapeDtypeStruct]
) -> list[jax.Array]:
    """Return the arrays, after checking them against their declarations.

    No memory is allocated for an array unless all its bytes are there.
    """
    buffer = io.BytesIO(data)
    for i, leaf in enumerate(declared):
        _check_leaf(buffer, leaf, len(data), f"leaves[{i}]")
    if buffer.tell() != len(data):
        n_more = len(data) - buffer.tell()
        raise LoadError(f"{n_more} bytes too many follow the arrays.")
    buffer.seek(0)
    try:
        return eqx.tree_deserialise_leaves(buffer, list(declared), _load_leaf)
    except Exception as error:
        raise LoadError(f"The arrays cannot be read: {error}") from error


def _check_leaf(
    buffer: io.BytesIO, leaf: jax.ShapeDtypeStruct, n_total: int, where: str
) -> None:
    try:
        if npy.read_magic(buffer) != (1, 0):
            raise LoadError(f"`{where}`: unknown version of NumPy's array format.")
        shape, _, dtype = npy.read_array_header_1_0(buffer)
    except LoadError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LoadError(f"`{where}` is not an array: {reason:.200}.") from error
    if dtype.hasobject:
        raise LoadError(f"`{where}` holds pickled objects, which are never loaded.")
    if dtype != _npy_dtype(leaf) or shape != leaf.shape:
        raise LoadError(
            f"`{where}`: declared as {leaf.dtype}{list(leaf.shape)}. "
            f"Got {dtype}{list(shape)}."
        )
    n_left = n_total - buffer.tell()
    if _n_bytes(leaf) > n_left:
        raise LoadError(
            f"`{where}`: {leaf.dtype}{list(leaf.shape)} takes {_n_bytes(leaf)} bytes. "
            f"Only {n_left} are left: the file is cut off."
        )
    buffer.seek(_n_bytes(leaf), io.SEEK_CUR)


def _npy_dtype(leaf: jax.ShapeDtypeStruct) -> np.dtype:
    # NumPy's format has no bfloat16: it is written as two bytes without a type.
    return np.dtype("V2") if leaf.dtype == jnp.bfloat16 else np.dtype(leaf.dtype)


def _n_bytes(leaf: jax.ShapeDtypeStruct) -> int:
    return math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize


def _load_leaf(file: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
    array = np.load(file, allow_pickle=False).view(leaf.dtype)
    return to_jax(array, leaf.weak_type, "leaves")
