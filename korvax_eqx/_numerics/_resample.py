"""Resampling by products of blocks of the signal with a matrix."""

from jax import lax
from jaxtyping import Array, Float

from korvax_eqx._tables._resampling import Resampler

from ._filter_bank import block_products
from ._frames import padded


def resample(
    x: Float[Array, "*rows n_samples"], resampler: Resampler, n_out: int
) -> Float[Array, "*rows n_out"]:
    """Return the first `n_out` samples at the new rate; x is 0 beyond its ends."""
    block, n_slots = resampler.block, resampler.n_blocks
    n = -(-n_out // resampler.matrix.shape[1])
    length = (n + n_slots - 1) * block
    x = padded(x, resampler.left, length - resampler.left - x.shape[-1])
    blocks = lax.reshape(x, (*x.shape[:-1], n + n_slots - 1, block))
    y = block_products(blocks, resampler.matrix)
    y = y.reshape(*x.shape[:-1], -1)
    return lax.slice_in_dim(y, 0, n_out, axis=-1)
