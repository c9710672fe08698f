"""Channels of a recording taken together, for sums that see no order of samples."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from korvax_eqx._data import Signals


def taken_together(
    x: Signals, y: Signals, joined: bool
) -> tuple[Float[Array, "*rows n"], Float[Array, "*rows n"], Any]:
    """Return samples, and how many count: of each signal, or of all channels."""
    if not joined:
        return x.x, y.x, x.count
    shape = (*x.x.shape[:-2], -1)
    count = x.count
    if isinstance(count, int):
        count = count * x.x.shape[-2]
    else:
        count = jnp.sum(count, axis=-1)
    return x.x.reshape(shape), y.x.reshape(shape), count
