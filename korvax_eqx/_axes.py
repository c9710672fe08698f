"""Where the bins and the frames of a transform lie."""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float

Spacing = Literal["hz", "mel", "log", "index"]


@dataclasses.dataclass(frozen=True)
class Axes:
    """Positions of the bins and frames of a transform, for plots.

    **Attributes:**

    - `spacing`: the scale on which the bins are evenly spaced; `"index"` if bins are
        not frequencies.
    - `frequencies`: centres of the bins in Hz, or in cycles per sample if `sr` is
        `None`; with `"index"`, the indices of the bins; shape `(n_bins,)`.
    - `sr`: the sample rate that the transform is made for, in Hz, or `None`.
    - `hop_length`: samples from frame to frame.
    - `first`: the sample in the middle of frame 0.
    - `power`: the exponent of the magnitude; `None` if values are not a spectrum.
    - `htk`: whether mels are on HTK's scale.
    """

    spacing: Spacing
    frequencies: Float[np.ndarray, " n_bins"]
    sr: float | None
    hop_length: int
    first: float
    power: float | None
    htk: bool = False
