"""How signals, targets and lengths are laid out as rows."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from korvax_eqx._numerics._padding import cut_off
from korvax_eqx._tree import Arrays


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the arrays of one row are laid out, flat, in the rows that are evaluated.

    **Arguments:**

    - `event_shape`: `(n_samples,)`, or `(n_channels, n_samples)` of mixed channels.
    - `targets`: shapes and tree of what is kept of the targets; `None` where the
        second row is the target itself.
    - `has_lengths`: whether the last row holds the number of samples.
    """

    event_shape: tuple[int, ...]
    targets: tuple[tuple[tuple[int, ...], ...], Any] | None
    has_lengths: bool

    def events(self, rows: Arrays) -> tuple[Array, Any, Int[Array, " rows"] | None]:
        """Return estimates, targets and lengths; signals are cut off at their ends."""
        n_samples = rows[-1][:, 0] if self.has_lengths else None
        rest = rows[1:-1] if self.has_lengths else rows[1:]
        x = self._signal(rows[0], n_samples)
        if self.targets is None:
            return x, self._signal(rest[0], n_samples), n_samples
        shapes, treedef = self.targets
        leaves = [r.reshape(-1, *s) for r, s in zip(rest, shapes, strict=True)]
        return x, jax.tree.unflatten(treedef, leaves), n_samples

    def _signal(self, row: Array, n_samples: Array | None) -> Array:
        x = row.reshape(-1, *self.event_shape)
        if n_samples is None:
            return x
        if len(self.event_shape) == 1:
            return cut_off(x, n_samples)
        each = jnp.broadcast_to(n_samples[:, None], x.shape[:2])
        return cut_off(x, each)
