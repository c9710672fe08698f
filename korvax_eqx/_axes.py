"""Where the bins and the frames of a transform lie."""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float

Spacing = Literal["hz", "mel", "log", "index"]


@dataclasses.dataclass(frozen=True)
class Axes:
    """What a transform says of its bins and frames, for plots.

    **Attributes:**

    - `spacing`: on what scale the bins are evenly spaced; `"index"` if they are no
        frequencies.
    - `frequencies`: centres of the bins in Hz, or in cycles a sample if `sr` is `None`;
        or the bins' numbers; shape `(n_bins,)`.
    - `sr`: the sample rate that the transform is made for, in Hz, or `None`.
    - `hop_length`: samples from frame to frame.
    - `first`: the sample in the middle of frame 0.
    - `power`: the exponent of the magnitude; `None` if values are no spectrum.
    - `htk`: whether mels are HTK's.
    """

    spacing: Spacing
    frequencies: Float[np.ndarray, " n_bins"]
    sr: float | None
    hop_length: int
    first: float
    power: float | None
    htk: bool = False
