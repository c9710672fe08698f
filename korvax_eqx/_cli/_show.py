"""The command `show`."""

import argparse
import json
import math
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax

from korvax_eqx._cli._error import CommandError
from korvax_eqx._cli._losses import load, named
from korvax_eqx._saving._config import to_config

# Arrays with more values than this are shown by dtype and shape alone.
_MOST_VALUES = 8


def run(args: argparse.Namespace) -> None:
    """Print the object in a saved file, or a loss that is known by name."""
    build = named(args.file)
    try:
        loaded = load(args.file) if build is None else build(args.sr)
        config = to_config(loaded)
    except ValueError as error:
        raise CommandError(f"{args.file}: {error}") from error
    if args.json:
        print(json.dumps(config, indent=2, allow_nan=False))
        return
    leaves = [leaf for leaf in jax.tree.leaves(loaded) if eqx.is_array(leaf)]
    n_values = sum(leaf.size for leaf in leaves)
    count = f"{n_values} learnable value" + ("" if n_values == 1 else "s")
    print(f"{args.file}: {count}")
    print("\n".join(_lines("", config)))


def _lines(label: str, value: Any) -> Iterator[str]:
    """Yield the lines of a value: several for modules, and containers of modules."""
    if not _holds_modules(value):
        yield label + _plain(value)
        return
    if _is_module(value):
        yield label + value["class"]
        parts = value["arguments"].items()
    else:
        yield label.rstrip()
        value = _items(value)
        parts = value.items() if isinstance(value, dict) else enumerate(value)
    for name, part in parts:
        yield from ("    " + line for line in _lines(f"{name}: ", part))


def _is_module(value: Any) -> bool:
    return isinstance(value, dict) and "class" in value


def _items(value: Any) -> Any:
    """Return the list or dictionary that a config writes as `{kind: items}`."""
    if isinstance(value, dict) and len(value) == 1:
        ((kind, inner),) = value.items()
        if kind in ("list", "pairs"):
            return dict(inner) if kind == "pairs" else inner
    return value


def _holds_modules(value: Any) -> bool:
    if _is_module(value):
        return True
    inner = _items(value)
    if isinstance(inner, dict) and inner is not value:
        inner = list(inner.values())
    return isinstance(inner, list) and any(map(_holds_modules, inner))


def _plain(value: Any) -> str:
    """Return a config's value as Python would write it."""
    if isinstance(value, list):
        items = ", ".join(map(_plain, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    if isinstance(value, dict) and len(value) == 1:
        ((kind, inner),) = value.items()
        if kind == "list":
            return f"[{', '.join(map(_plain, inner))}]"
        if kind == "pairs":
            items = (f"{name!r}: {_plain(item)}" for name, item in inner)
            return "{" + ", ".join(items) + "}"
        if kind == "float":
            return inner
        if kind in ("array", "numpy"):
            return _array(inner) + (", learnable" if kind == "array" else "")
    return repr(value)


def _array(entry: dict[str, Any]) -> str:
    shape, values = entry["shape"], entry.get("values")
    text = entry["dtype"] + (f" array of shape {tuple(shape)}" if shape else "")
    is_short = math.prod(shape) <= _MOST_VALUES
    return f"{text}: {values}" if is_short and values is not None else text
