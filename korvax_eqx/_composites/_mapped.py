"""A loss on mapped signals."""

from collections.abc import Callable
from typing import Any

from jaxtyping import PRNGKeyArray

from korvax_eqx._evaluation._comparison import AbstractComparison
from korvax_eqx._evaluation._loss import AbstractLoss
from korvax_eqx._evaluation._mapped import MappedComparison
from korvax_eqx._maps._base import AbstractSignalMap

from ._arguments import part
from ._parts import comparisons_of


class MappedLoss(AbstractLoss):
    r"""A loss on signals that are mapped before, $L(m(x), m(y))$.

    E.g. a multi-resolution loss of A-weighted signals,
    `MappedLoss(AWeightingFilter(44100), MRSTFTLoss())`, or of the sum and the
    difference of two channels, `MappedLoss(MidSide(), MRSTFTLoss())`. Terms keep their
    names.
    """

    map_fn: Any
    loss: Any

    def __init__(self, map_fn: Callable[..., Any], loss: Callable[..., Any]):
        """**Arguments:**

        - `map_fn`: signals to signals of the same length, e.g. `PreEmphasis()`. A class
            derived from `AbstractSignalMap` is evaluated in pieces and across devices,
            another callable on the whole batch.
        - `loss`: any loss on signals.

        **Raises:** `ValueError` for anything else.
        """
        self.map_fn = part("MappedLoss", "map_fn", map_fn, AbstractSignalMap)
        self.loss = part("MappedLoss", "loss", loss, AbstractLoss)

    @property
    def has_parts(self) -> bool:
        return getattr(self.loss, "has_parts", False)

    def comparisons(
        self, *, key: PRNGKeyArray | None = None
    ) -> tuple[AbstractComparison, ...]:
        inner = comparisons_of(self.loss, key)
        return (MappedComparison(self.map_fn, inner),) if inner else ()
