"""The L1 signal-to-noise ratio of spectra."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._losses import AbstractSpectralLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._ratio import quotient
from korvax_eqx._numerics._safe import in_range, magnitude

_OWNER = "SpectralL1SNRLoss"


class SpectralL1SNRLoss(AbstractSpectralLoss):
    r"""Mean absolute error over mean absolute target of spectra, in dB.

    $$D = 10 \log_{10} \frac{\mathrm{mean}|S_x - S_y| + \epsilon}
      {\mathrm{mean}|S_y| + \epsilon}$$

    for each signal. Smaller is better; it is negative if the error is smaller than the
    target. For complex spectra it is $D$ of the real parts plus $D$ of the imaginary
    parts, the distance of Watcharasupat and Lerch (2024), "A stem-agnostic
    single-decoder system for music source separation beyond four stems", ISMIR, as in
    torch-l1-snr. The derivative of the absolute value at 0 is 0.
    """

    eps: float = eqx.field(static=True)
    joined: bool = eqx.field(static=True)

    def __init__(self, eps: float = 1e-3, *, joined: bool = False) -> None:
        """**Arguments:**

        - `eps`: added to both means, so that an error of 0 gives a finite value.
            Positive.
        - `joined`: whether the means also run over the channels of a recording, the
            axis before the samples, which then has one ratio.

        **Raises:** `ValueError` for a value of another kind.
        """
        self.eps = checks.positive(_OWNER, "eps", eps)
        self.joined = checks.boolean(_OWNER, "joined", joined)

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "channels" if self.joined else "signal"

    def values(self, x: Spectra, y: Spectra) -> Float[Array, "*rows"]:
        d = x.holding(x.S - y.S)
        if not jnp.iscomplexobj(y.S):
            return self._ratio_db(d, y)
        of_real = self._ratio_db(d.map(lax.real), y.map(lax.real))
        return of_real + self._ratio_db(d.map(lax.imag), y.map(lax.imag))

    def _ratio_db(self, d: Spectra, y: Spectra) -> Float[Array, "*rows"]:
        error, reference = (s.map(magnitude).mean() for s in (d, y))
        if self.joined:
            error, reference = (jnp.mean(m, axis=-1) for m in (error, reference))
        error = in_range(error) + self.eps
        return 10 * jnp.log10(quotient(error, reference + self.eps))
