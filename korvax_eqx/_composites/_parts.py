"""Losses as parts of a loss: their names, weights and terms."""

from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._core._plain import LossFunction
from korvax_eqx._data import Term
from korvax_eqx._engine._plan import unique_names
from korvax_eqx._names import snake_name
from korvax_eqx._static import NamedParts, is_leaf, items_of

from ._arguments import part, weights_of


def check_losses(owner: str, losses: Any, argument: str = "losses") -> Any:
    """Check a mapping of names to losses, or a sequence of losses."""
    if isinstance(losses, Mapping):
        for name in losses:
            if not isinstance(name, str) or not name or "/" in name:
                rule = "have names without '/', which separates them in a log"
                checks.refuse(owner, argument, rule, name)
        items = {n: part(owner, argument, v, AbstractLoss) for n, v in losses.items()}
        parts: Any = NamedParts(items)
    else:
        items = items_of(losses)
        if items is None or not all(map(callable, items)):
            rule = "be a mapping of names to losses, or a sequence of losses"
            checks.refuse(owner, argument, rule, losses)
        parts = tuple(part(owner, argument, loss, AbstractLoss) for loss in items)
    if not parts:
        checks.refuse(owner, argument, "hold at least one loss", losses)
    return parts


def check_part_weights(owner: str, weights: Any, losses: Any) -> Any:
    """Check weights of losses, given by the names of the losses or in their order."""
    if not isinstance(weights, Mapping):
        return weights_of(owner, weights, len(losses))
    names = part_names(losses)
    if set(weights) != set(names):
        rule = f"have one number for each of the losses, {', '.join(names)}"
        checks.refuse(owner, "weights", rule, sorted(map(str, weights)))
    return NamedParts(
        {name: checks.number_or_leaf(owner, "weights", weights[name]) for name in names}
    )


def part_names(losses: Any) -> list[str]:
    """Return the names of the parts: the given ones, or those of their classes."""
    if isinstance(losses, Mapping):
        return list(losses)
    return unique_names([snake_name(loss) for loss in losses])


def part_losses(losses: Any) -> list[Any]:
    return list(losses.values()) if isinstance(losses, Mapping) else list(losses)


def part_weights(weights: Any, losses: Any) -> list[Any]:
    """Return the weights, 1 by default."""
    if weights is None:
        return [1.0] * len(losses)
    if isinstance(weights, Mapping):
        return [weights[name] for name in part_names(losses)]
    return (
        [weights[i] for i in range(len(losses))] if is_leaf(weights) else list(weights)
    )


def split_key(key: PRNGKeyArray | None, n: int) -> list[PRNGKeyArray | None]:
    return [None] * n if key is None else list(jax.random.split(key, n))


def terms_of(loss: Any, key: PRNGKeyArray | None) -> tuple[Term, ...]:
    """Return the terms of a loss on signals, which may be a plain function."""
    if isinstance(loss, AbstractLoss):
        return tuple(loss.terms(key=key))
    return (Term((), LossFunction(loss), name=snake_name(loss)),)


def terms_of_part(
    loss: Any, name: str, weight: Any, key: PRNGKeyArray | None
) -> list[Term]:
    """Return the terms of a part, with its name in front.

    If the part has a single term, the name of the part replaces that of the term.
    """
    terms = terms_of(loss, key)
    if len(terms) == 1:
        terms = (terms[0].called(""),)
    return [term.part_of(name, weight) for term in terms]
