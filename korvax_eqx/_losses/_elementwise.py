"""Mean absolute and mean squared difference."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractSpectralLoss
from korvax_eqx._numerics._safe import magnitude, squared_magnitude


class ElementwiseLoss(AbstractSpectralLoss):
    r"""Mean over all elements of $|S_x - S_y|$ (L1) or $|S_x - S_y|^2$ (L2).

    The derivative of the absolute value at 0 is 0: equal spectra have zero gradient.
    Complex spectra are compared by the magnitude of their difference.
    """

    metric: Literal["L1", "L2"] = eqx.field(static=True)

    def __init__(self, metric: Literal["L1", "L2"] = "L1"):
        """**Arguments:**

        - `metric`: `"L1"` for the mean absolute, `"L2"` for the mean squared error.
        """
        options = ("L1", "L2")
        self.metric = checks.one_of("ElementwiseLoss", "metric", metric, options)

    @jax.named_scope("korvax_eqx.ElementwiseLoss")
    def __call__(
        self,
        S_x: Inexact[Array, "*channels n_bins n_frames"],
        S_y: Inexact[Array, "*channels n_bins n_frames"],
    ) -> Float[Array, ""]:
        """Return the distance of two arrays of one shape.

        **Raises:** `ValueError` if the shapes differ.
        """
        checks.pair("ElementwiseLoss", S_x, S_y)
        distance = magnitude if self.metric == "L1" else squared_magnitude
        return jnp.mean(distance(S_x - S_y))


def elementwise_loss(
    S_x: Inexact[Array, "*dims"],
    S_y: Inexact[Array, "*dims"],
    /,
    metric: Literal["L1", "L2"] = "L1",
) -> Float[Array, ""]:
    """Apply `ElementwiseLoss` to two arrays of any one shape."""
    return ElementwiseLoss(metric)(S_x, S_y)
