"""Complex spectra as real ones of twice the bins."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Complex, Float, Int

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractFramesScale


class RealImaginary(AbstractFramesScale):
    """The real parts of all bins, then their imaginary parts: twice as many bins.

    A loss on magnitudes of differences, as `ElementwiseLoss("L1")`, then compares the
    two parts each on its own: |Re d| + |Im d| in place of |d|.
    """

    scope = "frame"

    def frames(
        self,
        S: Complex[Array, "*rows n_frames n_bins"],
        n_frames: Int[Array, "*rows"] | None = None,
    ) -> Float[Array, "*rows n_frames 2*n_bins"]:
        checks.complex_spectrum("RealImaginary", "S", S)
        return jnp.concatenate([lax.real(S), lax.imag(S)], axis=-1)
