"""The spectral losses of ParallelWaveGAN, HiFi-GAN and denoiser."""

from collections.abc import Sequence
from typing import Any

from korvax_eqx import _checks as checks
from korvax_eqx._composites._time_frequency import TimeFrequencyLoss
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._scales._log import Log
from korvax_eqx._transforms._mel_spectrogram import MelSpectrogram

from ._parts import (
    FFT_SIZES,
    HOP_SIZES,
    WIN_LENGTHS,
    convergence_and_log,
    sizes_of,
    weight_of,
    window_of,
)

_FLOOR = 1e-7
_PARTS = {"n_fft": "fft_sizes", "hop_length": "hop_sizes", "win_length": "win_lengths"}


def parallel_wavegan(
    fft_sizes: Sequence[int] = FFT_SIZES,
    hop_sizes: Sequence[int] = HOP_SIZES,
    win_lengths: Sequence[int] = WIN_LENGTHS,
    window: Any = "hann_window",
) -> AbstractLoss:
    r"""ParallelWaveGAN's `MultiResolutionSTFTLoss`: the sum of its two parts.

    $$\frac1R \sum_{r=1}^{R} \frac{\|M_y - M_x\|_F}{\|M_y\|_F} +
      \overline{|\ln M_x - \ln M_y|}$$

    with $M = \sqrt{\max(|\mathrm{STFT}|^2, 10^{-7})}$ of centred frames, padded by
    reflection. Both norms are taken over the whole batch, so the loss of a batch is not
    the mean of the losses of its parts. The original's sizes for sub-bands are (384,
    683, 171), (30, 60, 10) and (150, 300, 60).

    Source: kan-bayashi/ParallelWaveGAN at 8674037, `losses/stft_loss.py`; Yamamoto,
    Song, Kim (2020), "Parallel WaveGAN", ICASSP, whose convergence is per example, and
    whose magnitudes have no floor. Reproduced: the gradient is 0 where a magnitude is
    below the floor. Measured against it with windows in float64: values agree within
    5e-16 and gradients within 2e-12 in float64; values within 4e-7 and gradients within
    1e-3 in float32, which is the rounding of bins that nearly cancel.

    **Arguments:**

    - `fft_sizes`, `hop_sizes`, `win_lengths`: one for each resolution, samples.
    - `window`: a torch window such as `"hann_window"`, or anything that `Spectrogram`
        accepts.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "parallel_wavegan"
    sizes = {"fft_sizes": fft_sizes, "hop_sizes": hop_sizes, "win_lengths": win_lengths}
    with checks.owned_by(owner, **_PARTS):
        return convergence_and_log(
            sizes_of(owner, **sizes), window, 1.0, 1.0, floor=_FLOOR
        )


def denoiser(
    fft_sizes: Sequence[int] = FFT_SIZES,
    hop_sizes: Sequence[int] = HOP_SIZES,
    win_lengths: Sequence[int] = WIN_LENGTHS,
    window: Any = "hann_window",
    *,
    factor_sc: Any = 0.1,
    factor_mag: Any = 0.1,
) -> AbstractLoss:
    """denoiser's `MultiResolutionSTFTLoss`: `parallel_wavegan` with two factors.

    denoiser returns the two parts, and its training adds them to an L1 loss. Source:
    facebookresearch/denoiser at 8afd7c1, `denoiser/stft_loss.py`; Défossez, Synnaeve,
    Adi (2020), "Real time speech enhancement in the waveform domain", Interspeech,
    which has no factors. Conventions and measured differences are those of
    `parallel_wavegan`.

    **Arguments:**

    - `factor_sc`, `factor_mag`: factors of the convergence and of the log-magnitudes.
    - all others: as in `parallel_wavegan`.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "denoiser"
    sizes = {"fft_sizes": fft_sizes, "hop_sizes": hop_sizes, "win_lengths": win_lengths}
    with checks.owned_by(owner, **_PARTS):
        return convergence_and_log(
            sizes_of(owner, **sizes),
            window,
            weight_of(owner, "factor_sc", factor_sc),
            weight_of(owner, "factor_mag", factor_mag),
            floor=_FLOOR,
        )


def parallel_wavegan_mel(
    fs: float = 22050,
    fft_size: int = 1024,
    hop_size: int = 256,
    win_length: int | None = None,
    window: Any = "hann",
    *,
    num_mels: int = 80,
    fmin: float | None = 80,
    fmax: float | None = 7600,
    center: bool = True,
    normalized: bool = False,
    eps: float = 1e-10,
    log_base: float | None = 10.0,
) -> AbstractLoss:
    r"""ParallelWaveGAN's `MelSpectrogramLoss`.

    $$\overline{|\log_{10} m_x - \log_{10} m_y|}, \quad
      m = \max(B \sqrt{\max(|\mathrm{STFT}|^2, \epsilon)}, \epsilon)$$

    with Slaney's mel bands $B$ and centred frames, padded by reflection. Source:
    kan-bayashi/ParallelWaveGAN at 8674037, `losses/mel_loss.py`. Reproduced: the same
    $\epsilon$ is the floor of powers and of magnitudes; gradients are 0 below it.
    Measured against it with tables in float64: in float64, values agree within 4e-16
    and gradients within 3e-14, in float32 values within 4e-7 and gradients within 3e-6.

    **Arguments:**

    - `fs`: sample rate, Hz.
    - `fft_size`, `hop_size`, `win_length`: samples; `None`: `fft_size`.
    - `window`: the name of a window; `None`: no window.
    - `num_mels`, `fmin`, `fmax`: number of bands and their edges, Hz; `None`: 0 and
        half the sample rate.
    - `center`: whether frames are centred.
    - `normalized`: whether spectra are divided by the square root of `fft_size`.
    - `eps`: $\epsilon$.
    - `log_base`: base of the logarithm; `None`: $e$.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "parallel_wavegan_mel"
    renamed = {"sr": "fs", "n_fft": "fft_size", "hop_length": "hop_size"}
    renamed |= {"n_mels": "num_mels", "base": "log_base"}
    with checks.owned_by(owner, **renamed):
        checks.positive(owner, "eps", eps)
        transform = MelSpectrogram(
            fs,
            fft_size,
            num_mels,
            0.0 if fmin is None else fmin,
            fmax,
            hop_size,
            win_length,
            "boxcar" if window is None else window_of(window),
            power=1.0,
            pad_mode="reflect",
            padding=("torch" if checks.boolean(owner, "center", center) else (0, 0)),
            normalized=(
                "frame_length"
                if checks.boolean(owner, "normalized", normalized)
                else False
            ),
            floor=eps,
        )
        base = "e" if log_base is None else log_base
        log = Log(eps=eps, base=base, floor_mode="clip")
        return TimeFrequencyLoss(transform, ElementwiseLoss(), log, names="mel")


def hifigan_mel(
    sampling_rate: float,
    *,
    n_fft: int = 1024,
    num_mels: int = 80,
    hop_size: int = 256,
    win_size: int = 1024,
    fmin: float = 0.0,
    fmax: float | None = None,
) -> AbstractLoss:
    r"""HiFi-GAN's mel-spectrogram loss, without its weight of 45.

    $$\overline{|\ln m_x - \ln m_y|}, \quad
      m = \max(B \sqrt{|\mathrm{STFT}|^2 + 10^{-9}}, 10^{-5})$$

    with Slaney's mel bands $B$. Signals are padded by reflection, `(n_fft - hop_size)
    // 2` samples on each side, which gives $T / H$ whole frames. With its weight:
    `SumLoss({"mel": hifigan_mel(22050)}, {"mel": 45.0})`.

    Source: jik876/hifi-gan at 4769534, `meldataset.py` and `train.py`; Kong, Kim, Bae
    (2020), "HiFi-GAN", NeurIPS. In its configurations the loss has `fmax=None`, while
    the conditioning ends at 8 kHz. Measured against it with tables in float64: in
    float64, values agree within 4e-16 and gradients within 6e-15, in float32 values
    within 1e-7 and gradients within 3e-6.

    **Arguments:**

    - `sampling_rate`: Hz.
    - `n_fft`, `hop_size`, `win_size`: samples.
    - `num_mels`, `fmin`, `fmax`: number of bands and their edges, Hz; `None`: half the
        sample rate.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    renamed = {"sr": "sampling_rate", "n_mels": "num_mels"}
    renamed |= {"hop_length": "hop_size", "win_length": "win_size"}
    with checks.owned_by("hifigan_mel", padding="hop_size", **renamed):
        transform = MelSpectrogram(
            sampling_rate,
            n_fft,
            num_mels,
            fmin,
            fmax,
            hop_size,
            win_size,
            power=1.0,
            pad_mode="reflect",
            padding="same",
            floor=1e-9,
            floor_mode="add",
        )
        log = Log(eps=1e-5, floor_mode="clip")
        return TimeFrequencyLoss(transform, ElementwiseLoss(), log, names="mel")
