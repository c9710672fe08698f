"""Third-octave bands of FFT bins."""

import functools

import numpy as np
from jaxtyping import Float

from korvax_eqx._tables._frequencies import read_only


@functools.cache
def third_octave_bands(
    sr: float, n_fft: int, n_bands: int, fmin: float
) -> Float[np.ndarray, "n_bins n_bands"]:
    """Return which FFT bins lie in each third-octave band: 1 or 0.

    Bands are a third of an octave wide around `fmin` Hz, `fmin` times 2^(1/3), and so
    on. Each begins at the bin nearest to its lower edge and ends before the bin nearest
    to its upper edge, where the next band begins.
    """
    edges = fmin * 2.0 ** ((2 * np.arange(n_bands + 1) - 1) / 6)
    first = np.rint(edges * n_fft / sr)
    bins = np.arange(n_fft // 2 + 1)[:, None]
    is_inside = (bins >= first[:-1]) & (bins < first[1:])
    return read_only(is_inside.astype(np.float64))
