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
    """A-weighting as a filter with `n_taps` symmetric taps, for signals sampled at
    `sr`.

    The analogue curve of IEC 61672-1 (0 dB at 1 kHz) is converted to `sr` by the
    bilinear transform, and the taps are the least-squares fit to its magnitude over
    linear frequency. The fit is worst at low frequencies, where the curve is steep, and
    the bilinear transform lowers the curve near `sr / 2`. With 101 taps at 44.1 kHz the
    filter is within 1 dB of the curve from 500 Hz to 8 kHz, 1.6 dB below it at 200 Hz
    and 8.6 dB below it at 16 kHz. The taps are auraloss's before it rounds them to
    single precision.
    """

    sr: float = eqx.field(static=True)
    n_taps: int = eqx.field(static=True)

    def __init__(self, sr: float, n_taps: int = 101) -> None:
        """**Arguments:**

        - `sr`: sample rate, Hz, from 1 to 1e6. Outside this range the taps would be
            inaccurate.
        - `n_taps`: length of the filter in samples; odd.

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
        # The fit solves a system with one equation per tap.
        check_size("AWeightingFilter", "n_taps", n_taps, self.n_taps**2)

    @property
    def taps(self) -> Float[np.ndarray, " n_taps"]:
        """The taps, float64."""
        return a_weighting_taps(self.sr, self.n_taps)

    def apply(self, data: Signals) -> Signals:
        return data.map(lambda x: correlate(x, jnp.asarray(self.taps, x.dtype)))
