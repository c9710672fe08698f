"""Ratios with a limit, silent targets, and the weighted ratio of a mixture.

Against independent formulas in NumPy's float64, and packages where these are installed.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import refused
from oracle import relative_error
from packages import assert_agrees, package

import korvax_eqx as ke

RNG = np.random.default_rng(0)
N = 2000
# Three sources of which one is silent, and a mixture that has noise besides them.
Y = 0.1 * RNG.standard_normal((2, 3, N))
Y[:, 1] = 0
X = 0.9 * Y + 0.02 * RNG.standard_normal(Y.shape)
NOISE = 0.05 * RNG.standard_normal((2, 1, N))
MIXTURE = Y.sum(1, keepdims=True) + NOISE
LAST = np.concatenate([Y, MIXTURE], 1)


def energy(x):
    return np.sum(x**2, -1)


def with_last(x):
    """Estimates beside something that is not to be read."""
    return np.concatenate([x, np.full_like(MIXTURE, 7.0)], 1)


def in_double(loss, x, y):
    """Value and gradient for the estimate."""
    with jax.enable_x64(True):
        both = jax.jit(jax.value_and_grad(loss))(jnp.asarray(x), jnp.asarray(y))
    return jax.tree.map(np.asarray, both)


# ------------------------------------------------------------------------ the limit


def by_formula(name, mode, x, y, u, eps, max_db, silent_max_db):
    """Of each source, without centring."""
    product, power = np.sum(x * y, -1), energy(y)
    alpha = (product + eps) / (power + eps) if mode == "both" else product
    if mode == "denominator":
        alpha = product / (power + eps)
    if mode == "relative":
        alpha = product / np.where(power > 0, power, 1)
    t = alpha[..., None] * y
    signal = power if name == "SNRLoss" else energy(t)
    error = energy(x - (t if name == "SISDRLoss" else y))
    silent = power <= 1e-16 * energy(u)
    signal = np.where(silent, energy(u), signal)
    tau = 10 ** (-np.where(silent, silent_max_db, max_db) / 10)
    error = error + tau * signal
    if mode == "denominator":
        return -10 * np.log10(signal / (error + eps) + eps)
    floor = eps * (signal + error) if mode == "relative" else eps
    return -10 * np.log10((signal + floor) / (error + floor))


@pytest.mark.parametrize("mixture", ["sum", "last"])
@pytest.mark.parametrize("mode", ["denominator", "both", "relative"])
@pytest.mark.parametrize("name", ["SNRLoss", "SISDRLoss", "SDSDRLoss"])
def test_a_limit_is_the_formula(name, mode, mixture):
    loss = getattr(ke, name)(
        False,
        1e-7,
        eps_mode=mode,
        max_db=25.0,
        mixture=mixture,
        silent_max_db=15.0,
    )
    is_last = mixture == "last"
    u = MIXTURE if is_last else Y.sum(1, keepdims=True)
    x, y = (with_last(X), LAST) if is_last else (X, Y)
    value, gradient = in_double(loss, x, y)
    expected = by_formula(name, mode, X, Y, u, 1e-7, 25.0, 15.0).mean()
    assert relative_error(value, expected) < 1e-12
    assert np.all(np.isfinite(gradient)) and np.any(gradient[:, 1])
    if is_last:
        assert not np.any(gradient[:, -1])


@pytest.mark.parametrize("name", ["SNRLoss", "SISDRLoss", "SDSDRLoss"])
def test_nothing_is_better_than_the_limit(name):
    loss = getattr(ke, name)(eps=1e-30, max_db=30.0)
    value, gradient = in_double(loss, Y[:, ::2], Y[:, ::2])
    np.testing.assert_allclose(value, -30.0, rtol=1e-12)
    assert np.max(np.abs(gradient)) < 1e-9


def test_silence_is_measured_by_its_mixture():
    """Perfect silence is the limit; a leak as strong as the mixture is 0 dB."""
    loss = ke.SNRLoss(False, mixture="last", max_db=30.0, silent_max_db=20.0)
    y = LAST[:1, 1:2] * 0
    pair = np.concatenate([y, MIXTURE[:1]], 1)
    for leak, expected in ((0.0, -20.0), (1.0, 10 * np.log10(1 + 0.01))):
        x = np.concatenate([leak * MIXTURE[:1], MIXTURE[:1]], 1)
        np.testing.assert_allclose(in_double(loss, x, pair)[0], expected, rtol=1e-6)


@pytest.mark.parametrize("mode", ["both", "relative"])
@pytest.mark.parametrize("name", ["SNRLoss", "SISDRLoss", "SDSDRLoss"])
def test_a_mixture_that_is_not_finite_makes_all_nan(name, mode):
    limits = {"max_db": 30.0, "silent_max_db": 20.0}
    loss = getattr(ke, name)(eps_mode=mode, mixture="last", **limits)
    both = jax.jit(jax.vmap(jax.value_and_grad(loss)))
    y = jnp.asarray(LAST[:, 2:, :300], jnp.float32)
    x = jnp.asarray(with_last(X)[:, 2:, :300], jnp.float32)
    for bad in (jnp.nan, jnp.inf):
        value, gradient = both(x, y.at[1, 1, 5].set(bad))
        np.testing.assert_array_equal(np.isnan(value), [False, True])
        np.testing.assert_array_equal(np.isnan(gradient[:, 0]).all(-1), [False, True])


def test_gradient_is_that_of_sound_separation():
    """Its loss of a source is 10 log10 of the error and a floor, without a ratio."""
    eps = 1e-8
    loss = ke.SNRLoss(
        False, eps, eps_mode="both", max_db=30.0, mixture="last", silent_max_db=20.0
    )
    value, gradient = in_double(loss, with_last(X), LAST)
    silent = energy(Y) == 0
    reference = np.where(silent, energy(MIXTURE), energy(Y))
    floor = np.where(silent, 1e-2, 1e-3) * reference
    inside = energy(X - Y) + floor + eps
    theirs = 10 * np.log10(inside)
    shifted = theirs - 10 * np.log10(reference + eps)
    assert relative_error(value, shifted.mean()) < 1e-12
    slope = 20 / np.log(10) * (X - Y) / inside[..., None] / silent.size
    assert relative_error(gradient[:, :3], slope) < 1e-12


def test_equals_torch_l1_snr_of_squares():
    """Its `L2SNRLoss`: means in place of sums, so that epsilon is N times as large."""
    theirs = package("torch_l1_snr").L2SNRLoss("loss", eps=1e-6, tau=1e-3)
    ours = ke.SNRLoss(False, N * 1e-6, eps_mode="both", max_db=30.0)
    assert_agrees(ours, theirs, X[:, 0], Y[:, 0], double=1e-12)


@pytest.mark.parametrize("name", ["SNRLoss", "SISDRLoss", "SDSDRLoss"])
def test_limits_that_are_refused(name):
    make = getattr(ke, name)
    with refused(rf"`{name}\(max_db=...\)` must be positive"):
        make(max_db=0.0)
    with refused(rf"`{name}\(mixture=...\)` must be one of 'target', 'sum', 'last'"):
        make(mixture="first")
    with refused(rf'`{name}\(silent_max_db=...\)` must be None with `mixture="target"'):
        make(silent_max_db=20.0)
    with refused("at least two entries"):
        make(mixture="last")(jnp.ones((1, 9)), jnp.ones((1, 9)))


# ---------------------------------------------------------------------------- wSDR


def wsdr(x, y, u, eps=1e-8):
    def cosine(a, b):
        return np.sum(a * b, -1) / (np.sqrt(energy(a) * energy(b)) + eps)

    alpha = energy(y) / (energy(y) + energy(u - y) + eps)
    return -alpha * cosine(x, y) - (1 - alpha) * cosine(u - x, u - y)


@pytest.mark.parametrize("scale", [1.0, 1e-4])
@pytest.mark.parametrize("mixture", ["sum", "last"])
def test_wsdr_is_the_formula(mixture, scale):
    x, y, u = scale * X, scale * Y, scale * MIXTURE
    pair = with_last(x), scale * LAST
    if mixture == "sum":
        u, pair = y.sum(1, keepdims=True), (x, y)
    value, gradient = in_double(ke.WSDRLoss(mixture), *pair)
    assert relative_error(value, wsdr(x, y, u).mean()) < 1e-12
    step = np.zeros_like(pair[0])
    step[:, :3] = 1e-6 * scale * RNG.standard_normal(X.shape)
    change = wsdr(x + step[:, :3], y, u).mean() - wsdr(x - step[:, :3], y, u).mean()
    np.testing.assert_allclose(2 * np.sum(gradient * step), change, rtol=1e-6)


def test_wsdr_is_the_project():
    """As DeepComplexUNetPyTorch writes it, of one channel, with its gradient."""
    torch = pytest.importorskip("torch")
    x, y, u = X[:, :1], Y[:, :1], MIXTURE

    def theirs(x, y):
        z, z_hat = torch.tensor(u) - y, torch.tensor(u) - x
        norms = [torch.linalg.vector_norm(s, dim=-1) for s in (y, z, x, z_hat)]
        of_y = (y * x).sum(-1) / (norms[0] * norms[2] + 1e-8)
        of_z = (z * z_hat).sum(-1) / (norms[1] * norms[3] + 1e-8)
        alpha = norms[0] ** 2 / (norms[0] ** 2 + norms[1] ** 2 + 1e-8)
        return (-alpha * of_y - (1 - alpha) * of_z).mean()

    def ours(x, y):
        u_ = jnp.asarray(u, x.dtype)
        pair = (jnp.concatenate([s, u_], 1) for s in (x, y))
        return ke.WSDRLoss()(*pair)

    assert_agrees(ours, lambda x, y: theirs(x, y), x, y, double=1e-13)


def test_wsdr_without_a_rest_is_a_cosine():
    value, _ = in_double(ke.WSDRLoss("target"), X[:, 0], Y[:, 0])
    expected = wsdr(X[:, 0], Y[:, 0], Y[:, 0]).mean()
    assert relative_error(value, expected) < 1e-12
    best, gradient = in_double(ke.WSDRLoss(), LAST, LAST)
    # A silent source has the cosine of the rest alone.
    np.testing.assert_allclose(best, -1, atol=1e-7)
    assert np.max(np.abs(gradient)) < 1e-6


def test_wsdr_refusals():
    with refused(r"`WSDRLoss\(eps=...\)` must be positive"):
        ke.WSDRLoss(eps=0.0)
    with refused(r"`WSDRLoss\(mixture=...\)` must be one of"):
        ke.WSDRLoss("noise")
