"""Spectral features against librosa, and against formulas in NumPy."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

import korvax_eqx as ke

SR, N_FFT = 16000, 256
BINS = {"sr": SR, "n_fft": N_FFT}
FREQUENCIES = np.fft.rfftfreq(N_FFT, 1 / SR)
RNG = np.random.default_rng(0)


def spectra(silent=True):
    """Magnitudes of tones and noise; one frame is silent."""
    S = RNG.exponential(size=(2, N_FFT // 2 + 1, 9)) ** 3
    S[0, 20, 4] = 500.0
    if silent:
        S[1, :, 3] = 0.0
    return S


def in_double(scale, S):
    with jax.enable_x64(True):
        return np.asarray(scale(jnp.asarray(S)))


def test_centroid_is_librosas():
    S = spectra()
    expected = librosa.feature.spectral_centroid(S=S, freq=FREQUENCIES)
    actual = in_double(ke.SpectralCentroid(**BINS), S)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    assert np.all(actual[1, :, 3] == 0)
    single = ke.SpectralCentroid(FREQUENCIES)(jnp.asarray(S, jnp.float32))
    np.testing.assert_allclose(single, expected, rtol=1e-6)


def test_flatness_is_librosas():
    S = spectra()
    expected = librosa.feature.spectral_flatness(S=S, power=2.0)
    actual = in_double(ke.SpectralFlatness(), S**2)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    np.testing.assert_allclose(actual[1, :, 3], 1, rtol=1e-12)
    single = ke.SpectralFlatness()(jnp.asarray(S, jnp.float32) ** 2)
    np.testing.assert_allclose(single, expected, rtol=5e-6)


def quantile(S, p):
    """By interpolation of the cumulative sum; the first bin has no step below it."""
    C = np.cumsum(S)
    return np.interp(p * C[-1], C, FREQUENCIES) if C[-1] > 0 else 0.0


@pytest.mark.parametrize("p", [0.01, 0.5, 0.85, 0.99])
def test_rolloff_is_a_quantile_at_most_a_bin_below_librosas(p):
    S = spectra()
    actual = in_double(ke.SpectralRolloff(roll_percent=p, **BINS), S)
    librosas = librosa.feature.spectral_rolloff(S=S, freq=FREQUENCIES, roll_percent=p)
    below = librosas - actual
    assert np.all(below >= -1e-9) and np.all(below <= SR / N_FFT + 1e-9)
    assert np.mean(below) > SR / N_FFT / 10
    expected = [[[quantile(s, p) for s in one.T]] for one in S]
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-9)
    assert np.all(actual[1, :, 3] == 0)


def test_quantiles_are_those_of_hyndman_and_fan():
    """Equal masses: the sample quantile of the frequencies, definition 4."""
    S = np.ones((N_FFT // 2 + 1, 1))
    for p in (0.2, 0.5, 0.9):
        (expected,) = in_double(ke.SpectralRolloff(roll_percent=p, **BINS), S)
        numpys = np.quantile(FREQUENCIES, p, method="interpolated_inverted_cdf")
        np.testing.assert_allclose(expected, numpys, rtol=1e-12)


SCALES = [
    ke.SpectralCentroid(**BINS),
    ke.SpectralRolloff(**BINS),
    ke.SpectralRolloff(roll_percent=0.3, **BINS),
    ke.SpectralFlatness(),
]


@pytest.mark.parametrize("scale", SCALES, ids=repr)
def test_gradients_are_those_of_differences(scale):
    S, direction = spectra(silent=False), RNG.standard_normal((2, N_FFT // 2 + 1, 9))
    with jax.enable_x64(True):
        direction = jnp.asarray(direction) * 0.1 * jnp.asarray(S)

        def value(h):
            return scale(jnp.asarray(S) + h * direction)

        slope = jax.jvp(value, (0.0,), (1.0,))[1]
        h = 1e-7
        expected = (value(h) - value(-h)) / (2 * h)
        np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-6)
        assert np.all(slope != 0)


@pytest.mark.parametrize("scale", SCALES, ids=repr)
def test_finite_at_every_level(scale):
    loss = ke.TimeFrequencyLoss(
        ke.Spectrogram(N_FFT, 64, power=1), ke.ElementwiseLoss(), scale
    )
    both = jax.jit(jax.value_and_grad(loss))
    noise, tone = RNG.standard_normal(2000), np.sin(2 * np.pi * np.arange(2000) / 32)
    for level in (0.0, 1e-35, 1e-25, 1e-10, 1.0, 1e10):
        for x, y in ((noise, tone), (tone, tone), (0 * noise, tone), (tone, 0 * noise)):
            value, gradient = both(
                jnp.asarray(level * x, jnp.float32), jnp.asarray(level * y, jnp.float32)
            )
            assert np.isfinite(value) and np.all(np.isfinite(gradient)), level


def test_level_makes_no_difference():
    S = jnp.asarray(spectra(), jnp.float32)
    for scale in SCALES[:3]:
        for level in (1e-20, 1e20):
            np.testing.assert_allclose(scale(level * S), scale(S), rtol=1e-5)


def test_a_loss_of_brightness_follows_it():
    """Between two noises through filters of one pole: gradients point to the target."""
    x, y = (
        np.convolve(RNG.standard_normal(4000), 0.5 ** np.arange(20), "same")
        for _ in range(2)
    )
    loss = ke.TimeFrequencyLoss(
        ke.Spectrogram(N_FFT, 64, power=1),
        ke.ElementwiseLoss(),
        ke.SpectralCentroid(**BINS),
    )

    def brightened(amount):
        return jnp.asarray(x, jnp.float32) - amount * jnp.roll(jnp.asarray(x), 1)

    target = jnp.asarray(y - 0.5 * np.roll(y, 1), jnp.float32)
    slopes = [jax.grad(lambda a: loss(brightened(a), target))(a) for a in (0.1, 0.9)]
    assert slopes[0] < 0 < slopes[1]


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: ke.SpectralCentroid(), "frequencies"),
        (lambda: ke.SpectralCentroid(FREQUENCIES, sr=SR), "sr"),
        (lambda: ke.SpectralCentroid(sr=0, n_fft=256), "sr"),
        (lambda: ke.SpectralRolloff([2.0, 1.0]), "frequencies"),
        (lambda: ke.SpectralRolloff(roll_percent=1.0, **BINS), "roll_percent"),
        (lambda: ke.SpectralRolloff(roll_percent=0, **BINS), "roll_percent"),
        (lambda: ke.SpectralFlatness(0.0), "amin"),
    ],
)
def test_wrong_arguments_are_refused(make, argument):
    with pytest.raises(ValueError, match=rf"`Spectral\w+\({argument}=\.\.\.\)` must"):
        make()


def test_spectra_of_other_bins_are_refused():
    with pytest.raises(ValueError, match="must have the 129 bins"):
        ke.SpectralCentroid(**BINS)(jnp.ones((100, 4)))
