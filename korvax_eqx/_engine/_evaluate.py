"""Evaluating the terms of a loss on signals."""

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from korvax_eqx._compile import compiled
from korvax_eqx._data import Signals
from korvax_eqx._data._scope import SCOPES
from korvax_eqx._data._term import Term
from korvax_eqx._names import name_of
from korvax_eqx._static import Fixed
from korvax_eqx._tree import take_arrays

from ._call import call_rows
from ._devices import whole_samples
from ._piece import each_value, finished, gated, weighted
from ._plan import Branch, parts_of, steps_of, tree_of
from ._rows import Layout, RowTargets, RowTerms
from ._total import column_means, total
from ._walk import compared, main_array, targets_of

# What to return: the total; the total, and its terms to log; the terms to combine.
Wants = Literal["total", "both", "terms"]


def evaluate(
    terms: Sequence[Term],
    x: Float[Array, "*channels n_samples"],
    y: Float[Array, "*channels n_samples"] | None,
    lengths: Int[Array, "*channels"] | None,
    wants: Wants,
    beside: Sequence[Term] = (),
) -> tuple[Float[Array, ""], list[list[Float[Array, ""]]]]:
    """Return the weighted sum of terms and, if wanted, each term without its weight.

    A term that joins others has one value for each of them; other terms have one value.
    `beside` are all terms of the loss, if these are some of them: signals that are too
    short for one of them are left out.
    """
    groups, whole = _split(terms, lengths)
    if wants == "total":
        groups, whole = [_needed(group) for group in groups], _needed(whole)
    value: Array = jnp.zeros((), x.dtype)
    found: dict[int, list[Array]] = {}
    for group in filter(None, groups):
        kept: list[Any] = []
        tree = tree_of(group, kept)
        event_ndim = _event_ndim(tree, x)
        lead = x.shape[: x.ndim - event_ndim]
        has_target = any(end.slot is None for end in tree.all_ends())
        arrays = [_in_dtype(k.array, x.dtype) for k in kept]
        layout = Layout(
            x.shape[len(lead) :],
            has_target,
            tuple(a.shape[len(lead) :] for a in arrays),
            lengths is not None,
        )
        signals: tuple[Any, ...] = (x, y) if has_target else (x,)
        counted = _counted(group, (*terms, *beside), x, lengths)
        ends = _length_rows(counted, event_ndim)
        rows = (*signals, *arrays, *ends)
        rows = tuple(_flat(whole_samples(r), len(lead)) for r in rows)
        more, values = _of_rows(tree, Fixed(layout), rows, Fixed(wants))
        value = value + more
        rest = iter(values)
        for end in tree.all_ends():
            n_values = len(terms[end.number].logged)
            found[end.number] = list(itertools.islice(rest, n_values))
    if whole:
        kept = []
        tree = tree_of(whole, kept)
        own = tuple(_in_dtype(k.array, x.dtype) for k in kept)
        target = None if y is None else Signals(y)
        columns = compared(tree, Signals(x), target, own)
        for end in tree.all_ends():
            means = tuple(jnp.mean(c).astype(x.dtype) for c in columns[end.number])
            found[end.number] = [gated(v, end.gate) for v in each_value(end, means)]
            if not end.is_monitored:
                own = gated(finished(end, means), end.gate)
                value = value + weighted(own, end.weight)
    if wants == "total":
        return value, []
    return value, [found[i] for i in range(len(terms))]


@compiled
def _of_rows(
    tree: Branch, layout: Any, rows: tuple[Array, ...], wants: Any
) -> tuple[Float[Array, ""], list[Float[Array, ""]]]:
    skeleton, shared = take_arrays(tree)
    fn = RowTerms(skeleton, layout.value)
    # Lets parts raise their errors here, and not when a program is lowered. This takes
    # at most a twentieth of the time to trace and compile a loss.
    one = [jax.ShapeDtypeStruct((1, r.shape[-1]), r.dtype) for r in rows]
    found = jax.make_jaxpr(fn)(shared, tuple(one))
    if any(isinstance(const, Tracer) for const in found.consts):
        raise ValueError(
            "A function or class of your own uses a traced array that it does not hold "
            "as a field, e.g. a variable of a function that is differentiated. Its "
            "gradient would be lost: hold the array in a field of an `eqx.Module`, "
            "and pass an instance of that."
        )
    if wants.value == "terms":
        columns = column_means(fn, shared, rows)
        return fn.total(shared, columns), fn.terms(shared, columns)
    value, columns = total(fn, wants.value == "both", shared, rows)
    return value, [] if columns is None else fn.terms(shared, columns)


def kept_targets(
    terms: Sequence[Term],
    y: Float[Array, "*channels n_samples"],
    lengths: Int[Array, "*channels"] | None,
) -> tuple[tuple[Array, ...], tuple[int | None, ...]]:
    """Return the arrays to keep for a target, and the index of each term's array.

    It is `None` for a term that has a target.
    """
    groups, whole = _split(terms, lengths)
    arrays: list[Array] = []
    places: dict[int, int] = {}

    def keep(tree: Branch, found: Sequence[Array]) -> None:
        for numbers, array in zip(_shared_ends(tree), found, strict=True):
            places.update({number: len(arrays) for number in numbers})
            arrays.append(array)

    for group in map(_unbound, groups):
        if not group:
            continue
        tree = tree_of(group)
        event_ndim = _event_ndim(tree, y)
        lead = y.shape[: y.ndim - event_ndim]
        layout = Layout(y.shape[len(lead) :], False, (), lengths is not None)
        ends = _length_rows(_counted(group, terms, y, lengths), event_ndim)
        rows = (y, *ends)
        rows = tuple(_flat(whole_samples(r), len(lead)) for r in rows)
        skeleton, shared = take_arrays(tree)
        numbers = tuple(numbers[0] for numbers in _shared_ends(tree))
        found, _ = call_rows(RowTargets(skeleton, layout, numbers), shared, rows)
        keep(tree, found)
    if whole := _unbound(whole):
        tree = tree_of(whole)
        found = dict(targets_of(tree, Signals(y)))
        keep(tree, [main_array(found[own[0]]) for own in _shared_ends(tree)])
    return tuple(arrays), tuple(places.get(i) for i in range(len(terms)))


def _shared_ends(branch: Branch) -> list[list[int]]:
    """Return the numbers of the terms that end at each branch."""
    own = [[end.number for end in branch.ends]] if branch.ends else []
    return own + [numbers for b in branch.branches for numbers in _shared_ends(b)]


_Numbered = list[tuple[int, Term]]


def _split(
    terms: Sequence[Term], lengths: Array | None
) -> tuple[list[_Numbered], _Numbered]:
    """Return groups of terms that are evaluated by rows, and terms that need the batch.

    With lengths, terms that mix channels are a group of their own: a row holds several
    channels, so there are fewer rows, and their lengths differ. So are terms that are
    monitored: which signals are too short for them has no influence on the loss.
    """
    groups: dict[tuple[bool, bool], _Numbered] = {}
    whole: _Numbered = []
    for number, term in enumerate(terms):
        parts = parts_of(term)
        for part in parts:
            if part.scope not in SCOPES:
                rule = f"must be one of {', '.join(map(repr, SCOPES))}"
                name = type(part).__name__
                raise ValueError(f"`{name}.scope` {rule}. Got {part.scope!r}.")
        seers = [part for part in parts if part.scope == "batch"]
        if seers and lengths is not None:
            raise ValueError(
                f"`lengths` cannot be combined with `{name_of(seers[0])}`: a function "
                "sees the whole batch, padding included. Use a class derived from "
                f"`{seers[0].base_name}` instead."
            )
        if seers:
            whole.append((number, term))
            continue
        has_lengths = lengths is not None
        is_apart = has_lengths and any(p.scope == "channels" for p in parts)
        kind = (is_apart, has_lengths and term.is_monitored)
        groups.setdefault(kind, []).append((number, term))
    return list(groups.values()), whole


def _needed(group: _Numbered) -> _Numbered:
    """Return the terms that add to the loss, i.e. are not monitored."""
    return [(number, term) for number, term in group if not term.is_monitored]


def _unbound(group: _Numbered) -> _Numbered:
    """Return the terms without a target."""
    return [(number, term) for number, term in group if term.target is None]


def _counted(
    group: _Numbered,
    terms: Sequence[Term],
    x: Float[Array, "*channels n_samples"],
    lengths: Int[Array, "*channels"] | None,
) -> Int[Array, "*channels"] | None:
    """Return the lengths, with 0 for signals that are too short for a term.

    All terms of the loss have the same mean, and so have all that are monitored.
    """
    if lengths is None:
        return None
    counted = lengths
    is_monitored = group[0][1].is_monitored
    for term in terms:
        if term.is_monitored != is_monitored:
            continue
        is_enough = _is_long_enough(term, x, lengths)
        counted = jnp.where(is_enough, counted, 0)
    return counted


def _is_long_enough(
    term: Term, x: Float[Array, "*channels n_samples"], lengths: Array
) -> Bool[Array, "*channels"]:
    steps, n = steps_of(term), lengths
    if any(part.scope == "channels" for part in (*steps, term.loss)):
        _check_channels(x)
        n = jnp.broadcast_to(jnp.max(n, axis=-1, keepdims=True), n.shape)
    is_enough = n > 0
    for step in steps:
        if step.takes_spectra:
            n = step.frames_left(n)
        elif step.makes_signals:
            n = step.samples_left(n)
            is_enough &= n > 0
        else:
            n = step.frames_of(x, n)
    for other in term.inside:
        if term.is_monitored or not other.is_monitored:
            is_enough &= _is_long_enough(other, x, n)
    if all(step.makes_signals for step in steps):
        return is_enough & (n >= term.loss.least_samples)
    return is_enough & (n >= term.loss.least_frames)


def _event_ndim(tree: Branch, x: Array) -> int:
    """Return how many axes a row has: 2 if channels are mixed."""
    parts = [*tree.all_steps(), *(end.loss for end in tree.all_ends())]
    if not any(part.scope == "channels" for part in parts):
        return 1
    _check_channels(x)
    return 2


def _check_channels(x: Array) -> None:
    if x.ndim < 2:
        raise ValueError(
            "A loss that mixes channels needs signals of shape (*batch, n_channels, "
            f"n_samples). Got {x.shape}. Add an axis for a single channel: `x[None]`."
        )


def _flat(row: Array, n_lead: int) -> Array:
    """Return a row with its own axes flattened to one."""
    if row.ndim == n_lead + 1:
        return row
    return row.reshape(*row.shape[:n_lead], -1)


def _length_rows(lengths: Array | None, event_ndim: int) -> tuple[Array, ...]:
    """Return the lengths as rows: one entry, or one per channel if these are mixed."""
    if lengths is None:
        return ()
    return (lengths if event_ndim == 2 else lengths[..., None],)


def _in_dtype(array: Array, dtype: Any) -> Array:
    """Return a kept array in the precision of signals of `dtype`."""
    if not jnp.iscomplexobj(array):
        return (
            array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array
        )
    return array.astype(jnp.complex64 if dtype == jnp.float32 else jnp.complex128)
