"""A loss on mapped signals."""

from collections.abc import Callable
from typing import Any

from jaxtyping import PRNGKeyArray

from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._core._plain import as_map
from korvax_eqx._core._steps import AbstractSignalMap
from korvax_eqx._data import Term

from ._arguments import part
from ._parts import terms_of


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

        - `map_fn`: signals to signals, e.g. `PreEmphasis()`; their length and the
            number of channels may change, as with `PQMF()`. A class derived from
            `AbstractSignalMap` is evaluated in pieces and across devices, another
            callable on the whole batch.
        - `loss`: any loss on signals.

        **Raises:** `ValueError` for anything else.
        """
        self.map_fn = part("MappedLoss", "map_fn", map_fn, AbstractSignalMap)
        self.loss = part("MappedLoss", "loss", loss, AbstractLoss)

    @property
    def has_parts(self) -> bool:
        return isinstance(self.loss, AbstractLoss) and self.loss.has_parts

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        steps = as_map(self.map_fn).path
        return tuple(term.after(*steps) for term in terms_of(self.loss, key))
