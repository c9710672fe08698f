"""Comparing the spectra of one transform, each as several losses see them."""

import functools
import operator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, Int

from korvax_eqx._base import (
    AbstractBatchLoss,
    AbstractFramesLoss,
    AbstractFramesTransform,
    AbstractScale,
    AbstractSpectralLoss,
    AbstractTransform,
)
from korvax_eqx._frame_counts import frame_counts
from korvax_eqx._names import name_of
from korvax_eqx._numerics._padding import cut_off
from korvax_eqx._scales._chain import Chain
from korvax_eqx._scales._frames import frames_left, scaled_frames
from korvax_eqx._scope import refuse_padding, scope_of, told_by
from korvax_eqx._static import has_plain_callables

from ._comparison import AbstractComparison, Columns, Targets
from ._pieces import Pieces


class SpectralComparison(AbstractComparison):
    """A transform of both signals, and pairs of a scale and a loss that compare them.

    Spectra are handed on with the bins along the last axis, as an FFT makes them: XLA
    does copy them for another order. Parts of the user's get the public order.
    """

    transform: Any
    scales: tuple[Any, ...]
    losses: tuple[Any, ...]
    names: tuple[str, ...] = eqx.field(static=True)
    weights: tuple[Any, ...]
    piece_size: Pieces = eqx.field(static=True)
    unit: int = eqx.field(static=True, default=0)

    @property
    def event_ndim(self) -> int:
        return 1

    @property
    def is_rowwise(self) -> bool:
        bases = (AbstractScale,) * len(self.scales)
        return (
            _keeps_rows(self.transform, AbstractTransform)
            and all(map(_keeps_rows, self.scales, bases))
            and all(_keeps_rows(loss, AbstractSpectralLoss) for loss in self.losses)
        )

    @property
    def n_columns(self) -> tuple[int, ...]:
        # A term of one column is its mean: a loss of a batch with one sum, of which it
        # is a function, gets a second column, of zeros.
        return tuple(
            max(2, loss.n_sums) if self._is_of_batch(loss) else 1
            for loss in self.losses
        )

    def _is_of_batch(self, loss: Any) -> bool:
        return self.is_rowwise and isinstance(loss, AbstractBatchLoss)

    def target(
        self,
        y: Float[Array, "*rows n_samples"],
        n_samples: Int[Array, "*rows"] | None = None,
    ) -> Targets:
        """Return the spectra of the target in each of the scales."""
        frames, n_frames = self._frames(y, n_samples)
        scales, _ = self._distinct_scales()
        return tuple(
            cut_off(
                scaled_frames(scale, frames, n_frames), frames_left(scale, n_frames)
            )
            for scale in scales
        )

    def values(
        self,
        x: Float[Array, "*rows n_samples"],
        target: Targets,
        n_samples: Int[Array, "*rows"] | None = None,
    ) -> Columns:
        spectra = self.target(x, n_samples)
        n_frames = self._n_frames_of(x, n_samples)
        scales, which = self._distinct_scales()
        left = [frames_left(scale, n_frames) for scale in scales]
        return tuple(
            column
            for loss, i in zip(self.losses, which, strict=True)
            for column in self._columns(loss, spectra[i], target[i], left[i])
        )

    def is_long_enough(
        self, n_samples: Int[Array, "*rows"], size: int, dtype: Any
    ) -> Bool[Array, "*rows"]:
        if isinstance(self.transform, AbstractFramesTransform):
            n_frames = self.transform.n_frames(n_samples)
            return (n_samples > 0) & self._are_enough(n_frames)
        if scope_of(self.transform, "__call__") not in ("value", "frame"):
            promise = "what follows a signal does not change its frames"
            refuse_padding(self.transform, promise, told_by("AbstractFramesTransform"))
        counts = frame_counts(self.transform, size)
        is_enough = [self._are_enough(n) for n in range(counts.max() + 1)]
        return n_samples >= int(np.sum(~np.asarray(is_enough)[counts]))

    def _are_enough(self, n_frames: Any) -> Any:
        """Return whether so many frames are enough for every scale and loss."""
        pairs = zip(self.scales, self.losses, strict=True)
        each = [
            frames_left(scale, n_frames) >= least_frames(loss) for scale, loss in pairs
        ]
        return functools.reduce(operator.and_, each)

    def apart(self) -> tuple[AbstractComparison, ...]:
        return (self,)

    def finish(
        self, term: int, means: tuple[Float[Array, ""], ...]
    ) -> Float[Array, ""]:
        loss = self.losses[term]
        if not self._is_of_batch(loss):
            return means[0]
        return loss.finish(means[: loss.n_sums])

    def joined(self, other: AbstractComparison) -> "SpectralComparison | None":
        if not isinstance(other, SpectralComparison) or not self._is_shared(other):
            return None
        return SpectralComparison(
            transform=self.transform,
            scales=self.scales + other.scales,
            losses=self.losses + other.losses,
            names=self.names + other.names,
            weights=self.weights + other.weights,
            piece_size=self.piece_size,
            unit=self.unit,
        )

    def _is_shared(self, other: "SpectralComparison") -> bool:
        """Whether both make the same spectra in the same way."""
        return (
            self.is_rowwise == other.is_rowwise
            and self.piece_size == other.piece_size
            and is_equal(self.transform, other.transform)
        )

    def _distinct_scales(self) -> tuple[list[Any], list[int]]:
        """Return the scales that differ, and which of them each term has."""
        scales, which = [], []
        for scale in self.scales:
            same = (i for i, other in enumerate(scales) if is_equal(scale, other))
            index = next(same, len(scales))
            which.append(index)
            if index == len(scales):
                scales.append(scale)
        return scales, which

    def _frames(
        self, x: Float[Array, "*rows n_samples"], n_samples: Int[Array, "*rows"] | None
    ) -> tuple[Inexact[Array, "*rows n_frames n_bins"], Int[Array, "*rows"] | None]:
        if isinstance(self.transform, AbstractFramesTransform):
            frames = self.transform.frames(x, n_samples)
            is_right = frames.ndim == x.ndim + 1 and frames.shape[:-2] == x.shape[:-1]
            shape = frames.shape
        else:
            S = self.transform(x)
            shape = jnp.shape(S)
            is_right = len(shape) == x.ndim + 1 and shape[:-2] == x.shape[:-1]
            frames = jnp.swapaxes(S, -1, -2) if is_right else S
        if not is_right:
            raise ValueError(
                f"The transform `{name_of(self.transform)}` must return spectra of "
                "shape (*channels, n_bins, n_frames), with the leading axes of the "
                f"signals: {x.shape[:-1]}. Got the shape {shape} for signals of shape "
                f"{x.shape}."
            )
        return frames, self._n_frames_of(x, n_samples)

    def _n_frames_of(
        self, x: Float[Array, "*rows n_samples"], n_samples: Int[Array, "*rows"] | None
    ) -> Int[Array, "*rows"] | None:
        if n_samples is None:
            return None
        return self._n_frames(n_samples, x.shape[-1], x.dtype)

    def _n_frames(
        self, n_samples: Int[Array, "*rows"], size: int, dtype: Any
    ) -> Int[Array, "*rows"]:
        if isinstance(self.transform, AbstractFramesTransform):
            return jnp.asarray(self.transform.n_frames(n_samples))
        if scope_of(self.transform, "__call__") not in ("value", "frame"):
            promise = "what follows a signal does not change its frames"
            refuse_padding(self.transform, promise, told_by("AbstractFramesTransform"))
        counts = frame_counts(self.transform, size)
        return jnp.asarray(counts, n_samples.dtype)[n_samples]

    def _columns(
        self,
        loss: Any,
        S_x: Inexact[Array, "*rows n_frames n_bins"],
        S_y: Inexact[Array, "*rows n_frames n_bins"],
        n_frames: Int[Array, "*rows"] | None,
    ) -> Columns:
        if self._is_of_batch(loss):
            sums = loss.sums(S_x, S_y, n_frames)
            return sums if len(sums) > 1 else (*sums, jnp.zeros_like(sums[0]))
        if self.is_rowwise and isinstance(loss, AbstractFramesLoss):
            return (
                self._of_shape(loss, loss.values(S_x, S_y, n_frames), S_x.ndim - 2),
            )
        if self.is_rowwise and n_frames is not None:
            if scope_of(loss, "__call__") not in ("value", "frame"):
                promise = "it is a mean of numbers of one frame each"
                refuse_padding(loss, promise, told_by("AbstractFramesLoss"))
            S_x, S_y = S_x[..., None], S_y[..., None]  # every frame as a spectrogram
            each = self._of_shape(loss, jax.vmap(jax.vmap(loss))(S_x, S_y), 2)
            n = jnp.maximum(n_frames, 1).astype(each.dtype)
            return (jnp.sum(cut_off(each, n_frames), -1) / n,)
        S_x, S_y = jnp.swapaxes(S_x, -1, -2), jnp.swapaxes(S_y, -1, -2)
        if not self.is_rowwise:
            return (self._of_shape(loss, loss(S_x, S_y), 0),)
        return (self._of_shape(loss, jax.vmap(loss)(S_x, S_y), 1),)

    def _of_shape(self, loss: Any, value: Any, ndim: int) -> Array:
        shape = jnp.shape(value)
        if len(shape) == ndim:
            return jnp.asarray(value)
        raise ValueError(
            f"The loss `{name_of(loss)}` must return a scalar. Got the shape "
            f"{shape[ndim:]}. Average over the axes that are left."
        )


def least_frames(loss: Any) -> int:
    """Return how many frames a loss needs: one, unless it says otherwise."""
    return getattr(loss, "least_frames", 1)


def is_equal(one: Any, other: Any) -> bool:
    """Whether two parts are one configuration, or one object."""
    if one is other:
        return True
    leaves, structure = jax.tree.flatten(one)
    others, other_structure = jax.tree.flatten(other)
    return (
        structure == other_structure
        and len(leaves) == len(others)
        and all(a is b for a, b in zip(leaves, others, strict=True))
    )


def _keeps_rows(part: Any, base: type) -> bool:
    if isinstance(part, Chain):  # promises as much as its scales do
        return all(_keeps_rows(scale, AbstractScale) for scale in part.scales)
    return isinstance(part, base) and not has_plain_callables(part)
