"""Plain functions as parts: each sees the whole batch, in the public order of axes."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from korvax_eqx._data import Signals, Spectra
from korvax_eqx._names import AbstractOfFunction, name_of

from ._losses import AbstractBatchLoss, AbstractSpectralLoss, check_real
from ._steps import AbstractScale, AbstractSignalMap, AbstractTransform, Scope


class _MapFunction(AbstractSignalMap, AbstractOfFunction):
    """A function of signals to signals, of any length and number of channels."""

    fn: Callable[..., Any]
    scope: ClassVar[Scope] = "batch"

    def apply(self, data: Signals) -> Signals:
        return Signals(jnp.asarray(self.fn(data.x)))


class _TransformFunction(AbstractTransform, AbstractOfFunction):
    """A function of signals to spectra of shape (*channels, n_bins, n_frames)."""

    fn: Callable[..., Any]
    scope: ClassVar[Scope] = "batch"

    def apply(self, data: Signals) -> Spectra:
        return _spectra(self.fn(data.x))


class _ScaleFunction(AbstractScale, AbstractOfFunction):
    """A function of spectra to spectra of shape (*channels, n_bins, n_frames)."""

    fn: Callable[..., Any]
    scope: ClassVar[Scope] = "batch"

    def apply(self, data: Spectra) -> Spectra:
        return _spectra(self.fn(jnp.swapaxes(data.S, -1, -2)))


def _spectra(S: Any) -> Spectra:
    return Spectra(jnp.swapaxes(S, -1, -2) if jnp.ndim(S) > 1 else S)


class _SpectralLossFunction(AbstractSpectralLoss, AbstractOfFunction):
    """A function of two spectra of shape (*channels, n_bins, n_frames)."""

    fn: Callable[..., Any]
    scope: ClassVar[Scope] = "batch"

    def values(self, x: Spectra, y: Spectra) -> Float[Array, ""]:
        value = self.fn(jnp.swapaxes(x.S, -1, -2), jnp.swapaxes(y.S, -1, -2))
        return _number(self.fn, value)

    def check(self, x: Any, values: Array) -> None:
        _check_scalar(self.fn, values)


class LossFunction(AbstractOfFunction):
    """A function of two batches of signals."""

    fn: Callable[..., Any]
    scope: ClassVar[Scope] = "batch"
    base_name: ClassVar[str] = "AbstractWaveformLoss"
    is_of_batch: ClassVar[bool] = False
    values_per_sample: ClassVar[float] = 1

    def values(self, x: Signals, y: Signals) -> Float[Array, ""]:
        return _number(self.fn, self.fn(x.x, y.x))

    def check(self, x: Any, values: Array) -> None:
        _check_scalar(self.fn, values)


def _number(fn: Any, value: Any) -> Array:
    """Return what a function returned as an array."""
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"The loss `{name_of(fn)}` must return a scalar. Got {value!r}."
        ) from None


def _check_scalar(fn: Any, values: Array) -> None:
    check_real(fn, values)
    if jnp.shape(values) != ():
        raise ValueError(
            f"The loss `{name_of(fn)}` must return a scalar. Got the shape "
            f"{jnp.shape(values)}. Average over the axes that are left."
        )


def as_map(part: Any) -> AbstractSignalMap:
    """Return a part as a signal map."""
    return part if isinstance(part, AbstractSignalMap) else _MapFunction(part)


def as_transform(part: Any) -> AbstractTransform:
    """Return a part as a transform."""
    return part if isinstance(part, AbstractTransform) else _TransformFunction(part)


def as_scale(part: Any) -> AbstractScale:
    """Return a part as a scale."""
    return part if isinstance(part, AbstractScale) else _ScaleFunction(part)


def as_spectral_loss(part: Any) -> AbstractSpectralLoss | AbstractBatchLoss:
    """Return a part as a loss on spectra."""
    if isinstance(part, AbstractSpectralLoss | AbstractBatchLoss):
        return part
    return _SpectralLossFunction(part)
