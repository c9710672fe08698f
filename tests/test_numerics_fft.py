"""The DFT of easy and of hard sizes, its transpose, and framing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from korvax_eqx._numerics._fft import rfft, smooth_part
from korvax_eqx._numerics._frames import n_frames, windowed_frames
from korvax_eqx._platform import compiling_for

EASY = [1, 2, 3, 8, 30, 31, 64, 255, 1024]
# By matrix up to 512, odd and even, and by FFT above.
HARD = [37, 67, 74, 127, 134, 257, 262, 509, 521, 526, 1021, 2053]


@pytest.fixture(autouse=True)
def for_cpu():
    """Where operations run one by one, all sizes are XLA's."""
    with compiling_for("cpu"):
        yield


def real_dft(x):
    return rfft(x, x.shape[-1])


def transposed(c, n):
    frames = jax.ShapeDtypeStruct((*c.shape[:-1], n), c.real.dtype)
    return jax.linear_transpose(real_dft, frames)(c)[0]


def relative(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return np.max(np.abs(a - b)) / np.max(np.abs(b))


def test_which_sizes_are_hard():
    assert all(smooth_part(n) == n for n in EASY)
    assert all(smooth_part(n) < n for n in HARD)


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


# 1.2e-7 is the rounding of a single value; an FFT has a few times that.
OWN_LEVEL = 2e-6


@pytest.mark.parametrize("loud", [1e15, 1e36])
@pytest.mark.parametrize("n", [509, 521, 526, 2053])
def test_a_quiet_frame_beside_a_loud_one(n, loud):
    """Frames do not share their rounding errors."""
    x = np.random.default_rng(n).uniform(-1, 1, (7, n))
    levels = np.array([1.0, loud, 1e-28, 0.0, 1e-25, 1e-5, 1.0]) / np.sqrt(n)
    x = (x * levels[:, None]).astype(np.float32)
    expected = np.fft.rfft(x.astype(np.float64))
    actual = np.asarray(real_dft(jnp.asarray(x)))
    for mine, right in zip(actual, expected, strict=True):
        assert np.abs(mine - right).max() <= OWN_LEVEL * np.abs(right).max()
    c = (expected / n).astype(np.complex64)
    with jax.enable_x64(True):
        right = transposed(jnp.asarray(c, complex), n)
    mine = np.asarray(transposed(jnp.asarray(c), n))
    for a, b in zip(mine, np.asarray(right), strict=True):
        assert np.abs(a - b).max() <= OWN_LEVEL * np.abs(b).max()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [521, 2053])
def test_a_frame_that_is_not_finite_stays_alone(n, bad):
    x = np.random.default_rng(n).standard_normal((5, n)).astype(np.float32)
    x[1, 7] = bad
    X = np.asarray(real_dft(jnp.asarray(x)))
    assert np.all(np.isnan(X[1]))
    good = [0, 2, 3, 4]
    assert relative(X[good], np.fft.rfft(x[good].astype(np.float64))) < OWN_LEVEL
    back = np.asarray(transposed(jnp.asarray(X), n))
    assert np.all(np.isnan(back[1])) and np.all(np.isfinite(back[good]))


@pytest.mark.parametrize("n", [*EASY, *HARD])
def test_transpose(n):
    """The rule given to JAX is the transpose that JAX derives by itself."""
    rng = np.random.default_rng(n)
    shape = (2, 3, n // 2 + 1)
    with jax.enable_x64(True):
        c = jnp.asarray(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
        x = jnp.asarray(rng.standard_normal((2, 3, n)))
        (expected,) = jax.linear_transpose(jnp.fft.rfft, x)(c)
        assert relative(transposed(c, n), expected) < 1e-13
        _, pull = jax.vjp(real_dft, x)
        assert relative(pull(c)[0], expected) < 1e-13
        value, tangent = jax.jvp(real_dft, (x,), (x,))
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


@pytest.mark.parametrize("zeros", [(0, 0), (0, 3), (7, 0), (5, 6), (30, 31)])
@pytest.mark.parametrize("hop", [1, 3, 5, 12, 20])
def test_frames_of_short_windows(hop, zeros):
    """Zeros around a window, which may reach into what is padded or beyond it."""
    x = np.random.default_rng(0).standard_normal((2, 100)).astype(np.float32)
    window = np.random.default_rng(1).standard_normal(12).astype(np.float32)
    for left, right in [(0, 0), (4, 9), (40, 40)]:
        padded = np.pad(x, [(0, 0), (left, right)])
        whole = np.pad(window, zeros)
        starts = range(0, padded.shape[1] - len(whole) + 1, hop)
        expected = np.stack([padded[:, s : s + len(whole)] * whole for s in starts], 1)

        def frames(x, left=left, right=right):
            return windowed_frames(x, window, hop, left, right, zeros=zeros)

        value, pull = jax.vjp(frames, jnp.asarray(x))
        np.testing.assert_array_equal(value, expected)
        slope = np.zeros_like(padded)
        for s in starts:
            slope[:, s : s + len(whole)] += whole
        slope = slope[:, left : left + x.shape[1]]
        (actual,) = pull(jnp.ones_like(value))
        np.testing.assert_allclose(actual, slope, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-14), ("float32", 2e-6)])
@pytest.mark.parametrize(
    "n", [1, 2, 15, 16, 257, 512, 513, 1021, 2048, 2049, 4096, 6000]
)
def test_products_are_the_dft(n, dtype, tolerance):
    """What is computed on TPU, as it is, folded and in stages, and its transpose."""
    rng = np.random.default_rng(n)
    with jax.enable_x64(True):
        frames = jnp.asarray(rng.standard_normal((3, n)), dtype)
        with compiling_for("tpu"):
            spectra, transpose = jax.vjp(real_dft, frames)
        expected, expected_transpose = jax.vjp(jnp.fft.rfft, frames.astype("float64"))
        cotangent = np.cos(np.arange(spectra.size)).reshape(spectra.shape) * (1 + 2j)
        (gradient,) = transpose(jnp.asarray(cotangent, spectra.dtype))
        (expected_gradient,) = expected_transpose(jnp.asarray(cotangent))
    assert relative(spectra, expected) <= tolerance
    assert relative(gradient, expected_gradient) <= tolerance
    assert not np.any(spectra[:, 0].imag)
    assert n % 2 or not np.any(spectra[:, -1].imag)
