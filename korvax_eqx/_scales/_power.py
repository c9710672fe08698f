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

    Exponents below 1 compress: `Power(0.3)` of a power spectrogram is close to
    loudness. For $p < 1$ the derivative at 0 is defined as 0 (the formula's is
    infinite), and values below the smallest normal number of the dtype (1e-38 in
    float32) count as 0.

    `eps` puts a floor inside the root. On a power spectrogram, `Power(0.5, 1e-8,
    floor_mode="clip")` gives auraloss's magnitudes, `Power(0.5, 1e-9)` HiFi-GAN's.
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
        - `eps`: added to the spectrum (`"add"`), or replaces values below it
            (`"clip"`). Non-negative; 0 does nothing.
        - `floor_mode`: `"add"` or `"clip"`. The derivative is 0 where a value is raised
            to `eps`.

        **Raises:** `ValueError` for a value outside these ranges.
        """
        if checks.is_leaf(exponent):
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
            # Not `jnp.maximum`: NaN must stay NaN.
            S = S + eps if self.floor_mode == "add" else jnp.where(S < eps, eps, S)
        return data.holding(real_power(S, self.exponent))
