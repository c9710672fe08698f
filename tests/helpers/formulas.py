"""Spectra in NumPy, in float64, for recipes that no package can be compared with.

No code is shared with korvax_eqx: frames are cut one by one.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal
from oracle import relative_error


def torch_stft(
    x: np.ndarray,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: str = "hann",
) -> np.ndarray:
    """`torch.stft` with its defaults for one signal: shape `(n_bins, n_frames)`."""
    padded = np.pad(x, n_fft // 2, mode="reflect")
    return _frames_dft(padded, n_fft, hop_length, win_length or n_fft, window)


def end_padded_stft(
    x: np.ndarray, n_fft: int, hop_length: int, window: str = "hann"
) -> np.ndarray:
    """Frames that start at every hop, from the first sample on; zeros at the end."""
    n_frames = -(-x.size // hop_length)
    padded = np.pad(x, (0, max(0, (n_frames - 1) * hop_length + n_fft - x.size)))
    return _frames_dft(padded, n_fft, hop_length, n_fft, window)[:, :n_frames]


def _frames_dft(
    x: np.ndarray, n_fft: int, hop_length: int, win_length: int, window: str
) -> np.ndarray:
    w = np.zeros(n_fft)
    left = (n_fft - win_length) // 2
    w[left : left + win_length] = scipy.signal.get_window(window, win_length)
    starts = range(0, x.size - n_fft + 1, hop_length)
    return np.stack([np.fft.rfft(w * x[s : s + n_fft]) for s in starts], axis=1)


def assert_is(
    loss: Callable[..., Any],
    formula: Callable[[np.ndarray, np.ndarray], float],
    x: np.ndarray,
    y: np.ndarray,
    tolerance: float = 1e-10,
    step: float = 1e-6,
    single: float = 1e-6,
) -> None:
    """Compare a loss of two batches with the mean of a formula over their signals.

    In float64, compares the value, and the gradient along one direction with finite
    differences of the formula for a `step`. In float32, the value within `single`.
    """
    rows = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    t = np.random.default_rng(9).standard_normal(x.shape)
    rows_t = t.reshape(rows[0].shape)

    def mean(step: float) -> float:
        triples = zip(rows[0], rows[1], rows_t, strict=True)
        return float(np.mean([formula(a + step * c, b) for a, b, c in triples]))

    with jax.enable_x64(True):
        fn = jax.jit(jax.value_and_grad(loss))
        value, gradient = fn(jnp.asarray(x), jnp.asarray(y))
        slope = float(np.sum(np.asarray(gradient) * t))
    desired = mean(0.0)
    assert relative_error(value, desired) <= tolerance, (float(value), desired)
    h = step
    estimate = (
        4 * (mean(h / 2) - mean(-h / 2)) / h - (mean(h) - mean(-h)) / (2 * h)
    ) / 3
    # Loose, as transport and absolute values may have kinks within the step.
    np.testing.assert_allclose(slope, estimate, rtol=2e-5)
    rounded = loss(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    assert relative_error(rounded, desired) <= single, (float(rounded), desired)
