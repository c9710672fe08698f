"""The terms of a loss for logging: weighted, unweighted, and by part."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from korvax_eqx._data import Term, Terms

from ._piece import weighted
from ._plan import with_unique_names

Scalars = dict[str, Float[Array, ""]]


def reported(
    terms: Sequence[Term], values: Sequence[Sequence[Float[Array, ""]]], has_parts: bool
) -> Terms:
    """Return the terms of a loss.

    **Arguments:**

    - `terms`: the evaluated terms, with unique names.
    - `values`: unweighted values of each term; several if it joins others.
    - `has_parts`: whether terms are named after parts.
    """
    terms = with_unique_names([one for term in terms for one in term.logged])
    pairs = list(zip(terms, [v for own in values for v in own], strict=True))
    own = {term.name: _counted(term, value) for term, value in pairs}
    unweighted = {term.name: value for term, value in pairs}
    if not has_parts:
        return Terms(own, unweighted)
    parts: Scalars = {}
    parts_alone: Scalars = {}
    for name, numbers in parts_of(terms, has_parts).items():
        for term, value in (pairs[i] for i in numbers):
            _add(parts, name, own[term.name])
            _add(parts_alone, name, weighted(value, term.weight_in_part))
    return Terms(own, unweighted, Terms(parts, parts_alone))


def parts_of(terms: Sequence[Term], has_parts: bool) -> dict[str, list[int]]:
    """Return the indices of the terms of each part."""
    parts: dict[str, list[int]] = {}
    for i, term in enumerate(terms):
        name = term.name.split("/")[0] if has_parts else term.name
        parts.setdefault(name, []).append(i)
    return parts


def alone(terms: Sequence[Term]) -> list[Term]:
    """Return the terms of a part without the weight of the part."""
    return [term.part_alone() for term in terms]


def _counted(term: Term, value: Float[Array, ""]) -> Float[Array, ""]:
    """Return what a term adds to the loss."""
    return jnp.zeros_like(value) if term.is_monitored else weighted(value, term.weight)


def _add(sums: Scalars, name: str, value: Float[Array, ""]) -> None:
    sums[name] = sums[name] + value if name in sums else value
