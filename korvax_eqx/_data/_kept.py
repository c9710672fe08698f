"""What is kept of a target, so that it is computed once."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Inexact, Int


class Kept(eqx.Module):
    """What the path of some terms has made of targets.

    **Attributes:**

    - `array`: signals or spectra, of shape `(*channels, ...)`.
    - `lengths`: of the targets, shape `(*channels,)`; `None` if they fill their array.
    - `shape`, `dtype`: of the targets when they were bound.
    """

    array: Inexact[Array, "..."]
    lengths: Int[Array, "..."] | None
    shape: tuple[int, ...] = eqx.field(static=True)
    dtype: Any = eqx.field(static=True)
