"""The level difference of signals."""

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Signals
from korvax_eqx._numerics._waveform import level_penalty

from ._joined import taken_together


class LevelLoss(AbstractWaveformLoss):
    r"""Penalty for a wrong level of each signal: $\lambda |L_x - L_y|$ in dB.

    $L = 10 \log_{10}(\frac1n\sum x^2 + \epsilon)$. The weight $\lambda$ carries no
    gradient. It is $\lambda_0$ if the estimate is too loud or the target is silent. If
    the estimate is too quiet it is $\lambda_0 + \Delta\lambda \min(|L_x - L_y| / (L_y -
    L_0), 1)$, so collapsing to silence costs most. See Watcharasupat and Lerch (2025),
    "Separate this, and all of these things around it: music source separation via
    hyperellipsoidal queries", and the package torch-l1-snr, which has the same
    defaults. `L1SNRLoss(level=True)` is the sum of `L1SNRLoss()` and this loss.
    """

    lambda0: float = eqx.field(static=True)
    delta_lambda: float = eqx.field(static=True)
    lmin: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)
    joined: bool = eqx.field(static=True)

    def __init__(
        self,
        lambda0: float = 0.1,
        delta_lambda: float = 0.9,
        lmin: float = -60.0,
        eps: float = 1e-8,
        *,
        joined: bool = False,
    ):
        """**Arguments:**

        - `lambda0`: $\\lambda_0$, the smallest weight. Non-negative.
        - `delta_lambda`: $\\Delta\\lambda$, the most that is added to it. Non-negative.
        - `lmin`: $L_0$, dB. A target at or below it counts as silent.
        - `eps`: $\\epsilon$, added to the power. Non-negative.
        - `joined`: whether all channels of a recording, the axis before the samples,
            have one level together.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        owner = "LevelLoss"
        self.lambda0 = checks.non_negative(owner, "lambda0", lambda0)
        self.delta_lambda = checks.non_negative(owner, "delta_lambda", delta_lambda)
        self.lmin = checks.real(owner, "lmin", lmin)
        self.eps = checks.non_negative(owner, "eps", eps)
        self.joined = checks.boolean(owner, "joined", joined)

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "channels" if self.joined else "value"

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        samples = taken_together(x, y, self.joined)
        weights = self.lambda0, self.delta_lambda
        return level_penalty(*samples, *weights, self.lmin, self.eps)
