"""Losses on signals: what a user calls."""

from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Inexact, Int, PRNGKeyArray

from korvax_eqx import _checks as checks
from korvax_eqx._compile import compiled
from korvax_eqx._data import Signals, Term, Terms
from korvax_eqx._data._kept import Kept
from korvax_eqx._engine._evaluate import Wants, evaluate, kept_targets
from korvax_eqx._engine._plan import active
from korvax_eqx._engine._report import alone, parts_of, reported
from korvax_eqx._keys import check_key
from korvax_eqx._names import snake_name
from korvax_eqx._repr import constructor_call
from korvax_eqx._static import Fixed

from ._losses import check_values
from ._operators import AbstractOperand
from ._steps import Scope


class AbstractLoss(AbstractOperand):
    """Two signals to one number, averaged over the leading axes.

    A class says of which terms it is made; everything that a user calls follows. One
    made of parts, after which its terms are called (`"part/term"`), says so with
    `has_parts`. Losses are added and weighted: `a + 0.5 * b` is a `SumLoss`.
    """

    @property
    def has_parts(self) -> bool:
        """Whether terms are called after parts."""
        return False

    @abstractmethod
    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        """Return the terms, e.g. those of another loss.

        **Arguments:**

        - `key`: for losses that draw.
        """

    def __call__(
        self,
        x: Float[Array, "*channels n_samples"],
        y: Float[Array, "*channels n_samples"] | None = None,
        *,
        lengths: Int[ArrayLike, "..."] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, ""]:
        """Return the loss of the estimate `x` for the target `y`.

        **Arguments:**

        - `x`, `y`: signals of one shape. A loss that `bind` has made has its target,
            and is called with `x` alone.
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
        y: Float[Array, "*channels n_samples"] | None = None,
        *,
        lengths: Int[ArrayLike, "..."] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> tuple[Float[Array, ""], Terms]:
        """Return the loss and its weighted terms by name, which add up to it.

        The arguments are those of a call. The terms are a dictionary in the order of
        the loss; from the same pass it has them without weights, `terms.unweighted`,
        and grouped by part, `terms.parts`: see `Terms`. A training step takes them
        along for a log at no cost, `jax.value_and_grad(loss.with_terms,
        has_aux=True)`; if they are differentiated themselves, it costs a pass of its
        own.
        """
        return _called(self, x, y, lengths, key, "both")

    def parts(
        self,
        x: Float[Array, "*channels n_samples"],
        y: Float[Array, "*channels n_samples"] | None = None,
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
        return _called(self, x, y, lengths, key, "terms")[1].parts

    def part_gradients(
        self,
        x: Float[Array, "*channels n_samples"],
        y: Float[Array, "*channels n_samples"] | None = None,
        *,
        lengths: Int[ArrayLike, "..."] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> tuple[Terms, dict[str, Float[Array, "*channels n_samples"]]]:
        """Return the terms, and the gradient for `x` of each part on its own.

        A part is taken without its weight, as `terms.parts.unweighted` of `with_terms`
        has its value. For `GradientBalancer`. The arguments are those of a call; it
        costs what the gradients of the parts cost one after another.
        """
        arguments = _checked(self, x, y, lengths, key)
        terms, gradients = _part_gradients(self, *arguments, key)
        # JAX sorts the keys of dictionaries.
        return terms, {n: gradients[n] for n in terms.parts if n in gradients}

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
        name = _name(self)
        checks.signal_type(name, "y", y)
        check_key(name, key)
        lengths = checks.lengths(name, lengths, y)
        targets, places = _bound(self, y, lengths, key)
        dtype = checks.signal(name, "y", y).dtype
        return BoundLoss(self, targets, lengths, jnp.shape(y), dtype, places.value)

    def __repr__(self) -> str:
        return constructor_call(self)


class BoundLoss(AbstractLoss):
    """A loss of the estimate alone, made by `bind` from a loss and a target.

    Everything about the target is computed once, when it is bound: its spectra are
    array leaves of this module. They are data, not parameters: keep them out of an
    optimiser (`eqx.partition`), or bind inside the function that is differentiated.
    """

    loss: AbstractLoss
    targets: tuple[Inexact[Array, "..."], ...]
    lengths: Int[Array, "..."] | None
    shape: tuple[int, ...] = eqx.field(static=True)
    dtype: Any = eqx.field(static=True)
    places: tuple[int, ...] = eqx.field(static=True)

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        kept = [Kept(t, self.lengths, self.shape, self.dtype) for t in self.targets]
        pairs = zip(active(self.loss.terms(key=key)), self.places, strict=True)
        return tuple(term.against(kept[i]) for term, i in pairs)

    @property
    def has_parts(self) -> bool:
        return self.loss.has_parts

    def __repr__(self) -> str:
        target = f"{self.dtype}[{','.join(map(str, self.shape))}]"
        lengths = self.lengths
        if lengths is not None:
            target += f", lengths={lengths.dtype}[{','.join(map(str, lengths.shape))}]"
        return f"{self.loss!r}.bind({target})"


class AbstractWaveformLoss(AbstractLoss):
    """A loss on signals in the time domain, which is a mean over signals.

    A class defines `values`: one number for each signal. `scope` declares what that is:
    `"value"`, sums over samples, each on its own, for which XLA's loops keep nothing;
    `"signal"`, the default, a number of one signal; `"channels"`, of all signals along
    the axis before the samples.
    """

    scope: ClassVar[Scope] = "signal"
    base_name: ClassVar[str] = "AbstractWaveformLoss"
    is_of_batch: ClassVar[bool] = False

    @abstractmethod
    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        """Return the loss of each signal.

        **Arguments:** `x`, `y`: estimates and targets, zero beyond their ends.
        """

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        return (Term((), self, name=snake_name(self)),)

    def check(self, x: Any, values: Array) -> None:
        """Check what `values` has returned, for classes of the user's."""
        check_values(self, x, values)


def _name(loss: AbstractLoss) -> str:
    """Return the class that messages name: of a bound loss, the one that was bound."""
    return type(loss.loss if isinstance(loss, BoundLoss) else loss).__name__


def _called(
    loss: AbstractLoss, x: Any, y: Any, lengths: Any, key: Any, wants: Wants
) -> tuple[Float[Array, ""], Terms]:
    return _evaluated(loss, *_checked(loss, x, y, lengths, key), key, Fixed(wants))


def _checked(
    loss: AbstractLoss, x: Any, y: Any, lengths: Any, key: Any
) -> tuple[Any, Any, Any]:
    """Return signals and lengths that are what they should be."""
    # Before `jax.jit`, which would convert lists or refuse in words of its own.
    name = _name(loss)
    checks.signal_type(name, "x", x)
    if y is not None:
        checks.signal_type(name, "y", y)
    check_key(name, key)
    return x, y, checks.lengths(name, lengths, x)


@compiled
def _evaluated(
    loss: AbstractLoss, x: Any, y: Any, lengths: Any, key: Any, wants: Fixed
) -> tuple[Float[Array, ""], Terms]:
    with jax.named_scope(f"korvax_eqx.{_name(loss)}"):
        terms, x, y, lengths = _prepared(loss, x, y, lengths, key)
        value, values = evaluate(terms, x, y, lengths, wants.value)
        if wants.value == "total":
            return value, Terms({}, {})
        return value, reported(terms, values, loss.has_parts)


def _prepared(
    loss: AbstractLoss, x: Any, y: Any, lengths: Any, key: Any
) -> tuple[list[Term], Array, Array | None, Any]:
    """Return the terms, signals of one dtype, and the lengths."""
    name = _name(loss)
    x = checks.signal(name, "x", x)
    dtype = x.dtype
    if y is not None:
        y = checks.signal(name, "y", y)
        checks.pair(name, x, y)
        dtype = checks.wider(dtype, y.dtype)
    terms = active(loss.terms(key=key))
    targets = [term.target for term in terms if term.target is not None]
    for kept in targets:
        if x.shape != kept.shape:
            checks.pair(name, x, jax.ShapeDtypeStruct(kept.shape, kept.dtype))
        dtype = checks.wider(dtype, kept.dtype)
    lengths = _lengths(name, terms, y, lengths)
    return terms, x.astype(dtype), None if y is None else y.astype(dtype), lengths


@compiled
def _part_gradients(
    loss: AbstractLoss, x: Any, y: Any, lengths: Any, key: Any
) -> tuple[Terms, dict[str, Array]]:
    with jax.named_scope(f"korvax_eqx.{_name(loss)}"):
        terms, _, _, _ = _prepared(loss, x, y, lengths, key)
        values: dict[int, Array] = {}
        gradients: dict[str, Array] = {}
        for name, numbers in parts_of(terms, loss.has_parts).items():
            own = [terms[i] for i in numbers]

            def value(x: Any, own: Any = own) -> tuple[Array, list[Array]]:
                _, *arguments = _prepared(loss, x, y, lengths, key)
                return evaluate(alone(own), *arguments, wants="both")

            gradient, found = jax.grad(value, has_aux=True)(x)
            values.update(zip(numbers, found, strict=True))
            if not all(term.is_monitored for term in own):
                gradients[name] = gradient
        each = [values[i] for i in range(len(terms))]
        return reported(terms, each, loss.has_parts), gradients


def _lengths(name: str, terms: Any, y: Any, lengths: Any) -> Any:
    """Return the lengths of the call, or of the targets that were bound.

    **Raises:** `ValueError` for a target too few or too many, and for lengths that are
    not the same for all.
    """
    bound = [term.target for term in terms if term.target is not None]
    if y is None and len(bound) < len(terms):
        raise ValueError(
            f"`{name}`: a target `y` is missing. Call `loss(x, y)`, or bind one, "
            "`loss.bind(y)(x)`."
        )
    if y is not None and bound and len(bound) == len(terms):
        raise ValueError(
            f"`{name}`: it has its target already, which `bind` was given. Call it "
            "with the estimate alone, `loss(x)`."
        )
    if not bound:
        return lengths
    own = bound[0].lengths
    if lengths is not None or any(kept.lengths is not own for kept in bound):
        raise ValueError(
            f"`{name}`: `lengths` are those of the targets, the same for all parts. "
            "Give them to `bind`, once."
        )
    return own


@compiled
def _bound(
    loss: AbstractLoss, y: Any, lengths: Any, key: Any
) -> tuple[tuple[Array, ...], Fixed]:
    y = checks.signal(_name(loss), "y", y)
    targets, places = kept_targets(loss.terms(key=key), y, lengths)
    return targets, Fixed(places)
