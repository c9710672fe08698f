"""The `repr` of an object: a constructor call that makes an equal object."""

import inspect
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from korvax_eqx._static import STATIC_TYPES, StaticTuple, is_plain_callable

# Arrays with more values are shown by dtype and shape only.
_MOST_VALUES = 256
_WIDTH = 88


def constructor_call(module: eqx.Module, indent: int = 0) -> str:
    """Return `Class(argument=value, ...)`, without arguments that have their defaults.

    If evaluated where the class, `np` and `jnp` are imported, it makes an equal object,
    as long as every constructor argument is kept in an attribute of the same name, and
    no array has more than 256 values.
    """
    name = type(module).__name__
    parameters = list(inspect.signature(type(module).__init__).parameters.values())[1:]
    given = []
    for parameter in parameters:
        value = getattr(module, parameter.name, parameter.empty)
        if not _is_default(value, parameter.default):
            is_only = parameter.kind is parameter.POSITIONAL_ONLY
            given.append(("" if is_only else f"{parameter.name}=", value))
    return _call(name, given, indent)


def _call(name: str, given: list[tuple[str, Any]], indent: int) -> str:
    line = f"{name}({', '.join(key + _text(v, indent) for key, v in given)})"
    if indent + len(line) <= _WIDTH and "\n" not in line:
        return line
    inner = indent + 4
    rows = [f"{' ' * inner}{key}{_text(value, inner)}," for key, value in given]
    return "\n".join([f"{name}(", *rows, " " * indent + ")"])


def _is_default(value: Any, default: Any) -> bool:
    if isinstance(value, np.ndarray | jax.Array) or default is inspect.Parameter.empty:
        return False
    try:
        return type(value == default) is bool and value == default
    except Exception:
        return False


def _text(value: Any, indent: int) -> str:
    if isinstance(value, eqx.Module) and not is_plain_callable(value):
        return repr(value).replace("\n", "\n" + " " * indent)
    if isinstance(value, Tracer):
        return str(value.aval)
    if isinstance(value, np.ndarray | jax.Array):
        return _array(value)
    if isinstance(value, tuple) and not isinstance(value, StaticTuple):
        return _sequence(value, indent)
    if isinstance(value, dict):
        return _rows("{}", [(f"{k!r}: ", v) for k, v in value.items()], indent)
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{float(value)}')"
    return repr(value)


def _sequence(values: tuple[Any, ...], indent: int) -> str:
    # A tuple that mixes configuration and parameters, e.g. windows of several
    # resolutions, was given as a list: a tuple would mean one SciPy window.
    kinds = (*STATIC_TYPES, jax.Array)
    is_list = any(isinstance(v, kinds) for v in values)
    end = "," if len(values) == 1 and not is_list else ""
    return _rows("[]" if is_list else "()", [("", v) for v in values], indent, end)


def _rows(
    brackets: str, items: list[tuple[str, Any]], indent: int, end: str = ""
) -> str:
    """Return items between brackets: on one line if they fit, else one per line."""
    left, right = brackets
    line = ", ".join(key + _text(value, indent) for key, value in items)
    if indent + len(line) + 2 <= _WIDTH and "\n" not in line:
        return f"{left}{line}{end}{right}"
    inner = indent + 4
    rows = [f"{' ' * inner}{key}{_text(value, inner)}," for key, value in items]
    return "\n".join([left, *rows, " " * indent + right])


def _array(array: np.ndarray | jax.Array) -> str:
    if array.size > _MOST_VALUES:
        return f"{array.dtype}[{','.join(map(str, array.shape))}]"
    module = "jnp" if isinstance(array, jax.Array) else "np"
    return f"{module}.array({_values(np.asarray(array))}, dtype='{array.dtype}')"


def _values(values: Any) -> str:
    """Return numbers with the fewest digits that give the same values."""
    if values.ndim:
        return f"[{', '.join(map(_values, values))}]"
    if not jnp.issubdtype(values.dtype, jnp.floating):
        return repr(values.item())
    number = float(str(values))
    return repr(number) if math.isfinite(number) else f"float('{number}')"
