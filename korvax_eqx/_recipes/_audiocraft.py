"""The losses of audiocraft, EnCodec and AudioSeal."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from korvax_eqx import _checks as checks
from korvax_eqx._composites._sum import SumLoss
from korvax_eqx._composites._time_frequency import TimeFrequencyLoss
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._log import Log
from korvax_eqx._time_domain._loudness_ratio import LoudnessRatioLoss
from korvax_eqx._transforms._mel_spectrogram import MelSpectrogram
from korvax_eqx._warnings import without_warnings

from ._parts import (
    FFT_SIZES,
    HOP_SIZES,
    WIN_LENGTHS,
    convergence_and_log,
    sizes_of,
    weight_of,
)

_EPSILON = float(np.finfo(np.float32).eps)


def audiocraft_mrstft(
    n_ffts: Sequence[int] = FFT_SIZES,
    hop_lengths: Sequence[int] = HOP_SIZES,
    win_lengths: Sequence[int] = WIN_LENGTHS,
    window: Any = "hann_window",
    *,
    factor_sc: Any = 0.1,
    factor_mag: Any = 0.1,
    normalized: bool = False,
    epsilon: float = _EPSILON,
) -> AbstractLoss:
    r"""audiocraft's `MRSTFTLoss`.

    $$\frac1R \sum_{r=1}^{R}
      f_\mathrm{sc} \frac{\|M_y - M_x\|_F}{\|M_y\|_F + \epsilon} +
      f_\mathrm{mag}\, \overline{|\ln(M_x + \epsilon) - \ln(M_y + \epsilon)|}$$

    with $M = \sqrt{\max(|\mathrm{STFT}|^2, 10^{-7})}$ of centred frames, padded by
    reflection, and norms over the whole batch and its channels, so the loss of a batch
    is not the mean of the losses of its parts. Both factors are 0.5 in audiocraft's
    configuration for compression. Here $\epsilon$ is added to the root of the mean over
    signals, i.e. $\sqrt B\,\epsilon$ to the norm of $B$ signals. For a silent batch
    that makes a difference of a few millionths, otherwise none.

    Source: facebookresearch/audiocraft at 896ec7c, `losses/stftloss.py`, which is
    ParallelWaveGAN's with an $\epsilon$. Measured against it with windows in float64:
    in float64, values of one signal agree within 7e-16 and gradients within 5e-13. For
    three signals they agree within 2e-9, because of $\epsilon$.

    **Arguments:**

    - `n_ffts`, `hop_lengths`, `win_lengths`: one for each resolution, samples.
    - `window`: a torch window such as `"hann_window"`, or anything that `Spectrogram`
        accepts.
    - `factor_sc`, `factor_mag`: factors of the convergence and of the log-magnitudes.
    - `normalized`: whether spectra are divided by the square root of the FFT size.
    - `epsilon`: $\epsilon$, positive.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "audiocraft_mrstft"
    renamed = {"n_fft": "n_ffts", "hop_length": "hop_lengths"}
    with checks.owned_by(owner, win_length="win_lengths", eps="epsilon", **renamed):
        is_normalized = checks.boolean(owner, "normalized", normalized)
        return convergence_and_log(
            sizes_of(
                owner, n_ffts=n_ffts, hop_lengths=hop_lengths, win_lengths=win_lengths
            ),
            window,
            weight_of(owner, "factor_sc", factor_sc),
            weight_of(owner, "factor_mag", factor_mag),
            eps=checks.positive(owner, "epsilon", epsilon),
            floor=1e-7,
            normalized="frame_length" if is_normalized else False,
        )


def encodec_mel(
    sample_rate: float,
    *,
    range_start: int = 6,
    range_end: int = 11,
    n_mels: int = 64,
    f_min: float = 0.0,
    f_max: float | None = None,
    normalized: bool = False,
    alphas: bool = True,
    floor_level: float = 1e-5,
) -> AbstractLoss:
    r"""EnCodec's mel-spectrogram loss, audiocraft's `MultiScaleMelSpectrogramLoss`.

    $$\sum_i \overline{|m_x - m_y|} + \alpha_i\,
      \overline{(\log_{10}(c + m_x) - \log_{10}(c + m_y))^2}, \quad
      N_i = 2^i,\; i = i_0, \dots, i_1 - 1$$

    with powers $m$ in HTK's mel bands of unit peak, hops $N_i / 4$, and
    $\alpha_i = \sqrt{2^i - 1}$, or 1 without `alphas`. `normalized` divides spectra by
    the 2-norm of the window, and the sum by $\sum_i (1 + \alpha_i)$. Signals are padded
    by reflection, $(N - H) / 2$ samples on each side, and by zeros to a whole frame:
    $\lceil T / H \rceil$ frames.

    Source: facebookresearch/audiocraft at 896ec7c, `losses/specloss.py`; Défossez,
    Copet, Synnaeve, Adi (2022), "High fidelity neural audio compression", which takes
    the 2-norm (not squared) of logarithmic mel spectra, and sizes $2^5$ to $2^{11}$.
    audiocraft's configuration for compression is `encodec_mel(24000, f_min=64,
    normalized=True, alphas=False)`. Reproduced: with small FFTs most mel bands contain
    no bin and are 0 for all signals, which makes the means small. Not reproduced:
    torchaudio rounds half of an odd sample rate down. Measured against it with tables
    in float64: in float64, values agree within 7e-16 and gradients within 1e-13.

    **Arguments:**

    - `sample_rate`: Hz.
    - `range_start`, `range_end`: $i_0$ and $i_1$; the size of $i_1$ is not included.
    - `n_mels`, `f_min`, `f_max`: number of bands and their edges, Hz; `None`: half the
        sample rate.
    - `normalized`, `alphas`: see above.
    - `floor_level`: $c$.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "encodec_mel"
    renamed = {"fmin": "f_min", "fmax": "f_max", "sr": "sample_rate"}
    with (
        checks.owned_by(owner, eps="floor_level", **renamed),
        without_warnings(),  # of empty bands, which the project has
    ):
        start = checks.positive_int(owner, "range_start", range_start)
        end = checks.positive_int(owner, "range_end", range_end)
        if start < 2:
            checks.refuse(owner, "range_start", "be at least 2, for hops", start)
        if end <= start:
            checks.refuse(owner, "range_end", f"be above range_start = {start}", end)
        checks.boolean(owner, "normalized", normalized)
        uses_alphas = checks.boolean(owner, "alphas", alphas)
        factors = [
            math.sqrt(2**i - 1) if uses_alphas else 1.0 for i in range(start, end)
        ]
        divisor = sum(factors) + len(factors) if normalized else 1.0
        losses = {}
        for i, factor in zip(range(start, end), factors, strict=True):
            transform = MelSpectrogram(
                sample_rate,
                2**i,
                n_mels,
                f_min,
                f_max,
                2**i // 4,
                power=2.0,
                pad_mode="reflect",
                htk=True,
                norm=None,
                padding="same",
                extra_padding=True,
                normalized="window" if normalized else False,
            )
            losses[str(2**i)] = TimeFrequencyLoss(
                transform,
                [ElementwiseLoss("L1"), ElementwiseLoss("L2")],
                [Identity(), Log(eps=floor_level, base=10.0)],
                [1 / divisor, factor / divisor],
                names=("lin", "log"),
            )
        return SumLoss(losses)


def audiocraft_loudness_ratio(
    sample_rate: float = 16000,
    *,
    segment: float = 0.5,
    overlap: float = 0.5,
    n_bands: int = 16,
    temperature: float = 1.0,
) -> LoudnessRatioLoss:
    r"""The loudness ratio of AudioSeal's watermarks, audiocraft's `TFLoudnessRatio`.

    $$\frac1n \sum_i \mathrm{softmax}(r / T)_i\, r_i$$

    of the n ratios $r$ of a signal, one for each band, frame and block: see
    `LoudnessRatioLoss`, with torchaudio's K-weighting. The weights sum to 1, and still
    the original divides by n: a second of 16 bands has 128 ratios.

    **Source:** facebookresearch/audiocraft at 896ec7c, `losses/loudnessloss.py`, with
    the bands of julius 0.2.7. `n_bands=16` is that of its configurations; its own
    default of 0 is an error there.

    **Not reproduced:** the ratios of a batch are reshaped there in an order that mixes
    its signals, so the two agree for a batch of one; torchaudio's filters clip what
    they return at -1 and 1.

    **Measured** against its code, with filters that do not clip, of one signal, in
    float64: value 3e-15, gradient 4e-14.

    **Arguments:**

    - `sample_rate`: Hz.
    - `segment`, `overlap`: length of a frame, seconds, and the part that two share.
    - `n_bands`: bands of equal width in mels.
    - `temperature`: of the softmax, dB.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    with checks.owned_by("audiocraft_loudness_ratio", sr="sample_rate"):
        return LoudnessRatioLoss(
            sample_rate,
            n_bands,
            segment,
            overlap,
            temperature=temperature,
            reduction="mean",
            weighting="torchaudio",
        )
