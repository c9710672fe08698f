"""The level difference of spectra."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._losses import AbstractSpectralLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._safe import magnitude
from korvax_eqx._numerics._waveform import level_penalty

_OWNER = "SpectralLevelLoss"


class SpectralLevelLoss(AbstractSpectralLoss):
    r"""Penalty for a wrong level of spectra: $\lambda |L_x - L_y|$ in dB.

    `LevelLoss` with the mean of $|S|^2$ over bins and frames instead of the power of
    the signal. torch-l1-snr regularises its loss on spectra with it.
    """

    lambda0: float = eqx.field(static=True)
    delta_lambda: float = eqx.field(static=True)
    lmin: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)
    joined: bool = eqx.field(static=True)

    def __init__(
        self,
        lambda0: float = 0.1,
        delta_lambda: float = 0.9,
        lmin: float = -60.0,
        eps: float = 1e-8,
        *,
        joined: bool = False,
    ) -> None:
        """**Arguments:** those of `LevelLoss`, and

        - `joined`: whether all channels of a recording, the axis before the samples,
            have one level together.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        self.lambda0 = checks.non_negative(_OWNER, "lambda0", lambda0)
        self.delta_lambda = checks.non_negative(_OWNER, "delta_lambda", delta_lambda)
        self.lmin = checks.real(_OWNER, "lmin", lmin)
        self.eps = checks.non_negative(_OWNER, "eps", eps)
        self.joined = checks.boolean(_OWNER, "joined", joined)

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "channels" if self.joined else "signal"

    def values(self, x: Spectra, y: Spectra) -> Float[Array, "*rows"]:
        n_own = 3 if self.joined else 2
        shape = (*x.S.shape[:-n_own], -1)
        a, b = (jnp.reshape(magnitude(d.S), shape) for d in (x, y))
        n: Any = a.shape[-1] if x.n_frames is None else x.count
        if self.joined and x.n_frames is not None:
            n = jnp.sum(n, axis=-1)
        weights = self.lambda0, self.delta_lambda
        return level_penalty(a, b, n, *weights, self.lmin, self.eps)
