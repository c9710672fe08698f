"""From comparisons and signals to the loss and its terms."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from korvax_eqx._compile import compiled
from korvax_eqx._sharding._devices import equally_varying, keep_rows_sharded
from korvax_eqx._static import Fixed
from korvax_eqx._tree import Arrays, Skeleton, take_arrays

from ._comparison import AbstractComparison, merged, target_of_events, weighed
from ._layout import Layout
from ._means import column_means, total
from ._rows import RowValues
from ._whole import whole_target, whole_values
from ._whole_batch import refuse_lengths

Terms = dict[str, Float[Array, ""]]
# The total alone, with its terms for a log, or the terms for combinations of them.
Wants = Literal["total", "both", "terms"]


def evaluate(
    comparisons: Sequence[AbstractComparison],
    x: Float[Array, "*channels n_samples"],
    y: Float[Array, "*channels n_samples"],
    lengths: Int[Array, "*channels"] | None,
    wants: Wants,
) -> tuple[Float[Array, ""], Terms | None]:
    """Return the weighted sum of all terms and, if wanted, the terms by name."""
    groups, whole = _grouped(comparisons, lengths is not None)
    _check_lengths(whole, lengths)
    lengths = _counted_lengths(groups, x, lengths)
    value, terms = jnp.zeros((), x.dtype), {}
    for rowwise in groups:
        event_ndim = event_ndim_of(rowwise, x)
        layout = Layout(x.shape[x.ndim - event_ndim :], None, lengths is not None)
        rows = (_flat(x, event_ndim), _flat(y, event_ndim))
        rows = (*rows, *_length_rows(lengths, event_ndim))
        more, own = _evaluate_rows(rowwise, layout, rows, wants)
        value, terms = value + more, _with_terms(terms, own)
    for comparison in whole:
        values = whole_values(comparison, x, whole_target(comparison, y))
        value, terms = _with_whole(value, terms, comparison, values)
    return value, _in_order(terms, comparisons) if wants != "total" else None


def bound_targets(
    comparisons: Sequence[AbstractComparison],
    y: Float[Array, "*channels n_samples"],
    lengths: Int[Array, "*channels"] | None,
) -> tuple[Any, ...]:
    """Return what is needed of the target, for all comparisons as they are grouped."""
    groups, whole = _grouped(comparisons, lengths is not None)
    _check_lengths(whole, lengths)
    lengths = _counted_lengths(groups, y, lengths)
    targets = [_row_targets(group, y, lengths) for group in groups]
    return *targets, [whole_target(comparison, y) for comparison in whole]


def _row_targets(
    comparisons: tuple[AbstractComparison, ...],
    y: Float[Array, "*channels n_samples"],
    lengths: Int[Array, "*channels"] | None,
) -> tuple[Any, ...]:
    event_ndim = event_ndim_of(comparisons, y)
    rows = _flat(y, event_ndim), *_length_rows(lengths, event_ndim)
    layout = Layout(y.shape[y.ndim - event_ndim :], None, lengths is not None)
    skeleton, shared = take_arrays(comparisons)
    return keep_rows_sharded(_RowTargets(skeleton, layout), shared, rows)


@dataclasses.dataclass(frozen=True)
class _RowTargets:
    """What is needed of the targets in some rows, flat, for every comparison."""

    skeleton: Skeleton
    layout: Layout

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Any, ...]:
        lead = rows[0].shape[:-1]
        flat = tuple(row.reshape(-1, row.shape[-1]) for row in rows)
        (_, events, n_samples) = self.layout.events((flat[0], *flat))
        comparisons = self.skeleton.filled(shared)
        targets = tuple(target_of_events(c, events, n_samples) for c in comparisons)
        return jax.tree.map(lambda t: t.reshape(*lead, -1), targets)


def evaluate_bound(
    comparisons: Sequence[AbstractComparison],
    x: Float[Array, "*channels n_samples"],
    targets: tuple[Any, ...],
    lengths: Int[Array, "*channels"] | None,
    wants: Wants,
) -> tuple[Float[Array, ""], Terms | None]:
    """`evaluate`, given what `bound_targets` returned."""
    groups, whole = _grouped(comparisons, lengths is not None)
    lengths = _counted_lengths(groups, x, lengths)
    value, terms = jnp.zeros((), x.dtype), {}
    *of_rows, of_whole = targets
    for rowwise, own in zip(groups, of_rows, strict=True):
        event_ndim = event_ndim_of(rowwise, x)
        event_shape = x.shape[x.ndim - event_ndim :]
        kept, treedef = jax.tree.flatten(own)
        shapes = _target_shapes(rowwise, event_shape, x.dtype, lengths is not None)
        layout = Layout(event_shape, (shapes, treedef), lengths is not None)
        kept = [t.astype(_of_kind(t, x.dtype)) for t in kept]
        rows = (_flat(x, event_ndim), *kept, *_length_rows(lengths, event_ndim))
        more, own = _evaluate_rows(rowwise, layout, rows, wants)
        value, terms = value + more, _with_terms(terms, own)
    for comparison, target in zip(whole, of_whole, strict=True):
        target = jax.tree.map(lambda t: t.astype(_of_kind(t, x.dtype)), target)
        values = whole_values(comparison, x, target)
        value, terms = _with_whole(value, terms, comparison, values)
    return value, _in_order(terms, comparisons) if wants != "total" else None


def _grouped(
    comparisons: Sequence[AbstractComparison], has_lengths: bool
) -> tuple[list[tuple[AbstractComparison, ...]], list[AbstractComparison]]:
    """Return the comparisons of rows that are evaluated together, and the others.

    With lengths, those that mix channels are evaluated on their own: their rows have
    other lengths, and there are fewer of them.
    """
    rowwise = [c for c in comparisons if c.is_rowwise]
    whole = merged(c for c in comparisons if not c.is_rowwise)
    if not has_lengths:
        return [tuple(merged(rowwise))] if rowwise else [], whole
    parts = [part for c in rowwise for part in c.apart()]
    kinds = sorted({c.event_ndim for c in parts})
    groups = [merged(c for c in parts if c.event_ndim == kind) for kind in kinds]
    return list(map(tuple, groups)), whole


def _counted_lengths(
    groups: Sequence[tuple[AbstractComparison, ...]],
    x: Float[Array, "*channels n_samples"],
    lengths: Int[Array, "*channels"] | None,
) -> Int[Array, "*channels"] | None:
    """Return the lengths, 0 for signals that are too short to be compared."""
    if lengths is None:
        return None
    counted = lengths
    for comparison in (c for group in groups for c in group):
        event_ndim_of((comparison,), x)
        is_there = comparison.is_long_enough(lengths, x.shape[-1], x.dtype)
        counted = jnp.where(is_there, counted, 0)
    return counted


def _target_shapes(
    comparisons: tuple[AbstractComparison, ...],
    event_shape: tuple[int, ...],
    dtype: Any,
    has_lengths: bool,
) -> tuple[tuple[int, ...], ...]:
    """Return the shape of everything that is kept of the target of one row."""
    one = jax.ShapeDtypeStruct((1, *event_shape), dtype)
    n_samples = jax.ShapeDtypeStruct((1,), jnp.int32) if has_lengths else None

    def targets(y: Any, n_samples: Any) -> Any:
        return [target_of_events(c, y, n_samples) for c in comparisons]

    shapes = jax.eval_shape(targets, one, n_samples)
    return tuple(leaf.shape[1:] for leaf in jax.tree.leaves(shapes))


def event_ndim_of(comparisons: Sequence[AbstractComparison], x: Array) -> int:
    """Return how many axes a row has, for comparisons that are evaluated together.

    **Raises:** `ValueError` for channels that are mixed and signals without channels.
    """
    event_ndim = max(c.event_ndim for c in comparisons)
    if x.ndim < event_ndim:
        raise ValueError(
            "A loss that mixes channels needs signals of shape (*batch, n_channels, "
            f"n_samples). Got {x.shape}. Add an axis for a single channel: `x[None]`."
        )
    return event_ndim


@compiled
def _rows_compiled(
    comparisons: tuple[AbstractComparison, ...],
    layout: Any,
    rows: tuple[Array, ...],
    wants: Any,
) -> tuple[Float[Array, ""], Terms]:
    skeleton, shared = take_arrays(comparisons)
    arrays = equally_varying((*shared, *rows))
    shared, rows = arrays[: len(shared)], arrays[len(shared) :]
    fn = RowValues(skeleton, layout.value)
    if wants.value == "terms":
        columns = column_means(fn, shared, rows)
        value = fn.total(shared, columns)
    else:
        value, columns = total(fn, wants.value == "both", shared, rows)
    if columns is None:
        return value, {}
    names = [name for c in comparisons for name in c.names]
    return value, dict(zip(names, fn.terms(shared, columns), strict=True))


def _evaluate_rows(
    comparisons: tuple[AbstractComparison, ...],
    layout: Layout,
    rows: tuple[Array, ...],
    wants: Wants,
) -> tuple[Float[Array, ""], Terms]:
    return _rows_compiled(comparisons, Fixed(layout), rows, Fixed(wants))


def _with_whole(
    value: Float[Array, ""],
    terms: Terms,
    comparison: AbstractComparison,
    values: tuple[Float[Array, ""], ...],
) -> tuple[Float[Array, ""], Terms]:
    """Add a comparison that was evaluated whole."""
    weighted = [
        weighed(value, weight)
        for value, weight in zip(values, comparison.weights, strict=True)
    ]
    more = dict(zip(comparison.names, weighted, strict=True))
    return sum(weighted, value), _with_terms(terms, more)


def _with_terms(terms: Terms, more: Terms) -> Terms:
    """Return the terms of both; those of one name add up."""
    both = {n: terms[n] + value for n, value in more.items() if n in terms}
    return {**terms, **more, **both}


def _in_order(terms: Terms, comparisons: Sequence[AbstractComparison]) -> Terms:
    return {name: terms[name] for c in comparisons for name in c.names}


def _check_lengths(whole: Sequence[AbstractComparison], lengths: Array | None) -> None:
    if lengths is not None and whole:
        refuse_lengths(whole[0])


def _flat(x: Float[Array, "*channels n_samples"], event_ndim: int) -> Array:
    return x if event_ndim == 1 else x.reshape(*x.shape[: x.ndim - event_ndim], -1)


def _length_rows(lengths: Array | None, event_ndim: int) -> tuple[Array, ...]:
    """Return the lengths as rows, one for each channel that is mixed."""
    if lengths is None:
        return ()
    return (lengths[..., None] if event_ndim == 1 else lengths,)


def _of_kind(S: Array, dtype: Any) -> Any:
    """The dtype of spectra like `S`, real or complex, of signals of `dtype`."""
    if not jnp.iscomplexobj(S):
        return dtype if jnp.issubdtype(S.dtype, jnp.floating) else S.dtype
    return jnp.complex64 if dtype == jnp.float32 else jnp.complex128
