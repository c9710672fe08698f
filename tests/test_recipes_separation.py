"""Recipes of source separation: against torch-l1-snr and torch-log-wmse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from oracle import relative_error
from packages import assert_agrees, package

import korvax_eqx as ke
from korvax_eqx import recipes
from korvax_eqx._tables._hearing import hearing_taps

RNG = np.random.default_rng(0)
N = 3000
# An estimate that is right but for noise, and one that is too quiet.
Y = 0.3 * RNG.standard_normal((2, N))
X = np.array([1.0, 0.4])[:, None] * Y + 0.05 * RNG.standard_normal((2, N))
X, Y = (a.astype(np.float32).astype(np.float64) for a in (X, Y))
SOURCES = tuple(0.1 * RNG.standard_normal((2, 3, N)) for _ in "xy")
SOURCES = tuple(a.astype(np.float32).astype(np.float64) for a in SOURCES)
# What is float32 in the package: weights of 0.9, windows, taps.
ROUNDED = 2e-7


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"use_regularization": False},
        {"l1_weight": 0.3, "ref_level": 0.1},
        {"l1_weight": 1.0},
        {
            "lambda0": 0.2,
            "delta_lambda": 0.5,
            "lmin": -50.0,
            "reg_coef": 2.0,
            "l1snr_eps": 1e-4,
            "dbrms_eps": 1e-6,
        },
    ],
    ids=str,
)
def test_equals_torch_l1_snr(arguments):
    theirs = package("torch_l1_snr").L1SNRDBLoss("loss", **arguments)
    assert_agrees(recipes.l1snr_db(**arguments), theirs, X, Y, double=ROUNDED)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"use_regularization": True, "spec_reg_coef": 0.5},
        {"l1_weight": 0.3, "use_regularization": True, "spec_ref_level": 0.02},
        {"l1_weight": 1.0},
    ],
    ids=str,
)
def test_equals_torch_l1_snr_of_spectra(arguments):
    theirs = package("torch_l1_snr").STFTL1SNRDBLoss("loss", **arguments).double()
    assert_agrees(recipes.l1snr_db_stft(**arguments), theirs, X, Y, double=ROUNDED)


@pytest.mark.parametrize("arguments", [{}, {"spec_weight": 0.2, "l1_weight": 0.1}])
def test_equals_torch_l1_snr_of_both(arguments):
    theirs = package("torch_l1_snr").MultiL1SNRDBLoss("loss", **arguments).double()
    assert_agrees(recipes.l1snr_db_multi(**arguments), theirs, X, Y, double=ROUNDED)


# Channels that are equally wrong by different amounts.
STEREO = (
    np.array([1.0, 0.4])[:, None] * SOURCES[1][:, :2] + 0.01 * SOURCES[0][:, :2],
    np.array([1.0, 0.2])[:, None] * SOURCES[1][:, :2],
)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("L1SNRDBLoss", {}),
        ("L1SNRDBLoss", {"l1_weight": 0.3}),
        ("STFTL1SNRDBLoss", {"use_regularization": True, "l1_weight": 0.2}),
        ("MultiL1SNRDBLoss", {}),
    ],
    ids=str,
)
def test_equals_torch_l1_snr_of_joined_channels(name, arguments):
    """With the gradient's factor: of shape (batch, channels, time)."""
    theirs = getattr(package("torch_l1_snr"), name)("x", grad_scale=0.25, **arguments)
    recipe = {
        "L1SNRDBLoss": recipes.l1snr_db,
        "STFTL1SNRDBLoss": recipes.l1snr_db_stft,
        "MultiL1SNRDBLoss": recipes.l1snr_db_multi,
    }[name]
    ours = recipe(joined=True, grad_scale=0.25, **arguments)
    assert_agrees(ours, theirs.double(), *STEREO, double=ROUNDED)


def test_joined_channels_by_the_formula():
    x, y = STEREO
    error, size = (np.mean(np.abs(a), (-2, -1)) + 1e-3 for a in (x - y, y))
    expected = np.mean(10 * np.log10(error / size))
    L_x, L_y = (10 * np.log10(np.mean(a**2, (-2, -1)) + 1e-8) for a in (x, y))
    penalty = np.mean(0.1 * np.abs(L_x - L_y))
    with jax.enable_x64(True):
        x, y = jnp.asarray(x), jnp.asarray(y)
        assert relative_error(ke.L1SNRLoss(joined=True)(x, y), expected) < 1e-12
        level = ke.LevelLoss(delta_lambda=0.0, joined=True)
        assert relative_error(level(x, y), penalty) < 1e-12
        lengths = [N, N // 2]
        for loss in (
            recipes.l1snr_db(joined=True),
            recipes.l1snr_db_multi(joined=True),
        ):
            alone = [loss(x[i, :, :n], y[i, :, :n]) for i, n in enumerate(lengths)]
            value = loss(x, y, lengths=jnp.asarray(lengths)[:, None])
            assert relative_error(value, np.mean(alone)) < 1e-12


def test_log_wmse_with_a_smaller_gradient():
    theirs = package("torch_log_wmse").LogWMSELoss(sample_rate=16000, grad_scale=0.1)

    def loss(x, y):
        return theirs(y[:, None], x[:, None, None], y[:, None, None])

    ours = recipes.log_wmse(16000, grad_scale=0.1)
    assert_agrees(ours, loss, X, Y, double=1e-8, gradient=ROUNDED)


def test_level_is_a_part_of_its_own():
    x, y = jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32)
    both = ke.L1SNRLoss(level=True)(x, y)
    parts = ke.L1SNRLoss()(x, y) + ke.LevelLoss()(x, y)
    np.testing.assert_allclose(both, parts, rtol=1e-6)


@pytest.mark.parametrize("is_gradient", [False, True])
def test_l1snr_reads_the_signals_together_and_keeps_nothing_of_their_length(
    is_gradient,
):
    """Also beside parts that are filtered, cut off, or evaluated in pieces."""
    loss = recipes.l1snr_db(l1_weight=0.3)
    x, y = jnp.asarray(np.tile(X, 5), jnp.float32), jnp.asarray(np.tile(Y, 5))
    y = y.astype(jnp.float32)
    fn = jax.jit(jax.value_and_grad(loss) if is_gradient else loss)
    memory = fn.lower(x, y).compile().memory_analysis()
    assert memory.temp_size_in_bytes < x.nbytes / 10
    parts = ke.SumLoss(
        {
            "fused": loss,
            "mapped": ke.MappedLoss(ke.PreEmphasis(), loss),
            "in pieces": ke.SISDRLoss(),
        }
    )
    lengths = jnp.asarray([N, 4 * N])
    value, terms = parts.with_terms(x, y, lengths=lengths)
    np.testing.assert_allclose(value, sum(terms.values()), rtol=1e-6)
    fused = sum(term for name, term in terms.items() if name.startswith("fused"))
    alone = [loss(x[i, :n], y[i, :n]) for i, n in enumerate(map(int, lengths))]
    np.testing.assert_allclose(fused, np.mean(alone), rtol=1e-5)


# --------------------------------------------------------------------- logWMSE


@pytest.mark.parametrize("sr", [44100, 48000, 16000, 8000])
def test_taps_are_those_of_the_package(sr):
    module = package("torch_log_wmse.freq_weighting_filter")
    theirs = module.HumanHearingSensitivityFilter(sr).impulse_response.numpy()
    assert relative_error(hearing_taps(sr), theirs) < 1e-7


def test_equals_torch_log_wmse():
    theirs = package("torch_log_wmse").LogWMSELoss()

    def loss(x, y):  # of one channel and one source
        return theirs(y[:, None], x[:, None, None], y[:, None, None])

    assert_agrees(recipes.log_wmse(), loss, X, Y, double=1e-8, gradient=ROUNDED)


def test_equals_torch_log_wmse_of_a_mixture():
    theirs = package("torch_log_wmse").LogWMSELoss(sample_rate=16000)

    def of_sum(x, y):
        return theirs(y.sum(1, keepdim=True), x[:, None], y[:, None])

    def of_last(x, y):
        return theirs(y[:, 2:], x[:, None, :2], y[:, None, :2])

    for mixture, loss in (("sum", of_sum), ("last", of_last)):
        ours = recipes.log_wmse(16000, mixture=mixture)
        assert_agrees(ours, loss, *SOURCES, double=1e-8, gradient=ROUNDED)


@pytest.mark.parametrize("p", [0.5, 1.0, 6.0])
def test_equals_torch_log_wmse_of_a_generalised_mean(p):
    """Of sources that are wrong by very different amounts, one of them not at all."""
    theirs = package("torch_log_wmse").LogWMSELoss(sample_rate=16000, p=p)
    errors = np.array([1.0, 1e-2, 0.0])[:, None] * SOURCES[0]
    y = SOURCES[1]

    def of_sum(x, y):
        return theirs(y.sum(1, keepdim=True), x[:, None], y[:, None])

    ours = recipes.log_wmse(16000, mixture="sum", p=p)
    assert_agrees(ours, of_sum, y + errors, y, double=1e-7, gradient=ROUNDED)


def test_generalised_mean_is_the_formula():
    """From the mean of logarithms at 0 to the worst source at a large exponent."""
    y = SOURCES[1]
    x = y + np.array([1.0, 1e-2, 1e-4])[:, None] * SOURCES[0]
    power = np.mean(y.sum(1, keepdims=True) ** 2, -1)
    errors = np.mean((x - y) ** 2, -1) / power + 1e-8
    with jax.enable_x64(True):
        pair = jnp.asarray(x), jnp.asarray(y)
        for p in (0.0, 1e-3, 0.5, 2.0, 400.0):
            value = ke.LogWMSELoss([1.0], "sum", p=p)(*pair)
            if p == 0:
                expected = np.mean(4 * np.log(errors))
            elif p == 400:  # whose powers are out of range
                expected = np.mean(4 * np.log(errors.max(-1))) - 4 * np.log(3) / p
            else:
                means = np.mean(errors**p, -1) ** (1 / p)
                expected = np.mean(4 * np.log(means))
            assert relative_error(value, expected) < 1e-10
        # Every target as its own mixture, and still one mean over the sources.
        own = np.mean((x - y) ** 2, -1) / np.mean(y**2, -1) + 1e-8
        value = ke.LogWMSELoss([1.0], p=2.0)(*pair)
        expected = np.mean(2 * np.log(np.mean(own**2, -1)))
        assert relative_error(value, expected) < 1e-10


def test_equals_torch_log_wmse_with_a_response():
    torch = pytest.importorskip("torch")
    taps = RNG.standard_normal(50)
    theirs = package("torch_log_wmse").LogWMSELoss(
        sample_rate=16000,
        impulse_response=torch.tensor(taps, dtype=torch.float32),
        impulse_response_sample_rate=22050,
    )
    ours = recipes.log_wmse(
        16000, impulse_response=taps, impulse_response_sample_rate=22050
    )

    def loss(x, y):
        return theirs(y[:, None], x[:, None, None], y[:, None, None])

    assert_agrees(ours, loss, X, Y, double=1e-7, gradient=ROUNDED)


def test_equals_torch_log_wmse_without_filter():
    theirs = package("torch_log_wmse").LogWMSELoss(bypass_filter=True)

    def loss(x, y):
        return theirs(y[:, None], x[:, None, None], y[:, None, None])

    ours = recipes.log_wmse(bypass_filter=True)
    assert_agrees(ours, loss, X, Y, double=1e-12)


@pytest.mark.parametrize("mixture", ["target", "sum"])
def test_threshold_is_that_of_the_original(mixture):
    """As in log-wmse-audio-quality: filtered to the signals' length, then a gate."""
    x, y = SOURCES[0][0], SOURCES[1][0]
    x = y + 4e-4 * x  # about -68 dB: some samples are dropped, and some are not
    h = np.asarray(hearing_taps(44100))

    def filtered(a):
        return scipy.signal.oaconvolve(a, h[None], "same", axes=-1)

    u = y if mixture == "target" else y.sum(0, keepdims=True)
    d = filtered(x - y) / np.sqrt(np.mean(filtered(u) ** 2, -1, keepdims=True))
    is_gated = np.abs(d) < 10 ** (-68 / 20)
    assert 0.05 < is_gated.mean() < 0.95
    desired = np.mean(4 * np.log(np.mean(np.where(is_gated, 0, d) ** 2, -1) + 1e-8))
    with jax.enable_x64(True):
        loss = recipes.log_wmse(mixture=mixture, error_tolerance_db=-68.0)
        value = loss(jnp.asarray(x), jnp.asarray(y))
    assert relative_error(value, desired) < 1e-10


def test_silence_is_a_number():
    """Also a silent source of a mixture that is not silent."""
    loss = recipes.log_wmse(16000, mixture="sum")
    y = jnp.zeros((2, N)).at[1].set(jnp.asarray(Y[0], jnp.float32))
    x = jnp.asarray(SOURCES[0][0, :2], jnp.float32)
    for a, b in ((x, y), (y, y), (0 * y, y), (x, 0 * y), (0 * y, 0 * y)):
        value, gradient = jax.value_and_grad(loss)(a, b)
        assert jnp.isfinite(value) and jnp.all(jnp.isfinite(gradient))
    np.testing.assert_allclose(loss(y, y), 4 * np.log(1e-8), rtol=1e-6)
    np.testing.assert_allclose(loss(0 * y, 0 * y), 4 * np.log(1e-8), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: recipes.l1snr_db(l1_weight=2), r"`l1snr_db\(l1_weight=...\)` must be"),
        (lambda: recipes.l1snr_db(dbrms_eps=-1.0), r"`l1snr_db\(dbrms_eps="),
        (lambda: recipes.l1snr_db(l1snr_eps=0.0), r"`l1snr_db\(l1snr_eps="),
        (lambda: recipes.l1snr_db(lmin="a"), r"`l1snr_db\(lmin="),
        (lambda: recipes.l1snr_db_stft(window_fn="x"), r"`l1snr_db_stft\(window_fn="),
        (lambda: recipes.l1snr_db_stft(n_ffts=(8,)), r"`l1snr_db_stft\(hop_lengths="),
        (
            lambda: recipes.l1snr_db_multi(use_time_regularization=3),
            r"`l1snr_db_multi\(use_time_regularization=",
        ),
        (lambda: recipes.l1snr_db_multi(dbrms_eps=-1), r"`l1snr_db_multi\(dbrms_eps="),
        (lambda: recipes.log_wmse(0), r"`log_wmse\(sample_rate="),
        (lambda: recipes.log_wmse(mixture="x"), r"`log_wmse\(mixture="),
        (lambda: recipes.l1snr_db(joined=2), r"`l1snr_db\(joined=...\)` must be"),
        (lambda: recipes.l1snr_db(grad_scale=0), r"`l1snr_db\(grad_scale=...\)` must"),
        (lambda: recipes.log_wmse(grad_scale=-1), r"`log_wmse\(grad_scale=...\)` mus"),
        (lambda: recipes.log_wmse(p=-1.0), r"`log_wmse\(p=...\)` must be non-neg"),
        (lambda: recipes.log_wmse(impulse_response=[]), r"`log_wmse\(impulse_respons"),
        (lambda: recipes.log_wmse(error_tolerance_db="a"), r"`log_wmse\(error_toler"),
        (
            lambda: recipes.log_wmse(48000, impulse_response=jnp.ones(3)),
            r"`log_wmse\(impulse_response=...\)` must be at the sample rate",
        ),
        (
            lambda: recipes.log_wmse(mixture="last")(
                jnp.ones((1, 9)), jnp.ones((1, 9))
            ),
            "at least two entries",
        ),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
