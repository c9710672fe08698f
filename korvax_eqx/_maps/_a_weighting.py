"""A-weighting of signals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._numerics._fir import correlate
from korvax_eqx._sharding._devices import keep_sharded
from korvax_eqx._tables._fir import a_weighting_taps

from ._base import AbstractSignalMap


class AWeightingFilter(AbstractSignalMap):
    """A-weights signals: `n_taps` symmetric taps, fitted to the curve at `sr`.

    The curve is IEC 61672-1's, 0 dB at 1 kHz, brought to `sr` by the bilinear
    transform; the taps are its least-squares fit in magnitude, linear over frequency.
    So low frequencies, where the curve is steep, are fitted worst, and the transform
    brings the curve's fall at high ones down: 101 taps at 44.1 kHz are within 1 dB of
    the curve from 500 Hz to 8 kHz, 1.6 dB below at 200 Hz and 8.6 at 16 kHz. These are
    auraloss's taps, which it rounds to single precision.
    """

    scope = "frame"
    sr: float = eqx.field(static=True)
    n_taps: int = eqx.field(static=True)

    def __init__(self, sr: float, n_taps: int = 101) -> None:
        """**Arguments:**

        - `sr`: sample rate, Hz.
        - `n_taps`: length of the filter in samples, odd.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        self.sr = checks.positive("AWeightingFilter", "sr", sr)
        self.n_taps = checks.positive_int("AWeightingFilter", "n_taps", n_taps)
        if self.n_taps % 2 == 0:
            remedy = f"Use {self.n_taps + 1}."
            checks.refuse("AWeightingFilter", "n_taps", "be odd", n_taps, remedy)

    @property
    def taps(self) -> Float[np.ndarray, " n_taps"]:
        """The taps in use, float64."""
        return a_weighting_taps(self.sr, self.n_taps)

    @jax.named_scope("korvax_eqx.AWeightingFilter")
    def __call__(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Float[Array, "*channels n_samples"]:
        """Filter every signal of `x`."""
        x = checks.signal("AWeightingFilter", "x", x)
        return keep_sharded(correlate, x, jnp.asarray(self.taps, x.dtype))
