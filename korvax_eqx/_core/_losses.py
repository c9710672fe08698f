"""Losses on spectra."""

import functools
from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from korvax_eqx import _checks as checks
from korvax_eqx._compile import compiled
from korvax_eqx._data import Spectra
from korvax_eqx._engine._devices import keep_rows
from korvax_eqx._names import name_of
from korvax_eqx._platform import compiling_here
from korvax_eqx._repr import constructor_call

from ._steps import Scope


class AbstractSpectralLoss(eqx.Module):
    """Two spectra to one number, averaged over the leading axes.

    A class defines `values`: one number per spectrum. `scope` declares what that number
    depends on: `"signal"` (default), one whole signal; `"frame"`, a mean or sum over
    frames (`Spectra.mean` or `Spectra.sum`) of a function of one frame, so that long
    signals can be cut. `least_frames` is the number of frames the loss needs.
    """

    scope: ClassVar[Scope] = "signal"
    base_name: ClassVar[str] = "AbstractSpectralLoss"
    is_of_batch: ClassVar[bool] = False
    # A signal with fewer frames is too short for the loss.
    least_frames: ClassVar[int] = 1

    @abstractmethod
    def values(self, x: Spectra, y: Spectra) -> Float[Array, "*rows"]:
        """Return the loss of each spectrum.

        **Arguments:** `x`, `y`: spectra of the estimate and the target, bins along the
        last axis. Frames beyond the end of a signal are zero in both.
        """

    def __call__(
        self,
        S_x: Inexact[Array, "*channels n_bins n_frames"],
        S_y: Inexact[Array, "*channels n_bins n_frames"],
    ) -> Float[Array, ""]:
        """Return the mean over the leading axes.

        **Raises:** `ValueError` if the shapes differ or have fewer than two axes.
        """
        return _compared(self, *_checked(self, S_x, S_y))

    def check(self, x: Any, values: Array) -> None:
        """Check what `values` of a user's class returned."""
        check_values(self, x, values)

    def __repr__(self) -> str:
        return constructor_call(self)


class AbstractBatchLoss(eqx.Module):
    """Two spectra to one number that is not a mean over the leading axes.

    The loss is a function of batch means: `sums` returns some values per row, and
    `finish` gets their means over all rows. It mixes the examples of a batch, so
    `jax.vmap` and splitting a batch change the result. `scope` describes the values of
    `sums`.
    """

    scope: ClassVar[Scope] = "signal"
    base_name: ClassVar[str] = "AbstractBatchLoss"
    is_of_batch: ClassVar[bool] = True
    least_frames: ClassVar[int] = 1

    @property
    @abstractmethod
    def n_sums(self) -> int:
        """Number of values per row."""

    @abstractmethod
    def sums(self, x: Spectra, y: Spectra) -> tuple[Float[Array, "*rows"], ...]:
        """Return the values to be averaged over rows; arguments as in `values`."""

    @abstractmethod
    def finish(self, means: tuple[Float[Array, ""], ...]) -> Float[Array, ""]:
        """Return the loss, given the means over rows of the values of `sums`."""

    def __call__(
        self,
        S_x: Inexact[Array, "*channels n_bins n_frames"],
        S_y: Inexact[Array, "*channels n_bins n_frames"],
    ) -> Float[Array, ""]:
        """Compare all spectra together.

        **Raises:** `ValueError` if the shapes differ or have fewer than two axes.
        """
        return _compared(self, *_checked(self, S_x, S_y))

    def __repr__(self) -> str:
        return constructor_call(self)


def check_real(loss: Any, values: Any) -> None:
    """Check that a loss returned real numbers."""
    if jnp.iscomplexobj(values):
        raise ValueError(
            f"The loss `{name_of(loss)}` must return real numbers. Got "
            f"{jnp.asarray(values).dtype}. Take the magnitude, e.g. `abs(x - y)`."
        )


def check_values(loss: Any, x: Any, values: Any) -> None:
    """Check that a loss returned one number per signal."""
    array = x.S if isinstance(x, Spectra) else x.x
    n_own = 2 if isinstance(x, Spectra) else 1
    lead = array.shape[: array.ndim - n_own - (loss.scope == "channels")]
    check_real(loss, values)
    if jnp.shape(values) != lead:
        what = "samples" if n_own == 1 else "frames and bins"
        axes = "-1" if n_own == 1 else "(-2, -1)"
        raise ValueError(
            f"The loss `{name_of(loss)}` must return one value for each signal, here "
            f"the shape {lead}. Got {jnp.shape(values)}. Reduce over the {what} "
            f"alone, `axis={axes}`."
        )


def _checked(loss: Any, S_x: Any, S_y: Any) -> tuple[Any, Any]:
    name = type(loss).__name__
    checks.pair(name, S_x, S_y)
    checks.spectrum(name, "S_x", S_x)
    return S_x, S_y


@compiled
def _compared(
    loss: Any,
    S_x: Inexact[Array, "*channels n_bins n_frames"],
    S_y: Inexact[Array, "*channels n_bins n_frames"],
) -> Float[Array, ""]:
    with jax.named_scope(f"korvax_eqx.{type(loss).__name__}"), compiling_here():
        rows = jnp.swapaxes(S_x, -1, -2), jnp.swapaxes(S_y, -1, -2)
        columns = keep_rows(functools.partial(_columns, loss), rows, 2)
        means = tuple(map(jnp.mean, columns))
        return loss.finish(means) if loss.is_of_batch else means[0]


def _columns(loss: Any, S_x: Array, S_y: Array) -> tuple[Array, ...]:
    x, y = Spectra(S_x), Spectra(S_y)
    if loss.is_of_batch:
        return tuple(loss.sums(x, y))
    values = jnp.asarray(loss.values(x, y))
    loss.check(x, values)
    return (values,)
