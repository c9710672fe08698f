"""Linear combinations of channels."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from korvax_eqx._core._steps import AbstractSignalMap, Scope
from korvax_eqx._data import Signals

from ._fields import table_or_leaf


class ChannelMix(AbstractSignalMap):
    r"""Linear combinations of channels: $y_i = \sum_j M_{ij} x_j$.

    `ChannelMix([[0.5, 0.5]])` mixes two channels to one. `ChannelMix([[1, 1], [1,
    -1]])` equals `MidSide()`.
    """

    scope: ClassVar[Scope] = "channels"
    matrix: Any

    def __init__(
        self,
        matrix: Sequence[Sequence[float]] | Float[np.ndarray | Array, "n_out n_in"],
    ) -> None:
        """**Arguments:**

        - `matrix`: shape `(n_channels_out, n_channels)`. A sequence or NumPy array is
            configuration, a JAX array is learnable.

        **Raises:** `ValueError` for a matrix that is not real, not finite, or empty.
        """
        self.matrix = table_or_leaf("ChannelMix", "matrix", matrix, ndim=2)

    def apply(self, data: Signals) -> Signals:
        """Mix the channels of `x`.

        **Raises:** `ValueError` if `x` does not have one channel per column of the
        matrix.
        """
        x = data.x
        matrix = jnp.asarray(self.matrix, x.dtype)
        n = matrix.shape[1]
        if x.ndim < 2 or x.shape[-2] != n:
            raise ValueError(
                f"`ChannelMix`: `x` must have {n} channels in the axis before the "
                f"samples, one for each column of the matrix, shape (*batch, {n}, "
                f"n_samples). Got {x.shape}. Give a matrix of another width, or move "
                "the channels with `jnp.moveaxis`."
            )
        mixed = jnp.matmul(matrix, x, precision=lax.Precision.HIGHEST)
        n_samples = data.n_samples
        if n_samples is not None:  # the same for all channels of a recording
            n_samples = jnp.broadcast_to(n_samples[..., :1], mixed.shape[:-1])
        return Signals(mixed, n_samples)
