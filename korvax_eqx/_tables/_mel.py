"""Mel filter banks as float64 tables."""

import functools
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from korvax_eqx._checks import (
    boolean,
    non_negative,
    norm_order,
    owned_by,
    positive,
    positive_int,
    refuse,
)
from korvax_eqx._tables._frequencies import (
    fft_frequencies_table,
    mel_frequencies_table,
    read_only,
)
from korvax_eqx._tables._size import check_finite, check_size

MelNorm = Literal["slaney"] | float | None


class MelArguments(NamedTuple):
    """Checked arguments of a mel filter bank, in the order of `mel_matrix`."""

    sr: float
    n_fft: int
    n_mels: int
    fmin: float
    fmax: float | None
    htk: bool
    norm: MelNorm


def check_mel(
    owner: str,
    sr: Any,
    n_fft: Any,
    n_mels: Any,
    fmin: Any,
    fmax: Any,
    htk: Any,
    norm: Any,
) -> MelArguments:
    """Check the arguments of a mel filter bank for the class or function `owner`."""
    sr = positive(owner, "sr", sr)
    n_fft = positive_int(owner, "n_fft", n_fft)
    n_mels = positive_int(owner, "n_mels", n_mels)
    check_size(owner, "n_fft", n_fft, n_fft)
    check_size(owner, "n_mels", n_mels, n_mels * (n_fft // 2 + 1))
    fmin = non_negative(owner, "fmin", fmin)
    if fmax is not None:
        fmax = positive(owner, "fmax", fmax)
    highest = sr / 2 if fmax is None else fmax
    if fmin >= highest:
        rule = f"be below the highest frequency, {highest} Hz"
        refuse(owner, "fmin", rule, fmin, "Lower `fmin` or raise `fmax`.")
    htk = boolean(owner, "htk", htk)
    if norm is not None and not (isinstance(norm, str) and norm == "slaney"):
        rule = "be 'slaney', None or a positive order of a norm (`math.inf` too)"
        norm = norm_order(owner, "norm", norm, rule)
    return MelArguments(sr, n_fft, n_mels, fmin, fmax, htk, norm)


@functools.cache
def mel_matrix(
    sr: float,
    n_fft: int,
    n_mels: int,
    fmin: float,
    fmax: float | None,
    htk: bool,
    norm: MelNorm,
) -> Float[np.ndarray, "n_mels n_bins"]:
    """Return the mel filter bank of checked arguments in float64, read-only."""
    corners = mel_corners(sr, n_mels, fmin, fmax, htk)[:, None]
    lower, centre, upper = corners[:-2], corners[1:-1], corners[2:]
    bins = fft_frequencies_table(sr, n_fft)
    with np.errstate(all="ignore"):  # checked below
        rise = (bins - lower) / (centre - lower)
        fall = (upper - bins) / (upper - centre)
        matrix = np.maximum(0.0, np.minimum(rise, fall))
        if norm == "slaney":
            matrix *= 2.0 / (upper - lower)
        elif norm is not None:
            size = np.linalg.norm(matrix, ord=norm, axis=1, keepdims=True)
            is_lost = (size == 0.0) != ~matrix.any(axis=1, keepdims=True)
            size = np.where(is_lost | np.isinf(size), np.nan, size)
            matrix /= np.where(size == 0.0, 1.0, size)
    arguments = {"sr": sr, "fmin": fmin, "fmax": fmax, "norm": norm}
    check_finite("MelScale", arguments, matrix)
    return read_only(matrix)


@functools.cache
def mel_centres(
    sr: float, n_mels: int, fmin: float, fmax: float | None, htk: bool
) -> Float[np.ndarray, " n_mels"]:
    """Return the centre frequencies of the mel bands in Hz, float64, read-only."""
    return read_only(mel_corners(sr, n_mels, fmin, fmax, htk)[1:-1])


@functools.cache
def mel_corners(
    sr: float, n_mels: int, fmin: float, fmax: float | None, htk: bool
) -> Float[np.ndarray, " n_corners"]:
    """Return the corners of the triangles in Hz: band m has m, m + 1, m + 2."""
    highest = sr / 2 if fmax is None else fmax
    return mel_frequencies_table(n_mels + 2, fmin, highest, htk)


def mel_filterbank(
    *,
    sr: float,
    n_fft: int,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: MelNorm = "slaney",
    dtype: DTypeLike | None = None,
) -> Float[Array, " {n_mels} {n_fft}//2+1"]:
    """Return a bank of triangular filters, evenly spaced on the mel scale.

    Filter `m` rises linearly in Hz from corner `m` to 1 at corner `m + 1` and falls
    to corner `m + 2`; the `n_mels + 2` corners are `mel_frequencies`. It is computed
    in float64 and equals `librosa.filters.mel`. A filter too narrow for any FFT bin
    is all zeros: use fewer mels or a larger `n_fft`.

    **Arguments:**

    - `sr`: sample rate, Hz.
    - `n_fft`: samples of a frame.
    - `n_mels`: number of filters.
    - `fmin`, `fmax`: first and last corner, Hz; `fmax=None` is `sr / 2`.
    - `htk`: whether to use HTK's mel scale instead of Slaney's.
    - `norm`: `"slaney"` divides each filter by half its width in Hz (unit area),
        a number `p` by its p-norm (`math.inf`: unit peak), `None` by nothing.
    - `dtype`: of the result; `None` is JAX's default floating dtype.

    **Returns:** the matrix, shape `(n_mels, n_fft // 2 + 1)`.

    **Raises:** `ValueError` for arguments out of these ranges.
    """
    arguments = check_mel("mel_filterbank", sr, n_fft, n_mels, fmin, fmax, htk, norm)
    with owned_by("mel_filterbank"):
        return jnp.asarray(mel_matrix(*arguments), dtype)
