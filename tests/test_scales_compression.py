"""Power-compressed complex spectra, against the formula in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import korvax_eqx as ke

RNG = np.random.default_rng(0)
SHAPE = (2, 9, 7)


def spectra(n=1, level=1.0):
    """Noise of many levels, with a zero, and tiny values."""
    made = []
    for _ in range(n):
        X = RNG.standard_normal(SHAPE) + 1j * RNG.standard_normal(SHAPE)
        X *= level * 10 ** RNG.uniform(-4, 2, SHAPE)
        X[0, :2, 0] = 0.0, 1e-9j
        made.append(X)
    return made


def by_angles(X, power, floor, mode):
    """As projects write it: an angle, and the magnitude of it."""
    if mode == "add" and floor > 0:
        return X * np.sqrt(np.abs(X) ** 2 + floor) ** (power - 1)
    A = np.maximum(np.abs(X), np.sqrt(floor))
    return A**power * np.exp(1j * np.angle(X))


OPTIONS = [
    (0.3, 0.0, "clip"),
    (0.3, 1e-4, "clip"),
    (0.3, 1e-4, "add"),
    (0.5, 1e-12, "add"),
    (1.0, 0.0, "clip"),
    (1.0, 1e-2, "clip"),
    (1.7, 1e-4, "clip"),
    (2.0, 0.0, "add"),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_value_is_the_formula(options):
    (X,) = spectra()
    with jax.enable_x64(True):
        ours = ke.PowerCompression(*options)(jnp.asarray(X))
    expected = by_angles(X, *options)
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-300)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_derivative_is_that_of_the_formula(options):
    """By differences, at magnitudes away from the floor and from 0."""
    power, floor, mode = options
    X, dX = spectra(2)
    dX = dX / np.abs(np.where(dX == 0, 1, dX)) * np.abs(X)
    is_kink = np.abs(np.abs(X) - np.sqrt(floor)) < 1e-3 * np.abs(X)
    assert not np.any(is_kink)
    with jax.enable_x64(True):
        scale = ke.PowerCompression(*options)
        _, ours = jax.jvp(scale, (jnp.asarray(X),), (jnp.asarray(dX),))
    h = 1e-6
    ahead, behind = (by_angles(X + s * h * dX, *options) for s in (1, -1))
    expected = (ahead - behind) / (2 * h)
    if mode == "clip":  # below the floor the phase is left alone, too
        expected = np.where(np.abs(X) < np.sqrt(floor), 0, expected)
    size = np.abs(by_angles(X, *options)) + 1e-12
    ours = np.asarray(ours)
    assert np.max(np.abs(ours - expected) / size) < 1e-8


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradients_are_finite(options):
    """At 0, and at scales where squares underflow."""
    scale, loss = ke.PowerCompression(*options), ke.ElementwiseLoss("L2")
    for level in (0.0, 1e-30, 1e-18, 1e-10, 1.0, 1e10):
        X, Y = (jnp.asarray(s, jnp.complex64) for s in spectra(2, level))
        gradient = jax.grad(lambda X, Y=Y: loss(scale(X), scale(Y)))
        assert np.all(np.isfinite(gradient(X)))


def test_what_overflows_is_not_a_perfect_score():
    scale = ke.PowerCompression()
    X, Y = (jnp.asarray(s, jnp.complex64) for s in spectra(2, 1e25))
    assert np.isnan(ke.ElementwiseLoss("L2")(scale(X), scale(Y)))


def test_real_spectra_are_refused():
    with pytest.raises(ValueError, match="`PowerCompression`: `S` must be a complex"):
        ke.PowerCompression()(jnp.ones((3, 4)))


@pytest.mark.parametrize("arguments", [(0.0,), (-1,), (0.3, -1.0), (0.3, 0.0, "max")])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=r"`PowerCompression\((power|floor)"):
        ke.PowerCompression(*arguments)


@pytest.mark.parametrize("metric", ["L1", "L2"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_asymmetry_is_the_formula(metric, reduction):
    x, y = np.abs(RNG.standard_normal((2, *SHAPE)))
    x[0, 0] = y[0, 0]
    loss = ke.ElementwiseLoss(
        metric, reduction=reduction, factor_under=3.0, factor_over=0.25
    )
    d = x - y
    costs = np.where(d < 0, 3.0, 0.25) * (np.abs(d) if metric == "L1" else d**2)
    reduce = np.mean if reduction == "mean" else np.sum
    expected = reduce(costs, axis=(-2, -1)).mean()
    slope = np.sign(d) if metric == "L1" else 2 * d
    n = len(x) * (d[0].size if reduction == "mean" else 1)
    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(loss)(jnp.asarray(x), jnp.asarray(y))
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        slope = np.where(d < 0, 3.0, 0.25) * slope / n
        np.testing.assert_allclose(gradient, slope, rtol=1e-12)


def test_asymmetry_after_a_logarithm():
    """Where signs are those of other numbers than the differences."""
    x, y = 0.1 * RNG.standard_normal((2, 3, 2000))
    under = ke.ElementwiseLoss(factor_under=2.0)
    loss, plain = (
        ke.TimeFrequencyLoss(ke.Spectrogram(256, 64), distance, ke.Log())
        for distance in (under, ke.ElementwiseLoss())
    )
    with jax.enable_x64(True):
        x, y = jnp.asarray(x), jnp.asarray(y)
        both = loss(x, y) + loss(y, x)
        np.testing.assert_allclose(both, 3 * plain(x, y), rtol=1e-12)
        sums = jax.grad(loss)(x, y) + jax.grad(lambda x: loss(y, x))(x)
        np.testing.assert_allclose(sums, 3 * jax.grad(plain)(x, y), rtol=1e-9)


def test_complex_spectra_have_no_sign():
    S = jnp.ones((3, 4), jnp.complex64)
    with pytest.raises(ValueError, match="`S_x` must be a real spectrogram"):
        ke.ElementwiseLoss(factor_under=2.0)(S, S)
    ke.ElementwiseLoss(factor_under=1)(S, S)
