"""The resampling filter, as a matrix from blocks to blocks of samples."""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from korvax_eqx._tables._frequencies import read_only

from ._size import check_size

# Attenuation of the stop band in dB, and width of the transition band as a fraction of
# the cutoff frequency, as in Octave's `resample`.
_REJECTION_DB = 60.0
_TRANSITION = 0.1


class Resampler(NamedTuple):
    """A map from blocks of samples to blocks of samples at another rate.

    Block b of the output is the product of `n_blocks` blocks of the input, from block b
    on, with `matrix`. Block 0 of the input begins `left` samples before the signal.
    """

    matrix: Float[np.ndarray, "n_in n_out"]
    block: int
    left: int

    @property
    def n_blocks(self) -> int:
        return self.matrix.shape[0] // self.block


def half_length(up: int, down: int) -> int:
    """Return how many taps the filter has on each side, at `up` times the rate.

    This is Kaiser's estimate for the attenuation and the width of the transition. The
    cutoff is `1 / (2 max(up, down))` of the sample rate.
    """
    width = _TRANSITION / (2 * max(up, down))
    return math.ceil((_REJECTION_DB - 8) / (28.714 * width))


def resampling_taps(up: int, down: int) -> Float[np.ndarray, " n_taps"]:
    """Return the low-pass filter, a sinc with a Kaiser window, with gain `up`."""
    half = half_length(up, down)
    cutoff = 1 / max(up, down)
    beta = 0.1102 * (_REJECTION_DB - 8.7)
    taps = np.kaiser(2 * half + 1, beta) * np.sinc(cutoff * np.arange(-half, half + 1))
    return up * taps / np.sum(taps)


@functools.cache
def _resampler(up: int, down: int) -> Resampler:
    half = half_length(up, down)
    block, n_out, left, n_blocks = _sizes(up, down)
    # Output i of a block is the sum over j of taps[i down - (j - left) up + half] x_j.
    place = np.arange(n_out) * down + half
    place = place - (np.arange(n_blocks * block)[:, None] - left) * up
    is_tap = (place >= 0) & (place <= 2 * half)
    taps = resampling_taps(up, down)
    matrix = np.where(is_tap, taps[np.clip(place, 0, 2 * half)], 0.0)
    return Resampler(read_only(matrix), block, left)


def _sizes(up: int, down: int) -> tuple[int, int, int, int]:
    """Return block sizes of input and output, `left`, and the blocks an output needs.

    A block of the input is as long as the filter, so that an output needs two of them.
    """
    half = half_length(up, down)
    n = math.ceil((2 * half / up + 1) / down)
    block, n_out, left = n * down, n * up, half // up
    n_in = left + 1 + ((n_out - 1) * down + half) // up
    return block, n_out, left, -(-n_in // block)


def resampler(owner: str, sr: int, new: int) -> Resampler:
    """Return the resampler from `sr` to `new` Hz.

    **Raises:** `ValueError` for rates with too large a common multiple.
    """
    up, down = ratio(sr, new)
    block, n_out, _, n_blocks = _sizes(up, down)
    check_size(owner, "sr", sr, block * n_out * n_blocks)
    return _resampler(up, down)


def ratio(sr: int, new: int) -> tuple[int, int]:
    """Return the factors `up` and `down` with `sr * up / down == new`."""
    common = math.gcd(sr, new)
    return new // common, sr // common


def resampled_length(n_samples: Any, sr: int, new: int) -> Any:
    """Return the length of resampled signals; `n_samples` is a number or an array.

    Whole periods and the remainder are computed apart, so that no product overflows.
    """
    up, down = ratio(sr, new)
    return n_samples // down * up + (n_samples % down * up + down - 1) // down
