"""How signals, kept targets and lengths are stored as rows."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array

from korvax_eqx._numerics._padding import cut_off

from ._functions import Arrays


@dataclasses.dataclass(frozen=True)
class Layout:
    """The shapes of the arrays of one row, which are stored flattened.

    **Arguments:**

    - `event_shape`: `(n_samples,)`, or `(n_channels, n_samples)` if a loss mixes
        channels.
    - `has_target`: whether the second array holds the targets, as signals.
    - `kept_shapes`: shapes of the arrays that are kept for bound targets.
    - `has_lengths`: whether an array of lengths in samples follows, one per channel if
        channels are mixed. A row is then as long as its longest channel.
    """

    event_shape: tuple[int, ...]
    has_target: bool
    kept_shapes: tuple[tuple[int, ...], ...]
    has_lengths: bool

    @property
    def n_signals(self) -> int:
        return 1 + self.has_target

    def lengths(self, rows: Arrays) -> Array | None:
        """Return the lengths of the signals, one per channel if channels are mixed."""
        place = self.n_signals + len(self.kept_shapes)
        return rows[place] if self.has_lengths else None

    def events(self, rows: Arrays) -> tuple[Arrays, Arrays, Array | None]:
        """Return signals, kept targets and lengths; signals are 0 past their ends."""
        n, lengths = self.n_signals, self.lengths(rows)
        signals = tuple(self.signal(row, lengths) for row in rows[:n])
        n_samples = None
        if lengths is not None:  # mixed channels get the longest length
            n_samples = jnp.max(lengths, axis=-1)
        kept = zip(rows[n:], self.kept_shapes, strict=False)
        return signals, tuple(k.reshape(-1, *s) for k, s in kept), n_samples

    def signal(self, row: Array, lengths: Array | None) -> Array:
        """Return a row as signals that are zero beyond their ends."""
        x = row.reshape(-1, *self.event_shape)
        if lengths is None:
            return x
        return cut_off(x, lengths.reshape(x.shape[:-1]))


def lengths_for(x: Array, n_samples: Array | None) -> Array | None:
    """Return the length of each signal, given the length of each row."""
    if n_samples is None:
        return None
    n_samples = n_samples.reshape(-1, *[1] * (x.ndim - 2))
    return jnp.broadcast_to(n_samples, x.shape[:-1])
