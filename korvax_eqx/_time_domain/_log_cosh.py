"""A smooth absolute difference of signals."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._data import Signals
from korvax_eqx._leaves import positive_leaf
from korvax_eqx._numerics._waveform import log_cosh


class LogCoshLoss(AbstractWaveformLoss):
    r"""Mean over samples of $\ln(\cosh(a (x - y)) + \epsilon)/a$.

    Like the square for small differences and like the absolute value for large ones,
    where it neither overflows nor loses precision. Equal signals give $\ln(1 +
    \epsilon)/a$. See Chen et al. (2019), "Log hyperbolic cosine loss improves
    variational auto-encoder"; auraloss's `LogCoshLoss`, which overflows for differences
    above 89 in float32.
    """

    a: Any
    eps: float = eqx.field(static=True)

    def __init__(self, a: float | Float[Array, ""] = 1.0, eps: float = 1e-8):
        """**Arguments:**

        - `a`: positive. The larger it is, the closer the loss is to the absolute
            difference. A JAX scalar is learnable.
        - `eps`: $\\epsilon$, non-negative.

        **Raises:** `ValueError` if an argument is not a finite number, or outside these
        rules.
        """
        if checks.is_leaf(a):
            self.a = positive_leaf("LogCoshLoss", "a", a)
        else:
            a = checks.positive("LogCoshLoss", "a", a)
            self.a = checks.number_or_leaf("LogCoshLoss", "a", a)
        self.eps = checks.non_negative("LogCoshLoss", "eps", eps)

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        return log_cosh(x.x, y.x, x.count, self.a, self.eps)
