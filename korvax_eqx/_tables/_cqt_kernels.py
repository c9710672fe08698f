"""Kernels of the constant-Q and the variable-Q transform as float64 tables."""

import dataclasses
import functools
import math
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Complex, Float, Int

from korvax_eqx._checks import (
    norm_order,
    one_of,
    positive,
    positive_int,
    real,
    refuse,
)
from korvax_eqx._tables._frequencies import cqt_frequencies_table
from korvax_eqx._tables._size import check_size
from korvax_eqx._tables._windows import unweighed_window_values, window_size

# Fixed cost of a kernel, in values of a table.
_A_KERNEL = 512

Normalization = Literal["librosa", "convolutional", "wrap"]


@dataclasses.dataclass(frozen=True, eq=False)
class VQTKernels:
    """The kernels of all bins, each at its own length.

    Frame t of a transform holds `frame_length` samples. Bin k uses the `lengths[k]`
    samples from `starts[k]` on:

        C[k, t] = sum_n frame_t[starts[k] + n] * conj(kernels[k][n])

    Frequencies increase, so lengths decrease. `vqt_kernels` returns the same object for
    the same arguments, so objects are compared and hashed by identity.

    **Attributes:**

    - `frequencies`: centre frequencies in Hz, shape `(n_bins,)`.
    - `lengths`: samples of each kernel, shape `(n_bins,)`.
    - `starts`: sample of the frame at which each kernel starts, shape `(n_bins,)`.
    - `frame_length`: samples of the frame, a power of two. The phase of every
        kernel is 0 at sample `frame_length // 2`.
    - `kernels`: for each bin k, a complex128 array of shape `(lengths[k],)`.
    """

    frequencies: Float[np.ndarray, " n_bins"]
    lengths: Int[np.ndarray, " n_bins"]
    starts: Int[np.ndarray, " n_bins"]
    frame_length: int
    kernels: tuple[Complex[np.ndarray, " _"], ...]

    @functools.cached_property
    def basis(self) -> Complex[np.ndarray, "n_bins frame_length"]:
        """All kernels, padded with zeros to the frame length (read-only)."""
        basis = np.zeros((len(self.kernels), self.frame_length), np.complex128)
        for row, start, kernel in zip(basis, self.starts, self.kernels, strict=True):
            row[start : start + kernel.size] = kernel
        basis.setflags(write=False)
        return basis


class VQTArguments(NamedTuple):
    """Checked arguments of `vqt_kernels`, in its order."""

    sr: float
    fmin: float
    fmax: float | None
    n_bins: int | None
    gamma: float
    bins_per_octave: int
    filter_scale: float
    norm_kernels: float | None
    window: str | float | int | tuple[Any, ...]
    normalization_type: Normalization


def check_vqt(
    owner: str,
    sr: Any,
    fmin: Any,
    fmax: Any,
    n_bins: Any,
    gamma: Any,
    bins_per_octave: Any,
    filter_scale: Any,
    norm_kernels: Any,
    window: Any,
    normalization_type: Any,
) -> VQTArguments:
    """Check the arguments of the kernels; the window's values are checked when made.

    The `ValueError` names `owner`, the argument, its rule, the value and a remedy.
    """
    sr = float(positive(owner, "sr", sr))
    fmin = float(positive(owner, "fmin", fmin))
    bins_per_octave = positive_int(owner, "bins_per_octave", bins_per_octave)
    filter_scale = positive(owner, "filter_scale", filter_scale)
    gamma = real(owner, "gamma", gamma)
    if fmax is not None:
        fmax = float(positive(owner, "fmax", fmax))
        if fmax <= fmin:
            refuse(owner, "fmax", f"be above fmin = {fmin} Hz", fmax)
    elif n_bins is None:
        remedy = "Say how many bins, or give `fmax`."
        refuse(owner, "n_bins", "be a positive integer", n_bins, remedy)
    if n_bins is not None:
        n_bins = positive_int(owner, "n_bins", n_bins)
    n = _n_bins(fmin, fmax, n_bins, bins_per_octave)
    many = ("n_bins", n_bins) if fmax is None else ("fmax", fmax)
    check_size(owner, *many, _A_KERNEL * n)
    with np.errstate(over="ignore"):  # infinity is above any frequency
        frequencies = cqt_frequencies_table(n, fmin, bins_per_octave, 0.0)
        top = float(frequencies[-1])
    if top > sr / 2:
        octaves = math.log2(sr) - 1 - math.log2(fmin)
        most = math.floor(bins_per_octave * octaves + 1e-9) + 1
        remedy = (
            f"Use at most n_bins={most}, or a lower `fmin`."
            if most > 0
            else f"Use an `fmin` of at most {sr / 2} Hz."
        )
        argument, value = ("n_bins", n) if fmax is None else ("fmax", fmax)
        rule = (
            f"keep all bins at or below the Nyquist frequency, {sr / 2} Hz: "
            f"bin {n} is at {top:.6g} Hz"
        )
        if fmax is not None:
            remedy = f"Use an `fmax` of at most {sr / 2} Hz."
        refuse(owner, argument, rule, value, remedy)
    lowest = fmin + gamma / _alpha(bins_per_octave)
    if lowest <= 0:
        rule = "leave every kernel a positive bandwidth"
        most_negative = -fmin * _alpha(bins_per_octave)
        refuse(owner, "gamma", rule, gamma, f"It must exceed {most_negative:.6g}.")
    longest = math.inf
    if sr < 2.0**500 and filter_scale < 2.0**500 and lowest > 2.0**-500:
        longest = filter_scale / _alpha(bins_per_octave) * sr / lowest
    if longest >= 2**31:
        rule = "keep the longest kernel, that of the lowest bin, below 2**31 samples"
        is_stretched = filter_scale > 1
        argument, value = (
            ("filter_scale", filter_scale) if is_stretched else ("fmin", fmin)
        )
        refuse(owner, argument, rule, value)
    lengths = _lengths(frequencies, sr, gamma, bins_per_octave, filter_scale)
    argument = "filter_scale" if filter_scale > 1 else "fmin"
    value = filter_scale if filter_scale > 1 else fmin
    n_values = int(lengths.sum())
    check_size(owner, argument, value, n_values)
    size = sum(window_size(window, n) for n in lengths.tolist())
    check_size(owner, "window", window, size)
    if norm_kernels is not None:
        rule = "be a positive order of a norm (`math.inf` too), or None or 0"
        is_zero = isinstance(norm_kernels, int | float) and norm_kernels == 0
        if is_zero and not isinstance(norm_kernels, bool):
            norm_kernels = None
        else:
            norm_kernels = float(norm_order(owner, "norm_kernels", norm_kernels, rule))
    options = ("librosa", "convolutional", "wrap")
    one_of(owner, "normalization_type", normalization_type, options)
    try:
        hash(window)
    except TypeError:
        rule = "be a window's name, a number or a tuple of hashable values"
        refuse(owner, "window", rule, window)
    return VQTArguments(
        sr,
        fmin,
        fmax,
        n_bins,
        float(gamma),
        bins_per_octave,
        float(filter_scale),
        norm_kernels,
        window,
        normalization_type,
    )


def vqt_kernels(
    sr: float | int,
    fmin: float | int = 32.70,
    fmax: float | int | None = None,
    n_bins: int | None = 84,
    gamma: float | int = 0.0,
    bins_per_octave: int = 12,
    filter_scale: float | int = 1.0,
    norm_kernels: float | int | None = 1,
    window: str | float | int | tuple[Any, ...] = "hann",
    normalization_type: Normalization = "librosa",
    owner: str = "VQT",
) -> VQTKernels:
    """Return the kernels of a variable-Q transform; `gamma=0` is constant Q.

    With B bins an octave, `alpha = 2**(1/B) - 1` and `Q = filter_scale / alpha`:

        f_k = fmin * 2**(k/B)                          Hz
        L_k = ceil(Q * sr / (f_k + gamma / alpha))     samples
        g_k[n] = w_k[n + ceil(L_k/2)] * exp(2 pi i f_k n / sr) / L_k,
                 n = -ceil(L_k/2) ... floor(L_k/2) - 1
        kernel_k = c_k * g_k / ||g_k||_norm_kernels

    w_k is the periodic window of L_k samples, and n = 0 is the middle of the frame.

    **Arguments:**

    - `sr`: sample rate in Hz.
    - `fmin`: frequency of the lowest bin in Hz.
    - `fmax`: upper end in Hz. If it is given, `n_bins` is ignored, and there are
        `ceil(B * log2(fmax / fmin))` bins.
    - `n_bins`: number of bins.
    - `gamma`: constant added to the bandwidth `alpha * f_k`, in Hz.
    - `bins_per_octave`: B.
    - `filter_scale`: below 1, shorter kernels: finer in time, coarser in frequency.
    - `norm_kernels`: order of the norm each kernel is divided by; None or 0 for none.
    - `window`: an argument of `scipy.signal.get_window`: a name, Kaiser beta or tuple.
    - `normalization_type`: c_k is `sqrt(L_k)` for "librosa", 1 for "convolutional",
        2 for "wrap" (which compensates for the missing negative frequencies).
    - `owner`: the class or function that an error names.

    **Raises:**

    `ValueError` for a bin above the Nyquist frequency, and for arguments out of range.

    ??? note "Compared with librosa"

        librosa (from 0.10 on) has `alpha = (r**2 - 1) / (r**2 + 1)` with
        `r = 2**(1/B)`: for B = 12 its kernels are 3 % longer. It also sets small values
        of the kernels to 0 in the frequency domain and halves the sample rate from
        octave to octave, its windows have fractional lengths, and its phases refer to
        another sample. The kernels here are evaluated exactly, as in korvax.

    ??? cite "Sources"

        Brown, "Calculation of a constant Q spectral transform", JASA 1991 (the
        kernels). Schörkhuber & Klapuri, "Constant-Q transform toolbox for music
        processing", SMC 2010 (gamma is from its successor, AES 2014). Scaling as in
        librosa and nnAudio.
    """
    checked = check_vqt(
        owner,
        sr,
        fmin,
        fmax,
        n_bins,
        gamma,
        bins_per_octave,
        filter_scale,
        norm_kernels,
        window,
        normalization_type,
    )
    return _vqt_kernels(checked, owner)


@functools.cache
def _vqt_kernels(a: VQTArguments, owner: str) -> VQTKernels:
    n = _n_bins(a.fmin, a.fmax, a.n_bins, a.bins_per_octave)
    frequencies = cqt_frequencies_table(n, a.fmin, a.bins_per_octave, 0.0)
    lengths = _lengths(frequencies, a.sr, a.gamma, a.bins_per_octave, a.filter_scale)
    # At least 2, so that with kernels of 1 sample the frame's middle is an index.
    frame_length = max(2, 2 ** math.ceil(math.log2(lengths.max())))
    before = (lengths + 1) // 2
    kernels = []
    for frequency, length, first in zip(frequencies, lengths, -before, strict=True):
        n_samples = int(length)
        values = unweighed_window_values(a.window, n_samples, n_samples, owner)
        cycles = np.arange(first, first + length) * (frequency / a.sr)
        # Dropping whole cycles keeps the phase accurate for kernels of any length.
        kernel = values * np.exp(2j * np.pi * (cycles - np.rint(cycles))) / length
        if a.norm_kernels is not None:
            with np.errstate(all="ignore"):
                size = np.linalg.norm(kernel, a.norm_kernels)
            if not 0 < size < math.inf:
                rule = f"give a norm that float64 holds, not {size}"
                refuse(owner, "norm_kernels", rule, a.norm_kernels)
            kernel = kernel / size
        if a.normalization_type == "librosa":
            kernel = kernel * np.sqrt(length)
        elif a.normalization_type == "wrap":
            kernel = kernel * 2
        kernel.setflags(write=False)
        kernels.append(kernel)
    starts = frame_length // 2 - before
    lengths.setflags(write=False)
    starts.setflags(write=False)
    return VQTKernels(
        frequencies,
        lengths,
        starts,
        frame_length,
        tuple(kernels),
    )


def _lengths(
    frequencies: Float[np.ndarray, " n_bins"],
    sr: float,
    gamma: float,
    bins_per_octave: int,
    filter_scale: float,
) -> Int[np.ndarray, " n_bins"]:
    alpha = _alpha(bins_per_octave)
    with np.errstate(over="ignore"):  # infinite frequencies: kernels of one sample
        lengths = np.ceil(filter_scale / alpha * sr / (frequencies + gamma / alpha))
    return np.maximum(1, lengths).astype(np.int64)


def _alpha(bins_per_octave: int) -> float:
    """Return the spacing of neighbouring bins, as a fraction of the frequency."""
    return 2.0 ** (1.0 / bins_per_octave) - 1.0


def _n_bins(
    fmin: float, fmax: float | None, n_bins: int | None, bins_per_octave: int
) -> int:
    if fmax is None:
        assert n_bins is not None  # `check_vqt` raises otherwise
        return n_bins
    ratio = fmax / fmin
    is_in_range = ratio < math.inf
    octaves = math.log2(ratio) if is_in_range else math.log2(fmax) - math.log2(fmin)
    return math.ceil(bins_per_octave * octaves)
