"""Frequency axes and the mel scale.

Each formula is written once, for both array modules: NumPy in float64 for tables and
static arguments, `jax.numpy` where an argument is a JAX array, so that it can be
differentiated.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from korvax_eqx._checks import boolean, positive, positive_int, real

# Slaney's mel scale: linear below 1000 Hz, 27 mels for a factor of 6.4 above it.
_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0
# HTK's: 2595 log10(1 + f / 700).
_HTK_HZ = 700.0
_HTK_MEL = 2595.0 / math.log(10.0)


def as_floats(*values: Any) -> tuple[Any, ...]:
    """Return the array module to use and the values in one floating dtype.

    With JAX arrays among `values`, that is `jax.numpy` and their widest floating
    dtype, at least float32; otherwise NumPy and float64.
    """
    dtypes = [value.dtype for value in values if isinstance(value, jax.Array)]
    if not dtypes:
        return np, *(np.asarray(value, np.float64) for value in values)
    floats = [
        d if jnp.issubdtype(d, jnp.floating) else jnp.zeros(0).dtype for d in dtypes
    ]
    widest = max(floats, key=lambda dtype: dtype.itemsize)
    dtype = widest if widest.itemsize >= 4 else jnp.float32
    return jnp, *(jnp.asarray(value, dtype) for value in values)


def _hz_to_mel(xp: Any, frequencies: Any, htk: bool) -> Any:
    if htk:
        return _HTK_MEL * xp.log1p(frequencies / _HTK_HZ)
    is_log = frequencies >= _BREAK_HZ
    # The logarithm must not see 0 Hz, where its derivative is infinite: times the 0 of
    # the branch not taken, it would be NaN.
    octaves = xp.log(xp.where(is_log, frequencies, _BREAK_HZ) / _BREAK_HZ)
    return xp.where(is_log, _BREAK_MEL + octaves / _LOG_STEP, frequencies / _HZ_PER_MEL)


def _mel_to_hz(xp: Any, mels: Any, htk: bool) -> Any:
    if htk:
        return _HTK_HZ * xp.expm1(mels / _HTK_MEL)
    is_log = mels >= _BREAK_MEL
    steps = xp.where(is_log, mels, _BREAK_MEL) - _BREAK_MEL
    return xp.where(is_log, _BREAK_HZ * xp.exp(_LOG_STEP * steps), _HZ_PER_MEL * mels)


def _mel_frequencies(n_mels: int, fmin: Any, fmax: Any, htk: bool) -> Any:
    xp, fmin, fmax = as_floats(fmin, fmax)
    lowest, highest = _hz_to_mel(xp, fmin, htk), _hz_to_mel(xp, fmax, htk)
    return _mel_to_hz(xp, xp.linspace(lowest, highest, n_mels), htk)


def _fft_frequencies(sr: Any, n_fft: int) -> Any:
    xp, sr = as_floats(sr)
    return xp.arange(n_fft // 2 + 1, dtype=sr.dtype) * (sr / n_fft)


def _cqt_frequencies(n_bins: int, fmin: Any, bins_per_octave: int, tuning: Any) -> Any:
    xp, fmin, tuning = as_floats(fmin, tuning)
    bins = xp.arange(n_bins, dtype=fmin.dtype) + tuning
    return fmin * xp.exp2(bins / bins_per_octave)


def read_only(table: Any) -> np.ndarray:
    """Return a float64 copy of `table` that cannot be written to."""
    table = np.array(table, np.float64)
    table.setflags(write=False)
    return table


def rounded(values: np.ndarray, size: Any) -> np.ndarray:
    """Return values without their last digits, which depend on the machine.

    Sums and powers round differently on other processors and with other numbers of
    threads, but numbers that recipes compute and losses keep must be the same
    everywhere. 32 bits below `size`, a number or an array, are kept.
    """
    bits = 32 - np.frexp(size)[1]
    return np.ldexp(np.round(np.ldexp(values, bits)) + 0.0, -bits)  # no -0.0


@functools.cache
def mel_frequencies_table(
    n_mels: int, fmin: float, fmax: float, htk: bool
) -> Float[np.ndarray, " n_mels"]:
    """Return `mel_frequencies` of checked arguments in float64, read-only."""
    return read_only(_mel_frequencies(n_mels, fmin, fmax, htk))


def mels_table(
    frequencies: Float[np.ndarray, "*dims"], htk: bool
) -> Float[np.ndarray, "*dims"]:
    """Return `hz_to_mel` of NumPy arrays in float64, also while JAX traces."""
    return read_only(_hz_to_mel(np, frequencies, htk))


@functools.cache
def fft_frequencies_table(sr: float, n_fft: int) -> Float[np.ndarray, " n_bins"]:
    """Return `fft_frequencies` of checked arguments in float64, read-only."""
    return read_only(_fft_frequencies(sr, n_fft))


@functools.cache
def cqt_frequencies_table(
    n_bins: int, fmin: float, bins_per_octave: int, tuning: float
) -> Float[np.ndarray, " n_bins"]:
    """Return `cqt_frequencies` of checked arguments in float64, read-only."""
    return read_only(_cqt_frequencies(n_bins, fmin, bins_per_octave, tuning))


def as_default(table: np.ndarray) -> Array:
    """Return a table as a JAX array of the default float type.

    The type is given explicitly. Otherwise JAX may return an array that it cached for
    the same table under the other setting of `jax_enable_x64`.
    """
    return jnp.asarray(table, jnp.zeros(0).dtype)


def hz_to_mel(
    frequencies: Real[ArrayLike, "*dims"] | Sequence[float], /, htk: bool = False
) -> Float[Array, "*dims"]:
    """Convert frequencies to the mel scale.

    Slaney's scale (Auditory Toolbox) is `3 f / 200` below 1000 Hz and
    `15 + 27 log(f / 1000) / log(6.4)` above; HTK's is `2595 log10(1 + f / 700)`.

    **Arguments:**

    - `frequencies`: Hz. Static values are converted in float64; a JAX array can be
        differentiated, and the derivative is finite from 0 Hz up.
    - `htk`: whether to use HTK's scale.

    **Returns:** mels, of the same shape.
    """
    htk = boolean("hz_to_mel", "htk", htk)
    xp, frequencies = as_floats(frequencies)
    return jnp.asarray(_hz_to_mel(xp, frequencies, htk))


def mel_to_hz(
    mels: Real[ArrayLike, "*dims"] | Sequence[float], /, htk: bool = False
) -> Float[Array, "*dims"]:
    """Convert mels to frequencies: the inverse of `hz_to_mel`.

    **Arguments:**

    - `mels`: positions on the mel scale.
    - `htk`: whether they are on HTK's scale instead of Slaney's.

    **Returns:** Hz, of the same shape.
    """
    htk = boolean("mel_to_hz", "htk", htk)
    xp, mels = as_floats(mels)
    return jnp.asarray(_mel_to_hz(xp, mels, htk))


def fft_frequencies(
    *, sr: float | Real[Array, ""] = 22050, n_fft: int = 2048
) -> Float[Array, " {n_fft}//2+1"]:
    """Return the frequencies of the FFT bins: `k sr / n_fft`.

    **Arguments:**

    - `sr`: sample rate, Hz.
    - `n_fft`: samples of a frame.

    **Returns:** Hz, shape `(n_fft // 2 + 1,)`.
    """
    n_fft = positive_int("fft_frequencies", "n_fft", n_fft)
    if isinstance(sr, jax.Array):
        return _fft_frequencies(sr, n_fft)
    sr = positive("fft_frequencies", "sr", sr)
    return as_default(fft_frequencies_table(sr, n_fft))


def mel_frequencies(
    n_mels: int = 128,
    /,
    fmin: float | Real[Array, ""] = 0.0,
    fmax: float | Real[Array, ""] = 11025.0,
    htk: bool = False,
) -> Float[Array, " {n_mels}"]:
    """Return frequencies that are evenly spaced in mels, both ends included.

    **Arguments:**

    - `n_mels`: number of frequencies.
    - `fmin`, `fmax`: the first and the last one, Hz.
    - `htk`: whether to use HTK's mel scale instead of Slaney's.

    **Returns:** Hz, shape `(n_mels,)`.
    """
    owner = "mel_frequencies"
    n_mels = positive_int(owner, "n_mels", n_mels)
    htk = boolean(owner, "htk", htk)
    if isinstance(fmin, jax.Array) or isinstance(fmax, jax.Array):
        return _mel_frequencies(n_mels, fmin, fmax, htk)
    fmin, fmax = real(owner, "fmin", fmin), real(owner, "fmax", fmax)
    return as_default(mel_frequencies_table(n_mels, fmin, fmax, htk))


def cqt_frequencies(
    n_bins: int,
    /,
    fmin: float | Real[Array, ""],
    bins_per_octave: int = 12,
    tuning: float | Real[Array, ""] = 0.0,
) -> Float[Array, " {n_bins}"]:
    """Return the frequencies of constant-Q bins: `fmin 2^((k + tuning) / B)`.

    **Arguments:**

    - `n_bins`: number of frequencies.
    - `fmin`: frequency of the first bin before tuning, Hz.
    - `bins_per_octave`: `B`.
    - `tuning`: offset of every bin, in bins.

    **Returns:** Hz, shape `(n_bins,)`.
    """
    owner = "cqt_frequencies"
    n_bins = positive_int(owner, "n_bins", n_bins)
    bins_per_octave = positive_int(owner, "bins_per_octave", bins_per_octave)
    if isinstance(fmin, jax.Array) or isinstance(tuning, jax.Array):
        return _cqt_frequencies(n_bins, fmin, bins_per_octave, tuning)
    fmin, tuning = positive(owner, "fmin", fmin), real(owner, "tuning", tuning)
    return as_default(cqt_frequencies_table(n_bins, fmin, bins_per_octave, tuning))
