"""From a config to an object."""

import dataclasses
import inspect
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import equinox as eqx
import jax
import numpy as np

from korvax_eqx import recipes
from korvax_eqx._names import did_you_mean
from korvax_eqx._warnings import warn_weights_by_position

from ._arrays import decode_array, split_weak_type, to_jax
from ._encode import constructor_parameters
from ._error import LoadError, join, place
from ._foreign import is_sequence, plain, plain_scalar
from ._limits import Budget
from ._registry import is_own, renamed_arguments

_NUMBER = re.compile(
    r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)", re.ASCII | re.I
)
_FLOATS = {"inf": math.inf, "-inf": -math.inf}
_PAIRS = (
    ' Write values by name, such as the losses of a sum, as {"pairs": [["a", ...]]}.'
)


@dataclasses.dataclass
class Decoder:
    """Makes the objects of one file or config.

    **Arguments:**

    - `classes`: all classes that a name can stand for.
    - `leaves`: the arrays of the file; `None` for a config.
    """

    classes: Mapping[str, type[eqx.Module]]
    leaves: Sequence[jax.Array] | None = None
    budget: Budget = dataclasses.field(default_factory=Budget)

    def decode(self, entry: Any, where: str = "", depth: int = 0) -> Any:
        """Return the value of an entry. **Raises:** `LoadError`."""
        self.budget.enter(where, depth)
        entry = plain(entry, where)
        if entry is None or type(entry) in (bool, int, str):
            return entry
        if type(entry) is float:
            if not math.isfinite(entry):
                _refuse(where, entry, 'a finite number, or {"float": "inf"}')
            return entry
        if isinstance(entry, list | tuple):
            return tuple(
                self.decode(item, f"{where}[{i}]", depth + 1)
                for i, item in enumerate(entry)
            )
        if not isinstance(entry, dict):
            _refuse(where, entry, "a value of JSON")
        if "class" in entry:
            return self._module(entry, where, depth)
        if len(entry) != 1:
            tags = "'class', 'array', 'numpy', 'list', 'pairs', 'dict' or 'float'"
            _refuse(where, entry, f"an object with one of the keys {tags}", _PAIRS)
        [(tag, content)] = entry.items()
        return self._tagged(tag, content, where, depth)

    def _tagged(self, tag: Any, content: Any, where: str, depth: int) -> Any:
        content = plain(content, where)
        if tag == "array":
            return self._array(content, where)
        if tag == "numpy":
            return decode_array(content, where, self.budget)
        if tag == "list" and isinstance(content, list | tuple):
            return list(self.decode(content, where, depth + 1))
        if tag == "dict" and isinstance(content, dict):
            self._check_names(content, where)
            return {
                plain_scalar(name): self.decode(item, join(where, name), depth + 1)
                for name, item in content.items()
            }
        if tag == "pairs" and isinstance(content, list | tuple):
            return self._pairs(content, where, depth)
        if tag == "float" and isinstance(content, str) and content in _FLOATS:
            return _FLOATS[content]
        _refuse(where, {tag: content}, "a value", _PAIRS)

    def _pairs(self, content: Any, where: str, depth: int) -> dict[str, Any]:
        items: dict[str, Any] = {}
        for i, pair in enumerate(content):
            pair = plain(pair, f"{where}[{i}]")
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                _refuse(f"{where}[{i}]", pair, "a pair of a name and a value")
            self._check_names(pair[:1], where)
            name = plain_scalar(pair[0])
            if name in items:
                raise LoadError(f"{place(where)}: has the name {name!r:.80} twice.")
            items[name] = self.decode(pair[1], join(where, name), depth + 1)
        return items

    def _array(self, content: Any, where: str) -> jax.Array:
        if isinstance(content, dict) and set(content) == {"leaf"}:
            leaves, i = self.leaves or (), plain_scalar(content["leaf"])
            if type(i) is not int or not 0 <= i < len(leaves):
                _refuse(where, i, f"the number of one of {len(leaves)} arrays")
            return leaves[i]
        content, is_weak = split_weak_type(content, where)
        array = decode_array(content, where, self.budget)
        if is_weak:
            self.budget.compile((array.dtype.name, array.shape), where)
        return to_jax(array, is_weak, where)

    def _module(self, entry: Any, where: str, depth: int) -> eqx.Module:
        name = plain_scalar(entry["class"])
        given = plain(entry.get("arguments", {}), where)
        if set(entry) - {"class", "arguments"} or not isinstance(given, dict):
            _refuse(where, entry, "an object of 'class' and 'arguments'")
        cls = self.classes.get(name) if isinstance(name, str) else None
        if cls is None:
            raise LoadError(
                f"{place(where)}: unknown class {name!r:.80}. "
                f"{_is_recipe(name) or did_you_mean(name, self.classes)}A class of "
                "your own must be passed, as `custom=(MyClass,)`."
            )
        self._check_names(given, where)
        if is_own(cls):
            given = renamed_arguments(cls.__name__, given)
        parameters = {p.name: p for p in constructor_parameters(cls)}
        _check_arguments(parameters, given, where, name)
        arguments = {
            plain_scalar(key): self.decode(value, join(where, key), depth + 1)
            for key, value in given.items()
        }
        if is_own(cls):
            _warn_of_order(cls.__name__, given, arguments)
            self.budget.arguments(arguments, where)
        args = [
            arguments.pop(key, p.default)
            for key, p in parameters.items()
            if p.kind is p.POSITIONAL_ONLY
        ]
        try:
            with self.budget.tables(where):
                return cls(*args, **arguments)
        except LoadError:  # raised by the budget
            raise
        except Exception as error:
            # Any exception: a wrong value may make a constructor fail in any way.
            culprit = _named_argument(error, given)
            inner = place(join(where, culprit) if culprit else where)
            reason = str(error) or type(error).__name__
            suspects = [given[culprit]] if culprit else list(given.values())
            raise LoadError(
                f"{inner}: cannot make `{name}`. {reason}{_number_remedy(suspects)}"
            ) from error

    def _check_names(self, names: Any, where: str) -> None:
        for name in names:
            if not isinstance(name, str):
                _refuse(where, name, "a string as a name")


def _is_recipe(name: Any) -> str:
    """Return what to write instead of the name of a recipe; "" for other names."""
    recipe = name.rpartition(".")[-1] if isinstance(name, str) else ""
    if not inspect.isfunction(getattr(recipes, recipe, None)):
        return ""
    return (
        f"That is a recipe, a function that returns a loss: write the config that "
        f"`to_config(recipes.{recipe}(...))` returns. "
    )


def _warn_of_order(
    owner: str, given: Mapping[str, Any], arguments: Mapping[str, Any]
) -> None:
    """Warn about weights by position for named losses that may have been sorted."""
    losses, weights = arguments.get("losses"), arguments.get("weights")
    entry = plain(given.get("losses"), "losses")
    if not isinstance(entry, dict) or "dict" not in entry or losses is None:
        return
    if list(losses) == sorted(losses) and isinstance(
        weights, list | tuple | np.ndarray | jax.Array
    ):
        if len(set(np.ravel(weights).tolist())) > 1:
            warn_weights_by_position(owner, list(losses))


def _check_arguments(
    parameters: Mapping[str, inspect.Parameter],
    given: Mapping[str, Any],
    where: str,
    cls: str,
) -> None:
    for name in given:
        if name not in parameters:
            raise LoadError(
                f"{place(join(where, name[:80]))}: `{cls}` has no such argument. "
                f"{did_you_mean(name, parameters)}"
                f"It has: {', '.join(parameters) or 'none'}."
            )
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in given:
            raise LoadError(f"{place(join(where, name))}: `{cls}` needs this argument.")


def _named_argument(error: Exception, given: Mapping[str, Any]) -> str | None:
    """Return the argument named at the start of a message of the library."""
    match = re.match(r"`\w+\((\w+)=", str(error))
    return match[1] if match and match[1] in given else None


def _number_remedy(values: list[Any]) -> str:
    """Return a hint for the first number that is given as a string; "" without one.

    PyYAML reads 1e-5 as a string: numbers in YAML 1.1 have a dot and a signed exponent.
    """
    text = next(_number_strings(values), None)
    if text is None:
        return ""
    number = float(text)
    if math.isnan(number):
        return ""
    if math.isinf(number):
        return f' {text!r} is a string: write {{"float": "{number}"}}.'
    digits, e, exponent = repr(number).partition("e")
    written = f"{digits}{'' if '.' in digits else '.0'}{e}{exponent}"
    return (
        f" {text!r} is a string: write a number without quotes, in YAML as {written} "
        "(which needs a dot and a signed exponent)."
    )


def _number_strings(values: Iterable[Any]) -> Iterator[str]:
    """Yield the strings that are numbers, including those in lists."""
    for value in values:
        value = plain_scalar(value)
        if is_sequence(value):
            yield from _number_strings(value)
        elif isinstance(value, str) and len(value) < 40 and _NUMBER.fullmatch(value):
            yield value


def _refuse(where: str, value: Any, expected: str, remedy: str = "") -> NoReturn:
    text = repr(value) if not isinstance(value, dict | list) else _shortened(value)
    raise LoadError(f"{place(where)}: expected {expected}. Got {text:.80}.{remedy}")


def _shortened(value: Any) -> str:
    """Return a short description, without going through all of a large value."""
    if isinstance(value, dict):
        return f"an object with the keys {list(value)[:5]!r}"
    return f"a list of {len(value)} items"
