"""Recipes of flamo and of cels-audio, against the packages."""

import functools
import importlib.metadata
import importlib.util
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from formulas import assert_is, torch_stft
from naive import refused
from packages import assert_agrees, package
from recipes_numpy import decay_curve, flamo_edc, flamo_edr

import korvax_eqx as ke
from korvax_eqx import recipes
from korvax_eqx._time_domain._energy_decay import n_kept

RNG = np.random.default_rng(0)
X, Y = (0.3 * RNG.standard_normal((2, 3000)) for _ in "xy")
X, Y = (a.astype(np.float32).astype(np.float64) for a in (X, Y))
SIZES = (64, 128, 256)


# ------------------------------------------------------------------------ flamo


@pytest.fixture
def flamo(monkeypatch):
    """Its module of losses alone: the package imports much that is of no use here."""
    features = package("nnAudio.features")
    files = importlib.metadata.files("flamo") if _has("flamo") else None
    if not files:
        pytest.skip("flamo is not installed")
    names: dict[str, tuple[str, ...]] = {
        "flamo": (),
        "flamo.optimize": (),
        "flamo.optimize.utils": ("generate_partitions",),
        "flamo.processor": (),
        "flamo.processor.dsp": ("HouseholderMatrix",),
        "pyfar": (),
    }
    for name, contents in names.items():
        module = types.ModuleType(name)
        module.__path__ = []
        for content in contents:
            setattr(module, content, None)
        monkeypatch.setitem(sys.modules, name, module)
    (path,) = (f.locate() for f in files if f.as_posix() == "flamo/optimize/loss.py")
    spec = importlib.util.spec_from_file_location("flamo.optimize.loss", str(path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stft = features.stft.STFT
    # The bins of the DFT, see the recipe.
    monkeypatch.setattr(
        features.stft, "STFT", lambda **k: stft(**{**k, "freq_scale": "no"})
    )
    return module


def _has(name):
    return importlib.util.find_spec(name) is not None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("arguments", "gradient"),
    [
        ({}, 1e-6),
        ({"overlap": 0.5}, 1e-6),
        # nnAudio's tables are in float32, which a logarithm magnifies.
        ({"log_term": True, "alpha": 0.5}, 1e-3),
        ({"form": "yamamoto", "alpha": 0.0}, 1e-6),
        ({"form": "yamamoto"}, 1e-3),
        ({"form": "magenta", "alpha": 2.0}, 1e-3),
    ],
    ids=str,
)
def test_equals_flamo(flamo, arguments, gradient):
    loss = flamo.mss_loss(nfft=list(SIZES), **arguments)

    def theirs(x, y):  # shape (batch, samples, channels), of one signal
        return loss(x[..., None], y[..., None])

    ours = recipes.flamo_mss(nfft=SIZES, **arguments)
    assert_agrees(ours, theirs, X[:1], Y[:1], double=1e-6, gradient=gradient)


def test_flamo_by_its_formula():
    def formula(x, y):
        total = 0.0
        for n in SIZES:
            M_x, M_y = (np.abs(torch_stft(a, n, n // 4)) for a in (x, y))
            total += np.linalg.norm(M_x - M_y) / M_x.size
        return total

    assert_is(recipes.flamo_mss(nfft=SIZES), formula, X, Y)


# A decay over a range of 80 dB, as of a room. Differences of values take small steps.
DECAY = 10 ** (-4 * np.arange(3000) / 3000)
ROOMS = [DECAY * a for a in (X, Y)]


EDC = [
    {},
    {"energy_norm": True},
    {"convergence": True},
    {"energy_norm": True, "clip": True},
    {"clip": True, "convergence": True},
]


@pytest.mark.parametrize("arguments", EDC, ids=str)
def test_flamo_edc_by_its_formula(arguments):
    formula = functools.partial(flamo_edc, **arguments)
    assert_is(recipes.flamo_edc(**arguments), formula, *ROOMS, step=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("arguments", EDC, ids=str)
def test_equals_flamo_edc(flamo, arguments):
    loss = flamo.edc_loss(is_broadband=True, **arguments)

    def theirs(x, y):
        return loss(x[..., None], y[..., None])

    x, y = (a[:1] for a in ROOMS)
    assert_agrees(recipes.flamo_edc(**arguments), theirs, x, y, double=1e-11)


def test_energy_decay_of_absolute_differences():
    def formula(x, y):
        return np.mean(np.abs(decay_curve(x) - decay_curve(y)))

    assert_is(ke.EnergyDecayLoss("L1", discard=0.0), formula, *ROOMS, step=1e-9)


def test_samples_that_are_kept_are_those_of_numpy():
    n = np.arange(1, 30_000)
    expected = np.maximum(np.round((1 - 0.5 / 100) * n), 1)
    np.testing.assert_array_equal(n_kept(jnp.asarray(n), 0.005), expected)
    np.testing.assert_array_equal([n_kept(int(i), 0.005) for i in n], expected)
    # Products of these would leave 32-bit integers.
    large = 2_000_000_000
    assert n_kept(jnp.asarray(large, jnp.int32), 0.005) == n_kept(large, 0.005)


def test_a_decay_to_digital_silence_is_finite():
    """Where flamo has the difference of two infinities."""
    x, y = (jnp.asarray(a, jnp.float32).at[:, 2000:].set(0) for a in ROOMS)
    for loss in (recipes.flamo_edc(), recipes.flamo_edr(48000)):
        value, gradient = jax.value_and_grad(loss)(x, y)
        assert jnp.isfinite(value) and jnp.all(jnp.isfinite(gradient))


def test_energy_decay_refusals():
    for argument, value, rule in (
        ("discard", 1.0, "be at least 0 and below 1"),
        ("amin", 1e-40, "be at least 1e-36"),
        ("range_db", -1, "be positive"),
    ):
        with refused(rf"`EnergyDecayLoss\({argument}=...\)` must {rule}"):
            ke.EnergyDecayLoss(**{argument: value})
    with refused(r"`flamo_edc\(energy_norm=...\)` must be"):
        recipes.flamo_edc(energy_norm=2)  # pyright: ignore[reportArgumentType]
    with refused(r"`flamo_edr\(overlap=...\)` must be at least 0 and below 1"):
        recipes.flamo_edr(overlap=1.0)
    with refused(r"`flamo_edr\(sample_rate=...\)` must be at least 50 Hz"):
        recipes.flamo_edr(10)


def test_flamo_edr_by_its_formula():
    assert_is(recipes.flamo_edr(48000), flamo_edr, *ROOMS, step=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_equals_flamo_edr(flamo):
    loss = flamo.edr_loss(sample_rate=48000)

    def theirs(x, y):
        return loss(x[..., None], y[..., None])

    x, y = (a[:1] for a in ROOMS)
    ours = recipes.flamo_edr(48000)
    assert_agrees(ours, theirs, x, y, double=1e-6, gradient=1e-4)


# ------------------------------------------------------------------- cels-audio


def test_equals_cels():
    theirs = package("cels").paper_loss("cel")
    assert_agrees(recipes.cel(), theirs, X, Y, double=1e-12)


def test_equals_cels_with_other_frames():
    arguments = {
        "n_fft": 256,
        "hop_length": 100,
        "center": True,
        "normalized": True,
        "directions": ("up", "right", "left_down"),
        "eps": 1e-6,
    }
    theirs = package("cels").STFTCumulativeEnergyLoss(sample_rate=16000, **arguments)
    assert_agrees(recipes.cel(**arguments), theirs, X, Y, double=1e-12)


@pytest.mark.parametrize(
    "make", [recipes.cel, lambda: recipes.flamo_mss(form="magenta")]
)
def test_silence_is_a_number(make):
    loss = make()
    x, silence = jnp.asarray(X[0], jnp.float32), jnp.zeros(X.shape[-1])
    for a, b in ((x, silence), (silence, x), (silence, silence), (x, x)):
        value, gradient = jax.value_and_grad(loss)(a, b)
        assert jnp.isfinite(value) and jnp.all(jnp.isfinite(gradient))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: recipes.flamo_mss(overlap=1),
            r"`flamo_mss\(overlap=...\)` must be at",
        ),
        (lambda: recipes.flamo_mss(nfft=(1,)), r"`flamo_mss\(overlap="),
        (lambda: recipes.flamo_mss(nfft=3), r"`flamo_mss\(nfft="),
        (lambda: recipes.flamo_mss(form="x"), r"`flamo_mss\(form="),
        (lambda: recipes.cel(directions=("x",)), r"`cel\(directions="),
        (lambda: recipes.cel(center=1), r"`cel\(center="),
        (lambda: recipes.cel(normalized=1), r"`cel\(normalized="),
        (lambda: recipes.cel(n_fft=0), r"`cel\(n_fft="),
        (lambda: recipes.cel(eps=0), r"`cel\(eps="),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
