"""Analysis windows as float64 tables."""

import functools
from collections.abc import Hashable
from typing import Any

import numpy as np
import scipy.signal
from jaxtyping import Float

from korvax_eqx._checks import positive_int, refuse

from ._size import check_size


def window_values(
    window: str | float | tuple[Any, ...] | np.ndarray,
    win_length: int,
    n_fft: int,
    owner: str = "STFT",
) -> Float[np.ndarray, " n_fft"]:
    """Return the window of one frame: `win_length` samples centred among zeros.

    **Arguments:**

    - `window`: an argument of `scipy.signal.get_window` (a name, a Kaiser beta, or a
        tuple of a name and its parameters) for a periodic window, `"sqrt_hann"` for
        the square root of a periodic Hann window, `"hann_symmetric"` for a symmetric
        Hann window, or the `win_length` samples themselves.
    - `win_length`: samples of the window, at most `n_fft`.
    - `n_fft`: samples of the frame. `(n_fft - win_length) // 2` zeros come first.
    - `owner`: the class or function that an error names.

    **Returns:**

    A read-only float64 array of shape `(n_fft,)`.

    **Raises:**

    `ValueError` for a window that SciPy does not know, for the wrong number of samples,
    for a window longer than the frame, and for one that is too large to compute.
    """
    win_length = positive_int(owner, "win_length", win_length)
    n_fft = positive_int(owner, "n_fft", n_fft)
    if win_length > n_fft:
        rule = f"be at most n_fft = {n_fft}"
        refuse(owner, "win_length", rule, win_length, "Use a larger `n_fft`.")
    check_size(owner, "window", window, window_size(window, win_length))
    return unweighed_window_values(window, win_length, n_fft, owner)


def window_size(window: Any, win_length: float) -> float:
    """Return about how many values SciPy computes for a window.

    `window` may be anything, as it has not been checked yet. The most expensive window,
    DPSS, takes 400 ns per sample. General cosines have a term for each number, and
    Taylor windows have as many terms as their first number says.
    """
    if not isinstance(window, tuple):
        return win_length
    numbers = _numbers(window)
    size = (16 + len(numbers)) * win_length
    if window and isinstance(window[0], str) and "taylor" in window[0]:
        n_terms = abs(numbers[0]) if numbers else 0
        size += n_terms * (win_length + n_terms)
    return size


def _numbers(value: Any) -> list[float]:
    """Return all numbers in nested tuples, clipped so that squares do not overflow."""
    if isinstance(value, tuple):
        return [number for item in value for number in _numbers(item)]
    return [max(-1e100, min(value, 1e100))] if isinstance(value, int | float) else []


def unweighed_window_values(
    window: Any, win_length: int, n_fft: int, owner: str
) -> Float[np.ndarray, " n_fft"]:
    """Return `window_values` for lengths and a size that have been checked."""
    rule = "be a window's name, a number, a tuple or an array of samples"
    if isinstance(window, np.ndarray):
        if window.shape != (win_length,):
            shape = f"have shape (win_length,) = ({win_length},)"
            remedy = f"Pass `win_length={window.size}`, or leave it out."
            refuse(owner, "window", shape, window, remedy)
        values = _in_frame(np.asarray(window), n_fft)
    elif not isinstance(window, str | float | int | tuple) or isinstance(window, bool):
        refuse(owner, "window", rule, window)
    else:
        try:
            values = _window_values(window, win_length, n_fft)
        except TypeError:  # unhashable
            refuse(owner, "window", rule, window)
    if isinstance(values, str):
        rule = "be a window that `scipy.signal.get_window` knows"
        refuse(owner, "window", rule, window, values)
    return values


@functools.cache
def _window_values(
    window: Hashable, win_length: int, n_fft: int
) -> Float[np.ndarray, " n_fft"] | str:
    """Return the table, or SciPy's error message if it cannot make it."""
    try:
        with np.errstate(all="ignore"):
            is_root, is_symmetric = window == "sqrt_hann", window == "hann_symmetric"
            name = "hann" if is_root or is_symmetric else window
            values: Any = scipy.signal.get_window(
                name, win_length, fftbins=not is_symmetric
            )
            values = np.sqrt(values) if is_root else values
    except (
        # An overflow, e.g. for `("chebwin", 1e6)`.
        ArithmeticError,
        AttributeError,
        IndexError,
        TypeError,
        ValueError,
    ) as error:
        return f"SciPy says: {error}"
    return _in_frame(values, n_fft)


def _in_frame(
    values: Float[np.ndarray, " win_length"], n_fft: int
) -> Float[np.ndarray, " n_fft"] | str:
    """Return the window centred among zeros, or a message if it is invalid."""
    if not np.all(np.isfinite(values)) or not np.any(values):
        return "The window has values that are not finite, or only zeros."
    left = (n_fft - len(values)) // 2
    padded = np.zeros(n_fft)
    padded[left : left + len(values)] = values
    padded.setflags(write=False)
    return padded
