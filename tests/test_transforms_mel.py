"""Mel spectrograms and cepstral coefficients."""

import contextlib
import functools
import inspect
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import korvax
import librosa
import numpy as np
import promotion
import pytest
import slices

from korvax_eqx._transforms._mel_spectrogram import MelSpectrogram, mel_spectrogram
from korvax_eqx._transforms._mfcc import MFCC, cepstral_coefficients, mfcc

N_CONFIGURATIONS = 50
N_FFT = 64
N_MELS = 8
CASES = {
    "MelSpectrogram": functools.partial(MelSpectrogram, 16000, N_FFT, N_MELS),
    "MelSpectrogram, all arguments": lambda: MelSpectrogram(
        8000,
        N_FFT,
        4,
        100.0,
        3000.0,
        20,
        40,
        np.hanning(40),
        False,
        1.0,
        "reflect",
        htk=True,
        norm=None,
        basis=np.random.default_rng(0).random((4, N_FFT // 2 + 1)),
    ),
    "MFCC": functools.partial(MFCC, 16000, N_FFT, 5, n_mels=N_MELS),
    "MFCC, all arguments": lambda: MFCC(
        8000,
        N_FFT,
        3,
        None,
        "log",
        22.0,
        4,
        100.0,
        3000.0,
        20,
        40,
        ("tukey", 0.3),
        False,
        1.0,
        "reflect",
        htk=True,
        mel_norm=1.0,
        basis=np.random.default_rng(0).random((4, N_FFT // 2 + 1)),
    ),
}


@contextlib.contextmanager
def refused(message):
    """Expect an error of the package, without the types that the tests check first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=message) as error:
            yield error
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def assert_close(actual, expected, tolerance):
    """Compare relative to the largest expected value: zeros have no scale."""
    actual = np.asarray(actual, np.float64)
    expected = np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    error = np.max(np.abs(actual - expected))
    assert error <= tolerance * np.max(np.abs(expected))


def signals(seed, shape=(2, 200)):
    return np.random.default_rng(seed).standard_normal(shape)


def value_and_grad(function, x):
    """Return the values, and the gradient of a random combination of them."""
    values, pullback = jax.vjp(function, x)
    weights = np.random.default_rng(0).standard_normal(values.shape)
    return values, pullback(jnp.asarray(weights, values.dtype))[0]


def assert_agree(ours, theirs, x, dtypes=("float64", "float32"), single_gradient=1e-5):
    """Compare values and gradients in `dtypes` with korvax's in float64."""
    tolerances = {"float64": (1e-9, 1e-9), "float32": (1e-5, single_gradient)}
    with jax.enable_x64(True), promotion.usual_promotion():
        expected = value_and_grad(theirs, jnp.asarray(x))
    for dtype in dtypes:
        with jax.enable_x64(dtype == "float64"):
            # One compilation: each configuration has products of other shapes.
            compiled = jax.jit(functools.partial(value_and_grad, ours))
            actual = compiled(jnp.asarray(x, dtype))
        for a, e, limit in zip(actual, expected, tolerances[dtype], strict=True):
            assert a.dtype == dtype
            assert_close(a, e, limit)


def random_mel(rng):
    windows = ("hann", "flattop", ("tukey", 0.4), 5.0, rng.uniform(0.1, 1.0, 48))
    return {
        "sr": rng.uniform(8000.0, 48000.0),
        "n_fft": N_FFT,
        "n_mels": N_MELS,
        "fmin": (0.0, rng.uniform(0.0, 500.0))[rng.integers(2)],
        "fmax": (None, rng.uniform(2500.0, 4000.0))[rng.integers(2)],
        "hop_length": 20,
        "win_length": 48,
        "window": windows[rng.integers(len(windows))],
        "center": True,
        "power": (1.0, 2.0, rng.uniform(0.5, 3.0))[rng.integers(3)],
    }


def random_cepstrum(rng):
    return {
        "norm": ("ortho", "backward", None)[rng.integers(3)],
        "mag_scale": ("linear", "log", "db")[rng.integers(3)],
        "lifter": (0.0, rng.uniform(1.0, 30.0))[rng.integers(2)],
    }


def assert_all_agree(ours, theirs, configurations, x, **options):
    """Compare all configurations in float64, the first ten in float32 too."""

    def in_all(function, configurations, x):
        return jnp.stack([function(x, **options) for options in configurations])

    for dtype, some in (("float64", configurations), ("float32", configurations[:10])):
        stacked = functools.partial(in_all, ours, some)
        expected = functools.partial(in_all, theirs, some)
        assert_agree(stacked, expected, x, (dtype,), **options)


# ------------------------------------------------------------ agreement in numbers


@slices.BY_SEEDS
def test_mel_spectrogram_equals_korvax(seeds):
    rngs = (np.random.default_rng([seed, 0]) for seed in seeds)
    configurations = list(map(random_mel, rngs))
    theirs = korvax.mel_spectrogram
    assert_all_agree(mel_spectrogram, theirs, configurations, signals(0))


@slices.BY_SEEDS
def test_mfcc_equals_korvax(seeds):
    rngs = (np.random.default_rng([seed, 1]) for seed in seeds)
    configurations = [random_mel(r) | random_cepstrum(r) | {"n_mfcc": 6} for r in rngs]
    # The derivative of a logarithm divides by small bands: korvax's own gradient in
    # float32 is 3e-5 from its gradient in float64.
    arguments = (mfcc, korvax.mfcc, configurations, signals(1))
    assert_all_agree(*arguments, single_gradient=1e-4)


def test_cepstral_coefficients_equal_korvax():
    rngs = [np.random.default_rng([seed, 2]) for seed in range(N_CONFIGURATIONS)]
    S = 10.0 ** np.random.default_rng(0).uniform(-9.0, 3.0, (2, 7, 5))
    theirs = korvax.transforms.cepstral_coefficients
    for n_cc in (3, 7):
        configurations = [random_cepstrum(rng) | {"n_cc": n_cc} for rng in rngs]
        assert_all_agree(cepstral_coefficients, theirs, configurations, S)


def test_mfcc_equals_librosa():
    S = 10.0 ** np.random.default_rng(0).uniform(-4.0, 3.0, (20, 6))
    by_librosa = librosa.feature.mfcc(
        S=librosa.power_to_db(S, amin=1e-6), n_mfcc=13, lifter=22
    )
    actual = cepstral_coefficients(jnp.asarray(S, jnp.float32), 13, lifter=22.0)
    assert_close(actual, by_librosa, 1e-5)


@pytest.mark.parametrize(
    ("center", "pad_kwargs"), [(True, {"mode": "reflect"}), (False, {})]
)
def test_functions_take_korvax_padding(center, pad_kwargs):
    options = {"center": center, "pad_kwargs": pad_kwargs}
    x = jnp.asarray(signals(2), jnp.float32)
    arguments = (16000, N_FFT)
    for ours, theirs in (
        (mel_spectrogram, korvax.mel_spectrogram),
        (mfcc, korvax.mfcc),
    ):
        ours = functools.partial(ours, n_mels=20, **options)
        theirs = functools.partial(theirs, n_mels=20, **options)
        assert_close(ours(x, *arguments), theirs(x, *arguments), 1e-5)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (mel_spectrogram, korvax.mel_spectrogram),
        (mfcc, korvax.mfcc),
        (cepstral_coefficients, korvax.transforms.cepstral_coefficients),
    ],
)
def test_signatures_are_korvax(ours, theirs):
    def arguments(function):
        parameters = inspect.signature(function).parameters.values()
        return [(p.name, p.kind, p.default or None) for p in parameters]

    assert arguments(ours) == arguments(theirs)


# ------------------------------------------------------------------------ classes


@pytest.mark.parametrize("name", CASES)
class TestLaws:
    def test_has_no_leaves_and_equals_its_like(self, name):
        first, second = CASES[name](), CASES[name]()
        assert jax.tree.leaves(first) == []
        assert first == second and hash(first) == hash(second)

    def test_can_be_rebuilt_from_its_attributes(self, name):
        transform = CASES[name]()
        names = inspect.signature(type(transform)).parameters
        arguments = {key: getattr(transform, key) for key in names}
        assert type(transform)(**arguments) == transform

    def test_every_signal_is_on_its_own(self, name):
        transform = CASES[name]()
        # One loud signal and one 100 dB below it.
        x = jnp.asarray(signals(3) * [[1.0], [1e-5]], jnp.float32)
        alone = [jax.jit(transform)(row) for row in x]
        for actual, expected in zip(jax.jit(transform)(x), alone, strict=True):
            assert_close(actual, expected, 1e-5)

    def test_gradient_is_finite(self, name):
        transform = jax.jit(CASES[name]())
        half_silent = signals(4)
        half_silent[1, 60:] = 0.0
        for x in (half_silent, np.zeros((2, 200)), 1e-20 * signals(5)):
            values, gradient = value_and_grad(transform, jnp.asarray(x, jnp.float32))
            assert np.all(np.isfinite(values)) and np.all(np.isfinite(gradient))


def test_classes_equal_functions():
    x = jnp.asarray(signals(6, (200,)), jnp.float32)
    options = {"n_mels": N_MELS, "hop_length": 20, "window": "flattop", "fmin": 50.0}
    actual = MelSpectrogram(16000, N_FFT, **options)(x)
    assert_close(actual, mel_spectrogram(x, 16000, N_FFT, **options), 1e-6)
    for mag_scale in ("linear", "log", "db"):
        options |= {"n_mfcc": 5, "mag_scale": mag_scale, "lifter": 10.0}
        actual = MFCC(16000, N_FFT, **options)(x)
        assert_close(actual, mfcc(x, 16000, N_FFT, **options), 1e-6)


def test_mfcc_limits_each_signal_and_the_function_the_batch():
    # The quiet signal lies wholly more than 80 dB below the loud one.
    x = jnp.asarray(signals(7) * [[100.0], [3e-3]], jnp.float32)
    by_class = MFCC(16000, N_FFT, 5, n_mels=N_MELS)(x)
    function = functools.partial(mfcc, sr=16000, n_fft=N_FFT, n_mfcc=5, n_mels=N_MELS)
    by_function = function(x)
    assert_close(by_class[0], by_function[0], 1e-6)
    assert_close(by_class[1], function(x[1]), 1e-6)
    assert np.max(np.abs(by_class[1] - by_function[1])) > 1.0


def test_window_and_basis_are_learnable():
    x = signals(8)
    with jax.enable_x64(True):
        x = jnp.asarray(x)
        table = MelSpectrogram(16000, N_FFT, N_MELS)
        transform = MelSpectrogram(
            16000,
            N_FFT,
            N_MELS,
            window=jnp.asarray(table.window_values),
            basis=jnp.asarray(table.matrix),
        )
        assert len(jax.tree.leaves(transform)) == 2
        assert_close(transform(x), table(x), 1e-12)
        loss = eqx.filter_jit(lambda transform: jnp.sum(jnp.log1p(transform(x))))
        gradient = eqx.filter_grad(loss)(transform)
        for leaf in (lambda t: t.window, lambda t: t.basis):
            direction = np.random.default_rng(0).standard_normal(leaf(transform).shape)

            def along(step, leaf=leaf, direction=direction):
                moved = leaf(transform) + step * direction
                return loss(eqx.tree_at(leaf, transform, moved))

            difference = (along(1e-7) - along(-1e-7)) / 2e-7
            # Rounding leaves the central difference about nine digits.
            assert_close(jnp.sum(leaf(gradient) * direction), difference, 1e-8)


def test_attributes():
    transform = MFCC(16000, 512, 13, n_mels=40, win_length=400, lifter=22.0)
    assert (transform.hop_length, transform.power) == (100, 2.0)
    mel = transform.mel_spectrogram
    expected = librosa.filters.mel(sr=16000, n_fft=512, n_mels=40, dtype=np.float64)
    assert_close(mel.matrix, expected, 1e-12)
    assert mel.frequencies.shape == (40,) and mel.window_values.shape == (512,)
    assert transform.dct_matrix.shape == (13, 40)
    assert transform.dct_matrix is transform.dct_matrix
    assert not transform.dct_matrix.flags.writeable


@pytest.mark.cheap
@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (
            MelSpectrogram,
            {"power": None},
            r"`MelSpectrogram\(power=...\)` must be a fin",
        ),
        (
            MelSpectrogram,
            {"power": 0},
            r"`MelSpectrogram\(power=...\)` must be positive",
        ),
        (MelSpectrogram, {"sr": 0}, r"`MelSpectrogram\(sr=...\)` must be positive"),
        (MelSpectrogram, {"hop_length": 0}, r"`MelSpectrogram\(hop_length=...\)` must"),
        (MelSpectrogram, {"fmin": 9e3}, r"`MelSpectrogram\(fmin=...\)` must be below"),
        (MelSpectrogram, {"basis": np.ones((2, 2))}, r"`MelSpectrogram\(basis=...\)`"),
        (MelSpectrogram, {"window": "no"}, r"`MelSpectrogram\(window=...\)` must be a"),
        (
            MFCC,
            {"n_mfcc": 0},
            r"`MFCC\(n_mfcc=...\)` must be a positive integer. Got 0",
        ),
        (
            MFCC,
            {"n_mfcc": 9},
            r"`MFCC\(n_mfcc=...\)` must be at most .* bands, 8. Got 9",
        ),
        (
            MFCC,
            {"norm": "slaney"},
            r"`MFCC\(norm=...\)` must be one of 'ortho', 'backw",
        ),
        (MFCC, {"mag_scale": "dB"}, r"`MFCC\(mag_scale=...\)` must be one of 'linear'"),
        (
            MFCC,
            {"lifter": -1.0},
            r"`MFCC\(lifter=...\)` must be non-negative. Got -1.0",
        ),
        (
            MFCC,
            {"mel_norm": "l1"},
            r"`MFCC\(mel_norm=...\)` must be 'slaney', None or a",
        ),
        (
            MFCC,
            {"n_fft": -1},
            r"`MFCC\(n_fft=...\)` must be a positive integer. Got -1",
        ),
        (
            MFCC,
            {"power": math.inf},
            r"`MFCC\(power=...\)` must be a finite real number",
        ),
    ],
)
def test_class_refusals(make, options, message):
    arguments = {"sr": 16000, "n_fft": N_FFT, "n_mels": N_MELS}
    arguments |= {"n_mfcc": 5} if make is MFCC else {}
    with refused(message):
        make(**(arguments | options))


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (mel_spectrogram, {"power": None}, r"`mel_spectrogram\(power=...\)` must be a"),
        (
            mel_spectrogram,
            {"fmin": -1.0},
            r"`mel_spectrogram\(fmin=...\)` must be non-n",
        ),
        (mfcc, {"n_mfcc": 9}, r"`mfcc\(n_mfcc=...\)` must be at most .* 8. Got 9"),
        (
            mfcc,
            {"n_mfcc": 5, "hop_length": 0},
            r"`mfcc\(hop_length=...\)` must be a pos",
        ),
    ],
)
def test_function_refusals(function, options, message):
    with refused(message):
        function(jnp.ones(200), 16000, N_FFT, **({"n_mels": N_MELS} | options))


def test_cepstral_coefficients_refusals():
    with refused(r"`cepstral_coefficients\(n_cc=...\)` must be at most .* 7. Got 20"):
        cepstral_coefficients(jnp.ones((7, 3)))
    with refused("`cepstral_coefficients`: the spectrogram must have shape"):
        cepstral_coefficients(jnp.ones(7))
