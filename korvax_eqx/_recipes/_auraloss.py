"""The losses of auraloss."""

from collections.abc import Sequence
from typing import Any, Literal

from korvax_eqx import _checks as checks
from korvax_eqx._composites._mapped import MappedLoss
from korvax_eqx._composites._multi_resolution import MultiResolutionLoss
from korvax_eqx._composites._sum import SumLoss
from korvax_eqx._composites._time_frequency import TimeFrequencyLoss
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._data._term import is_off
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._losses._phase import PhaseLoss
from korvax_eqx._losses._spectral_convergence import BatchSpectralConvergenceLoss
from korvax_eqx._maps._a_weighting import AWeightingFilter
from korvax_eqx._maps._channel_mix import ChannelMix
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._log import Log
from korvax_eqx._transforms._mel_spectrogram import MelSpectrogram
from korvax_eqx._transforms._spectrogram import Spectrogram

from ._parts import (
    FFT_SIZES,
    HOP_SIZES,
    WIN_LENGTHS,
    columns_of,
    magnitudes,
    sizes_of,
    weight_of,
    window_of,
)

WINDOWS = (
    "hann_window",
    "bartlett_window",
    "blackman_window",
    "hamming_window",
    "kaiser_window",
)


def auraloss_stft(
    fft_size: int = 1024,
    hop_size: int = 256,
    win_length: int = 1024,
    window: Any = "hann_window",
    *,
    w_sc: Any = 1.0,
    w_log_mag: Any = 1.0,
    w_lin_mag: Any = 0.0,
    w_phs: Any = 0.0,
    sample_rate: float | None = None,
    scale: str | None = None,
    n_bins: int | None = None,
    perceptual_weighting: bool = False,
    eps: float = 1e-8,
    mag_distance: Literal["L1", "L2"] = "L1",
    log_fac: float = 1.0,
    log_eps: float = 0.0,
) -> AbstractLoss:
    r"""auraloss's `STFTLoss`.

    $$w_\mathrm{sc} \frac{\|M_y - M_x\|_F}{\|M_y\|_F}
      + w_\mathrm{log}\, \overline{|\ln(f M_x + c) - \ln(f M_y + c)|}
      + w_\mathrm{lin}\, \overline{|M_x - M_y|}
      + w_\mathrm{phs}\, \overline{(\angle X - \angle Y)^2}$$

    with $M = \sqrt{\max(|\mathrm{STFT}|^2, \epsilon)}$ of centred frames, padded by
    reflection. Both norms of the first term are taken over the whole batch, so the loss
    of a batch is not the mean of the losses of its parts. `jax.vmap` gives each example
    its own ratio.

    Source: csteinmetz1/auraloss at 0853e9e, `auraloss/freq.py`; Steinmetz and Reiss
    (2020), "auraloss: Audio focused loss functions in PyTorch", DMRN+15. The
    convergence is that of Arik, Jun, Diamos (2019), who take it per example and do not
    compare phases. Reproduced: the phase difference is not wrapped to $[-\pi, \pi]$;
    the gradient is 0 where a magnitude is below the floor; mel bands sum magnitudes
    after the floor. Mel bands without an FFT bin give non-finite values in the
    original; here they count as equal. Not offered: `scale="chroma"`, which raises an
    error in the original, and `scale_invariance`, whose factor it broadcasts along the
    bins.

    Measured against auraloss 0.4.0 and this commit, both with windows and tables in
    float64: in float64, values agree within 6e-16 and gradients within 3e-11. In
    float32, values agree within 5e-7 and gradients within 4e-3 (4e-6 in mel bands),
    which is the rounding of bins that nearly cancel. `w_phs` is an exception: the phase
    of a real negative bin (at 0 Hz, at half the sample rate, and in the frame centred
    at the first sample) is rounded to $\pi$ or $-\pi$, not always to the same one in
    both.

    **Arguments:**

    - `fft_size`, `hop_size`, `win_length`: samples.
    - `window`: a torch window such as `"hann_window"`, or anything that `Spectrogram`
        accepts.
    - `w_sc`, `w_log_mag`, `w_lin_mag`, `w_phs`: weights of the terms. A term of weight
        0 is not computed; a JAX scalar is a leaf.
    - `sample_rate`: Hz, for `scale` and `perceptual_weighting`.
    - `scale`: `"mel"` for Slaney's mel bands of the magnitudes, `n_bins` of them.
    - `perceptual_weighting`: whether both signals are first A-weighted by
        `AWeightingFilter`.
    - `eps`: $\epsilon$, the smallest power.
    - `mag_distance`: `"L1"` or `"L2"`, for the second and third term.
    - `log_fac`, `log_eps`: $f$ and $c$.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "auraloss_stft"
    with checks.owned_by(owner, n_fft="fft_size", hop_length="hop_size"):
        return stft_loss(
            owner,
            (fft_size, hop_size, win_length),
            window=window,
            w_sc=w_sc,
            w_log_mag=w_log_mag,
            w_lin_mag=w_lin_mag,
            w_phs=w_phs,
            sample_rate=sample_rate,
            scale=scale,
            n_bins=n_bins,
            perceptual_weighting=perceptual_weighting,
            eps=eps,
            mag_distance=mag_distance,
            log_fac=log_fac,
            log_eps=log_eps,
        )


def auraloss_mrstft(
    fft_sizes: Sequence[int] = FFT_SIZES,
    hop_sizes: Sequence[int] = HOP_SIZES,
    win_lengths: Sequence[int] = WIN_LENGTHS,
    window: Any = "hann_window",
    *,
    w_sc: Any = 1.0,
    w_log_mag: Any = 1.0,
    w_lin_mag: Any = 0.0,
    w_phs: Any = 0.0,
    sample_rate: float | None = None,
    scale: str | None = None,
    n_bins: int | None = None,
    perceptual_weighting: bool = False,
    eps: float = 1e-8,
    mag_distance: Literal["L1", "L2"] = "L1",
    log_fac: float = 1.0,
    log_eps: float = 0.0,
) -> AbstractLoss:
    """auraloss's `MultiResolutionSTFTLoss`: the mean of `auraloss_stft` over sizes.

    The sizes are those of Yamamoto, Song, Kim (2020), "Parallel WaveGAN", ICASSP, which
    has a different floor: see `parallel_wavegan`. Source, conventions and measured
    differences are those of `auraloss_stft`.

    **Arguments:**

    - `fft_sizes`, `hop_sizes`, `win_lengths`: one for each resolution, samples.
    - all others: as in `auraloss_stft`.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "auraloss_mrstft"
    names = {"n_fft": "fft_sizes", "hop_length": "hop_sizes"}
    with checks.owned_by(owner, win_length="win_lengths", **names):
        return stft_loss(
            owner,
            sizes_of(
                owner,
                fft_sizes=fft_sizes,
                hop_sizes=hop_sizes,
                win_lengths=win_lengths,
            ),
            window=window,
            w_sc=w_sc,
            w_log_mag=w_log_mag,
            w_lin_mag=w_lin_mag,
            w_phs=w_phs,
            sample_rate=sample_rate,
            scale=scale,
            n_bins=n_bins,
            perceptual_weighting=perceptual_weighting,
            eps=eps,
            mag_distance=mag_distance,
            log_fac=log_fac,
            log_eps=log_eps,
        )


def auraloss_mel(
    sample_rate: float,
    fft_size: int = 1024,
    hop_size: int = 256,
    win_length: int = 1024,
    window: Any = "hann_window",
    *,
    n_mels: int = 128,
    **options: Any,
) -> AbstractLoss:
    """auraloss's `MelSTFTLoss`: `auraloss_stft` in Slaney's mel bands.

    Source, conventions and measured differences are those of `auraloss_stft`.

    **Arguments:**

    - `sample_rate`: Hz.
    - `n_mels`: number of bands, from 0 Hz to half the sample rate.
    - all others: as in `auraloss_stft`.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    with checks.owned_by("auraloss_mel", n_bins="n_mels"):
        checks.positive("auraloss_mel", "sample_rate", sample_rate)
        return auraloss_stft(
            fft_size,
            hop_size,
            win_length,
            window,
            sample_rate=sample_rate,
            scale="mel",
            n_bins=n_mels,
            **options,
        )


def auraloss_sum_difference(
    fft_sizes: Sequence[int] = FFT_SIZES,
    hop_sizes: Sequence[int] = HOP_SIZES,
    win_lengths: Sequence[int] = WIN_LENGTHS,
    window: Any = "hann_window",
    *,
    w_sum: Any = 1.0,
    w_diff: Any = 1.0,
    **options: Any,
) -> AbstractLoss:
    r"""auraloss's `SumAndDifferenceSTFTLoss` for two channels.

    $$\tfrac12 \bigl(w_\mathrm{sum}\, L(x_l + x_r,\, y_l + y_r) +
      w_\mathrm{diff}\, L(x_l - x_r,\, y_l - y_r)\bigr)$$

    with $L$ = `auraloss_mrstft`. Signals need two channels in the axis before the
    samples. Sum and difference have no factor, and each has its own convergence ratios
    over the batch. See Steinmetz, Pons, Pascual, Serrà (2021), "Automatic multitrack
    mixing with a differentiable mixing console of neural audio effects", ICASSP. The
    original has no default sizes. Equal channels, whose difference is silence, give
    finite values, because magnitudes have a floor. Source, conventions and measured
    differences are those of `auraloss_stft`.

    **Arguments:**

    - `w_sum`, `w_diff`: weights of sum and difference.
    - all others: as in `auraloss_mrstft`.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "auraloss_sum_difference"
    with checks.owned_by(owner):
        weights = {
            "sum": weight_of(owner, "w_sum", w_sum) / 2,
            "diff": weight_of(owner, "w_diff", w_diff) / 2,
        }
        loss = auraloss_mrstft(fft_sizes, hop_sizes, win_lengths, window, **options)
        parts = {
            "sum": MappedLoss(ChannelMix([[1.0, 1.0]]), loss),
            "diff": MappedLoss(ChannelMix([[1.0, -1.0]]), loss),
        }
        return SumLoss(parts, weights)


def stft_loss(
    owner: str,
    sizes: Any,
    *,
    window: Any,
    w_sc: Any,
    w_log_mag: Any,
    w_lin_mag: Any,
    w_phs: Any,
    sample_rate: Any,
    scale: Any,
    n_bins: Any,
    perceptual_weighting: Any,
    eps: Any,
    mag_distance: Any,
    log_fac: Any,
    log_eps: Any,
) -> AbstractLoss:
    """Return the loss for one resolution (a tuple of sizes) or a list of
    resolutions."""
    checks.one_of(owner, "scale", scale, (None, "mel"))
    checks.boolean(owner, "perceptual_weighting", perceptual_weighting)
    checks.positive(owner, "eps", eps)
    if sample_rate is None and (scale or perceptual_weighting):
        rule = "be given for `scale` and `perceptual_weighting`"
        checks.refuse(owner, "sample_rate", rule, None)
    if scale and n_bins is None:
        checks.refuse(owner, "n_bins", 'be given for scale="mel"', None)
    log_eps = checks.non_negative(owner, "log_eps", log_eps)
    with checks.owned_by(owner, factor="log_fac", metric="mag_distance"):
        # Magnitudes have a floor, so only empty bands are 0, and in both signals.
        log = (
            Log(log_fac, log_eps) if log_eps > 0 else Log(log_fac, floor_mode="replace")
        )
        distance = ElementwiseLoss(mag_distance)
    w_sc = weight_of(owner, "w_sc", w_sc)
    w_log_mag = weight_of(owner, "w_log_mag", w_log_mag)
    w_lin_mag = weight_of(owner, "w_lin_mag", w_lin_mag)
    w_phs = weight_of(owner, "w_phs", w_phs)
    terms = [
        ("sc", BatchSpectralConvergenceLoss(0.0), Identity(), w_sc),
        ("log", distance, log, w_log_mag),
        ("lin", distance, Identity(), w_lin_mag),
    ]

    def transform(n_fft: int, hop_length: int, win_length: int) -> Any:
        if scale is None:
            return magnitudes(n_fft, hop_length, win_length, window, floor=eps)
        with checks.owned_by(owner, sr="sample_rate", n_mels="n_bins"):
            sr: Any = sample_rate
            return MelSpectrogram(
                sr,
                n_fft,
                n_bins,
                hop_length=hop_length,
                win_length=win_length,
                window=window_of(window),
                power=1.0,
                pad_mode="reflect",
                padding="torch",
                floor=eps,
            )

    def complex_transform(n_fft: int, hop_length: int, win_length: int) -> Any:
        return Spectrogram(
            n_fft,
            hop_length,
            win_length,
            window_of(window),
            power=None,
            pad_mode="reflect",
            padding="torch",
        )

    def compared(make: Any, **columns: Any) -> AbstractLoss:
        if isinstance(sizes, tuple):
            return TimeFrequencyLoss(make(*sizes), **columns)
        return MultiResolutionLoss([make(*size) for size in sizes], **columns)

    loss = compared(transform, **columns_of(terms))
    if not is_off(w_phs):
        phases = PhaseLoss("L2", wrap=False)
        phase = compared(
            complex_transform, loss_fn=phases, weights=[w_phs], names=["phs"]
        )
        has_magnitudes = not all(is_off(w) for w in (w_sc, w_log_mag, w_lin_mag))
        loss = SumLoss({"mag": loss, "phs": phase}) if has_magnitudes else phase
    if perceptual_weighting:
        with checks.owned_by(owner, sr="sample_rate"):
            sr: Any = sample_rate
            loss = MappedLoss(AWeightingFilter(sr), loss)
    return loss
