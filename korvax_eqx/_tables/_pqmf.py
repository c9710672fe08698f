"""Cosine-modulated filter banks as float64 tables."""

import functools

import numpy as np
import scipy.optimize
import scipy.signal
from jaxtyping import Float


@functools.cache
def prototype(n_taps: int, cutoff: float, beta: float) -> Float[np.ndarray, " n_taps"]:
    """Return a low-pass filter: a sinc with a Kaiser window, `n_taps` + 1 taps.

    The taps are NaN if `beta` is so large that the window overflows.
    """
    n = np.arange(n_taps + 1) - n_taps / 2
    with np.errstate(all="ignore"):  # checked where it is used
        window = scipy.signal.get_window(("kaiser", beta), n_taps + 1, fftbins=False)
    taps = cutoff * np.sinc(cutoff * n) * window
    taps.setflags(write=False)
    return taps


@functools.cache
def analysis_taps(
    n_bands: int, n_taps: int, cutoff: float, beta: float, sign: int = 1
) -> Float[np.ndarray, "n_bands n_taps"]:
    """Return the analysis filters of all bands; for synthesis filters `sign` is -1."""
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
    """Return synthesis filters whose input is the interleaved samples of all bands.

    **Returns:** one row of taps for each of the `n_bands` samples of a period, over the
    band samples of several periods; and how many band samples precede the period's own.
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
    """Return number of taps, cutoff and beta of a prototype for good reconstruction.

    The window is a Kaiser window for an `attenuation` in dB. The cutoff minimises the
    largest autocorrelation of the filter at multiples of `2 * n_bands` samples, so that
    the synthesis restores the signal (Lin and Vaidyanathan, 1998). It is found as in
    RAVE, by a simplex search that starts at `1 / n_bands` radians.
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
