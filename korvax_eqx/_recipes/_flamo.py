"""The multi-scale spectral loss of flamo, and its losses of energy decays."""

from collections.abc import Sequence
from typing import Any, Literal

from korvax_eqx import _checks as checks
from korvax_eqx._composites._multi_resolution import MultiResolutionLoss
from korvax_eqx._composites._time_frequency import TimeFrequencyLoss
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._losses._norm import NormLoss
from korvax_eqx._losses._relative import RelativeLoss
from korvax_eqx._losses._spectral_convergence import SpectralConvergenceLoss
from korvax_eqx._scales._chain import Chain
from korvax_eqx._scales._cumulative_sum import CumulativeSum
from korvax_eqx._scales._decibel import PowerToDB
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._log import Log
from korvax_eqx._scales._power import Power
from korvax_eqx._time_domain._energy_decay import EnergyDecayLoss
from korvax_eqx._transforms._mel_spectrogram import MelSpectrogram
from korvax_eqx._transforms._spectrogram import Spectrogram

Form = Literal["yamamoto", "magenta"] | None
# The logarithm's floor for silence, which in flamo is minus infinity.
_LEAST = 1e-12


def flamo_mss(
    *,
    nfft: Sequence[int] = (128, 256, 512, 1024, 2048, 4096),
    overlap: float = 0.75,
    log_term: bool = False,
    alpha: float = 1.0,
    form: Form = None,
) -> MultiResolutionLoss:
    r"""The multi-scale spectral loss of flamo, `mss_loss`: norms over sizes.

    $$\sum_N \frac{\big\||X_N| - |Y_N|\big\|_F}{n_N}$$

    on magnitudes with a hann window of N samples, in centred frames padded by
    reflection, with $n_N$ values each. `form="yamamoto"` is a relative Frobenius norm,
    `"magenta"` a mean absolute difference, each plus `alpha` times the mean absolute
    difference of natural logarithms; with `form=None` and `log_term` it is the norm of
    these differences.

    **Source:** flamo 0.2.20, `flamo.optimize.loss.mss_loss`, on nnAudio 0.3.

    **Conventions of the original, reproduced:** the norm, not its square, is divided by
    the number of values, so the weight of a resolution decreases with the root of that
    number. **Not reproduced:**

    - Its bins are not at multiples of 1/N: they start at 20 Hz and go up in N/2 + 1
      steps of (sr/2 - 20) / (N/2 + 1) Hz. Ours are those of the DFT. On noise at 48 kHz
      this changes the value by 1.4e-3, and the gradient by a quarter of its largest
      entry.
    - The original takes one norm over the whole batch, ours one per signal.
    - For a bin that is 0, the original's logarithm is minus infinity; ours is that of
        1e-12.
    - `energy_norm` and the mask of noisy bins are not offered.

    **Measured** against its code with the bins of the DFT, of one signal, in float64:
    value 1e-9, gradient 1e-7, with logarithms 1e-4 (nnAudio's tables are in float32).

    **Arguments:**

    - `nfft`: window lengths, in samples.
    - `overlap`: overlap of frames, as a fraction of the window; at least 0, below 1.
    - `log_term`, `alpha`: whether to add the logarithmic term, and its weight.
    - `form`: `None`, `"yamamoto"` or `"magenta"`.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "flamo_mss"
    sizes = checks.positive_ints(owner, "nfft", nfft)
    overlap = _overlap(owner, overlap)
    checks.boolean(owner, "log_term", log_term)
    alpha = checks.non_negative(owner, "alpha", alpha)
    checks.one_of(owner, "form", form, (None, "yamamoto", "magenta"))
    with checks.owned_by(owner, n_fft="nfft", hop_length="overlap"):
        transforms = [
            Spectrogram(
                size,
                int(size * (1 - overlap)),
                power=1.0,
                pad_mode="reflect",
                padding="torch",
            )
            for size in sizes
        ]
    linear, logarithmic = {
        None: (NormLoss(reduction="numel"), NormLoss(reduction="numel")),
        "yamamoto": (SpectralConvergenceLoss(), ElementwiseLoss("L1")),
        "magenta": (ElementwiseLoss("L1"), ElementwiseLoss("L1")),
    }[form]
    losses: list[Any] = [linear]
    scales: list[Any] = [Identity()]
    weights, names = [1.0], ["lin"]
    if (log_term or form is not None) and alpha:
        losses.append(logarithmic)
        scales.append(Log(eps=_LEAST, floor_mode="replace"))
        weights.append(alpha)
        names.append("log")
    ones = [1.0] * len(transforms)
    return MultiResolutionLoss(transforms, losses, scales, weights, ones, names=names)


def flamo_edc(
    *, energy_norm: bool = False, convergence: bool = False, clip: bool = False
) -> EnergyDecayLoss:
    """The energy decay curve loss of flamo, `edc_loss(is_broadband=True)`.

    The mean squared difference of decay curves in dB, `EnergyDecayLoss`, of the signals
    without their last 0.5 %.

    **Source:** flamo 0.2.20, `flamo.optimize.loss.edc_loss` [6ab8e6b].

    **Not reproduced:** its default, `is_broadband=False`, which filters with pyfar's
    fractional octave bands first: put a map in front, `MappedLoss(FIRFilter(taps),
    flamo_edc())` for each band. The logarithm of a curve that is 0 is minus infinity
    there, -180 dB here.

    **Measured** against it in float64: value 5e-15, gradient 2e-14. With `convergence`
    one quotient is taken over the batch there, of each signal here.

    **Arguments:**

    - `energy_norm`: whether each curve starts at 0 dB.
    - `convergence`: whether the mean is divided by that of the target's squares.
    - `clip`: whether both are -180 dB from where the target has fallen by 60 dB.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "flamo_edc"
    range_db = 60.0 if checks.boolean(owner, "clip", clip) else None
    with checks.owned_by(owner, normalize="energy_norm", relative="convergence"):
        return EnergyDecayLoss(
            relative=convergence, normalize=energy_norm, range_db=range_db
        )


def flamo_edr(
    sample_rate: float = 48000, *, nfft: int = 1024, overlap: float = 0.5
) -> TimeFrequencyLoss:
    r"""The energy decay relief loss of flamo, `edr_loss`.

    $$\frac{\sum_{k,t} |R_x - R_y|}{\sum_{k,t} |R_y|}, \quad
      R = 10 \log_{10} \max\Big(\sum_{s \ge t} S_{k,s}^2, 10^{-32}\Big)$$

    of mel power spectrograms $S$ of 64 bands from 20 Hz to half the sample rate, with
    windows of 20 ms.

    **Source:** flamo 0.2.20, `flamo.optimize.loss.edr_loss` [6ab8e6b], on nnAudio;
    Mezza, Giampiccolo, Bernardini (2024), "Modeling the frequency-dependent sound
    energy decay of acoustic environments with differentiable feedback delay networks",
    DAFx.

    **Conventions of the original, reproduced:** the power spectrogram is squared once
    more. **Not reproduced:** one quotient is taken over the whole batch there, of each
    signal here; what is 0 in the target is left out there and has -320 dB here;
    `energy_norm` is left out.

    **Measured** against it, of one signal, in float64: value 1e-9, gradient 7e-8
    (nnAudio's tables are in float32).

    **Arguments:**

    - `sample_rate`: Hz.
    - `nfft`: samples of the FFT, at least 20 ms of them.
    - `overlap`: of two frames, as a part of the window; from 0 to below 1.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "flamo_edr"
    sample_rate = checks.positive(owner, "sample_rate", sample_rate)
    overlap = _overlap(owner, overlap)
    width = int(0.02 * sample_rate)
    if width < 1:
        rule = "be at least 50 Hz, for a window of 20 ms"
        checks.refuse(owner, "sample_rate", rule, sample_rate)
    names = {"sr": "sample_rate", "n_fft": "nfft", "win_length": "sample_rate"}
    with checks.owned_by(owner, **names, hop_length="overlap"):
        transform = MelSpectrogram(
            sample_rate,
            nfft,
            64,
            20.0,
            sample_rate // 2,
            int(width * (1 - overlap)),
            width,
            pad_mode="reflect",
            padding="torch",
        )
    decay = CumulativeSum("time", reverse=True)
    relief = Chain((Power(2.0), decay, PowerToDB(amin=1e-32, top_db=None)))
    return TimeFrequencyLoss(transform, RelativeLoss("L1", 0.0), relief)


def _overlap(owner: str, overlap: Any) -> float:
    overlap = checks.real(owner, "overlap", overlap)
    if not 0 <= overlap < 1:
        checks.refuse(owner, "overlap", "be at least 0 and below 1", overlap)
    return overlap
