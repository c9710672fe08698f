"""Broadcasting vectors to arrays of higher rank."""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Shaped


def along_last(values: Any, like: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """Return `values` with axes of size 1 in front, as many axes as `like` has.

    JAX adds them itself, unless `jax_numpy_rank_promotion` is "raise".
    """
    values = jnp.asarray(values)
    return lax.expand_dims(values, range(like.ndim - values.ndim))
