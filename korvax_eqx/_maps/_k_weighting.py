"""K-weighting of signals."""

import functools

import equinox as eqx
import jax
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._numerics._iir import filter_by_blocks
from korvax_eqx._sharding._devices import keep_sharded
from korvax_eqx._tables._loudness import LEAST_RATE, k_weighting_matrices

from ._base import AbstractSignalMap


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

    scope = "frame"
    sr: float = eqx.field(static=True)

    def __init__(self, sr: float) -> None:
        """**Arguments:**

        - `sr`: sample rate, Hz; above 3364, twice the shelf's corner frequency.

        **Raises:** `ValueError` for another.
        """
        self.sr = checks.positive("KWeightingFilter", "sr", sr)
        if self.sr <= LEAST_RATE:
            rule = "be above 3364 Hz, twice the corner frequency of the filter's shelf"
            checks.refuse("KWeightingFilter", "sr", rule, sr, "It is in Hz, not kHz.")

    @jax.named_scope("korvax_eqx.KWeightingFilter")
    def __call__(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Float[Array, "*channels n_samples"]:
        """Filter every signal of `x`."""
        x = checks.signal("KWeightingFilter", "x", x)
        return keep_sharded(self.filtered, x)

    def filtered(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Float[Array, "*channels n_samples"]:
        """Filter signals that are checked."""
        matrices = functools.partial(k_weighting_matrices, self.sr)
        return filter_by_blocks(x, matrices)
