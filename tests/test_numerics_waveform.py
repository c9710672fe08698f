"""Distances in time against their formulas and the packages they come from.

The formulas are written out in NumPy, for one signal; auraloss, torchmetrics and
torch-l1-snr are asked where they are installed, for values and gradients.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import assert_close
from packages import package

from korvax_eqx._numerics import _waveform as waveform

RNG = np.random.default_rng(0)
N = 400
# An offset, so that taking the mean away makes a difference; one estimate that is
# nearly right, and one that is too loud.
Y = RNG.standard_normal((3, 2, N)) + 0.3
X = np.array([0.8, 1.0, 2.5])[:, None, None] * Y + np.array([0.5, 1e-2, 0.2])[
    :, None, None
] * (RNG.standard_normal((3, 2, N)) - 0.1)
EPS = 1e-8


# ---------------------------------------------------------------- the formulas


def esr(x, y):
    return np.sum((y - x) ** 2) / (np.sum(y**2) + EPS)


def dc(x, y):
    return np.mean(y - x) ** 2 / (np.mean(y**2) + EPS)


def log_cosh(x, y, a=1.0):
    return np.mean(np.log(np.cosh(a * (x - y)) + EPS)) / a


def decibels(signal, error):
    return -10 * np.log10(np.sum(signal**2) / (np.sum(error**2) + EPS) + EPS)


def snr(x, y, zero_mean=True):
    if zero_mean:
        x, y = x - x.mean(), y - y.mean()
    return decibels(y, x - y)


def si_sdr(x, y, zero_mean=True):
    if zero_mean:
        x, y = x - x.mean(), y - y.mean()
    t = np.sum(x * y) / (np.sum(y**2) + EPS) * y
    return decibels(t, x - t)


def sd_sdr(x, y, zero_mean=True):
    if zero_mean:
        x, y = x - x.mean(), y - y.mean()
    return decibels(np.sum(x * y) / (np.sum(y**2) + EPS) * y, x - y)


def l1_snr(x, y):
    ratio = (np.mean(np.abs(x - y)) + 1e-3) / (np.mean(np.abs(y)) + 1e-3)
    return 10 * np.log10(ratio)


def level_penalty(x, y):
    level_x, level_y = (20 * np.log10(np.sqrt(np.mean(s**2) + EPS)) for s in (x, y))
    difference = abs(level_x - level_y)
    weight = 0.1
    if level_y > max(level_x, -60):
        weight += 0.9 * min(difference / (level_y + 60), 1)
    return weight * difference


WITH_MEAN = {"zero_mean": False}
CASES = {
    "l1": (waveform.waveform_l1, lambda x, y: np.mean(np.abs(x - y))),
    "l2": (waveform.waveform_l2, lambda x, y: np.mean((x - y) ** 2)),
    "esr": (waveform.error_to_signal, esr),
    "dc": (waveform.dc_error, dc),
    "log-cosh": (waveform.log_cosh, log_cosh),
    "log-cosh-5": (
        functools.partial(waveform.log_cosh, a=5.0),
        functools.partial(log_cosh, a=5.0),
    ),
    "snr": (waveform.snr, snr),
    "snr-mean": (
        functools.partial(waveform.snr, **WITH_MEAN),
        functools.partial(snr, **WITH_MEAN),
    ),
    "si-sdr": (waveform.si_sdr, si_sdr),
    "si-sdr-mean": (
        functools.partial(waveform.si_sdr, **WITH_MEAN),
        functools.partial(si_sdr, **WITH_MEAN),
    ),
    "sd-sdr": (waveform.sd_sdr, sd_sdr),
    "sd-sdr-mean": (
        functools.partial(waveform.sd_sdr, **WITH_MEAN),
        functools.partial(sd_sdr, **WITH_MEAN),
    ),
    "l1-snr": (waveform.l1_snr, l1_snr),
    "level": (waveform.level_penalty, level_penalty),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def by_formula(formula, x, y):
    values = np.empty(x.shape[:-1])
    for index in np.ndindex(*values.shape):
        values[index] = formula(x[index], y[index])
    return values


@functools.cache
def with_gradients(fn):
    """Values of all rows, and the gradients of their sum, compiled."""

    def run(x, y, n):
        values, pullback = jax.vjp(lambda x, y: fn(x, y, n), x, y)
        return values, *pullback(jnp.ones_like(values))

    def call(x, y, n):
        return jitted(x, y, n) if isinstance(n, int) else jitted_lengths(x, y, n)

    jitted, jitted_lengths = jax.jit(run, static_argnums=2), jax.jit(run)
    return call


def test_values_are_the_formulas(case):
    fn, formula = case
    expected = by_formula(formula, X, Y)
    with jax.enable_x64(True):
        got = fn(jnp.asarray(X), jnp.asarray(Y), N)
        assert got.shape == (3, 2) and got.dtype == jnp.float64
        assert_close(got, expected, 1e-12)
    single = fn(jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32), N)
    assert single.dtype == jnp.float32
    assert_close(single, expected, 1e-5)


# Not the level's: its weight counts as a constant, as in the package it is from.
@pytest.mark.parametrize("name", [name for name in CASES if name != "level"])
def test_gradients_are_those_of_the_formulas(name):
    """By central differences of the formula along random directions, row by row."""
    fn, formula = CASES[name]
    u, v = RNG.standard_normal((2, *X.shape))
    # None of the absolute values has its kink within the steps.
    u, v = (np.where(np.abs(Y) < 1e-4, 0, s) for s in (u, v))
    u = np.where(np.abs(X - Y) < 1e-4, v, u)
    step = 1e-6

    def moved(t):
        return by_formula(formula, X + t * u, Y + t * v)

    expected = (
        8 * (moved(step) - moved(-step)) - moved(2 * step) + moved(-2 * step)
    ) / (12 * step)
    with jax.enable_x64(True):
        _, dx, dy = with_gradients(fn)(jnp.asarray(X), jnp.asarray(Y), N)
        slopes = np.sum(np.asarray(dx) * u + np.asarray(dy) * v, axis=-1)
    assert_close(slopes, expected, 1e-7)


def test_padding_is_as_if_it_were_not_there(case):
    fn, _ = case
    lengths = np.array([[N, 57], [5, 200], [399, 128]])
    is_valid = np.arange(N + 50) < lengths[..., None]
    pad = [(0, 0), (0, 0), (0, 50)]
    with jax.enable_x64(True):
        x, y = (jnp.asarray(np.where(is_valid, np.pad(s, pad), 0.0)) for s in (X, Y))
        together = with_gradients(fn)(x, y, jnp.asarray(lengths, jnp.float64))
        for index in [(0, 1), (1, 0), (2, 1)]:
            n = int(lengths[index])
            short = [jnp.asarray(s[index][:n]) for s in (X, Y)]
            expected = with_gradients(fn)(*short, n)
            alone = with_gradients(fn)(x[index], y[index], n)
            for value, *gradients in (alone, [one[index] for one in together]):
                assert_close(value, expected[0], 1e-12)
                cut = [gradient[:n] for gradient in gradients]
                assert_close(cut, list(expected[1:]), 1e-11)


def test_a_row_of_no_samples_is_finite(case):
    fn, _ = case
    zeros, counts = jnp.zeros((2, 8)), jnp.zeros(2)
    values, pullback = jax.vjp(lambda x, y: fn(x, y, counts), zeros, zeros)
    assert np.all(np.isfinite(values))
    assert all(np.all(np.isfinite(g)) for g in pullback(jnp.ones(2)))


def test_vmap_is_a_loop(case):
    fn, _ = case
    with jax.enable_x64(True):
        x, y = jnp.asarray(X), jnp.asarray(Y)
        counts = jnp.full((3, 2), float(N))
        assert_close(jax.vmap(fn)(x, y, counts), fn(x, y, N), 1e-12)


# ------------------------------------------------------------------- extremes

TIME = np.arange(2000) / 8000
SIGNALS = {
    "silence": np.zeros(2000),
    "noise": RNG.standard_normal(2000),
    "tiny": 1e-20 * RNG.standard_normal(2000),
    "huge": 1e15 * RNG.standard_normal(2000),
    "sine": np.sin(2 * np.pi * 161.3 * TIME),
    "constant": np.full(2000, 0.5),
    "click": np.eye(1, 2000, 1000)[0],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_at_extremes(case, dtype):
    fn, _ = case
    with jax.enable_x64(dtype == "float64"):
        pairs = [(a, b) for a in SIGNALS for b in SIGNALS]
        x = jnp.asarray(np.stack([SIGNALS[a] for a, _ in pairs]), dtype)
        y = jnp.asarray(np.stack([SIGNALS[b] for _, b in pairs]), dtype)
        values, dx, dy = with_gradients(fn)(x, y, 2000)
        for i, pair in enumerate(pairs):
            assert np.isfinite(values[i]), pair
            assert np.all(np.isfinite(dx[i])) and np.all(np.isfinite(dy[i])), pair


def test_single_precision_is_right_at_extremes(case):
    """Wherever the numbers fit: nothing overflows inside, and no gradient is lost.

    Gradients relative to the larger of the two of a pair: where one is 0 or nearly so,
    it is a difference of numbers of the other's size.
    """
    fn, _ = case
    pairs = [(a, b) for a in SIGNALS for b in SIGNALS]
    x = np.stack([SIGNALS[a] for a, _ in pairs]).astype(np.float32)
    y = np.stack([SIGNALS[b] for _, b in pairs]).astype(np.float32)
    narrow = with_gradients(fn)(jnp.asarray(x), jnp.asarray(y), 2000)
    with jax.enable_x64(True):
        wide = with_gradients(fn)(jnp.asarray(x, float), jnp.asarray(y, float), 2000)
    narrow, wide = ([np.asarray(one, float) for one in both] for both in (narrow, wide))
    n_compared = 0
    for i, pair in enumerate(pairs):
        value, expected = narrow[0][i], wide[0][i]
        # Beyond, its quotient by an epsilon of 1e-8, the slope, does not fit.
        if abs(expected) > 1e29:
            continue
        # The least that single precision can tell of a ratio near 1 is 5e-7 dB.
        assert abs(value - expected) <= 1e-5 * abs(expected) + 2e-6, pair
        got, expected = (np.stack([g[i] for g in both[1:]]) for both in (narrow, wide))
        size = np.max(np.abs(expected))
        # Smaller ones are products of energies that single precision takes for 0.
        if 1e-18 < size < 1e36:
            n_compared += 1
            assert np.max(np.abs(got - expected)) <= 1e-4 * size, pair
    assert n_compared >= 16


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_cosh_is_stable(dtype):
    """To the last digits at differences of 1e-10 and of 1e30, and twice
    differentiable; the exact value in extended precision."""
    fn = functools.partial(waveform.log_cosh, eps=0.0)
    with jax.enable_x64(dtype == "float64"):
        sizes = [1e-10, 1e-4, 0.1, 0.999, 1.0, 20.0, 89.0, 1e4, 1e30]
        x = jnp.asarray([sizes, [-size for size in sizes]], dtype).reshape(-1, 1)
        zero = jnp.zeros(1, dtype)
        value, slope, _ = with_gradients(fn)(x, jnp.zeros_like(x), 1)
        second = jax.vmap(jax.hessian(lambda x: fn(x, zero, 1)))(x).reshape(-1)
        d = np.abs(np.asarray(x, np.longdouble)[:, 0])
        near = np.log1p(2 * np.sinh(np.minimum(d, 2) / 2) ** 2)
        far = d + np.log1p(np.exp(-2 * d)) - np.log(np.longdouble(2))
        exact = np.where(d < 1, near, far)
        # Of XLA's hyperbolic sine alone 4 units in the last place.
        tolerance = 8 * float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(value, exact.astype(float), rtol=tolerance)
        expected = np.tanh(np.asarray(x, float))
        np.testing.assert_allclose(slope, expected, rtol=tolerance)
        expected = 1 / np.cosh(np.minimum(d, 300.0).astype(float)) ** 2
        np.testing.assert_allclose(second, expected, atol=2 * tolerance)


def test_log_cosh_of_equal_signals_is_what_epsilon_adds():
    value = waveform.log_cosh(jnp.ones(5), jnp.ones(5), 5, a=2.0)
    assert value == pytest.approx(0.5 * np.log1p(1e-8), rel=1e-6)


def test_learnable_factor_of_log_cosh():
    with jax.enable_x64(True):
        x, y = jnp.asarray(X[0, 0]), jnp.asarray(Y[0, 0])
        slope = jax.grad(lambda a: waveform.log_cosh(x, y, N, a))(jnp.asarray(1.3))
        up, down = (log_cosh(X[0, 0], Y[0, 0], 1.3 + t) for t in (1e-5, -1e-5))
        assert slope == pytest.approx((up - down) / 2e-5, rel=1e-8)


def test_gradients_where_the_formula_has_none():
    """0 at equal samples and levels, 0 for scale-invariant losses of silence."""
    x = jnp.asarray(X[0, 0], jnp.float32)
    for fn in (waveform.waveform_l1, waveform.l1_snr, waveform.level_penalty):
        assert not np.any(jax.grad(lambda e, fn=fn: fn(e, x, N))(x))
    silence = jnp.zeros_like(x)
    for fn in (waveform.si_sdr, waveform.sd_sdr, waveform.snr):
        assert fn(silence, silence, N) == pytest.approx(80.0, rel=1e-6)


# ------------------------------------------------------------------- packages


def torch_rows(module, x, y):
    """Values of a torch loss for each row alone, and the gradients of their sum."""
    torch = pytest.importorskip("torch")
    x, y = (torch.tensor(s, requires_grad=True) for s in (x, y))
    shape = x.shape[:-1]
    rows = [module(x[i][None], y[i][None]).reshape(()) for i in np.ndindex(*shape)]
    torch.stack(rows).sum().backward()
    values = np.array([row.item() for row in rows]).reshape(shape)
    return values, x.grad.numpy(), y.grad.numpy()


def agree(fn, module, x=X, y=Y, sign=1.0, double=1e-9):
    expected = torch_rows(lambda a, b: sign * module(a, b), x, y)
    with jax.enable_x64(True):
        got = with_gradients(fn)(jnp.asarray(x), jnp.asarray(y), x.shape[-1])
        assert_close(list(got), list(map(jnp.asarray, expected)), double)
    x32, y32 = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    got = with_gradients(fn)(x32, y32, x.shape[-1])
    assert_close(got[0], expected[0], 1e-5)
    for one, other in zip(got[1:], expected[1:], strict=True):
        # The gradient of an estimate that is nearly right is large and ill-conditioned.
        assert_close(one, other, 1e-3)


AURALOSS = {
    "esr": ("ESRLoss", {}),
    "dc": ("DCLoss", {}),
    "log-cosh": ("LogCoshLoss", {}),
    "log-cosh-5": ("LogCoshLoss", {"a": 5.0}),
    "snr": ("SNRLoss", {}),
    "snr-mean": ("SNRLoss", WITH_MEAN),
    "si-sdr": ("SISDRLoss", {}),
    "si-sdr-mean": ("SISDRLoss", WITH_MEAN),
    "sd-sdr": ("SDSDRLoss", {}),
    "sd-sdr-mean": ("SDSDRLoss", WITH_MEAN),
}


@pytest.mark.parametrize("name", AURALOSS)
def test_equals_auraloss(name):
    time = pytest.importorskip("auraloss.time")
    module, arguments = AURALOSS[name]
    agree(CASES[name][0], getattr(time, module)(**arguments))


TORCHMETRICS = {
    "snr": ("signal_noise_ratio", waveform.snr),
    "si-sdr": ("scale_invariant_signal_distortion_ratio", waveform.si_sdr),
}


@pytest.mark.parametrize("zero_mean", [True, False])
@pytest.mark.parametrize("name", TORCHMETRICS)
def test_equals_torchmetrics(name, zero_mean):
    audio = pytest.importorskip("torchmetrics.functional.audio")
    theirs, ours = TORCHMETRICS[name]
    module = functools.partial(getattr(audio, theirs), zero_mean=zero_mean)
    # Its epsilons are elsewhere, and as small as the dtype's.
    agree(functools.partial(ours, zero_mean=zero_mean, eps=1e-15), module, sign=-1.0)


def test_equals_torch_l1_snr():
    module = package("torch_l1_snr")
    agree(waveform.l1_snr, module.L1SNRLoss("l1"))
    # Of an estimate that is too loud, too quiet, and silent; of a silent target.
    scales = np.array([1.5, 0.3, 0.0, 1.0])[:, None]
    x, y = scales * X[0, 0], np.array([1.0, 1.0, 1.0, 1e-4])[:, None] * Y[0, 0]

    def both(x, y, n):
        return waveform.l1_snr(x, y, n) + waveform.level_penalty(x, y, n)

    # It computes with 0.9 in single precision.
    agree(both, module.L1SNRDBLoss("both"), x, y, double=1e-7)
