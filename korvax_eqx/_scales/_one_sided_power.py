"""Powers of a one-sided spectrum, weighted for both sides."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._ranks import along_last

_OWNER = "OneSidedPower"


class OneSidedPower(AbstractScale):
    r"""Powers of a one-sided spectrum; bins between 0 Hz and half the rate count twice.

    $$f\,(S_0,\; 2 S_1,\; \dots,\; 2 S_{n-2},\; S_{n-1})$$

    with a factor $f$. The full spectrum of a real signal has each of these bins again
    at the negative frequency. Counted twice, the powers of a frame of $N$ samples ($N$
    even) sum to $N$ times its energy (Parseval). asteroid's filter bank and the
    one-sided spectra of `scipy.signal.welch` do the same.
    """

    scope: ClassVar[Scope] = "frame"
    factor: float = eqx.field(static=True)

    def __init__(self, factor: float = 1.0) -> None:
        """**Arguments:**

        - `factor`: multiplies all powers. Positive.

        **Raises:** `ValueError` for another factor.
        """
        self.factor = checks.positive(_OWNER, "factor", factor)

    def apply(self, data: Spectra) -> Spectra:
        S = checks.scale_input(_OWNER, data.S, bins_last=True)
        weights = np.full(S.shape[-1], 2.0 * self.factor)
        weights[[0, -1]] = self.factor
        return data.holding(S * along_last(jnp.asarray(weights, S.dtype), S))
