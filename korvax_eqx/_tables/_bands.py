"""Taps of filters that split a signal into bands."""

import functools

import numpy as np
from jaxtyping import Float

from korvax_eqx._tables._frequencies import mel_frequencies_table, read_only

# Zero crossings of the sinc in the filter of the lowest band.
_CROSSINGS = 8


def n_band_taps(sr: float, n_bands: int) -> float:
    """Return the number of taps of the filters of `n_bands` bands."""
    if n_bands == 1:
        return 1
    return 2 * int(_CROSSINGS / (_edges(sr, n_bands)[0] / sr) / 2) + 1


@functools.cache
def band_taps(sr: float, n_bands: int) -> Float[np.ndarray, "n_bands n_taps"]:
    """Return symmetric taps for bands of equal width in mels, which sum to the signal.

    A band is the difference of two low-passes, and the last band is the rest of the
    signal. Low-passes are windowed sincs whose taps sum to 1, as in julius.
    """
    n_taps = int(n_band_taps(sr, n_bands))
    identity = np.zeros(n_taps)
    identity[n_taps // 2] = 1.0
    if n_bands == 1:
        return read_only(identity[None])
    at = np.arange(n_taps) - n_taps // 2
    cutoffs = _edges(sr, n_bands)[:, None] / sr
    lows = np.hanning(n_taps) * np.sinc(2 * cutoffs * at)
    lows = lows / np.sum(lows, axis=1, keepdims=True)
    steps = np.concatenate([np.zeros((1, n_taps)), lows, identity[None]])
    return read_only(np.diff(steps, axis=0))


def _edges(sr: float, n_bands: int) -> Float[np.ndarray, " n_edges"]:
    """Return where bands meet, Hz."""
    return mel_frequencies_table(n_bands + 1, 0.0, sr / 2, True)[1:-1]
