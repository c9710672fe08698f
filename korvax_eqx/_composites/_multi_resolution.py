"""The same losses on several transforms of two signals."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._core._plain import as_transform
from korvax_eqx._core._steps import AbstractTransform
from korvax_eqx._data import Term
from korvax_eqx._data._term import is_off
from korvax_eqx._engine._plan import path_of, unique_names
from korvax_eqx._names import snake_name
from korvax_eqx._transforms._stft import STFT
from korvax_eqx._types import LossFn, ScaleFn, TransformFn

from ._arguments import (
    PieceSize,
    check_piece_size,
    losses_and_scales,
    names_of,
    parts,
    weights_of,
)
from ._time_frequency import TimeFrequencyLoss


class MultiResolutionLoss(AbstractLoss):
    r"""Weighted sum of losses on spectra over several transforms.

    $$L(x, y) = \sum_r v_r \sum_i w_i\, \ell_i(s_i(T_r(x)), s_i(T_r(y)))$$

    that is, a `TimeFrequencyLoss` for each transform $T_r$; by default their mean.
    `MRSTFTLoss` is a special case with spectrograms of several sizes.
    """

    transform_fns: tuple[Any, ...]
    loss_fn: tuple[Any, ...]
    scale_fn: tuple[Any, ...]
    weights: Any
    resolution_weights: Any
    names: tuple[str, ...] | None = eqx.field(static=True)
    piece_size: PieceSize = eqx.field(static=True)

    def __init__(
        self,
        transform_fns: Sequence[TransformFn],
        loss_fn: LossFn | Sequence[LossFn],
        scale_fn: ScaleFn | Sequence[ScaleFn] | None = None,
        weights: Any = None,
        resolution_weights: Any = None,
        *,
        names: str | Sequence[str] | None = None,
        piece_size: PieceSize = "auto",
    ):
        """**Arguments:**

        - `transform_fns`: one transform for each resolution.
        - `loss_fn`, `scale_fn`, `weights`, `names`, `piece_size`: as in
            `TimeFrequencyLoss`, applied at every resolution.
        - `resolution_weights`: one number per resolution, like `weights`. `None`: the
            mean over resolutions.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        owner = "MultiResolutionLoss"
        self.transform_fns = parts(
            owner, "transform_fns", transform_fns, AbstractTransform
        )
        self.loss_fn, self.scale_fn = losses_and_scales(owner, loss_fn, scale_fn)
        self.weights = weights_of(owner, weights, len(self.loss_fn))
        self.resolution_weights = weights_of(
            owner,
            resolution_weights,
            len(self.transform_fns),
            "resolution_weights",
            "resolutions",
        )
        self.names = names_of(owner, names, len(self.loss_fn), "losses")
        self.piece_size = check_piece_size(owner, piece_size)

    @property
    def has_parts(self) -> bool:
        return True

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        losses = [
            TimeFrequencyLoss(
                transform,
                self.loss_fn,
                self.scale_fn,
                self.weights,
                names=self.names,
                piece_size=self.piece_size,
            )
            for transform in self.transform_fns
        ]
        labels = unique_names([label_of(t) for t in self.transform_fns])
        weights = means_of(self.resolution_weights, len(losses))
        return tuple(
            term.part_of(label, weight)
            for loss, label, weight in zip(losses, labels, weights, strict=True)
            if not is_off(weight)
            for term in loss.terms()
        )


def label_of(transform: Any) -> str:
    """Return the name of a transform's terms, for logging."""
    first = path_of(as_transform(transform))[0]
    return str(first.n_fft) if isinstance(first, STFT) else snake_name(transform)


def means_of(weights: Any, n: int) -> tuple[Any, ...] | Float[Array, " n"]:
    """Return the weights of `n` things, by default those of their mean."""
    return (1 / n,) * n if weights is None else weights
