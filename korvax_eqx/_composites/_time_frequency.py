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
    r"""Weighted sum of losses on one time-frequency transform of two signals.

    $$L(x, y) = \sum_i w_i\, \ell_i(s_i(T(x)), s_i(T(y)))$$

    with the transform $T$, the losses $\ell_i$, the scales $s_i$ and the weights
    $w_i$. Any callable of the right type is accepted for each of them. The library's
    classes (and those derived from its bases) are evaluated in pieces and across
    devices; a plain function is evaluated on the whole batch at once.
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
        - `scale_fn`: the scale that is applied to both spectra before each loss, or
            one for all; `None` for none.
        - `weights`: a number for each loss; `None` weighs each by 1 / (number of
            losses). Numbers and NumPy arrays are configuration, and a term of weight
            0 is not computed. A JAX array of shape `(n_losses,)` is a leaf: it can be
            learned, or annealed without compiling again.
        - `names`: what each term is called in a log; `None`: after scale and loss,
            e.g. `"power_to_db/elementwise"`.
        - `piece_size`: how many signals are evaluated at a time: `"auto"` for about
            90000 samples on CPU (what fits the cache) and 4 million on GPU and TPU,
            a number, or `None` for all at once. It changes memory and speed only.

        **Raises:** `ValueError` if something is not callable, or a part of another
        kind, or if the numbers of losses, scales, weights and names disagree.
        """
        owner = "TimeFrequencyLoss"
        self.transform_fn = part(owner, "transform_fn", transform_fn, AbstractTransform)
        self.loss_fn, self.scale_fn = losses_and_scales(owner, loss_fn, scale_fn)
        self.weights = weights_of(owner, weights, len(self.loss_fn))
        self.names = names_of(owner, names, len(self.loss_fn), "losses")
        self.piece_size = check_piece_size(owner, piece_size)

    @property
    def term_weights(self) -> tuple[float, ...] | Float[Array, " n_losses"]:
        """The weights in use, one for each loss."""
        n_losses = len(self.loss_fn)
        return (1 / n_losses,) * n_losses if self.weights is None else self.weights

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        path = as_transform(self.transform_fn).path
        labels = term_names(self.loss_fn, self.scale_fn, self.names)
        columns = (labels, self.scale_fn, self.loss_fn, self.term_weights)
        return tuple(
            Term(
                (*path, *as_scale(scale).path),
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

    With a function or `lambda` of your own among the arguments, operations are compiled
    one by one: call it inside a function of your own under `jax.jit`.
    """
    return TimeFrequencyLoss(transform_fn, loss_fn, scale_fn, weights)(x, y)
