"""What a loss compares: the one thing that the evaluation sees of it."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._pieces import Pieces

# Arrays with one entry for each row along their first axis, in any tree.
Targets = Any
Columns = tuple[Float[Array, "*rows"], ...]


class AbstractComparison(eqx.Module):
    """One way to compare an estimate with a target, which may have several terms.

    A term is a weight times a mean over rows, or a function of several such means. A
    row is one signal, or the channels of one recording that are compared together.
    Each mean is of one column: a number for each row.
    """

    names: eqx.AbstractVar[tuple[str, ...]]
    """What the terms are called in a log."""

    weights: eqx.AbstractVar[tuple[Any, ...]]
    """Of the terms: numbers, or scalar JAX arrays."""

    piece_size: eqx.AbstractVar[Pieces]
    """How many signals to evaluate at a time."""

    unit: eqx.AbstractVar[int]
    """Comparisons of one unit are evaluated side by side, units after one another: the
    memory of a sum is that of its largest part."""

    @property
    @abstractmethod
    def event_ndim(self) -> int:
        """The axes of a row: 1 for a signal, 2 for channels and samples."""

    @property
    @abstractmethod
    def is_rowwise(self) -> bool:
        """Whether the columns of a row depend on that row alone.

        Otherwise `target` and `values` are called once, with all rows (and any number
        of leading axes), and columns are scalars.
        """

    @property
    @abstractmethod
    def n_columns(self) -> tuple[int, ...]:
        """How many columns each term is made of. One column is averaged over rows."""

    @abstractmethod
    def target(
        self,
        y: Float[Array, "..."],
        n_samples: Int[Array, " rows"] | None = None,
    ) -> Targets:
        """Return what is needed of the target: what `bind` keeps.

        **Arguments:**

        - `y`: the targets, zero beyond their ends.
        - `n_samples`: their lengths; `None` if all are as long as the array.
        """

    @abstractmethod
    def values(
        self,
        x: Float[Array, "..."],
        target: Targets,
        n_samples: Int[Array, " rows"] | None = None,
    ) -> Columns:
        """Return the columns of all terms, without weights.

        **Arguments:**

        - `x`: the estimates, zero beyond their ends.
        - `target`: what `target` returned for the same rows.
        - `n_samples`: as in `target`.
        """

    @abstractmethod
    def is_long_enough(
        self, n_samples: Int[Array, "*rows"], size: int, dtype: Any
    ) -> Bool[Array, "*rows"]:
        """Return which signals of these lengths are not too short to be compared.

        One value for all channels that are mixed broadcasts.

        **Arguments:**

        - `n_samples`: the lengths, of each channel.
        - `size`, `dtype`: of the arrays that hold the signals.
        """

    @abstractmethod
    def apart(self) -> "tuple[AbstractComparison, ...]":
        """Return what compares signals, and what mixes channels, on their own.

        Terms of the same name add up. Channels that are mixed end together, at the end
        of the longest; signals that are not mixed each have an end of their own.
        """

    @abstractmethod
    def finish(
        self, term: int, means: tuple[Float[Array, ""], ...]
    ) -> Float[Array, ""]:
        """Return a term of more than one column, given the means over rows of them."""

    @abstractmethod
    def joined(self, other: "AbstractComparison") -> "AbstractComparison | None":
        """Return both as one that shares work, or `None` if they have none in common.

        The terms of `other` come last.
        """


class AbstractMeanComparison(AbstractComparison):
    """A comparison whose terms are all means over rows."""

    @property
    def n_columns(self) -> tuple[int, ...]:
        return (1,) * len(self.names)

    def finish(
        self, term: int, means: tuple[Float[Array, ""], ...]
    ) -> Float[Array, ""]:
        (mean,) = means
        return mean


_Module = TypeVar("_Module", bound=eqx.Module)


def with_fields(module: _Module, **fields: Any) -> _Module:
    """Return `module` with other values of some fields, of whatever class it is."""
    new = object.__new__(type(module))
    for name, value in {**vars(module), **fields}.items():
        object.__setattr__(new, name, value)
    return new


def in_units(
    parts: Iterable[Sequence[AbstractComparison]],
) -> tuple[AbstractComparison, ...]:
    """Return the comparisons of several parts, each in units of its own."""
    result: list[AbstractComparison] = []
    start = 0
    for part in parts:
        result += [with_fields(c, unit=start + c.unit) for c in part]
        start = max([start, *(c.unit + 1 for c in result)])
    return tuple(result)


def renamed(
    comparison: AbstractComparison, prefix: str, weight: Any
) -> AbstractComparison:
    """Return a comparison as part of a sum: under a name, times a weight."""
    names = tuple(f"{prefix}/{name}" if name else prefix for name in comparison.names)
    weights = tuple(_product(weight, own) for own in comparison.weights)
    return with_fields(comparison, names=names, weights=weights)


def _product(a: Any, b: Any) -> Any:
    """The product of two weights: numbers stay numbers."""
    if isinstance(a, jax.Array) and isinstance(b, jax.Array):
        dtype = max(a.dtype, b.dtype, key=lambda dtype: dtype.itemsize)
        return a.astype(dtype) * b.astype(dtype)
    if isinstance(a, jax.Array) or isinstance(b, jax.Array):
        array, number = (a, b) if isinstance(a, jax.Array) else (b, a)
        return array * jnp.asarray(float(number), array.dtype)
    return float(a) * float(b)


def weighed(value: Float[Array, "*rows"], weight: Any) -> Float[Array, "*rows"]:
    return value * jnp.asarray(weight).astype(value.dtype)


def is_off(weight: Any) -> bool:
    """Whether a term of this weight is not computed: a number that is 0."""
    return not isinstance(weight, jax.Array) and weight == 0


def merged(comparisons: Iterable[AbstractComparison]) -> list[AbstractComparison]:
    """Return the comparisons, with those that share work as one."""
    result: list[AbstractComparison] = []
    for comparison in comparisons:
        for i, other in enumerate(result):
            joint = other.joined(comparison)
            if joint is not None:
                result[i] = joint
                break
        else:
            result.append(comparison)
    return result


def unique_names(names: Sequence[str]) -> list[str]:
    """Number the names that come more than once: `a`, `b`, `a` is `a#1`, `b`, `a#2`.

    Not by a number that another name has: `a`, `a`, `a#1` is `a#2`, `a#3`, `a#1`.
    """
    total, seen, result = Counter(names), Counter(), []
    for name in names:
        if total[name] == 1:
            result.append(name)
            continue
        seen[name] += 1
        while f"{name}#{seen[name]}" in total:
            seen[name] += 1
        result.append(f"{name}#{seen[name]}")
    return result


def uniquely_named(
    comparisons: Sequence[AbstractComparison],
) -> tuple[AbstractComparison, ...]:
    """Return the comparisons with names that no two terms share."""
    names = [name for c in comparisons for name in c.names]
    if len(set(names)) == len(names):
        return tuple(comparisons)
    rest = iter(unique_names(names))
    return tuple(
        with_fields(c, names=tuple(next(rest) for _ in c.names)) for c in comparisons
    )


def folded(x: Float[Array, "..."], event_ndim: int) -> Float[Array, "..."]:
    """Return rows of fewer axes: channels as rows of their own."""
    return (
        x
        if x.ndim == 1 + event_ndim
        else x.reshape(-1, *x.shape[x.ndim - event_ndim :])
    )


def repeated(
    n_samples: Int[Array, " rows"] | None, n_rows: Any
) -> Int[Array, " rows_"] | None:
    """Return the length of each row for each of its channels."""
    if n_samples is None or n_samples.shape[0] == n_rows:
        return n_samples
    times = n_rows // n_samples.shape[0]
    return jnp.broadcast_to(n_samples[:, None], (n_samples.shape[0], times)).reshape(-1)


def target_of_events(
    comparison: AbstractComparison,
    y: Float[Array, "..."],
    n_samples: Int[Array, " rows"] | None,
) -> Targets:
    """`target` of rows that may have more axes than the comparison's."""
    n_rows = y.shape[0]
    signals = folded(y, comparison.event_ndim)
    target = comparison.target(signals, repeated(n_samples, signals.shape[0]))
    if signals.shape[0] == n_rows:
        return target
    return jax.tree.map(lambda t: t.reshape(n_rows, -1, *t.shape[1:]), target)


def values_of_events(
    comparison: AbstractComparison,
    x: Float[Array, "..."],
    target: Targets,
    n_samples: Int[Array, " rows"] | None,
) -> Columns:
    """`values` of rows that may have more axes than the comparison's."""
    n_rows = x.shape[0]
    signals = folded(x, comparison.event_ndim)
    if signals.shape[0] == n_rows:
        return comparison.values(signals, target, n_samples)
    target = jax.tree.map(lambda t: t.reshape(-1, *t.shape[2:]), target)
    n_samples = repeated(n_samples, signals.shape[0])
    columns = comparison.values(signals, target, n_samples)
    return tuple(jnp.mean(c.reshape(n_rows, -1), axis=1) for c in columns)
