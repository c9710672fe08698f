"""Tones of a given frequency, and the losses that are compared on them."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import korvax_eqx as ke

# What the names of losses in tables stand for.
NAMES = (
    "Losses: `mrstft` is MRSTFTLoss (`mrstft, 1e-2`: recipes.mrstft), `smooth` "
    "SmoothMRSTFTLoss, `pitch` PitchTransportLoss; `convergence` is "
    "SpectralConvergenceLoss of a spectrogram; `log-mel` and `log-cqt` are mean "
    "differences of logarithms of a MelSpectrogram and of a CQT; `sot` is "
    "SpectralOptimalTransportLoss, of power spectra of valid frames unless it says "
    "otherwise. Recipes: `dac mel` is dac_mel, `sot paper, 512, log` sot_paper with "
    "logarithmic positions and without its second term, `sot paper, valid` the same "
    "of frames inside the signal, `cel` cel, `sound matching` sound_matching."
)
SAMPLE_RATE = 16000
N_SAMPLES = 8192
Loss = Callable[[Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class Tone:
    """Partials at `ratios` times the frequency, with their `amplitudes`."""

    name: str
    frequency: float
    ratios: tuple[float, ...]
    amplitudes: tuple[float, ...]

    def __call__(
        self, frequency: Float[Array, ""], phases: Float[Array, " partials"]
    ) -> Float[Array, " n_samples"]:
        """The waveform; partials above the Nyquist frequency fade out below it."""
        time = jnp.arange(N_SAMPLES) / SAMPLE_RATE
        partials = frequency * jnp.asarray(self.ratios)
        fade = jnp.clip((0.5 * SAMPLE_RATE - partials) / 500.0, 0.0, 1.0)
        amplitudes = jnp.asarray(self.amplitudes) * fade
        angles = 2 * jnp.pi * partials[:, None] * time + phases[:, None]
        return amplitudes @ jnp.sin(angles)

    def phases(self, seed: int | None) -> Float[Array, " partials"]:
        """All zero, or random."""
        if seed is None:
            return jnp.zeros(len(self.ratios))
        rng = np.random.default_rng(seed)
        return jnp.asarray(rng.uniform(0, 2 * np.pi, len(self.ratios)), jnp.float32)


def _harmonic(name: str, frequency: float, numbers: range, decay: float) -> Tone:
    return Tone(name, frequency, tuple(numbers), tuple(1 / k**decay for k in numbers))


TONES = (
    _harmonic("sine 160", 160.0, range(1, 2), 0),
    _harmonic("sine 333.3", 333.3, range(1, 2), 0),
    _harmonic("sine 800", 800.0, range(1, 2), 0),
    _harmonic("missing fundamental 250", 250.0, range(2, 9), 0),
    _harmonic("square 250", 250.0, range(1, 32, 2), 1),
    # A bar free at both ends: its modes of bending.
    Tone("inharmonic 220", 220.0, (1.0, 2.756, 5.404, 8.933), (1.0, 0.7, 0.5, 0.3)),
)


def _transport(
    n_fft: int = 2048,
    p: float = 2,
    center: bool = False,
    positions: str = "linear",
    window: str = "flattop",
) -> ke.TimeFrequencyLoss:
    transform = ke.Spectrogram(n_fft, n_fft // 8, window=window, center=center, power=2)
    places = None
    if positions == "log":
        # Octaves above the first bin; the bin at 0 Hz is put one octave below it.
        bins = np.arange(n_fft // 2 + 1)
        places = np.log2(np.maximum(bins, 0.5)) / np.log2(n_fft / 2)
    loss = ke.SpectralOptimalTransportLoss(places, p=p)
    return ke.TimeFrequencyLoss(transform, loss)


def losses() -> dict[str, ke.AbstractLoss]:
    """Every loss of the library that one would think of, by name."""
    mel = ke.MelSpectrogram(SAMPLE_RATE, 2048, n_mels=80, power=1)
    valid_mel = ke.MelSpectrogram(SAMPLE_RATE, 2048, n_mels=80, center=False)
    cqt = ke.CQT(SAMPLE_RATE, hop_length=512, fmin=32.7, n_bins=90)
    log = ke.Log(eps=1e-5)
    spectrum = ke.Spectrogram(power=1)
    paper = ke.recipes.sot_paper(SAMPLE_RATE, log_scaled_x=True, mss_weight=0.0)
    valid = ke.Spectrogram(512, 256, window="flattop", center=False)
    return {
        "mrstft": ke.MRSTFTLoss(),
        "mrstft, 1e-2": ke.recipes.mrstft(),
        "mrstft, valid frames": ke.MRSTFTLoss(center=False),
        "mrstft, lin only": ke.MRSTFTLoss(w_log=0),
        "mrstft, L2 log": ke.MRSTFTLoss(log_dist="L2", w_lin=0),
        "smooth": ke.SmoothMRSTFTLoss(),
        "convergence": ke.TimeFrequencyLoss(spectrum, ke.SpectralConvergenceLoss()),
        "log-mel": ke.TimeFrequencyLoss(mel, ke.ElementwiseLoss(), log),
        "log-cqt": ke.TimeFrequencyLoss(cqt, ke.ElementwiseLoss(), log),
        "dac mel": ke.recipes.dac_mel(SAMPLE_RATE),
        "sot": _transport(),
        "sot, p=1": _transport(p=1),
        "sot, hann": _transport(window="hann"),
        "sot, centred": _transport(center=True),
        "sot, 1024": _transport(1024),
        "sot, 4096": _transport(4096),
        "sot, log-frequency": _transport(positions="log"),
        "sot, mel": ke.TimeFrequencyLoss(
            valid_mel, ke.SpectralOptimalTransportLoss(p=2)
        ),
        "sot, cqt": ke.TimeFrequencyLoss(cqt, ke.SpectralOptimalTransportLoss(p=2)),
        "sot paper, 512, log": paper,
        "sot paper, valid": ke.TimeFrequencyLoss(valid, paper.losses["sot"].loss_fn),
        "pitch": ke.PitchTransportLoss(),
        "cel": ke.recipes.cel(),
        "sound matching": ke.recipes.sound_matching(SAMPLE_RATE),
    }
