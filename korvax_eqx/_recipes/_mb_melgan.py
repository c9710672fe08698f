"""The spectral losses of multi-band MelGAN."""

from collections.abc import Sequence
from typing import Any

from korvax_eqx import _checks as checks
from korvax_eqx._composites._mapped import MappedLoss
from korvax_eqx._composites._sum import SumLoss
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._maps._pqmf import PQMF

from ._parallel_wavegan import parallel_wavegan
from ._parts import FFT_SIZES, HOP_SIZES, WIN_LENGTHS


def mb_melgan(
    fft_sizes: Sequence[int] = FFT_SIZES,
    hop_sizes: Sequence[int] = HOP_SIZES,
    win_lengths: Sequence[int] = WIN_LENGTHS,
    window: Any = "hann_window",
    *,
    subband_fft_sizes: Sequence[int] = (384, 683, 171),
    subband_hop_sizes: Sequence[int] = (30, 60, 10),
    subband_win_lengths: Sequence[int] = (150, 300, 60),
    subbands: int = 4,
    taps: int = 62,
    cutoff_ratio: float = 0.142,
    beta: float = 9.0,
) -> AbstractLoss:
    r"""Multi-band MelGAN's losses: `parallel_wavegan` of signals and of sub-bands.

    $$\tfrac12\, L(x, y) + \tfrac12\, L_{\mathrm{sub}}(\mathrm{PQMF}(x),
      \mathrm{PQMF}(y))$$

    Each band is a signal of its own; convergences are of the whole batch, of all bands
    together. The generator makes bands, and its signal of them; from bands the whole
    objective is `PredictionLoss(mb_melgan())`, called with `(bands, y)` for bands of
    shape `(*channels, subbands, n_samples // subbands)`.

    Source: kan-bayashi/ParallelWaveGAN at 8674037, `bin/train.py` and
    `egs/ljspeech/voc1/conf/multi_band_melgan.v2.yaml`; Yang et al. (2021), "Multi-band
    MelGAN: Faster waveform generation for high-quality text-to-speech", SLT. The
    adversarial loss, with weight 2.5 there, is not part of it. Conventions are those
    of `parallel_wavegan` and `PQMF`. Measured against it in float32, values agree
    within 1e-7.

    **Arguments:**

    - `fft_sizes`, `hop_sizes`, `win_lengths`: one for each resolution, samples.
    - `window`: one of torch's, as `"hann_window"`, or what `Spectrogram` takes.
    - `subband_fft_sizes`, `subband_hop_sizes`, `subband_win_lengths`: the same of the
        bands, in samples of theirs.
    - `subbands`, `taps`, `cutoff_ratio`, `beta`: as in `PQMF`, where they are
        `n_bands`, `n_taps`, `cutoff` and `beta`.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    renamed = {"n_bands": "subbands", "n_taps": "taps", "cutoff": "cutoff_ratio"}
    with checks.owned_by("mb_melgan", **renamed):
        bands = PQMF(subbands, taps, cutoff_ratio, beta)
    sizes = {"fft_sizes": fft_sizes, "hop_sizes": hop_sizes, "win_lengths": win_lengths}
    with checks.owned_by("mb_melgan"):
        full = parallel_wavegan(**sizes, window=window)
    renamed = {name: f"subband_{name}" for name in sizes}
    with checks.owned_by("mb_melgan", **renamed):
        sub = parallel_wavegan(
            subband_fft_sizes, subband_hop_sizes, subband_win_lengths, window
        )
    return SumLoss(
        {"stft": full, "sub_stft": MappedLoss(bands, sub)},
        {"stft": 0.5, "sub_stft": 0.5},
    )
