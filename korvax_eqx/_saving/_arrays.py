"""Arrays in a config: always exact, and readable if they are small."""

import base64
import binascii
import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._error import LoadError, place
from ._foreign import is_sequence, plain_scalar
from ._limits import Budget

_NAMES = (
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
    "float16 bfloat16 float32 float64 complex64 complex128"
)
_NATIVE = {name: np.dtype(jnp.dtype(name)) for name in _NAMES.split()}
_SWAPPED = {
    dtype.newbyteorder().str: dtype.newbyteorder()
    for dtype in _NATIVE.values()
    if dtype.itemsize > 1 and dtype.kind in "iufc"
}
_DTYPES = _NATIVE | _SWAPPED

# For each dtype of weakly typed arrays: a Python number that JAX converts to it, and
# whether that needs 64-bit mode.
_WEAK = {
    "int32": (0, False),
    "int64": (0, True),
    "float32": (0.0, False),
    "float64": (0.0, True),
    "complex64": (0j, False),
    "complex128": (0j, True),
}

_MAX_INLINE = 64
_MAX_NDIM = 32


def dtype_name(dtype: Any) -> str | None:
    """Return the name of a dtype in a file; `None` if it cannot be saved."""
    return next((name for name, known in _DTYPES.items() if known == dtype), None)


def encode_array(array: np.ndarray) -> dict[str, Any]:
    """Return dtype, shape and values; the dtype has been checked to have a name."""
    entry = {"dtype": dtype_name(array.dtype), "shape": list(array.shape)}
    is_complex = array.dtype.kind == "c"
    if array.size > _MAX_INLINE or is_complex or not np.all(np.isfinite(array)):
        return {**entry, "base64": base64.b64encode(array.tobytes()).decode("ascii")}
    if array.dtype.kind not in "biu":
        array = array.astype(np.float64)
    return {**entry, "values": array.tolist()}


def array_type(
    entry: Any, where: str, more: frozenset[str] = frozenset()
) -> tuple[tuple[int, ...], np.dtype]:
    """Check an entry with the keys dtype, shape and `more`; return shape and dtype."""
    keys = frozenset({"dtype", "shape"}) | more
    if not isinstance(entry, Mapping) or set(entry) != keys:
        expected = ", ".join(map(repr, sorted(keys)))
        raise LoadError(f"{place(where)}: an array has exactly the keys {expected}.")
    name, shape = plain_scalar(entry["dtype"]), entry["shape"]
    if not isinstance(name, str) or name not in _DTYPES:
        raise LoadError(f"{place(where)}: unknown dtype {name!r:.80}.")
    shape = tuple(map(plain_scalar, shape)) if is_sequence(shape) else shape
    is_shape = is_sequence(shape) and len(shape) <= _MAX_NDIM
    if not is_shape or not all(type(n) is int and 0 <= n < 2**62 for n in shape):
        raise LoadError(
            f"{place(where)}: a shape is a list of at most {_MAX_NDIM} sizes. "
            f"Got {shape!r:.80}."
        )
    return shape, _DTYPES[name]


def split_weak_type(entry: Any, where: str) -> tuple[Any, bool]:
    """Return an entry without its key `weak_type`, and the value of that key."""
    if not isinstance(entry, Mapping):
        return entry, False
    entry = dict(entry)
    is_weak = entry.pop("weak_type", False)
    if type(is_weak) is not bool:
        raise LoadError(f"{place(where)}: 'weak_type' is true or false.")
    return entry, is_weak


def decode_array(entry: Any, where: str, budget: Budget) -> np.ndarray:
    """Return the array of an entry that `encode_array` or a user wrote."""
    form = "base64" if isinstance(entry, Mapping) and "base64" in entry else "values"
    shape, dtype = array_type(entry, where, frozenset({form}))
    if form == "base64":
        return _from_base64(plain_scalar(entry["base64"]), shape, dtype, where)
    items = _flat(entry["values"], shape, dtype.kind, where, budget)
    try:
        with np.errstate(all="ignore"):
            wide = items if dtype.kind in "biu" else np.array(items, np.float64)
            array = np.array(wide, dtype).reshape(shape)
    except (ValueError, OverflowError, TypeError) as error:
        raise LoadError(f"{place(where)}: the values do not fit: {error}.") from error
    if not np.all(np.isfinite(array)):
        raise LoadError(f"{place(where)}: the values are not finite in {dtype}.")
    return array


def _from_base64(
    text: Any, shape: tuple[int, ...], dtype: np.dtype, where: str
) -> np.ndarray:
    if not isinstance(text, str):
        raise LoadError(f"{place(where)}: 'base64' must be a string.")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise LoadError(f"{place(where)}: broken base64: {error}.") from error
    n_bytes = math.prod(shape) * dtype.itemsize
    if len(data) != n_bytes:
        raise LoadError(
            f"{place(where)}: {dtype}{list(shape)} takes {n_bytes} bytes. "
            f"Got {len(data)}."
        )
    if dtype.kind == "b" and data.strip(b"\0\1"):
        raise LoadError(f"{place(where)}: the values of a bool array are 0 and 1.")
    try:
        return np.frombuffer(data, dtype).reshape(shape)
    except ValueError as error:
        raise LoadError(f"{place(where)}: {error}.") from error


def _flat(
    values: Any, shape: tuple[int, ...], kind: str, where: str, budget: Budget
) -> list[Any]:
    """Return the numbers in nested lists, after checking their shape and kind."""
    if shape:
        if not is_sequence(values) or len(values) != shape[0]:
            raise LoadError(f"{place(where)}: expected a list of {shape[0]} items.")
        return [
            number
            for i, item in enumerate(values)
            for number in _flat(item, shape[1:], kind, f"{where}[{i}]", budget)
        ]
    budget.enter(where, 0)
    values = plain_scalar(values)
    allowed = {"b": (bool,), "i": (int,), "u": (int,), "c": ()}.get(kind, (int, float))
    if type(values) not in allowed:
        names = " or ".join(t.__name__ for t in allowed) or "base64"
        raise LoadError(f"{place(where)}: expected {names}. Got {values!r:.80}.")
    return [values]


def to_jax(array: np.ndarray, is_weak: bool, where: str) -> jax.Array:
    """Return the same bits as a JAX array, weakly typed if it was saved so.

    To JAX, a weak type is another type: without it, a loaded scalar would recompile
    programs.
    """
    dtype = array.dtype
    if not dtype.isnative:
        raise LoadError(f"{place(where)}: JAX arrays are in native byte order.")
    check_precision(dtype, where)
    if not is_weak:
        return jnp.asarray(array)
    if dtype.name not in _WEAK:
        raise LoadError(f"{place(where)}: {dtype} cannot be weakly typed.")
    zero, is_wide = _WEAK[dtype.name]
    with jax.enable_x64(is_wide):
        return _weakly_typed(zero, array)


@functools.partial(jax.jit, static_argnums=0)
def _weakly_typed(zero: complex, array: jax.Array) -> jax.Array:
    # Compiled as a whole: compiling the steps one by one takes four times as long.
    return jnp.full(array.shape, zero).at[...].set(array)


def check_precision(dtype: np.dtype, where: str) -> None:
    """Raise for arrays that JAX would silently round to 32 bits."""
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise LoadError(
            f"{place(where)} is a {dtype} array, which JAX holds only in 64-bit mode. "
            "Call `jax.config.update('jax_enable_x64', True)` before loading."
        )
