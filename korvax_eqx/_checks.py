"""Checks of arguments and signals; every message has the same form.

`Class(argument=...)` must <rule>. Got <value>. <way out>
"""

import contextlib
import contextvars
import math
from collections.abc import Collection, Iterator
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from korvax_eqx._static import Static, thaw

# The class that messages name, and the parts' arguments that it calls otherwise.
_owner: contextvars.ContextVar[tuple[str, dict[str, str]] | None]
_owner = contextvars.ContextVar("owner", default=None)


@contextlib.contextmanager
def owned_by(name: str, **renamed: str) -> Iterator[None]:
    """Let messages name the class that the user called, not a part it is made of.

    `renamed` tells what a part's arguments are called by that class.
    """
    outer, names = _owner.get() or (name, {})
    renamed = {part: names.get(own, own) for part, own in renamed.items()}
    token = _owner.set((outer, {**names, **renamed}))
    try:
        yield
    finally:
        _owner.reset(token)


def refuse(
    owner: str, argument: str, rule: str, value: Any, remedy: str = ""
) -> NoReturn:
    """Raise the library's `ValueError` for an argument of `owner`."""
    owner, names = _owner.get() or (owner, {})
    argument = names.get(argument, argument)
    message = f"`{owner}({argument}=...)` must {rule}. Got {describe(value)}."
    raise ValueError(f"{message} {remedy}".rstrip())


def describe(value: Any) -> str:
    """Return a short text for `value`: arrays by dtype and shape, others by repr."""
    if isinstance(value, np.ndarray | jax.Array):
        return f"an array {value.dtype}{list(value.shape)}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def positive_int(owner: str, argument: str, value: Any) -> int:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        refuse(owner, argument, "be a positive integer", value)
    if value <= 0:
        refuse(owner, argument, "be a positive integer", value)
    return int(value)


def real(owner: str, argument: str, value: Any) -> float | int:
    """Check a finite real number; return it as a Python number, ints kept."""
    is_number = isinstance(value, int | float | np.integer | np.floating)
    if not is_number or isinstance(value, bool) or not math.isfinite(value):
        refuse(owner, argument, "be a finite real number", value)
    return value.item() if isinstance(value, np.generic) else value


def positive(owner: str, argument: str, value: Any) -> float | int:
    value = real(owner, argument, value)
    if value <= 0:
        refuse(owner, argument, "be positive", value)
    return value


def non_negative(owner: str, argument: str, value: Any) -> float | int:
    value = real(owner, argument, value)
    if value < 0:
        refuse(owner, argument, "be non-negative", value)
    return value


def boolean(owner: str, argument: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        refuse(owner, argument, "be True or False", value)
    return bool(value)


def one_of(owner: str, argument: str, value: Any, options: Collection[Any]) -> Any:
    if not any(value is o or (type(value) is type(o) and value == o) for o in options):
        rule = "be one of " + ", ".join(map(repr, options))
        refuse(owner, argument, rule, value)
    return value


def is_learnable(value: Any) -> bool:
    """Whether `value` is a parameter (a JAX array) and no configuration."""
    return isinstance(value, jax.Array)


def floating_array(owner: str, argument: str, value: Any, ndim: int) -> Any:
    """Check a NumPy or JAX array: real floating, `ndim` axes, finite if NumPy."""
    rule = f"be a real floating array with {ndim} axes" if ndim else "be a real scalar"
    if value.ndim != ndim or not jnp.issubdtype(value.dtype, jnp.floating):
        refuse(owner, argument, rule, value)
    if isinstance(value, np.ndarray) and not np.all(np.isfinite(value)):
        refuse(owner, argument, rule + " without NaN or infinities", value)
    return value


def positive_ints(owner: str, argument: str, value: Any) -> tuple[int, ...]:
    """Check a non-empty sequence of positive integers; return it as a tuple."""
    items = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(items, list | tuple) or not items:
        refuse(owner, argument, "be a non-empty sequence of integers", value)
    return tuple(positive_int(owner, argument, item) for item in items)


def number_or_leaf(owner: str, argument: str, value: Any) -> jax.Array | Static:
    """Check a number (configuration) or a JAX scalar (a leaf)."""
    value = thaw(value)
    if isinstance(value, jax.Array):
        return floating_array(owner, argument, value, ndim=0)
    return Static(float(real(owner, argument, value)))


def signal_type(owner: str, argument: str, x: Any) -> None:
    """Check that `x` is an array at all."""
    if not isinstance(x, jax.Array | np.ndarray):
        raise ValueError(
            f"`{owner}`: `{argument}` must be a JAX or NumPy array of real floats. "
            f"Got {type(x).__name__}. Convert it with `jnp.asarray(..., float)`."
        )


def signal(owner: str, argument: str, x: Any) -> jax.Array:
    """Check one signal; return it as a float32 or float64 array.

    float16 and bfloat16 are computed in float32: their range and precision do not
    carry a power spectrum.
    """
    signal_type(owner, argument, x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"`{owner}`: `{argument}` must hold real floats. Got {describe(x)}. "
            f"Convert it first, e.g. `{argument}.astype('float32') / 32768` for "
            "16-bit integer samples, `.real` or `abs` for complex values."
        )
    if x.ndim == 0:
        raise ValueError(
            f"`{owner}`: `{argument}` must have a sample axis, i.e. shape "
            f"(*channels, n_samples). Got a scalar."
        )
    if x.size == 0:
        raise ValueError(
            f"`{owner}`: `{argument}` must not be empty. Got {describe(x)}."
        )
    x = jnp.asarray(x)
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def wider(a: Any, b: Any) -> Any:
    """Return the wider dtype of two of `signal`'s, also under strict promotion."""
    return max(jnp.dtype(a), jnp.dtype(b), key=lambda dtype: dtype.itemsize)


def pair(owner: str, x: Any, y: Any) -> None:
    """Check that an estimate and its target have one shape: nothing broadcasts."""
    shape_x, shape_y = jnp.shape(x), jnp.shape(y)
    if shape_x != shape_y:
        raise ValueError(
            f"`{owner}`: the estimate and the target must have the same shape; nothing "
            f"is broadcast. Got {shape_x} and {shape_y}. Use `jnp.broadcast_to`, "
            "or trim or pad one of them."
        )


def scale_input(owner: str, S: Any, *, takes_complex: bool = False) -> jax.Array:
    """Check spectra; return them in single or double precision.

    They need a bin axis and a frame axis, and to be real unless `takes_complex`.
    """
    kind = jnp.inexact if takes_complex else jnp.floating
    rule = "floats" if takes_complex else "real floats"
    is_array = isinstance(S, jax.Array | np.ndarray)
    if not is_array or not jnp.issubdtype(S.dtype, kind):
        raise ValueError(
            f"`{owner}`: the spectrogram must be a JAX or NumPy array of {rule}. "
            f"Got {describe(S)}. Convert it first: `abs` or `Spectrogram(power=...)` "
            "for complex values, `.astype('float32')` for integers."
        )
    if S.ndim < 2 or S.size == 0:
        raise ValueError(
            f"`{owner}`: the spectrogram must have shape (*channels, n_bins, "
            f"n_frames), none of them 0. Got {jnp.shape(S)}. For one frame, add an "
            "axis: `S[:, None]`."
        )
    S = jnp.asarray(S)
    is_half = jnp.issubdtype(S.dtype, jnp.floating) and S.dtype.itemsize < 4
    return S.astype(jnp.float32) if is_half else S


def spectrum(owner: str, argument: str, S: Any) -> None:
    """Check that `S` has a bin and a frame axis."""
    if jnp.ndim(S) < 2:
        raise ValueError(
            f"`{owner}`: `{argument}` must have the shape (*channels, n_bins, "
            f"n_frames). Got {jnp.shape(S)}. Add an axis for a single frame: "
            f"`{argument}[:, None]`."
        )


def real_spectrum(owner: str, argument: str, S: Any) -> None:
    """Check that `S` is a real floating spectrum."""
    if not jnp.issubdtype(S.dtype, jnp.floating):
        raise ValueError(
            f"`{owner}`: `{argument}` must be a real spectrogram. Got {describe(S)}. "
            "Take magnitudes or powers first, e.g. `Spectrogram(power=2)`."
        )
