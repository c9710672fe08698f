"""Cumulative sums over bins or frames."""

from typing import Literal

import equinox as eqx
from jax import lax

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._padding import cut_off

_OWNER = "CumulativeSum"


class CumulativeSum(AbstractScale):
    r"""Cumulative sum over bins, or over frames.

    If two spectra have a peak at different places, their cumulative sums differ
    everywhere between the two peaks. So a loss on these sums has a gradient that moves
    one peak towards the other. Along frequency this is the term `cumsum_freq` of DDSP's
    spectral loss (Engel et al. 2020, "DDSP: Differentiable digital signal processing",
    ICLR).
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

        - `axis`: `"frequency"` to sum over bins, `"time"` to sum over frames.
        - `reverse`: whether to sum downwards from the top bin, or backwards from the
            last frame.

        **Raises:** `ValueError` for another value.
        """
        self.axis = checks.one_of(_OWNER, "axis", axis, ("time", "frequency"))
        self.reverse = checks.boolean(_OWNER, "reverse", reverse)

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "frame" if self.axis == "frequency" else "signal"

    def apply(self, data: Spectra) -> Spectra:
        S = checks.scale_input(_OWNER, data.S, takes_complex=True, bins_last=True)
        axis = S.ndim - (2 if self.axis == "time" else 1)
        if self.axis == "time" and self.reverse:
            S = cut_off(S, data.n_frames)
        return data.holding(lax.cumsum(S, axis, self.reverse))
