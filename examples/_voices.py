"""Two people talking at once: made-up voices, or recordings of a folder, mixed."""

import dataclasses
from typing import Protocol

import numpy as np
from _sounds import SR, Signal, Sounds, open_sounds
from jaxtyping import Float
from scipy.signal import sosfilt

# Formants of "a", "e", "i", "o" and "u" in Hz, and how wide they are.
_VOWELS = (
    (800, 1200, 2500),
    (500, 1800, 2500),
    (300, 2200, 3000),
    (450, 850, 2400),
    (320, 800, 2300),
)
_WIDTHS = (80, 100, 140)
_LEVEL = 0.1  # root mean square of every voice


class Speakers(Protocol):
    """A source of pairs of voices."""

    def pair(self, rng: np.random.Generator, n_samples: int, part: int) -> list[Signal]:
        """Return two voices, of the training sounds or of those held out."""
        ...

    def fingerprint(self) -> str:
        """Return a text that is another one for other sounds."""
        ...


@dataclasses.dataclass(frozen=True)
class Voices:
    """A low voice and a high one that babble, in any order."""

    def pair(self, rng: np.random.Generator, n_samples: int, part: int) -> list[Signal]:
        pitches = [rng.uniform(85, 125), rng.uniform(190, 280)]
        voices = [_babble(rng, n_samples, pitch) for pitch in pitches]
        return voices if rng.random() < 0.5 else voices[::-1]

    def fingerprint(self) -> str:
        return "voices"


@dataclasses.dataclass(frozen=True)
class Recordings:
    """Two excerpts of the recordings of a folder, by chance of the same voice."""

    sounds: Sounds

    def pair(self, rng: np.random.Generator, n_samples: int, part: int) -> list[Signal]:
        return [self.sounds.excerpt(rng, n_samples, part) for _ in range(2)]

    def fingerprint(self) -> str:
        return self.sounds.fingerprint()


def open_speakers(folder: str | None) -> Speakers:
    """Return the recordings of a folder, or made-up voices if there is none."""
    return Voices() if folder is None else Recordings(open_sounds(folder))


def mixtures(
    speakers: Speakers, seed: int, step: int, count: int, n_samples: int, part: int
) -> Float[np.ndarray, "count 2 n_samples"]:
    """Return the two voices of each mixture of a step, equally loud; it is their sum.

    They depend on these numbers alone, so that a run that resumes sees the same.
    """
    voices = np.zeros((count, 2, n_samples), np.float32)
    for row in range(count):
        rng = np.random.default_rng((seed, part, step, row))
        for i, x in enumerate(speakers.pair(rng, n_samples, part)):
            x = x + 1e-5 * rng.standard_normal(n_samples)  # no recording is all silent
            voices[row, i] = _LEVEL * x / np.sqrt(np.mean(x**2))
    return voices


def _babble(rng: np.random.Generator, n_samples: int, pitch: float) -> Signal:
    """Return syllables of a voice of some pitch in Hz; a high one has a short tract."""
    tract = 1.15 * (pitch / 280) ** 0.2 * rng.uniform(0.93, 1.07)
    source = _glottis(rng, n_samples, pitch)
    x = 1e-4 * rng.standard_normal(n_samples)
    at = rng.integers(-2000, 0)
    while at < n_samples:
        length = int(rng.uniform(0.12, 0.3) * SR)
        x = _syllable(rng, x, source, at, length, tract)
        pause = rng.uniform(0.1, 0.3) if rng.random() < 0.2 else 0.0
        at += int(length * rng.uniform(0.8, 1.1) + pause * SR)
    return x


def _glottis(rng: np.random.Generator, n_samples: int, pitch: float) -> Signal:
    """Return a sawtooth whose pitch wanders by some semitones, with some breath."""
    t = np.arange(n_samples) / SR
    knots = np.arange(0, t[-1] + 0.3, 0.25)
    semitones = np.interp(t, knots, rng.normal(0, 1.5, len(knots)))
    f0 = pitch * 2 ** (semitones / 12)
    phase = np.cumsum(f0) / SR + rng.random()
    # The difference of a parabola in each period: a sawtooth with little aliasing.
    parabola = (2 * (phase % 1) - 1) ** 2
    saw = np.diff(parabola, prepend=parabola[0]) * SR / (4 * f0)
    return saw + 0.02 * rng.standard_normal(n_samples)


def _syllable(
    rng: np.random.Generator,
    x: Signal,
    source: Signal,
    start: int,
    length: int,
    tract: float,
) -> Signal:
    """Add a vowel, and sometimes a hiss before it."""
    first, last = max(0, start), min(len(x), start + length)
    if last - first < 100:
        return x
    formants = tract * np.array(_VOWELS[rng.integers(len(_VOWELS))])
    inside = np.arange(first, last) - start
    level = rng.uniform(0.5, 1) * np.sqrt(np.sin(np.pi * inside / length))
    x[first:last] += level * sosfilt(_resonances(formants), source[first:last])
    if rng.random() < 0.4:
        n = min(last - first, SR // 16)
        hiss = np.diff(rng.standard_normal(n + 2), n=2)
        x[first : first + n] += 0.08 * np.hanning(n) * hiss
    return x


def _resonances(formants: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 6"]:
    """Return resonators one after another, each with gain 1 at 0 Hz."""
    sections = []
    for f, width in zip(formants, _WIDTHS, strict=True):
        radius = np.exp(-np.pi * width / SR)
        a = [1, -2 * radius * np.cos(2 * np.pi * f / SR), radius**2]
        sections.append([sum(a), 0, 0, *a])
    return np.array(sections)
