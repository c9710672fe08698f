"""Where the epsilon of ratios in dB stands, and the floor of cepstral coefficients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import refused

import korvax_eqx as ke

X, Y = np.random.default_rng(0).standard_normal((2, 3, 500))
EPS = 1e-3
RATIOS = {"snr": ke.SNRLoss, "si_sdr": ke.SISDRLoss, "sd_sdr": ke.SDSDRLoss}


def energy(x):
    return np.sum(x**2, -1)


def by_formula(name, mode, x, y):
    """Without centring, of each signal."""
    product, power = np.sum(x * y, -1), energy(y)
    alpha = (product + EPS) / (power + EPS) if mode == "both" else product / power
    if mode == "denominator":
        alpha = product / (power + EPS)
    t = alpha[:, None] * y
    signal = energy(y if name == "snr" else t)
    error = energy(x - (t if name == "si_sdr" else y))
    if mode == "denominator":
        return -10 * np.log10(signal / (error + EPS) + EPS)
    floor = EPS * (signal + error) if mode == "relative" else EPS
    return -10 * np.log10((signal + floor) / (error + floor))


@pytest.mark.parametrize("mode", ["denominator", "both", "relative"])
@pytest.mark.parametrize("name", RATIOS)
def test_the_epsilon_stands_where_the_mode_says(name, mode):
    loss = RATIOS[name](False, EPS, eps_mode=mode)
    for scale in (1.0, 0.01):
        with jax.enable_x64(True):
            x, y = (jnp.asarray(scale * a) for a in (X, Y))
            value = jax.vmap(loss)(x, y)
        expected = by_formula(name, mode, scale * X, scale * Y)
        np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize("name", RATIOS)
def test_relative_has_no_level_and_takes_silence_for_no_error(name):
    both = jax.value_and_grad(RATIOS[name](eps_mode="relative"), argnums=(0, 1))
    x, y = jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32)
    value, slopes = both(x, y)
    for scale in (2.0**-100, 2.0**-20, 2.0**60, 2.0**100):
        other, scaled = both(scale * x, scale * y)
        np.testing.assert_allclose(other, value, rtol=1e-6)
        for a, b in zip(scaled, slopes, strict=True):
            np.testing.assert_allclose(a * scale, b, rtol=1e-4, atol=1e-8)
    silent, slopes = both(0 * x, 0 * y)
    assert silent == 0 and not any(np.any(one) for one in slopes)
    assert both(x, 0 * y)[0] > 70


@pytest.mark.parametrize("arguments", [(), (False, 0.0)], ids=str)
@pytest.mark.parametrize("name", RATIOS)
def test_relative_has_no_gradient_at_equal_signals(name, arguments):
    loss = RATIOS[name](*arguments, eps_mode="relative")
    y = jnp.asarray(0.3 * Y, jnp.float32)
    # Rounding of two slopes of about 10 that cancel.
    assert jnp.max(jnp.abs(jax.jit(jax.grad(loss))(y, y))) < 1e-6


@pytest.mark.parametrize("mixture", ["target", "sum"])
@pytest.mark.parametrize("name", ["si_sdr", "sd_sdr"])
def test_relative_is_right_for_a_target_far_below_the_estimate(name, mixture):
    loss = RATIOS[name](eps=0.0, eps_mode="relative", mixture=mixture)
    both = jax.jit(jax.value_and_grad(loss))
    x, y = X, 1e-10 * Y
    value, slope = both(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    with jax.enable_x64(True):
        expected, right = both(jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(slope, right, atol=1e-5 * np.max(np.abs(right)))


def test_both_is_torchmetrics():
    audio = pytest.importorskip("torchmetrics.functional.audio")
    torch = pytest.importorskip("torch")
    pairs = {
        "snr": audio.signal_noise_ratio,
        "si_sdr": audio.scale_invariant_signal_distortion_ratio,
    }
    for scale in (1.0, 1e-4, 0.0):
        x, y = (scale * a for a in (X, Y))
        for name, theirs in pairs.items():
            expected = -theirs(torch.tensor(x), torch.tensor(y)).mean()
            eps = float(np.finfo(np.float64).eps)
            with jax.enable_x64(True):
                loss = RATIOS[name](False, eps, eps_mode="both")
                value = loss(jnp.asarray(x), jnp.asarray(y))
            np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-10)


def test_unknown_modes_are_refused():
    with refused(r"`SISDRLoss\(eps_mode=...\)` must be one of 'denominator', 'both'"):
        ke.SISDRLoss(eps_mode="torch")


def test_cepstral_coefficients_have_a_floor_of_your_own():
    librosa = pytest.importorskip("librosa")
    x = np.float32(1e-4) * X[0].astype(np.float32)
    options = {"n_mfcc": 8, "n_mels": 20, "n_fft": 128, "hop_length": 64}
    # At this level all bands are below the default floor.
    constant = ke.MFCC(8000, **options)(jnp.asarray(x))
    assert np.ptp(np.asarray(constant)[1:]) < 1e-3
    mel = librosa.feature.melspectrogram(
        y=x, sr=8000, n_fft=128, hop_length=64, n_mels=20, pad_mode="constant"
    )
    for top_db in (80.0, 10.0, None):
        decibels = librosa.power_to_db(mel, amin=1e-14, top_db=top_db)
        expected = librosa.feature.mfcc(S=decibels, n_mfcc=8)
        ours = ke.MFCC(8000, **options, amin=1e-14, top_db=top_db)(jnp.asarray(x))
        np.testing.assert_allclose(ours, expected, atol=2e-2)
    log = ke.MFCC(8000, **options, mag_scale="log", amin=1e-14)(jnp.asarray(x))
    expected = librosa.feature.mfcc(S=np.log(mel + 1e-14), n_mfcc=8)
    np.testing.assert_allclose(log, expected, atol=2e-2)
    with refused(r"`MFCC\(amin=...\)` must be positive"):
        ke.MFCC(8000, **options, amin=0.0)


@pytest.mark.parametrize("level", [0, -50, -60, -80])
def test_relative_losses_are_right_at_every_level(level):
    """Of the default power spectrogram in single precision."""
    x, y = (10 ** (level / 20) * 0.3 * a for a in (X, Y))
    transform = ke.Spectrogram(128, 64)
    for loss in (ke.RelativeLoss(), ke.BatchRelativeLoss()):
        composite = ke.TimeFrequencyLoss(transform, loss)
        value = composite(jnp.asarray(x[:1], "float32"), jnp.asarray(y[:1], "float32"))
        with jax.enable_x64(True):
            S, T = (np.asarray(transform(jnp.asarray(s[:1]))) for s in (x, y))
        expected = np.sum((S - T) ** 2) / np.sum(T**2)
        np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "scale", [ke.Difference(), ke.PowerToDB(), ke.AmplitudeToDB()], ids=repr
)
def test_cumulative_energies_of_negative_values_are_refused(scale):
    with refused(r"`TimeFrequencyLoss\(scale_fn=...\)` must make no negative values"):
        ke.TimeFrequencyLoss(ke.Spectrogram(128), ke.CumulativeEnergyLoss(), scale)


def test_decibels_of_nothing_are_nothing():
    for convert in (ke.power_to_db, ke.amplitude_to_db):
        assert convert(jnp.zeros((0, 3))).shape == (0, 3)
        assert convert(jnp.zeros(0), ref=jnp.max).shape == (0,)
