"""Positions of the bins and frames of a transform: in Hz, notes, seconds."""

import dataclasses
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractFramesTransform
from korvax_eqx._tables._frequencies import _hz_to_mel, _mel_to_hz

FrequencyAxis = Literal["hz", "mel", "log", "notes", "index"]


@dataclasses.dataclass(frozen=True)
class Layout:
    """The axes of one transform's spectrograms.

    **Attributes:**

    - `sr`: Hz.
    - `axis`: how frequencies are laid out.
    - `centres`: of the bins in Hz, or their indices, shape `(n_bins,)`.
    - `spacing`: on what scale the bins are evenly spaced.
    - `htk`: whether mels are HTK's.
    - `hop`: seconds from frame to frame.
    - `first`: seconds from the start of the signal to the middle of frame 0.
    - `power`: the exponent of the magnitude, `None` if values are no spectrum.
    """

    sr: float
    axis: FrequencyAxis
    centres: Float[np.ndarray, " n_bins"]
    spacing: FrequencyAxis
    htk: bool
    hop: float
    first: float
    power: float | None

    def frequency_edges(self) -> Float[np.ndarray, " n_edges"]:
        """Return the limits between bins, half way on the scale of their spacing."""
        if self.spacing == "log":
            return np.exp2(_edges(np.log2(self.centres)))
        if self.spacing == "mel":
            mels = _edges(_hz_to_mel(np, self.centres, self.htk))
            return np.asarray(_mel_to_hz(np, np.maximum(mels, 0.0), self.htk))
        edges = _edges(self.centres)
        return edges if self.spacing == "index" else np.clip(edges, 0.0, self.sr / 2)

    def time_edges(self, n_frames: int) -> Float[np.ndarray, " n_edges"]:
        """Return the limits between frames in seconds, shape `(n_frames + 1,)`."""
        return self.first + (np.arange(n_frames + 1) - 0.5) * self.hop


def layout(
    owner: str, transform: Any, sr: float | None, axis: FrequencyAxis | None
) -> Layout:
    """Return the layout of a transform of the library.

    **Raises:** `ValueError` for other transforms, or without a sample rate.
    """
    if not isinstance(transform, AbstractFramesTransform):
        rule = "be a transform of the library, or derived from AbstractFramesTransform"
        checks.refuse(owner, "transform", rule, transform)
    axes = transform.axes
    if axes.sr is None:
        if sr is None:
            remedy = "This transform does not know it."
            checks.refuse(owner, "sr", "be given, in Hz", sr, remedy)
        rate = float(checks.positive(owner, "sr", sr))
    else:
        rate = float(axes.sr)
        if sr is not None and float(sr) != rate:
            checks.refuse(owner, "sr", f"be that of the transform, {rate:g} Hz", sr)
    default: FrequencyAxis = "notes" if axes.spacing == "log" else axes.spacing
    options = ("index",) if default == "index" else ("hz", "mel", "log", "notes")
    if axis is not None:
        checks.one_of(owner, "axis", axis, options)
    is_relative = axes.sr is None and axes.spacing != "index"
    return Layout(
        sr=rate,
        axis=axis or default,
        centres=np.asarray(axes.frequencies, np.float64) * (rate if is_relative else 1),
        spacing=axes.spacing,
        htk=axes.htk,
        hop=axes.hop_length / rate,
        first=axes.first / rate,
        power=axes.power,
    )


def _edges(centres: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n_edges"]:
    if centres.size == 1:
        return centres[0] + np.array([-0.5, 0.5])
    middles = (centres[1:] + centres[:-1]) / 2
    first = 2 * centres[0] - middles[0]
    last = 2 * centres[-1] - middles[-1]
    return np.concatenate([[first], middles, [last]])
