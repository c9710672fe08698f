"""Saving to a file and loading from one."""

import io
import os
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol, runtime_checkable

import equinox as eqx

from korvax_eqx._warnings import without_warnings

from ._atomic import replace_file
from ._config import (
    check_module,
    check_remade,
    decode,
    jax_leaves,
    numbers,
    with_leaves,
)
from ._decode import Decoder
from ._encode import Encoder
from ._error import LoadError
from ._header import MAX_HEADER, check_seal, read_header, write_header
from ._registry import CLASSES, with_custom
from ._section import (
    check_leaves,
    describe_leaves,
    max_bytes,
    read_leaves,
    write_leaves,
)

_CHUNK = 2**20


@runtime_checkable
class SupportsWrite(Protocol):
    """What `save` needs from a file."""

    def write(self, data: bytes, /) -> Any: ...


@runtime_checkable
class SupportsRead(Protocol):
    """What `load` needs from a file."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self, size: int, /) -> bytes: ...


def save(
    path_or_file: str | os.PathLike[str] | SupportsWrite, loss: eqx.Module
) -> None:
    """Save a loss to a file: its configuration and its parameters.

    The file is one line of JSON with the class and the constructor arguments, followed
    by the arrays as `eqx.tree_serialise_leaves` writes them. An existing file is
    replaced as a whole; if saving fails or is interrupted, it stays unchanged. The
    devices of arrays are not saved: arrays are loaded to the default device.

    **Arguments:**

    - `path_or_file`: a path (no suffix is added), or a file open for writing bytes.
    - `loss`: a loss, a transform or a scale of korvax_eqx, or a module of your own that
        keeps its constructor arguments in attributes of the same names.

    **Raises:** `ValueError` for anything that cannot be saved, e.g. a function or
    `BoundLoss`. The message names the field and a remedy, and nothing is written.
    """
    leaves = jax_leaves(check_module(loss))
    described = describe_leaves(loss)
    encoder = Encoder(dict(CLASSES), numbers(leaves))
    entry = encoder.encode(loss)
    with without_warnings():
        check_remade(loss, encoder.classes, with_values=False)
    data = write_leaves(loss)
    content = write_header(entry, described, data) + data
    if isinstance(path_or_file, str | os.PathLike):
        replace_file(path_or_file, content)
    elif isinstance(path_or_file, io.TextIOBase) or not hasattr(path_or_file, "write"):
        _refuse_file("save", path_or_file, "wb")
    else:
        try:
            _write_all(path_or_file, content)
        except TypeError:  # a text file in some wrapper
            _refuse_file("save", path_or_file, "wb")


def load(
    path_or_file: str | os.PathLike[str] | SupportsRead,
    *,
    custom: Sequence[type[eqx.Module]] = (),
) -> Any:
    """Load an object that `save` wrote. It equals the saved one.

    Nothing in the file is executed or imported. Files of all earlier versions can be
    loaded. Limits: 64 MiB for the first line, 65536 values and 64 levels of nesting in
    the configuration, and tables of at most 2**25 values.

    **Arguments:**

    - `path_or_file`: a path, or a file open for reading bytes, which is read to its
        end.
    - `custom`: classes of your own that the file may name, e.g. `(MyScale,)`.

    **Raises:** `LoadError` if the file is damaged or invalid, saying what is wrong and
    where; `OSError` if it cannot be read.
    """
    classes = with_custom(custom)
    if isinstance(path_or_file, str | os.PathLike):
        with open(path_or_file, "rb") as file:
            return _named(file, os.fspath(path_or_file), classes)
    is_text = isinstance(path_or_file, io.TextIOBase)
    if is_text or not hasattr(path_or_file, "readline"):
        _refuse_file("load", path_or_file, "rb")
    return _named(path_or_file, getattr(path_or_file, "name", "file"), classes)


def _named(file: SupportsRead, name: Any, classes: dict[str, type[eqx.Module]]) -> Any:
    try:
        return _load(file, classes)
    except LoadError as error:
        raise LoadError(f"Cannot load {name!r}. {error}") from error


def _load(file: SupportsRead, classes: dict[str, type[eqx.Module]]) -> Any:
    line = file.readline(MAX_HEADER + 1)
    if not isinstance(line, bytes):  # a text file in some wrapper
        _refuse_file("load", file, "rb")
    header = read_header(line)
    declared = check_leaves(header["leaves"])
    data = _read_all(file, max_bytes(declared))
    check_seal(line, data)
    leaves = read_leaves(data, declared)
    with without_warnings():  # shown when the object was made
        loaded = decode(Decoder(classes, leaves), header["object"])
    return with_leaves(check_loaded(loaded), leaves)


def check_loaded(loaded: Any) -> eqx.Module:
    if not isinstance(loaded, eqx.Module):
        raise LoadError(f"The file must hold a module. Got {type(loaded).__name__}.")
    return loaded


def _read_all(file: SupportsRead, most: int) -> bytes:
    """Return the rest of a file, read in steps: `read(most)` might allocate `most`."""
    data = bytearray()
    while chunk := file.read(_CHUNK):
        data += chunk
        if len(data) > most:
            raise LoadError("More data follows the first line than it declares.")
    return bytes(data)


def _write_all(file: SupportsWrite, content: bytes) -> None:
    """Write all bytes. One call of an unbuffered file may write only a part."""
    while content:
        n_written = file.write(content)
        content = content[len(content) if n_written is None else n_written :]


def _refuse_file(function: str, file: Any, mode: str) -> NoReturn:
    raise ValueError(
        f"`{function}(path_or_file=...)` must be a path or a file of bytes. Got "
        f"{file!r:.80}. Open it in binary mode, `open(path, {mode!r})`."
    )
