"""Checks of arguments, signals and spectra."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from korvax_eqx._messages import describe as describe
from korvax_eqx._messages import named as named
from korvax_eqx._messages import owned_by as owned_by
from korvax_eqx._messages import refuse as refuse
from korvax_eqx._static import is_leaf as is_leaf
from korvax_eqx._static import static_or_leaf

# JAX takes sizes and positions as 32-bit integers; larger ones may crash the process.
_LARGEST_INT = 2**31 - 1
# A last axis of at most this size, and shorter than another, is taken for channels.
_MOST_CHANNELS = 8


def positive_int(owner: str, argument: str, value: Any) -> int:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        refuse(owner, argument, "be a positive integer", value)
    if value <= 0:
        refuse(owner, argument, "be a positive integer", value)
    if value > _LARGEST_INT:
        remedy = "Sizes and positions are 32-bit integers."
        refuse(owner, argument, f"be at most {_LARGEST_INT}", value, remedy)
    return int(value)


def rate(owner: str, argument: str, value: Any) -> int:
    """Check a sample rate: a positive integer, or a whole float, as in files."""
    is_float = isinstance(value, float | np.floating)
    is_whole = is_float and float(value).is_integer()
    return positive_int(owner, argument, int(value) if is_whole else value)


def non_negative_int(owner: str, argument: str, value: Any) -> int:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        refuse(owner, argument, "be a non-negative integer", value)
    if value < 0:
        refuse(owner, argument, "be a non-negative integer", value)
    return 0 if value == 0 else positive_int(owner, argument, value)


def real(owner: str, argument: str, value: Any) -> float | int:
    """Check a finite real number; return it as a Python number, ints kept."""
    is_number = isinstance(value, int | float | np.integer | np.floating)
    if not is_number or isinstance(value, bool) or not math.isfinite(_as_float(value)):
        refuse(owner, argument, "be a finite real number", value)
    if isinstance(value, np.floating) and value.dtype.itemsize > 8:
        return float(value)  # `item` returns extended-precision floats unchanged
    return value.item() if isinstance(value, np.generic) else value


def _as_float(value: Any) -> float:
    """Return a number as a float, infinite if it is beyond the range of floats."""
    try:
        with np.errstate(all="ignore"):
            return float(value)
    except OverflowError:
        return math.inf


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


def norm_order(owner: str, argument: str, value: Any, rule: str) -> float | int:
    """Check the order of a norm, positive or infinite; `rule` is for the message."""
    is_number = isinstance(value, int | float | np.integer | np.floating)
    # Not `<= 0`, which is false for NaN.
    if not is_number or isinstance(value, bool) or not _as_float(value) > 0:
        refuse(owner, argument, rule, value)
    if not math.isfinite(_as_float(value)) and isinstance(value, int):
        refuse(owner, argument, rule, value, "Use `math.inf` for the maximum.")
    return value.item() if isinstance(value, np.generic) else value


def boolean(owner: str, argument: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        refuse(owner, argument, "be True or False", value)
    return bool(value)


def one_of(owner: str, argument: str, value: Any, options: Collection[Any]) -> Any:
    for option in options:
        is_text = isinstance(value, str) and isinstance(option, str)
        is_same_kind = is_text or type(value) is type(option)
        if value is option or (is_same_kind and value == option):
            return option
    rule = "be one of " + ", ".join(map(repr, options))
    refuse(owner, argument, rule, value)


def floating_array(owner: str, argument: str, value: Any, ndim: int) -> Any:
    """Check a NumPy or JAX array: real floating, `ndim` axes, finite if NumPy.

    Return it in the byte order of the machine, the only one that JAX takes.
    """
    axes = "1 axis" if ndim == 1 else f"{ndim} axes"
    rule = f"be a real floating {f'array with {axes}' if ndim else 'scalar'}"
    if value.ndim != ndim or not jnp.issubdtype(value.dtype, jnp.floating):
        refuse(owner, argument, rule, value)
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.itemsize > 8:
        remedy = "Convert it, `.astype('float64')`."
        refuse(owner, argument, rule + " of at most 64 bits", value, remedy)
    if not np.all(np.isfinite(value)):
        refuse(owner, argument, rule + " without NaN or infinities", value)
    is_native = value.dtype.isnative
    return value if is_native else value.astype(value.dtype.newbyteorder("="))


def real_numbers(owner: str, argument: str, value: Any) -> np.ndarray:
    """Check a NumPy array or sequence of finite real numbers; return it as float64."""
    rule = "be a sequence or an array of finite real numbers, with 1 axis"
    if isinstance(value, np.ndarray):
        kinds = (jnp.floating, jnp.integer)
        is_real = any(jnp.issubdtype(value.dtype, kind) for kind in kinds)
        if value.ndim != 1 or not is_real:
            refuse(owner, argument, rule, value)
        with np.errstate(all="ignore"):
            values = value.astype(np.float64)
        if not np.all(np.isfinite(values)):
            refuse(owner, argument, rule, value)
        return values
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    if not is_sequence:
        refuse(owner, argument, rule, value)
    return np.array([real(owner, argument, item) for item in value], np.float64)


def positive_ints(owner: str, argument: str, value: Any) -> tuple[int, ...]:
    """Check a non-empty sequence of positive integers; return it as a tuple."""
    are_integers = isinstance(value, np.ndarray) and value.dtype.kind in "iu"
    items = value.tolist() if are_integers else value
    if not isinstance(items, list | tuple) or not items:
        refuse(owner, argument, "be a non-empty sequence of integers", value)
    return tuple(positive_int(owner, argument, item) for item in items)


def number_or_leaf(owner: str, argument: str, value: Any) -> Any:
    """Check a number (configuration) or a JAX scalar (a leaf)."""
    if is_leaf(value):
        return floating_array(owner, argument, value, ndim=0)
    return static_or_leaf(float(real(owner, argument, value)))


def signal_type(owner: str, argument: str, x: Any) -> None:
    """Check that `x` is an array of a dtype that JAX supports.

    This is checked before `jax.jit`, which would raise an error of its own.
    """
    if not isinstance(x, jax.Array | np.ndarray):
        raise ValueError(
            f"`{named(owner)}`: `{argument}` must be a JAX or NumPy array of real "
            f"floats. Got {type(x).__name__}. Convert it, `jnp.asarray(..., float)`."
        )
    if not is_jax_dtype(x.dtype):
        raise ValueError(
            f"`{named(owner)}`: `{argument}` must have a dtype that JAX supports. "
            f"Got {describe(x)}. Convert it, `{argument}.astype('float32')`."
        )


def is_jax_dtype(dtype: Any) -> bool:
    """Whether JAX can hold the values of a dtype, perhaps rounded to 32 bits.

    It cannot hold extended-precision floats, strings, dates, objects or records, or
    values in another byte order than the machine's.
    """
    is_bits = any(jnp.issubdtype(dtype, kind) for kind in (jnp.number, jnp.bool_))
    if jnp.issubdtype(dtype, jax.dtypes.extended):  # such as random keys
        return True
    widest = 16 if jnp.issubdtype(dtype, jnp.complexfloating) else 8
    return is_bits and dtype.isnative and dtype.itemsize <= widest


def signal(
    owner: str, argument: str, x: Any, *, may_be_short: bool = False
) -> jax.Array:
    """Check one signal; return it as a float32 or float64 array.

    Few samples of many channels are taken for swapped axes, unless `may_be_short`.
    float16 and bfloat16 are converted to float32: their range and precision are too
    small for a power spectrum.
    """
    signal_type(owner, argument, x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"`{named(owner)}`: `{argument}` must hold real floats. Got {describe(x)}. "
            f"Convert it first, e.g. `{argument}.astype('float32') / 32768` for "
            "16-bit integer samples, `.real` or `abs` for complex values."
        )
    if x.ndim == 0:
        raise ValueError(
            f"`{named(owner)}`: `{argument}` must have a sample axis, i.e. shape "
            f"(*channels, n_samples). Got a scalar."
        )
    if x.size == 0:
        raise ValueError(
            f"`{named(owner)}`: `{argument}` must not be empty. Got {describe(x)}."
        )
    if not may_be_short:
        _samples_last(owner, argument, x)
    x = jnp.asarray(x)
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def _samples_last(owner: str, argument: str, x: Any) -> None:
    """Raise if the last axis looks like channels, as in audio read by soundfile."""
    is_known = all(isinstance(size, int) for size in x.shape)
    if not is_known or x.shape[-1] > _MOST_CHANNELS:
        return
    axis = int(np.argmax(x.shape))
    if x.shape[-1] == x.shape[axis]:
        return
    if x.ndim == 2:
        transposed = f"{argument}.T"
    elif axis == x.ndim - 2:
        transposed = f"jnp.swapaxes({argument}, -1, -2)"
    else:
        transposed = f"jnp.moveaxis({argument}, {axis}, -1)"
    raise ValueError(
        f"`{named(owner)}`: `{argument}` must have its samples in the last axis, i.e. "
        f"shape (*channels, n_samples). Got {describe(x)}, which looks like channels "
        f"last. Pass `{transposed}`. If signals really are that short, append zeros."
    )


def wider(a: Any, b: Any) -> Any:
    """Return the wider of two float dtypes, also under strict promotion."""
    return max(jnp.dtype(a), jnp.dtype(b), key=lambda dtype: dtype.itemsize)


def pair(owner: str, x: Any, y: Any) -> None:
    """Check that an estimate and its target have the same shape."""
    for array in (x, y):
        is_array = isinstance(array, jax.Array | np.ndarray | jax.ShapeDtypeStruct)
        if not is_array or not is_jax_dtype(array.dtype):
            raise ValueError(
                f"`{named(owner)}`: the estimate and the target must be JAX or NumPy "
                f"arrays of a dtype that JAX supports. Got {describe(array)}. Convert "
                "them, `jnp.asarray(..., 'float32')`."
            )
    shape_x, shape_y = jnp.shape(x), jnp.shape(y)
    if shape_x != shape_y:
        raise ValueError(
            f"`{named(owner)}`: the estimate and the target must have the same shape; "
            f"nothing is broadcast. Got {shape_x} and {shape_y}. Use "
            "`jnp.broadcast_to`, or trim or pad one of them."
        )


def lengths(owner: str, value: Any, x: Any) -> jax.Array | None:
    """Check the lengths of the signals of a padded batch; return one for each signal.

    Values are checked where they are known, i.e. outside of transformations. Inside,
    they are clipped to between 0 and the length of the array.
    """
    if value is None:
        return None
    lead, n_samples = jnp.shape(x)[:-1], jnp.shape(x)[-1]
    if not isinstance(value, jax.Array):
        value = np.asarray(value)
    if not jnp.issubdtype(value.dtype, jnp.integer):
        way = ".astype('int32')" if value.dtype != bool else "mask.sum(-1)"
        rule = "hold integers, numbers of samples"
        refuse(owner, "lengths", rule, value, f"Convert it: `{way}`.")
    try:
        is_right = jnp.broadcast_shapes(value.shape, lead) == lead  # maybe symbolic
    except ValueError:
        is_right = False
    if not is_right:
        rule = f"have, or broadcast to, the shape of the signals' leading axes, {lead}"
        remedy = "Add an axis for channels that share a length: `lengths[:, None]`."
        refuse(owner, "lengths", rule, value, remedy)
    if not isinstance(value, Tracer) and value.size:
        known = np.asarray(value)
        if known.min() < 0 or known.max() > n_samples:
            rule = f"be between 0 and the number of samples, {n_samples}"
            outside = known[(known < 0) | (known > n_samples)]
            refuse(owner, "lengths", rule, int(outside[0]))
    most = n_samples if isinstance(n_samples, int) else _LARGEST_INT  # symbolic
    if isinstance(value, jax.Array) and value.dtype.itemsize >= 4:  # may exceed int32
        value = jnp.clip(value, 0, jnp.asarray(most, value.dtype))
    return jnp.broadcast_to(jnp.clip(jnp.asarray(value, jnp.int32), 0, most), lead)


def scale_input(
    owner: str, S: Any, *, takes_complex: bool = False, bins_last: bool = False
) -> jax.Array:
    """Check spectra; return them in single or double precision.

    They must have a bin axis and a frame axis, and be real unless `takes_complex`.
    `bins_last` says that the bins are the last axis, as they are inside the library.
    """
    spectrum_type(owner, S, takes_complex=takes_complex, bins_last=bins_last)
    if S.ndim < 2 or S.size == 0:
        shape = public_shape(S) if bins_last and S.ndim > 1 else S.shape
        raise ValueError(
            f"`{named(owner)}`: the spectrogram must have shape (*channels, n_bins, "
            f"n_frames), none of them 0. Got {shape}. For one frame, add an axis: "
            "`S[:, None]`."
        )
    S = jnp.asarray(S)
    is_half = jnp.issubdtype(S.dtype, jnp.floating) and S.dtype.itemsize < 4
    return S.astype(jnp.float32) if is_half else S


def spectrum_type(
    owner: str, S: Any, *, takes_complex: bool = True, bins_last: bool = False
) -> None:
    """Check that spectra are an array of floats, of a dtype that JAX supports."""
    kind = jnp.inexact if takes_complex else jnp.floating
    rule = "floats" if takes_complex else "real floats"
    is_array = isinstance(S, jax.Array | np.ndarray) and is_jax_dtype(S.dtype)
    if not is_array or not jnp.issubdtype(S.dtype, kind):
        got = jax.ShapeDtypeStruct(public_shape(S), S.dtype) if bins_last else S
        raise ValueError(
            f"`{named(owner)}`: the spectrogram must be a JAX or NumPy array of "
            f"{rule}. Got {describe(got)}. Convert it first: `abs` or "
            "`Spectrogram(power=...)` for complex values, `.astype('float32')` for "
            "integers."
        )


def public_shape(S: Any) -> tuple[int, ...]:
    """The shape (*channels, n_bins, n_frames) of spectra whose bins are last."""
    return (*S.shape[:-2], S.shape[-1], S.shape[-2])


def spectrum(owner: str, argument: str, S: Any) -> None:
    """Check that `S` has a bin and a frame axis."""
    if jnp.ndim(S) < 2:
        raise ValueError(
            f"`{named(owner)}`: `{argument}` must have the shape (*channels, n_bins, "
            f"n_frames). Got {jnp.shape(S)}. Add an axis for a single frame: "
            f"`{argument}[:, None]`."
        )


def real_spectrum(owner: str, argument: str, S: Any) -> None:
    """Check that `S`, with its bins last, is a real floating spectrum."""
    if not jnp.issubdtype(S.dtype, jnp.floating):
        got = describe(jax.ShapeDtypeStruct(public_shape(S), S.dtype))
        raise ValueError(
            f"`{named(owner)}`: `{argument}` must be a real spectrogram. Got {got}. "
            "Take magnitudes or powers first, e.g. `Spectrogram(power=2)`."
        )


def complex_spectrum(
    owner: str, argument: str, S: Any, *, bins_last: bool = True
) -> None:
    """Check that `S` is a complex spectrum; `bins_last` is as in `scale_input`."""
    if not jnp.issubdtype(S.dtype, jnp.complexfloating):
        shape = public_shape(S) if bins_last else S.shape
        got = describe(jax.ShapeDtypeStruct(shape, S.dtype))
        raise ValueError(
            f"`{named(owner)}`: `{argument}` must be a complex spectrum. Got {got}. "
            "Use `STFT` or `Spectrogram(power=None)`, and no scale of magnitudes."
        )
