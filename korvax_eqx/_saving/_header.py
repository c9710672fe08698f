"""The first line of a file: the object as JSON, with a checksum of the file."""

import hashlib
import json
import math
import re
from typing import Any, NoReturn

from korvax_eqx._version import __version__

from ._error import LoadError

FORMAT_VERSION = 1

MAX_HEADER = 2**26
"""Largest number of bytes of the first line."""

_MAX_PUNCTUATION = 2**19
_MAX_DEPTH = 200

_START = re.compile(
    rb'\{"format": "korvax_eqx", "format_version": (0|[1-9][0-9]{0,8}), '
    rb'"library_version": "([0-9A-Za-z.+!_-]{0,80})", '
)
_SEAL = re.compile(rb', "sha256": "([0-9a-f]{64})"\}\n')
_LEN_SEAL = len(', "sha256": ""}\n') + 64
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_BRACKET = re.compile(rb"[\[\]{}]")
_KEYS = ["format", "format_version", "library_version", "object", "leaves", "sha256"]


def write_header(entry: Any, leaves: list[dict[str, Any]], data: bytes) -> bytes:
    """Return the first line for an object and the bytes that follow it.

    The checksum is the last member. It covers everything else: the rest of the line,
    and the data.
    """
    content = {
        "format": "korvax_eqx",
        "format_version": FORMAT_VERSION,
        "library_version": __version__,
        "object": entry,
        "leaves": leaves,
    }
    line = json.dumps(content, allow_nan=False)[:-1].encode("ascii")
    line += f', "sha256": "{_checksum(line, data)}"}}\n'.encode("ascii")
    if len(line) > MAX_HEADER:
        raise ValueError(
            f"Cannot save this: its configuration takes {len(line)} bytes, more than "
            f"{MAX_HEADER}. Give large NumPy arrays as JAX arrays."
        )
    try:
        _check_size(line)
    except LoadError as error:
        raise ValueError(f"Cannot save this: it would not load. {error}") from error
    return line


def read_header(line: bytes) -> dict[str, Any]:
    """Return the content of a first line. Its checksum is not checked yet."""
    start = _START.match(line)
    if not line:
        raise LoadError("The file is empty.")
    if start is None:
        raise LoadError("This is not a file of `korvax_eqx.save`, or it is damaged.")
    version, library = int(start[1]), start[2].decode("ascii")
    if version > FORMAT_VERSION:
        raise LoadError(
            f"The file has format version {version}, written by korvax_eqx {library}; "
            f"this korvax_eqx reads versions up to {FORMAT_VERSION}. Update it."
        )
    if version < 1:
        raise LoadError(f"The file has format version {version}, which does not exist.")
    if len(line) > MAX_HEADER:
        raise LoadError(f"The first line is longer than {MAX_HEADER} bytes.")
    if not line.endswith(b"\n"):
        raise LoadError("The file is cut off in its first line.")
    if not _SEAL.fullmatch(line[-_LEN_SEAL:]):
        raise LoadError("The first line is damaged: it does not end with a checksum.")
    content = _strict_json(line)
    if list(content) != _KEYS or not isinstance(content["leaves"], list):
        raise LoadError(f"The first line must have the members {', '.join(_KEYS)}.")
    return content


def check_seal(line: bytes, data: bytes) -> None:
    """Check that neither the first line nor the data has been changed."""
    seal = _SEAL.fullmatch(line[-_LEN_SEAL:])
    if seal is None or seal[1].decode() != _checksum(line[:-_LEN_SEAL], data):
        raise LoadError(
            "The file is damaged or was edited: its checksum does not match. For "
            "editing by hand use `to_config` and `from_config`."
        )


def _checksum(line: bytes, data: bytes) -> str:
    digest = hashlib.sha256(line)
    digest.update(data)
    return digest.hexdigest()


def _strict_json(line: bytes) -> dict[str, Any]:
    _check_size(line)
    try:
        content = json.loads(
            line.decode("ascii"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except LoadError:
        raise
    except (ValueError, RecursionError) as error:
        raise LoadError(f"The first line is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise LoadError("The first line is not a JSON object.")
    return content


def _check_size(line: bytes) -> None:
    """Limit what parsing can allocate, by counting punctuation."""
    # Count quotes first: removing strings allocates a piece for each.
    skeleton = line if line.count(b'"') > _MAX_PUNCTUATION else _STRING.sub(b"", line)
    if sum(map(skeleton.count, b'",:[]{}')) > _MAX_PUNCTUATION:
        raise LoadError(f"The first line has more than {_MAX_PUNCTUATION} parts.")
    depth = 0
    for bracket in _BRACKET.finditer(skeleton):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > _MAX_DEPTH:
            raise LoadError(f"The first line is nested more than {_MAX_DEPTH} deep.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise LoadError("The first line has a member twice in one object.")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise LoadError(f"The first line is not valid JSON: it has the number {name}.")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise LoadError(f"The first line has a number out of range: {text:.40}.")
    return value
