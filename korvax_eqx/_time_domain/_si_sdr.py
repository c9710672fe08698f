"""Scale-invariant signal-to-distortion ratio."""

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Signals
from korvax_eqx._numerics._waveform import EPS_MODES, EpsMode, si_sdr

from ._mixture import Mixture, mixture_scope
from ._ratio_limits import checked_limits, limited_ratio


class SISDRLoss(AbstractWaveformLoss):
    r"""Negated scale-invariant signal-to-distortion ratio of each signal, in dB.

    $$-10 \log_{10}\left(\frac{\sum t^2}{\sum (x - t)^2 + \epsilon} + \epsilon\right),
    \quad t = \frac{\sum x y}{\sum y^2 + \epsilon}\, y$$

    Smaller is better. The level of the estimate makes no difference as long as its
    energy is far above $\epsilon$. Two silent signals give 80 dB, the worst value, and
    signals at a level of 1e-6 are up to 35 dB off. `eps_mode` decides where $\epsilon$
    is added:

    - `"denominator"`: as above, and in auraloss;
    - `"both"`: added to numerator and denominator, of the ratio and of the factor of
        $y$. With `zero_mean=False, eps=1.19e-7` this is torchmetrics in float32. Two
        silent signals give 0 dB; quiet ones are off too;
    - `"relative"`: $\epsilon$ times the sum of numerator and denominator is added to
        both. The level makes no difference, two silent signals give 0 dB, and values
        are within $\pm 10 \log_{10} \epsilon$.

    With `max_db`, $\tau \sum t^2$ is added to the error, $\tau =
    10^{-\mathrm{max\_db}/10}$; with a `mixture`, silent targets are compared with its
    energy instead of $\sum t^2$. `SNRLoss` says when to use these.

    See Le Roux, Wisdom, Erdogan, Hershey (2019), "SDR - half-baked or well done?",
    ICASSP; auraloss's `SISDRLoss`.
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
        - `eps_mode`: where $\\epsilon$ is added, see above.
        - `max_db`, `mixture`, `silent_max_db`: as in `SNRLoss`.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        self.zero_mean = checks.boolean("SISDRLoss", "zero_mean", zero_mean)
        self.eps = checks.non_negative("SISDRLoss", "eps", eps)
        self.eps_mode = checks.one_of("SISDRLoss", "eps_mode", eps_mode, EPS_MODES)
        limits = checked_limits("SISDRLoss", max_db, mixture, silent_max_db)
        self.max_db, self.mixture, self.silent_max_db = limits

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return mixture_scope(self.mixture)

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        return limited_ratio(si_sdr, self, x, y)
