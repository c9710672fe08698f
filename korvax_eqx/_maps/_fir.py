"""Filters with a finite impulse response that is given."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._numerics._fir import correlate
from korvax_eqx._sharding._devices import keep_sharded

from ._base import AbstractSignalMap
from ._fields import table_or_leaf


class FIRFilter(AbstractSignalMap):
    r"""A filter of finite impulse response, as long as its input.

    $$y_n = \sum_{j=0}^{L-1} h_j\, x_{n + j - \lfloor L/2 \rfloor}$$

    with the taps $h$, and zeros outside of the signal. So an odd number of symmetric
    taps delays nothing. As in torch and auraloss the taps are *not* reversed: a
    response in time, such as that of a room, is given as `response[::-1]`.
    """

    scope = "frame"
    taps: Any

    def __init__(
        self, taps: Sequence[float] | Float[np.ndarray | Array, " n_taps"]
    ) -> None:
        """**Arguments:**

        - `taps`: shape `(n_taps,)`. A sequence or NumPy array is configuration, a JAX
            array is learnable.

        **Raises:** `ValueError` for taps that are not real, not finite, or none.
        """
        self.taps = table_or_leaf("FIRFilter", "taps", taps, ndim=1)

    @jax.named_scope("korvax_eqx.FIRFilter")
    def __call__(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Float[Array, "*channels n_samples"]:
        """Filter every signal of `x`."""
        x = checks.signal("FIRFilter", "x", x)
        return keep_sharded(correlate, x, jnp.asarray(self.taps, x.dtype))
