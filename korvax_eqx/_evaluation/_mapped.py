"""Comparing signals after a signal map: filtered, or their channels mixed."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from korvax_eqx._maps._base import AbstractChannelMap, AbstractSignalMap
from korvax_eqx._names import name_of
from korvax_eqx._numerics._padding import cut_off
from korvax_eqx._scope import refuse_padding, scope_of
from korvax_eqx._static import has_plain_callables

from ._comparison import (
    AbstractComparison,
    Targets,
    merged,
    target_of_events,
    values_of_events,
    with_fields,
)
from ._pieces import Pieces
from ._spectral import is_equal
from ._whole import whole_target, whole_values


class MappedComparison(AbstractComparison):
    """Comparisons of mapped signals, which are mapped once for all of them."""

    map_fn: Any
    inner: tuple[AbstractComparison, ...]
    names: tuple[str, ...] = eqx.field(static=True)
    weights: tuple[Any, ...]
    piece_size: Pieces = eqx.field(static=True)
    unit: int = eqx.field(static=True)

    def __init__(self, map_fn: Any, inner: tuple[AbstractComparison, ...]) -> None:
        self.map_fn = map_fn
        self.inner = tuple(merged(inner))
        self.names = tuple(name for c in self.inner for name in c.names)
        self.weights = tuple(weight for c in self.inner for weight in c.weights)
        sizes: list[Pieces]
        sizes = [c.piece_size for c in self.inner if c.piece_size != "fused"]
        self.piece_size = sizes[0] if sizes else "auto"  # mapped signals take memory
        self.unit = self.inner[0].unit

    @property
    def event_ndim(self) -> int:
        own = 2 if isinstance(self.map_fn, AbstractChannelMap) else 1
        return max(own, *(c.event_ndim for c in self.inner))

    @property
    def is_rowwise(self) -> bool:
        is_map = isinstance(self.map_fn, AbstractSignalMap)
        is_plain = has_plain_callables(self.map_fn)
        return is_map and not is_plain and all(c.is_rowwise for c in self.inner)

    @property
    def n_columns(self) -> tuple[int, ...]:
        if not self.is_rowwise:
            return (1,) * len(self.names)
        return tuple(n for c in self.inner for n in c.n_columns)

    def target(
        self,
        y: Float[Array, "..."],
        n_samples: Int[Array, "..."] | None = None,
    ) -> Targets:
        y = self._mapped(y, n_samples)
        if not self.is_rowwise:
            return tuple(whole_target(c, y) for c in self.inner)
        return tuple(target_of_events(c, y, n_samples) for c in self.inner)

    def values(
        self,
        x: Float[Array, "..."],
        target: Targets,
        n_samples: Int[Array, "..."] | None = None,
    ) -> Any:
        x = self._mapped(x, n_samples)
        pairs = zip(self.inner, target, strict=True)
        if not self.is_rowwise:
            return tuple(v for c, t in pairs for v in whole_values(c, x, t))
        return tuple(v for c, t in pairs for v in values_of_events(c, x, t, n_samples))

    def finish(
        self, term: int, means: tuple[Float[Array, ""], ...]
    ) -> Float[Array, ""]:
        if not self.is_rowwise:
            return means[0]
        for comparison in self.inner:
            if term < len(comparison.names):
                return comparison.finish(term, means)
            term -= len(comparison.names)
        raise IndexError(term)

    def is_long_enough(
        self, n_samples: Int[Array, "*rows"], size: int, dtype: Any
    ) -> Bool[Array, "*rows"]:
        n = n_samples
        if isinstance(self.map_fn, AbstractChannelMap):
            n = jnp.max(n, axis=-1, keepdims=True)
        result = n > 0
        for comparison in self.inner:
            result &= comparison.is_long_enough(n, size, dtype)
        return result

    def apart(self) -> tuple[AbstractComparison, ...]:
        if isinstance(self.map_fn, AbstractChannelMap):
            return (self,)
        parts = [part for c in self._named_inner() for part in c.apart()]
        kinds = sorted({c.event_ndim for c in parts})
        each = (tuple(c for c in parts if c.event_ndim == kind) for kind in kinds)
        made = (MappedComparison(self.map_fn, inner) for inner in each)
        return tuple(with_fields(c, unit=self.unit) for c in made)

    def joined(self, other: AbstractComparison) -> "MappedComparison | None":
        if not isinstance(other, MappedComparison):
            return None
        is_shared = is_equal(self.map_fn, other.map_fn)
        if not is_shared or self.is_rowwise != other.is_rowwise:
            return None
        inner = (*self._named_inner(), *other._named_inner())
        return MappedComparison(self.map_fn, inner)

    def _named_inner(self) -> list[AbstractComparison]:
        """Return the inner comparisons with the names and weights of this one."""
        start, inner = 0, []
        for comparison in self.inner:
            own = slice(start, start + len(comparison.names))
            names, weights = self.names[own], self.weights[own]
            inner.append(with_fields(comparison, names=names, weights=weights))
            start = own.stop
        return inner

    def _mapped(
        self, x: Float[Array, "..."], n_samples: Int[Array, "..."] | None
    ) -> Float[Array, "..."]:
        if n_samples is not None and scope_of(self.map_fn, "__call__") == "signal":
            promise = "what follows a signal does not change it"
            refuse_padding(self.map_fn, promise, "map the signals before")
        mapped = self.map_fn(x)
        shape, is_mix = jnp.shape(mapped), isinstance(self.map_fn, AbstractChannelMap)
        n_kept = x.ndim - 2 if is_mix else x.ndim - 1
        is_right = (
            len(shape) == x.ndim
            and shape[:n_kept] == x.shape[:n_kept]
            and shape[-1] == x.shape[-1]
        )
        if not is_right:
            raise ValueError(
                f"The signal map `{name_of(self.map_fn)}` must return signals of the "
                f"shape that it was given, {x.shape}. Got the shape {shape}. A map "
                "that mixes channels derives from `AbstractChannelMap`."
            )
        if n_samples is None:
            return mapped
        lead = (*n_samples.shape, *(1,) * (x.ndim - 1 - n_samples.ndim))
        return cut_off(mapped, jnp.broadcast_to(n_samples.reshape(lead), shape[:-1]))
