"""Taps of filters with a finite impulse response."""

import functools
from typing import Any

import numpy as np
import scipy.signal
from jaxtyping import Float

from korvax_eqx._tables._frequencies import read_only

# Corner frequencies of the A-weighting in Hz, and the gain in dB that makes it 0 dB at
# 1 kHz: IEC 61672-1. Poles are multiplied in the order of auraloss, so that the taps
# are rounded in the same way.
_HIGH, _LOW, _MIDDLE, _UPPER = 12194.217, 20.598997, 737.86223, 107.65265
_GAIN_DB = 1.9997
_N_POINTS = 512

# Range of sample rates in Hz in which the coefficients of the polynomials are accurate:
# at 0.001 and at 1e7 Hz SciPy warns, or finds no response.
LEAST_RATE, HIGHEST_RATE = 1.0, 1e6


@functools.cache
def a_weighting_taps(sr: float, n_taps: int) -> Float[np.ndarray, " n_taps"]:
    """Return symmetric taps whose response fits the A-weighting at `sr` Hz.

    As in auraloss, poles and zeros of the weighting are mapped by the bilinear
    transform (without prewarping). The taps are a least-squares fit of the magnitude of
    that response, between each pair of 512 frequencies. `n_taps` is odd.
    """
    high = 2 * np.pi * _HIGH
    poles = np.polymul(
        [1, 2 * high, high**2], [1, 4 * np.pi * _LOW, (2 * np.pi * _LOW) ** 2]
    )
    for corner in (_MIDDLE, _UPPER):
        poles = np.polymul(poles, [1, 2 * np.pi * corner])
    zeros = [high**2 * 10 ** (_GAIN_DB / 20), 0, 0, 0, 0]
    # As a tuple: from SciPy's defaults, type checkers infer that `a` is a number.
    digital: tuple[Any, Any] = scipy.signal.bilinear(zeros, poles, fs=sr)
    frequencies, response = scipy.signal.freqz(*digital, worN=_N_POINTS, fs=sr)
    taps = scipy.signal.firls(n_taps, frequencies, np.abs(response), fs=sr)
    return read_only(taps)
