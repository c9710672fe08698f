"""K-weighting of signals."""

import functools

import equinox as eqx

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractSignalMap
from korvax_eqx._data import Signals
from korvax_eqx._numerics._iir import filter_by_blocks
from korvax_eqx._tables._loudness import (
    HIGHEST_RATE,
    LEAST_RATE,
    k_weighting_matrices,
)


class KWeightingFilter(AbstractSignalMap):
    """K-weighting: the filter of loudness meters in ITU-R BS.1770 (EBU R 128).

    A high shelf of 4 dB above 1.7 kHz and a high-pass at 38 Hz, both recursive and of
    second order, starting from rest. At 48 kHz it uses the coefficients of the
    Recommendation. At other rates it uses those with "the same frequency response", as
    the Recommendation requires (by the bilinear transform, so the responses differ near
    half the sample rate). libebur128 and pyloudnorm's "DeMan" filters keep the
    numerator of the 48 kHz high-pass at all rates. That makes them louder at lower
    rates: by 0.004 dB at 44.1 kHz, by 0.09 dB at 16 kHz.

    It is computed with matrix products instead of a loop over samples, without
    truncating the response. Relative to the largest output, it differs from the
    recursion by less than 1e-12 for noise and 1e-10 for a constant (which the high-pass
    removes) in float64, and by less than 1e-6 for both in float32.
    """

    sr: float = eqx.field(static=True)

    def __init__(self, sr: float) -> None:
        """**Arguments:**

        - `sr`: sample rate, Hz; above 3364 (twice the shelf's corner frequency) and at
            most 1e6.

        **Raises:** `ValueError` for another rate.
        """
        self.sr = checks.positive("KWeightingFilter", "sr", sr)
        if self.sr <= LEAST_RATE:
            rule = "be above 3364 Hz, twice the corner frequency of the filter's shelf"
            checks.refuse("KWeightingFilter", "sr", rule, sr, "It is in Hz, not kHz.")
        if self.sr > HIGHEST_RATE:
            rule = f"be at most {HIGHEST_RATE:g} Hz"
            checks.refuse("KWeightingFilter", "sr", rule, sr)

    def apply(self, data: Signals) -> Signals:
        matrices = functools.partial(k_weighting_matrices, self.sr)
        return data.map(lambda x: filter_by_blocks(x, matrices))
