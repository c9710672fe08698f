"""The base of all losses on signals: what a user calls."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from korvax_eqx import _checks as checks
from korvax_eqx._compile import compiled
from korvax_eqx._keys import check_key
from korvax_eqx._repr import constructor_call
from korvax_eqx._sharding._devices import whole_samples
from korvax_eqx._static import Fixed

from ._comparison import AbstractComparison, uniquely_named
from ._evaluate import Terms, Wants, bound_targets, evaluate, evaluate_bound


class AbstractLoss(eqx.Module):
    """Two signals to one number, averaged over the leading axes.

    A subclass says what is compared; everything that a user calls is made of that. One
    made of parts, after which its terms are called (`"part/term"`), says so with
    `has_parts = True` as a property.
    """

    @abstractmethod
    def comparisons(
        self, *, key: PRNGKeyArray | None = None
    ) -> tuple[AbstractComparison, ...]:
        """Return what is compared, e.g. the comparisons of another loss.

        **Arguments:**

        - `key`: for losses that draw.
        """

    def __call__(
        self,
        x: Float[Array, "*channels n_samples"],
        y: Float[Array, "*channels n_samples"],
        *,
        lengths: Int[ArrayLike, "..."] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, ""]:
        """Return the loss of the estimate `x` for the target `y`.

        **Arguments:**

        - `x`, `y`: signals of one shape.
        - `lengths`: the number of samples of each signal, if the batch is padded:
            integers of the shape of the leading axes, or broadcasting to it. The value
            is the mean over the losses of the signals cut to their lengths. A signal of
            length 0 does not count, nor does one too short for the loss, i.e. one that
            a call would refuse. If no signal counts, value and gradient are 0. Where a
            loss mixes channels, they are silent after their own lengths, up to the
            longest of them.
        - `key`: a key of `jax.random`, for losses that draw; the others ignore it.

        **Raises:** `ValueError` for signals of different shapes, or not real floats.
        """
        return _called(self, x, y, lengths, key, "total")[0]

    def with_terms(
        self,
        x: Float[Array, "*channels n_samples"],
        y: Float[Array, "*channels n_samples"],
        *,
        lengths: Int[ArrayLike, "..."] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> tuple[Float[Array, ""], Terms]:
        """Return the loss and its weighted terms by name, which add up to it.

        The arguments are those of a call. The terms are a plain dictionary in the order
        of the loss; JAX sorts its keys where it leaves a function of the user's that is
        compiled. A training step takes the terms along for a
        log at no cost, `jax.value_and_grad(loss.with_terms, has_aux=True)`; if they are
        differentiated themselves, it costs a pass of its own.
        """
        total, terms = _called(self, x, y, lengths, key, "both")
        assert terms is not None
        return total, terms

    def parts(
        self,
        x: Float[Array, "*channels n_samples"],
        y: Float[Array, "*channels n_samples"],
        *,
        lengths: Int[ArrayLike, "..."] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Terms:
        """Return what each part adds to the loss, for weighing by hand.

        The parts are those of a `SumLoss`, or the resolutions of a loss of several; of
        others the terms. The arguments are those of a call. Differentiating their
        combination costs about a third more than a call's gradient: weights inside of
        the loss, as a JAX array, cost nothing.
        """
        _, terms = _called(self, x, y, lengths, key, "terms")
        assert terms is not None
        return _parts_of(self, terms)

    def bind(
        self,
        y: Float[Array, "*channels n_samples"],
        *,
        lengths: Int[ArrayLike, "..."] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> "BoundLoss":
        """Return the loss of `x` alone, with all about the target computed once.

        The arguments are those of a call. What is drawn by `key` here may be drawn anew
        in every call of the result.
        """
        name = type(self).__name__
        checks.signal_type(name, "y", y)
        check_key(name, key)
        lengths = checks.lengths(name, lengths, y)
        targets = _bound(self, y, lengths, key)
        dtype = checks.signal(name, "y", y).dtype
        return BoundLoss(self, targets, lengths, jnp.shape(y), dtype)

    def __repr__(self) -> str:
        return constructor_call(self)


class BoundLoss(eqx.Module):
    """A loss of the estimate alone, made by `bind` from a loss and a target.

    Everything about the target is computed once, when it is bound: its spectra are
    array leaves of this module. They are data, not parameters: keep them out of an
    optimiser (`eqx.partition`), or bind inside the function that is differentiated.
    """

    loss: AbstractLoss
    targets: tuple[Any, ...]
    lengths: Int[Array, "..."] | None
    shape: tuple[int, ...] = eqx.field(static=True)
    dtype: Any = eqx.field(static=True)

    def __call__(
        self,
        x: Float[Array, "*channels n_samples"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, ""]:
        """Return the loss of `x`, a signal of the target's shape.

        **Raises:** `ValueError` for a signal of another shape or kind.
        """
        self._check(x, key)
        return _compare_bound_total(self, x, key)

    def with_terms(
        self,
        x: Float[Array, "*channels n_samples"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> tuple[Float[Array, ""], Terms]:
        """Return the loss and its weighted terms by name, which add up to it."""
        self._check(x, key)
        return _named(*_compare_bound_both(self, x, key))

    def parts(
        self,
        x: Float[Array, "*channels n_samples"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Terms:
        """Return what each part adds to the loss, as `parts` of the loss itself."""
        self._check(x, key)
        _, terms = _named(*_compare_bound_terms(self, x, key))
        return _parts_of(self.loss, terms)

    def _check(self, x: Any, key: Any) -> None:
        name = type(self.loss).__name__
        checks.signal_type(name, "x", x)
        check_key(name, key)

    def __repr__(self) -> str:
        target = _kind(self)
        lengths = "" if self.lengths is None else f", lengths={_kind(self.lengths)}"
        return f"{self.loss!r}.bind({target}{lengths})"


def _kind(array: Any) -> str:
    return f"{array.dtype}[{','.join(map(str, array.shape))}]"


def _parts_of(loss: AbstractLoss, terms: Terms) -> Terms:
    if not getattr(loss, "has_parts", False):
        return terms
    parts: Terms = {}
    for name, value in terms.items():
        part = name.split("/")[0]
        parts[part] = parts[part] + value if part in parts else value
    return parts


def _called(
    loss: AbstractLoss, x: Any, y: Any, lengths: Any, key: Any, wants: Wants
) -> tuple[Float[Array, ""], Terms | None]:
    # Before `jax.jit`, which would convert lists or refuse in words of its own.
    name = type(loss).__name__
    checks.signal_type(name, "x", x)
    checks.signal_type(name, "y", y)
    check_key(name, key)
    lengths = checks.lengths(name, lengths, x)
    if wants == "total":
        return _compare_total(loss, x, y, lengths, key), None
    compare = _compare_both if wants == "both" else _compare_terms
    return _named(*compare(loss, x, y, lengths, key))


def _compare(
    loss: AbstractLoss, x: Any, y: Any, lengths: Any, key: Any, wants: Wants
) -> tuple[Float[Array, ""], Terms | None]:
    name = type(loss).__name__
    with jax.named_scope(f"korvax_eqx.{name}"):
        x, y = checks.signal(name, "x", x), checks.signal(name, "y", y)
        checks.pair(name, x, y)
        dtype = checks.wider(x.dtype, y.dtype)
        x, y = whole_samples(x.astype(dtype)), whole_samples(y.astype(dtype))
        comparisons = uniquely_named(loss.comparisons(key=key))
        return evaluate(comparisons, x, y, lengths, wants)


_Listed = tuple[Float[Array, ""], list[Float[Array, ""]], Fixed]


def _listed(result: tuple[Float[Array, ""], Terms | None]) -> _Listed:
    """Take the names out of a result: JAX sorts the keys of dictionaries."""
    total, terms = result[0], result[1] or {}
    return total, list(terms.values()), Fixed(tuple(terms))


def _named(
    total: Float[Array, ""], values: list[Float[Array, ""]], names: Fixed
) -> tuple[Float[Array, ""], Terms]:
    return total, dict(zip(names.value, values, strict=True))


@compiled
def _compare_total(
    loss: AbstractLoss, x: Any, y: Any, lengths: Any, key: Any
) -> Float[Array, ""]:
    return _compare(loss, x, y, lengths, key, "total")[0]


@compiled
def _compare_both(
    loss: AbstractLoss, x: Any, y: Any, lengths: Any, key: Any
) -> _Listed:
    return _listed(_compare(loss, x, y, lengths, key, "both"))


@compiled
def _compare_terms(
    loss: AbstractLoss, x: Any, y: Any, lengths: Any, key: Any
) -> _Listed:
    return _listed(_compare(loss, x, y, lengths, key, "terms"))


@compiled
def _bound(loss: AbstractLoss, y: Any, lengths: Any, key: Any) -> tuple[Any, ...]:
    y = whole_samples(checks.signal(type(loss).__name__, "y", y))
    return bound_targets(uniquely_named(loss.comparisons(key=key)), y, lengths)


def _compare_bound(
    bound: BoundLoss, x: Any, key: Any, wants: Wants
) -> tuple[Float[Array, ""], Terms | None]:
    name = type(bound.loss).__name__
    with jax.named_scope(f"korvax_eqx.{name}.bound"):
        x = checks.signal(name, "x", x)
        if x.shape != bound.shape:
            checks.pair(name, x, jax.ShapeDtypeStruct(bound.shape, bound.dtype))
        x = whole_samples(x.astype(checks.wider(x.dtype, bound.dtype)))
        comparisons = uniquely_named(bound.loss.comparisons(key=key))
        return evaluate_bound(comparisons, x, bound.targets, bound.lengths, wants)


@compiled
def _compare_bound_total(bound: BoundLoss, x: Any, key: Any) -> Float[Array, ""]:
    return _compare_bound(bound, x, key, "total")[0]


@compiled
def _compare_bound_both(bound: BoundLoss, x: Any, key: Any) -> _Listed:
    return _listed(_compare_bound(bound, x, key, "both"))


@compiled
def _compare_bound_terms(bound: BoundLoss, x: Any, key: Any) -> _Listed:
    return _listed(_compare_bound(bound, x, key, "terms"))
