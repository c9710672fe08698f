"""The difference of the levels of spectra."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractFramesLoss
from korvax_eqx._losses._mean import n_elements
from korvax_eqx._numerics._safe import magnitude
from korvax_eqx._numerics._waveform import level_penalty

_OWNER = "SpectralLevelLoss"


class SpectralLevelLoss(AbstractFramesLoss):
    r"""Penalty of a wrong level, $\lambda |L_x - L_y|$ in dB, of spectra.

    `LevelLoss` with the mean of $|S|^2$ over bins and frames in place of the power of a
    signal. In torch-l1-snr the regulariser of its loss on spectra.
    """

    lambda0: float = eqx.field(static=True)
    delta_lambda: float = eqx.field(static=True)
    lmin: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def __init__(
        self,
        lambda0: float = 0.1,
        delta_lambda: float = 0.9,
        lmin: float = -60.0,
        eps: float = 1e-8,
    ) -> None:
        """**Arguments:** those of `LevelLoss`.

        **Raises:** `ValueError` for a value of another kind.
        """
        self.lambda0 = checks.non_negative(_OWNER, "lambda0", lambda0)
        self.delta_lambda = checks.non_negative(_OWNER, "delta_lambda", delta_lambda)
        self.lmin = checks.real(_OWNER, "lmin", lmin)
        self.eps = checks.non_negative(_OWNER, "eps", eps)

    def values(
        self,
        S_x: Inexact[Array, "*rows n_frames n_bins"],
        S_y: Inexact[Array, "*rows n_frames n_bins"],
        n_frames: Int[Array, "*rows"] | None = None,
    ) -> Float[Array, "*rows"]:
        x, y = (jnp.reshape(magnitude(S), (*S.shape[:-2], -1)) for S in (S_x, S_y))
        n: Any = x.shape[-1] if n_frames is None else n_elements(S_x, n_frames)
        weights = self.lambda0, self.delta_lambda
        return level_penalty(x, y, n, *weights, self.lmin, self.eps)
