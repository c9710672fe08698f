"""Differences of neighbouring frames or bins."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Int

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractResizingScale, Count
from korvax_eqx._scope import Scope

_OWNER = "Difference"


class Difference(AbstractResizingScale):
    r"""Each frame less the one before it, or each bin less the one below it.

    There is one frame, or one bin, less than before. Along time it shows onsets, along
    frequency the edges of partials: the terms `delta_time` and `delta_freq` of DDSP's
    spectral loss (Engel et al. 2020, "DDSP: Differentiable digital signal
    processing", ICLR).
    """

    axis: Literal["time", "frequency"] = eqx.field(static=True)

    def __init__(self, axis: Literal["time", "frequency"] = "time") -> None:
        """**Arguments:**

        - `axis`: `"time"` for differences of frames, `"frequency"` of bins.

        **Raises:** `ValueError` for another axis.
        """
        self.axis = checks.one_of(_OWNER, "axis", axis, ("time", "frequency"))

    def n_frames(self, n_frames: Count) -> Count:
        if self.axis == "frequency":
            return n_frames
        if isinstance(n_frames, int):
            return max(n_frames - 1, 0)
        return jnp.maximum(n_frames - 1, 0)

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "frame" if self.axis == "frequency" else "signal"

    def frames(
        self,
        S: Inexact[Array, "*rows n_frames n_bins"],
        n_frames: Int[Array, "*rows"] | None = None,
    ) -> Inexact[Array, "*rows n_frames_out n_bins_out"]:
        S = checks.scale_input(_OWNER, S, takes_complex=True)
        is_time = self.axis == "time"
        if S.shape[-2 if is_time else -1] < 2:
            what = "frames" if is_time else "bins"
            raise ValueError(
                f'`{_OWNER}(axis="{self.axis}")`: the spectrogram must have at least '
                f"two {what}. Got the shape {checks.public_shape(S)}."
            )
        if is_time:
            return S[..., 1:, :] - S[..., :-1, :]
        return S[..., 1:] - S[..., :-1]
