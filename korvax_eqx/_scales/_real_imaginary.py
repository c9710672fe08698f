"""Complex spectra as real spectra with twice the bins."""

from typing import ClassVar

import jax.numpy as jnp
from jax import lax

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra


class RealImaginary(AbstractScale):
    """The real parts of all bins, followed by the imaginary parts: twice the bins.

    A loss such as `ElementwiseLoss("L1")` then compares the two parts separately: |Re
    d| + |Im d| instead of |d|.
    """

    scope: ClassVar[Scope] = "frame"

    def apply(self, data: Spectra) -> Spectra:
        checks.complex_spectrum("RealImaginary", "S", data.S)
        return data.map(lambda S: jnp.concatenate([lax.real(S), lax.imag(S)], axis=-1))
