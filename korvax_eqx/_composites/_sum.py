"""A weighted sum of losses on signals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxtyping import PRNGKeyArray

from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._data import Term
from korvax_eqx._data._term import is_off

from ._parts import (
    check_losses,
    check_part_weights,
    part_losses,
    part_names,
    part_weights,
    split_key,
    terms_of_part,
)


class SumLoss(AbstractLoss):
    r"""Weighted sum of losses on signals: $L(x, y) = \sum_i w_i L_i(x, y)$.

    The parts can be of any kind: losses in the time domain, time-frequency losses,
    other sums, and functions of two batches of signals. They are evaluated in one pass:
    equal transforms are computed once, there is one gradient, and memory does not grow
    with the number of parts. A plain function is evaluated separately, on the whole
    batch.

    Terms are named after part and term, e.g. `"stft/2048/log"`, or after the part alone
    if it has a single term.
    """

    losses: Any
    weights: Any

    def __init__(
        self,
        losses: Mapping[str, Callable[..., Any]] | Sequence[Callable[..., Any]],
        weights: Any = None,
    ):
        """**Arguments:**

        - `losses`: a mapping from names to losses, or a sequence of losses, which are
            named after their classes.
        - `weights`: one number per part, as a sequence or a mapping with the same
            names. `None`: all 1. A part of weight 0 is not computed. A JAX array of
            shape `(n_losses,)`, or JAX scalars in a mapping, are leaves: they can be
            learned, or annealed without recompiling.

        **Raises:** `ValueError` if a part is not a loss on signals, or names or number
            of the weights differ.
        """
        self.losses = check_losses("SumLoss", losses)
        self.weights = check_part_weights("SumLoss", weights, self.losses)

    @property
    def has_parts(self) -> bool:
        return True

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        keys = split_key(key, len(self.losses))
        weights = part_weights(self.weights, self.losses)
        losses, names = part_losses(self.losses), part_names(self.losses)
        parts = zip(losses, names, weights, keys, strict=True)
        return tuple(
            term
            for loss, name, weight, key in parts
            if not is_off(weight)
            for term in terms_of_part(loss, name, weight, key)
        )
