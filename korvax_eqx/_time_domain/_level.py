"""The difference of the levels of signals."""

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Signals
from korvax_eqx._numerics._waveform import level_penalty

from ._joined import taken_together


class LevelLoss(AbstractWaveformLoss):
    r"""Penalty of a wrong level, $\lambda |L_x - L_y|$ in dB, for each signal.

    $L = 10 \log_{10}(\frac1n\sum x^2 + \epsilon)$. The weight $\lambda$ carries no
    gradient. It is $\lambda_0$ for an estimate that is too loud or a target that is
    silent, and for one that is too quiet $\lambda_0 + \Delta\lambda \min(|L_x - L_y| /
    (L_y - L_0), 1)$: an estimate that collapses costs most. See Watcharasupat and
    Lerch (2025), "Separate this, and all of these things around it: music source
    separation via hyperellipsoidal queries", and the package torch-l1-snr, whose
    numbers the defaults are. `L1SNRLoss(level=True)` is the sum of `L1SNRLoss()` and
    this.
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

        - `lambda0`: $\\lambda_0$, the least weight. Non-negative.
        - `delta_lambda`: $\\Delta\\lambda$, what may be added to it. Non-negative.
        - `lmin`: $L_0$, dB, at and below which a target is silent.
        - `eps`: $\\epsilon$, added to the power. Non-negative.
        - `joined`: whether all channels of a recording, the axis before the samples,
            have one level together.

        **Raises:** `ValueError` for a value of another kind.
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
