"""A-weighting of signals."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractSignalMap
from korvax_eqx._data import Signals
from korvax_eqx._numerics._fir import correlate
from korvax_eqx._tables._fir import HIGHEST_RATE, LEAST_RATE, a_weighting_taps
from korvax_eqx._tables._size import check_size


class AWeightingFilter(AbstractSignalMap):
    """A-weights signals: `n_taps` symmetric taps, fitted to the curve at `sr`.

    The curve is IEC 61672-1's, 0 dB at 1 kHz, brought to `sr` by the bilinear
    transform; the taps are its least-squares fit in magnitude, linear over frequency.
    So low frequencies, where the curve is steep, are fitted worst, and the transform
    brings the curve's fall at high ones down: 101 taps at 44.1 kHz are within 1 dB of
    the curve from 500 Hz to 8 kHz, 1.6 dB below at 200 Hz and 8.6 at 16 kHz. These are
    auraloss's taps, which it rounds to single precision.
    """

    sr: float = eqx.field(static=True)
    n_taps: int = eqx.field(static=True)

    def __init__(self, sr: float, n_taps: int = 101) -> None:
        """**Arguments:**

        - `sr`: sample rate, Hz, from 1 to 1e6: the taps of others lose their digits.
        - `n_taps`: length of the filter in samples, odd.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        self.sr = checks.positive("AWeightingFilter", "sr", sr)
        if not LEAST_RATE <= self.sr <= HIGHEST_RATE:
            rule = f"be from {LEAST_RATE:g} to {HIGHEST_RATE:g} Hz"
            checks.refuse("AWeightingFilter", "sr", rule, sr)
        self.n_taps = checks.positive_int("AWeightingFilter", "n_taps", n_taps)
        if self.n_taps % 2 == 0:
            remedy = f"Use {self.n_taps + 1}."
            checks.refuse("AWeightingFilter", "n_taps", "be odd", n_taps, remedy)
        # The fit solves as many equations as there are taps.
        check_size("AWeightingFilter", "n_taps", n_taps, self.n_taps**2)

    @property
    def taps(self) -> Float[np.ndarray, " n_taps"]:
        """The taps in use, float64."""
        return a_weighting_taps(self.sr, self.n_taps)

    def apply(self, data: Signals) -> Signals:
        return data.map(lambda x: correlate(x, jnp.asarray(self.taps, x.dtype)))
