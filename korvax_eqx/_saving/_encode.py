"""From an object to a config."""

import dataclasses
import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

from korvax_eqx._checks import describe
from korvax_eqx._static import (
    STATIC_TYPES,
    Function,
    NamedParts,
    PartialFunction,
)

from ._arrays import dtype_name, encode_array
from ._error import join, place
from ._limits import MAX_DEPTH
from ._registry import NOT_SAVED, add_class, is_own


@dataclasses.dataclass
class Encoder:
    """Writes configs, and collects the classes they name.

    **Arguments:**

    - `classes`: the classes of the package by name. Classes of the user are added.
    - `leaves`: for a file, the number of each array that follows, by `id`. `None` for a
        config, which holds the values themselves.
    """

    classes: dict[str, type[eqx.Module]]
    leaves: Mapping[int, int] | None = None

    def encode(self, value: Any, where: str = "", depth: int = 0) -> Any:
        """Return `value` in a form that JSON can hold.

        **Raises:** `ValueError` for values that cannot be saved; it names the field and
        a remedy.
        """
        if depth > MAX_DEPTH:
            refuse(where, f"nested more than {MAX_DEPTH} deep", "Nest less.")
        if is_static(value):
            return self.encode(_given(value), where, depth)
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return _encode_float(value, where)
        if isinstance(value, jax.Array):
            return {"array": self._leaf(value, where)}
        if isinstance(value, np.ndarray):
            check_array(value, where)
            return {"numpy": encode_array(value)}
        if type(value) in (tuple, list):
            items = [
                self.encode(item, f"{where}[{i}]", depth + 1)
                for i, item in enumerate(value)
            ]
            # A tuple that mixes configuration and parameters was given as a list, e.g.
            # in `MRSTFTLoss(window=[...])`: a tuple would be one window of SciPy's.
            is_list = type(value) is list or any(map(is_static, value))
            return {"list": items} if is_list else items
        if type(value) in (dict, NamedParts) and all(type(key) is str for key in value):
            items = {
                name: self.encode(item, join(where, name), depth + 1)
                for name, item in value.items()
            }
            if self.leaves is not None:  # in files, no tool sorts the keys
                return {"dict": items}
            return {"pairs": [[name, item] for name, item in items.items()]}
        if isinstance(value, eqx.Module) and not _is_function(value):
            return self._module(value, where, depth)
        refuse(where, _kind(value), _remedy(value))

    def _leaf(self, array: jax.Array, where: str) -> dict[str, Any]:
        check_array(array, where)
        if self.leaves is not None and id(array) in self.leaves:
            return {"leaf": self.leaves[id(array)]}
        entry = encode_array(np.asarray(array))
        return {**entry, "weak_type": True} if array.weak_type else entry

    def _module(self, module: eqx.Module, where: str, depth: int) -> dict[str, Any]:
        cls = type(module)
        if cls in NOT_SAVED:
            refuse(where, f"a `{cls.__name__}`", NOT_SAVED[cls])
        if not is_own(cls):
            add_class(self.classes, cls)
        arguments = {
            name: self.encode(value, join(where, name), depth + 1)
            for name, value in argument_values(module, where)
        }
        return {"class": cls.__name__, "arguments": arguments}


def argument_values(module: eqx.Module, where: str) -> Iterator[tuple[str, Any]]:
    """Yield the name of each constructor argument, and the value that was kept."""
    cls = type(module).__name__
    for parameter in constructor_parameters(type(module)):
        name = parameter.name
        try:
            value = getattr(module, name)
        except AttributeError:
            remedy = f"Add a field or a property `{name}` that returns the argument."
            what = f"a constructor argument that `{cls}` does not keep"
            refuse(join(where, name), what, remedy)
        yield name, value


def constructor_parameters(cls: type[eqx.Module]) -> list[inspect.Parameter]:
    """Return the named parameters of `cls(...)`, without `self`, `*` and `**`."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    nameless = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p for p in parameters if p.kind not in nameless]


def refuse(where: str, what: str, remedy: str) -> NoReturn:
    raise ValueError(f"Cannot save this: {place(where)} is {what}. {remedy}")


def is_static(value: Any) -> bool:
    """Whether a value is of a type in which the package keeps configuration."""
    return isinstance(value, STATIC_TYPES)


def _given(value: Any) -> Any:
    """Return the value in Python's or NumPy's own type, as the user gave it."""
    if isinstance(value, np.ndarray):
        return value.view(np.ndarray)
    kinds: tuple[Any, ...] = (int, float, str, tuple)
    for kind in kinds:
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"not static: {value!r}")


def _encode_float(value: float, where: str) -> Any:
    if math.isnan(value):
        refuse(where, "NaN, which does not equal itself", "Use a number, or None.")
    return value if math.isfinite(value) else {"float": str(value)}


def check_array(array: np.ndarray | jax.Array, where: str) -> None:
    """Raise for arrays that have no values yet, or have a dtype that is not saved."""
    if isinstance(array, Tracer):
        remedy = "Save outside of `jax.jit`, `jax.grad` and the like."
        refuse(where, "an array inside a JAX transformation", remedy)
    if dtype_name(array.dtype) is None:
        remedy = "Only boolean, integer, floating and complex arrays are saved."
        refuse(where, describe(array), remedy)


def _is_function(value: Any) -> bool:
    return isinstance(value, Function | PartialFunction)


def _kind(value: Any) -> str:
    if isinstance(value, PartialFunction | jax.tree_util.Partial):
        return "a partial function"
    fn = value.fn if isinstance(value, Function) else value
    kind = "a function" if callable(fn) else f"of type {type(fn).__name__}"
    return f"{kind}, {describe(fn)}"


def _remedy(value: Any) -> str:
    if _is_function(value) or callable(value):
        return (
            "Code is not saved. Use a class of korvax_eqx, e.g. `Spectrogram(...)` for "
            "`spectrogram`, or a class of your own derived from `eqx.Module`. "
            "`eqx.tree_serialise_leaves` saves the weights of a whole model."
        )
    return (
        "Use None, bool, int, float, str, a tuple, list or dict of them, an array or "
        "an `eqx.Module`."
    )
