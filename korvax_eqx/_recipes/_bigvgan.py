"""The mel loss of BigVGAN."""

from collections.abc import Sequence
from typing import Any

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractLoss

from ._audiotools import audiotools_mel
from ._parts import weight_of


def bigvgan(
    sampling_rate: float,
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
    r"""BigVGAN's `MultiScaleMelSpectrogramLoss`, without its weight of 15.

    $$(w_\mathrm{log} + w_\mathrm{mag}) \sum_N \overline{|\log_{10}
      \max(m_x, \epsilon)^p - \log_{10} \max(m_y, \epsilon)^p|}$$

    with Slaney's mel bands $m$ of the magnitudes of centred frames of $N$ samples,
    padded by reflection, hops $\lfloor N/4 \rfloor$. It is `dac_mel` by default. With
    its weight: `SumLoss({"mel": bigvgan(44100)}, {"mel": 15.0})`. The first BigVGAN,
    and configurations without `use_multiscale_melloss`, have `hifigan_mel` with 45.

    Source: NVIDIA/BigVGAN at 7d2b454, `loss.py`, `train.py`, `configs`; Lee, Ping,
    Ginsburg, Catanzaro, Yoon (2023), "BigVGAN: A universal neural vocoder with
    large-scale training", ICLR. Reproduced: the term of `mag_weight` compares
    logarithms too, not magnitudes. Not reproduced: resolutions beyond the shortest of
    the lists are left out there, here that is refused. Not offered: `match_stride`,
    which reshapes signals to their length before padding there and fails; other
    distances than L1; `weight`, which is not used. Measured
    against it, whose tables are in float32, with ours in float64: values agree within
    3e-9 and gradients within 5e-6; with a NumPy version of the formula in float64,
    values agree within 1e-16.

    **Arguments:**

    - `sampling_rate`: Hz.
    - `n_mels`, `window_lengths`: number of bands and samples of each window.
    - `clamp_eps`: $\epsilon$, positive.
    - `mag_weight`, `log_weight`: weights, which add up.
    - `pow`: $p$, positive.
    - `mel_fmin`, `mel_fmax`: edges of the bands for each window, Hz; `None`: 0 and half
        the sample rate.
    - `window_type`: what `Spectrogram` takes for a window.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "bigvgan"
    with checks.owned_by(owner, sample_rate="sampling_rate", sr="sampling_rate"):
        weights = (
            weight_of(owner, "log_weight", log_weight),
            weight_of(owner, "mag_weight", mag_weight),
        )
        return audiotools_mel(
            sampling_rate,
            n_mels,
            window_lengths,
            clamp_eps=clamp_eps,
            mag_weight=0.0,
            log_weight=weights[0] + weights[1],
            pow=pow,
            mel_fmin=mel_fmin,
            mel_fmax=mel_fmax,
            window_type=window_type,
        )
