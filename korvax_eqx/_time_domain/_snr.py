"""Signal-to-noise ratio."""

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Signals
from korvax_eqx._numerics._waveform import EPS_MODES, EpsMode, snr

from ._mixture import Mixture, mixture_scope
from ._ratio_limits import checked_limits, limited_ratio


class SNRLoss(AbstractWaveformLoss):
    r"""Negated signal-to-noise ratio of each signal, in dB.

    $$-10 \log_{10}\left(\frac{\sum y^2}{\sum (x - y)^2 + \epsilon} + \epsilon\right)$$

    Smaller is better. auraloss's `SNRLoss`, which averages over the batch first.

    It is meaningless if the energies are not far above $\epsilon$; two silent signals
    give 80 dB. `eps_mode="both"` with `eps=1.19e-7` is torchmetrics, and with
    `"relative"` the level makes no difference: see `SISDRLoss`.

    **A limit.** Without one, a source that is nearly right has the largest gradient of
    a batch. With `max_db`, $\tau \sum y^2$ is added to the error, $\tau =
    10^{-\mathrm{max\_db}/10}$: the loss never falls below `-max_db`, and its gradient
    vanishes there. A silent target, one with at most $10^{-16}$ of the energy of its
    mixture $u$, has no ratio of its own: with a `mixture`, $\sum u^2$ replaces
    $\sum y^2$, and `silent_max_db` replaces `max_db`. So

        SNRLoss(False, 1e-8, eps_mode="both", max_db=30.0, mixture="sum",
                silent_max_db=20.0)

    has the gradient of the losses of Wisdom et al. (2021), "What's all the FUSS about
    free universal sound separation data?", ICASSP, in sound-separation [678e737]
    `models/train/model.py`. Those losses are not divided by the energy of the target,
    so the values differ by its level in dB, and a target is silent there below an
    absolute root mean square of 1e-8. The mixture carries no gradient. `clamp_db` of
    espnet and fast_bss_eval cuts the ratio off at both ends, without a gradient beyond;
    `eps_mode="relative"` with `eps=10 ** (-clamp_db / 10)` has the same limits and a
    gradient everywhere.
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
        - `max_db`: the best possible ratio, dB. Positive; `None` for no limit.
        - `mixture`: what silent targets are compared with: `"sum"` of the targets along
            the axis before the samples, or `"last"`: the last entry of that axis, which
            is not compared itself. With these, `jax.vmap` and `lengths` apply to
            recordings. `"target"`: silent targets are treated like all others.
        - `silent_max_db`: `max_db` of silent targets, dB; `None`: the same. Needs a
            mixture.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        self.zero_mean = checks.boolean("SNRLoss", "zero_mean", zero_mean)
        self.eps = checks.non_negative("SNRLoss", "eps", eps)
        self.eps_mode = checks.one_of("SNRLoss", "eps_mode", eps_mode, EPS_MODES)
        limits = checked_limits("SNRLoss", max_db, mixture, silent_max_db)
        self.max_db, self.mixture, self.silent_max_db = limits

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return mixture_scope(self.mixture)

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        return limited_ratio(snr, self, x, y)
