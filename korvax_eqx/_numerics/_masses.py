"""Masses of frames: totals, lower and upper limits, and roots of distances."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float


def above(mass: Float[Array, "*frames 1"], floor: float) -> tuple[Array, Array]:
    """Return `max(mass, floor)`, and `mass` as a fraction of that."""
    is_quiet = mass < floor
    return jnp.where(is_quiet, floor, mass), jnp.where(is_quiet, mass / floor, 1)


def root(W: Float[Array, "*dims"], p: float) -> Float[Array, "*dims"]:
    """Return `W^(1/p)`, with derivative 0 at 0."""
    if p == 1:
        return W
    safe = jnp.where(W == 0, 1, W)
    return jnp.where(W == 0, 0, jnp.sqrt(safe) if p == 2 else safe ** (1 / p))


def at_most(high: Any, u: Float[Array, "*frames n"]) -> Float[Array, "*frames n"]:
    """Return the smaller one. Keeps NaN, which XLA's minimum for CPU may drop."""
    return jnp.where(u > high, high, u)


def total_mass(u: Float[Array, "*frames n_bins"]) -> Float[Array, "*frames 1"]:
    """Return the total mass of each frame."""
    return jnp.sum(u, axis=-1, keepdims=True)
