"""Absolute and squared differences of all elements."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractFramesLoss
from korvax_eqx._losses._mean import mean_over_frames, total
from korvax_eqx._numerics._safe import difference, magnitude, squared_magnitude

_OWNER = "ElementwiseLoss"


class ElementwiseLoss(AbstractFramesLoss):
    r"""Mean over all elements of $|S_x - S_y|$ (L1) or $|S_x - S_y|^2$ (L2).

    With `reduction="sum"` it is the sum over the bins and frames of a signal, and, as
    every loss here, the mean over signals. A project that sums over the batch too has
    a value that is the number of signals times this one.

    The derivative of the absolute value at 0 is 0: equal spectra have zero gradient.
    Complex spectra are compared by the magnitude of their difference.
    """

    metric: Literal["L1", "L2"] = eqx.field(static=True)
    reduction: Literal["mean", "sum"] = eqx.field(static=True)

    def __init__(
        self,
        metric: Literal["L1", "L2"] = "L1",
        *,
        reduction: Literal["mean", "sum"] = "mean",
    ):
        """**Arguments:**

        - `metric`: `"L1"` for absolute, `"L2"` for squared differences.
        - `reduction`: `"mean"` or `"sum"` over the bins and frames of a signal.

        **Raises:** `ValueError` for another value.
        """
        self.metric = checks.one_of(_OWNER, "metric", metric, ("L1", "L2"))
        options = ("mean", "sum")
        self.reduction = checks.one_of(_OWNER, "reduction", reduction, options)

    @property
    def over_frames(self) -> Literal["mean", "sum"]:
        return self.reduction

    def values(
        self,
        S_x: Inexact[Array, "*rows n_frames n_bins"],
        S_y: Inexact[Array, "*rows n_frames n_bins"],
        n_frames: Int[Array, "*rows"] | None = None,
    ) -> Float[Array, "*rows"]:
        distance = magnitude if self.metric == "L1" else squared_magnitude
        distances = distance(difference(S_x, S_y))
        if self.reduction == "sum":
            return total(distances)
        return mean_over_frames(distances, n_frames)


@checks.owned_by("elementwise_loss")
def elementwise_loss(
    S_x: Inexact[Array, "*dims"],
    S_y: Inexact[Array, "*dims"],
    /,
    metric: Literal["L1", "L2"] = "L1",
) -> Float[Array, ""]:
    """Apply `ElementwiseLoss` to two arrays of any one shape."""
    loss = ElementwiseLoss(metric)
    checks.pair(_OWNER, S_x, S_y)
    return loss(jnp.reshape(S_x, (-1, 1)), jnp.reshape(S_y, (-1, 1)))
