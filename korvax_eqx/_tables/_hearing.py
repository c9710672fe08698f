"""The frequency weighting of logWMSE, and the resampling of impulse responses."""

import functools
import math
from typing import Any

import numpy as np
import scipy.signal
from jaxtyping import Float

from korvax_eqx._tables._frequencies import read_only, rounded

# Design of the weighting: sample rate in Hz, size of the FFT, number of taps.
HEARING_RATE = 44100
_N_FFT = 8192
_N_TAPS = 4000
# Resampling sinc: zero crossings on each side, and the cutoff as a fraction of the
# Nyquist frequency of the lower rate.
_ZEROS = 6
_ROLLOFF = 0.99


@functools.cache
def hearing_taps(sr: float) -> Float[np.ndarray, " n_taps"]:
    """Return the taps of a filter that weights frequencies as the ear does, at `sr` Hz.

    The filter is from logWMSE (Jordal; after Fenton and Lee 2017): a high shelf of 5 dB
    from 1500 Hz, a high-pass at 120 Hz, a peak of 2.5 dB at 500 Hz and two low-passes
    at 10 kHz. Only magnitudes are used. The taps are designed at 44.1 kHz, and
    resampled for other rates.
    """
    # As in logWMSE, the points stop one short of the Nyquist frequency, so the response
    # is evaluated at frequencies that are too low by 1 in 4097.
    w = np.arange(_N_FFT // 2 + 1) * np.pi / (_N_FFT // 2 + 1)
    shelf, peak = _shelf(1500.0, 5.0, 0.5**0.5), _peak(500.0, 2.5, 1.5 * 0.5**0.5)
    high: Any = scipy.signal.butter(2, 120.0, "highpass", fs=HEARING_RATE)
    low: Any = scipy.signal.butter(1, 10000.0, "lowpass", fs=HEARING_RATE)
    response = np.ones_like(w)
    filters: tuple[Any, ...] = (shelf, peak, high, low, low)
    for b, a in filters:
        frequencies: Any = w
        response *= np.abs(scipy.signal.freqz(b, a, worN=frequencies)[1])
    impulse = np.fft.fftshift(np.fft.irfft(response, _N_FFT))
    start = _N_FFT // 2 + 1 - _N_TAPS // 2
    return read_only(resampled(impulse[start : start + _N_TAPS], HEARING_RATE, sr))


def resampled(
    taps: Float[np.ndarray, " n_taps"], from_sr: float, to_sr: float
) -> Float[np.ndarray, " n_resampled"]:
    """Return taps at another sample rate, resampled by a sinc with a Hann window.

    As in torchaudio's `Resample` with its defaults, the taps are not rescaled, so the
    gain of the filter changes by the ratio of the rates. Rates are rounded to integers.
    """
    if from_sr == to_sr:
        return rounded(taps, np.max(np.abs(taps)))
    divisor = math.gcd(round(from_sr), round(to_sr))
    old, new = round(from_sr) // divisor, round(to_sr) // divisor
    band = min(old, new) * _ROLLOFF
    width = math.ceil(_ZEROS * old / band)
    # In float32 as in torchaudio: at 16 kHz this changes taps by 6e-6 of the largest.
    phases = (np.arange(new) / new).astype(np.float32)
    at = np.arange(-width, width + old)[None] / old - phases[:, None]
    at = np.clip(at * band, -_ZEROS, _ZEROS)
    kernels = np.sinc(at) * np.cos(np.pi * at / _ZEROS / 2) ** 2 * band / old
    padded = np.pad(taps, (width, width + old))
    frames = np.lib.stride_tricks.sliding_window_view(padded, kernels.shape[1])[::old]
    taps = (frames @ kernels.T).reshape(-1)[: math.ceil(new * taps.size / old)]
    return rounded(taps, np.max(np.abs(taps)))


def _shelf(frequency: float, gain_db: float, q: float) -> tuple[np.ndarray, np.ndarray]:
    """A high shelf, by Bristow-Johnson's formulas for equalisers."""
    A, c, alpha = _common(frequency, gain_db, q)
    r = 2 * np.sqrt(A) * alpha
    more, less = A + 1, A - 1
    b = A * np.array([more + less * c + r, -2 * (less + more * c), more + less * c - r])
    return b, np.array(
        [more - less * c + r, 2 * (less - more * c), more - less * c - r]
    )


def _peak(frequency: float, gain_db: float, q: float) -> tuple[np.ndarray, np.ndarray]:
    A, c, alpha = _common(frequency, gain_db, q)
    b = np.array([1 + alpha * A, -2 * c, 1 - alpha * A])
    return b, np.array([1 + alpha / A, -2 * c, 1 - alpha / A])


def _common(frequency: float, gain_db: float, q: float) -> tuple[float, float, float]:
    w = 2 * np.pi * frequency / HEARING_RATE
    return 10 ** (gain_db / 40), np.cos(w), np.sin(w) / (2 * q)
