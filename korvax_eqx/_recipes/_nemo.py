"""The reconstruction losses of NeMo's audio codecs."""

from collections.abc import Sequence
from typing import Any

from korvax_eqx import _checks as checks
from korvax_eqx._composites._multi_resolution import MultiResolutionLoss
from korvax_eqx._composites._sum import SumLoss
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._data._term import is_off
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._scales._log import Log
from korvax_eqx._time_domain._waveform import WaveformLoss
from korvax_eqx._transforms._mel_spectrogram import MelSpectrogram
from korvax_eqx._transforms._spectrogram import Spectrogram
from korvax_eqx._warnings import without_warnings

from ._parts import columns_of, same_length, weight_of

_SIZES = tuple((n, n // 4, n) for n in (32, 64, 128, 256, 512, 1024, 2048))
_FLOOR = 1e-5  # added to powers


def nemo_codec(
    sample_rate: float,
    loss_resolutions: Sequence[Sequence[int]] = _SIZES,
    mel_loss_dims: Sequence[int] = (5, 10, 20, 40, 80, 160, 320),
    *,
    mel_loss_l1_scale: Any = 10.0,
    mel_loss_l2_scale: Any = 0.0,
    stft_loss_scale: Any = 10.0,
    time_domain_loss_scale: Any = 0.0,
    mel_loss_log_guard: float = 1.0,
    stft_loss_log_guard: float = 1.0,
) -> AbstractLoss:
    r"""The reconstruction losses of NeMo's `AudioCodecModel`.

    $$w_1\, \overline{|\ell^m_x - \ell^m_y|} + w_2\, \overline{(\ell^m_x - \ell^m_y)^2}
      + w_\mathrm{stft}\, \overline{|\ell_x - \ell_y|} + w_\mathrm{time}\,
      \overline{|x - y|}$$

    the first three as means over resolutions, with $M = \sqrt{|\mathrm{STFT}|^2 +
    10^{-5}}$, $\ell = \ln(M + g)$ and $\ell^m = \ln(BM + g)$, mel bands $B$ of Slaney's
    scale and unit peak. Windows are symmetric Hann windows. Frames are centred; for mel
    bands the signal is padded with zeros and the last frame, beyond $T / H$, is left
    out, for the others it is padded by reflection.

    The defaults are those of the configuration for 44.1 kHz. Source: NVIDIA/NeMo at
    8cfedd7, `collections/tts/losses/audio_codec_loss.py`,
    `collections/asr/parts/preprocessing/features.py`, `examples/tts/conf/audio_codec`;
    Langman, Jukić, Dhawan, Koluguri, Ginsburg (2024), "Spectral codecs: Spectrogram-
    based audio codecs for high quality speech synthesis". There windows and mel bands
    are in float32. Not offered: `si_sdr_loss_scale`, which is `SISDRLoss` with an
    epsilon in three places. Compared with a NumPy version of the
    formula in float64: values agree within 3e-16, slopes with its central differences
    within 4e-7.

    **Arguments:**

    - `sample_rate`: Hz.
    - `loss_resolutions`: samples of the FFT, of the hop and of the window, for each
        resolution. A hop is at most half of the FFT.
    - `mel_loss_dims`: number of mel bands, for each resolution.
    - `mel_loss_l1_scale`, `mel_loss_l2_scale`, `stft_loss_scale`,
        `time_domain_loss_scale`: weights. A term of weight 0 is not computed.
    - `mel_loss_log_guard`, `stft_loss_log_guard`: $g$, positive.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "nemo_codec"
    renamed = {"sr": "sample_rate", "n_mels": "mel_loss_dims"}
    renamed |= dict.fromkeys(("n_fft", "hop_length", "win_length"), "loss_resolutions")
    with (
        checks.owned_by(owner, **renamed),
        without_warnings(),  # of empty bands, which the project has
    ):
        sizes = _sizes(owner, loss_resolutions)
        bands = checks.positive_ints(owner, "mel_loss_dims", mel_loss_dims)
        same_length(owner, loss_resolutions=sizes, mel_loss_dims=bands)
        distance = ElementwiseLoss()
        mel_log, stft_log = (
            Log(eps=checks.positive(owner, name, guard))
            for name, guard in (
                ("mel_loss_log_guard", mel_loss_log_guard),
                ("stft_loss_log_guard", stft_loss_log_guard),
            )
        )
        l1 = weight_of(owner, "mel_loss_l1_scale", mel_loss_l1_scale)
        l2 = weight_of(owner, "mel_loss_l2_scale", mel_loss_l2_scale)
        mel_terms = [
            ("l1", distance, mel_log, l1),
            ("l2", ElementwiseLoss("L2"), mel_log, l2),
        ]
        mels = [
            MelSpectrogram(
                sample_rate,
                n_fft,
                n_mels,
                norm=None,
                padding=(n_fft // 2, n_fft // 2 - hop_length),
                **_magnitudes(hop_length, win_length),
            )
            for (n_fft, hop_length, win_length), n_mels in zip(
                sizes, bands, strict=True
            )
        ]
        spectra = [
            Spectrogram(
                n_fft,
                pad_mode="reflect",
                padding="torch",
                **_magnitudes(hop_length, win_length),
            )
            for n_fft, hop_length, win_length in sizes
        ]
        parts = {
            "mel": MultiResolutionLoss(mels, **columns_of(mel_terms)),
            "stft": MultiResolutionLoss(spectra, distance, stft_log, names="log"),
            "time": WaveformLoss(),
        }
        weights = {
            "mel": 0.0 if is_off(l1) and is_off(l2) else 1.0,
            "stft": weight_of(owner, "stft_loss_scale", stft_loss_scale),
            "time": weight_of(owner, "time_domain_loss_scale", time_domain_loss_scale),
        }
        return SumLoss(parts, weights)


def _magnitudes(hop_length: int, win_length: int) -> dict[str, Any]:
    return {
        "hop_length": hop_length,
        "win_length": win_length,
        "window": "hann_symmetric",
        "power": 1.0,
        "floor": _FLOOR,
        "floor_mode": "add",
    }


def _sizes(owner: str, resolutions: Any) -> list[tuple[int, ...]]:
    """Check the sizes of each resolution."""
    name, rule = "loss_resolutions", "be a sequence of (n_fft, hop_length, win_length)"
    if not isinstance(resolutions, list | tuple) or not resolutions:
        checks.refuse(owner, name, rule, resolutions)
    sizes = [checks.positive_ints(owner, name, size) for size in resolutions]
    for size in sizes:
        if len(size) != 3:
            checks.refuse(owner, name, rule, size)
        if size[1] > size[0] // 2:
            checks.refuse(owner, name, "have hops of at most half of the FFT", size)
    return sizes
