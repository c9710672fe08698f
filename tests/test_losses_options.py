"""Options of losses on spectra, against formulas in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

import korvax_eqx as ke

RNG = np.random.default_rng(5)
SHAPE = (2, 5, 7)  # batch, bins, frames
QUANTITIES = {"instantaneous_frequency": -1, "group_delay": -2}


def complex_pair():
    parts = RNG.standard_normal((4, *SHAPE))
    return parts[0] + 1j * parts[1], parts[2] + 1j * parts[3]


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("weighting", ["uniform", "magnitude"])
@pytest.mark.parametrize("wrap", [True, False])
def test_a_phase_of_zero_stands_before_the_first(quantity, weighting, wrap):
    X, Y = complex_pair()
    axis = QUANTITIES[quantity]
    d = np.diff(np.angle(X) - np.angle(Y), axis=axis, prepend=0)
    if wrap:
        d = d - 2 * np.pi * np.round(d / 2 / np.pi)
    weights = np.ones(SHAPE)
    if weighting == "magnitude":
        weights = np.abs(Y)
        first = np.take(weights, [0], axis)
        before = np.delete(np.concatenate([first, weights], axis), -1, axis)
        weights = np.minimum(weights, before)
    expected = np.sum(weights * d**2, (-2, -1)) / np.sum(weights, (-2, -1))
    loss = ke.PhaseLoss(
        "L2", quantity=quantity, weighting=weighting, wrap=wrap, prepend=True
    )
    with jax.enable_x64(True):
        value = loss(jnp.asarray(X), jnp.asarray(Y))
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-12)


def test_one_frame_is_enough_with_a_phase_before_it():
    X, Y = (jnp.asarray(S[..., :1], jnp.complex64) for S in complex_pair())
    options = {"quantity": "instantaneous_frequency"}
    first, phase = ke.PhaseLoss(**options, prepend=True), ke.PhaseLoss()
    np.testing.assert_allclose(first(X, Y), phase(X, Y), rtol=1e-6)
    with pytest.raises(ValueError, match="at least two frames"):
        ke.PhaseLoss(**options)(X, Y)


def test_the_phase_itself_has_nothing_before_it():
    with pytest.raises(ValueError, match=r"`PhaseLoss\(prepend=...\)` must be False"):
        ke.PhaseLoss(prepend=True)
    with pytest.raises(ValueError, match=r"`PhaseLoss\(prepend=...\)` must be True or"):
        ke.PhaseLoss(quantity="group_delay", prepend=1)


@pytest.mark.parametrize("eps", [0.0, 0.5])
def test_convergence_relative_to_the_estimate(eps):
    x, y = np.abs(RNG.standard_normal((2, *SHAPE)))
    errors = np.linalg.norm(x - y, axis=(-2, -1))
    expected = np.mean(errors / (np.linalg.norm(x, axis=(-2, -1)) + eps))
    loss = ke.SpectralConvergenceLoss(eps, reference="estimate")
    with jax.enable_x64(True):
        arrays = jnp.asarray(x), jnp.asarray(y)
        value, gradient = jax.value_and_grad(loss)(*arrays)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        exchanged = ke.SpectralConvergenceLoss(eps)
        assert value == exchanged(*reversed(arrays))
        same = jax.grad(exchanged, argnums=1)(*reversed(arrays))
        np.testing.assert_allclose(gradient, same, rtol=1e-12)
    with pytest.raises(ValueError, match=r"`SpectralConvergenceLoss\(reference=...\)`"):
        ke.SpectralConvergenceLoss(reference="x")


def test_a_symmetric_window_by_name():
    transform = ke.STFT(64, window="hann_symmetric", win_length=50)
    expected = scipy.signal.get_window("hann", 50, fftbins=False)
    np.testing.assert_allclose(transform.window_values[7:57], expected, rtol=1e-12)
    np.testing.assert_allclose(expected, np.hanning(50), atol=1e-15)
    assert ke.from_config(ke.to_config(transform)) == transform
