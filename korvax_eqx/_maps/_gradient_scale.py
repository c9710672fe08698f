"""Signals as they are, with a gradient of another size."""

import functools
from typing import ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractSignalMap, Scope
from korvax_eqx._data import Signals


class GradientScale(AbstractSignalMap):
    """Returns signals as they are; their gradient is multiplied by a number.

    In front of a loss, `MappedLoss(GradientScale(0.1), loss)`, values and their logs
    stay, while the gradient fits a clipping threshold or the gradients of other terms.
    Adam does not see a factor of the whole gradient. The `grad_scale` of torch-l1-snr
    and torch-log-wmse. Differences of values do not agree with the gradient then; a
    second derivative has the square of the factor.
    """

    scope: ClassVar[Scope] = "value"
    scale: float = eqx.field(static=True)

    def __init__(self, scale: float) -> None:
        """**Arguments:**

        - `scale`: the factor, positive.

        **Raises:** `ValueError` for another value.
        """
        self.scale = checks.positive("GradientScale", "scale", scale)

    def apply(self, data: Signals) -> Signals:
        return Signals(_scaled(data.x, float(self.scale)), data.n_samples)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _scaled(x: Float[Array, "*dims"], scale: float) -> Float[Array, "*dims"]:
    del scale
    return x


@_scaled.defjvp
def _scaled_jvp(scale, primals, tangents):
    (x,), (dx,) = primals, tangents
    return _scaled(x, scale), scale * dx
