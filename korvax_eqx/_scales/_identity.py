"""No change."""

import jax
from jaxtyping import Array, Inexact

from korvax_eqx._base import AbstractElementwiseScale


class Identity(AbstractElementwiseScale):
    """Returns spectra as they are, complex ones too."""

    @jax.named_scope("korvax_eqx.Identity")
    def __call__(
        self, S: Inexact[Array, "*channels n_bins n_frames"]
    ) -> Inexact[Array, "*channels n_bins n_frames"]:
        """**Arguments:** `S`, of any shape and dtype. **Returns:** `S`."""
        return S
