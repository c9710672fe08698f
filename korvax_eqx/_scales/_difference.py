"""Differences of neighbouring frames or bins."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra

_OWNER = "Difference"


class Difference(AbstractScale):
    r"""Difference to the previous frame, or to the bin below.

    The result has one frame, or one bin, fewer. Along time it shows onsets; along
    frequency it shows the edges of partials. These are the terms `delta_time` and
    `delta_freq` of DDSP's spectral loss (Engel et al. 2020, "DDSP: Differentiable
    digital signal processing", ICLR).
    """

    axis: Literal["time", "frequency"] = eqx.field(static=True)

    def __init__(self, axis: Literal["time", "frequency"] = "time") -> None:
        """**Arguments:**

        - `axis`: `"time"` for differences between frames, `"frequency"` between bins.

        **Raises:** `ValueError` for another axis.
        """
        self.axis = checks.one_of(_OWNER, "axis", axis, ("time", "frequency"))

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "frame" if self.axis == "frequency" else "signal"

    def apply(self, data: Spectra) -> Spectra:
        S = checks.scale_input(_OWNER, data.S, takes_complex=True, bins_last=True)
        is_time = self.axis == "time"
        if S.shape[-2 if is_time else -1] < 2:
            what = "frames" if is_time else "bins"
            raise ValueError(
                f'`{_OWNER}(axis="{self.axis}")`: the spectrogram must have at least '
                f"two {what}. Got the shape {checks.public_shape(S)}."
            )
        if not is_time:
            return data.holding(S[..., 1:] - S[..., :-1])
        n_frames = data.n_frames
        if n_frames is not None:
            n_frames = self.frames_left(n_frames)
        return Spectra(S[..., 1:, :] - S[..., :-1, :], n_frames)

    def frames_left(self, n_frames: Int[Array, "*rows"]) -> Int[Array, "*rows"]:
        return n_frames if self.axis == "frequency" else jnp.maximum(n_frames - 1, 0)
