"""Emphasis of high frequencies."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._numerics._frames import padded

from ._base import AbstractSignalMap


class PreEmphasis(AbstractSignalMap):
    r"""Raises high frequencies: $y_n = x_n - c\,x_{n-1}$, where $x_{-1} = 0$.

    auraloss's `FIRFilter("hp")` has the same magnitude response, but gives
    $x_{n-1} - c\,x_n$, as its taps are not reversed. See Wright, Välimäki (2020),
    "Perceptual loss function for neural modeling of audio systems", ICASSP.
    """

    scope = "frame"
    coefficient: Any

    def __init__(self, coefficient: float | Float[Array, ""] = 0.85) -> None:
        """**Arguments:**

        - `coefficient`: $c$; the closer to 1, the less low frequencies are left.
            A scalar JAX array is learnable. 0.85 suits sample rates about 44.1 kHz.

        **Raises:** `ValueError` for a value that is not a finite real number.
        """
        self.coefficient = checks.number_or_leaf(
            "PreEmphasis", "coefficient", coefficient
        )

    @jax.named_scope("korvax_eqx.PreEmphasis")
    def __call__(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Float[Array, "*channels n_samples"]:
        """Filter every signal of `x`."""
        x = checks.signal("PreEmphasis", "x", x)
        previous = lax.slice_in_dim(padded(x, 1, 0), 0, x.shape[-1], axis=-1)
        return x - jnp.asarray(self.coefficient, x.dtype) * previous
