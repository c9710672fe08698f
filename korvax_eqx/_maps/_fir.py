"""Filters with given taps."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx._core._steps import AbstractSignalMap
from korvax_eqx._data import Signals
from korvax_eqx._numerics._fir import correlate

from ._fields import table_or_leaf


class FIRFilter(AbstractSignalMap):
    r"""FIR filter; the output is as long as the input.

    $$y_n = \sum_{j=0}^{L-1} h_j\, x_{n + j - \lfloor L/2 \rfloor}$$

    with the taps $h$, and zeros outside the signal. An odd number of symmetric taps
    causes no delay. As in torch and auraloss the taps are *not* reversed (a
    cross-correlation): pass an impulse response, such as that of a room, as
    `response[::-1]`.
    """

    taps: Any

    def __init__(
        self, taps: Sequence[float] | Float[np.ndarray | Array, " n_taps"]
    ) -> None:
        """**Arguments:**

        - `taps`: shape `(n_taps,)`. A sequence or NumPy array is configuration, a JAX
            array is learnable.

        **Raises:** `ValueError` if the taps are not real, not finite, or empty.
        """
        self.taps = table_or_leaf("FIRFilter", "taps", taps, ndim=1)

    def apply(self, data: Signals) -> Signals:
        return data.map(lambda x: correlate(x, jnp.asarray(self.taps, x.dtype)))
