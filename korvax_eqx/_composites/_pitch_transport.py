"""Spectral transport, configured so that its gradient points to the right pitch."""

from typing import Any

import equinox as eqx
from jaxtyping import PRNGKeyArray

from korvax_eqx import _checks as checks
from korvax_eqx import _warnings
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._data import Term
from korvax_eqx._losses._transport import SpectralOptimalTransportLoss
from korvax_eqx._static import freeze
from korvax_eqx._transforms._spectrogram import Spectrogram

from ._arguments import PieceSize
from ._time_frequency import TimeFrequencyLoss


class PitchTransportLoss(AbstractLoss):
    """Spectral optimal transport on power spectra of valid frames.

    For fitting pitch and harmonic parameters (Torres, Peeters, Richard 2024,
    "Unsupervised harmonic parameter estimation using differentiable DSP and spectral
    optimal transport", ICASSP). It uses power spectra, and only frames inside the
    signal: padding cuts off a frame at the edge, and the broad-band leakage of that cut
    is weighted by its distance to the power `p`. It ignores the level.
    `examples/gradient_direction.py` measures how often the gradient points to the right
    pitch.
    """

    n_fft: int = eqx.field(static=True)
    hop_length: int = eqx.field(static=True)
    window: Any = eqx.field(static=True)
    p: float = eqx.field(static=True)
    piece_size: PieceSize = eqx.field(static=True)

    def __init__(
        self,
        n_fft: int = 2048,
        hop_length: int = 256,
        window: Any = "flattop",
        p: float = 1,
        *,
        piece_size: PieceSize = "auto",
    ):
        """**Arguments:**

        - `n_fft`, `hop_length`, `window`: as in `Spectrogram`; the window is a name or
            tuple for `scipy.signal.get_window`. Signals need at least `n_fft` samples.
        - `p`: order of the transport, see `SpectralOptimalTransportLoss`. 1 is the
            fastest, and also points the right way for tones whose upper partials leave
            the band.
        - `piece_size`: see `TimeFrequencyLoss`.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        owner = "PitchTransportLoss"
        self.n_fft = checks.positive_int(owner, "n_fft", n_fft)
        self.hop_length = checks.positive_int(owner, "hop_length", hop_length)
        _warnings.warn_hop_longer_than_window(owner, self.hop_length, self.n_fft)
        if not isinstance(window, str | float | int | tuple | list):
            checks.refuse(owner, "window", "be a window's name or a tuple", window)
        self.window, self.p, self.piece_size = freeze(window), p, piece_size
        self.p = self.time_frequency.loss_fn[0].p

    @property
    def time_frequency(self) -> TimeFrequencyLoss:
        """The same loss as a `TimeFrequencyLoss`."""
        with _warnings.remade("PitchTransportLoss"):
            transform = Spectrogram(
                self.n_fft, self.hop_length, window=self.window, center=False, power=2
            )
            transport = SpectralOptimalTransportLoss(p=self.p)
            return TimeFrequencyLoss(transform, transport, piece_size=self.piece_size)

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        return self.time_frequency.terms(key=key)
