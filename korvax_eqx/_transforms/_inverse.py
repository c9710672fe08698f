"""The inverse of the short-time Fourier transform."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Complex, Float

from korvax_eqx import _checks as checks
from korvax_eqx._numerics._fft import irfft
from korvax_eqx._numerics._frames import padded
from korvax_eqx._numerics._overlap_add import inverse_weights, overlap_add, summed
from korvax_eqx._numerics._ranks import along_last
from korvax_eqx._static import is_leaf

_OWNER = "STFT.inverse"
# Of the weights of samples, the least beside the largest: those of scipy.signal's NOLA.
_LEAST_WEIGHT = 1e-10


def check_spectra(stft: Any, S: Any) -> None:
    """Check that `S` is complex, of the bins of a transform."""
    checks.spectrum_type(_OWNER, S)
    checks.spectrum(_OWNER, "S", S)
    n_bins = stft.n_fft // 2 + 1
    checks.complex_spectrum(_OWNER, "S", S, bins_last=False)
    if S.shape[-2] != n_bins or 0 in S.shape:
        raise ValueError(
            f"`{checks.named(_OWNER)}`: `S` must have the shape (*channels, n_bins, "
            f"n_frames), with n_bins = n_fft // 2 + 1 = {n_bins}, and not be empty. "
            f"Got {S.shape}. Give the arguments that it was made with."
        )


def check_length(stft: Any, n_frames: int, length: int | None) -> int:
    """Return the number of samples of the signal that so many frames stand for."""
    if length is not None:
        return length
    least = (n_frames - 1) * stft.hop_length + stft.n_fft - sum(stft.pad_widths)
    if least < 1:
        raise ValueError(
            f"`{checks.named(_OWNER)}`: `length` must be given for {n_frames} frame"
            f"{'s' * (n_frames > 1)}: a signal of no sample has as many. Give the "
            "length of the signal, `length=...`."
        )
    return least


def check_invertible(stft: Any, window: Any) -> None:
    """Check that frames weight every sample (the condition NOLA).

    A window that is traced has no values to be checked.
    """
    if isinstance(window, Tracer):
        return
    squares = np.asarray(window, np.float64) ** 2
    n_slots = -(-squares.size // stft.hop_length)
    weights = summed(squares, stft.hop_length, n_slots)[n_slots - 1]
    least = _LEAST_WEIGHT * np.max(weights)
    if not np.all(weights > least):  # which NaN would pass
        n = int(np.sum(~(weights > least)))
        raise ValueError(
            f"`{checks.named(_OWNER)}`: the window and `hop_length` must weight every "
            f"sample, or the signal is not known (the condition NOLA). Got hop_length="
            f"{stft.hop_length} and a window of {stft.win_length} samples, which leave "
            f"{n} of {stft.hop_length} samples of a hop without weight. Use a shorter "
            "hop, e.g. a quarter of the window, or a window without zeros."
        )


def inverted(
    stft: Any, S: Complex[Array, "*rows n_frames n_bins"], length: int
) -> Float[Array, "*rows length"]:
    """Return the signals of `length` samples whose spectra are closest to `S`."""
    frames = irfft(S, stft.n_fft)
    window, zeros = stft.window_part
    hop_length, n_frames, dtype = stft.hop_length, S.shape[-2], frames.dtype
    y = overlap_add(frames, jnp.asarray(window, dtype), hop_length, zeros)
    if not is_leaf(stft.window):  # the weights in float64, rounded once
        window = np.asarray(window, np.float64)
    weights = inverse_weights(window, hop_length, n_frames, dtype)
    y = y * along_last(padded(weights, *zeros), y)
    left, _ = stft.pad_widths
    # Beyond the last frame nothing is known: zeros.
    y = padded(y, 0, max(0, left + length - y.shape[-1]))
    return lax.slice_in_dim(y, left, left + length, axis=-1)
