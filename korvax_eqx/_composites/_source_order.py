"""Which estimates belong to which targets, computed in pieces of the batch."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from korvax_eqx import _checks as checks
from korvax_eqx._compile import compiled
from korvax_eqx._data import Signals, Term
from korvax_eqx._engine._call import call_rows
from korvax_eqx._engine._devices import whole_samples
from korvax_eqx._engine._functions import Arrays, Kinds, RowFunction
from korvax_eqx._engine._layout import Layout, lengths_for
from korvax_eqx._engine._plan import tree_of
from korvax_eqx._engine._rows import RowTerms
from korvax_eqx._engine._walk import inside_of
from korvax_eqx._tree import take_arrays


@dataclasses.dataclass(frozen=True)
class RowOrder(RowFunction):
    """Rows of sources to the number of the estimate that belongs to each target."""

    terms: RowTerms

    @functools.cached_property
    def is_pure(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.terms.is_pure

    def rows_at_once(self, n_rows: Any, n_samples: int) -> int:
        return self.terms.rows_at_once(n_rows, n_samples)

    def kinds(self, shared: Kinds, rows: Kinds) -> tuple[Kinds, Kinds]:
        n_sources = self.terms.layout.event_shape[0]
        return (jax.ShapeDtypeStruct((n_sources,), jnp.int32),), ()

    def __call__(
        self, shared: Arrays, rows: Arrays, is_all: bool = False
    ) -> tuple[Arrays, Arrays]:
        signals, _, n_samples = self.terms.layout.events(rows)
        x, y = (Signals(s, lengths_for(s, n_samples)) for s in signals)
        (end,) = self.terms.skeleton.filled(shared).all_ends()
        return (end.loss.order(inside_of(end, x, y), x.x.ndim - 2),), ()


@compiled
def order_of(
    terms: tuple[Term, ...], name: Any, x: Any, y: Any, lengths: Any
) -> Int[Array, "*batch n_sources"]:
    """Return the number of the estimate that belongs to each target.

    `terms` are one that joins others by a `Matching`, or none if all weights are 0;
    `name` is the loss that messages name.
    """
    x, y = checks.signal(name.value, "x", x), checks.signal(name.value, "y", y)
    checks.pair(name.value, x, y)
    if x.ndim < 2:
        raise ValueError(
            f"`{name.value}`: signals must have the shape (*batch, n_sources, "
            f"n_samples). Got {x.shape}."
        )
    if not terms:
        return jnp.broadcast_to(jnp.arange(x.shape[-2], dtype=jnp.int32), x.shape[:-1])
    dtype = checks.wider(x.dtype, y.dtype)
    lead, has_lengths = x.shape[:-2], lengths is not None
    layout = Layout(x.shape[-2:], True, (), has_lengths)
    rows = (x.astype(dtype), y.astype(dtype), *((lengths,) if has_lengths else ()))
    rows = tuple(whole_samples(r).reshape(*lead, -1) for r in rows)
    skeleton, shared = take_arrays(tree_of(list(enumerate(terms))))
    fn = RowOrder(RowTerms(skeleton, layout))
    (order,), _ = call_rows(fn, *jax.lax.stop_gradient((shared, rows)))
    return order
