"""Sounds of one length, rate and level to be degraded: from files, or made up."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from _synth import SR as VOICE_SR
from _voice import sung_phrase
from jaxtyping import Float
from scipy.signal import sosfilt

Signal = Float[np.ndarray, " n_samples"]

SR = 48_000  # Hz: what Opus and the measures of quality work at
PEAK = 0.5  # of every sound: `log_eps` is compared with magnitudes, so levels matter


@dataclasses.dataclass(frozen=True)
class Excerpt:
    """A sound at `SR` with the peak `PEAK`, and what kind of sound it is."""

    kind: str
    name: str
    signal: Signal


def read(kind: str, paths: Sequence[str], seconds: float) -> list[Excerpt]:
    """Return the middle of each file; one shorter than `seconds` is repeated."""
    try:
        return [_excerpt(kind, Path(p).stem, *_mono(p), seconds) for p in paths]
    except (OSError, RuntimeError) as error:
        sys.exit(f"Cannot read a sound: {error}")


def made(seconds: float) -> list[Excerpt]:
    """Return a sung phrase, plucked chords and a drum beat, made from formulas."""
    return [
        _excerpt("voice", "sung phrase", sung_phrase()[0], VOICE_SR, seconds),
        _excerpt("music", "plucked chords", _chords(), SR, seconds),
        _excerpt("drums", "beat", _beat(), SR, seconds),
    ]


def _mono(path: str) -> tuple[Signal, int]:
    signal, rate = soundfile.read(path, always_2d=True)
    return signal.mean(axis=1), rate


def _excerpt(kind: str, name: str, x: Signal, rate: int, seconds: float) -> Excerpt:
    n = int(seconds * SR)
    x = soxr.resample(x, rate, SR)
    x = np.tile(x, -(-n // len(x)))
    first = (len(x) - n) // 2
    x = x[first : first + n]
    return Excerpt(kind, name, (PEAK * x / np.max(np.abs(x))).astype(np.float32))


def _chords() -> Signal:
    """Two seconds: four chords, whose upper partials die out first, in soft noise."""
    rng = np.random.default_rng(2)
    t = np.arange(2 * SR) / SR
    x = 0.0005 * rng.standard_normal(len(t))
    for i, chord in enumerate(([45, 60, 64, 69], [50, 62, 65], [43, 59, 62], [48, 64])):
        for note in chord:
            since = np.maximum(t - 0.5 * i, 0)
            f = 440 * 2 ** ((note - 69) / 12)
            for k in range(1, int(16_000 / f)):
                level = np.minimum(since / 0.003, 1) * np.exp(-since * (2 + k)) / k
                phase = rng.uniform(0, 2 * np.pi)
                x += 0.1 * level * np.sin(2 * np.pi * k * f * since + phase)
    return x


def _beat() -> Signal:
    """Two seconds: bass drum, snare and hi-hat at 120 beats a minute."""
    rng = np.random.default_rng(3)
    t = np.arange(2 * SR) / SR
    x = np.zeros_like(t)
    # A difference of neighbours: noise that rises by 6 dB an octave, as a cymbal's.
    bright = sosfilt([[1, -1, 0, 1, 0, 0]], rng.standard_normal(len(t)))
    white = rng.standard_normal(len(t))
    for i in range(8):
        since = t - 0.25 * i
        on = since >= 0
        since = np.maximum(since, 0)
        x += on * 0.08 * np.exp(-since / 0.03) * bright
        if i % 4 == 2:
            body = 0.4 * np.sin(2 * np.pi * 190 * since)
            x += on * np.exp(-since / 0.06) * (body + 0.2 * white)
        elif i % 2 == 0:
            sweep = 50 * since + 4 * (1 - np.exp(-since / 0.03))
            x += on * np.exp(-since / 0.15) * np.sin(2 * np.pi * sweep)
    return x
