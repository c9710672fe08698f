"""The frequencies of bins, as several scales are told them."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._tables._frequencies import fft_frequencies_table
from korvax_eqx._tables._size import check_size

Frequencies: TypeAlias = Float[Array | np.ndarray, " n_bins"] | Sequence[float]


def check_bins(
    owner: str, frequencies: Any, sr: Any, n_fft: Any
) -> tuple[Any, float | None, int | None]:
    """Check that the bins are told by `frequencies`, or by `sr` and `n_fft`."""
    if frequencies is None:
        remedy = "Give either `frequencies`, or both `sr` and `n_fft`."
        if sr is None or n_fft is None:
            checks.refuse(owner, "frequencies", "tell the bins", None, remedy)
        sr = checks.positive(owner, "sr", sr)
        n_fft = checks.positive_int(owner, "n_fft", n_fft)
        check_size(owner, "n_fft", n_fft, n_fft)
    elif sr is not None or n_fft is not None:
        argument, value = ("sr", sr) if sr is not None else ("n_fft", n_fft)
        remedy = "Leave it out, or leave out `frequencies`."
        checks.refuse(owner, argument, "not come with `frequencies`", value, remedy)
    else:
        frequencies = _check_frequencies(owner, frequencies)
    return frequencies, sr, n_fft


def _check_frequencies(owner: str, frequencies: Any) -> Any:
    rule = "hold at least one frequency in Hz, none negative"
    if isinstance(frequencies, Sequence) and not isinstance(frequencies, str):
        frequencies = tuple(
            checks.non_negative(owner, "frequencies", f) for f in frequencies
        )
        if frequencies:
            return frequencies
    elif isinstance(frequencies, jax.Array | np.ndarray):
        checks.floating_array(owner, "frequencies", frequencies, 1)
        is_array = isinstance(frequencies, np.ndarray)
        if frequencies.size and not (is_array and np.any(frequencies < 0.0)):
            return frequencies
    checks.refuse(owner, "frequencies", rule, frequencies)


def bins_of(scale: Any) -> Any:
    """Return the frequencies of the bins of a scale, Hz."""
    if scale.frequencies is not None:
        return scale.frequencies
    return fft_frequencies_table(scale.sr, scale.n_fft)


def check_n_bins(owner: str, S: Any, n_bins: int) -> None:
    """Check that spectra, with their bins last, have a bin for each frequency."""
    if S.shape[-1] != n_bins:
        raise ValueError(
            f"`{owner}`: the spectrogram must have the {n_bins} bins whose frequencies "
            f"were given, shape (*channels, {n_bins}, n_frames). Got "
            f"{checks.public_shape(S)}. For an "
            "FFT spectrum use its `sr` and `n_fft`, for mel bands "
            "`frequencies=MelScale(...).frequencies`."
        )
