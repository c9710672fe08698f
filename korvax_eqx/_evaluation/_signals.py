"""Comparing signals as they are, in the time domain."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from korvax_eqx._names import name_of, snake_name

from ._comparison import (
    AbstractComparison,
    AbstractMeanComparison,
    Columns,
    Targets,
    with_fields,
)
from ._loss import AbstractLoss
from ._pieces import Pieces


class AbstractWaveformLoss(AbstractLoss):
    """A loss on signals in the time domain, which is a mean over signals."""

    @abstractmethod
    def values(
        self,
        x: Float[Array, "*rows n_samples"],
        y: Float[Array, "*rows n_samples"],
        n_samples: Int[Array, "*rows"] | None = None,
    ) -> Float[Array, "*rows"]:
        """Return the loss of each signal.

        **Arguments:**

        - `x`, `y`: estimates and targets, zero beyond their ends.
        - `n_samples`: their lengths; `None` if all are as long as the arrays.
        """

    def comparisons(
        self, *, key: PRNGKeyArray | None = None
    ) -> tuple[AbstractComparison, ...]:
        is_fused = isinstance(self, AbstractFusedWaveformLoss)
        piece_size = "fused" if is_fused else "auto"
        names = (snake_name(self),)
        return (WaveformComparison(losses=(self,), names=names, piece_size=piece_size),)


class AbstractFusedWaveformLoss(AbstractWaveformLoss):
    """A loss in the time domain that is made of sums over samples, each on its own.

    XLA makes value and gradient in loops over the samples that keep nothing between
    them, so that pieces would save no memory. Losses of this kind share the loops.
    """


def counted(
    x: Float[Array, "*rows n_samples"], n_samples: Int[Array, "*rows"] | None
) -> int | Float[Array, "*rows"]:
    """Return how many samples of each signal count, to divide by."""
    return x.shape[-1] if n_samples is None else n_samples.astype(x.dtype)


class WaveformComparison(AbstractMeanComparison):
    """Losses in the time domain, a term each.

    **Arguments:**

    - `losses`: have `values` as those of `AbstractWaveformLoss`.
    - `event_ndim`: the axes of a row of that, 2 for channels that are compared
        together.
    """

    losses: tuple[Any, ...]
    names: tuple[str, ...] = eqx.field(static=True)
    weights: tuple[Any, ...] = (1.0,)
    piece_size: Pieces = eqx.field(static=True, default="auto")
    unit: int = eqx.field(static=True, default=0)
    event_ndim: int = eqx.field(static=True, default=1)  # pyright: ignore

    @property
    def is_rowwise(self) -> bool:
        return True

    def target(
        self,
        y: Float[Array, "rows n_samples"],
        n_samples: Int[Array, " rows"] | None = None,
    ) -> Targets:
        return (y,)

    def values(
        self,
        x: Float[Array, "rows n_samples"],
        target: Targets,
        n_samples: Int[Array, " rows"] | None = None,
    ) -> Columns:
        columns = [loss.values(x, target[0], n_samples) for loss in self.losses]
        lead = x.shape[: x.ndim - self.event_ndim]
        for loss, column in zip(self.losses, columns, strict=True):
            if jnp.shape(column) != lead:
                raise ValueError(
                    f"The loss `{name_of(loss)}` must return one value for each "
                    f"signal, here the shape {lead}. Got {jnp.shape(column)}. Reduce "
                    "over the samples alone, `axis=-1`."
                )
        return tuple(columns)

    def is_long_enough(
        self, n_samples: Int[Array, "*rows"], size: int, dtype: Any
    ) -> Bool[Array, "*rows"]:
        return n_samples > 0

    def apart(self) -> tuple[AbstractComparison, ...]:
        return (self,)

    def joined(self, other: AbstractComparison) -> "WaveformComparison | None":
        """Return both as one: what needs no pieces reads the signals together."""
        if not isinstance(other, WaveformComparison):
            return None
        is_shared = self.piece_size == "fused" == other.piece_size
        if not is_shared or self.event_ndim != other.event_ndim:
            return None
        losses, names = self.losses + other.losses, self.names + other.names
        weights = self.weights + other.weights
        return with_fields(self, losses=losses, names=names, weights=weights)


class CallableComparison(AbstractMeanComparison):
    """Any function of two batches of signals as one term, evaluated as it is."""

    fn: Callable[..., Any]
    names: tuple[str, ...] = eqx.field(static=True)
    weights: tuple[Any, ...] = (1.0,)
    piece_size: Pieces = eqx.field(static=True, default="auto")
    unit: int = eqx.field(static=True, default=0)

    @property
    def event_ndim(self) -> int:
        return 1

    @property
    def is_rowwise(self) -> bool:
        return False

    def target(
        self,
        y: Float[Array, "*channels n_samples"],
        n_samples: Int[Array, "*channels"] | None = None,
    ) -> Targets:
        return (y,)

    def values(
        self,
        x: Float[Array, "*channels n_samples"],
        target: Targets,
        n_samples: Int[Array, "*channels"] | None = None,
    ) -> Columns:
        value = jnp.asarray(self.fn(x, target[0]))
        if value.shape != ():
            raise ValueError(
                f"The loss `{name_of(self.fn)}` must return a scalar. Got the shape "
                f"{value.shape}. Average over the axes that are left."
            )
        return (value.astype(x.dtype),)

    def is_long_enough(
        self, n_samples: Int[Array, "*rows"], size: int, dtype: Any
    ) -> Bool[Array, "*rows"]:
        return n_samples > 0

    def apart(self) -> tuple[AbstractComparison, ...]:
        return (self,)

    def joined(self, other: AbstractComparison) -> AbstractComparison | None:
        return None
