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
    - `has_lengths`: whether the last row holds the number of samples, of each channel
        that is mixed. The longest is that of the event.
    """

    event_shape: tuple[int, ...]
    targets: tuple[tuple[tuple[int, ...], ...], Any] | None
    has_lengths: bool

    def events(self, rows: Arrays) -> tuple[Array, Any, Int[Array, " rows"] | None]:
        """Return estimates, targets and lengths; signals are cut off at their ends."""
        lengths = rows[-1] if self.has_lengths else None
        n_samples = None if lengths is None else jnp.max(lengths, axis=-1)
        rest = rows[1:-1] if self.has_lengths else rows[1:]
        x = self._signal(rows[0], lengths)
        if self.targets is None:
            return x, self._signal(rest[0], lengths), n_samples
        shapes, treedef = self.targets
        leaves = [r.reshape(-1, *s) for r, s in zip(rest, shapes, strict=True)]
        return x, jax.tree.unflatten(treedef, leaves), n_samples

    def _signal(self, row: Array, lengths: Array | None) -> Array:
        x = row.reshape(-1, *self.event_shape)
        if lengths is None:
            return x
        return cut_off(x, lengths.reshape(x.shape[:-1]))
