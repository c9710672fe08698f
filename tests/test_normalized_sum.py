"""Spectra divided by the sum of the window, as SciPy and JAX have them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

import korvax_eqx as ke

RNG = np.random.default_rng(0)
CASES = [
    ("hann", 256, 128, 1000),
    ("hann", 256, 192, 1024),
    ("blackman", 100, 60, 777),
    (("kaiser", 8.0), 63, 20, 500),  # of an odd number of samples
    (("tukey", 0.25), 64, 0, 640),
    ("boxcar", 128, 127, 300),
]


def transform(window, nperseg, noverlap, kind=ke.STFT, **options):
    hop_length = nperseg - noverlap
    framing = {"padding": "torch", "extra_padding": True, "normalized": "sum"}
    return kind(nperseg, hop_length, window=window, **framing, **options)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_scipy_and_jax(case):
    window, nperseg, noverlap, n_samples = case
    x = RNG.standard_normal((2, n_samples))
    ours = transform(window, nperseg, noverlap)
    *_, expected = scipy.signal.stft(
        x, window=window, nperseg=nperseg, noverlap=noverlap
    )
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        actual = np.asarray(ours(jnp.asarray(x)))
        *_, of_jax = jax.scipy.signal.stft(
            jnp.asarray(x), window=window, nperseg=nperseg, noverlap=noverlap
        )
    assert actual.shape == expected.shape == of_jax.shape
    size = np.max(np.abs(expected))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-14 * size)
    np.testing.assert_allclose(actual, of_jax, rtol=0, atol=1e-14 * size)
    actual = ours(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6 * size)


def test_longer_ffts_have_the_magnitudes_of_scipy():
    x = RNG.standard_normal(900)
    # As many samples more of padding as the window begins later in its frame.
    ours = ke.Spectrogram(256, 50, 100, power=1.0, padding=(128, 128), normalized="sum")
    *_, expected = scipy.signal.stft(x, nperseg=100, noverlap=50, nfft=256)
    with jax.enable_x64(True):
        actual = ours(jnp.asarray(x))
    n = min(actual.shape[-1], expected.shape[-1])
    assert n >= 18
    np.testing.assert_allclose(actual[:, :n], np.abs(expected)[:, :n], rtol=1e-10)


def test_a_sine_of_amplitude_one_is_a_half():
    x = jnp.sin(2 * jnp.pi * 8 / 64 * jnp.arange(640.0))
    for window in ("hann", "flattop", "boxcar"):
        M = ke.Spectrogram(64, 16, window=window, power=1, normalized="sum")(x)
        np.testing.assert_allclose(M[8, 4:-4], 0.5, rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda **o: ke.MelSpectrogram(8000, 256, 20, power=1, **o),
        lambda **o: ke.Chroma(8000, 256, norm=None, **o),
        lambda **o: ke.Spectrogram(256, power=2, **o),
    ],
)
def test_what_is_built_on_it(make):
    x = jnp.asarray(RNG.standard_normal(1500), jnp.float32)
    plain, ours = make(), make(normalized="sum")
    factor = np.sum(scipy.signal.get_window("hann", 256)) ** plain.power
    np.testing.assert_allclose(ours(x) * factor, plain(x), rtol=2e-5)
    assert ke.from_config(ke.to_config(ours)) == ours
    assert "normalized='sum'" in repr(ours)


def test_a_window_may_be_learned():
    """The derivative is that of the quotient: none along the window itself."""
    window = jnp.asarray(0.1 + np.hanning(66)[1:-1], jnp.float32)
    x = jnp.asarray(RNG.standard_normal(1000), jnp.float32)

    def energy(window):
        transform = ke.Spectrogram(64, 16, window=window, normalized="sum")
        return jnp.mean(transform(x))

    gradient = jax.grad(energy)(window)
    assert np.all(np.isfinite(gradient)) and np.any(gradient)
    along = abs(jnp.vdot(gradient, window))
    assert along < 1e-4 * jnp.linalg.norm(gradient) * jnp.linalg.norm(window)


def test_a_window_of_sum_zero_is_refused():
    window = np.sin(2 * np.pi * np.arange(64) / 64)
    with pytest.raises(
        ValueError, match=r"`Spectrogram\(normalized=...\)` must be ano"
    ):
        ke.Spectrogram(64, window=window, normalized="sum")
    with pytest.raises(ValueError, match="'frame_length', 'sum'"):
        ke.STFT(64, normalized="scale")
