"""Signal-to-noise ratio with absolute values."""

from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Signals
from korvax_eqx._numerics._waveform import l1_snr, level_penalty


class L1SNRLoss(AbstractWaveformLoss):
    r"""Mean absolute error over mean absolute target, in dB.

    $$D = 10 \log_{10} \frac{\frac1n\sum |x - y| + \epsilon}{\frac1n\sum |y| + \epsilon}
      + \lambda\,|L_x - L_y|$$

    Smaller is better. With `level=True` the second term penalises a wrong level, with
    $L = 10 \log_{10}(\frac1n\sum x^2 + 10^{-8})$: its weight $\lambda$, which carries
    no gradient, is between 0.1 and 1, see `LevelLoss`. See Watcharasupat et al. (2023),
    "A generalized bandsplit neural network for cinematic audio source separation", and
    its package torch-l1-snr.
    """

    scope: ClassVar[Scope] = "value"
    eps: float = eqx.field(static=True)
    level: bool = eqx.field(static=True)

    def __init__(self, eps: float = 1e-3, level: bool = False):
        """**Arguments:**

        - `eps`: $\\epsilon$, non-negative.
        - `level`: whether to add the penalty for a wrong level.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        self.eps = checks.non_negative("L1SNRLoss", "eps", eps)
        self.level = checks.boolean("L1SNRLoss", "level", level)

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        value = l1_snr(x.x, y.x, x.count, self.eps)
        return value + level_penalty(x.x, y.x, x.count) if self.level else value
