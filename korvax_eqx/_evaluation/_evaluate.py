"""From comparisons and signals to the loss and its terms."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from korvax_eqx._compile import compiled
from korvax_eqx._sharding._devices import equally_varying
from korvax_eqx._static import Fixed
from korvax_eqx._tree import take_arrays

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
    joint = merged(comparisons)
    rowwise = tuple(c for c in joint if c.is_rowwise)
    whole = [c for c in joint if not c.is_rowwise]
    _check_lengths(whole, lengths)
    value, terms = jnp.zeros((), x.dtype), {}
    if rowwise:
        event_ndim = event_ndim_of(rowwise, x)
        layout = Layout(x.shape[x.ndim - event_ndim :], None, lengths is not None)
        rows = (_flat(x, event_ndim), _flat(y, event_ndim))
        rows = (*rows, *_length_rows(lengths, event_ndim))
        value, terms = _evaluate_rows(rowwise, layout, rows, wants)
    for comparison in whole:
        values = whole_values(comparison, x, whole_target(comparison, y))
        value, terms = _with_whole(value, terms, comparison, values)
    return value, _in_order(terms, comparisons) if wants != "total" else None


def bound_targets(
    comparisons: Sequence[AbstractComparison],
    y: Float[Array, "*channels n_samples"],
    lengths: Int[Array, "*channels"] | None,
) -> tuple[Any, ...]:
    """Return what is needed of the target, for every one of the merged comparisons."""
    joint = merged(comparisons)
    rowwise = tuple(c for c in joint if c.is_rowwise)
    _check_lengths([c for c in joint if not c.is_rowwise], lengths)
    event_ndim = event_ndim_of(rowwise, y) if rowwise else 1
    lead = y.shape[: y.ndim - event_ndim]
    rows = _flat(y, event_ndim), *_length_rows(lengths, event_ndim)
    layout = Layout(y.shape[y.ndim - event_ndim :], None, lengths is not None)
    targets = []
    for comparison in joint:
        if not comparison.is_rowwise:
            targets.append(whole_target(comparison, y))
            continue
        flat = tuple(row.reshape(-1, row.shape[-1]) for row in rows)
        (_, events, n_samples) = layout.events((flat[0], *flat))
        target = target_of_events(comparison, events, n_samples)
        targets.append(jax.tree.map(lambda t: t.reshape(*lead, -1), target))
    return tuple(targets)


def evaluate_bound(
    comparisons: Sequence[AbstractComparison],
    x: Float[Array, "*channels n_samples"],
    targets: tuple[Any, ...],
    lengths: Int[Array, "*channels"] | None,
    wants: Wants,
) -> tuple[Float[Array, ""], Terms | None]:
    """`evaluate`, given what `bound_targets` returned."""
    joint = merged(comparisons)
    pairs = list(zip(joint, targets, strict=True))
    rowwise = [(c, t) for c, t in pairs if c.is_rowwise]
    value, terms = jnp.zeros((), x.dtype), {}
    if rowwise:
        own = tuple(c for c, _ in rowwise)
        event_ndim = event_ndim_of(own, x)
        event_shape = x.shape[x.ndim - event_ndim :]
        kept, treedef = jax.tree.flatten(tuple(t for _, t in rowwise))
        shapes = _target_shapes(own, event_shape, x.dtype, lengths is not None)
        layout = Layout(event_shape, (shapes, treedef), lengths is not None)
        kept = [t.astype(_of_kind(t, x.dtype)) for t in kept]
        rows = (_flat(x, event_ndim), *kept, *_length_rows(lengths, event_ndim))
        value, terms = _evaluate_rows(own, layout, rows, wants)
    for comparison, target in pairs:
        if not comparison.is_rowwise:
            target = jax.tree.map(lambda t: t.astype(_of_kind(t, x.dtype)), target)
            values = whole_values(comparison, x, target)
            value, terms = _with_whole(value, terms, comparison, values)
    return value, _in_order(terms, comparisons) if wants != "total" else None


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
    return sum(weighted, value), {**terms, **more}


def _in_order(terms: Terms, comparisons: Sequence[AbstractComparison]) -> Terms:
    return {name: terms[name] for c in comparisons for name in c.names}


def _check_lengths(whole: Sequence[AbstractComparison], lengths: Array | None) -> None:
    if lengths is not None and whole:
        refuse_lengths(whole[0])


def _flat(x: Float[Array, "*channels n_samples"], event_ndim: int) -> Array:
    return x if event_ndim == 1 else x.reshape(*x.shape[: x.ndim - event_ndim], -1)


def _length_rows(lengths: Array | None, event_ndim: int) -> tuple[Array, ...]:
    """Return the lengths as rows of one entry; of channels that are mixed, the most."""
    if lengths is None:
        return ()
    for _ in range(event_ndim - 1):
        lengths = jnp.max(lengths, axis=-1)
    return (lengths[..., None],)


def _of_kind(S: Array, dtype: Any) -> Any:
    """The dtype of spectra like `S`, real or complex, of signals of `dtype`."""
    if not jnp.iscomplexobj(S):
        return dtype if jnp.issubdtype(S.dtype, jnp.floating) else S.dtype
    return jnp.complex64 if dtype == jnp.float32 else jnp.complex128
