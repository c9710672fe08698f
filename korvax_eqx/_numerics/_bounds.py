"""Limits of a ratio of energies in dB, also for silent targets."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Row = Float[Array, "*rows"]

# A target with at most this fraction of the mixture's energy counts as silent.
SILENT = 1e-16


class Bounds(NamedTuple):
    """The limits of a ratio.

    **Attributes:**

    - `max_db`: the largest ratio, dB; `None` for no limit.
    - `silent_max_db`: the same for silent targets.
    - `mixture`: the reference for silent targets, of shape `(*rows, n_samples)` or
        broadcasting to it; `None` to treat silent targets like others.
    """

    max_db: float | None = None
    silent_max_db: float | None = None
    mixture: Float[Array, "*rows n_samples"] | None = None


UNBOUNDED = Bounds()


def bounded(
    signal: Row,
    error: Row,
    mixture: Float[Array, "*#rows"] | None,
    is_silent: Bool[Array, "*rows"] | None,
    bounds: Bounds,
) -> tuple[Row, Row]:
    r"""Return the energies $s$ and $e + \tau s$, whose ratio is limited.

    $\tau$ is `10 ** (-max_db / 10)`. For silent targets $s$ is the mixture's energy.
    """
    if mixture is None or is_silent is None:
        # Without a limit nothing is added: 0 times an infinite energy would be NaN.
        return signal, (
            error if bounds.max_db is None else error + _share(bounds.max_db) * signal
        )
    signal = jnp.where(is_silent, mixture, signal)
    floor = jnp.where(is_silent, _share(bounds.silent_max_db), _share(bounds.max_db))
    return signal, error + floor.astype(signal.dtype) * signal


def _share(max_db: float | None) -> float:
    return 0.0 if max_db is None else 10 ** (-max_db / 10)
