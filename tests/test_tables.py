"""Windows, frequency axes, mel filter banks and frequency weightings."""

import contextlib
import functools
import math

import jax
import jax.numpy as jnp
import jaxtyping
import korvax
import librosa
import numpy as np
import promotion
import pytest

from korvax_eqx._tables import _frequencies as frequencies
from korvax_eqx._tables import _mel as mel
from korvax_eqx._tables import _weighting as weighting
from korvax_eqx._tables._windows import window_values

N_CONFIGURATIONS = 50


@contextlib.contextmanager
def refused(message):
    """Expect an error of the package, without the types that the tests check first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=message) as error:
            yield error
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


CURVES = ("A", "B", "C", "D")


def assert_close(actual, expected, tolerance):
    """Compare relative to the largest expected value: zeros have no scale."""
    actual = np.asarray(actual, np.float64)
    expected = np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    error = np.max(np.abs(actual - expected))
    assert error <= tolerance * np.max(np.abs(expected))


def configurations(seed):
    for index in range(N_CONFIGURATIONS):
        yield np.random.default_rng([seed, index])


# ---------------------------------------------------------------------- windows


def random_window(rng, win_length):
    options = [
        "hann",
        "flattop",
        "boxcar",
        rng.uniform(1.0, 14.0),
        ("tukey", rng.uniform(0.1, 0.9)),
        ("general_cosine", (0.5, rng.uniform(0.1, 0.4), 0.1)),
        rng.uniform(0.1, 1.0, win_length),
    ]
    return options[rng.integers(len(options))]


def test_windows_equal_korvax():
    for rng in configurations(0):
        n_fft = int(rng.integers(4, 9))
        win_length = int(rng.integers(2, n_fft + 1))
        window = random_window(rng, win_length)
        with jax.enable_x64(True):
            samples = korvax.util.get_window(window, win_length, dtype=jnp.float64)
            expected = korvax.util.pad_center(samples, n_fft)
        actual = window_values(window, win_length, n_fft)
        assert actual.dtype == np.float64
        assert_close(actual, expected, 1e-15)


def test_windows_are_cached_and_read_only():
    table = window_values("hann", 5, 8)
    assert table is window_values("hann", 5, 8)
    with refused("read-only"):
        table[0] = 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nope", 4, 8), r"`STFT\(window=...\)` must be a window that .* Got 'nope'"),
        (("kaiser", 4, 8), "must be a window that .* must have parameters"),
        ((("kaiser", "a"), 4, 8), "must be a window that"),
        (((), 4, 8), "must be a window that"),
        ((("gaussian", 0.0), 4, 8), "not finite, or only zeros"),
        ((math.nan, 4, 8), "not finite, or only zeros"),
        ((np.zeros(4), 4, 8), "only zeros"),
        ((np.ones(5), 4, 8), r"have shape \(win_length,\) = \(4,\)"),
        ((None, 4, 8), "must be a window's name, a number, a tuple or an array"),
        ((True, 4, 8), "must be a window's name"),
        ((("tukey", [1]), 4, 8), "must be a window's name"),
        (("hann", 9, 8), r"win_length=...\)` must be at most n_fft = 8. Got 9. Use"),
        (("hann", 0, 8), "must be a positive integer. Got 0"),
        (("hann", 4, 8.0), r"`STFT\(n_fft=...\)` must be a positive integer. Got 8.0"),
    ],
)
def test_window_refusals(arguments, message):
    with refused(message):
        window_values(*arguments)


def test_window_refusals_name_their_owner():
    with refused(r"`CQT\(window=...\)` must"):
        window_values("nope", 4, 8, owner="CQT")


# ------------------------------------------------------------------ frequencies


@pytest.mark.parametrize("name", ["hz_to_mel", "mel_to_hz"])
@pytest.mark.parametrize("htk", [False, True])
def test_mel_conversion_equals_korvax_and_librosa(name, htk):
    ours, theirs = getattr(frequencies, name), getattr(korvax, name)
    highest = 24000.0 if name == "hz_to_mel" else 70.0
    for rng in configurations(1):
        values = rng.uniform(0.0, highest, 8)
        values[:3] = 0.0, highest / 24.0, 15.0
        with jax.enable_x64(True):
            x = jnp.asarray(values)
            assert_close(ours(x, htk=htk), theirs(x, htk=htk), 1e-9)
            # korvax's derivative at 0 Hz on Slaney's scale is NaN.
            slope = jax.vmap(jax.grad(lambda v: ours(v, htk=htk)))(x)[1:]
            expected = jax.vmap(jax.grad(lambda v: theirs(v, htk=htk)))(x)[1:]
            assert_close(slope, expected, 1e-9)
            assert_close(
                ours(values, htk=htk), getattr(librosa, name)(values, htk=htk), 1e-12
            )
            reference = theirs(x, htk=htk)
        single = ours(jnp.asarray(values, jnp.float32), htk=htk)
        assert single.dtype == jnp.float32
        assert_close(single, reference, 1e-5)


@pytest.mark.parametrize("htk", [False, True])
def test_mel_conversions_are_inverse(htk):
    hz = np.linspace(0.0, 24000.0, 1001)
    with jax.enable_x64(True):
        mels = frequencies.hz_to_mel(hz, htk=htk)
        assert_close(frequencies.mel_to_hz(mels, htk=htk), hz, 1e-13)


@pytest.mark.parametrize("htk", [False, True])
@pytest.mark.parametrize("hz", [0.0, 1e-38, 500.0, 999.99, 1000.0, 1e6])
def test_mel_derivative_is_finite_and_right(hz, htk):
    slope = jax.grad(lambda f: frequencies.hz_to_mel(f, htk=htk))(jnp.float32(hz))
    if htk:
        expected = 2595.0 / math.log(10.0) / (700.0 + hz)
    elif hz < 1000.0:
        expected = 3.0 / 200.0
    else:
        expected = 27.0 / math.log(6.4) / hz
    assert_close(slope, expected, 1e-5)
    mels = jnp.float32(0.0 if hz < 1.0 else 30.0)
    back = jax.grad(lambda m: frequencies.mel_to_hz(m, htk=htk))(mels)
    assert np.isfinite(back) and back > 0.0


def test_frequency_axes_equal_korvax_and_librosa():
    for rng in configurations(2):
        sr, n_fft = rng.uniform(8000.0, 48000.0), int(rng.choice([16, 17]))
        fmin, fmax = rng.uniform(0.0, 900.0), rng.uniform(1100.0, 12000.0)
        htk, per_octave = bool(rng.integers(2)), int(rng.choice([12, 24, 36]))
        tuning = rng.uniform(-0.5, 0.5)
        cases = [
            ("fft_frequencies", (), {"sr": sr, "n_fft": n_fft}),
            ("mel_frequencies", (9,), {"fmin": fmin, "fmax": fmax, "htk": htk}),
            (
                "cqt_frequencies",
                (9,),
                {"fmin": fmin + 1.0, "bins_per_octave": per_octave, "tuning": tuning},
            ),
        ]
        for name, args, options in cases:
            ours = getattr(frequencies, name)
            with jax.enable_x64(True):
                expected = getattr(korvax, name)(*args, **options)
                actual = ours(*args, **options)
                assert actual.dtype == jnp.float64
                assert_close(actual, expected, 1e-9)
            assert ours(*args, **options).dtype == jnp.float32
            # From a float64 table, so only rounded once.
            assert_close(ours(*args, **options), expected, 1e-7)
            # librosa takes the count by name.
            counts = {"n_mels" if "mel" in name else "n_bins": n for n in args}
            assert_close(actual, getattr(librosa, name)(**counts, **options), 1e-12)


def test_frequency_axes_have_korvax_defaults():
    assert_close(frequencies.fft_frequencies(), korvax.fft_frequencies(), 1e-6)
    assert_close(frequencies.mel_frequencies(), korvax.mel_frequencies(), 1e-5)
    expected = korvax.cqt_frequencies(84, fmin=32.7)
    assert_close(frequencies.cqt_frequencies(84, fmin=32.7), expected, 1e-6)


@pytest.mark.parametrize(
    ("name", "args", "argument", "options"),
    [
        ("fft_frequencies", (), "sr", {"n_fft": 8}),
        ("mel_frequencies", (5,), "fmin", {}),
        ("mel_frequencies", (5,), "fmax", {"fmin": 20.0, "htk": True}),
        ("cqt_frequencies", (5,), "fmin", {}),
        ("cqt_frequencies", (5,), "tuning", {"fmin": 30.0}),
    ],
)
def test_frequency_axes_can_be_differentiated(name, args, argument, options):
    ours, theirs = getattr(frequencies, name), getattr(korvax, name)
    with jax.enable_x64(True), promotion.usual_promotion():
        value = jnp.asarray(0.3 if argument == "tuning" else 4000.0)
        slope = jax.jacobian(lambda v: ours(*args, **{argument: v}, **options))(value)
        expected = jax.jacobian(lambda v: theirs(*args, **{argument: v}, **options))(
            value
        )
        assert_close(slope, expected, 1e-9)
    # Strict promotion, and integers among the arguments.
    assert ours(*args, **{argument: jnp.asarray(3)}, **options).dtype == jnp.float32


@pytest.mark.parametrize(
    ("name", "args", "options", "message"),
    [
        ("fft_frequencies", (), {"sr": 0}, r"`fft_frequencies\(sr=...\)` must be posi"),
        ("fft_frequencies", (), {"n_fft": 1.5}, "must be a positive integer. Got 1.5"),
        ("mel_frequencies", (0,), {}, r"`mel_frequencies\(n_mels=...\)` must be"),
        ("mel_frequencies", (4,), {"fmin": math.nan}, "be a finite real number"),
        ("mel_frequencies", (4,), {"htk": "yes"}, "must be True or False. Got 'yes'"),
        ("cqt_frequencies", (4,), {"fmin": 0.0}, "must be positive. Got 0.0"),
        ("cqt_frequencies", (-1,), {"fmin": 1.0}, "must be a positive integer. Got -1"),
        ("hz_to_mel", (1.0,), {"htk": None}, r"`hz_to_mel\(htk=...\)` must be True"),
        ("mel_to_hz", (1.0,), {"htk": 1}, r"`mel_to_hz\(htk=...\)` must be True"),
    ],
)
def test_frequency_refusals(name, args, options, message):
    with refused(message):
        getattr(frequencies, name)(*args, **options)


# ------------------------------------------------------------------ mel filters


def random_mel(rng):
    n_fft, n_mels = ((65, 8), (512, 40))[rng.integers(2)]
    return {
        "sr": rng.uniform(8000.0, 48000.0),
        "n_fft": n_fft,
        "n_mels": n_mels,
        "fmin": (0.0, rng.uniform(0.0, 800.0))[rng.integers(2)],
        "fmax": (None, rng.uniform(1500.0, 4000.0))[rng.integers(2)],
        "htk": bool(rng.integers(2)),
        "norm": ("slaney", 1.0, 2.0, math.inf, None)[rng.integers(5)],
    }


# librosa and NumPy say so when a filter is empty, which is meant to happen here.
@pytest.mark.filterwarnings("ignore:Empty filters")
def test_mel_matrix_equals_librosa_and_korvax():
    for rng in configurations(3):
        options = random_mel(rng)
        actual = mel.mel_matrix(*options.values())
        assert actual.dtype == np.float64 and not actual.flags.writeable
        expected = librosa.filters.mel(**options, dtype=np.float64)
        assert_close(actual, expected, 1e-12)
        if options["norm"] is None:
            continue  # korvax divides by the 2-norm here, against its documentation
        with jax.enable_x64(True):
            theirs = korvax.transforms.mel_filterbank(**options)
            assert_close(actual, theirs, 1e-9)
            public = mel.mel_filterbank(**options)
            assert public.dtype == jnp.float64
            assert_close(public, theirs, 1e-9)


def test_mel_filterbank_without_norm_peaks_at_one():
    bank = mel.mel_filterbank(sr=16000, n_fft=16384, n_mels=8, norm=None)
    assert_close(jnp.max(bank, axis=1), np.ones(8), 2e-3)  # bins miss the peak a little


def test_mel_filterbank_dtypes():
    assert mel.mel_filterbank(sr=8000, n_fft=64, n_mels=8).dtype == jnp.float32
    half = mel.mel_filterbank(sr=8000, n_fft=64, n_mels=8, dtype=jnp.bfloat16)
    assert half.dtype == jnp.bfloat16


def test_mel_centres_are_where_filters_peak():
    centres = mel.mel_centres(16000, 8, 100.0, None, False)
    matrix = mel.mel_matrix(16000, 16000, 8, 100.0, None, False, None)
    # Bins are 1 Hz apart.
    assert np.max(np.abs(np.argmax(matrix, axis=1) - centres)) <= 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sr": 0}, r"`mel_filterbank\(sr=...\)` must be positive. Got 0"),
        ({"sr": "x"}, "must be a finite real number. Got 'x'"),
        ({"n_fft": 0}, "must be a positive integer"),
        ({"n_mels": True}, "must be a positive integer. Got True"),
        ({"fmin": -1.0}, "must be non-negative. Got -1.0"),
        ({"fmax": 0.0}, r"`mel_filterbank\(fmax=...\)` must be positive"),
        ({"fmin": 8000.0}, "must be below the highest frequency, 4000.0 Hz. Got 8000"),
        ({"fmin": 9.0, "fmax": 8.0}, "must be below the highest frequency, 8.0 Hz"),
        ({"htk": 1}, "must be True or False"),
        ({"norm": "l1"}, "must be 'slaney', None or a positive order"),
        ({"norm": 0}, "must be 'slaney', None or a positive order"),
        ({"norm": True}, "must be 'slaney', None or a positive order"),
        ({"norm": math.nan}, "must be 'slaney', None or a positive order"),
    ],
)
def test_mel_refusals(options, message):
    with refused(message):
        mel.mel_filterbank(**({"sr": 8000, "n_fft": 64} | options))


# ------------------------------------------------------------------- weightings


@pytest.mark.parametrize("curve", CURVES)
def test_weightings_equal_korvax_and_librosa(curve):
    name = f"{curve}_weighting"
    ours, theirs = getattr(weighting, name), getattr(korvax, name)
    for rng in configurations(4):
        hz = 10.0 ** rng.uniform(-1.0, 4.5, 8)
        min_db = (None, -80.0, rng.uniform(-60.0, -20.0))[rng.integers(3)]
        curves = [functools.partial(f, min_db=min_db) for f in (ours, theirs)]
        with jax.enable_x64(True):
            f = jnp.asarray(hz)
            actual, expected = (jax.vmap(jax.value_and_grad(c))(f) for c in curves)
            for ours_, theirs_ in zip(actual, expected, strict=True):
                assert_close(ours_, theirs_, 1e-9)
            by_librosa = getattr(librosa, name)(hz, min_db=min_db)
            assert_close(curves[0](hz), by_librosa, 1e-12)
        single = jax.vmap(jax.value_and_grad(curves[0]))(jnp.asarray(hz, jnp.float32))
        for ours_, theirs_ in zip(single, expected, strict=True):
            assert ours_.dtype == jnp.float32
            assert_close(ours_, theirs_, 1e-5)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("min_db", [-80.0, None])
def test_weighting_at_and_near_0_hz(curve, min_db):
    function = getattr(weighting, f"{curve}_weighting")
    f = jnp.asarray([0.0, 1e-38, 1e-29, 1e-20, 1.0, 24000.0, 1e8], jnp.float32)
    values = function(f, min_db=min_db)
    slopes = jax.vmap(jax.grad(lambda f: function(f, min_db=min_db)))(f)
    assert values[0] == (-jnp.inf if min_db is None else min_db)
    assert slopes[0] == 0.0
    assert np.all(np.isfinite(slopes))
    assert np.all(np.isfinite(values[2:]))
    assert np.isnan(function(jnp.asarray(jnp.nan), min_db=min_db))


@pytest.mark.parametrize("curve", CURVES)
def test_weighting_derivative_where_clipped(curve):
    function = getattr(weighting, f"{curve}_weighting")
    assert jax.grad(lambda f: function(f, min_db=-10.0))(jnp.float32(5.0)) == 0.0
    assert jax.grad(lambda f: function(f, min_db=-300.0))(jnp.float32(5.0)) > 0.0


@pytest.mark.parametrize("curve", CURVES)
def test_weighting_is_about_0_db_at_1_khz(curve):
    assert abs(float(getattr(weighting, f"{curve}_weighting")(1000.0))) < 0.1


@pytest.mark.parametrize("curve", CURVES)
def test_weighting_takes_half_precision_and_integers(curve):
    function = getattr(weighting, f"{curve}_weighting")
    # 1000 Hz squared is beyond float16.
    half = function(jnp.asarray([1000.0, 8000.0], jnp.float16))
    assert half.dtype == jnp.float32
    assert_close(half, function(jnp.asarray([1000, 8000])), 1e-6)
    assert_close(half, function([1000, 8000]), 1e-5)


@pytest.mark.parametrize("curve", CURVES)
def test_weighting_refusals(curve):
    function = getattr(weighting, f"{curve}_weighting")
    with refused(rf"`{curve}_weighting\(min_db=...\)` must be"):
        function(1000.0, min_db="low")
