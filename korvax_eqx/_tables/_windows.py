"""Analysis windows as float64 tables."""

import functools
from collections.abc import Hashable
from typing import Any

import numpy as np
import scipy.signal
from jaxtyping import Float

from korvax_eqx._checks import positive_int, refuse
from korvax_eqx._static import FrozenArray


def window_values(
    window: str | float | tuple[Any, ...] | FrozenArray,
    win_length: int,
    n_fft: int,
    owner: str = "STFT",
) -> Float[np.ndarray, " n_fft"]:
    """Return the window of one frame: `win_length` samples centred among zeros.

    **Arguments:**

    - `window`: what `scipy.signal.get_window` takes (a name, a Kaiser beta, or a
        tuple of a name and its parameters; the periodic variant is made), or the
        `win_length` samples themselves as a `FrozenArray`.
    - `win_length`: samples of the window, at most `n_fft`.
    - `n_fft`: samples of the frame. `(n_fft - win_length) // 2` zeros come first.
    - `owner`: the class or function that an error names.

    **Returns:**

    A read-only float64 array of shape `(n_fft,)`, the same object at every call.

    **Raises:**

    `ValueError` for a window that SciPy does not know, for samples of another length,
    and for a window longer than the frame.
    """
    win_length = positive_int(owner, "win_length", win_length)
    n_fft = positive_int(owner, "n_fft", n_fft)
    if win_length > n_fft:
        rule = f"be at most n_fft = {n_fft}"
        refuse(owner, "win_length", rule, win_length, "Use a larger `n_fft`.")
    if isinstance(window, FrozenArray):
        if window.value.shape != (win_length,):
            rule = f"have shape (win_length,) = ({win_length},)"
            remedy = f"Pass `win_length={window.value.size}`, or leave it out."
            refuse(owner, "window", rule, window.value, remedy)
    elif (
        not isinstance(window, str | float | int | tuple)
        or isinstance(window, bool)
        or not _is_hashable(window)
    ):
        rule = "be a window's name, a number, a tuple or an array of samples"
        refuse(owner, "window", rule, window)
    values = _window_values(window, win_length, n_fft)
    if isinstance(values, str):
        rule = "be a window that `scipy.signal.get_window` knows"
        refuse(owner, "window", rule, window, f"SciPy says: {values}")
    return values


@functools.cache
def _window_values(
    window: Hashable, win_length: int, n_fft: int
) -> Float[np.ndarray, " n_fft"] | str:
    """Return the table, or why SciPy refuses to make it."""
    if isinstance(window, FrozenArray):
        values = window.value
    else:
        try:
            with np.errstate(all="ignore"):
                values = scipy.signal.get_window(window, win_length, fftbins=True)
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            return str(error)
    if not np.all(np.isfinite(values)) or not np.any(values):
        return "nothing, but the window has values that are not finite, or only zeros."
    left = (n_fft - win_length) // 2
    padded = np.zeros(n_fft)
    padded[left : left + win_length] = values
    padded.setflags(write=False)
    return padded


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
