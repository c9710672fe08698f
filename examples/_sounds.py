"""Training sounds of the autoencoder: the audio files of a folder, or generated tunes.

Each example has its own random generator, made from the seed, the step and the position
in the batch. So the data depend only on the step: a run that is resumed, or that uses
several processes, sees the same sounds.
"""

import dataclasses
import hashlib
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
import soxr
from jaxtyping import Float

Signal = Float[np.ndarray, " n_samples"]

SR = 16_000  # Hz, the rate everything works at
TRAINING, HELD_OUT = 0, 1  # which of the sounds


class Sounds(Protocol):
    """A source of sounds."""

    def excerpt(self, rng: np.random.Generator, n_samples: int, part: int) -> Signal:
        """Return a random piece of the training sounds or of those held out."""
        ...

    def fingerprint(self) -> str:
        """Return a text that identifies the sounds."""
        ...


def batch(
    sounds: Sounds,
    seed: int,
    step: int,
    rows: Iterable[int],
    n_samples: int,
    part: int = TRAINING,
) -> Float[np.ndarray, "rows 1 n_samples"]:
    """Return these rows of the batch of a step."""
    excerpts = [
        sounds.excerpt(np.random.default_rng((seed, part, step, row)), n_samples, part)
        for row in rows
    ]
    return np.stack(excerpts)[:, None].astype(np.float32)


def open_sounds(folder: str | None) -> Sounds:
    """Return the sounds of a folder, or made-up ones if there is none."""
    if folder is None:
        return Tunes()
    suffixes = {f".{kind.lower()}" for kind in soundfile.available_formats()}
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in suffixes)
    if not paths:
        sys.exit(f"No audio files (WAV, FLAC, OGG, MP3 ...) in the folder {folder!r}.")
    try:
        lengths = tuple(soundfile.info(path).frames for path in paths)
    except (OSError, RuntimeError) as error:
        sys.exit(f"Cannot read a sound: {error}")
    return Files(tuple(paths), lengths)


@dataclasses.dataclass(frozen=True)
class Files:
    """Audio files, of which only the excerpts are read; every tenth is held out."""

    paths: tuple[Path, ...]
    lengths: tuple[int, ...]  # samples, at the rate of each file

    def excerpt(self, rng: np.random.Generator, n_samples: int, part: int) -> Signal:
        chosen = [i for i in range(len(self.paths)) if (i % 10 == 9) == (part != 0)]
        chosen = chosen or list(range(len(self.paths)))  # too few to hold one out
        weights = np.array([self.lengths[i] for i in chosen], float)
        which = chosen[rng.choice(len(chosen), p=weights / weights.sum())]
        with soundfile.SoundFile(self.paths[which]) as file:
            wanted = math.ceil(n_samples * file.samplerate / SR)
            file.seek(int(rng.integers(max(1, file.frames - wanted + 1))))
            x = file.read(wanted, always_2d=True).mean(axis=1)
            x = soxr.resample(x, file.samplerate, SR)[:n_samples]
        return np.pad(x, (0, n_samples - len(x)))

    def fingerprint(self) -> str:
        names = [path.name for path in self.paths]
        return hashlib.sha256(repr((names, self.lengths)).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Tunes:
    """Short tunes of plucked strings and flutes, made when they are asked for."""

    def excerpt(self, rng: np.random.Generator, n_samples: int, part: int) -> Signal:
        x = np.zeros(n_samples)
        pitch = rng.uniform(48, 72)  # semitones; A4, 440 Hz, is 69
        for start in np.arange(-0.1, n_samples / SR, 0.18):
            pitch = np.clip(pitch + rng.choice([-5, -3, -2, 2, 3, 5]), 45, 84)
            first = max(0, round(start * SR))
            t = np.arange(first, n_samples) / SR - start
            x[first:] += _note(rng, t, 440 * 2 ** ((pitch - 69) / 12))
        x += 0.002 * rng.standard_normal(n_samples)
        return 0.5 * x / np.max(np.abs(x))

    def fingerprint(self) -> str:
        return "tunes"


def _note(rng: np.random.Generator, t: Signal, f0: float) -> Signal:
    """Return a note that starts at time 0 s, plucked or blown."""
    order = np.arange(1, min(16, int(0.45 * SR / f0)) + 1)[:, None]
    slope, phase = rng.uniform(0.8, 2.0), rng.uniform(0, 2 * np.pi, order.shape)
    if rng.random() < 0.5:
        level = np.exp(-t * (4 + 2 * order))  # high harmonics die out first
    else:
        level = np.exp(-(((t - 0.15) / 0.12) ** 2)) * (order % 2 + 0.2)
    waves = np.sin(2 * np.pi * f0 * order * t + phase)
    attack = np.minimum(1, t / 0.005)
    return attack * np.sum(level * waves / order**slope, axis=0)
