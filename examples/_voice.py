"""The sung phrase, which `sound_match.py` matches when it is given no sound."""

import numpy as np
from _synth import SR, hertz
from jaxtyping import Float

Signal = Float[np.ndarray, " n_samples"]


def sung_phrase() -> tuple[Signal, Signal]:
    """Sing two notes in 2.7 s: a glide, vibrato, vowels, consonants, breath, a room.

    **Returns:** the sound, and its fundamental frequency in Hz at every sample, NaN
    where there is none.
    """
    t = np.arange(int(2.7 * SR)) / SR
    rng = np.random.default_rng(1)
    note = _curve(
        t, (0, 55.5), (0.2, 57), (1.15, 57.2), (1.45, 62), (2.3, 62), (2.7, 60)
    )
    vibrato = _curve(t, (0.3, 0), (0.9, 0.35), (1.25, 0.1), (1.9, 0.5), (2.7, 0.3))
    f0 = hertz(note + vibrato * np.sin(2 * np.pi * 5.6 * t))
    loudness = _curve(
        t, (0.12, 0), (0.2, 0.7), (0.9, 1), (1.1, 0.25), (1.22, 0.1), (1.32, 0.9)
    ) * _curve(t, (1.9, 1), (2.3, 0.5), (2.55, 0))
    hiss = _curve(t, (0, 0), (0.06, 0.5), (0.13, 0.4), (0.18, 0))
    plosive = np.exp(-60 * np.maximum(t - 1.24, 0)) * (t > 1.24)
    x = (
        loudness * _vowels(t, f0, loudness, rng)
        + 0.02 * loudness * _coloured(rng, t, centre=4500, width=4000)
        + hiss * _coloured(rng, t, centre=7000, width=1500)
        + plosive * _coloured(rng, t, centre=3500, width=1500)
    )
    reflections = np.exp(-t / 0.06) * rng.standard_normal(len(t))
    x += 0.006 * np.convolve(x, reflections[: SR // 3])[: len(t)]
    return x, np.where(loudness > 0.05, f0, np.nan)


def _vowels(
    t: Signal, f0: Signal, loudness: Signal, rng: np.random.Generator
) -> Signal:
    """Sum harmonics that pass the formants of "a", then "o", then "i"."""
    formants = [  # centre in Hz, width in Hz, gain
        (_curve(t, (0.4, 800), (1, 500), (1.3, 400), (1.8, 300)), 90, 1.0),
        (_curve(t, (0.4, 1200), (1, 850), (1.4, 1000), (2, 2200)), 110, 0.6),
        (_curve(t, (0.4, 2500), (1, 2400), (2, 3000)), 160, 0.4),
        (3600, 250, 0.3),
        (7000, 1500, 0.05),
    ]
    phase = 2 * np.pi * np.cumsum(f0) / SR
    voice = np.zeros_like(t)
    for k in range(1, int(SR / 2 / f0.min())):
        f = k * f0
        resonance = 0.01 + sum(
            gain / (1 + ((f - centre) / width) ** 2) for centre, width, gain in formants
        )
        # A loud voice is also a bright one.
        tilt = k ** (0.6 * loudness - 1.0) * (f < 0.49 * SR)
        voice += tilt * resonance * np.sin(k * phase + rng.uniform(0, 2 * np.pi))
    return voice


def _coloured(
    rng: np.random.Generator, t: Signal, centre: float, width: float
) -> Signal:
    """Return noise with a bump in its spectrum; centre and width in Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(len(t)))
    f = np.fft.rfftfreq(len(t), 1 / SR)
    return np.fft.irfft(spectrum * np.exp(-(((f - centre) / width) ** 2)), len(t))


def _curve(t: Signal, *points: tuple[float, float]) -> Signal:
    """Interpolate between (seconds, value)."""
    times, values = zip(*points, strict=True)
    return np.interp(t, times, values)
