"""The L1 signal-to-noise ratios of torch-l1-snr."""

import math
from collections.abc import Sequence
from typing import Any

from korvax_eqx import _checks as checks
from korvax_eqx._composites._multi_resolution import MultiResolutionLoss
from korvax_eqx._composites._sum import SumLoss
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._losses._spectral_l1_snr import SpectralL1SNRLoss
from korvax_eqx._losses._spectral_level import SpectralLevelLoss
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._real_imaginary import RealImaginary
from korvax_eqx._time_domain._l1_snr import L1SNRLoss
from korvax_eqx._time_domain._level import LevelLoss
from korvax_eqx._time_domain._waveform import WaveformLoss
from korvax_eqx._transforms._stft import STFT

from ._parts import with_gradient_scale

# The derivative of 10 log10 at 1.
_SLOPE = 10 / math.log(10)
# The median ratio between levels of a spectrum and of its signal, as measured by the
# package.
_SPECTRUM_TO_SIGNAL = 0.19


def l1snr_db(
    *,
    lambda0: float = 0.1,
    delta_lambda: float = 0.9,
    l1snr_eps: float = 1e-3,
    dbrms_eps: float = 1e-8,
    lmin: float = -60.0,
    use_regularization: bool = True,
    l1_weight: float = 0.0,
    reg_coef: float = 1.0,
    ref_level: float = 0.05,
    joined: bool = False,
    grad_scale: float = 1.0,
) -> AbstractLoss:
    r"""L1 signal-to-noise ratio with level regulariser: torch-l1-snr's `L1SNRDBLoss`.

    $$(1 - w) (D + c\,\lambda |L_x - L_y|) + w\,s\,\tfrac1n\sum |x - y|$$

    with $D$ from `L1SNRLoss`, the regulariser from `LevelLoss`, and $s = 10 / \ln 10 /
    (\mathrm{ref\_level} + \epsilon)$. With $w = 1$ it is the mean absolute error.
    Smaller is better; good estimates give negative values.

    **Source:** torch-l1-snr 0.2.1, `L1SNRDBLoss`; Watcharasupat et al. (2023), "A
    generalized bandsplit neural network for cinematic audio source separation".

    **Differs from the paper:** means of absolute values instead of sums; the weights of
    the regulariser are the package's own. **Differs from the package:** it takes one
    ratio over all sources and channels of an example; here each signal has its own by
    default, so the two agree for shape (batch, time), and with `joined=True` for shape
    (batch, channels, time). NaN in a signal gives NaN.

    **Measured** against it in float64: value and gradient 1e-7 (it computes with 0.9 in
    float32); without the regulariser 1e-15. In float32 value and gradient 1e-6.

    **Arguments:**

    - `lambda0`, `delta_lambda`, `lmin`, `dbrms_eps`: those of `LevelLoss`.
    - `l1snr_eps`: of `L1SNRLoss`. Positive.
    - `use_regularization`, `reg_coef`: whether to add the regulariser, and its weight.
    - `l1_weight`: $w$, from 0 to 1.
    - `ref_level`: the mean absolute value of your targets.
    - `joined`: whether all channels of a recording, the axis before the samples, have
        one ratio together.
    - `grad_scale`: what the gradient is multiplied by, see `GradientScale`. Positive.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "l1snr_db"
    w = _unit(owner, "l1_weight", l1_weight)
    checks.boolean(owner, "use_regularization", use_regularization)
    reg_coef = checks.non_negative(owner, "reg_coef", reg_coef)
    checks.boolean(owner, "joined", joined)
    ref_level = checks.positive(owner, "ref_level", ref_level)
    eps = checks.positive(owner, "l1snr_eps", l1snr_eps)
    with checks.owned_by(owner, eps="dbrms_eps"):
        level = LevelLoss(lambda0, delta_lambda, lmin, dbrms_eps, joined=joined)
    scale = 1.0 if w == 1 else _SLOPE / (ref_level + eps)
    parts = {
        "l1_snr": (L1SNRLoss(eps, joined=joined), 1 - w),
        "level": (level, (1 - w) * reg_coef * use_regularization),
        "l1": (WaveformLoss("L1"), w * scale),
    }
    return with_gradient_scale(owner, grad_scale, _sum_of(parts))


def l1snr_db_stft(
    *,
    lambda0: float = 0.1,
    delta_lambda: float = 0.9,
    l1snr_eps: float = 1e-3,
    dbrms_eps: float = 1e-8,
    lmin: float = -60.0,
    n_ffts: Sequence[int] = (512, 1024, 2048),
    hop_lengths: Sequence[int] = (128, 256, 512),
    win_lengths: Sequence[int] = (512, 1024, 2048),
    window_fn: Any = "hann",
    use_regularization: bool = False,
    spec_reg_coef: float = 0.1,
    l1_weight: float = 0.0,
    ref_level: float = 0.05,
    spec_ref_level: float | None = None,
    joined: bool = False,
    grad_scale: float = 1.0,
) -> AbstractLoss:
    r"""The L1 signal-to-noise ratio of complex spectra: `STFTL1SNRDBLoss`.

    The mean over resolutions of $D$ of the real parts plus $D$ of the imaginary parts
    (`SpectralL1SNRLoss`), in centred frames padded by reflection; spectra are divided
    by the 2-norm of the window.

    **Source:** torch-l1-snr 0.2.1, `STFTL1SNRDBLoss`; Watcharasupat and Lerch (2024),
    "A stem-agnostic single-decoder system for music source separation beyond four
    stems", ISMIR.

    **Differs from the package:** as `l1snr_db`. Also, a signal too short for a
    resolution is an error; the package skips the resolution, or uses half of a loss in
    the time domain.

    **Measured** against it in float64: value 1e-8, gradient 1e-7 (its windows are in
    float32). In float32 value and gradient 1e-6.

    **Arguments:** as in `l1snr_db`, and

    - `n_ffts`, `hop_lengths`, `win_lengths`: one for each resolution, in samples.
    - `window_fn`: the window, as `STFT` takes it.
    - `spec_reg_coef`: the weight of the regulariser.
    - `spec_ref_level`: the mean absolute value of your targets' spectra; `None`: 0.19
        times `ref_level`.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "l1snr_db_stft"
    w = _unit(owner, "l1_weight", l1_weight)
    checks.boolean(owner, "use_regularization", use_regularization)
    checks.boolean(owner, "joined", joined)
    coefficient = checks.non_negative(owner, "spec_reg_coef", spec_reg_coef)
    level = checks.positive(owner, "ref_level", ref_level) * _SPECTRUM_TO_SIGNAL
    if spec_ref_level is not None:
        level = checks.positive(owner, "spec_ref_level", spec_ref_level)
    eps = checks.positive(owner, "l1snr_eps", l1snr_eps)
    names = ("n_ffts", "hop_lengths", "win_lengths")
    sizes = [
        checks.positive_ints(owner, name, value)
        for name, value in zip(names, (n_ffts, hop_lengths, win_lengths), strict=True)
    ]
    for name, entries in zip(names, sizes, strict=True):
        if len(entries) != len(sizes[0]):
            rule = f"have one entry for each of the {len(sizes[0])} FFT sizes"
            checks.refuse(owner, name, rule, entries)
    rename = {"n_fft": "n_ffts", "hop_length": "hop_lengths"}
    rename |= {"win_length": "win_lengths", "window": "window_fn", "eps": "dbrms_eps"}
    with checks.owned_by(owner, **rename):
        transforms = [
            STFT(
                n_fft,
                hop,
                win,
                window_fn,
                pad_mode="reflect",
                padding="torch",
                normalized=True,
            )
            for n_fft, hop, win in zip(*sizes, strict=True)
        ]
        penalty = SpectralLevelLoss(
            lambda0, delta_lambda, lmin, dbrms_eps, joined=joined
        )
    # The factor 2 is for real and imaginary parts, which have a ratio each.
    scale = 1.0 if w == 1 else 2 * _SLOPE / (level + eps)
    terms = [
        ("l1_snr", Identity(), SpectralL1SNRLoss(eps, joined=joined), 1 - w),
        ("level", Identity(), penalty, (1 - w) * coefficient * use_regularization),
        ("l1", RealImaginary(), ElementwiseLoss("L1"), w * scale),
    ]
    terms = [term for term in terms if term[-1]]
    labels, scales, losses, weights = zip(*terms, strict=True)
    loss = MultiResolutionLoss(transforms, losses, scales, weights, names=labels)
    return with_gradient_scale(owner, grad_scale, loss)


def l1snr_db_multi(
    *,
    spec_weight: float = 0.5,
    l1_weight: float = 0.0,
    use_time_regularization: bool = True,
    use_spec_regularization: bool = False,
    lambda0: float = 0.1,
    delta_lambda: float = 0.9,
    l1snr_eps: float = 1e-3,
    dbrms_eps: float = 1e-8,
    lmin: float = -60.0,
    n_ffts: Sequence[int] = (512, 1024, 2048),
    hop_lengths: Sequence[int] = (128, 256, 512),
    win_lengths: Sequence[int] = (512, 1024, 2048),
    window_fn: Any = "hann",
    spec_reg_coef: float = 0.1,
    ref_level: float = 0.05,
    spec_ref_level: float | None = None,
    joined: bool = False,
    grad_scale: float = 1.0,
) -> AbstractLoss:
    """L1 signal-to-noise ratios in time and of spectra: `MultiL1SNRDBLoss`.

    `(1 - spec_weight)` times `l1snr_db` plus `spec_weight` times `l1snr_db_stft`.

    **Source:** torch-l1-snr 0.2.1, `MultiL1SNRDBLoss`. Differences, and their
    measurements, are those of its two parts.

    **Arguments:** `spec_weight`, from 0 to 1; all others are those of the parts.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "l1snr_db_multi"
    spec_weight = _unit(owner, "spec_weight", spec_weight)
    checks.boolean(owner, "joined", joined)
    shared: dict[str, Any] = {
        "lambda0": lambda0,
        "delta_lambda": delta_lambda,
        "l1snr_eps": l1snr_eps,
        "dbrms_eps": dbrms_eps,
        "lmin": lmin,
        "l1_weight": l1_weight,
        "ref_level": ref_level,
        "joined": joined,
    }
    with checks.owned_by(owner, use_regularization="use_time_regularization"):
        time = l1snr_db(use_regularization=use_time_regularization, **shared)
    with checks.owned_by(owner, use_regularization="use_spec_regularization"):
        spec = l1snr_db_stft(
            n_ffts=n_ffts,
            hop_lengths=hop_lengths,
            win_lengths=win_lengths,
            window_fn=window_fn,
            use_regularization=use_spec_regularization,
            spec_reg_coef=spec_reg_coef,
            spec_ref_level=spec_ref_level,
            **shared,
        )
    loss = _sum_of({"time": (time, 1 - spec_weight), "spec": (spec, spec_weight)})
    return with_gradient_scale(owner, grad_scale, loss)


def _sum_of(parts: dict[str, tuple[Any, float]]) -> SumLoss:
    """Return the sum of the losses whose weight is not 0."""
    kept = {name: part for name, part in parts.items() if part[1]}
    losses = {name: loss for name, (loss, _) in kept.items()}
    return SumLoss(losses, {name: weight for name, (_, weight) in kept.items()})


def _unit(owner: str, argument: str, value: Any) -> float:
    value = checks.real(owner, argument, value)
    if not 0 <= value <= 1:
        checks.refuse(owner, argument, "be between 0 and 1", value)
    return value
