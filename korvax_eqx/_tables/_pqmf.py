"""Cosine-modulated filter banks as float64 tables."""

import functools

import numpy as np
import scipy.optimize
import scipy.signal
from jaxtyping import Float


@functools.cache
def prototype(n_taps: int, cutoff: float, beta: float) -> Float[np.ndarray, " n_taps"]:
    """Return a low-pass filter: a sinc with a Kaiser window, `n_taps` + 1 taps."""
    n = np.arange(n_taps + 1) - n_taps / 2
    window = scipy.signal.get_window(("kaiser", beta), n_taps + 1, fftbins=False)
    taps = cutoff * np.sinc(cutoff * n) * window
    taps.setflags(write=False)
    return taps


@functools.cache
def analysis_taps(
    n_bands: int, n_taps: int, cutoff: float, beta: float, sign: int = 1
) -> Float[np.ndarray, "n_bands n_taps"]:
    """Return the filters of all bands; those of the synthesis have `sign` -1."""
    n = np.arange(n_taps + 1) - n_taps / 2
    k = np.arange(n_bands)[:, None]
    phases = sign * (-1.0) ** k * np.pi / 4
    angles = (2 * k + 1) * np.pi / (2 * n_bands) * n + phases
    taps = 2 * prototype(n_taps, cutoff, beta) * np.cos(angles)
    taps.setflags(write=False)
    return taps


@functools.cache
def synthesis_taps(
    n_bands: int, n_taps: int, cutoff: float, beta: float, delay: int
) -> tuple[Float[np.ndarray, "n_bands n_taps"], int]:
    """Return the taps of each of `n_bands` samples, on the bands in turn.

    **Returns:** one row for each sample of a period, over the samples of all bands of
    some periods, and how many of these lie before its own.
    """
    filters = analysis_taps(n_bands, n_taps, cutoff, beta, -1)
    half = n_taps // 2
    # Band sample s is centred at s n_bands - delay.
    first = -((half - delay) // n_bands)
    last = (half + n_bands - 1 + delay) // n_bands
    taps = np.zeros((n_bands, last - first + 1, n_bands))
    for r in range(n_bands):
        for s in range(first, last + 1):
            j = s * n_bands - delay - r + half
            if 0 <= j <= n_taps:
                taps[r, s - first] = n_bands * filters[:, j]
    taps = taps.reshape(n_bands, -1)
    taps.setflags(write=False)
    return taps, -first * n_bands


@functools.cache
def design(n_bands: int, attenuation: float) -> tuple[int, float, float]:
    """Return number of taps, cutoff and beta of a prototype of few ripples.

    The window is Kaiser's for an `attenuation` in dB; the cutoff makes the largest
    product of the filter with itself, `2 * n_bands` samples later, as small as may be,
    so that the bands add up to what they were made of (Lin and Vaidyanathan, 1998).
    Found as RAVE finds it: by a simplex search from `1 / n_bands`, in radians.
    """

    def order(radians: float) -> tuple[int, float]:
        n, beta = scipy.signal.kaiserord(attenuation, radians / np.pi)
        return 2 * (n // 2), float(beta)

    def largest(radians: np.ndarray) -> float:
        n_taps, beta = order(float(radians[0]))
        h = prototype(n_taps, float(radians[0]) / np.pi, beta)
        products = np.abs(np.convolve(h, h[::-1]))[n_taps :: 2 * n_bands]
        return float(np.max(products[1:]))

    best = scipy.optimize.fmin(largest, 1 / n_bands, disp=False)
    n_taps, beta = order(float(best[0]))
    return n_taps, float(best[0]) / np.pi, beta
