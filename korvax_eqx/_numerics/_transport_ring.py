"""Optimal transport around a ring, by the level median."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ._ranks import along_last
from ._transport_scan import BLOCK, pad, prefix_sum, shift


def on_a_ring(
    u: Float[Array, "*batch n"],
    v: Float[Array, "*batch n"],
    x: Float[Array, " n"],
    period: Float[Array, ""],
) -> tuple[Array, Array, Array, Array]:
    """`W_1` and its derivatives with respect to `u`, `v` and `x`."""
    n = x.size
    D = prefix_sum(pad(u - v, -n % BLOCK))[..., :n]
    arcs = along_last(shift(x, -1, x[0] + period) - x, D)
    at = _median_index(*lax.stop_gradient((D, arcs)))
    offset = D - jnp.take_along_axis(D, at, -1)
    # Exactly zero at the median, even if XLA computes `D` twice and rounds differently.
    index = lax.broadcasted_iota(jnp.int32, D.shape, D.ndim - 1)
    offset = jnp.where(index == at, 0, offset)
    sign = jnp.sign(lax.stop_gradient(offset))
    W = jnp.sum(lax.stop_gradient(sign * offset * arcs), -1)
    # The arcs at the median share the rest, so that the sum of all forces is zero.
    level_arcs = jnp.where(sign == 0, arcs, 0)
    total = jnp.sum(level_arcs, -1, keepdims=True)
    rest = jnp.sum(sign * arcs, -1, keepdims=True)
    force = sign * arcs - level_arcs * (rest / jnp.where(total > 0, total, 1))
    G = prefix_sum(pad(force, -n % BLOCK), reverse=True)[..., :n]
    gap = sign * offset
    return W, G, -G, jnp.roll(gap, 1, -1) - gap


def _median_index(
    values: Float[Array, "*batch n"], weights: Float[Array, "*ones n"]
) -> Int[Array, "*batch 1"]:
    """Return the index of the weighted median: the least value with half the weight
    at or below it."""
    n = values.shape[-1]
    index = lax.broadcasted_iota(jnp.int32, values.shape, values.ndim - 1)
    weights = jnp.broadcast_to(weights, values.shape)
    _, weights, index = lax.sort((values, weights, index), num_keys=1)
    cumulative = jnp.cumsum(weights, -1)
    is_below = cumulative < cumulative[..., -1:] / 2
    k = jnp.minimum(jnp.sum(is_below, -1, keepdims=True, dtype=jnp.int32), n - 1)
    return jnp.take_along_axis(index, k, -1)
