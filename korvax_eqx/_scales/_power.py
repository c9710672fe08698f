"""A power of a spectrum."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra
from korvax_eqx._leaves import positive_leaf
from korvax_eqx._numerics._powers import real_power
from korvax_eqx._numerics._safe import FloorMode
from korvax_eqx._static import static_or_leaf

_OWNER = "Power"


class Power(AbstractScale):
    r"""A power of each value: $S^p$, or $(S + \epsilon)^p$, or $\max(S, \epsilon)^p$.

    Below 1 it compresses: `Power(0.3)` of a power spectrogram is about loudness. For
    $p < 1$ the derivative at 0 is defined as 0, where the formula has none, and values
    below the smallest normal number of the dtype (1e-38 in float32) count as 0.

    With `eps` the floor is inside the root, as other projects have it for magnitudes:
    of a power spectrogram `Power(0.5, 1e-8, floor_mode="clip")` is auraloss's, and
    `Power(0.5, 1e-9)` HiFi-GAN's.
    """

    scope: ClassVar[Scope] = "value"
    exponent: Any
    eps: float = eqx.field(static=True)
    floor_mode: FloorMode = eqx.field(static=True)

    def __init__(
        self,
        exponent: float | Float[Array, ""],
        eps: float = 0.0,
        *,
        floor_mode: FloorMode = "add",
    ) -> None:
        """**Arguments:**

        - `exponent`: positive. A scalar JAX array is learnable.
        - `eps`: is added to the spectrum, or takes the place of what is below it.
            Non-negative; 0 does nothing.
        - `floor_mode`: what is done with `eps`: `"add"` or `"clip"`. Where a value is
            raised to `eps` its derivative is 0.

        **Raises:** `ValueError` for a value out of these ranges.
        """
        if checks.is_learnable(exponent):
            positive_leaf(_OWNER, "exponent", exponent)
        else:
            checks.positive(_OWNER, "exponent", exponent)
        self.exponent = static_or_leaf(exponent)
        self.eps = checks.non_negative(_OWNER, "eps", eps)
        modes = ("add", "clip")
        self.floor_mode = checks.one_of(_OWNER, "floor_mode", floor_mode, modes)

    def apply(self, data: Spectra) -> Spectra:
        S = checks.scale_input(_OWNER, data.S, bins_last=True)
        if self.eps > 0:
            # An eps too small for the dtype would otherwise be rounded to zero.
            eps = jnp.asarray(max(self.eps, float(jnp.finfo(S.dtype).tiny)), S.dtype)
            # Not a maximum, so that a NaN stays one.
            S = S + eps if self.floor_mode == "add" else jnp.where(S < eps, eps, S)
        return data.holding(real_power(S, self.exponent))
