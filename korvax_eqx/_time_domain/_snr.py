"""Signal-to-noise ratio."""

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._data import Signals
from korvax_eqx._numerics._waveform import EPS_MODES, EpsMode, snr


class SNRLoss(AbstractWaveformLoss):
    r"""Negated signal-to-noise ratio of each signal, in dB.

    $$-10 \log_{10}\left(\frac{\sum y^2}{\sum (x - y)^2 + \epsilon} + \epsilon\right)$$

    Smaller is better. auraloss's `SNRLoss`, which averages over the batch first.

    It is meaningless if the energies are not far above $\epsilon$; two silent signals
    give 80 dB. `eps_mode="both"` with `eps=1.19e-7` is torchmetrics, and with
    `"relative"` the level makes no difference: see `SISDRLoss`.
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
        self.zero_mean = checks.boolean("SNRLoss", "zero_mean", zero_mean)
        self.eps = checks.non_negative("SNRLoss", "eps", eps)
        self.eps_mode = checks.one_of("SNRLoss", "eps_mode", eps_mode, EPS_MODES)

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        return snr(x.x, y.x, x.count, self.zero_mean, self.eps, self.eps_mode)
