"""K-weighting, as second-order sections and as matrices for blocks of samples."""

import functools
from typing import Literal, NamedTuple

import numpy as np
import scipy.linalg
import scipy.signal
from jaxtyping import Float

from korvax_eqx._tables._frequencies import read_only

# ITU-R BS.1770-5, tables 1 and 2: numerators and denominators, at 48 kHz.
_RATE = 48000.0
_SHELF = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285),
    (1.0, -1.69065929318241, 0.73248077421585),
)
_HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))

# Samples of a block, and blocks in a block of the next level. On CPU these are faster,
# by a tenth to a half, than other combinations of 32, 64, 128 and 16, 32, 64.
BLOCK = 32
GROUP = 16

# Below this rate, the corner of the shelf, 1682 Hz, is above the Nyquist frequency.
LEAST_RATE = 2 * 1681.9744509555
# At 1e7 Hz the poles of the high-pass are so close to 1 that the states lose digits.
HIGHEST_RATE = 1e6


Design = Literal["bs1770", "torchaudio"]


def k_weighting_sections(
    sr: float, design: Design = "bs1770"
) -> Float[np.ndarray, "2 6"]:
    """Return the K-weighting at `sr` Hz as SciPy's second-order sections, float64.

    The Recommendation gives the filters at 48 kHz. For another rate, the bilinear
    transform is inverted and applied again at that rate, so that the response of each
    section is the same at its corner frequency, and nearly the same elsewhere.

    The design of torchaudio's loudness, and of SoX, is a shelf of 4 dB at 1500 Hz and a
    high-pass at 38 Hz, by the formulas of Bristow-Johnson's cookbook.
    """
    if design == "bs1770":
        return read_only([_at_rate(*section, sr) for section in (_SHELF, _HIGH_PASS)])
    return read_only([_treble(sr, 4.0, 1500.0, 0.5**0.5), _low_cut(sr, 38.0, 0.5)])


def _treble(
    sr: float, gain_db: float, frequency: float, quality: float
) -> Float[np.ndarray, " 6"]:
    """Return the cookbook's high shelf."""
    w = 2 * np.pi * frequency / sr
    A, c, s = 10 ** (gain_db / 40), np.cos(w), np.sin(w)
    slope = np.sqrt(A) * s / quality
    low, high = (A + 1) + (A - 1) * c, (A + 1) - (A - 1) * c
    top = A * np.array([low + slope, -2 * ((A - 1) + (A + 1) * c), low - slope])
    bottom = np.array([high + slope, 2 * ((A - 1) - (A + 1) * c), high - slope])
    return np.concatenate([top, bottom]) / bottom[0]


def _low_cut(sr: float, frequency: float, quality: float) -> Float[np.ndarray, " 6"]:
    """Return the cookbook's high-pass."""
    w = 2 * np.pi * frequency / sr
    c, alpha = np.cos(w), np.sin(w) / (2 * quality)
    top = (1 + c) / 2 * np.array([1.0, -2.0, 1.0])
    bottom = np.array([1 + alpha, -2 * c, 1 - alpha])
    return np.concatenate([top, bottom]) / bottom[0]


def _at_rate(
    numerator: tuple[float, ...], denominator: tuple[float, ...], sr: float
) -> Float[np.ndarray, " 6"]:
    """Return a section at another rate than 48 kHz.

    With $z^{-1} = (1 - s)/(1 + s)$, a section is a quotient of polynomials of second
    degree in s. At the other rate, s is replaced by $rs$.
    """
    b0, b1, b2 = denominator
    corner = np.arctan(np.sqrt((b0 + b1 + b2) / (b0 - b1 + b2))) * _RATE / np.pi
    r = np.tan(np.pi * corner / _RATE) / np.tan(np.pi * corner / sr)

    def warped(c: tuple[float, ...]) -> Float[np.ndarray, " 3"]:
        c0, c1, c2 = c
        high, low, middle = r**2 * (c0 - c1 + c2), c0 + c1 + c2, 2 * r * (c0 - c2)
        return np.array([high + middle + low, 2 * (low - high), high - middle + low])

    top, bottom = warped(numerator), warped(denominator)
    return np.concatenate([top, bottom]) / bottom[0]


class BlockMatrices(NamedTuple):
    """Matrices from a block's inputs and first state to its outputs and last state.

    `outputs = inputs @ through + state @ leaving`, and `next_state = inputs @ entering
    + state @ ...`, where the last product is computed by the next level of blocks.
    """

    through: Float[np.ndarray, "n_in n_out"]
    entering: Float[np.ndarray, "n_in n_states"]
    leaving: Float[np.ndarray, "n_states n_out"]


@functools.cache
def k_weighting_matrices(
    sr: float, level: int, design: Design = "bs1770"
) -> BlockMatrices:
    """Return the matrices of the K-weighting's blocks at `sr` Hz, float64.

    At level 0, inputs and outputs of a block are `BLOCK` samples. At level l > 0, a
    block stands for `GROUP` blocks of the level below: its inputs are the states that
    each of these ends in if it starts from zero, and its outputs are the states that
    each starts in.
    """
    A, b, c, _ = _state_space(sr, design)
    n_states = A.shape[0]
    if level == 0:
        sections = k_weighting_sections(sr, design)
        impulse = np.zeros(BLOCK)
        impulse[0] = 1.0
        response = scipy.signal.sosfilt(np.array(sections), impulse)
        through = scipy.linalg.toeplitz(response[0] * impulse, response)
        powers = _powers(A, BLOCK)
        entering = np.stack([(power @ b) for power in powers[::-1]])
        leaving = np.stack([c @ power for power in powers], axis=1)
        return BlockMatrices(*map(read_only, (through, entering, leaving)))
    step = np.linalg.matrix_power(A, BLOCK * GROUP ** (level - 1)).T
    powers = _powers(step, GROUP)
    blocks = np.zeros((GROUP, n_states, GROUP, n_states))
    for i in range(GROUP):
        for j in range(i + 1, GROUP):
            blocks[i, :, j] = powers[j - i - 1]
    through = blocks.reshape(GROUP * n_states, GROUP * n_states)
    entering = np.concatenate(powers[::-1], axis=0)
    leaving = np.concatenate(powers, axis=1)
    return BlockMatrices(*map(read_only, (through, entering, leaving)))


def _powers(A: Float[np.ndarray, "n n"], count: int) -> list[Float[np.ndarray, "n n"]]:
    powers = [np.eye(A.shape[0])]
    while len(powers) < count:
        powers.append(powers[-1] @ A)
    return powers


def _state_space(
    sr: float, design: Design
) -> tuple[
    Float[np.ndarray, "4 4"],
    Float[np.ndarray, " 4"],
    Float[np.ndarray, " 4"],
    float,
]:
    r"""Return $A, b, c, d$ of $s_{n+1} = A s_n + b x_n$, $y_n = c s_n + d x_n$.

    The states are scaled so that white noise of unit variance gives states of unit
    covariance. All states are then of similar size. In the direct form, as the poles of
    the high-pass are close to 1, outputs are small differences of large states, which
    loses digits in single precision.
    """
    A, b = np.zeros((4, 4)), np.zeros(4)
    c, d = np.zeros(4), 1.0
    for k, (b0, b1, b2, _, a1, a2) in enumerate(k_weighting_sections(sr, design)):
        # The transposed direct form; its input is the output of the previous sections.
        own = slice(2 * k, 2 * k + 2)
        gain = np.array([b1 - a1 * b0, b2 - a2 * b0])
        A[own] = np.outer(gain, c)
        A[own, own] = [[-a1, 1.0], [-a2, 0.0]]
        b[own] = gain * d
        c, d = c * b0, d * b0
        c[2 * k] = 1.0
    covariance = scipy.linalg.solve_discrete_lyapunov(A, np.outer(b, b), "direct")
    root = np.linalg.cholesky(covariance)
    solve = functools.partial(scipy.linalg.solve_triangular, root, lower=True)
    return solve(A @ root), solve(b), c @ root, d
