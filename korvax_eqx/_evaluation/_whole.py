"""Comparisons of a whole batch at once: those with functions of the user's inside."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._comparison import AbstractComparison, Targets


def whole_target(
    comparison: AbstractComparison, y: Float[Array, "*channels n_samples"]
) -> Targets:
    """Return what a comparison needs of all targets together."""
    return comparison.target(_rows(comparison, y), None)


def whole_values(
    comparison: AbstractComparison,
    x: Float[Array, "*channels n_samples"],
    target: Targets,
) -> tuple[Float[Array, ""], ...]:
    """Return every term of all signals together, without weights."""
    columns = comparison.values(_rows(comparison, x), target, None)
    if not comparison.is_rowwise:
        return columns
    means, terms = list(map(jnp.mean, columns)), []
    for term, n in enumerate(comparison.n_columns):
        own, means = tuple(means[:n]), means[n:]
        terms.append(comparison.finish(term, own))
    return tuple(terms)


def _rows(comparison: AbstractComparison, x: Array) -> Array:
    """A comparison of rows gets them along one axis, another one sees all there are."""
    if not comparison.is_rowwise:
        return x
    return x.reshape(-1, *x.shape[x.ndim - comparison.event_ndim :])
