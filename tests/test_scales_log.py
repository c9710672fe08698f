"""Logarithms and powers of spectra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import assert_equals_torch, close, refused, torch, value_and_grads

import korvax_eqx as ke

RNG = np.random.default_rng(0)
WEIGHTS = RNG.standard_normal((2, 5, 7))
SPECTRA = RNG.uniform(0.01, 2, (2, 5, 7))
# Values below every floor, values above, and zeros.
LOW = np.where(RNG.random((2, 5, 7)) < 0.5, 1e-3 * SPECTRA, SPECTRA)
ZEROS = np.where(RNG.random((2, 5, 7)) < 0.3, 0.0, SPECTRA)


def weighed(scale):
    return lambda S: jnp.sum(scale(S) * jnp.asarray(WEIGHTS, S.dtype))


LOGS = {
    "add": lambda v, eps: torch.log(v + eps),
    "clip": lambda v, eps: torch.log(torch.clamp(v, min=eps)),
    "replace": lambda v, eps: torch.log(torch.where(v > 0, v, eps)),
}
BASES = {"e": 1.0, 2: np.log(2.0), 10: np.log(10.0), 10**0.5: np.log(10.0) / 2}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("mode", LOGS)
def test_log_is_the_formula(mode, base):
    factor, eps = 3.0, 0.02
    scale = ke.Log(factor, eps, base=base, floor_mode=mode)

    def naive(S):
        log = LOGS[mode](factor * S, torch.tensor(eps, dtype=S.dtype))
        return torch.sum(log / BASES[base] * torch.tensor(WEIGHTS))

    assert_equals_torch(weighed(scale), naive, LOW)
    assert_equals_torch(weighed(scale), naive, ZEROS)


def test_the_default_is_korvax_to_the_last_bit():
    S = jnp.asarray(ZEROS, jnp.float32)
    factor, eps = jnp.float32(3.0), jnp.float32(1e-5)
    expected = jax.jit(lambda S: jnp.log(S * factor + eps))(S)
    np.testing.assert_array_equal(jax.jit(ke.Log(3.0, 1e-5))(S), expected)


def test_a_power_inside_the_logarithm_is_another_base():
    """audiotools: log10(max(M, 1e-5)^2)."""
    with jax.enable_x64(True):
        actual = ke.Log(eps=1e-5, base=10**0.5, floor_mode="clip")(jnp.asarray(ZEROS))
    close(actual, np.log10(np.maximum(ZEROS, 1e-5) ** 2), 1e-14)


def test_an_epsilon_may_be_learned_where_it_is_used():
    scale = ke.Log(eps=jnp.asarray(0.5), floor_mode="clip")
    gradient = jax.grad(lambda scale: jnp.sum(scale(jnp.asarray([[0.1, 2.0]]))))(scale)
    close(gradient.eps, 2.0, 1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("mode", LOGS)
def test_log_is_finite_at_silence_and_next_to_it(mode, dtype):
    tiny = float(jnp.finfo(dtype).tiny)
    S = np.array([[0.0, tiny / 8, tiny, 1e-30]])
    scale = ke.Log(eps=1e-5, floor_mode=mode)
    value, (gradient,) = value_and_grads(lambda S: jnp.sum(scale(S)), [S], dtype)
    assert np.isfinite(value) and np.all(np.isfinite(gradient))
    expected = {"add": 1e5, "clip": 0.0, "replace": 0.0}[mode]
    close(gradient[0, 0], expected, 1e-6)


@pytest.mark.parametrize("mode", LOGS)
def test_nan_stays(mode):
    scale = ke.Log(floor_mode=mode)
    assert jnp.isnan(scale(jnp.asarray([[jnp.nan, 1.0]]))).tolist() == [[True, False]]
    assert jnp.isnan(ke.Power(0.3)(jnp.asarray([[jnp.nan, 1.0]])))[0, 0]


@pytest.mark.parametrize("exponent", [0.3, 0.5, 1, 1.5, 2, 3.0])
def test_power_is_the_formula(exponent):
    def naive(S):
        return torch.sum(S**exponent * torch.tensor(WEIGHTS))

    assert_equals_torch(weighed(ke.Power(exponent)), naive, SPECTRA)
    if exponent >= 1:
        assert_equals_torch(weighed(ke.Power(exponent)), naive, ZEROS)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("exponent", [0.01, 0.3, 0.5])
def test_roots_have_derivative_0_at_0(exponent, dtype):
    tiny = float(jnp.finfo(dtype).tiny)
    S = np.array([[0.0, tiny / 8, tiny, 1e-30]])
    scale = ke.Power(exponent)
    value, (gradient,) = value_and_grads(lambda S: jnp.sum(scale(S)), [S], dtype)
    assert np.isfinite(value) and np.all(np.isfinite(gradient))
    assert gradient[0, 0] == 0 and gradient[0, 3] > 0


def test_an_exponent_may_be_learned():
    def ours(S, p):
        return jnp.sum(ke.Power(p)(S) * jnp.asarray(WEIGHTS, S.dtype))

    def naive(S, p):
        return torch.sum(S**p * torch.tensor(WEIGHTS))

    assert_equals_torch(ours, naive, SPECTRA, np.asarray(0.4))
    gradient = jax.grad(ours, argnums=1)(jnp.asarray(ZEROS, jnp.float32), 0.4)
    assert jnp.isfinite(gradient)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ke.Log(base=1), r"`Log\(base=...\)` must be 'e' or a number above 1."),
        (lambda: ke.Log(base="2"), r"`Log\(base=...\)` must be 'e' or"),
        (lambda: ke.Log(base=True), r"`Log\(base=...\)` must be 'e' or"),
        (
            lambda: ke.Log(floor_mode="clamp"),
            r"`Log\(floor_mode=...\)` must be one of 'add'",
        ),
        (lambda: ke.Power(0), r"`Power\(exponent=...\)` must be positive. Got 0"),
        (lambda: ke.Power("2"), r"`Power\(exponent=...\)` must be a finite real"),
        (lambda: ke.Power(jnp.ones(2)), r"`Power\(exponent=...\)` must be a real flo"),
    ],
)
def test_refused(make, message):
    with refused(message):
        make()
