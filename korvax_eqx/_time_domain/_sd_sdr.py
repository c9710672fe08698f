"""Scale-dependent signal-to-distortion ratio."""

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Signals
from korvax_eqx._numerics._waveform import EPS_MODES, EpsMode, sd_sdr

from ._mixture import Mixture, mixture_scope
from ._ratio_limits import checked_limits, limited_ratio


class SDSDRLoss(AbstractWaveformLoss):
    r"""Negated scale-dependent signal-to-distortion ratio of each signal, in dB.

    $$-10 \log_{10}\left(\frac{\sum t^2}{\sum (x - y)^2 + \epsilon} + \epsilon\right),
    \quad t = \frac{\sum x y}{\sum y^2 + \epsilon}\, y$$

    Like `SISDRLoss`, with the same `eps_mode` and limits, but a wrong level of the
    estimate counts as distortion. Smaller is better. See Le Roux, Wisdom, Erdogan,
    Hershey (2019), "SDR - half-baked or well done?", ICASSP; auraloss's `SDSDRLoss`.
    """

    zero_mean: bool = eqx.field(static=True)
    eps: float = eqx.field(static=True)
    eps_mode: EpsMode = eqx.field(static=True)
    max_db: float | None = eqx.field(static=True)
    mixture: Mixture = eqx.field(static=True)
    silent_max_db: float | None = eqx.field(static=True)

    def __init__(
        self,
        zero_mean: bool = True,
        eps: float = 1e-8,
        *,
        eps_mode: EpsMode = "denominator",
        max_db: float | None = None,
        mixture: Mixture = "target",
        silent_max_db: float | None = None,
    ):
        """**Arguments:**

        - `zero_mean`: whether the mean of each signal is subtracted first.
        - `eps`: $\\epsilon$, non-negative.
        - `eps_mode`: where $\\epsilon$ is added, see `SISDRLoss`.
        - `max_db`, `mixture`, `silent_max_db`: as in `SNRLoss`.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        self.zero_mean = checks.boolean("SDSDRLoss", "zero_mean", zero_mean)
        self.eps = checks.non_negative("SDSDRLoss", "eps", eps)
        self.eps_mode = checks.one_of("SDSDRLoss", "eps_mode", eps_mode, EPS_MODES)
        limits = checked_limits("SDSDRLoss", max_db, mixture, silent_max_db)
        self.max_db, self.mixture, self.silent_max_db = limits

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return mixture_scope(self.mixture)

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        return limited_ratio(sd_sdr, self, x, y)
