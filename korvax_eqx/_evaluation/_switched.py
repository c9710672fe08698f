"""Some of several losses, chosen by integers that are drawn before evaluation."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float, Int

from korvax_eqx._tree import Arrays, Skeleton, take_arrays

from ._comparison import (
    AbstractComparison,
    AbstractMeanComparison,
    Columns,
    Targets,
    target_of_events,
    values_of_events,
    weighed,
    with_fields,
)
from ._evaluate import evaluate
from ._pieces import Pieces


class SwitchedComparison(AbstractMeanComparison):
    """The terms of the chosen options; those of the others are zero.

    One program evaluates any choice: `jax.lax.switch` runs one branch.
    """

    index: Int[Array, " n_draws"]
    options: tuple[tuple[AbstractComparison, ...], ...]
    names: tuple[str, ...] = eqx.field(static=True)
    weights: tuple[Any, ...]
    piece_size: Pieces = eqx.field(static=True)
    unit: int = eqx.field(static=True, default=0)

    @property
    def event_ndim(self) -> int:
        parts = (c for option in self.options for c in option)
        return max((c.event_ndim for c in parts), default=1)

    @property
    def is_rowwise(self) -> bool:
        """Not with a term that is no mean over rows, which has to see them all."""
        parts = [c for option in self.options for c in option]
        return all(c.is_rowwise and set(c.n_columns) == {1} for c in parts)

    def target(
        self,
        y: Float[Array, "..."],
        n_samples: Int[Array, " rows"] | None = None,
    ) -> Targets:
        """Return the signals: what is needed of them is known when one is chosen."""
        return (y,)

    def values(
        self,
        x: Float[Array, "..."],
        target: Targets,
        n_samples: Int[Array, " rows"] | None = None,
    ) -> Columns:
        skeleton, shared = take_arrays(self.options)
        columns: list[Any] = [0.0] * len(self.options)
        for index in self.index:
            arrays = (x, target[0])
            total = _chosen(skeleton, self.is_rowwise, shared, arrays, index, n_samples)
            zero = jnp.zeros_like(total)
            columns = [
                column + jnp.where(index == i, total, zero)
                for i, column in enumerate(columns)
            ]
        return tuple(columns)

    def is_long_enough(
        self, n_samples: Int[Array, "*rows"], size: int, dtype: Any
    ) -> Bool[Array, "*rows"]:
        result = n_samples > 0
        for comparison in (c for option in self.options for c in option):
            result &= comparison.is_long_enough(n_samples, size, dtype)
        return result

    def apart(self) -> tuple[AbstractComparison, ...]:
        options = [[p for c in option for p in c.apart()] for option in self.options]
        kinds = sorted({c.event_ndim for option in options for c in option})
        return tuple(
            with_fields(
                self,
                options=tuple(
                    tuple(c for c in option if c.event_ndim == kind)
                    for option in options
                ),
            )
            for kind in kinds
        )

    def joined(self, other: AbstractComparison) -> AbstractComparison | None:
        return None


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _chosen(
    skeleton: Skeleton,
    is_rowwise: bool,
    shared: Arrays,
    arrays: tuple[Array, Array],
    index: Int[Array, ""],
    n_samples: Int[Array, " rows"] | None,
) -> Float[Array, " rows"]:
    """Return the weighted sum of the terms of one option, for every row."""

    def branch(number: int) -> Any:
        return lambda shared, arrays: _option_total(
            skeleton.filled(shared)[number],
            is_rowwise,
            arrays[0],
            arrays[1],
            n_samples,
        )

    branches = list(map(branch, range(len(skeleton.leafless()))))
    return jax.lax.switch(index, branches, shared, arrays)


@functools.partial(_chosen.defjvp, symbolic_zeros=True)
def _chosen_jvp(skeleton, is_rowwise, primals, tangents):
    # Differentiated as it is, a switch would keep what every branch keeps. Here the
    # gradient is taken within the branch that runs.
    shared, arrays, index, n_samples = primals
    moving = [[not isinstance(t, SymbolicZero) for t in kind] for kind in tangents[:2]]

    def branch(number: int) -> Any:
        def evaluate(shared: Arrays, arrays: Arrays) -> Any:
            def total(shared: Arrays, arrays: Arrays) -> Any:
                option = skeleton.filled(shared)[number]
                x, y = arrays
                values = _option_total(option, is_rowwise, x, y, n_samples)
                return jnp.sum(values), values

            gradient = jax.grad(total, argnums=1, has_aux=True)
            grads, values = gradient(shared, arrays)
            return values, grads

        return evaluate

    if any(moving[0]):
        plain = functools.partial(_chosen.fun, skeleton, is_rowwise)
        changes = [
            [
                t
                if m
                else jnp.zeros(p.shape, jax.dtypes.float0)
                if not jnp.issubdtype(p.dtype, jnp.inexact)
                else jnp.zeros_like(p)
                for t, m, p in zip(kind, is_moving, values, strict=True)
            ]
            for kind, is_moving, values in zip(
                tangents[:2], moving, primals[:2], strict=True
            )
        ]
        return jax.jvp(
            lambda shared, arrays: plain(shared, arrays, index, n_samples),
            (shared, arrays),
            (tuple(changes[0]), tuple(changes[1])),
        )
    branches = list(map(branch, range(len(skeleton.leafless()))))
    values, grads = jax.lax.switch(index, branches, shared, arrays)
    change = jnp.zeros_like(values)
    for gradient, tangent, is_moving in zip(grads, tangents[1], moving[1], strict=True):
        if is_moving:
            axes = tuple(range(values.ndim, gradient.ndim))
            change = change + jnp.sum(gradient * tangent, axis=axes)
    return values, change


def _option_total(
    option: tuple[AbstractComparison, ...],
    is_rowwise: bool,
    x: Array,
    y: Array,
    n_samples: Int[Array, " rows"] | None,
) -> Array:
    if not is_rowwise:
        # All signals at once, but in pieces.
        return evaluate(option, x, y, None, "total")[0]
    total = jnp.zeros(x.shape[:1], x.dtype)
    for comparison in option:
        own = target_of_events(comparison, y, n_samples)
        values = values_of_events(comparison, x, own, n_samples)
        pairs = zip(values, comparison.weights, strict=True)
        total = sum((weighed(v, w) for v, w in pairs), total)
    return total
