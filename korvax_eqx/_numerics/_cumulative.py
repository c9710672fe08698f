"""Cumulative sums along the frames or the bins of spectra."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._platform import target


def cumulative(
    S: Float[Array, "*dims"], axis: int, reverse: bool = False
) -> Float[Array, "*dims"]:
    """Return `jax.lax.cumsum(S, axis, reverse)`.

    On CPU, XLA's version passes over the array once for every power of two of its
    length. A loop that adds one slice after another takes a quarter of its time, for
    (2, 169, 513) in float32. The loop's rounding errors grow with the length, not with
    its logarithm.
    """
    if not target().scans:
        return lax.cumsum(S, axis, reverse)
    slices = jnp.moveaxis(S, axis, 0)
    zero = jnp.zeros_like(slices[0])

    def step(total: Array, new: Array) -> tuple[Array, Array]:
        total = total + new
        return total, total

    _, sums = lax.scan(step, zero, slices, reverse=reverse)
    return jnp.moveaxis(sums, 0, axis)
