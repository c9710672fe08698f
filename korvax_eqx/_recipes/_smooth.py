"""Versions of the smooth multi-scale spectral loss of Schwär and Müller."""

from collections.abc import Sequence
from typing import Any

from korvax_eqx import _checks as checks
from korvax_eqx._composites._multi_resolution import MultiResolutionLoss
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._losses._norm import NormLoss
from korvax_eqx._scales._log import Log
from korvax_eqx._transforms._spectrogram import Spectrogram

_SIZES = (67, 127, 257, 509, 1021, 2053)


def smooth_paper(
    *, win_lengths: Sequence[int] = _SIZES, window: Any = "flattop", gamma: float = 1.0
) -> MultiResolutionLoss:
    r"""The smooth multi-scale spectral loss of the paper: sums of squares.

    $$\sum_N \big\|\ln(1 + \gamma |X_N|) - \ln(1 + \gamma |Y_N|)\big\|_F^2$$

    over flattop windows of N = 67, 127, 257, 509, 1021 and 2053 samples, with hops of
    half of that, rounded down.

    **Source:** Schwär and Müller (2023), "Multi-scale spectral loss revisited", IEEE
    Signal Processing Letters 30. The paper does not say how the edges of a signal are
    treated: here frames are centred and padded by reflection, as in `torch.stft`.

    **There are four versions** of this loss. `smooth_paper` sums squares over bins,
    frames and scales, so longer signals have larger losses; `smooth_scrapl` takes the
    roots of these sums; `smooth_auraloss` takes means; `SmoothMRSTFTLoss` takes means
    too, with a first hop of 32 and zero padding. All of them average over signals.

    **Measured** against an independent version in NumPy: the value within 1e-10 in
    float64, as the tests hold, and within 1e-6 in float32.

    **Arguments:**

    - `win_lengths`: lengths of windows and FFTs, in samples.
    - `window`: a window that `Spectrogram` accepts.
    - `gamma`: factor before the logarithm.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "smooth_paper"
    sizes = checks.positive_ints(owner, "win_lengths", win_lengths)
    with checks.owned_by(owner, n_fft="win_lengths", factor="gamma"):
        transforms = [_spectrogram(n, max(1, n // 2), n, window) for n in sizes]
        scale = Log(gamma, 1.0)
        return _sum(transforms, ElementwiseLoss("L2", reduction="sum"), scale)


def smooth_scrapl(
    *,
    fft_sizes: Sequence[int] = _SIZES,
    hop_sizes: Sequence[int] = (33, 63, 128, 254, 510, 1026),
    win_lengths: Sequence[int] = _SIZES,
    window: Any = "flattop",
    log_mag_eps: float = 1.0,
    gamma: float = 1.0,
    p: int = 2,
) -> MultiResolutionLoss:
    r"""The smooth multi-scale spectral loss of scrapl: norms, not squared.

    $$\sum_N \big\|\ln(\epsilon + \gamma |X_N|) - \ln(\epsilon + \gamma |Y_N|)\big\|_p$$

    **Source:** `LogMSSLoss` of christhetree/scrapl-ddsp, with its defaults.

    **Differs from the paper** (`smooth_paper`), which squares. The derivative of the
    norm at equal spectra is 0 here and NaN in the original. There the flattop window is
    called `"flat_top"`.

    **Measured** against an independent version in NumPy: the value within 1e-10 in
    float64, as the tests hold, and within 1e-6 in float32.

    **Arguments:**

    - `fft_sizes`, `hop_sizes`, `win_lengths`: one for each scale, in samples.
    - `window`: a window that `Spectrogram` accepts.
    - `log_mag_eps`, `gamma`: the constant added to the magnitudes, and their factor.
    - `p`: 2 for the Frobenius norm, 1 for the sum of absolute differences.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "smooth_scrapl"
    checks.one_of(owner, "p", p, (1, 2))
    sizes = _one_each(owner, fft_sizes, hop_sizes, win_lengths)
    loss = NormLoss() if p == 2 else ElementwiseLoss("L1", reduction="sum")
    rename = {"n_fft": "fft_sizes", "hop_length": "hop_sizes"}
    rename |= {"win_length": "win_lengths", "eps": "log_mag_eps", "factor": "gamma"}
    with checks.owned_by(owner, **rename):
        transforms = [_spectrogram(*size, window) for size in sizes]
        scale = Log(gamma, log_mag_eps)
        return _sum(transforms, loss, scale)


def smooth_auraloss(
    *,
    fft_sizes: Sequence[int] = _SIZES,
    hop_sizes: Sequence[int] = (33, 63, 128, 254, 510, 1026),
    win_lengths: Sequence[int] = _SIZES,
    window: Any = "flattop",
    log_fac: float = 1.0,
    log_eps: float = 1.0,
    eps: float = 1e-8,
) -> MultiResolutionLoss:
    r"""The smooth multi-scale spectral loss in auraloss: means of squares.

    $$\frac1K \sum_N \mathrm{mean}\,\big(\ln(f M_{x,N} + \epsilon) -
      \ln(f M_{y,N} + \epsilon)\big)^2,\quad M = \sqrt{\max(|X|^2, 10^{-8})}$$

    **Source:** auraloss [0853e9e], to which the paper's author added `log_fac` and
    `log_eps`: `MultiResolutionSTFTLoss` of these sizes with `window="flattop"`,
    `w_sc=0`, `w_log_mag=1`, `mag_distance="L2"`, `log_eps=1`. The release 0.4.0 has no
    flattop window and no `log_eps`. The windows and hops are the paper's.

    **Differs from the paper** (`smooth_paper`) in that it takes means.

    **Measured** against an independent version in NumPy: the value within 1e-10 in
    float64, as the tests hold, and within 1e-6 in float32.

    **Arguments:**

    - `fft_sizes`, `hop_sizes`, `win_lengths`: one for each scale, in samples.
    - `window`: a window that `Spectrogram` accepts.
    - `log_fac`, `log_eps`: the factor $f$, and the constant $\epsilon$.
    - `eps`: the smallest power, inside the root.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "smooth_auraloss"
    sizes = _one_each(owner, fft_sizes, hop_sizes, win_lengths)
    rename = {"n_fft": "fft_sizes", "hop_length": "hop_sizes", "floor": "eps"}
    with checks.owned_by(owner, **rename, win_length="win_lengths"):
        transforms = [_spectrogram(*size, window, floor=eps) for size in sizes]
    with checks.owned_by(owner, factor="log_fac", eps="log_eps"):
        scale = Log(log_fac, log_eps)
    return MultiResolutionLoss(
        transforms, ElementwiseLoss("L2"), scale, weights=[1.0], names="log"
    )


def _spectrogram(
    n_fft: int, hop_length: int, win_length: int, window: Any, floor: float = 0.0
) -> Spectrogram:
    return Spectrogram(
        n_fft,
        hop_length,
        win_length,
        window,
        power=1.0,
        pad_mode="reflect",
        padding="torch",
        floor=floor,
    )


def _sum(transforms: list[Spectrogram], loss: Any, scale: Log) -> MultiResolutionLoss:
    ones = [1.0] * len(transforms)
    return MultiResolutionLoss(
        transforms, loss, scale, weights=[1.0], resolution_weights=ones, names="log"
    )


def _one_each(
    owner: str, fft_sizes: Any, hop_sizes: Any, win_lengths: Any
) -> list[tuple[int, int, int]]:
    """Check three sequences of equal length; return their entries together."""
    names = ("fft_sizes", "hop_sizes", "win_lengths")
    values = (fft_sizes, hop_sizes, win_lengths)
    sizes = [
        checks.positive_ints(owner, name, value)
        for name, value in zip(names, values, strict=True)
    ]
    for name, entries in zip(names, sizes, strict=True):
        if len(entries) != len(sizes[0]):
            rule = f"have one entry for each of the {len(sizes[0])} FFT sizes"
            checks.refuse(owner, name, rule, entries)
    return list(zip(*sizes, strict=True))
