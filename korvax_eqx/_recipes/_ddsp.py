"""The spectral loss of DDSP."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from korvax_eqx import _checks as checks
from korvax_eqx._composites._multi_resolution import MultiResolutionLoss
from korvax_eqx._composites._sum import SumLoss
from korvax_eqx._composites._time_frequency import TimeFrequencyLoss
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._data._term import is_off
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._scales._chain import Chain
from korvax_eqx._scales._cumulative_sum import CumulativeSum
from korvax_eqx._scales._decibel import PowerToDB
from korvax_eqx._scales._difference import Difference
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._log import Log
from korvax_eqx._scales._mean_over_bins import MeanOverBins
from korvax_eqx._tables._frequencies import fft_frequencies_table, rounded
from korvax_eqx._tables._weighting import weighting_values
from korvax_eqx._transforms._spectrogram import Spectrogram

from ._parts import columns_of, weight_of

_SAMPLE_RATE, _FRAME_RATE, _LOUDNESS_FFT = 16000, 250, 2048


def ddsp(
    fft_sizes: Sequence[int] = (2048, 1024, 512, 256, 128, 64),
    *,
    loss_type: Literal["L1", "L2"] = "L1",
    mag_weight: Any = 1.0,
    delta_time_weight: Any = 0.0,
    delta_freq_weight: Any = 0.0,
    cumsum_freq_weight: Any = 0.0,
    logmag_weight: Any = 0.0,
    loudness_weight: Any = 0.0,
) -> AbstractLoss:
    r"""DDSP's `SpectralLoss`.

    $$\sum_N \sum_j w_j\, \overline{|s_j(M_x) - s_j(M_y)|} +
      w_\mathrm{loud}\, \overline{|\ell_x - \ell_y|}$$

    with magnitudes $M$ of frames of $N$ samples. The $s_j$ are the identity, the
    difference between frames, the difference between bins, the cumulative sum over
    bins, and $\ln v$, with $\ln 10^{-5}$ instead of $\ln 0$. Frames are not centred:
    the window of frame $t$ begins at sample $t \lfloor N/4 \rfloor$, and zeros are
    appended for $\lceil T / H \rceil$ frames. The FFT size is the next power of 2. The
    loudness is the A-weighted power in dB at 16 kHz: centred frames of 2048 samples
    padded with zeros, 250 per second, the mean over bins of the weighted powers, at
    least -80 dB. By default only magnitudes are compared. The paper and the project's
    autoencoder compare magnitudes and logarithms: `ddsp(logmag_weight=1.0)`.

    Source: magenta/ddsp at 88621d2, `losses.py`, `spectral_ops.py`, `core.py`; Engel,
    Hantrakul, Gu, Roberts (2020), "DDSP: Differentiable digital signal processing",
    ICLR, whose weight of the logarithms is 1. Reproduced: the logarithm has no floor,
    so the gradient of a bin near 0 is as large as the reciprocal of its magnitude; the
    differences have one frame, or bin, fewer. Bins that cancel in exact arithmetic
    contain only rounding errors, whose logarithms depend on the FFT. For exact tones in
    float32 (0.4 sin at 220 and 441 Hz against 0.5 sin at 233 and 450 Hz, one second at
    16 kHz) the logarithmic term is 4.87 and the largest derivative 2e11; TensorFlow
    2.21 gives 4.67 and 3e4 in float32, 4.64 and 3e10 in float64. With white noise at
    -120 dB added to both signals, both give 4.07. Not reproduced: TensorFlow's Hann
    window of an odd number of samples is symmetric. Not offered: `loss_type="COSINE"`,
    which has no norms, and masks. Compared with a NumPy version of the formula in
    float64: values agree within 1e-15 (within 1e-13 with the loudness, whose weights
    are rounded), derivatives agree with its central differences within 4e-8.

    **Arguments:**

    - `fft_sizes`: frame lengths, in samples.
    - `loss_type`: `"L1"`, or `"L2"` for squares.
    - `mag_weight`, `delta_time_weight`, `delta_freq_weight`, `cumsum_freq_weight`,
        `logmag_weight`, `loudness_weight`: weights. A term of weight 0 is not computed.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "ddsp"
    with checks.owned_by(owner, metric="loss_type"):
        metric: Any = loss_type
        distance = ElementwiseLoss(metric)
        sizes = checks.positive_ints(owner, "fft_sizes", fft_sizes)
        if min(sizes) < 4:
            checks.refuse(owner, "fft_sizes", "be at least 4, for hops", min(sizes))
        terms = [
            ("mag", Identity(), "mag_weight", mag_weight),
            ("delta_time", Difference("time"), "delta_time_weight", delta_time_weight),
            (
                "delta_freq",
                Difference("frequency"),
                "delta_freq_weight",
                delta_freq_weight,
            ),
            (
                "cumsum_freq",
                CumulativeSum("frequency"),
                "cumsum_freq_weight",
                cumsum_freq_weight,
            ),
            (
                "logmag",
                Log(eps=1e-5, floor_mode="replace"),
                "logmag_weight",
                logmag_weight,
            ),
        ]
        weighed = [
            (name, distance, scale, weight_of(owner, argument, weight))
            for name, scale, argument, weight in terms
        ]
        loudness_weight = weight_of(owner, "loudness_weight", loudness_weight)
        spectra = MultiResolutionLoss(
            [_frames(size) for size in sizes],
            **columns_of(weighed),
            resolution_weights=[1.0] * len(sizes),
        )
        if is_off(loudness_weight):
            return spectra
        weights = {"spectra": 1.0, "loudness": loudness_weight}
        return SumLoss({"spectra": spectra, "loudness": _loudness(distance)}, weights)


def _frames(size: int) -> Spectrogram:
    n_fft = 1 << (size - 1).bit_length()
    return Spectrogram(n_fft, size // 4, size, power=1.0, padding="end")


def _loudness(distance: ElementwiseLoss) -> TimeFrequencyLoss:
    frequencies = fft_frequencies_table(_SAMPLE_RATE, _LOUDNESS_FFT)
    weighting = np.asarray(weighting_values("A", frequencies, -80.0))
    transform = Spectrogram(
        _LOUDNESS_FFT, _SAMPLE_RATE // _FRAME_RATE, power=2.0, padding="torch"
    )
    weights = 10 ** (weighting / 10)
    weights = rounded(weights, weights)
    scale = Chain((MeanOverBins(weights), PowerToDB(amin=1e-8, top_db=None)))
    return TimeFrequencyLoss(transform, distance, scale, names="loudness")
