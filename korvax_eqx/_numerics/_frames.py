"""Cutting signals into overlapping frames without gathers.

A gather's transpose is a scatter-add: slow on CPU, not deterministic on GPU. A frame
is instead put together from whole hops of the signal, i.e. from shifted views of one
reshape, whose transposes are pads and adds.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

# Frames of more hops than this are gathered: one slice a hop would make programs of
# thousands of operations, and an overlap this high is computed for measurements, not
# for losses.
_MOST_SLICES = 64


def n_frames(n_samples: int, frame_length: int, hop_length: int) -> int:
    """Return the number of frames that fit into `n_samples` (0 if none does)."""
    return max(0, 1 + (n_samples - frame_length) // hop_length)


def frame(
    x: Float[Array, "*channels n_samples"], frame_length: int, hop_length: int
) -> Float[Array, "*channels n_frames frame_length"]:
    """Return the frames of `x` that fit; frames are contiguous (last axis)."""
    n = n_frames(x.shape[-1], frame_length, hop_length)
    n_hops, rest = divmod(frame_length, hop_length)
    n_slices = n_hops + (rest > 0)
    if n_slices > _MOST_SLICES:
        starts = jnp.arange(n) * hop_length
        return x[..., starts[:, None] + jnp.arange(frame_length)]
    length = (n - 1 + n_slices) * hop_length
    missing = max(0, length - x.shape[-1])
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])[..., :length]
    hops = x.reshape(*x.shape[:-1], n - 1 + n_slices, hop_length)
    widths = [hop_length] * n_hops + [rest] * (rest > 0)
    pieces = [hops[..., i : i + n, :width] for i, width in enumerate(widths)]
    return pieces[0] if n_slices == 1 else jnp.concatenate(pieces, axis=-1)
