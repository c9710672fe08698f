"""The synthesiser of `sound_match.py`: Equinox modules whose arrays are the sound.

In the spirit of DDSP (Engel, Hantrakul, Gu, Roberts 2020): harmonics that follow a
pitch, and filtered noise. There is no encoder: all parameters over time are leaves.
"""

import functools
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import korvax_eqx as ke

SR = 24_000  # Hz, the rate everything works at
HOP = 128  # samples between two sets of amplitudes: 5.3 ms
KNOT = 4 * HOP  # samples between two points of the pitch curve: 21 ms

_TABLE_SIZE = 2048  # samples of one period
_NOISE_FFT = 4 * HOP
# Noise bands are wider than the distance of two harmonics of most sounds: narrow ones
# would take the place of single harmonics.
_N_BANDS = 33
_MAX_HARMONICS = 80
_LOG_BUZZ = np.float32(np.log(1e-2))  # amplitude of the harmonics before the fit
_LOG_HISS = np.float32(np.log(1e-3))  # level of the noise before the fit


class Harmonics(eqx.Module):
    """Harmonics of one pitch: a wavetable that changes with time.

    The amplitudes of the harmonics are the spectrum of one period, so an inverse FFT
    makes the period of each frame. It is read at the phase of the pitch, and
    neighbouring frames are cross-faded.
    """

    pitch: Float[Array, " n_knots"]  # semitones; A4, 440 Hz, is 69
    log_amplitude: Float[Array, "n_frames+1 n_harmonics"]
    phase: Float[Array, " n_harmonics"]  # radians

    def f0(self) -> Float[Array, " n_samples"]:
        """Return the fundamental frequency at every sample, in Hz."""
        knots = np.arange(self.pitch.shape[0]) * KNOT
        return hertz(jnp.interp(np.arange(knots[-1]), knots, self.pitch))

    def __call__(self) -> Float[Array, " n_samples"]:
        f0 = self.f0()
        position = (jnp.cumsum(f0 / SR) % 1 * _TABLE_SIZE).reshape(-1, HOP)
        tables = self._tables(jnp.append(f0[::HOP], f0[-1]))
        old, new = _read(tables[:-1], position), _read(tables[1:], position)
        fade_in = np.sin(np.arange(HOP, dtype=np.float32) * (np.pi / 2 / HOP)) ** 2
        return (old + fade_in * (new - old)).reshape(-1)

    def _tables(
        self, f0: Float[Array, " n_frames+1"]
    ) -> Float[Array, "n_frames+1 table_size"]:
        """Return one period for each frame."""
        order = jnp.arange(1, self.phase.shape[0] + 1)
        # Faded out over the last 200 Hz below half the sample rate: no aliasing.
        is_audible = jnp.clip((SR / 2 - order * f0[:, None]) / 200, 0, 1)
        amplitude = jnp.exp(self.log_amplitude) * is_audible
        spectrum = _TABLE_SIZE / 2 * amplitude * jnp.exp(1j * self.phase)
        return jnp.fft.irfft(jnp.pad(spectrum, ((0, 0), (1, 0))), _TABLE_SIZE)


def _read(
    tables: Float[Array, "n_frames size"], position: Float[Array, "n_frames hop"]
) -> Float[Array, "n_frames hop"]:
    """Read each frame's table at positions in [0, size], between two entries."""
    size = tables.shape[-1]
    index = jnp.floor(position).astype(int)
    left = jnp.take_along_axis(tables, index % size, -1)
    right = jnp.take_along_axis(tables, (index + 1) % size, -1)
    return left + (position - index) * (right - left)


class FilteredNoise(eqx.Module):
    """White noise, the same at every call, through a filter that changes with time."""

    log_magnitude: Float[Array, "n_frames+1 n_bands"]
    seed: int = eqx.field(static=True)

    def __call__(self) -> Float[Array, " n_samples"]:
        n_frames, n_bands = self.log_magnitude.shape
        gains = jnp.exp(self.log_magnitude @ _band_weights(n_bands))
        frames = jnp.fft.irfft(gains * _noise_spectra(n_frames, self.seed))
        return _overlap_add(frames * _noise_window())


def _overlap_add(
    frames: Float[Array, "n_frames+1 n_fft"],
) -> Float[Array, " n_samples"]:
    """Add frames centred at multiples of `HOP`, from the first centre to the last."""
    n_centres, n_fft = frames.shape
    n = n_fft // HOP
    blocks = frames.reshape(n_centres, n, HOP)
    shifted = [jnp.pad(blocks[:, i], ((i, n - 1 - i), (0, 0))) for i in range(n)]
    return sum(shifted[1:], shifted[0])[n // 2 : n // 2 + n_centres - 1].reshape(-1)


def _noise_window() -> Float[np.ndarray, " n_fft"]:
    """Return the window before and after the filter; its squares add up to 1."""
    ramp = np.pi * (np.arange(_NOISE_FFT) + 0.5) / _NOISE_FFT
    return (np.sin(ramp) * np.sqrt(2 * HOP / _NOISE_FFT)).astype(np.float32)


@functools.cache
def _noise_spectra(n_frames: int, seed: int) -> np.ndarray:
    """Return the spectra of overlapping windowed frames of unit white noise."""
    noise = np.random.default_rng(seed).standard_normal(n_frames * HOP + _NOISE_FFT)
    frames = np.lib.stride_tricks.sliding_window_view(noise, _NOISE_FFT)[::HOP]
    return np.fft.rfft(frames[:n_frames] * _noise_window()).astype(np.complex64)


@functools.cache
def _band_weights(n_bands: int) -> Float[np.ndarray, "n_bands n_bins"]:
    """Return what interpolates evenly spaced bands to the bins of an FFT."""
    bins = np.linspace(0, n_bands - 1, _NOISE_FFT // 2 + 1)
    rows = [np.interp(bins, range(n_bands), row) for row in np.eye(n_bands)]
    return np.asarray(rows, np.float32)


class Synth(eqx.Module):
    """Harmonics and noise: the sound that is fitted."""

    harmonics: Harmonics
    noise: FilteredNoise

    def __call__(self) -> Float[Array, " n_samples"]:
        return self.harmonics() + self.noise()


def initial_synth(target: Float[np.ndarray, " n_samples"], seed: int) -> Synth:
    """Return a faint buzz and hiss at the target's pitch, the start of the fit.

    The target, whose length must be a multiple of `KNOT`, gives the pitch curve and
    with it the number of harmonics up to half the sample rate, nothing else.
    """
    pitch = track_pitch(target)
    n_harmonics = int(SR / 2 / hertz(np.percentile(pitch, 10)))
    n_harmonics = min(n_harmonics, _MAX_HARMONICS)
    n_frames = len(target) // HOP
    # Equal phases would make a pulse train, which the short windows take for clicks.
    phase = np.random.default_rng(seed).uniform(-np.pi, np.pi, n_harmonics)
    harmonics = Harmonics(
        pitch=jnp.asarray(pitch, jnp.float32),
        log_amplitude=jnp.full((n_frames + 1, n_harmonics), _LOG_BUZZ),
        phase=jnp.asarray(phase, jnp.float32),
    )
    hiss = jnp.full((n_frames + 1, _N_BANDS), _LOG_HISS)
    return Synth(harmonics, FilteredNoise(hiss, seed))


def track_pitch(x: Float[np.ndarray, " n_samples"]) -> Float[np.ndarray, " n_knots"]:
    """Return the pitch of a sound at every knot, on a grid of 0.1 semitones.

    A pitch scores by a cosine over frequency that peaks at its harmonics, decays, and
    is multiplied with the root of the magnitudes, as in SWIPE (Camacho, Harris 2008).
    Of all curves between 50 Hz and 1.6 kHz, that of the largest score wins, less 0.1
    a semitone that it moves.
    """
    spectrogram = ke.Spectrogram(n_fft=2048, hop_length=KNOT, power=0.5)
    S = np.asarray(spectrogram(jnp.asarray(x, jnp.float32)))
    candidates = np.arange(31.4, 91.5, 0.1)
    ratio = SR * spectrogram.frequencies / hertz(candidates[:, None])
    decay = np.where(ratio > 0.75, 1.0, 0.5) / np.sqrt(np.maximum(ratio, 0.25))
    kernel = np.cos(2 * np.pi * ratio) * decay * (ratio > 0.25)
    kernel /= np.linalg.norm(np.maximum(kernel, 0), axis=1, keepdims=True)
    score = np.maximum(kernel @ (S / S.max()), 0)
    return candidates[_best_path(score.T, cost=0.01)]


def _best_path(score: Float[np.ndarray, "n_times n_states"], cost: float) -> np.ndarray:
    """Return the states of the largest total score, less `cost` a state moved."""
    states = np.arange(score.shape[1])
    costs = cost * np.abs(states[:, None] - states)
    total, origins = score[0], []
    for now in score[1:]:
        options = total - costs
        origins.append(np.argmax(options, axis=1))
        total = np.max(options, axis=1) + now
    path = [int(np.argmax(total))]
    for origin in reversed(origins):
        path.append(int(origin[path[-1]]))
    return np.array(path[::-1])


def hertz(pitch: Any) -> Any:
    """Return the frequencies of pitches in semitones."""
    return 440 * 2 ** ((pitch - 69) / 12)
