"""Scale-dependent signal-to-distortion ratio."""

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._data import Signals
from korvax_eqx._numerics._waveform import EPS_MODES, EpsMode, sd_sdr


class SDSDRLoss(AbstractWaveformLoss):
    r"""Negated scale-dependent signal-to-distortion ratio of each signal, in dB.

    $$-10 \log_{10}\left(\frac{\sum t^2}{\sum (x - y)^2 + \epsilon} + \epsilon\right),
    \quad t = \frac{\sum x y}{\sum y^2 + \epsilon}\, y$$

    Like `SISDRLoss`, but a wrong level of the estimate counts as distortion. Smaller is
    better. See Le Roux, Wisdom, Erdogan, Hershey (2019), "SDR - half-baked or well
    done?", ICASSP; auraloss's `SDSDRLoss`.
    """

    zero_mean: bool = eqx.field(static=True)
    eps: float = eqx.field(static=True)
    eps_mode: EpsMode = eqx.field(static=True)

    def __init__(
        self,
        zero_mean: bool = True,
        eps: float = 1e-8,
        *,
        eps_mode: EpsMode = "denominator",
    ):
        """**Arguments:**

        - `zero_mean`: whether the mean of each signal is subtracted first.
        - `eps`: $\\epsilon$, non-negative.
        - `eps_mode`: where $\\epsilon$ is added, see `SISDRLoss`.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        self.zero_mean = checks.boolean("SDSDRLoss", "zero_mean", zero_mean)
        self.eps = checks.non_negative("SDSDRLoss", "eps", eps)
        self.eps_mode = checks.one_of("SDSDRLoss", "eps_mode", eps_mode, EPS_MODES)

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        return sd_sdr(x.x, y.x, x.count, self.zero_mean, self.eps, self.eps_mode)
