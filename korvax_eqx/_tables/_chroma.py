"""Chroma filter banks as float64 tables."""

import functools
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from korvax_eqx._checks import boolean, positive, positive_int, real, refuse
from korvax_eqx._tables._frequencies import read_only
from korvax_eqx._tables._size import check_finite, check_size

# The A of 27.5 Hz, from which octaves are counted: A440 is in octave 4.
_A0_HZ = 440.0 / 16.0
# With a tuning of more octaves, frequencies are out of the range of float64.
_MOST_OCTAVES = 1000


class ChromaArguments(NamedTuple):
    """Checked arguments of a chroma filter bank, in the order of `chroma_matrix`."""

    sr: float
    n_fft: int
    n_chroma: int
    tuning: float
    ctroct: float
    octwidth: float | None
    base_c: bool


def check_chroma(
    owner: str,
    sr: Any,
    n_fft: Any,
    n_chroma: Any,
    tuning: Any,
    ctroct: Any,
    octwidth: Any,
    base_c: Any,
) -> ChromaArguments:
    """Check the arguments of a chroma filter bank for the class `owner`."""
    n_fft = positive_int(owner, "n_fft", n_fft)
    if n_fft < 2:
        refuse(owner, "n_fft", "be at least 2", n_fft)
    n_chroma = positive_int(owner, "n_chroma", n_chroma)
    check_size(owner, "n_chroma", n_chroma, n_chroma * (n_fft // 2 + 1))
    tuning = real(owner, "tuning", tuning)
    if abs(tuning) > _MOST_OCTAVES * n_chroma:
        refuse(owner, "tuning", f"be at most {_MOST_OCTAVES} octaves", tuning)
    return ChromaArguments(
        positive(owner, "sr", sr),
        n_fft,
        n_chroma,
        tuning,
        real(owner, "ctroct", ctroct),
        None if octwidth is None else positive(owner, "octwidth", octwidth),
        boolean(owner, "base_c", base_c),
    )


def _first_class(n_chroma: int, base_c: bool) -> int:
    """Return how many classes above A the first class is."""
    return 3 * (n_chroma // 12) if base_c else 0


@functools.cache
def chroma_matrix(
    sr: float,
    n_fft: int,
    n_chroma: int,
    tuning: float,
    ctroct: float,
    octwidth: float | None,
    base_c: bool,
) -> Float[np.ndarray, "n_chroma n_bins"]:
    r"""Return the chroma filter bank of checked arguments in float64, read-only.

    Bin $k$ lies $b_k = C \log_2(f_k / f_A)$ classes above A, $C$ = `n_chroma`. Its
    weight in class $c$ is $\exp(-2 (d / w_k)^2)$, with $d$ the distance from $b_k$ to
    $c$ around the octave, and $w_k$ the distance to the next bin, but at least 1. The
    weights of a bin are scaled to the 2-norm
    $\exp(-((b_k / C - \mathrm{ctroct}) / \mathrm{octwidth})^2 / 2)$.
    """
    n_bins = n_fft // 2 + 1
    # One more bin than the spectrum has, for the width of the last one.
    n_used = min(n_bins + 1, n_fft)
    with np.errstate(all="ignore"):  # checked below
        lowest = _A0_HZ * 2.0 ** (tuning / n_chroma)
        octaves = np.log2(np.arange(1, n_used) * (sr / n_fft) / lowest)
    check_finite("Chroma", {"sr": sr, "tuning": tuning}, octaves)
    # As in librosa, the bin at 0 Hz is placed 1.5 octaves below the next one.
    places = n_chroma * np.concatenate([[octaves[0] - 1.5], octaves])
    widths = np.concatenate([np.maximum(np.diff(places), 1.0), [1.0]])
    places, widths = places[:n_bins], widths[:n_bins]

    # Python rounds halves to even, like `numpy.round` in librosa.
    half = round(n_chroma / 2)
    classes = np.roll(np.arange(n_chroma), -_first_class(n_chroma, base_c))
    # Working in place takes three quarters of the time.
    matrix = places - classes[:, None]
    matrix += half
    np.remainder(matrix, n_chroma, out=matrix)
    matrix -= half
    matrix /= widths
    np.square(matrix, out=matrix)
    matrix *= -2.0
    np.exp(matrix, out=matrix)
    matrix /= np.linalg.norm(matrix, axis=0)
    if octwidth is not None:
        with np.errstate(over="ignore", under="ignore"):
            steps = (places / n_chroma - ctroct) / octwidth
            matrix *= np.exp(-0.5 * steps**2)
    check_finite("Chroma", {"ctroct": ctroct, "octwidth": octwidth}, matrix)
    return read_only(matrix)


@functools.cache
def chroma_frequencies(
    n_chroma: int, tuning: float, base_c: bool
) -> Float[np.ndarray, " n_chroma"]:
    """Return the frequencies of the classes in one octave in Hz, float64, read-only."""
    classes = np.arange(n_chroma) + _first_class(n_chroma, base_c) + tuning
    return read_only(_A0_HZ * 2.0 ** (classes / n_chroma))


def circle_positions(n_chroma: int) -> Float[np.ndarray, " n_chroma"]:
    """Return `n_chroma` evenly spaced positions on a circle of circumference 1."""
    return read_only(np.arange(n_chroma) / n_chroma)
