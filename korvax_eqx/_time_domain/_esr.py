"""The error of a signal relative to its target."""

from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Signals
from korvax_eqx._numerics._waveform import error_to_signal


class ESRLoss(AbstractWaveformLoss):
    r"""Error-to-signal ratio $\sum (y - x)^2 / (\sum y^2 + \epsilon)$ of each signal.

    See Wright, Välimäki (2020), "Perceptual loss function for neural modeling of audio
    systems", ICASSP; auraloss's `ESRLoss`. The quotient is limited to an eighth of the
    largest number of the dtype.

    For a silent target it is the energy of the estimate divided by $\epsilon$, up to
    1e12, which outweighs the rest of the batch. Leave such examples out with a length
    of 0 in `lengths`, or set `eps` to the energy below which a target counts as silent.
    """

    scope: ClassVar[Scope] = "value"
    eps: float = eqx.field(static=True)

    def __init__(self, eps: float = 1e-8):
        """**Arguments:**

        - `eps`: $\\epsilon$, non-negative.

        **Raises:** `ValueError` if an argument is not a finite number, or outside these
        rules.
        """
        self.eps = checks.non_negative("ESRLoss", "eps", eps)

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        return error_to_signal(x.x, y.x, x.count, self.eps)
