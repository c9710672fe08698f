"""The resampling filter, as a matrix from blocks to blocks of samples."""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from korvax_eqx._tables._frequencies import read_only

from ._size import check_size


class Design(NamedTuple):
    """A low-pass filter: a sinc with a Kaiser window.

    **Attributes:**

    - `half_length`: half the length of the sinc, in zero crossings, which are
        `max(up, down)` taps apart.
    - `beta`: beta of the window.
    """

    half_length: float
    beta: float


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


def design_by_rejection(rejection_db: float, transition: float) -> Design:
    """Return the filter by Kaiser's estimate for a rejection in dB.

    `transition` is the width of the transition band as a fraction of the cutoff.
    """
    half = (rejection_db - 8) / 28.714 * 2 / transition
    return Design(half, 0.1102 * (rejection_db - 8.7))


def resampling_taps(up: int, down: int, design: Design) -> Float[np.ndarray, " n_taps"]:
    """Return the low-pass filter, with gain `up`, at `up` times the rate."""
    half = _half_length(up, down, design)
    cutoff = 1 / max(up, down)
    with np.errstate(all="ignore"):  # NaN, which is checked where it is used
        window = np.kaiser(2 * half + 1, design.beta)
    taps = window * np.sinc(cutoff * np.arange(-half, half + 1))
    return up * taps / np.sum(taps)


def _half_length(up: int, down: int, design: Design) -> int:
    return math.ceil(design.half_length * max(up, down))


@functools.cache
def _resampler(up: int, down: int, design: Design) -> Resampler:
    half = _half_length(up, down, design)
    block, n_out, left, n_blocks = _sizes(up, down, half)
    # Output i of a block is the sum over j of taps[i down - (j - left) up + half] x_j.
    place = np.arange(n_out) * down + half
    place = place - (np.arange(n_blocks * block)[:, None] - left) * up
    is_tap = (place >= 0) & (place <= 2 * half)
    taps = resampling_taps(up, down, design)
    matrix = np.where(is_tap, taps[np.clip(place, 0, 2 * half)], 0.0)
    return Resampler(read_only(matrix), block, left)


def _sizes(up: int, down: int, half: int) -> tuple[int, int, int, int]:
    """Return block sizes of input and output, `left`, and `n_blocks`.

    A block of the input is at least as long as the filter, so that a block of the
    output needs two of them.
    """
    n = math.ceil((2 * half / up + 1) / down)
    block, n_out, left = n * down, n * up, half // up
    n_in = left + 1 + ((n_out - 1) * down + half) // up
    return block, n_out, left, -(-n_in // block)


def resampler(owner: str, sr: int, new: int, design: Design) -> Resampler:
    """Return the resampler from `sr` to `new` Hz.

    **Raises:** `ValueError` for rates with too large a common multiple.
    """
    up, down = ratio(sr, new)
    half = _half_length(up, down, design)
    block, n_out, _, n_blocks = _sizes(up, down, half)
    rule = "make, with the other rate,"
    remedy = (
        f"From {sr} to {new} Hz, {up}/{down} in lowest terms, the filter has "
        f"{2 * half + 1} taps. Use rates with a larger common divisor, e.g. 44100 and "
        "48000 Hz, or a shorter filter."
    )
    n_values = block * n_out * n_blocks
    check_size(owner, "sr", sr, n_values, rule=rule, remedy=remedy)
    return _resampler(up, down, design)


def ratio(sr: int, new: int) -> tuple[int, int]:
    """Return the factors `up` and `down` with `sr * up / down == new`."""
    common = math.gcd(sr, new)
    return new // common, sr // common


def resampled_length(n_samples: Any, sr: int, new: int) -> Any:
    """Return the length of resampled signals; `n_samples` is a number or an array.

    Whole periods and the remainder are computed separately, so no product overflows.
    """
    up, down = ratio(sr, new)
    return n_samples // down * up + (n_samples % down * up + down - 1) // down
