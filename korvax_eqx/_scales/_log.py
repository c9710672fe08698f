"""The natural logarithm of a spectrum."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from korvax_eqx._base import AbstractScale
from korvax_eqx._checks import floating_array, is_learnable, positive, scale_input
from korvax_eqx._static import Static, parameter, thaw


class Log(AbstractScale):
    """The natural logarithm: `log(factor * S + eps)`.

    Its derivative is `factor / (factor * S + eps)`, at silence `factor / eps`.
    """

    factor: jax.Array | Static
    eps: jax.Array | Static

    def __init__(
        self,
        factor: float | Float[Array, ""] = 1.0,
        eps: float | Float[Array, ""] = 1e-7,
    ) -> None:
        """**Arguments:**

        - `factor`: multiplies the spectrum before the logarithm. Positive.
        - `eps`: is added to the scaled spectrum, which keeps the logarithm finite at
            silence. Positive.

        Either may be a scalar JAX array: it is then learnable.

        **Raises:** `ValueError` for a value that is not a positive number.
        """
        self.factor = _positive("factor", factor)
        self.eps = _positive("eps", eps)

    @jax.named_scope("korvax_eqx.Log")
    def __call__(
        self, S: Float[Array, "*channels n_bins n_frames"]
    ) -> Float[Array, "*channels n_bins n_frames"]:
        """**Arguments:** `S`, non-negative. **Returns:** the same shape."""
        S = scale_input("Log", S)
        factor = jnp.asarray(thaw(self.factor), S.dtype)
        eps = thaw(self.eps)
        if not is_learnable(eps):
            # An eps too small for the dtype would otherwise be rounded to zero.
            eps = max(eps, float(jnp.finfo(S.dtype).tiny))
        return lax.log(lax.add(lax.mul(S, factor), jnp.asarray(eps, S.dtype)))


def _positive(argument: str, value: Any) -> jax.Array | Static:
    if is_learnable(value):
        return parameter(floating_array("Log", argument, value, 0))
    return parameter(positive("Log", argument, thaw(value)))
