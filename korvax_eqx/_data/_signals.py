"""Signals, and where they end."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from korvax_eqx._numerics._padding import cut_off


class Signals(eqx.Module):
    """A batch of signals, which may be padded.

    **Attributes:**

    - `x`: shape `(*rows, n_samples)`, zero beyond the end of each signal.
    - `n_samples`: the length of each signal, shape `(*rows,)`; `None` if none is
        padded.
    """

    x: Float[Array, "*rows n_samples"]
    n_samples: Int[Array, "*rows"] | None = None

    @property
    def count(self) -> int | Float[Array, "*rows"]:
        """Number of samples of each signal, at least 1, to divide by."""
        if self.n_samples is None:
            return self.x.shape[-1]
        return jnp.maximum(self.n_samples, 1).astype(self.x.dtype)

    def map(self, fn: Callable[[Array], Array]) -> "Signals":
        """Return `fn(x)` as signals of the same lengths, zero beyond their ends."""
        return Signals(cut_off(fn(self.x), self.n_samples), self.n_samples)

    def sum(self) -> Float[Array, "*rows"]:
        """Return the sum over the samples of each signal."""
        return jnp.sum(cut_off(self.x, self.n_samples), axis=-1)

    def mean(self) -> Float[Array, "*rows"]:
        """Return the mean over the samples of each signal."""
        return self.sum() / self.count
