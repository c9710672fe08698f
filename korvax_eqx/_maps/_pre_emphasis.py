"""Emphasis of high frequencies."""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractSignalMap
from korvax_eqx._data import Signals
from korvax_eqx._numerics._frames import padded


class PreEmphasis(AbstractSignalMap):
    r"""Raises high frequencies: $y_n = x_n - c\,x_{n-1}$, where $x_{-1} = 0$.

    auraloss's `FIRFilter("hp")` has the same magnitude response but computes $x_{n-1} -
    c\,x_n$, because it does not reverse its taps. See Wright, Välimäki (2020),
    "Perceptual loss function for neural modeling of audio systems", ICASSP.
    """

    coefficient: Any

    def __init__(self, coefficient: float | Float[Array, ""] = 0.85) -> None:
        """**Arguments:**

        - `coefficient`: $c$. The closer to 1, the more low frequencies are attenuated.
            A scalar JAX array is learnable. 0.85 suits sample rates around 44.1 kHz.

        **Raises:** `ValueError` if the value is not a finite real number.
        """
        self.coefficient = checks.number_or_leaf(
            "PreEmphasis", "coefficient", coefficient
        )

    def apply(self, data: Signals) -> Signals:
        x = data.x
        previous = lax.slice_in_dim(padded(x, 1, 0), 0, x.shape[-1], axis=-1)
        emphasised = x - jnp.asarray(self.coefficient, x.dtype) * previous
        return data.map(lambda _: emphasised)
