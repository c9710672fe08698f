"""Complex spectra as real ones of twice the bins."""

from typing import ClassVar

import jax.numpy as jnp
from jax import lax

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra


class RealImaginary(AbstractScale):
    """The real parts of all bins, then their imaginary parts: twice as many bins.

    A loss on magnitudes of differences, as `ElementwiseLoss("L1")`, then compares the
    two parts each on its own: |Re d| + |Im d| in place of |d|.
    """

    scope: ClassVar[Scope] = "frame"

    def apply(self, data: Spectra) -> Spectra:
        checks.complex_spectrum("RealImaginary", "S", data.S)
        return data.map(lambda S: jnp.concatenate([lax.real(S), lax.imag(S)], axis=-1))
