"""A weighted sum of losses on one transform of two signals."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._core._plain import as_scale, as_spectral_loss, as_transform
from korvax_eqx._core._steps import AbstractTransform
from korvax_eqx._data import Term
from korvax_eqx._engine._plan import path_of
from korvax_eqx._types import LossFn, ScaleFn, TransformFn

from ._arguments import (
    PieceSize,
    check_piece_size,
    losses_and_scales,
    names_of,
    part,
    term_names,
    weights_of,
)


class TimeFrequencyLoss(AbstractLoss):
    r"""Weighted sum of losses on one time-frequency transform of both signals.

    $$L(x, y) = \sum_i w_i\, \ell_i(s_i(T(x)), s_i(T(y)))$$

    with the transform $T$, the losses $\ell_i$, the scales $s_i$ and the weights $w_i$.
    Each of them can be any callable of the right type. Classes of the library, or
    derived from its bases, are evaluated in pieces and across devices; a plain function
    is evaluated on the whole batch at once.
    """

    transform_fn: Any
    loss_fn: tuple[Any, ...]
    scale_fn: tuple[Any, ...]
    weights: Any
    names: tuple[str, ...] | None = eqx.field(static=True)
    piece_size: PieceSize = eqx.field(static=True)

    def __init__(
        self,
        transform_fn: TransformFn,
        loss_fn: LossFn | Sequence[LossFn],
        scale_fn: ScaleFn | Sequence[ScaleFn] | None = None,
        weights: Any = None,
        *,
        names: str | Sequence[str] | None = None,
        piece_size: PieceSize = "auto",
    ):
        """**Arguments:**

        - `transform_fn`: signals to spectra, e.g. `Spectrogram()`.
        - `loss_fn`: one loss on two spectra, or a sequence of them.
        - `scale_fn`: one scale for all losses, or a sequence of one per loss. It is
            applied to both spectra first. `None`: no scale.
        - `weights`: one number per loss. `None`: 1 / (number of losses) each. Numbers
            and NumPy arrays are configuration, and a term of weight 0 is not computed.
            A JAX array of shape `(n_losses,)` is a leaf: it can be learned, or annealed
            without recompiling.
        - `names`: names of the terms, for logging. `None`: made of scale and loss, e.g.
            `"power_to_db/elementwise"`.
        - `piece_size`: number of signals evaluated at a time. `"auto"`: about 90000
            samples on CPU (which fit the cache), 34 million on GPU, 17 million on TPU.
            `None`: all at once. It changes only memory and speed.

        **Raises:** `ValueError` if an argument is not callable or is the wrong kind of
        part, or if the numbers of losses, scales, weights and names differ.
        """
        owner = "TimeFrequencyLoss"
        self.transform_fn = part(owner, "transform_fn", transform_fn, AbstractTransform)
        self.loss_fn, self.scale_fn = losses_and_scales(owner, loss_fn, scale_fn)
        self.weights = weights_of(owner, weights, len(self.loss_fn))
        self.names = names_of(owner, names, len(self.loss_fn), "losses")
        self.piece_size = check_piece_size(owner, piece_size)

    @property
    def term_weights(self) -> tuple[float, ...] | Float[Array, " n_losses"]:
        """The weights, one per loss."""
        n_losses = len(self.loss_fn)
        return (1 / n_losses,) * n_losses if self.weights is None else self.weights

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        path = path_of(as_transform(self.transform_fn))
        labels = term_names(self.loss_fn, self.scale_fn, self.names)
        columns = (labels, self.scale_fn, self.loss_fn, self.term_weights)
        return tuple(
            Term(
                (*path, *path_of(as_scale(scale))),
                as_spectral_loss(loss),
                weight,
                label,
                piece_size=self.piece_size,
            )
            for label, scale, loss, weight in zip(*columns, strict=True)
        )


@checks.owned_by("time_frequency_loss")
def time_frequency_loss(
    x: Float[Array, "*channels n_samples"],
    y: Float[Array, "*channels n_samples"],
    /,
    transform_fn: TransformFn,
    loss_fn: LossFn | Sequence[LossFn],
    scale_fn: ScaleFn | Sequence[ScaleFn] | None = None,
    weights: Any = None,
) -> Float[Array, ""]:
    """Apply `TimeFrequencyLoss`.

    If one of the arguments is a function or `lambda` of your own, operations are
    compiled one by one. Call it inside a function under `jax.jit` instead.
    """
    return TimeFrequencyLoss(transform_fn, loss_fn, scale_fn, weights)(x, y)
