"""A loss on mapped signals."""

from collections.abc import Callable
from typing import Any

from jaxtyping import PRNGKeyArray

from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._core._plain import as_map
from korvax_eqx._core._steps import AbstractSignalMap
from korvax_eqx._data import Term
from korvax_eqx._engine._plan import path_of

from ._arguments import part
from ._parts import terms_of


class MappedLoss(AbstractLoss):
    r"""A loss after a signal map: $L(m(x), m(y))$.

    For example a multi-resolution loss of A-weighted signals,
    `MappedLoss(AWeightingFilter(44100), MRSTFTLoss())`, or of the sum and difference of
    two channels, `MappedLoss(MidSide(), MRSTFTLoss())`. Terms keep their names.
    """

    map_fn: Any
    loss: Any

    def __init__(self, map_fn: Callable[..., Any], loss: Callable[..., Any]):
        """**Arguments:**

        - `map_fn`: signals to signals, e.g. `PreEmphasis()`. It may change their length
            and the number of channels, as `PQMF()` does. An `AbstractSignalMap` is
            evaluated in pieces and across devices, any other
            callable on the whole batch.
        - `loss`: any loss on signals.

        **Raises:** `ValueError` if either argument is something else.
        """
        self.map_fn = part("MappedLoss", "map_fn", map_fn, AbstractSignalMap)
        self.loss = part("MappedLoss", "loss", loss, AbstractLoss)

    @property
    def has_parts(self) -> bool:
        return isinstance(self.loss, AbstractLoss) and self.loss.has_parts

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        steps = path_of(as_map(self.map_fn))
        return tuple(term.after(*steps) for term in terms_of(self.loss, key))
