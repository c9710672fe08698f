"""The error of the mean of a signal."""

from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Signals
from korvax_eqx._numerics._waveform import dc_error


class DCLoss(AbstractWaveformLoss):
    r"""Squared offset over power, $m^2 / (\frac1n \sum y^2 + \epsilon)$.

    $m = \frac1n \sum (y - x)$ is the mean error of each signal. See Wright, Välimäki
    (2020), "Perceptual loss function for neural modeling of audio systems", ICASSP;
    auraloss's `DCLoss`. The quotient is limited to an eighth of the largest number of
    the dtype.
    """

    scope: ClassVar[Scope] = "value"
    eps: float = eqx.field(static=True)

    def __init__(self, eps: float = 1e-8):
        """**Arguments:**

        - `eps`: $\\epsilon$, non-negative.

        **Raises:** `ValueError` if an argument is not a finite number, or outside these
        rules.
        """
        self.eps = checks.non_negative("DCLoss", "eps", eps)

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        return dc_error(x.x, y.x, x.count, self.eps)
