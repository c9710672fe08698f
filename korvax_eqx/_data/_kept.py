"""Results for a bound target, kept so that they are computed only once."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Inexact, Int


class Kept(eqx.Module):
    """Targets to which the path of some terms was already applied.

    **Attributes:**

    - `array`: signals or spectra, of shape `(*channels, ...)`.
    - `lengths`: lengths of the targets, shape `(*channels,)`; `None` if they are not
        padded.
    - `shape`, `dtype`: of the targets when they were bound.
    - `ndim`: of the array then. `jax.vmap` of `bind` adds axes to it.
    """

    array: Inexact[Array, "..."]
    lengths: Int[Array, "..."] | None
    shape: tuple[int, ...] = eqx.field(static=True)
    dtype: Any = eqx.field(static=True)
    ndim: int = eqx.field(static=True)
