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
from korvax_eqx._tree import hash_of

from ._losses import check_values
from ._operators import AbstractOperand
from ._recompiled import notice_compiled
from ._steps import Scope


class AbstractLoss(AbstractOperand):
    """Two signals to one number, averaged over the leading axes.

    A class defines `terms`; everything that a user calls follows from them. A class
    whose terms are named after its parts (`"part/term"`) sets `has_parts`. Losses can
    be added and weighted: `a + 0.5 * b` is a `SumLoss`.
    """

    @property
    def has_parts(self) -> bool:
        """Whether terms are named after parts."""
        return False

    @abstractmethod
    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        """Return the terms of this loss, e.g. made from the terms of other losses.

        **Arguments:**

        - `key`: for losses that draw at random.
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

        - `x`, `y`: estimate and target, of the same shape. Call a bound loss with `x`
            alone.
        - `lengths`: for a padded batch, the number of samples of each signal: integers
            of the shape of the leading axes, or broadcasting to it. The value is the
            mean over the losses of the unpadded signals. Signals of length 0 are left
            out, as are signals too short for the loss (which would raise `ValueError`
            on their own). If none is left, value and gradient are 0. If the loss mixes
            channels of different lengths, each is padded with silence to the longest.
        - `key`: a key of `jax.random`, for losses that draw at random. Other losses
            ignore it.

        **Raises:** `ValueError` if the shapes differ, or the signals are not real
        floating point.
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

        Takes the arguments of a call. The terms are a dictionary in the order of the
        loss. It also holds the unweighted terms, `terms.unweighted`, and the terms by
        part, `terms.parts`, from the same pass: see `Terms`. Returning the terms for
        logging costs nothing: `jax.value_and_grad(loss.with_terms, has_aux=True)`.
        Differentiating the terms themselves costs another pass.
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
        """Return what each part adds to the loss, for weighting parts yourself.

        These are the parts of a `SumLoss`, the resolutions of a multi-resolution loss,
        or otherwise the terms. Takes the arguments of a call. Differentiating a
        combination of parts costs about a third more than the gradient of a call;
        weights inside the loss, as a JAX array, cost nothing extra.
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
        """Return the terms, and the gradient of each part with respect to `x`.

        The parts are unweighted; `terms.parts.unweighted` holds their values.
        `GradientBalancer` uses this method. Takes the arguments of a call. Costs as
        much as computing the gradient of one part after another.
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
        """Return a loss of `x` alone; everything about the target is computed once.

        Takes the arguments of a call. A loss that draws at random needs a `key` here
        too, but each call draws with its own. Parts that are bound keep their targets.

        **Raises:** `ValueError` if all parts are bound.
        """
        name = _name(self)
        checks.signal_type(name, "y", y)
        check_key(name, key)
        lengths = checks.lengths(name, lengths, y)
        targets, places = _bound(self, y, lengths, key)
        dtype = checks.signal(name, "y", y).dtype
        ndims = tuple(target.ndim for target in targets)
        shape = jnp.shape(y)
        return BoundLoss(self, targets, lengths, shape, dtype, places.value, ndims)

    def __repr__(self) -> str:
        return constructor_call(self)

    def __hash__(self) -> int:
        return hash_of(self, _name(self))


class BoundLoss(AbstractLoss):
    """A loss of the estimate alone, made by `bind` from a loss and a target.

    Everything about the target is computed once, when it is bound. The target's spectra
    are array leaves of this module. They are data, not parameters: keep them out of the
    optimiser (`eqx.partition`), or bind inside the function that is differentiated.
    """

    loss: AbstractLoss
    targets: tuple[Inexact[Array, "..."], ...]
    lengths: Int[Array, "..."] | None
    shape: tuple[int, ...] = eqx.field(static=True)
    dtype: Any = eqx.field(static=True)
    # The index of each term's target; `None` for terms that had one before.
    places: tuple[int | None, ...] = eqx.field(static=True)
    # How many axes each target had.
    ndims: tuple[int, ...] = eqx.field(static=True)

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        own = self.lengths, self.shape, self.dtype
        targets = zip(self.targets, self.ndims, strict=True)
        kept = [Kept(array, *own, ndim) for array, ndim in targets]
        pairs = zip(active(self.loss.terms(key=key)), self.places, strict=True)
        return tuple(t if i is None else t.against(kept[i]) for t, i in pairs)

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
    """Base of losses in the time domain, which are means over signals.

    A class defines `values`: one number per signal. `scope` declares what that number
    depends on: `"signal"` (default), one signal; `"value"`, sums of a function of
    single samples, which need no memory for intermediate arrays; `"channels"`, all
    signals along the axis before the samples. `least_samples` is how many samples the
    loss needs. `values_per_sample` is about how many intermediate values it makes of
    each sample: with many, fewer signals of a batch are evaluated at a time.
    """

    scope: ClassVar[Scope] = "signal"
    base_name: ClassVar[str] = "AbstractWaveformLoss"
    is_of_batch: ClassVar[bool] = False
    # A signal of fewer samples is too short for the loss.
    least_samples: ClassVar[int] = 1
    values_per_sample: ClassVar[float] = 1

    @abstractmethod
    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        """Return the loss of each signal.

        **Arguments:** `x`, `y`: estimates and targets, zero beyond their ends.
        """

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        return (Term((), self, name=snake_name(self)),)

    def check(self, x: Any, values: Array) -> None:
        """Check what `values` of a user's class returned."""
        check_values(self, x, values)


def _name(loss: AbstractLoss) -> str:
    """Return the class name for messages; for a bound loss, the original's."""
    return type(loss.loss if isinstance(loss, BoundLoss) else loss).__name__


def _called(
    loss: AbstractLoss, x: Any, y: Any, lengths: Any, key: Any, wants: Wants
) -> tuple[Float[Array, ""], Terms]:
    return _evaluated(loss, *_checked(loss, x, y, lengths, key), key, Fixed(wants))


def _checked(
    loss: AbstractLoss, x: Any, y: Any, lengths: Any, key: Any
) -> tuple[Any, Any, Any]:
    """Return signals and lengths, checked."""
    # Before `jax.jit`, which would convert lists or raise errors of its own.
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
    notice_compiled(_name(loss), loss, x)
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
    for term in terms:
        shape = jnp.shape(term.weight)
        if shape:
            raise ValueError(
                f"`{name}`: the weight of `{term.name}` must be a scalar. Got an array "
                f"of shape {shape}."
            )
        if (kept := term.target) is None:
            continue
        is_mapped = kept.array.ndim > kept.ndim
        if is_mapped or x.ndim < len(kept.shape) and x.shape == kept.shape[-x.ndim :]:
            raise ValueError(
                f"`{name}`: it is bound to targets of shape {kept.shape}"
                f"{', mapped by `jax.vmap`' if is_mapped else ''}. Got an "
                f"estimate of shape {x.shape}. In `jax.vmap` map both: `jax.vmap("
                "lambda bound, x: bound(x))(bound, x)`, with `bound = jax.vmap("
                "loss.bind)(y)`."
            )
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
        values: dict[int, list[Array]] = {}
        gradients: dict[str, Array] = {}
        for name, numbers in parts_of(terms, loss.has_parts).items():
            own = [terms[i] for i in numbers]

            def value(x: Any, own: Any = own) -> tuple[Array, list[list[Array]]]:
                _, a, b, ends = _prepared(loss, x, y, lengths, key)
                return evaluate(alone(own), a, b, ends, "both", beside=terms)

            gradient, found = jax.grad(value, has_aux=True)(x)
            values.update(zip(numbers, found, strict=True))
            if not all(term.is_monitored for term in own):
                gradients[name] = gradient
        each = [values[i] for i in range(len(terms))]
        return reported(terms, each, loss.has_parts), gradients


def _lengths(name: str, terms: Any, y: Any, lengths: Any) -> Any:
    """Return the lengths given in the call, or those given to `bind`.

    **Raises:** `ValueError` for a missing or superfluous target, and for different
    lengths.
    """
    bound = [term.target for term in terms if term.target is not None]
    if y is None and len(bound) < len(terms):
        raise ValueError(
            f"`{name}`: a target `y` is missing. Call `loss(x, y)`, or bind one, "
            "`loss.bind(y)(x)`."
        )
    if y is not None and bound and len(bound) == len(terms):
        raise ValueError(
            f"`{name}`: the target must be given once. Got it in `bind` and in the "
            "call. Call the bound loss with the estimate alone, `loss(x)`."
        )
    if not bound:
        return lengths
    own = bound[0].lengths
    if lengths is not None or any(kept.lengths is not own for kept in bound):
        raise ValueError(
            f"`{name}`: `lengths` must be given to `bind`, not to the call, and be the "
            "same array for all bound targets. Bind the sum, not its parts: "
            "`(a + b).bind(y, lengths=lengths)`."
        )
    return own


@compiled
def _bound(
    loss: AbstractLoss, y: Any, lengths: Any, key: Any
) -> tuple[tuple[Array, ...], Fixed]:
    name = _name(loss)
    y = checks.signal(name, "y", y)
    terms = active(loss.terms(key=key))
    if terms and all(term.target is not None for term in terms):
        raise ValueError(
            f"`{name}`: the target must be given once. It is bound to one already."
        )
    targets, places = kept_targets(terms, y, lengths)
    return targets, Fixed(places)
