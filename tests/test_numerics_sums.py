"""Cumulative sums, and energies of filtered signals, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from korvax_eqx import recipes
from korvax_eqx._numerics._cumulative import cumulative
from korvax_eqx._numerics._fir import filtered_energy
from korvax_eqx._platform import compiling_for

RNG = np.random.default_rng(0)


@pytest.fixture(params=["cpu", "gpu"])
def platform(request):
    with compiling_for(request.param):
        yield


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [1, 2])
def test_cumulative_sums(axis, reverse):
    S = RNG.random((2, 31, 17))
    order = np.flip if reverse else lambda a, axis: a
    desired = order(np.cumsum(order(S, axis), axis), axis)
    with jax.enable_x64(True):
        actual, pullback = jax.vjp(lambda S: cumulative(S, axis, reverse), S)
        np.testing.assert_allclose(actual, desired, rtol=1e-13)
        (gradient,) = pullback(jnp.asarray(S))
    other = np.flip if not reverse else lambda a, axis: a
    desired = other(np.cumsum(other(S, axis), axis), axis)
    np.testing.assert_allclose(gradient, desired, rtol=1e-13)
    single = cumulative(jnp.asarray(S, jnp.float32), axis, reverse)
    np.testing.assert_allclose(single[0, 3], actual[0, 3], rtol=1e-5)


@pytest.mark.parametrize("n_samples", [1, 100, 3001])
@pytest.mark.parametrize("n_taps", [1, 7, 512, 513, 1000])
@pytest.mark.parametrize("is_learnable", [False, True])
def test_energy_of_a_filtered_signal(n_samples, n_taps, is_learnable):
    """Of all that the filter gives, in blocks or by FFTs."""
    x, taps = RNG.standard_normal((2, n_samples)), RNG.standard_normal(n_taps)
    desired = [np.sum(np.convolve(row, taps) ** 2) for row in x]
    with jax.enable_x64(True):
        given = jnp.asarray(taps) if is_learnable else taps
        actual, slope = jax.jvp(lambda x: filtered_energy(x, given), (x,), (x,))
        np.testing.assert_allclose(actual, desired, rtol=1e-12)
        np.testing.assert_allclose(slope, 2 * np.asarray(desired), rtol=1e-12)
    given = jnp.asarray(taps, jnp.float32) if is_learnable else taps
    single = filtered_energy(jnp.asarray(x, jnp.float32), given)
    np.testing.assert_allclose(single, desired, rtol=1e-6)


def test_gradients_of_terms_of_a_batch_share_the_spectra():
    """One FFT of each signal, and one inverse for the gradient of both terms."""
    loss = recipes.auraloss_stft(256, 64, 200)
    x, y = jnp.asarray(RNG.standard_normal((2, 3, 2000)), jnp.float32)
    compiled = jax.jit(jax.value_and_grad(loss)).lower(x, y).compile()
    assert compiled.as_text().count(" fft(") == 3
