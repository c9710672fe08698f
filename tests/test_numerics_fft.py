"""The DFT of easy and of hard sizes, its transpose, and framing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from korvax_eqx._numerics._dft import _is_hard, real_dft, real_dft_transpose
from korvax_eqx._numerics._fft import rfft
from korvax_eqx._numerics._frames import n_frames, windowed_frames

EASY = [1, 2, 3, 8, 30, 31, 64, 255, 257, 262, 1021, 1024, 2053]
# By matrix, odd and even; above, by the FFT.
HARD = [37, 67, 74, 127, 134]


def relative(a, b):
    return np.max(np.abs(np.asarray(a) - np.asarray(b))) / np.max(np.abs(b))


def test_which_sizes_are_hard():
    assert not any(map(_is_hard, EASY))
    assert all(map(_is_hard, HARD))


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("n", [*EASY, *HARD])
def test_equals_numpy(n, frames):
    x = np.random.default_rng(n).standard_normal((3, frames, n))
    expected = np.fft.rfft(x)
    with jax.enable_x64(True):
        assert relative(real_dft(jnp.asarray(x)), expected) < 1e-13
    single = real_dft(jnp.asarray(x, jnp.float32))
    assert single.dtype == jnp.complex64
    assert relative(single, expected) < 2e-6


@pytest.mark.parametrize("n", [*EASY, *HARD])
def test_transpose(n):
    """The rule given to JAX is the transpose that JAX derives by itself."""
    rng = np.random.default_rng(n)
    shape = (2, 3, n // 2 + 1)
    with jax.enable_x64(True):
        c = jnp.asarray(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
        x = jnp.asarray(rng.standard_normal((2, 3, n)))
        (expected,) = jax.linear_transpose(jnp.fft.rfft, x)(c)
        assert relative(real_dft_transpose(c, n), expected) < 1e-13
        _, pull = jax.vjp(lambda x: rfft(x, n), x)
        assert relative(pull(c)[0], expected) < 1e-13
        value, tangent = jax.jvp(lambda x: rfft(x, n), (x,), (x,))
        assert relative(tangent, value) < 1e-13


@pytest.mark.parametrize(
    "n_samples, length, hop",
    [(100, 8, 4), (100, 8, 3), (64, 16, 16), (64, 7, 20), (50, 50, 9), (400, 300, 1)],
)
def test_frames(n_samples, length, hop):
    """Hops that divide, that do not, longer than the frame, and many to a frame."""
    x = np.random.default_rng(0).standard_normal((2, n_samples)).astype(np.float32)
    window = np.random.default_rng(1).standard_normal(length).astype(np.float32)
    frames = windowed_frames(jnp.asarray(x), jnp.asarray(window), hop)
    starts = range(0, n_samples - length + 1, hop)
    expected = np.stack([x[:, s : s + length] * window for s in starts], axis=1)
    assert n_frames(n_samples, length, hop) == expected.shape[1]
    np.testing.assert_array_equal(frames, expected)
