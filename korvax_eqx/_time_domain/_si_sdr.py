"""Scale-invariant signal-to-distortion ratio."""

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._data import Signals
from korvax_eqx._numerics._waveform import si_sdr


class SISDRLoss(AbstractWaveformLoss):
    r"""Negated scale-invariant signal-to-distortion ratio of each signal, in dB.

    $$-10 \log_{10}\left(\frac{\sum t^2}{\sum (x - t)^2 + \epsilon} + \epsilon\right),
    \quad t = \frac{\sum x y}{\sum y^2 + \epsilon}\, y$$

    Smaller is better; the level of the estimate makes no difference. See Le Roux,
    Wisdom, Erdogan, Hershey (2019), "SDR - half-baked or well done?", ICASSP; in
    auraloss `SISDRLoss`.
    """

    zero_mean: bool = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def __init__(self, zero_mean: bool = True, eps: float = 1e-8):
        """**Arguments:**

        - `zero_mean`: whether the mean of each signal is taken away first.
        - `eps`: $\\epsilon$, non-negative.

        **Raises:** `ValueError` for a value of another kind.
        """
        self.zero_mean = checks.boolean("SISDRLoss", "zero_mean", zero_mean)
        self.eps = checks.non_negative("SISDRLoss", "eps", eps)

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        return si_sdr(x.x, y.x, x.count, self.zero_mean, self.eps)
