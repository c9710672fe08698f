"""A file of one line of JSON and then arrays, as Equinox writes them."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx

# What reading a damaged file raises.
_DAMAGED = (OSError, ValueError, TypeError, RuntimeError, AttributeError, KeyError)


def write(path: Path, header: dict[str, Any], arrays: Any) -> None:
    """Write a file: completely, or not at all if interrupted."""
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        eqx.tree_serialise_leaves(file, arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read(path: Path, file_format: str, like: Callable[..., Any]) -> tuple[Any, Any]:
    """Read a header, and arrays of the shapes that `like` returns for the header.

    `like` may also replace entries of the header. If the file cannot be read, the
    program ends with a message.
    """
    try:
        with open(path, "rb") as file:
            header = json.loads(file.readline())
            if header.pop("format", None) != file_format:
                raise ValueError("it has another format")
            return header, eqx.tree_deserialise_leaves(file, like(header))
    except _DAMAGED as error:
        sys.exit(f"Cannot resume from {str(path)!r}: {error}")
