"""The objective of MP-SENet, a network for speech enhancement."""

from typing import Any

from korvax_eqx import _checks as checks
from korvax_eqx._composites._sum import SumLoss
from korvax_eqx._composites._time_frequency import TimeFrequencyLoss
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._losses._phase import PhaseLoss
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._magnitude import Magnitude
from korvax_eqx._scales._power_compression import PowerCompression
from korvax_eqx._time_domain._waveform import WaveformLoss
from korvax_eqx._transforms._stft import STFT

_FLOOR = 1e-9


def mp_senet(
    n_fft: int = 400,
    hop_size: int = 100,
    win_size: int = 400,
    compress_factor: float = 0.3,
) -> AbstractLoss:
    r"""MP-SENet's losses of magnitudes, phases, complex spectra and samples.

    $$0.9\,\overline{(A_x^p - A_y^p)^2} + 0.3\,(L_{IP} + L_{GD} + L_{IAF}) +
      0.1\,\overline{|C_x - C_y|^2} + 0.2\,\overline{|x - y|}$$

    with $p$ = `compress_factor`, $A = \sqrt{|X|^2 + 10^{-9}}$, $C = X A^{p-1}$ and the
    wrapped differences of phases, group delays and instantaneous frequencies, of
    centred frames, padded by reflection. The network predicts spectra $S$: the signal
    is `STFT.inverse(S)`, the other terms see $S$ itself, and a consistency term is
    added. With spectra that are not compressed, this is the whole objective:

    ```python
    loss = PredictionLoss(
        mp_senet(),
        consistency=0.1,
        consistency_scale=PowerCompression(0.3, 1e-9, "add"),
    )
    value = loss(S, y)
    ```

    For signals, as here, the consistency term is 0. The metric loss of the
    discriminator is not part of it.

    Source: yxlu-0102/MP-SENet at 89932cf, `train.py`, `dataset.py` and
    `models/model.py`; Lu, Ai, Ling (2023), "MP-SENet: A speech enhancement model with
    parallel denoising of magnitude and phase spectra", Interspeech, and its code at
    HEAD, which has other weights and a loss of samples. Differences: phases of
    targets are those of $X + 10^{-5} + 10^{-10} j$ there, of $X$ here; predicted
    magnitudes have no floor there; $C$ there is $A^p e^{j\varphi}$, another number
    below about 1e-4. The signals there have a root mean square of 1. Measured against
    it with such signals, all terms from spectra: in float64 values agree within 1e-8
    and gradients within 1e-6, which is the 1e-5.

    **Arguments:**

    - `n_fft`, `hop_size`, `win_size`: samples.
    - `compress_factor`: $p$, positive.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    renamed = {"hop_length": "hop_size", "win_length": "win_size"}
    with checks.owned_by("mp_senet", power="compress_factor", **renamed):
        stft = STFT(
            n_fft, hop_size, win_size, "hann", pad_mode="reflect", padding="torch"
        )
        magnitude = Magnitude(compress_factor, _FLOOR, "add")
        compressed = PowerCompression(compress_factor, _FLOOR, "add")
    terms: list[tuple[str, Any, Any, float]] = [
        ("mag", ElementwiseLoss("L2"), magnitude, 0.9),
        ("ip", PhaseLoss(), Identity(), 0.3),
        ("gd", PhaseLoss(quantity="group_delay"), Identity(), 0.3),
        ("iaf", PhaseLoss(quantity="instantaneous_frequency"), Identity(), 0.3),
        ("com", ElementwiseLoss("L2"), compressed, 0.1),
    ]
    names, losses, scales, weights = zip(*terms, strict=True)
    spectra = TimeFrequencyLoss(stft, losses, scales, weights, names=names)
    parts = {"spectra": spectra, "time": WaveformLoss()}
    return SumLoss(parts, {"spectra": 1.0, "time": 0.2})
