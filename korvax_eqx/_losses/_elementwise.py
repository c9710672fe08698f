"""Absolute and squared differences of all elements."""

from typing import ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact

from korvax_eqx import _checks as checks
from korvax_eqx._core._losses import AbstractSpectralLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._safe import (
    difference,
    magnitude,
    signed_magnitude,
    squared_magnitude,
)

_OWNER = "ElementwiseLoss"


class ElementwiseLoss(AbstractSpectralLoss):
    r"""Mean over all elements of $|S_x - S_y|$ (L1) or $|S_x - S_y|^2$ (L2).

    With `reduction="sum"` it is the sum over the bins and frames of each signal, then,
    like every loss here, the mean over signals. If a project sums over the batch too,
    multiply by the number of signals.

    An element where the estimate is below the target, $S_x < S_y$, is weighted with
    `factor_under`, one where it is above with `factor_over`. On magnitudes
    `factor_under=2` makes speech that is suppressed cost twice what noise that is left
    costs, as `factor_under` of DeepFilterNet's `SpectralLoss` does.

    The derivative of the absolute value at 0 is 0: equal spectra have zero gradient.
    Complex spectra are compared by the magnitude of their difference.
    """

    scope: ClassVar[Scope] = "frame"
    metric: Literal["L1", "L2"] = eqx.field(static=True)
    reduction: Literal["mean", "sum"] = eqx.field(static=True)
    factor_under: float = eqx.field(static=True)
    factor_over: float = eqx.field(static=True)

    def __init__(
        self,
        metric: Literal["L1", "L2"] = "L1",
        *,
        reduction: Literal["mean", "sum"] = "mean",
        factor_under: float = 1.0,
        factor_over: float = 1.0,
    ):
        """**Arguments:**

        - `metric`: `"L1"` for absolute, `"L2"` for squared differences.
        - `reduction`: `"mean"` or `"sum"` over the bins and frames of a signal.
        - `factor_under`, `factor_over`: what the distance is multiplied by where the
            estimate is below, or above, the target. Non-negative. Other factors than 1
            need real spectra.

        **Raises:** `ValueError` for a value out of these ranges.
        """
        self.metric = checks.one_of(_OWNER, "metric", metric, ("L1", "L2"))
        options = ("mean", "sum")
        self.reduction = checks.one_of(_OWNER, "reduction", reduction, options)
        self.factor_under = checks.non_negative(_OWNER, "factor_under", factor_under)
        self.factor_over = checks.non_negative(_OWNER, "factor_over", factor_over)

    def values(self, x: Spectra, y: Spectra) -> Float[Array, "*rows"]:
        distance = magnitude if self.metric == "L1" else squared_magnitude
        if x.source is None or y.source is None:
            sources = None
        else:
            sources = x.source, y.source
        d = difference(x.S, y.S, sources)
        if self.metric == "L1" and sources and not jnp.iscomplexobj(x.source):
            distances = x.holding(signed_magnitude(d, lax.sub(*sources)))
        else:
            distances = x.holding(distance(d))
        if self.factor_under != 1 or self.factor_over != 1:
            checks.real_spectrum(_OWNER, "S_x", x.S)
            under = lax.full_like(d, self.factor_under)
            over = lax.full_like(d, self.factor_over)
            factors = lax.select(lax.lt(d, lax.full_like(d, 0)), under, over)
            distances = distances.map(lambda distances: lax.mul(distances, factors))
        return distances.sum() if self.reduction == "sum" else distances.mean()


@checks.owned_by("elementwise_loss")
def elementwise_loss(
    S_x: Inexact[Array, "*dims"],
    S_y: Inexact[Array, "*dims"],
    /,
    metric: Literal["L1", "L2"] = "L1",
) -> Float[Array, ""]:
    """Apply `ElementwiseLoss` to two arrays of the same shape."""
    loss = ElementwiseLoss(metric)
    checks.pair(_OWNER, S_x, S_y)
    return loss(jnp.reshape(S_x, (-1, 1)), jnp.reshape(S_y, (-1, 1)))
