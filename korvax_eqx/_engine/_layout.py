"""How signals, kept targets and lengths are laid out as rows."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array

from korvax_eqx._numerics._padding import cut_off

from ._functions import Arrays


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the arrays of one row are laid out, flat, in the rows that are evaluated.

    **Arguments:**

    - `event_shape`: `(n_samples,)`, or `(n_channels, n_samples)` of mixed channels.
    - `has_target`: whether the targets come second, as signals.
    - `kept_shapes`: of what is kept of bound targets.
    - `has_lengths`: whether the number of samples of each signal comes last.
    """

    event_shape: tuple[int, ...]
    has_target: bool
    kept_shapes: tuple[tuple[int, ...], ...]
    has_lengths: bool

    @property
    def n_signals(self) -> int:
        return 1 + self.has_target

    def events(self, rows: Arrays) -> tuple[Arrays, Arrays, Array | None]:
        """Return signals, kept targets and lengths; signals are cut at their ends."""
        n = self.n_signals
        n_samples = None
        if self.has_lengths:
            n_samples = rows[n + len(self.kept_shapes)]
            n_samples = n_samples[:, 0] if n_samples.shape[-1] == 1 else n_samples
            if len(self.event_shape) == 2 and n_samples.ndim == 1:
                shape = (n_samples.shape[0], self.event_shape[0])
                n_samples = jnp.broadcast_to(n_samples[:, None], shape)
        signals = tuple(
            cut_off(row.reshape(-1, *self.event_shape), n_samples) for row in rows[:n]
        )
        kept = zip(rows[n:], self.kept_shapes, strict=False)
        return signals, tuple(k.reshape(-1, *s) for k, s in kept), n_samples
