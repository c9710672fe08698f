"""Decibels: `10 log10` of a power, `20 log10` of an amplitude."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Inexact, Int, Num, Real

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra
from korvax_eqx._leaves import positive_leaf
from korvax_eqx._numerics._padding import is_within
from korvax_eqx._numerics._safe import largest, magnitude
from korvax_eqx._static import Function, as_module, static_or_leaf
from korvax_eqx._tables._frequencies import as_floats

Reference = float | Float[Array, ""] | Callable[[Array], Float[ArrayLike, ""]]


class AmplitudeToDB(AbstractScale):
    """Amplitudes in decibels: `20 log10(max(amin, |S|) / max(amin, |ref|))`.

    Unlike the function `amplitude_to_db` and librosa, it takes maximum and reference
    from each spectrogram (the last two axes), so the other examples of a batch change
    nothing. The derivative is 0 where the value is clipped by `amin`.
    """

    ref: Any
    amin: float = eqx.field(static=True)
    top_db: float | None = eqx.field(static=True)

    def __init__(
        self, ref: Reference = 1.0, amin: float = 1e-8, top_db: float | None = 80.0
    ) -> None:
        """**Arguments:**

        - `ref`: the amplitude at 0 dB, positive. A scalar JAX array is learnable. A
            callable is given the amplitudes of one spectrogram, shape `(n_bins,
            n_frames)`, and returns the scalar; `jnp.max` is usual.
        - `amin`: smallest amplitude, for `S` and for `ref`.
        - `top_db`: values more than this many dB below the maximum of their spectrogram
            are raised to that limit. `None`: no limit.

        **Raises:** `ValueError` for a value outside these ranges.
        """
        self.ref, self.amin, self.top_db = _check("AmplitudeToDB", ref, amin, top_db)

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        is_local = self.top_db is None and not callable(self.ref)
        return "value" if is_local else "signal"

    def apply(self, data: Spectra) -> Spectra:
        amplitude = magnitude(
            checks.scale_input(
                "AmplitudeToDB", data.S, takes_complex=True, bins_last=True
            )
        )
        ref = jnp.abs(_reference_of_each(self.ref, amplitude, data.n_frames))
        within = _within(amplitude, data.n_frames)
        axes = (-2, -1)
        db = _to_db(amplitude, ref, self.amin, self.top_db, 20.0, axes, within)
        return data.holding(db)


class PowerToDB(AbstractScale):
    """Powers in decibels: `10 log10(max(amin, S) / max(amin, ref))`.

    Unlike the function `power_to_db` and librosa, it takes maximum and reference from
    each spectrogram (the last two axes), so the other examples of a batch change
    nothing. The derivative is 0 where the value is clipped by `amin`.
    """

    ref: Any
    amin: float = eqx.field(static=True)
    top_db: float | None = eqx.field(static=True)

    def __init__(
        self, ref: Reference = 1.0, amin: float = 1e-10, top_db: float | None = 80.0
    ) -> None:
        """**Arguments:**

        - `ref`: the power at 0 dB, positive. A scalar JAX array is learnable. A
            callable is given the powers of one spectrogram, shape `(n_bins, n_frames)`,
            and returns the scalar; `jnp.max` is usual.
        - `amin`: smallest power, for `S` and for `ref`.
        - `top_db`: values more than this many dB below the maximum of their spectrogram
            are raised to that limit. `None`: no limit.

        **Raises:** `ValueError` for a value outside these ranges.
        """
        self.ref, self.amin, self.top_db = _check("PowerToDB", ref, amin, top_db)

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        is_local = self.top_db is None and not callable(self.ref)
        return "value" if is_local else "signal"

    def apply(self, data: Spectra) -> Spectra:
        power = _real(
            checks.scale_input("PowerToDB", data.S, takes_complex=True, bins_last=True)
        )
        ref = _reference_of_each(self.ref, power, data.n_frames)
        within = _within(power, data.n_frames)
        db = _to_db(power, ref, self.amin, self.top_db, 10.0, (-2, -1), within)
        return data.holding(db)


@checks.owned_by("amplitude_to_db")
def amplitude_to_db(
    S: Num[ArrayLike, "*dims"] | Sequence[float],
    /,
    ref: Any = 1.0,
    amin: float = 1e-8,
    top_db: float | None = 80.0,
) -> Float[Array, "*dims"]:
    """Convert amplitudes to decibels: `20 log10(max(amin, |S|) / max(amin, |ref|))`.

    **Arguments:**

    - `S`: amplitudes of any shape; for complex values, their magnitudes.
    - `ref`: the amplitude at 0 dB, or a callable that returns it for the whole of `S`.
    - `amin`: smallest amplitude, for `S` and for `ref`.
    - `top_db`: values more than this many dB below the maximum of the whole array are
        raised to that limit. `None`: no limit. For a batch use `AmplitudeToDB`, where
        one example does not change another.

    **Returns:** dB, with the same shape (also if that is empty).
    """
    amin, top_db = check_limits("amplitude_to_db", amin, top_db)
    amplitude = _real(_array(S))
    if amplitude.size == 0:
        return amplitude
    value = jnp.abs(_reference(ref, amplitude))
    return _to_db(jnp.abs(amplitude), value, amin, top_db, 20.0, axis=None)


@checks.owned_by("power_to_db")
def power_to_db(
    S: Num[ArrayLike, "*dims"] | Sequence[float],
    /,
    ref: Any = 1.0,
    amin: float = 1e-10,
    top_db: float | None = 80.0,
) -> Float[Array, "*dims"]:
    """Convert powers to decibels: `10 log10(max(amin, S) / max(amin, |ref|))`.

    **Arguments:**

    - `S`: powers of any shape; for complex values, their magnitudes.
    - `ref`: the power at 0 dB, or a callable that returns it for the whole of `S`.
    - `amin`: smallest power, for `S` and for `ref`.
    - `top_db`: values more than this many dB below the maximum of the whole array are
        raised to that limit. `None`: no limit. For a batch use `PowerToDB`, where one
        example does not change another.

    **Returns:** dB, with the same shape (also if that is empty).
    """
    amin, top_db = check_limits("power_to_db", amin, top_db)
    power = _real(_array(S))
    if power.size == 0:
        return power
    value = _reference(ref, power)
    value = value if callable(ref) else jnp.abs(value)
    return _to_db(power, value, amin, top_db, 10.0, axis=None)


@checks.owned_by("db_to_amplitude")
def db_to_amplitude(
    S_db: Real[ArrayLike, "*dims"] | Sequence[float],
    /,
    ref: Real[ArrayLike, ""] = 1.0,
) -> Float[Array, "*dims"]:
    """Convert decibels to amplitudes: `ref 10^(S_db / 20)`.

    **Arguments:**

    - `S_db`: dB re `ref`, of any shape.
    - `ref`: the amplitude at 0 dB.

    **Returns:** amplitudes, of the same shape.
    """
    S_db = _array(S_db)
    return jnp.asarray(ref, S_db.dtype) * 10.0 ** (S_db / 20.0)


@checks.owned_by("db_to_power")
def db_to_power(
    S_db: Real[ArrayLike, "*dims"] | Sequence[float],
    /,
    ref: Real[ArrayLike, ""] = 1.0,
) -> Float[Array, "*dims"]:
    """Convert decibels to powers: `ref 10^(S_db / 10)`.

    **Arguments:**

    - `S_db`: dB re `ref`, of any shape.
    - `ref`: the power at 0 dB.

    **Returns:** powers, of the same shape.
    """
    S_db = _array(S_db)
    return jnp.asarray(ref, S_db.dtype) * 10.0 ** (S_db / 10.0)


def _to_db(
    S: Float[Array, "*dims"],
    ref: Float[Array, "..."],
    amin: float,
    top_db: float | None,
    factor: float,
    axis: tuple[int, ...] | None,
    within: Bool[Array, "*rows n_frames 1"] | None = None,
) -> Float[Array, "*dims"]:
    # The floor keeps 0 out of the logarithm where `amin` underflows in the dtype, and
    # its derivative `factor / (log(10) amin)` within the range of the dtype.
    amin = max(amin, 100.0 * float(jnp.finfo(S.dtype).tiny))
    values = factor * jnp.log10(_at_least(amin, S))
    values = values - factor * jnp.log10(_at_least(amin, ref))
    if top_db is None:
        return values
    # Frames beyond the end of a signal must not count as its maximum.
    counted = values if within is None else jnp.where(within, values, -jnp.inf)
    return _at_least(largest(counted, axis) - top_db, values)


def _within(
    S: Float[Array, "*rows n_frames n_bins"], n_frames: Int[Array, "*rows"] | None
) -> Bool[Array, "*rows n_frames 1"] | None:
    return None if n_frames is None else is_within(S.shape[-2], n_frames, 1)


def _at_least(
    low: float | Float[Array, "..."], S: Float[Array, "*dims"]
) -> Float[Array, "*dims"]:
    """Return the larger of the two, and NaN for NaN, which XLA's maximum may drop on
    CPU."""
    return jnp.where(S < low, low, S)


def _array(S: Any) -> Inexact[Array, "*dims"]:
    """Return numbers of any kind as a JAX array of at least single precision."""
    if jnp.iscomplexobj(S):
        return jnp.asarray(S)
    _, S = as_floats(S)
    return jnp.asarray(S)


def _real(S: Inexact[Array, "*dims"]) -> Float[Array, "*dims"]:
    return magnitude(S) if jnp.iscomplexobj(S) else S


def _reference(ref: Any, S: Float[Array, "*dims"]) -> Float[Array, "..."]:
    """Return the reference value in the dtype of `S`."""
    if ref is jnp.max or (isinstance(ref, Function) and ref.fn is jnp.max):
        return jnp.reshape(largest(S, None), ())
    return jnp.asarray(ref(S) if callable(ref) else ref, S.dtype)


def _reference_of_each(
    ref: Any,
    S: Float[Array, "*rows n_frames n_bins"],
    n_frames: Int[Array, "*rows"] | None,
) -> Float[Array, "..."]:
    """Return the reference value of every spectrogram, to broadcast against `S`."""
    if not callable(ref):
        return _reference(ref, S)
    if n_frames is not None:
        raise ValueError(
            "`lengths` cannot be combined with a callable `ref`: it would see what "
            "lies beyond the end of a signal. Use a number, or `top_db`."
        )
    each = functools.partial(_reference, ref)
    for _ in S.shape[:-2]:
        each = jax.vmap(each)
    values = each(jnp.swapaxes(S, -1, -2))
    if values.shape != S.shape[:-2]:
        raise ValueError(
            "A callable `ref` must return one number for a spectrogram of shape "
            f"(n_bins, n_frames). Got {values.shape[S.ndim - 2 :]}. Reduce over both "
            "axes, e.g. `ref=jnp.max`."
        )
    return values[..., None, None]


def _check(owner: str, ref: Any, amin: Any, top_db: Any) -> tuple[Any, float, Any]:
    amin, top_db = check_limits(owner, amin, top_db)
    if callable(ref):
        return as_module(ref), amin, top_db
    if checks.is_leaf(ref):
        return positive_leaf(owner, "ref", ref), amin, top_db
    return static_or_leaf(checks.positive(owner, "ref", ref)), amin, top_db


def check_limits(owner: str, amin: Any, top_db: Any) -> tuple[float, float | None]:
    amin = checks.positive(owner, "amin", amin)
    if top_db is not None:
        top_db = checks.non_negative(owner, "top_db", top_db)
    return amin, top_db
