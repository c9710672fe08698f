"""Signal-to-noise ratio with absolute values."""

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Signals
from korvax_eqx._numerics._waveform import l1_snr, level_penalty

from ._joined import taken_together


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

    eps: float = eqx.field(static=True)
    level: bool = eqx.field(static=True)
    joined: bool = eqx.field(static=True)

    def __init__(self, eps: float = 1e-3, level: bool = False, *, joined: bool = False):
        """**Arguments:**

        - `eps`: $\\epsilon$, non-negative.
        - `level`: whether to add the penalty for a wrong level.
        - `joined`: whether the sums also run over the channels of a recording, the axis
            before the samples: one ratio instead of the mean of one for each channel.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        self.eps = checks.non_negative("L1SNRLoss", "eps", eps)
        self.level = checks.boolean("L1SNRLoss", "level", level)
        self.joined = checks.boolean("L1SNRLoss", "joined", joined)

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "channels" if self.joined else "value"

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        samples = taken_together(x, y, self.joined)
        value = l1_snr(*samples, self.eps)
        return value + level_penalty(*samples) if self.level else value
