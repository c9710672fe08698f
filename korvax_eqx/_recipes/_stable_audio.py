"""The stereo spectral loss of stable-audio-tools."""

from collections.abc import Sequence
from typing import Any, Literal

from korvax_eqx import _checks as checks
from korvax_eqx._composites._mapped import MappedLoss
from korvax_eqx._composites._multi_resolution import MultiResolutionLoss
from korvax_eqx._composites._sum import SumLoss
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._losses._spectral_convergence import SpectralConvergenceLoss
from korvax_eqx._maps._a_weighting import AWeightingFilter
from korvax_eqx._maps._channel_mix import ChannelMix
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._log import Log

from ._parts import columns_of, magnitudes, sizes_of, weight_of

_FFT_SIZES = (2048, 1024, 512, 256, 128, 64, 32)
_HOP_SIZES = tuple(size // 4 for size in _FFT_SIZES)
_MIXES = {
    "sum": (1.0, 1.0),
    "diff": (1.0, -1.0),
    "left": (1.0, 0.0),
    "right": (0.0, 1.0),
}


def stable_audio(
    sample_rate: float,
    fft_sizes: Sequence[int] = _FFT_SIZES,
    hop_sizes: Sequence[int] = _HOP_SIZES,
    win_lengths: Sequence[int] = _FFT_SIZES,
    window: Any = "hann_window",
    *,
    w_sum: Any = 1.0,
    w_diff: Any = 1.0,
    w_sc: Any = 1.0,
    w_log_mag: Any = 1.0,
    w_lin_mag: Any = 0.0,
    perceptual_weighting: bool = True,
    eps: float = 1e-8,
    mag_distance: Literal["L1", "L2"] = "L1",
) -> AbstractLoss:
    r"""The spectral loss of Stable Audio's autoencoders, of two channels.

    $$\tfrac12 \bigl(w_\mathrm{sum} L(l + r) + w_\mathrm{diff} L(l - r) +
      L(l) + L(r)\bigr)$$

    of left and right channels $l$, $r$, with the mean $L$ over sizes of

    $$w_\mathrm{sc} \frac{\|M_x - M_y\|_F}{\|M_x\|_F} + w_\mathrm{log}\,
      \overline{|\ln M_x - \ln M_y|} + w_\mathrm{lin}\, \overline{|M_x - M_y|}$$

    and $M = \sqrt{\max(|\mathrm{STFT}|^2, \epsilon)}$ of A-weighted signals, centred
    frames padded by reflection. Signals have two channels in the axis before the
    samples. Each signal has a ratio of its own.

    Source: Stability-AI/stable-audio-tools at 50049e3, `training/autoencoders.py`,
    `training/losses/auraloss.py`, `losses.py`, `configs`; Evans, Carr, Taylor, Hawley,
    Pons (2024), "Fast timing-conditioned latent audio diffusion", ICML. Reproduced: it
    calls the loss with the target first, on purpose, as its comment says, so that the
    error is divided by the norm of the *estimate*. The parts are
    `auraloss_sum_difference`, and half of `auraloss_mrstft` for each channel; with
    auraloss itself, which has one ratio for the batch, one example has the same value
    (for a batch of one, if x and y change places). Not offered: mel bands, phases,
    `scale_invariance`, and the weight's decay. Measured against it, with windows
    and taps in float64: in float64 values agree within 4e-16 and gradients within
    4e-12.

    **Arguments:**

    - `sample_rate`: Hz.
    - `fft_sizes`, `hop_sizes`, `win_lengths`: one for each resolution, samples.
    - `window`: one of torch's, as `"hann_window"`, or what `Spectrogram` takes.
    - `w_sum`, `w_diff`: weights of the sum and the difference.
    - `w_sc`, `w_log_mag`, `w_lin_mag`: weights of the terms. A term of weight 0 is not
        computed.
    - `perceptual_weighting`: whether signals are A-weighted before.
    - `eps`: $\epsilon$, the smallest power.
    - `mag_distance`: `"L1"` or `"L2"`, of the last two terms.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "stable_audio"
    renamed = {"n_fft": "fft_sizes", "hop_length": "hop_sizes", "sr": "sample_rate"}
    renamed |= {"win_length": "win_lengths", "metric": "mag_distance"}
    with checks.owned_by(owner, **renamed):
        checks.positive(owner, "sample_rate", sample_rate)
        floor = checks.positive(owner, "eps", eps)
        distance = ElementwiseLoss(mag_distance)
        terms = [
            (
                "sc",
                SpectralConvergenceLoss(0.0, reference="estimate"),
                Identity(),
                weight_of(owner, "w_sc", w_sc),
            ),
            (
                "log",
                distance,
                Log(floor_mode="replace"),
                weight_of(owner, "w_log_mag", w_log_mag),
            ),
            ("lin", distance, Identity(), weight_of(owner, "w_lin_mag", w_lin_mag)),
        ]
        sizes = sizes_of(
            owner, fft_sizes=fft_sizes, hop_sizes=hop_sizes, win_lengths=win_lengths
        )
        loss = MultiResolutionLoss(
            [
                magnitudes(n_fft, hop_length, win_length, window, floor=floor)
                for n_fft, hop_length, win_length in sizes
            ],
            **columns_of(terms),
        )
        parts = {
            name: MappedLoss(ChannelMix([mix]), loss) for name, mix in _MIXES.items()
        }
        weights = {
            "sum": weight_of(owner, "w_sum", w_sum) / 2,
            "diff": weight_of(owner, "w_diff", w_diff) / 2,
            "left": 0.5,
            "right": 0.5,
        }
        whole = SumLoss(parts, weights)
        if not checks.boolean(owner, "perceptual_weighting", perceptual_weighting):
            return whole
        return MappedLoss(AWeightingFilter(sample_rate), whole)
