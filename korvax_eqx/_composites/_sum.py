"""A weighted sum of losses on signals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import PRNGKeyArray

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._core._operators import makes_sums
from korvax_eqx._data import Term
from korvax_eqx._data._term import is_off, product
from korvax_eqx._engine._plan import unique_names
from korvax_eqx._names import snake_name
from korvax_eqx._static import is_leaf

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

    Operators make sums too: `a + 0.5 * b`, `a - b`, `a / 2`, `sum([a, b])`. Parts are
    named after their classes; the parts of a sum keep their names and get its weight
    times theirs. A JAX scalar as weight is a leaf.
    """

    losses: Any
    weights: Any
    monitor: Any

    def __init__(
        self,
        losses: Mapping[str, Callable[..., Any]] | Sequence[Callable[..., Any]],
        weights: Any = None,
        monitor: Mapping[str, Callable[..., Any]]
        | Sequence[Callable[..., Any]]
        | None = None,
    ):
        """**Arguments:**

        - `losses`: a mapping from names to losses, or a sequence of losses, which are
            named after their classes.
        - `weights`: one number per part, as a sequence or a mapping with the same
            names. `None`: all 1. A part of weight 0 is not computed. A JAX array of
            shape `(n_losses,)`, or JAX scalars in a mapping, are leaves: they can be
            learned, or annealed without recompiling.

        - `monitor`: losses that are only reported, given as `losses` is, under other
            names. They add nothing to the value, and their gradient is not computed;
            `terms.unweighted` of `with_terms` has their values, from the same pass.
            With `lengths`, they share a pass of their own; they leave out signals that
            are too short for one of them, which count for the loss.

        **Raises:** `ValueError` if a part is not a loss on signals, if names or number
            of the weights differ, or if two parts have one name.
        """
        self.losses = check_losses("SumLoss", losses)
        self.weights = check_part_weights("SumLoss", weights, self.losses)
        self.monitor = None
        if monitor is not None:
            self.monitor = check_losses("SumLoss", monitor, "monitor")
            twice = {*part_names(self.losses)} & {*part_names(self.monitor)}
            if twice:
                rule = "have names that none of `losses` has"
                checks.refuse("SumLoss", "monitor", rule, min(twice))

    @property
    def has_parts(self) -> bool:
        return True

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        monitor = () if self.monitor is None else self.monitor
        keys = split_key(key, len(self.losses) + len(monitor))
        weights = part_weights(self.weights, self.losses)
        losses, names = part_losses(self.losses), part_names(self.losses)
        parts = zip(losses, names, weights, keys, strict=False)
        counted = tuple(
            term
            for loss, name, weight, key in parts
            if not is_off(weight)
            for term in terms_of_part(loss, name, weight, key)
        )
        others = zip(
            part_losses(monitor), part_names(monitor), keys[len(losses) :], strict=True
        )
        return counted + tuple(
            term.monitored()
            for loss, name, key in others
            for term in terms_of_part(loss, name, 1.0, key)
        )


class _Part(NamedTuple):
    name: str | None  # `None`: after its class
    loss: Any
    weight: Any


@makes_sums
def weighted_sum(pairs: Sequence[tuple[Any, Any]]) -> SumLoss:
    """Return the sum of losses and weights; sums among them become their parts."""
    parts = [part for loss, weight in pairs for part in _parts_of(loss, weight)]
    sums = [loss for loss, _ in pairs if isinstance(loss, SumLoss)]
    monitored = [
        _Part(name, loss, 1)
        for one in sums
        if one.monitor is not None
        for name, loss in _named(one.monitor)
    ]
    all_names = unique_names(list(map(_own_name, (*parts, *monitored))))
    names = all_names[: len(parts)]
    losses = _by_name(parts, names)
    others = _by_name(monitored, all_names[len(parts) :])
    weights: Any = [part.weight for part in parts]
    has_leaves = any(map(is_leaf, weights))
    if not has_leaves and all(weight == 1 for weight in weights):
        weights = None
    elif has_leaves or isinstance(losses, Mapping):
        weights = dict(zip(names, weights, strict=True))
    return SumLoss(losses, weights, others or None)


def _parts_of(loss: Any, weight: Any) -> list[_Part]:
    if not isinstance(loss, SumLoss):
        return [_Part(None, loss, weight)]
    pairs = zip(
        _named(loss.losses), part_weights(loss.weights, loss.losses), strict=True
    )
    is_one = not is_leaf(weight) and weight == 1
    return [
        _Part(name, own, of_own if is_one else product(weight, of_own))
        for (name, own), of_own in pairs
    ]


def _named(losses: Any) -> list[tuple[str | None, Any]]:
    if isinstance(losses, Mapping):
        return list(losses.items())
    return [(None, loss) for loss in losses]


def _own_name(part: _Part) -> str:
    return part.name or snake_name(part.loss)


def _by_name(parts: Sequence[_Part], names: Sequence[str]) -> Any:
    """Return losses, by name if a sequence of them would have other names."""
    losses = [part.loss for part in parts]
    has_names = any(part.name is not None for part in parts)
    if has_names or list(names) != unique_names(list(map(_own_name, parts))):
        return dict(zip(names, losses, strict=True))
    return losses
