"""The norm (not squared) of the difference of two spectra."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._losses import AbstractSpectralLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._safe import norm

_OWNER = "NormLoss"


class NormLoss(AbstractSpectralLoss):
    r"""Frobenius norm of the difference, $\|S_x - S_y\|_F$, of a signal or of a frame.

    The gradient of a norm at 0 is 0: equal spectra have zero gradient.

    `NormLoss()` on `Log(eps=1.0)` spectra is the distance of the smooth spectral loss
    in scrapl; `NormLoss(reduction="numel")` is that of flamo's `mss_loss`, which takes
    one norm over the whole batch: for signals with equal errors its value is this one
    divided by the square root of the number of signals. With `over="frame"` and
    `reduction="mean"` on log power spectra in dB it is the log-spectral distance (Gray
    and Markel 1976, "Distance measures for speech processing", IEEE TASSP 24(5)).
    """

    over: Literal["signal", "frame"] = eqx.field(static=True)
    reduction: Literal["sum", "mean", "numel"] = eqx.field(static=True)

    def __init__(
        self,
        *,
        over: Literal["signal", "frame"] = "signal",
        reduction: Literal["sum", "mean", "numel"] = "sum",
    ) -> None:
        """**Arguments:**

        - `over`: `"signal"` for one norm per signal, `"frame"` for the mean of one norm
            per frame.
        - `reduction`: `"sum"` for the root of the sum of squares, `"mean"` for the root
            of the mean of squares, `"numel"` for the root of the sum divided by the
            number of elements.

        **Raises:** `ValueError` for another value.
        """
        self.over = checks.one_of(_OWNER, "over", over, ("signal", "frame"))
        options = ("sum", "mean", "numel")
        self.reduction = checks.one_of(_OWNER, "reduction", reduction, options)

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "frame" if self.over == "frame" else "signal"

    def values(self, x: Spectra, y: Spectra) -> Float[Array, "*rows"]:
        # Frames that are zero in both signals add nothing to the norm.
        if self.over == "frame":
            norms = norm(x.S - y.S, -1) / self._divisor(float(x.S.shape[-1]))
            return x.holding(norms[..., None]).mean()
        return norm(x.S - y.S, (-2, -1)) / self._divisor(x.count)

    def _divisor(self, n: float | Float[Array, "*rows"]) -> float | Array:
        if self.reduction == "sum":
            return 1.0
        if self.reduction == "numel":
            return n
        return n**0.5 if isinstance(n, float) else jnp.sqrt(n)
