"""Cutting signals into overlapping frames without gathers.

A gather's transpose is a scatter-add: slow on CPU, not deterministic on GPU. Instead, a
frame is put together from whole hops of the signal, i.e. from shifted slices of one
reshaped array, whose transposes are pads and adds.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._platform import target
from ._ranks import along_last

# Frames of more hops than this are gathered: one slice per hop would make a program of
# thousands of operations. Measurements use such a high overlap, losses do not.
_MOST_SLICES = 64
_LEAST_ZEROS = 1024


def n_frames(n_samples: int, frame_length: int, hop_length: int) -> int:
    """Return the number of frames that fit into `n_samples` (0 if none does)."""
    return max(0, 1 + (n_samples - frame_length) // hop_length)


def windowed_frames(
    x: Float[Array, "*channels n_samples"],
    window: Float[Array, " win_length"],
    hop_length: int,
    left: int = 0,
    right: int = 0,
    *,
    zeros: tuple[int, int] = (0, 0),
) -> Float[Array, "*channels n_frames frame_length"]:
    """Return the frames that fit into `x`, times `window`; the last axis is a frame.

    `x` is padded with `left` and `right` zeros, and the window with `zeros`. Each hop
    is multiplied by its part of the window when it is put into the frame: on CPU this
    takes half the time of framing first and then windowing. Samples outside the window
    are not read.
    """
    win_length, n_samples = window.shape[-1], x.shape[-1]
    n = n_frames(left + n_samples + right, sum(zeros) + win_length, hop_length)
    n_hops, rest = divmod(win_length, hop_length)
    n_slots = n_hops + (rest > 0)
    length = (n - 1 + n_slots) * hop_length
    start = zeros[0] - left  # where the first window starts in `x`
    before = _common_zeros(-start)
    x = padded(x, before, _common_zeros(length + start - n_samples))
    x = lax.slice_in_dim(x, before + start, before + start + length, axis=-1)
    if n_slots > _MOST_SLICES:
        starts = jnp.arange(n)[:, None] * hop_length
        frames = x[..., starts + jnp.arange(win_length)[None, :]]
        return padded(frames * along_last(window, frames), *zeros)
    lead = x.shape[:-1]
    hops = lax.reshape(x, (*lead, n - 1 + n_slots, hop_length))
    # Whole hops are joined along an axis of their own: on CPU this is faster than along
    # the last axis. With partial hops or zeros, it would need a copy.
    is_whole = not (rest or any(zeros)) and target().stacks_hops
    slots = []
    for i in range(n_slots):
        first = i * hop_length
        part = lax.slice_in_dim(window, first, min(first + hop_length, win_length))
        hop = lax.slice_in_dim(hops, i, i + n, axis=-2)
        hop = lax.slice_in_dim(hop, 0, part.shape[0], axis=-1)
        part = lax.broadcast_in_dim(part, hop.shape, (hop.ndim - 1,))
        slot = lax.mul(hop, part)
        slots.append(lax.expand_dims(slot, (hop.ndim - 1,)) if is_whole else slot)
    if is_whole:
        frames = lax.concatenate(slots, len(lead) + 1)
        return lax.reshape(frames, (*lead, n, win_length))
    first, last = (_zeros_like(slots[0], k) for k in zeros)
    return lax.concatenate([*first, *slots, *last], len(lead) + 1)


def _zeros_like(
    slot: Float[Array, "*lead hop_length"], n: int
) -> tuple[Float[Array, "*lead n"], ...]:
    """Return an array of `n` zeros for each frame, or no array if `n` is 0."""
    if n == 0:
        return ()
    zero = lax.full_like(lax.slice_in_dim(slot, 0, 1, axis=-1), 0)
    shape = (*slot.shape[:-1], n)
    return (lax.broadcast_in_dim(zero, shape, tuple(range(slot.ndim))),)


def _common_zeros(n: int) -> int:
    """Return how many zeros to pad with if at least `n` are needed.

    The number is the same for all frame lengths up to 2048, so that XLA pads a signal
    once for all resolutions of a loss. On CPU this saves an eighth of its time.
    """
    return max(_LEAST_ZEROS, 1 << (n - 1).bit_length()) if n > 0 else 0


def padded(
    x: Float[Array, "*channels n_samples"], left: int, right: int
) -> Float[Array, "*channels n_padded"]:
    """Return `x` with zeros before and after its last axis."""
    none = (0, 0, 0)
    widths = (*[none] * (x.ndim - 1), (left, right, 0))
    return lax.pad(x, jnp.zeros((), x.dtype), widths)
