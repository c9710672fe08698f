"""Spectral optimal transport: the package sot-loss, and the paper's loss."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from korvax_eqx import _checks as checks
from korvax_eqx._composites._multi_resolution import MultiResolutionLoss
from korvax_eqx._composites._sum import SumLoss
from korvax_eqx._composites._time_frequency import TimeFrequencyLoss
from korvax_eqx._engine._plan import unique_names
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._losses._transport import SpectralOptimalTransportLoss
from korvax_eqx._transforms._spectrogram import Spectrogram

Scaling = Literal["normalized", "absolute"]

# From the paper's code: the lowest frequency of its encoder's CQT, which has 36 bins
# per octave.
_FMIN = 32.7
_BINS_PER_OCTAVE = 36
# The smallest divisor of a mass in the paper's code.
_LEAST_MASS = 1e-7
_MSS_SIZES = (2048, 1024, 512, 256, 128, 64)


def sot(
    *,
    fft_size: int = 1024,
    hop_length: int = 256,
    win_length: int | None = None,
    window: Any = "flattop",
    p: float = 2,
    normalize: bool = True,
    balanced: bool = True,
    quantile_lowpass: bool = False,
    apply_root: bool = False,
    square_magnitude: bool = False,
    eps: float = 1e-8,
    bin_position_scaling: Scaling = "normalized",
    sample_rate: float = 22050,
) -> TimeFrequencyLoss:
    r"""Spectral optimal transport of the package sot-loss, `Wasserstein1DLoss`.

    $W_p^p$ between the magnitudes of each frame, averaged over frames and signals:
    centred frames padded by reflection, a flattop window, bins from 0 to 1 inclusive.
    The four normalisations are those of `SpectralOptimalTransportLoss`.

    **Source:** sot-loss 0.1.5 by Torres; Torres, Peeters, Richard (2024),
    "Unsupervised harmonic parameter estimation using differentiable DSP and spectral
    optimal transport", ICASSP.

    **Differs from the paper** in everything but the window: see `sot_paper`.

    **Conventions of the original, reproduced:** `eps` is added to the masses, so
    normalised spectra have a mass below 1, and the missing mass counts at the last bin;
    `apply_root` takes $\sqrt{W_2^2 + \epsilon}$ for $p = 2$, and no epsilon for other
    orders. **Not reproduced:** where the root is 0 its derivative is NaN in the
    original and 0 here; where cumulative masses coincide, we take the mean of the
    slopes on both sides. Not offered: the other transforms, `log` and `dim`. For
    `circular`, use `SpectralOptimalTransportLoss(circular=True)`.

    **Measured** against it in float64, for the four normalisations and p = 1, 1.5 and
    2: value and gradient 1e-14. In float32: value 2e-6, gradient 1e-6 to 5e-5, because
    rounding decides the order of nearly equal cumulative masses.

    **Arguments:**

    - `fft_size`, `hop_length`, `win_length`, `window`: frame length, hop and window.
        `win_length=None` is `fft_size`.
    - `p`, `normalize`, `balanced`, `quantile_lowpass`: see
        `SpectralOptimalTransportLoss`.
    - `apply_root`: whether to use $W_p$ instead of $W_p^p$.
    - `square_magnitude`: whether to compare powers instead of magnitudes.
    - `eps`: added to the masses, and under the root.
    - `bin_position_scaling`: `"normalized"` for bins from 0 to 1, or `"absolute"` for
        their frequencies in Hz.
    - `sample_rate`: Hz; only used by `"absolute"`.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    rename = {"n_fft": "fft_size", "root": "apply_root"}
    with checks.owned_by("sot", **rename):
        checks.positive_int("sot", "n_fft", fft_size)
        checks.boolean("sot", "square_magnitude", square_magnitude)
        checks.positive("sot", "sample_rate", sample_rate)
        options = ("normalized", "absolute")
        checks.one_of("sot", "bin_position_scaling", bin_position_scaling, options)
        positions: Any = "linear"
        if bin_position_scaling == "absolute":
            positions = np.fft.rfftfreq(fft_size, 1 / sample_rate)
        transform = Spectrogram(
            fft_size,
            hop_length,
            win_length,
            window,
            power=2.0 if square_magnitude else 1.0,
            pad_mode="reflect",
            padding="torch",
        )
        transport = SpectralOptimalTransportLoss(
            positions,
            p,
            normalize,
            balanced,
            quantile_lowpass,
            root=apply_root,
            root_eps=eps if apply_root and p == 2 else 0.0,
            eps=eps,
        )
        return TimeFrequencyLoss(transform, transport)


def sot_multiresolution(
    *,
    fft_sizes: Sequence[int] = (1024, 2048, 512),
    hop_lengths: Sequence[int] = (256, 512, 128),
    win_lengths: Sequence[int] | None = None,
    window: Any = "flattop",
    p: float = 2,
    normalize: bool = True,
    balanced: bool = True,
    quantile_lowpass: bool = False,
    apply_root: bool = False,
    square_magnitude: bool = False,
    eps: float = 1e-8,
    bin_position_scaling: Scaling = "normalized",
    sample_rate: float = 22050,
) -> SumLoss:
    """The sum of `sot` at several resolutions: sot-loss's `MultiResolutionSOTLoss`.

    It is a sum, not a mean, so the value grows with the number of resolutions.

    **Source:** sot-loss 0.1.5. **Differs from the paper**, which has one resolution.
    **Measured** as `sot`.

    **Arguments:** sequences with one entry per resolution; all others as in `sot`.

    **Raises:** `ValueError` for an argument outside these rules, and for sequences of
    different lengths.
    """
    owner = "sot_multiresolution"
    rename = {
        "fft_size": "fft_sizes",
        "hop_length": "hop_lengths",
        "win_length": "win_lengths",
    }
    sizes = checks.positive_ints(owner, "fft_sizes", fft_sizes)
    hops = checks.positive_ints(owner, "hop_lengths", hop_lengths)
    windows = sizes
    if win_lengths is not None:
        windows = checks.positive_ints(owner, "win_lengths", win_lengths)
    for name, lengths in (("hop_lengths", hops), ("win_lengths", windows)):
        if len(lengths) != len(sizes):
            rule = f"have one entry for each of the {len(sizes)} FFT sizes"
            checks.refuse(owner, name, rule, lengths)
    with checks.owned_by(owner, **rename):
        losses = [
            sot(
                fft_size=fft_size,
                hop_length=hop_length,
                win_length=win_length,
                window=window,
                p=p,
                normalize=normalize,
                balanced=balanced,
                quantile_lowpass=quantile_lowpass,
                apply_root=apply_root,
                square_magnitude=square_magnitude,
                eps=eps,
                bin_position_scaling=bin_position_scaling,
                sample_rate=sample_rate,
            )
            for fft_size, hop_length, win_length in zip(
                sizes, hops, windows, strict=True
            )
        ]
    names = unique_names([str(size) for size in sizes])
    return SumLoss(dict(zip(names, losses, strict=True)))


def sot_paper(
    sample_rate: float = 16000,
    *,
    n_fft: int | None = None,
    hop_length: int = 256,
    log_scaled_x: bool = False,
    dont_normalize: bool = True,
    limit_quantile_range: bool = True,
    mss_weight: float = 0.05,
) -> SumLoss:
    r"""The training loss of the spectral optimal transport paper: $W_2^2$ plus MSS-lin.

    $$W_2^2(S_x / m_y, S_y / m_y) + 0.05 \sum_N \mathrm{mean}\big||X_N| - |Y_N|\big|$$

    $S$ are power spectra (flattop window, 2048 samples, hop 256), both divided by the
    mass of the target's frame, with bins from 0 to 1 inclusive. Transport above
    quantile 1 is ignored. The second term compares magnitudes with hann windows of N =
    2048, 1024, ..., 64 samples, hop N/4. Frames begin at the first sample, and zeros
    are appended for the last ones; spectra are divided by $\sqrt N$.

    **Source:** the code of Torres, Peeters, Richard (2024), "Unsupervised harmonic
    parameter estimation using differentiable DSP and spectral optimal transport",
    ICASSP: bernardo-torres/1d-spectral-optimal-transport, commit 5243374 for the
    configurations `SOT-2048` (the default), `SOT-512` (`n_fft=512`), `SOT-512-LS`
    (`log_scaled_x=True`) and `SOT-SingleScale` (`mss_weight=0`). It passes the target
    first, so masses are relative to the target.

    **Conventions of the original, reproduced:** with `log_scaled_x` the bin at 0 Hz is
    placed at MIDI note 0, 24 semitones below the lowest note, and the highest bins are
    beyond 1, because 0 and 1 are the ends of the encoder's CQT. **Not reproduced:** it
    always computes in float32; and if rounding brings the cumulative mass of the target
    above 1, it ignores the last piece.

    **Measured** against an independent version in NumPy: the value within 1e-10 in
    float64, as the tests hold, and within 1e-6 in float32; finite differences within
    2e-5, because the slope jumps where cumulative masses meet.

    **Arguments:**

    - `sample_rate`: Hz; only used with `log_scaled_x`.
    - `n_fft`, `hop_length`: frame length and hop of the transport, in samples.
        `n_fft=None`: 2048, or 512 with `log_scaled_x`.
    - `log_scaled_x`: whether positions of bins are logarithmic in frequency.
    - `dont_normalize`, `limit_quantile_range`: the frequency cutoff. Without the first,
        the estimate is divided by its own mass; frames with a mass below 1e-7 then get
        less weight, while the cost jumps in the original.
    - `mss_weight`: weight of the second term.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "sot_paper"
    rename = {
        "sr": "sample_rate",
        "quantile_lowpass": "limit_quantile_range",
        "weights": "mss_weight",
    }
    with checks.owned_by(owner, **rename):
        checks.positive(owner, "sr", sample_rate)
        checks.boolean(owner, "log_scaled_x", log_scaled_x)
        checks.boolean(owner, "dont_normalize", dont_normalize)
        if n_fft is None:
            n_fft = 512 if log_scaled_x else 2048
        framing: dict[str, Any] = {"padding": "end", "normalized": "frame_length"}
        transform = Spectrogram(n_fft, hop_length, window="flattop", **framing)
        positions: Any = "linear"
        if log_scaled_x:
            positions = _log_positions(owner, sample_rate, n_fft)
        transport = SpectralOptimalTransportLoss(
            positions,
            balanced=not dont_normalize,
            quantile_lowpass=limit_quantile_range,
            reference="target",
            floor=_LEAST_MASS,
        )
        magnitudes = [
            Spectrogram(size, size // 4, power=1.0, **framing) for size in _MSS_SIZES
        ]
        mss = MultiResolutionLoss(
            magnitudes,
            ElementwiseLoss("L1"),
            weights=[1.0],
            resolution_weights=[1.0] * len(magnitudes),
            names="lin",
        )
        weight = checks.non_negative(owner, "weights", mss_weight)
        sot_loss = TimeFrequencyLoss(transform, transport)
        return SumLoss({"sot": sot_loss, "mss": mss}, {"sot": 1.0, "mss": weight})


def _log_positions(owner: str, sample_rate: float, n_fft: int) -> np.ndarray:
    """Return MIDI notes of the bins, scaled to 0 and 1 at the ends of a CQT from 32.7
    Hz."""
    n_semitones = int(np.floor(12 * np.log2(sample_rate / 2 / _FMIN)))
    if n_semitones < 1:
        rule = f"be above {4 * _FMIN:g} Hz with `log_scaled_x=True`"
        checks.refuse(owner, "sr", rule, sample_rate)
    if n_fft > sample_rate / _note_zero():
        rule = f"be at most {sample_rate / _note_zero():.0f} with `log_scaled_x=True`"
        remedy = "The bin at 0 Hz stands where 8.2 Hz would be, and must be the first."
        checks.refuse(owner, "n_fft", rule, n_fft, remedy)
    last = (3 * n_semitones - 1) / _BINS_PER_OCTAVE
    frequencies = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    notes = np.zeros_like(frequencies)
    notes[1:] = _note(frequencies[1:])
    lowest, highest = _note(_FMIN), _note(_FMIN * 2**last)
    return (notes - lowest) / (highest - lowest)


def _note(frequency: Any) -> Any:
    return 69 + 12 * np.log2(frequency / 440)


def _note_zero() -> float:
    """The frequency of MIDI note 0, Hz."""
    return 440 * 2 ** (-69 / 12)
