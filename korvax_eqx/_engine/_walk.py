"""Applying the steps of a path to the rows of a piece, or to a whole batch."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from korvax_eqx._data import Signals, Spectra
from korvax_eqx._names import name_of
from korvax_eqx._platform import target

from ._plan import Branch, End

Data = Signals | Spectra


def step_on(step: Any, data: Data) -> Data:
    """Apply a step, and check what it returns.

    **Raises:** `ValueError` if a user's step returns the wrong type or shape, or takes
    signals and gets spectra.
    """
    if isinstance(data, Spectra) and not step.takes_spectra:
        raise ValueError(
            f"`{name_of(step)}` must come before the transform: it takes signals. Got "
            "spectra."
        )
    out = step.apply(data)
    step.check(data, out)
    return out


def folded(data: Signals) -> Signals:
    """Return the signals with all leading axes flattened to one."""
    if data.x.ndim <= 2:
        return data
    lengths = data.n_samples
    x = data.x.reshape(-1, data.x.shape[-1])
    return Signals(x, None if lengths is None else lengths.reshape(-1))


def values_of(end: End, x: Data, y: Data) -> tuple[Array, ...]:
    """Return the values of a term for each row, or the sums of a batch loss."""
    if isinstance(x, Spectra) and isinstance(y, Spectra):
        x, y = x.cut(), y.cut()
    if end.inside is not None:
        axis = main_array(x).ndim - (2 if isinstance(x, Signals) else 3)
        return tuple(end.loss.joined(inside_of(end, x, y), axis))
    if end.loss.is_of_batch:
        return tuple(end.loss.sums(x, y))
    values = jnp.asarray(end.loss.values(x, y))
    end.loss.check(x, values)
    return (values,)


def _values_of_pairs(
    end: End, x: Data, y: Data, n_pairs: tuple[int, int]
) -> tuple[Array, ...]:
    """Return the values of each estimate with each target.

    There are `n` and `m` of them, each of one or more channels along the leading axis.
    """
    n, m = n_pairs

    def of(own: Data, n: int) -> tuple[Array, ...]:
        own = changed(own, lambda array: _of_pairs(array, n, m, 1))
        if end.slot is not None:  # a bound target ends where the estimate does
            other = like(own, _of_pairs(main_array(y), n, m, 0))
        else:
            other = changed(y, lambda array: _of_pairs(array, n, m, 0))
        return values_of(end, own, other)

    if not target().in_turn:
        return of(x, n)
    # On CPU a loop, before which XLA computes what is compared. Otherwise it would
    # compute logarithms again for each pair.
    rows = changed(x, lambda array: array.reshape(n, -1, *array.shape[1:]))
    return jax.lax.map(lambda own: of(own, 1), rows)


def _of_pairs(array: Array, n: int, m: int, axis: int) -> Array:
    """Return an array for all pairs, given one for either, repeated along `axis`."""
    size = (n, m)[1 - axis]
    rest = array.shape[0] // size, *array.shape[1:]
    array = jnp.expand_dims(array.reshape(size, *rest), axis)
    return jnp.broadcast_to(array, (n, m, *rest)).reshape(-1, *rest[1:])


def inside_of(end: End, x: Data, y: Data) -> list[tuple[End, Data, Data]]:
    """Return the ends of the terms that a loss joins, each with its two inputs."""
    assert end.inside is not None
    return sorted(reached(end.inside, x, y), key=lambda found: found[0].number)


def main_array(data: Data) -> Array:
    return data.x if isinstance(data, Signals) else data.S


def changed(data: Data, fn: Callable[[Array], Array]) -> Data:
    """Return data with a function applied to all its arrays."""
    if isinstance(data, Signals):
        n = data.n_samples
        return Signals(fn(data.x), None if n is None else fn(n))
    n, source = data.n_frames, data.source
    n = None if n is None else fn(n)
    source = None if source is None else fn(source)
    return Spectra(fn(data.S), n, data.n_whole, source)


def like(data: Data, array: Array) -> Data:
    """Return data with another array and the same lengths."""
    if isinstance(data, Signals):
        return Signals(array, data.n_samples)
    return Spectra(array, data.n_frames, data.n_whole)


def targets_of(branch: Branch, y: Data) -> list[tuple[int, Data]]:
    """Return the target at the end of each term's path, by the term's number."""
    if branch.step is not None:
        y = step_on(branch.step, y)
    own = [(end.number, y) for end in branch.ends]
    return own + [t for b in branch.branches for t in targets_of(b, y)]


def compared(
    branch: Branch,
    x: Data,
    y: Data | None,
    kept: tuple[Array, ...],
    n_pairs: tuple[int, int] | None = None,
) -> dict[int, tuple[Array, ...]]:
    """Return the values of each term on a branch or below it, by the term's number.

    `kept` are bound targets at the end of their paths. `y` is `None` if all are bound.
    With `n_pairs`, each of so many estimates is compared with each of so many targets.
    """
    ends = reached(branch, x, y, kept)
    if n_pairs is not None:
        return {e.number: _values_of_pairs(e, a, b, n_pairs) for e, a, b in ends}
    return {end.number: values_of(end, *data) for end, *data in ends}


def reached(
    branch: Branch, x: Data, y: Data | None, kept: tuple[Array, ...] = ()
) -> Iterator[tuple[End, Data, Data]]:
    """Yield the ends on a branch and below it, each with its two inputs."""
    if branch.step is not None:
        x = step_on(branch.step, x)
        y = None if y is None else step_on(branch.step, y)
    for end in branch.ends:
        other = y if end.slot is None else like(x, kept[end.slot])
        assert other is not None
        yield end, x, other
    for inner in branch.branches:
        yield from reached(inner, x, y, kept)
