"""Sum and difference of two channels."""

from typing import ClassVar

import jax.numpy as jnp

from korvax_eqx._core._steps import AbstractSignalMap, Scope
from korvax_eqx._data import Signals


class MidSide(AbstractSignalMap):
    """Sum and difference of two channels: `(left + right, left - right)`.

    There is no factor, as in auraloss, so applying it twice doubles the signals. See
    Steinmetz, Pons, Pascual, Serrà (2021), "Automatic multitrack mixing with a
    differentiable mixing console of neural audio effects", ICASSP.
    """

    scope: ClassVar[Scope] = "channels"

    def apply(self, data: Signals) -> Signals:
        """Map every pair of channels of `x`.

        **Raises:** `ValueError` if the axis before the samples does not have two
        entries.
        """
        x = data.x
        if x.ndim < 2 or x.shape[-2] != 2:
            raise ValueError(
                "`MidSide`: `x` must have two channels in the axis before the samples, "
                f"shape (*batch, 2, n_samples). Got {x.shape}. Repeat a single channel "
                "with `jnp.repeat(x, 2, axis=-2)`; mix others with `ChannelMix`."
            )
        left, right = x[..., :1, :], x[..., 1:, :]
        mapped = jnp.concatenate([left + right, left - right], axis=-2)
        return Signals(mapped, data.n_samples)
