"""Comparing signals that are much longer than a piece, a segment at a time."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array

from korvax_eqx._base import (
    AbstractBatchLoss,
    AbstractFramesLoss,
    is_local,
)
from korvax_eqx._names import name_of, still_says
from korvax_eqx._numerics._padding import padded_at_ends
from korvax_eqx._scales._frames import is_framewise
from korvax_eqx._sharding._segments import Framing

from ._comparison import AbstractComparison, with_fields
from ._spectral import SpectralComparison


@dataclasses.dataclass(frozen=True)
class Ends:
    """How many samples a segment is padded by, where it is at an end of the signal."""

    before: int = 0
    after: int = 0


def framing_of(
    comparison: AbstractComparison, n_samples: int
) -> tuple[Framing, int] | None:
    """Return where the frames lie of a comparison whose signals may be cut, and how
    many there are.

    That is one whose columns are means or sums over frames, each of which is made of
    the samples of that frame alone.
    """
    if not isinstance(comparison, SpectralComparison) or not comparison.is_rowwise:
        return None
    if comparison.piece_size not in ("auto", "dense"):
        return None
    if not is_local(comparison.transform):
        return None
    if not all(map(is_framewise, comparison.scales)):
        return None
    if not all(_over_frames(loss) for loss in comparison.losses):
        return None
    framing, _ = comparison.transform.framing()
    return framing, int(comparison.transform.n_frames(n_samples))


def segment_columns(
    comparison: Any, x: Array, y: Array, n_frames: int, ends: Ends
) -> tuple[Array, ...]:
    """Return what a segment adds to the columns of signals of `n_frames` frames."""
    transform: Any = comparison.transform
    framing, inside = transform.framing()
    x, y = (padded_at_ends(s, framing, ends.before, ends.after) for s in (x, y))
    share = int(inside.n_frames(x.shape[-1])) / n_frames
    comparison = with_fields(comparison, transform=inside)
    columns = comparison.values(x, comparison.target(y))
    return tuple(
        column * jnp.asarray(share, column.dtype) if is_mean else column
        for column, is_mean in zip(columns, _are_means(comparison), strict=True)
    )


def _over_frames(loss: Any) -> str | None:
    """Return what the loss says it is of its frames.

    **Raises:** `ValueError` if it says anything else.
    """
    is_of_batch = isinstance(loss, AbstractBatchLoss)
    if not (is_of_batch or isinstance(loss, AbstractFramesLoss)):
        return None
    kind: Any = getattr(loss, "over_frames", None)
    if kind not in ("mean", "sum", None):
        name = f"{name_of(loss)}.over_frames"
        raise ValueError(f"`{name}` must be 'mean', 'sum' or None. Got {kind!r}.")
    methods = ("sums",) if is_of_batch else ("values",)
    if kind is None:
        return None
    return kind if still_says(loss, "over_frames", *methods) else None


def _are_means(comparison: SpectralComparison) -> Sequence[bool]:
    kinds = zip(comparison.losses, comparison.n_columns, strict=True)
    return [_over_frames(loss) == "mean" for loss, n in kinds for _ in range(n)]
