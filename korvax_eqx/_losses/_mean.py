"""Sums and means over the valid frames of spectra."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int


def mean_over_frames(
    S: Float[Array, "*rows n_frames n_bins"], n_frames: Int[Array, "*rows"] | None
) -> Float[Array, "*rows"]:
    """Return the mean over bins and frames, of which those not valid are zero.

    Without any valid frame it is 0.
    """
    if n_frames is None:
        return jnp.mean(S, axis=(-2, -1))
    return jnp.sum(S, axis=(-2, -1)) / n_elements(S, n_frames)


def total(S: Float[Array, "*rows n_frames n_bins"]) -> Float[Array, "*rows"]:
    """Return the sum over bins and frames, of which those not valid are zero."""
    return jnp.sum(S, axis=(-2, -1))


def n_elements(
    S: Inexact[Array, "*rows n_frames n_bins"], n_frames: Int[Array, "*rows"] | None
) -> float | Float[Array, "*rows"]:
    """Return how many values of each row are valid, to divide by: at least 1."""
    if n_frames is None:
        return float(S.shape[-2] * S.shape[-1])
    # Floats: the number may be beyond the range of 32-bit integers.
    n = jnp.maximum(n_frames, 1).astype(jnp.finfo(S.dtype).dtype)
    return n * S.shape[-1]
