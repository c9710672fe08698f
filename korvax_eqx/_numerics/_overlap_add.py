"""Adding up overlapping frames, and the weight of each sample in the sum."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._frames import windowed_frames


def overlap_add(
    frames: Float[Array, "*channels n_frames frame_length"],
    window: Float[Array, " win_length"],
    hop_length: int,
    zeros: tuple[int, int] = (0, 0),
) -> Float[Array, "*channels n_samples"]:
    """Return the sum of frames times `window`, each `hop_length` after the one before.

    It is the transpose of `windowed_frames`, which also explains `zeros`.
    """
    *lead, n_frames, frame_length = frames.shape
    shape = *lead, (n_frames - 1) * hop_length + frame_length
    x = jax.ShapeDtypeStruct(shape, frames.dtype)

    def framed(x: Array) -> Array:
        return windowed_frames(x, window, hop_length, zeros=zeros)

    (y,) = jax.linear_transpose(framed, x)(frames)
    return y


def inverse_weights(
    window: np.ndarray | Float[Array, " win_length"],
    hop_length: int,
    n_frames: int,
    dtype: Any,
) -> Float[Array, " n_samples"]:
    r"""Return $1 / \sum_t w_{n - tH}^2$ for each sample $n$, 0 where the sum is 0.

    Sums below the largest one times the squared machine epsilon, the rounding of
    spectra, count as 0. Fewer frames contain the first and the last samples, so these
    have weights of their own. The other weights repeat with the hop.
    """
    squares: Any = window**2
    win_length = squares.shape[0]
    n_slots = -(-win_length // hop_length)
    n_few = min(n_frames, n_slots)
    if isinstance(window, np.ndarray):
        sums = summed(squares, hop_length, n_few)
    else:
        ones = jnp.ones((n_few, win_length), squares.dtype)
        sums = overlap_add(ones, squares, hop_length)
        sums = jnp.pad(sums, (0, n_slots * hop_length - win_length))
        sums = sums.reshape(-1, hop_length)
    xp: Any = np if isinstance(window, np.ndarray) else jnp
    is_seen = sums > float(jnp.finfo(dtype).eps) ** 2 * xp.max(sums)
    inverse = xp.where(is_seen, 1 / xp.where(is_seen, sums, 1.0), 0.0)
    inverse = jnp.asarray(inverse, dtype)
    if n_frames > n_slots:
        first, last = inverse[: n_slots - 1], inverse[n_slots:]
        n_whole = n_frames - n_slots + 1
        whole = jnp.broadcast_to(inverse[n_slots - 1], (n_whole, hop_length))
        inverse = jnp.concatenate([first, whole, last])
    return inverse.reshape(-1)[: (n_frames - 1) * hop_length + win_length]


def summed(
    squares: Float[np.ndarray, " win_length"], hop_length: int, n_frames: int
) -> Float[np.ndarray, "n_hops hop_length"]:
    """Return the sum of `n_frames` frames that overlap, hop by hop, in float64."""
    n_slots = -(-squares.size // hop_length)
    slots = np.zeros((n_slots, hop_length))
    slots.reshape(-1)[: squares.size] = squares
    if n_frames == n_slots:  # with only one addition per sample
        rising = np.cumsum(slots, axis=0)
        falling = np.cumsum(slots[:0:-1], axis=0)[::-1]
        return np.concatenate([rising, falling])
    sums = np.zeros((n_frames + n_slots - 1, hop_length))
    for t in range(n_frames):
        sums[t : t + n_slots] += slots
    return sums
