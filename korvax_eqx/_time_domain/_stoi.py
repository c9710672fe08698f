"""Short-time objective intelligibility."""

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._data import Signals
from korvax_eqx._numerics._intelligibility import (
    RATE,
    at_peak_1,
    intelligibility,
    least_samples,
)
from korvax_eqx._numerics._resample import resample
from korvax_eqx._tables._resampling import (
    design_by_rejection,
    ratio,
    resampled_length,
    resampler,
)

_OWNER = "STOILoss"
# The choice of Octave's `resample`, which pystoi made its own.
_DESIGN = design_by_rejection(60.0, 0.1)


class STOILoss(AbstractWaveformLoss):
    r"""Negated short-time objective intelligibility of speech, plain or extended.

    The mean over segments, and over bands, of the correlation of third-octave
    magnitudes of target and estimate, negated: -1 is best, about 0 is unintelligible.

    1. Signals at other rates are resampled to 10 kHz.
    2. Frames (256 samples, every 128) in which the target is more than 40 dB below its
       loudest frame are dropped; the rest are added up to shorter signals.
    3. Magnitudes $X_{j,m}$ of 15 third-octave bands from 150 Hz (FFT of 512).
    4. Every 30 frames in a row are a segment, 0.4 s. Plain: each band of the estimate
       gets the target's energy, is clipped at $(1 + 10^{15/20}) Y_{j,m}$ and correlated
       with the target's. Extended: bands, and then frames, are normalised to mean 0 and
       norm 1, and frames are correlated.

    The level of either signal makes no difference. Which frames are dropped has no
    gradient. If fewer frames than a segment and one more are left, e.g. of a silent
    target, the value is 0, and so is the gradient.

    See Taal, Hendriks, Heusdens, Jensen (2011), "An algorithm for intelligibility
    prediction of time-frequency weighted noisy speech", and Jensen, Taal (2016), "An
    algorithm for predicting the intelligibility of speech masked by modulated noise
    maskers", both IEEE/ACM TASLP. Values are those of pystoi 0.4.1, resampling
    included. torch-stoi (mpariente/pytorch_stoi, 4892ec6) differs: it adds 1e-8 to
    powers, so that the level matters, resamples with another filter, and counts a frame
    that ends with the signal. Its overlap-add cuts the batch, not the samples, to the
    number of samples, which is not reproduced.
    """

    sr: int = eqx.field(static=True)
    extended: bool = eqx.field(static=True)
    n_frames: int = eqx.field(static=True)

    def __init__(self, sr: float, extended: bool = False, *, n_frames: int = 30):
        """**Arguments:**

        - `sr`: sample rate of the signals in Hz, a whole number. At another rate
            than 10000 they are resampled. Below 8560 the highest bands are empty or
            partly so.
        - `extended`: whether to compute ESTOI, which is better for modulated noise.
        - `n_frames`: frames of a segment, at 12.8 ms each. 30 is STOI; fewer allow for
            signals shorter than 0.42 s, but the values are not STOI then.

        **Raises:** `ValueError` for an argument outside these rules, and for a rate
        whose filter is too large a table. A call raises it for signals that are too
        short for a segment.
        """
        self.sr = checks.rate(_OWNER, "sr", sr)
        self.extended = checks.boolean(_OWNER, "extended", extended)
        self.n_frames = checks.positive_int(_OWNER, "n_frames", n_frames)
        if self.n_frames < 2:
            rule = "be at least 2: one frame has no correlation"
            checks.refuse(_OWNER, "n_frames", rule, n_frames)
        if self.sr != RATE:
            resampler(_OWNER, self.sr, RATE, _DESIGN)

    @property
    def least_samples(self) -> int:  # pyright: ignore
        up, down = ratio(self.sr, RATE)
        return (least_samples(self.n_frames) - 1) * down // up + 1

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        n = x.x.shape[-1]
        if n < self.least_samples:
            raise ValueError(
                f"`{_OWNER}`: the signal is too short for a segment of {self.n_frames} "
                f"frames: {self.least_samples} samples are needed, {n} were given. "
                "Pad the signal, or choose a smaller `n_frames`."
            )
        a, b, n_samples = at_peak_1(x.x), at_peak_1(y.x), y.n_samples
        if self.sr != RATE:
            table = resampler(_OWNER, self.sr, RATE, _DESIGN)
            n_out = resampled_length(n, self.sr, RATE)
            a, b = (resample(s, table, n_out) for s in (a, b))
            if n_samples is not None:
                n_samples = resampled_length(n_samples, self.sr, RATE)
        return -intelligibility(a, b, n_samples, self.n_frames, self.extended)
