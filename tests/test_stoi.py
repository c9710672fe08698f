"""STOI and ESTOI against NumPy in float64, and against pystoi and torch-stoi."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from intelligibility_numpy import stoi
from oracle import relative_error
from packages import assert_agrees, package

import korvax_eqx as ke

EXTENDED = pytest.mark.parametrize("extended", [False, True])


@functools.cache
def speech_like(seconds, sr, seed=0, snr_db=4.0):
    """A modulated noise with pauses as the target, and the same in noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * sr)) / sr
    envelope = np.sin(14.0 * time) + 0.4 * np.sin(33.0 * time + seed)
    y = np.clip(envelope, 0, None) ** 2 * rng.standard_normal(time.size)
    noise = np.linalg.norm(y) / np.sqrt(y.size) * 10 ** (-snr_db / 20)
    return y + noise * rng.standard_normal(time.size), y


@pytest.mark.long
@EXTENDED
@pytest.mark.parametrize("sr", [10000, 8000, 16000, 44100])
def test_equals_numpy(sr, extended):
    x, y = speech_like(0.93, sr)
    expected = -stoi(x, y, sr, extended)
    loss = ke.STOILoss(sr, extended)
    with jax.enable_x64(True):
        assert relative_error(loss(jnp.asarray(x), jnp.asarray(y)), expected) <= 1e-10
    single = loss(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    assert relative_error(single, expected) <= 5e-6  # of values of about 0.5


def test_equals_numpy_with_short_segments():
    x, y = speech_like(0.4, 10000)
    with jax.enable_x64(True):
        value = ke.STOILoss(10000, n_frames=7)(jnp.asarray(x), jnp.asarray(y))
    assert relative_error(value, -stoi(x, y, 10000, False, 7)) <= 1e-10


@EXTENDED
@pytest.mark.parametrize("sr", [10000, 16000])
def test_equals_pystoi(sr, extended):
    theirs = package("pystoi").stoi
    x, y = speech_like(1.3, sr, 1)
    with jax.enable_x64(True):
        value = ke.STOILoss(sr, extended)(jnp.asarray(x), jnp.asarray(y))
    assert relative_error(value, -theirs(y, x, sr, extended=extended)) <= 1e-10


@EXTENDED
def test_equals_torch_stoi(extended):
    """Value and gradient, of signals so loud that its epsilons do not matter."""
    package("torch_stoi")
    from torch_stoi import NegSTOILoss

    torch_loss = NegSTOILoss(10000, extended=extended, do_resample=False).double()
    # Its window is rounded to float32.
    torch_loss.win.data = torch_loss.win.new_tensor(np.hanning(258)[1:-1])
    pairs = [speech_like(0.9, 10000, seed) for seed in (2, 3)]
    x, y = (1e4 * np.array(signals) for signals in zip(*pairs, strict=True))
    loss = ke.STOILoss(10000, extended)
    assert_agrees(
        loss, lambda x, y: torch_loss(x, y).mean(), x, y, 1e-8, 5e-6, gradient=1e-6
    )


@EXTENDED
def test_more_noise_is_worse(extended):
    loss = ke.STOILoss(16000, extended)
    pairs = [speech_like(0.9, 16000, 4, snr) for snr in (np.inf, 20, 5, -5, -15)]
    x, y = (jnp.asarray(np.array(s), jnp.float32) for s in zip(*pairs, strict=True))
    values = np.asarray(jax.vmap(loss)(x, y))
    # Plain STOI hardly falls above 20 dB; rounding is below 1e-5.
    assert np.all(np.diff(values) > 1e-3) and np.all(np.diff(values[1:]) > 0.02)
    assert abs(values[0] + 1) < 1e-4 and values[-1] > -0.5


@EXTENDED
def test_the_level_of_either_signal_makes_no_difference(extended):
    x, y = (jnp.asarray(s, jnp.float32) for s in speech_like(0.6, 10000))
    both = jax.jit(jax.value_and_grad(ke.STOILoss(10000, extended)))
    value, gradient = both(x, y)
    for gain_x, gain_y in ((1e-30, 1e-30), (1e30, 1e-10), (3e3, 1e30)):
        own, own_gradient = both(gain_x * x, gain_y * y)
        np.testing.assert_allclose(own, value, rtol=2e-5)
        error = np.linalg.norm(gain_x * own_gradient - gradient)
        assert error <= 1e-3 * np.linalg.norm(gradient)


@EXTENDED
def test_dropped_frames_make_no_difference(extended):
    """Of the estimate, where the target pauses."""
    x, y = (np.array(s) for s in speech_like(1.5, 10000))
    y[5000:9000] = 0
    with jax.enable_x64(True):
        loss = jax.jit(jax.value_and_grad(ke.STOILoss(10000, extended)))
        value, gradient = loss(jnp.asarray(x), jnp.asarray(y))
        x[5300:8700] = 7 * np.random.default_rng(5).standard_normal(3400)
        other, _ = loss(jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_allclose(other, value, rtol=1e-12)
    assert not np.any(gradient[5300:8700]) and np.any(gradient)


def test_too_little_speech_has_the_value_0():
    """A silent target, and one of a click: there are fewer than 30 frames left."""
    x, y = (jnp.asarray(s) for s in speech_like(0.6, 10000))
    both = jax.jit(jax.value_and_grad(ke.STOILoss(10000)))
    for target in (0 * y, jnp.zeros_like(y).at[3000].set(1.0)):
        value, gradient = both(x, target)
        assert value == 0 and not np.any(gradient)
    value, gradient = both(0 * x, y)  # a silent estimate has no correlation
    assert value == 0 and np.all(np.isfinite(gradient))


def test_gradient_descent_makes_a_signal_more_intelligible():
    x, y = (jnp.asarray(s, jnp.float32) for s in speech_like(0.6, 10000, 6, 0.0))
    both = jax.jit(jax.value_and_grad(ke.STOILoss(10000)))
    first, gradient = both(x, y)
    for _ in range(20):
        x = x - 0.5 * jnp.linalg.norm(x) * gradient / jnp.linalg.norm(gradient) / 10
        _, gradient = both(x, y)
    assert both(x, y)[0] < first - 0.05


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ke.STOILoss(0), r"`STOILoss\(sr=...\)` must be a positive integer"),
        (lambda: ke.STOILoss(16000.5), r"`STOILoss\(sr=...\)` must be a positive int"),
        (
            lambda: ke.STOILoss(16001),
            "Got 16001. From 16001 to 10000 Hz, 10000/16001 in",
        ),
        (lambda: ke.STOILoss(8000, 1), r"`STOILoss\(extended=...\)` must be True or"),
        (lambda: ke.STOILoss(8000, n_frames=1), r"\(n_frames=...\)` must be at least"),
        (
            lambda: ke.STOILoss(16000)(*jnp.ones((2, 6000))),
            "too short for a segment of 30 frames: 6554 samples are needed, 6000 were",
        ),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
