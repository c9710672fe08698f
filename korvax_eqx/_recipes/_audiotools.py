"""The spectral losses of audiotools and of the Descript Audio Codec."""

from collections.abc import Sequence
from typing import Any

from korvax_eqx import _checks as checks
from korvax_eqx._composites._multi_resolution import MultiResolutionLoss
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._log import Log
from korvax_eqx._transforms._mel_spectrogram import MelSpectrogram
from korvax_eqx._warnings import without_warnings

from ._parts import columns_of, magnitudes, numbers_of, same_length, weight_of

_MOST_POW = 1e6


def audiotools_stft(
    window_lengths: Sequence[int] = (2048, 512),
    *,
    clamp_eps: float = 1e-5,
    mag_weight: Any = 1.0,
    log_weight: Any = 1.0,
    pow: float = 2.0,
    window_type: Any = "hann",
) -> AbstractLoss:
    r"""audiotools's `MultiScaleSTFTLoss`.

    $$\sum_N w_\mathrm{log}\, \overline{|\log_{10} \max(M_x, \epsilon)^p -
      \log_{10} \max(M_y, \epsilon)^p|} + w_\mathrm{mag}\, \overline{|M_x - M_y|}$$

    with magnitudes $M$ of centred frames of $N$ samples, padded by reflection, hops
    $\lfloor N/4 \rfloor$. A sum, not a mean. Source: descriptinc/audiotools at 348ebf2,
    `metrics/spectral.py`, after Engel, Hantrakul, Gu, Roberts (2020), "DDSP", which has
    natural logarithms, no power and no floor. Reproduced: the first term has no
    gradient where a magnitude is below the floor. Not offered: `match_stride`, which
    has no effect in the original, distances other than L1, and the window `"average"`.
    Measured against it with windows and tables in float64: in float64, values agree
    within 3e-16 and gradients within 2e-12, or 7e-14 in mel bands.

    **Arguments:**

    - `window_lengths`: frame lengths, in samples.
    - `clamp_eps`: $\epsilon$, positive.
    - `mag_weight`, `log_weight`: weights. A term of weight 0 is not computed.
    - `pow`: $p$, positive.
    - `window_type`: a window that `Spectrogram` accepts.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "audiotools_stft"
    with checks.owned_by(owner, eps="clamp_eps", window="window_type"):
        lengths = _lengths(owner, window_lengths)
        transforms = [magnitudes(n, n // 4, n, window_type) for n in lengths]
        return _summed(owner, transforms, clamp_eps, mag_weight, log_weight, pow)


def audiotools_mel(
    sample_rate: float,
    n_mels: Sequence[int] = (150, 80),
    window_lengths: Sequence[int] = (2048, 512),
    *,
    clamp_eps: float = 1e-5,
    mag_weight: Any = 1.0,
    log_weight: Any = 1.0,
    pow: float = 2.0,
    mel_fmin: Sequence[float] | None = None,
    mel_fmax: Sequence[float | None] | None = None,
    window_type: Any = "hann",
) -> AbstractLoss:
    """audiotools's `MelSpectrogramLoss`: `audiotools_stft` in Slaney's mel bands.

    Magnitudes are summed into bands. Source: descriptinc/audiotools at 348ebf2,
    `metrics/spectral.py`. Reproduced: with small windows some bands contain no FFT bin
    and are 0 for all signals. Not reproduced: if the lists differ in length, the
    original ignores the excess resolutions; here that raises `ValueError`. Conventions
    and measured differences are those of `audiotools_stft`.

    **Arguments:**

    - `sample_rate`: Hz.
    - `n_mels`, `mel_fmin`, `mel_fmax`: number of bands and their edges, Hz, one for
        each window; `None`: 0 and half the sample rate.
    - all others: as in `audiotools_stft`.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "audiotools_mel"
    renamed = {"sr": "sample_rate", "fmin": "mel_fmin", "fmax": "mel_fmax"}
    renamed |= {"eps": "clamp_eps", "window": "window_type", "n_fft": "window_lengths"}
    with (
        checks.owned_by(owner, **renamed),
        without_warnings(),  # of empty bands, which the project has
    ):
        lengths = _lengths(owner, window_lengths)
        bands = checks.positive_ints(owner, "n_mels", n_mels)
        lowest = (0.0,) * len(lengths)
        if mel_fmin is not None:
            lowest = numbers_of(owner, "mel_fmin", mel_fmin)
        highest: tuple[Any, ...] = (None,) * len(lengths)
        if mel_fmax is not None:
            highest = numbers_of(owner, "mel_fmax", mel_fmax)
        columns = {"n_mels": bands, "mel_fmin": lowest, "mel_fmax": highest}
        same_length(owner, window_lengths=lengths, **columns)
        transforms = [
            MelSpectrogram(
                sample_rate,
                n,
                n_bands,
                fmin,
                fmax,
                n // 4,
                window=window_type,
                power=1.0,
                pad_mode="reflect",
                padding="torch",
            )
            for n, n_bands, fmin, fmax in zip(
                lengths, bands, lowest, highest, strict=True
            )
        ]
        return _summed(owner, transforms, clamp_eps, mag_weight, log_weight, pow)


def dac_mel(
    sample_rate: float,
    n_mels: Sequence[int] = (5, 10, 20, 40, 80, 160, 320),
    window_lengths: Sequence[int] = (32, 64, 128, 256, 512, 1024, 2048),
    *,
    clamp_eps: float = 1e-5,
    mag_weight: Any = 0.0,
    log_weight: Any = 1.0,
    pow: float = 1.0,
    mel_fmin: Sequence[float] | None = None,
    mel_fmax: Sequence[float | None] | None = None,
    window_type: Any = "hann",
) -> AbstractLoss:
    r"""The mel loss of the Descript Audio Codec, without its weight of 15.

    `audiotools_mel` with the arguments of DAC's configurations,

    $$\sum_N \overline{|\log_{10} \max(m_x, 10^{-5}) - \log_{10} \max(m_y, 10^{-5})|}$$

    With its weight: `SumLoss({"mel": dac_mel(44100)}, {"mel": 15.0})`. Source:
    descriptinc/descript-audio-codec at c7cfc5d, `dac/nn/loss.py`, `conf/base.yml`;
    Kumar, Seetharaman, Luebs, Kumar, Kumar (2023), "High-fidelity audio compression
    with improved RVQGAN", NeurIPS. Arguments, conventions and measured differences are
    those of `audiotools_mel`.
    """
    with checks.owned_by("dac_mel"):
        return audiotools_mel(
            sample_rate,
            n_mels,
            window_lengths,
            clamp_eps=clamp_eps,
            mag_weight=mag_weight,
            log_weight=log_weight,
            pow=pow,
            mel_fmin=mel_fmin,
            mel_fmax=mel_fmax,
            window_type=window_type,
        )


def _lengths(owner: str, window_lengths: Any) -> tuple[int, ...]:
    lengths = checks.positive_ints(owner, "window_lengths", window_lengths)
    if min(lengths) < 4:
        checks.refuse(owner, "window_lengths", "be at least 4, for hops", min(lengths))
    return lengths


def _summed(
    owner: str,
    transforms: Sequence[Any],
    clamp_eps: Any,
    mag_weight: Any,
    log_weight: Any,
    pow: Any,
) -> AbstractLoss:
    exponent = checks.positive(owner, "pow", pow)
    if exponent > _MOST_POW:
        checks.refuse(owner, "pow", f"be at most {_MOST_POW:g}", pow)
    # The logarithm of a power is a logarithm with another base.
    log = Log(eps=clamp_eps, base=10.0 ** (1 / exponent), floor_mode="clip")
    terms = [
        ("log", ElementwiseLoss(), log, weight_of(owner, "log_weight", log_weight)),
        (
            "mag",
            ElementwiseLoss(),
            Identity(),
            weight_of(owner, "mag_weight", mag_weight),
        ),
    ]
    return MultiResolutionLoss(
        transforms, **columns_of(terms), resolution_weights=[1.0] * len(transforms)
    )
