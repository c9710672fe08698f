"""Sum and difference of two channels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks

from ._base import AbstractChannelMap


class MidSide(AbstractChannelMap):
    """Two channels to their sum and difference: `(left + right, left - right)`.

    Without a factor, as in auraloss: applied twice it doubles the signals. See
    Steinmetz, Pons, Pascual, Serrà (2021), "Automatic multitrack mixing with a
    differentiable mixing console of neural audio effects", ICASSP.
    """

    @jax.named_scope("korvax_eqx.MidSide")
    def __call__(
        self, x: Float[Array, "*batch 2 n_samples"]
    ) -> Float[Array, "*batch 2 n_samples"]:
        """Map every pair of channels of `x`.

        **Raises:** `ValueError` if the axis before the samples has not two entries.
        """
        x = checks.signal("MidSide", "x", x)
        if x.ndim < 2 or x.shape[-2] != 2:
            raise ValueError(
                "`MidSide`: `x` must have two channels in the axis before the samples, "
                f"shape (*batch, 2, n_samples). Got {x.shape}. Repeat a single channel "
                "with `jnp.repeat(x, 2, axis=-2)`; mix others with `ChannelMix`."
            )
        left, right = x[..., :1, :], x[..., 1:, :]
        return jnp.concatenate([left + right, left - right], axis=-2)
