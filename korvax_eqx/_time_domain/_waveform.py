"""Mean absolute and mean squared difference of signals."""

from typing import ClassVar, Literal

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Signals
from korvax_eqx._numerics._waveform import waveform_l1, waveform_l2


class WaveformLoss(AbstractWaveformLoss):
    r"""Mean over samples of $|x - y|$ (L1) or $(x - y)^2$ (L2).

    The derivative of the absolute value at 0 is 0: equal signals have zero gradient.

    The gradient has the dtype of the signal. In float16 the gradient of a mean over a
    batch mostly underflows (below 6e-8): scale the loss, e.g. by 2^15, and divide the
    gradients by it, or use bfloat16, which has the range of float32.
    """

    scope: ClassVar[Scope] = "value"
    metric: Literal["L1", "L2"] = eqx.field(static=True)

    def __init__(self, metric: Literal["L1", "L2"] = "L1"):
        """**Arguments:**

        - `metric`: `"L1"` for the mean absolute, `"L2"` for the mean squared error.
        """
        options = ("L1", "L2")
        self.metric = checks.one_of("WaveformLoss", "metric", metric, options)

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        distance = waveform_l1 if self.metric == "L1" else waveform_l2
        return distance(x.x, y.x, x.count)
