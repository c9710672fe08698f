"""The recommended loss for sound matching, where the pitch is unknown too."""

import math

import numpy as np

from korvax_eqx import _checks as checks
from korvax_eqx._composites._mapped import MappedLoss
from korvax_eqx._composites._sum import SumLoss
from korvax_eqx._composites._time_frequency import TimeFrequencyLoss
from korvax_eqx._losses._cumulative_energy import CumulativeEnergyLoss
from korvax_eqx._losses._transport import SpectralOptimalTransportLoss
from korvax_eqx._maps._fir import FIRFilter
from korvax_eqx._tables._frequencies import rounded
from korvax_eqx._transforms._spectrogram import Spectrogram

_OWNER = "sound_matching"
_LOWEST_RATE, _HIGHEST_RATE = 1000.0, 1e6
# Frames of the two parts: 2048 and 1024 samples at 16 kHz, 4096 and 2048 at 44.1 and
# 48 kHz.
_PITCH_SECONDS, _ENERGY_SECONDS = 0.12, 0.06
# The low-pass and the length of its response, in time constants: 1e-3 of it is left.
_CUTOFF, _TIME_CONSTANTS = 60.0, 9.0
_ENERGY_WEIGHT = 2.0


def sound_matching(sample_rate: float) -> SumLoss:
    r"""The recommended loss for matching sounds: pitch, timbre, level and time at once.

    $$W_1(|X_h|^2, |Y_h|^2) + 2\,\mathrm{CEL}(x, y)$$

    - `pitch`: optimal transport along the logarithm of frequency, between power spectra
        of valid frames (flattop window, 120 ms, hop an eighth), after a two-pole
        low-pass $h$ at 60 Hz, i.e. 12 dB per octave. In a vowel, energy stays at the
        formants while the pitch changes: only the lowest partials, which the low-pass
        raises above the others, move with it.
    - `energy`: `CumulativeEnergyLoss` of power spectra (hann window, 60 ms, hop a
        quarter), the loss of `cel`. It compares levels, and it moves energy along time
        and frequency to where the target has it.

    Both parts are relative to the level of the target, so the value does not depend on
    the signals' scale. Signals must be as long as a frame of `pitch`.

    **Measured**, on sounds that the parts were not chosen on: the derivative along the
    pitch has the right sign for 100 % of the positions within two octaves of tones,
    plucked strings and struck bars, and for 76 % of vowels (`PitchTransportLoss`: 94
    and 62); within 100 cents for all; along level, time, onset and spectral slope for
    98 to 100 %, along formants for 89 %. A multi-resolution STFT loss beside it made
    the pitch worse, at any weight at which it mattered.

    **Source:** the measurements of `examples/gradient_direction.py`, shown in
    `examples/README.md`; the parts were chosen on other sounds than the ones shown
    there. It reproduces no other project.

    **Arguments:**

    - `sample_rate`: Hz, from 1000 to 1e6. Frames are the powers of two nearest to
        the durations above.

    **Raises:** `ValueError` if `sample_rate` is not a number in this range.
    """
    sr = checks.positive(_OWNER, "sample_rate", sample_rate)
    if not _LOWEST_RATE <= sr <= _HIGHEST_RATE:
        rule = f"be from {_LOWEST_RATE:g} to {_HIGHEST_RATE:g} Hz"
        checks.refuse(_OWNER, "sample_rate", rule, sample_rate)
    n_pitch, n_energy = _frame(sr, _PITCH_SECONDS), _frame(sr, _ENERGY_SECONDS)
    spectra = Spectrogram(n_pitch, n_pitch // 8, window="flattop", center=False)
    transport = SpectralOptimalTransportLoss("log", p=1, sr=sr)
    pitch = MappedLoss(FIRFilter(_low_pass(sr)), TimeFrequencyLoss(spectra, transport))
    frames = Spectrogram(n_energy, n_energy // 4, center=False)
    energy = TimeFrequencyLoss(frames, CumulativeEnergyLoss())
    losses = {"pitch": pitch, "energy": energy}
    return SumLoss(losses, {"pitch": 1.0, "energy": _ENERGY_WEIGHT})


def _frame(sr: float, seconds: float) -> int:
    """Return the power of two that is nearest to a duration, in samples."""
    return 2 ** round(math.log2(seconds * sr))


def _low_pass(sr: float) -> np.ndarray:
    """Return the impulse response of a two-pole low-pass, with a sum of 1."""
    decay = 2 * math.pi * _CUTOFF / sr
    n = np.arange(math.ceil(_TIME_CONSTANTS / decay))
    taps = (n + 1) * np.exp(-decay * n)
    taps /= np.sum(taps)
    return rounded(taps, np.max(taps))
