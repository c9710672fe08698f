"""The L1 signal-to-noise ratio of spectra."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact, Int

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractFramesLoss
from korvax_eqx._losses._mean import mean_over_frames
from korvax_eqx._numerics._ratio import quotient
from korvax_eqx._numerics._safe import in_range, magnitude

_OWNER = "SpectralL1SNRLoss"


class SpectralL1SNRLoss(AbstractFramesLoss):
    r"""$D = 10 \log_{10} \frac{\mathrm{mean}|S_x - S_y| + \epsilon}
    {\mathrm{mean}|S_y| + \epsilon}$ in dB, for each signal.

    Smaller is better, and it is negative where the error is smaller than the target.
    Of complex spectra it is $D$ of the real parts plus $D$ of the imaginary parts, the
    distance of Watcharasupat and Lerch (2024), "A stem-agnostic single-decoder system
    for music source separation beyond four stems", ISMIR, as in torch-l1-snr. The
    derivative of the absolute value at 0 is 0.
    """

    eps: float = eqx.field(static=True)

    def __init__(self, eps: float = 1e-3) -> None:
        """**Arguments:**

        - `eps`: is added to both means: what an error of 0 counts as. Positive.

        **Raises:** `ValueError` for a number that is not positive.
        """
        self.eps = checks.positive(_OWNER, "eps", eps)

    def values(
        self,
        S_x: Inexact[Array, "*rows n_frames n_bins"],
        S_y: Inexact[Array, "*rows n_frames n_bins"],
        n_frames: Int[Array, "*rows"] | None = None,
    ) -> Float[Array, "*rows"]:
        if not jnp.iscomplexobj(S_y):
            return self._ratio_db(S_x - S_y, S_y, n_frames)
        d = S_x - S_y
        of_real = self._ratio_db(lax.real(d), lax.real(S_y), n_frames)
        return of_real + self._ratio_db(lax.imag(d), lax.imag(S_y), n_frames)

    def _ratio_db(
        self,
        d: Float[Array, "*rows n_frames n_bins"],
        S_y: Float[Array, "*rows n_frames n_bins"],
        n_frames: Int[Array, "*rows"] | None,
    ) -> Float[Array, "*rows"]:
        error = in_range(mean_over_frames(magnitude(d), n_frames)) + self.eps
        reference = mean_over_frames(magnitude(S_y), n_frames) + self.eps
        return 10 * jnp.log10(quotient(error, reference))
