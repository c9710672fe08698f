"""Every public class with a way to make it; the laws are tested for all of them.

A new class is one line here.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import korvax_eqx as ke

SAMPLE_RATE = 8000
N_SAMPLES = 1500
SIZES = {"n_fft": 256, "hop_length": 100}


@dataclasses.dataclass(frozen=True)
class Case:
    """A way to make an object, always anew and always equal."""

    name: str
    make: Callable[[], Any]

    def __repr__(self) -> str:
        return self.name


TRANSFORMS = [
    Case("STFT", lambda: ke.STFT(**SIZES)),
    Case("Spectrogram", lambda: ke.Spectrogram(**SIZES)),
    Case("Spectrogram-magnitude", lambda: ke.Spectrogram(**SIZES, power=1)),
    Case("Spectrogram-root", lambda: ke.Spectrogram(**SIZES, power=0.5)),
    Case("Spectrogram-valid", lambda: ke.Spectrogram(**SIZES, center=False)),
    Case("MelSpectrogram", lambda: ke.MelSpectrogram(SAMPLE_RATE, n_mels=20, **SIZES)),
    Case("MFCC", lambda: ke.MFCC(SAMPLE_RATE, n_mfcc=8, n_mels=20, **SIZES)),
    Case("CQT", lambda: ke.CQT(SAMPLE_RATE, fmin=500.0, n_bins=24, hop_length=100)),
    Case(
        "VQT",
        lambda: ke.VQT(SAMPLE_RATE, fmin=500.0, n_bins=24, gamma=20.0, hop_length=100),
    ),
]
SCALES = [
    Case("Identity", lambda: ke.Identity()),
    Case("Log", lambda: ke.Log()),
    Case("AmplitudeToDB", lambda: ke.AmplitudeToDB()),
    Case("PowerToDB", lambda: ke.PowerToDB()),
    Case("MelScale", lambda: ke.MelScale(SAMPLE_RATE, 256, n_mels=20)),
    Case("AWeighting", lambda: ke.AWeighting(sr=SAMPLE_RATE, n_fft=256)),
    Case("BWeighting", lambda: ke.BWeighting(sr=SAMPLE_RATE, n_fft=256)),
    Case("CWeighting", lambda: ke.CWeighting(sr=SAMPLE_RATE, n_fft=256)),
    Case("DWeighting", lambda: ke.DWeighting(sr=SAMPLE_RATE, n_fft=256)),
    Case("Chain", lambda: ke.Chain((ke.MelScale(SAMPLE_RATE, 256), ke.Log()))),
]
SPECTRAL_LOSSES = [
    Case("ElementwiseLoss-L1", lambda: ke.ElementwiseLoss()),
    Case("ElementwiseLoss-L2", lambda: ke.ElementwiseLoss("L2")),
    Case("SpectralConvergenceLoss", lambda: ke.SpectralConvergenceLoss()),
    Case("Transport", lambda: ke.SpectralOptimalTransportLoss()),
    Case("Transport-p1", lambda: ke.SpectralOptimalTransportLoss(p=1)),
    Case("Transport-p1.5", lambda: ke.SpectralOptimalTransportLoss(p=1.5)),
    Case(
        "Transport-unbalanced",
        lambda: ke.SpectralOptimalTransportLoss(balanced=False, quantile_lowpass=True),
    ),
    Case("Transport-raw", lambda: ke.SpectralOptimalTransportLoss(normalize=False)),
]


def _combined() -> ke.TimeFrequencyLoss:
    return ke.TimeFrequencyLoss(
        ke.Spectrogram(**SIZES),
        [ke.SpectralOptimalTransportLoss(), ke.ElementwiseLoss()],
        [ke.Identity(), ke.PowerToDB()],
        weights=[1.0, 0.1],
    )


COMPOSITES = [
    Case("MRSTFTLoss", lambda: ke.MRSTFTLoss((64, 100), (256, 512))),
    Case("MRSTFTLoss-L2", lambda: ke.MRSTFTLoss((64,), (256,), power=2, lin_dist="L2")),
    Case("MRSTFTLoss-sc", lambda: ke.MRSTFTLoss((64,), (256,), w_lin=0, w_sc=0.5)),
    Case("SmoothMRSTFTLoss", lambda: ke.SmoothMRSTFTLoss()),
    Case("PitchTransportLoss", lambda: ke.PitchTransportLoss(256, 100)),
    Case("TimeFrequencyLoss", _combined),
    *(
        Case(
            f"TimeFrequencyLoss-{case.name}",
            lambda make=case.make: ke.TimeFrequencyLoss(
                ke.Spectrogram(**SIZES), make()
            ),
        )
        for case in SPECTRAL_LOSSES
    ),
    *(
        Case(
            f"TimeFrequencyLoss-{case.name}",
            lambda make=case.make: ke.TimeFrequencyLoss(make(), ke.ElementwiseLoss()),
        )
        for case in TRANSFORMS
        if case.name != "Spectrogram"  # is one of those above
    ),
    *(
        Case(
            f"TimeFrequencyLoss-{case.name}",
            lambda make=case.make: ke.TimeFrequencyLoss(
                ke.Spectrogram(**SIZES), ke.ElementwiseLoss("L2"), make()
            ),
        )
        for case in SCALES
        if case.name != "Identity"  # is one of those above
    ),
]
ALL = [*TRANSFORMS, *SCALES, *SPECTRAL_LOSSES, *COMPOSITES]


def signals(
    *lead: int, seed: int = 0, dtype: Any = jnp.float32
) -> tuple[jax.Array, jax.Array]:
    """A pair of noisy signals of shape `(*lead, N_SAMPLES)`."""
    keys = jax.random.split(jax.random.key(seed))
    x, y = (0.3 * jax.random.normal(key, (*lead, N_SAMPLES)) for key in keys)
    return x.astype(dtype), y.astype(dtype)
