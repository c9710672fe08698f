"""Limits for the size of tables, of one object and of all objects in a file."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from korvax_eqx._checks import describe, named, refuse

MAX_TABLE_VALUES = 2**24
"""Largest number of values of a table: less than a second, at about 45 ns each."""

# Fixed cost of a table, in values.
_A_TABLE = 4096

_count: contextvars.ContextVar[Callable[[int], None] | None] = contextvars.ContextVar(
    "count", default=None
)


@contextlib.contextmanager
def counted(count: Callable[[int], None]) -> Iterator[None]:
    """Call `count` with the cost, in values, of each table made in this context."""
    token = _count.set(count)
    try:
        yield
    finally:
        _count.reset(token)


def check_size(
    owner: str,
    argument: str,
    value: Any,
    n_values: float | int,
    *,
    rule: str = "be small enough for",
    remedy: str = "",
) -> None:
    """Raise for a table of more than `MAX_TABLE_VALUES` values, before it is made."""
    # Not `>`, which is false for NaN.
    if not n_values <= MAX_TABLE_VALUES:
        rule = f"{rule} a table of at most {MAX_TABLE_VALUES} values"
        refuse(owner, argument, rule, value, remedy)
    count = _count.get()
    if count is not None:
        count(_A_TABLE + int(n_values))


def check_finite(owner: str, arguments: dict[str, Any], table: np.ndarray) -> None:
    """Raise if the table of these arguments overflows float64 or is NaN."""
    if not np.all(np.isfinite(table)):
        if len(arguments) == 1:
            ((argument, value),) = arguments.items()
            rule = "give a table of finite numbers"
            refuse(owner, argument, rule, value, "Use less extreme values.")
        given = ", ".join(f"{name}={describe(v)}" for name, v in arguments.items())
        names = " and ".join(f"`{name}`" for name in arguments)
        raise ValueError(
            f"`{named(owner)}`: {names} must give a table of finite numbers. "
            f"Got {given}. Use less extreme values."
        )
