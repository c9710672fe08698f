"""Powers of positive frequencies that count for negative ones too."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractFramesScale
from korvax_eqx._numerics._ranks import along_last

_OWNER = "OneSidedPower"


class OneSidedPower(AbstractFramesScale):
    r"""Powers, of which those between 0 Hz and half the sample rate count twice.

    $$f\,(S_0,\; 2 S_1,\; \dots,\; 2 S_{n-2},\; S_{n-1})$$

    with a factor $f$. The spectrum of a real signal has every bin but the first and
    the last once more, at the negative frequency. Counted twice, the powers of a
    frame of $N$ samples, $N$ even, sum up to $N$ times its energy (Parseval). So
    asteroid's filter bank and the one-sided spectra of `scipy.signal.welch` weigh
    them.
    """

    factor: float = eqx.field(static=True)

    def __init__(self, factor: float = 1.0) -> None:
        """**Arguments:**

        - `factor`: multiplies all powers. Positive.

        **Raises:** `ValueError` for another factor.
        """
        self.factor = checks.positive(_OWNER, "factor", factor)

    scope = "frame"

    def frames(
        self,
        S: Float[Array, "*rows n_frames n_bins"],
        n_frames: Int[Array, "*rows"] | None = None,
    ) -> Float[Array, "*rows n_frames n_bins"]:
        S = checks.scale_input(_OWNER, S, bins_last=True)
        weights = np.full(S.shape[-1], 2.0 * self.factor)
        weights[[0, -1]] = self.factor
        return S * along_last(jnp.asarray(weights, S.dtype), S)
