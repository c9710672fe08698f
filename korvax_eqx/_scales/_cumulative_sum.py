"""Cumulative sums over bins or frames."""

from typing import Literal

import equinox as eqx
from jax import lax
from jaxtyping import Array, Inexact, Int

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractFramesScale
from korvax_eqx._numerics._padding import cut_off
from korvax_eqx._scope import Scope

_OWNER = "CumulativeSum"


class CumulativeSum(AbstractFramesScale):
    r"""The sum of all bins up to each one, or of all frames up to each one.

    Two spectra with a peak at different places differ in all cumulative sums between
    the two, so that a loss on them has a gradient that moves one peak to the other.
    Along frequency it is the term `cumsum_freq` of DDSP's spectral loss (Engel et al.
    2020, "DDSP: Differentiable digital signal processing", ICLR).
    """

    axis: Literal["time", "frequency"] = eqx.field(static=True)
    reverse: bool = eqx.field(static=True)

    def __init__(
        self,
        axis: Literal["time", "frequency"] = "frequency",
        *,
        reverse: bool = False,
    ) -> None:
        """**Arguments:**

        - `axis`: `"frequency"` for sums over bins, `"time"` over frames.
        - `reverse`: whether to sum from the top bin down, or the last frame back.

        **Raises:** `ValueError` for another value.
        """
        self.axis = checks.one_of(_OWNER, "axis", axis, ("time", "frequency"))
        self.reverse = checks.boolean(_OWNER, "reverse", reverse)

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "frame" if self.axis == "frequency" else "signal"

    def frames(
        self,
        S: Inexact[Array, "*rows n_frames n_bins"],
        n_frames: Int[Array, "*rows"] | None = None,
    ) -> Inexact[Array, "*rows n_frames n_bins"]:
        S = checks.scale_input(_OWNER, S, takes_complex=True)
        axis = S.ndim - (2 if self.axis == "time" else 1)
        if self.axis == "time" and self.reverse:
            S = cut_off(S, n_frames)
        return lax.cumsum(S, axis, self.reverse)
