"""The command `show`."""

import argparse
import json
import math
import os
from typing import Any

import equinox as eqx
import jax
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from korvax_eqx._cli._error import CommandError
from korvax_eqx._cli._losses import load
from korvax_eqx._saving._config import to_config

# Arrays with more values than this are shown by dtype and shape alone.
_MOST_VALUES = 8


def run(args: argparse.Namespace) -> None:
    """Print what a saved file holds."""
    if not os.path.exists(args.file):
        raise CommandError(f"{args.file}: no such file.")
    loaded = load(args.file)
    try:
        config = to_config(loaded)
    except ValueError as error:
        raise CommandError(f"{args.file}: {error}") from error
    if args.json:
        print(json.dumps(config, indent=2, allow_nan=False))
        return
    console = Console(highlight=False)
    leaves = [leaf for leaf in jax.tree.leaves(loaded) if eqx.is_array(leaf)]
    n_values = sum(leaf.size for leaf in leaves)
    count = f"{n_values} learnable value" + ("" if n_values == 1 else "s")
    console.print(Text(f"{args.file}: {count}"), soft_wrap=True)
    console.print(_tree(Text(config["class"], "bold"), config), soft_wrap=True)


def _tree(label: Text, config: dict[str, Any]) -> Tree:
    tree = Tree(label)
    for name, value in config["arguments"].items():
        _add(tree, Text(f"{name}: "), value)
    return tree


def _add(tree: Tree, label: Text, value: Any) -> None:
    """Add an argument: modules as branches, and sequences that hold modules."""
    if _is_module(value):
        tree.add(_tree(label.append(value["class"], "bold"), value))
    elif isinstance(value, list) and any(map(_is_module, value)):
        branch = tree.add(label)
        for index, item in enumerate(value):
            _add(branch, Text(f"{index}: "), item)
    else:
        tree.add(label.append(_plain(value)))


def _is_module(value: Any) -> bool:
    return isinstance(value, dict) and "class" in value


def _plain(value: Any) -> str:
    """Return a config's value as Python would write it."""
    if isinstance(value, list):
        items = ", ".join(map(_plain, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    if isinstance(value, dict) and len(value) == 1:
        ((kind, inner),) = value.items()
        if kind == "list":
            return f"[{', '.join(map(_plain, inner))}]"
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
