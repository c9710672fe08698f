"""Values of other libraries' configs: OmegaConf's, YAML loaders' and the like."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ._error import LoadError, place
from ._limits import MAX_ENTRIES


def is_sequence(value: Any) -> bool:
    """Whether a value is a list, of whatever class, and no text or bytes."""
    texts = (str, bytes, bytearray, memoryview)
    return isinstance(value, Sequence) and not isinstance(value, texts)


def plain_scalar(value: Any) -> Any:
    """Return a number or text as Python's own type; anything else as it is.

    Loaders that keep comments and notations derive classes from these types.
    """
    if type(value) in (bool, int, float, str):
        return value
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    return str.__str__(value) if isinstance(value, str) else value


def plain(value: Any, where: str) -> Any:
    """Return a value with its outermost layer in Python's own type.

    **Raises:** `LoadError` for one that cannot be read, such as a value of OmegaConf
    that is missing or refers to nothing.
    """
    if type(value) in (dict, list, tuple):
        return value
    try:
        # No more than is looked at: `range(10**12)` is a sequence, too.
        if isinstance(value, Mapping):
            return dict(itertools.islice(value.items(), MAX_ENTRIES + 1))
        if is_sequence(value):
            return list(itertools.islice(value, MAX_ENTRIES + 1))
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise LoadError(f"{place(where)}: cannot be read: {reason}.") from error
    return plain_scalar(value)
