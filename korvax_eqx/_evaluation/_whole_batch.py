"""Saying which part of a loss sees the whole batch, and what to do about it."""

from collections.abc import Iterator
from typing import Any, NoReturn

import jax

from korvax_eqx._base import (
    AbstractBatchLoss,
    AbstractScale,
    AbstractSpectralLoss,
    AbstractTransform,
)
from korvax_eqx._maps._base import AbstractSignalMap
from korvax_eqx._names import name_of
from korvax_eqx._scales._chain import Chain
from korvax_eqx._static import is_plain_callable

from ._comparison import AbstractComparison

# What is held under these names of fields, and is not of the kind, is a function.
_KINDS = {
    "transform": AbstractTransform,
    "scales": AbstractScale,
    "losses": AbstractSpectralLoss,
    "map_fn": AbstractSignalMap,
}


def refuse_lengths(comparison: AbstractComparison) -> NoReturn:
    """Raise the error for `lengths` of a comparison that sees the whole batch."""
    for part, base in _functions(comparison):
        raise ValueError(
            f"`lengths` cannot be combined with `{name_of(part)}`: a function sees the "
            "whole batch, padding included. Derive a class from the base for its kind, "
            f"`{base}`."
        )
    names = ", ".join(f"`{name_of(loss)}`" for loss in _batch_losses(comparison))
    raise ValueError(
        f"`lengths` cannot be combined with a draw of losses over the batch, here "
        f"{names}. Use `SumLoss` instead of `RandomSubsetLoss`, or draw losses that "
        "are means over signals."
    )


def _functions(comparison: AbstractComparison) -> Iterator[tuple[Any, str]]:
    """Yield the user's functions, and the names of the bases to derive from."""
    if comparison.is_rowwise:
        return
    for inner in _inner(comparison):
        yield from _functions(inner)
    fn: Any = getattr(comparison, "fn", None)
    if fn is not None:
        yield fn, "AbstractWaveformLoss"
    for field, kind in _KINDS.items():
        for part in _parts(getattr(comparison, field, ())):
            nodes = jax.tree.leaves(part, is_leaf=is_plain_callable)
            plain = list(filter(is_plain_callable, nodes))
            if plain or not isinstance(part, kind):
                yield (plain or [part])[0], kind.__name__


def _parts(held: Any) -> Iterator[Any]:
    for part in held if isinstance(held, tuple) else (held,):
        yield from _parts(part.scales) if isinstance(part, Chain) else (part,)


def _batch_losses(comparison: AbstractComparison) -> list[Any]:
    own: Any = getattr(comparison, "losses", ())
    found = [loss for loss in own if isinstance(loss, AbstractBatchLoss)]
    return found + [loss for c in _inner(comparison) for loss in _batch_losses(c)]


def _inner(comparison: AbstractComparison) -> list[AbstractComparison]:
    """Return the comparisons that one holds, mapped or drawn."""
    held = vars(comparison)
    nodes = jax.tree.leaves(held, is_leaf=lambda n: isinstance(n, AbstractComparison))
    return [node for node in nodes if isinstance(node, AbstractComparison)]
