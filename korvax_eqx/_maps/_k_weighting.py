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
    """K-weights signals: the filter before loudness in ITU-R BS.1770 (EBU R 128).

    A high shelf of 4 dB above 1.7 kHz and a high-pass at 38 Hz, both of second order
    and recursive, starting from rest. At 48 kHz with the coefficients of the
    Recommendation; at other rates with those that give "the same frequency response",
    as it asks for (by the bilinear transform, so the responses differ near half the
    sample rate). libebur128 and pyloudnorm's "DeMan" filters leave the numerator of
    the high-pass as it is at 48 kHz, which makes them louder at lower rates: by
    0.004 dB at 44.1 kHz, 0.09 dB at 16 kHz.

    Computed by products without a loop over samples, and nothing of the response is
    cut off. Relative to the largest output the difference from the recursion is in
    float64 below 1e-12 for noise and below 1e-10 for a constant, which the high-pass
    takes away; in float32 below 1e-6 for both.
    """

    sr: float = eqx.field(static=True)

    def __init__(self, sr: float) -> None:
        """**Arguments:**

        - `sr`: sample rate, Hz; above 3364, twice the shelf's corner frequency,
            and at most 1e6.

        **Raises:** `ValueError` for another.
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
