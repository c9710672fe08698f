"""Config values in the types of other libraries, e.g. OmegaConf and YAML loaders."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ._error import LoadError, place
from ._limits import MAX_ENTRIES


def is_sequence(value: Any) -> bool:
    """Whether a value is a sequence of any class, but not a string or bytes."""
    texts = (str, bytes, bytearray, memoryview)
    return isinstance(value, Sequence) and not isinstance(value, texts)


def plain_scalar(value: Any) -> Any:
    """Return a number or string in Python's own type, and anything else unchanged.

    Loaders that keep comments and notation use subclasses of these types.
    """
    if type(value) in (bool, int, float, str):
        return value
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    return str.__str__(value) if isinstance(value, str) else value


def plain(value: Any, where: str) -> Any:
    """Return a value whose outermost layer is converted to Python's own types.

    **Raises:** `LoadError` for a value that cannot be read, e.g. a missing value or a
    broken reference in OmegaConf.
    """
    if type(value) in (dict, list, tuple):
        return value
    try:
        # Not all items: `range(10**12)` is a sequence too.
        if isinstance(value, Mapping):
            return dict(itertools.islice(value.items(), MAX_ENTRIES + 1))
        if is_sequence(value):
            return list(itertools.islice(value, MAX_ENTRIES + 1))
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise LoadError(f"{place(where)}: cannot be read: {reason}.") from error
    return plain_scalar(value)
