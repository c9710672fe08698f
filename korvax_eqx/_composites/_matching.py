"""Matching the sources of estimates with those of targets, for several terms."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._core._losses import check_real
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Signals, Term
from korvax_eqx._engine._piece import gated, weighted
from korvax_eqx._engine._plan import End, active, parts_of
from korvax_eqx._engine._walk import Data, changed, main_array, values_of
from korvax_eqx._messages import refuse
from korvax_eqx._names import AbstractOfFunction, name_of, snake_name
from korvax_eqx._numerics._assignment import least_cost
from korvax_eqx._tree import constant

from ._parts import terms_of

Reached = Sequence[tuple[End, Data, Data]]


class Matching(eqx.Module):
    """Joins terms of sources: those of estimates in the order that costs least."""

    scope: ClassVar[Scope] = "channels"
    base_name: ClassVar[str] = "AbstractWaveformLoss"
    is_of_batch: ClassVar[bool] = False
    least_samples: ClassVar[int] = 1

    def joined(self, ends: Reached, axis: int) -> list[Float[Array, "*rows"]]:
        """Return the mean over sources of each term, in the best order.

        `axis` is that of the sources. Maps inside may have put others behind it.
        """
        # Which target belongs to each estimate: targets are rarely differentiated, and
        # so they are put in order.
        targets = jnp.argsort(self.order(ends, axis), axis=-1)
        values = []
        for end, x, y in ends:
            (value,) = values_of(end, x, _taken(y, targets, axis))
            values.append(gated(_mean_from(value, axis), end.gate))
        return values

    def order(self, ends: Reached, axis: int) -> Int[Array, "*rows n_sources"]:
        """Return the number of the estimate that belongs to each target.

        Where nothing is compared but what is monitored, sources stay as they are.
        """
        costs: Any = None
        for reached in ends:
            end, x, y = constant(reached)
            if end.is_monitored:
                continue
            # All pairs: an axis of estimates, then one of targets.
            n = main_array(x).shape[axis]
            pairs = _repeated(x, axis + 1, n), _repeated(y, axis, n)
            (value,) = values_of(end, *pairs)
            value = _mean_from(value, axis + 2)
            cost = weighted(gated(value, end.gate), end.weight)
            costs = cost if costs is None else costs + cost
        if costs is None:
            shape = main_array(ends[0][1]).shape[: axis + 1]
            return jnp.broadcast_to(jnp.arange(shape[-1], dtype=jnp.int32), shape)
        return least_cost(costs)


class OfOnePair(AbstractOfFunction):
    """A function of one estimate and one target, applied to each pair of a batch."""

    fn: Callable[..., Any]
    scope: ClassVar[Scope] = "signal"
    base_name: ClassVar[str] = "AbstractWaveformLoss"
    is_of_batch: ClassVar[bool] = False
    least_samples: ClassVar[int] = 1
    values_per_sample: ClassVar[float] = 1

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        if x.n_samples is not None:
            raise ValueError(
                f"`lengths` cannot be combined with `{name_of(self)}`: a function does "
                "not see where signals end. Derive a class from "
                "`AbstractWaveformLoss`."
            )
        fn: Callable[..., Any] = self.fn
        for _ in x.x.shape[:-1]:
            fn = jax.vmap(fn)
        return fn(x.x, y.x)

    def check(self, x: Any, values: Array) -> None:
        check_real(self, values)
        shape = values.shape[x.x.ndim - 1 :]
        if shape:
            raise ValueError(
                f"The loss `{name_of(self)}` must return a scalar. Got the shape "
                f"{shape}. It is called with one estimate and one target."
            )


def pairwise_terms(owner: str, loss: Any, key: PRNGKeyArray | None) -> tuple[Term, ...]:
    """Return the terms of a loss that compares two signals at a time.

    **Raises:** `ValueError` for one that does not.
    """
    if not isinstance(loss, AbstractLoss):
        return (Term((), OfOnePair(loss), name=snake_name(loss)),)
    terms = active(terms_of(loss, key))
    for term in terms:
        if term.target is not None:
            _refuse(owner, loss, "it has its target already, which `bind` was given")
        if term.inside:
            _refuse(owner, loss, "it orders sources itself")
        for part in parts_of(term):
            name = name_of(part)
            if part.scope == "channels":
                _refuse(owner, loss, f"`{name}` mixes the axis of sources")
            if part.scope == "batch":
                _refuse(
                    owner,
                    loss,
                    f"`{name}` is a function that sees the whole batch: derive a class "
                    f"from `{part.base_name}`",
                )
        if term.loss.is_of_batch:
            name = name_of(term.loss)
            _refuse(owner, loss, f"`{name}` mixes the signals of a batch")
    return tuple(terms)


def _refuse(owner: str, loss: Any, why: str) -> NoReturn:
    rule = "compare two signals at a time"
    refuse(owner, "loss", rule, f"`{name_of(loss)}`", f"In it, {why}.")


def _mean_from(value: Array, axis: int) -> Array:
    return jnp.mean(value, axis=tuple(range(axis, value.ndim)))


def _repeated(data: Data, axis: int, n: int) -> Data:
    """Return data with a new axis, along which it is repeated `n` times."""

    def fn(array: Array) -> Array:
        shape = (*array.shape[:axis], n, *array.shape[axis:])
        return jnp.broadcast_to(jnp.expand_dims(array, axis), shape)

    return changed(data, fn)


def _taken(data: Data, numbers: Int[Array, "*rows n_sources"], axis: int) -> Data:
    """Return other sources in place of each, given their numbers."""

    def fn(array: Array) -> Array:
        index = numbers.reshape(*numbers.shape, *(1,) * (array.ndim - numbers.ndim))
        taken = array
        for number in range(array.shape[axis]):
            # A gather is slow on CPU, and its transpose is on accelerators, too.
            one = jax.lax.index_in_dim(array, number, axis)
            taken = jnp.where(index == number, one, taken)
        return taken

    return changed(data, fn)
