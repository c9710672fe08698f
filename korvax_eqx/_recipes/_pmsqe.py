"""The perceptual metric for speech quality of asteroid."""

from korvax_eqx import _checks as checks
from korvax_eqx._composites._time_frequency import TimeFrequencyLoss
from korvax_eqx._losses._pmsqe import PMSQELoss
from korvax_eqx._tables._bark import SPACING
from korvax_eqx._transforms._spectrogram import Spectrogram


def pmsqe(
    sample_rate: float = 16000, *, bark_eq: bool = True, gain_eq: bool = True
) -> TimeFrequencyLoss:
    r"""asteroid's `SingleSrcPMSQE`, of signals: a loss after PESQ for speech.

    $0.1\,D + 0.0309\,D_A$, the symmetric and the asymmetric disturbance of loudness;
    see `PMSQELoss`. Its spectra are powers of frames of 32 ms that lie wholly
    inside the signal, every 16 ms, with the root of a Hann window. asteroid returns a
    vector, one value a signal: `jax.vmap(pmsqe())(x, y)`.

    Source: asteroid-team/asteroid at 92c8d83, `losses/pmsqe.py`, with the transform of
    asteroid-filterbanks 0.4.0, `STFTFB(512, 512, stride=256)`. Its docstring gives it
    magnitudes in the example and asks for powers in the arguments: these are powers.
    Reproduced: `eps=1e-8`, so that equal signals have a value of about 3e-4. Differs:
    silence has a finite value and gradient. Measured against it, with its tables
    in float64: in float64 values agree within 1e-9 and gradients within 1e-8.

    **Arguments:**

    - `sample_rate`: in Hz, 16000 or 8000.
    - `bark_eq`, `gain_eq`: whether bands, and frames, of the estimate are equalised.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    with checks.owned_by("pmsqe", sr="sample_rate"):
        loss = PMSQELoss(sample_rate, bark_eq=bark_eq, gain_eq=gain_eq, eps=1e-8)
        n_fft = int(loss.sr / SPACING)
        transform = Spectrogram(n_fft, n_fft // 2, window="sqrt_hann", center=False)
        return TimeFrequencyLoss(transform, loss)
