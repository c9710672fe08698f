"""Error messages, which all have the same form.

`Class(argument=...)` must <rule>. Got <value>. <remedy>
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

# Integers of more bits exceed the range of floats, and are not written out.
_FLOAT_BITS = 1024
# Arrays with this many values are probably signals, not windows or weights.
_LEAST_OF_A_SIGNAL = 4096

# The class that messages name, and its own names for its parts' arguments.
_owner: contextvars.ContextVar[tuple[str, dict[str, str]] | None]
_owner = contextvars.ContextVar("owner", default=None)


@contextlib.contextmanager
def owned_by(name: str, **renamed: str) -> Iterator[None]:
    """Let messages name the class that the user called, not a part it is made of.

    `renamed` maps the arguments of a part to their names in that class.
    """
    outer, names = _owner.get() or (name, {})
    renamed = {part: names.get(own, own) for part, own in renamed.items()}
    token = _owner.set((outer, {**names, **renamed}))
    try:
        yield
    finally:
        _owner.reset(token)


def named(owner: str) -> str:
    """Return the class that a message names if the error is raised in `owner`."""
    return (_owner.get() or (owner, {}))[0]


def refuse(
    owner: str, argument: str, rule: str, value: Any, remedy: str = ""
) -> NoReturn:
    """Raise the library's `ValueError` for an argument of `owner`."""
    owner, names = _owner.get() or (owner, {})
    argument = names.get(argument, argument)
    message = f"`{owner}({argument}=...)` must {rule}. Got {describe(value)}."
    remedies = [remedy] if remedy else []
    if _is_signal(value):
        remedies.append(f"To call a loss, make it first: `{owner}(...)(x, y)`.")
    raise ValueError(" ".join([message, *remedies]))


def _is_signal(value: Any) -> bool:
    """Whether a value is probably a signal, given where a setting belongs."""
    if not isinstance(value, np.ndarray | jax.Array):
        return False
    # Random keys have a dtype that only `jnp` knows.
    is_real = jnp.issubdtype(value.dtype, jnp.floating)
    return is_real and value.size >= _LEAST_OF_A_SIGNAL


def describe(value: Any) -> str:
    """Return a short text for `value`: dtype and shape of arrays, else its `repr`."""
    if isinstance(value, np.ndarray | jax.Array | jax.ShapeDtypeStruct):
        return f"an array {value.dtype}{list(value.shape)}"
    if isinstance(value, int) and value.bit_length() > _FLOAT_BITS:
        return f"an integer of {value.bit_length()} bits"
    try:
        text = repr(value)
    except Exception:  # e.g. integers of more than 4300 digits
        return f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
