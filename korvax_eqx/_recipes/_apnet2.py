"""The spectral losses of APNet2 and FreeV."""

from typing import Any

from korvax_eqx import _checks as checks
from korvax_eqx._composites._sum import SumLoss
from korvax_eqx._composites._time_frequency import TimeFrequencyLoss
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._losses._phase import PhaseLoss
from korvax_eqx._scales._chain import Chain
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._log import Log
from korvax_eqx._scales._magnitude import Magnitude
from korvax_eqx._scales._real_imaginary import RealImaginary
from korvax_eqx._transforms._mel_spectrogram import MelSpectrogram
from korvax_eqx._transforms._stft import STFT

from ._parts import columns_of, weight_of


def apnet2(
    sampling_rate: float = 22050,
    *,
    n_fft: int = 1024,
    hop_size: int = 256,
    win_size: int = 1024,
    num_mels: int = 80,
    fmin: float = 0.0,
    meloss: float | None = None,
    w_amplitude: Any = 45.0,
    w_phase: Any = 100.0,
    w_spectrum: Any = 20.0,
    w_mel: Any = 45.0,
) -> AbstractLoss:
    r"""APNet2's losses on amplitudes, phases, spectra and mel bands.

    $$45\, \overline{(\ell_x - \ell_y)^2} +
      100 \sum_{\Delta} \overline{|w(\Delta\varphi_x - \Delta\varphi_y)|} +
      20 \cdot 2.25\, \bigl(\overline{|\Re d|} + \overline{|\Im d|}\bigr) +
      45\, \overline{|\ln m_x - \ln m_y|}$$

    of centred frames, padded by reflection: $\ell = \ln(|X| + 10^{-5})$, $d = X - Y$,
    phases $\varphi$, $w$ takes whole turns off, and $\Delta$ is the identity, the
    difference of bins and the difference of frames, with a phase of 0 before the first:
    its own phase counts. $m = \max(B \sqrt{|X|^2 + 10^{-9}}, 10^{-5})$ with Slaney's
    mel bands $B$.

    Source: redmist328/APNet2 at e2d13eb, `models.py`, `dataset.py`, `train.py`; Du, Lu,
    Ai, Ling (2023), "APNet2: High-quality and high-efficiency neural vocoder with
    direct prediction of amplitude and phase spectra", NCMMSC. There all but the mel
    bands are of the spectrum that the network predicts; here of that of a signal,
    whose spectra are consistent: so the loss of consistency, part of that of spectra
    there, is 0 and left out, as are those of its discriminators. APNet, before it, has
    negated cosines in place of $|w(\cdot)|$. A bin that is nearly 0 has a phase that is
    noise, with a derivative of the reciprocal of its magnitude, and counts as much as
    every other. The frame about the first sample is symmetric and its spectrum real:
    where signs differ there, rounding decides for the sign of the slope. Measured
    against both projects' functions in float64: values agree within 2e-16 and gradients
    within 3e-13.

    **Arguments:**

    - `sampling_rate`: Hz.
    - `n_fft`, `hop_size`, `win_size`: samples.
    - `num_mels`, `fmin`, `meloss`: number of bands and their edges, Hz; `None`: half
        the sample rate.
    - `w_amplitude`, `w_phase`, `w_spectrum`, `w_mel`: weights, fixed there. A term of
        weight 0 is not computed.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    sizes, bands = (n_fft, hop_size, win_size), (num_mels, fmin, meloss)
    weights = (w_amplitude, w_phase, w_spectrum, w_mel)
    return _losses("apnet2", sampling_rate, sizes, bands, weights, floor=1e-9)


def freev(
    sampling_rate: float = 22050,
    *,
    n_fft: int = 1024,
    hop_size: int = 256,
    win_size: int = 1024,
    num_mels: int = 80,
    fmin: float = 0.0,
    meloss: float | None = None,
    w_amplitude: Any = 45.0,
    w_phase: Any = 100.0,
    w_spectrum: Any = 20.0,
    w_mel: Any = 45.0,
) -> AbstractLoss:
    r"""FreeV's losses on amplitudes, phases, spectra and mel bands.

    `apnet2`, from whose project it comes, with $m = \max(B |X|, 10^{-5})$: nothing is
    added to the magnitudes of the mel bands. Source: BakerBunker/FreeV at 5d16c34,
    `models.py`, `dataset.py`, `train.py`; Lv, Li, Yan, Liu, Xie, Xie (2024), "FreeV:
    Free lunch for vocoders through pseudo inversed mel filter", Interspeech.
    Arguments, conventions and measured differences are those of `apnet2`.
    """
    sizes, bands = (n_fft, hop_size, win_size), (num_mels, fmin, meloss)
    weights = (w_amplitude, w_phase, w_spectrum, w_mel)
    return _losses("freev", sampling_rate, sizes, bands, weights, floor=0.0)


def _losses(
    owner: str,
    sampling_rate: Any,
    sizes: tuple[Any, Any, Any],
    bands: tuple[Any, Any, Any],
    weights: tuple[Any, Any, Any, Any],
    *,
    floor: float,
) -> AbstractLoss:
    renamed = {"sr": "sampling_rate", "n_mels": "num_mels", "fmax": "meloss"}
    renamed |= {"hop_length": "hop_size", "win_length": "win_size"}
    with checks.owned_by(owner, **renamed):
        names = ("w_amplitude", "w_phase", "w_spectrum", "w_mel")
        w_amplitude, w_phase, w_spectrum, w_mel = (
            weight_of(owner, *pair) for pair in zip(names, weights, strict=True)
        )
        n_fft, hop_size, win_size = sizes
        framing: dict[str, Any] = {"pad_mode": "reflect", "padding": "torch"}
        spectra = STFT(n_fft, hop_size, win_size, **framing)
        phases = {
            "ip": PhaseLoss(),
            "gd": PhaseLoss(quantity="group_delay", prepend=True),
            "ptd": PhaseLoss(quantity="instantaneous_frequency", prepend=True),
        }
        # A mean over real and imaginary parts is half the sum of the two means.
        terms = [
            (
                "amplitude",
                ElementwiseLoss("L2"),
                Chain((Magnitude(), Log(eps=1e-5))),
                w_amplitude,
            ),
            *((name, loss, Identity(), w_phase) for name, loss in phases.items()),
            ("spectrum", ElementwiseLoss(), RealImaginary(), w_spectrum * 4.5),
        ]
        mel = MelSpectrogram(
            sampling_rate,
            n_fft,
            *bands,
            hop_size,
            win_size,
            power=1.0,
            floor=floor,
            floor_mode="add",
            **framing,
        )
        log = Log(eps=1e-5, floor_mode="clip")
        mels = TimeFrequencyLoss(mel, ElementwiseLoss(), log, names="log")
        parts = {"stft": TimeFrequencyLoss(spectra, **columns_of(terms)), "mel": mels}
        return SumLoss(parts, {"stft": 1.0, "mel": w_mel})
