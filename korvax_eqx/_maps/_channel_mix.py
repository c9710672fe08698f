"""Linear combinations of channels."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks

from ._base import AbstractChannelMap
from ._fields import table_or_leaf


class ChannelMix(AbstractChannelMap):
    r"""Linear combinations of channels: $y_i = \sum_j M_{ij} x_j$.

    `ChannelMix([[0.5, 0.5]])` mixes two channels down to one,
    `ChannelMix([[1, 1], [1, -1]])` is `MidSide()`.
    """

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

    @jax.named_scope("korvax_eqx.ChannelMix")
    def __call__(
        self, x: Float[Array, "*batch n_in n_samples"]
    ) -> Float[Array, "*batch n_out n_samples"]:
        """Mix the channels of `x`.

        **Raises:** `ValueError` for another number of channels than the matrix has
        columns.
        """
        x = checks.signal("ChannelMix", "x", x)
        matrix = jnp.asarray(self.matrix, x.dtype)
        n = matrix.shape[1]
        if x.ndim < 2 or x.shape[-2] != n:
            raise ValueError(
                f"`ChannelMix`: `x` must have {n} channels in the axis before the "
                f"samples, one for each column of the matrix, shape (*batch, {n}, "
                f"n_samples). Got {x.shape}. Give a matrix of another width, or move "
                "the channels with `jnp.moveaxis`."
            )
        return jnp.matmul(matrix, x, precision=lax.Precision.HIGHEST)
