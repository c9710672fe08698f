"""Applying any scale to frames whose bins are along the last axis."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Inexact, Int

from korvax_eqx._base import (
    AbstractElementwiseScale,
    AbstractFramesScale,
    AbstractResizingScale,
    AbstractScale,
)
from korvax_eqx._scope import refuse_padding, scope_of, told_by


def scaled_frames(
    scale: Any,
    S: Inexact[Array, "*rows n_frames n_bins"],
    n_frames: Int[Array, "*rows"] | None = None,
) -> Inexact[Array, "*rows n_frames_out n_bins_out"]:
    """Return the scaled frames of `S`, of which `n_frames` of each row are valid.

    **Raises:** `ValueError` for a scale of the user's that returns another shape, or,
    with `n_frames`, that is no function of one frame at a time.
    """
    if isinstance(scale, AbstractElementwiseScale):
        return _of_shape(scale, scale(S), S)
    if isinstance(scale, AbstractFramesScale):
        return _of_shape(scale, scale.frames(S, n_frames), S)
    S = jnp.swapaxes(S, -1, -2)
    if n_frames is not None:
        if not is_framewise(scale):
            promise = "it scales each frame on its own"
            refuse_padding(scale, promise, told_by("AbstractFramesScale"))
    scaled = _of_shape(scale, scale(S), S)
    return jnp.swapaxes(scaled, -1, -2)


def is_framewise(scale: Any) -> bool:
    """Whether a scale treats each frame on its own."""
    if not isinstance(scale, AbstractScale):
        return False
    method = "frames" if isinstance(scale, AbstractFramesScale) else "__call__"
    return scope_of(scale, method) in ("value", "frame")


def frames_left(scale: Any, n_frames: Any) -> Any:
    """Return how many frames are valid after a scale, of `n_frames` before it."""
    if n_frames is None or not isinstance(scale, AbstractResizingScale):
        return n_frames
    return scale.n_frames(n_frames)


def _of_shape(scale: Any, scaled: Any, S: Array) -> Array:
    shape = jnp.shape(scaled)
    if len(shape) == S.ndim and shape[:-2] == S.shape[:-2]:
        return scaled
    is_base = isinstance(scale, AbstractScale)
    name = type(scale).__name__ if is_base else getattr(scale, "__name__", repr(scale))
    raise ValueError(
        f"The scale `{name}` must return spectra of shape (*channels, n_bins_out, "
        f"n_frames), with the leading axes that it was given: {S.shape[:-2]}. Got the "
        f"shape {shape} for spectra of shape {S.shape}."
    )
