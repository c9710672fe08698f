"""Signals, numbers and windows that nobody expects: one error, in the words of all."""

import io
import re
import sys
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import korvax_eqx as ke
from korvax_eqx import _checks as checks
from korvax_eqx import _warnings
from korvax_eqx._tables._frequencies import mel_frequencies_table
from korvax_eqx._tables._mel import mel_matrix

GOOD = jnp.ones((2, 300))
TRANSFORMS = [
    ke.STFT(64),
    ke.Spectrogram(64),
    ke.MelSpectrogram(8000, 64, n_mels=4),
    ke.MFCC(8000, 64, n_mels=4, n_mfcc=2),
    ke.CQT(8000, fmin=500.0, n_bins=12),
]
LOSSES = [
    ke.TimeFrequencyLoss(ke.Spectrogram(64), ke.ElementwiseLoss()),
    ke.MRSTFTLoss((16,), (64,)),
]


def name(value):
    """The name of a case: pytest's own fails for integers that Python cannot print."""
    return checks.describe(value)[:30]


def calls(x):
    """What can be done with a signal."""
    for transform in TRANSFORMS:
        yield lambda transform=transform: transform(x)
    for loss in LOSSES:
        yield lambda loss=loss: loss(x, GOOD)
        yield lambda loss=loss: loss(GOOD, x)
        yield lambda loss=loss: loss.with_terms(x, GOOD)
        yield lambda loss=loss: loss.bind(x)
        yield lambda loss=loss: loss.bind(GOOD)(x)
        yield (
            lambda loss=loss: (
                jax.jit(loss)(GOOD, jnp.asarray(x)) if known(x) else (loss(x, x))
            )
        )


def known(x):
    return isinstance(x, jax.Array) or checks.is_jax_dtype(x.dtype)


# -------------------------------------------------------------------------- signals


@pytest.mark.parametrize(
    "dtype", [">f4", ">f8", ">i2", ">c8", np.longdouble, np.clongdouble, object, "U3"]
)
def test_dtypes_that_jax_does_not_have(dtype):
    x = np.ones((2, 300)).astype(dtype)
    if np.dtype(dtype) in (np.float64, np.complex128):
        pytest.skip("this platform has no longer floats")
    for call in calls(x):
        with pytest.raises(ValueError) as error:
            call()
        assert "must have a dtype that JAX supports. Got an array " in str(error.value)
        assert ".astype('float32')`." in str(error.value)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ml_dtypes.bfloat16])
def test_dtypes_that_jax_has(dtype):
    x = np.ones((2, 300), dtype)
    assert ke.Spectrogram(64)(x).dtype == jnp.float32
    assert LOSSES[1](x, GOOD) == 0.0


@pytest.mark.parametrize("dtype", [">f4", np.longdouble, object])
def test_spectra_of_dtypes_that_jax_does_not_have(dtype):
    S = np.ones((33, 20)).astype(dtype)
    for scale in (ke.Log(), ke.PowerToDB(), ke.MelScale(8000, 64, n_mels=4)):
        with pytest.raises(ValueError, match="spectrogram must be a JAX or NumPy arr"):
            scale(S)
    losses = (
        ke.ElementwiseLoss(),
        ke.SpectralConvergenceLoss(),
        ke.SpectralOptimalTransportLoss(),
    )
    for loss in losses:
        for wrong in (S, S.tolist()):
            with pytest.raises(ValueError, match="must be JAX or NumPy arrays of a dt"):
                loss(wrong, jnp.ones((33, 20)))


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((44_100, 2), "{}.T"),
        ((300, 1), "{}.T"),
        ((9, 8), "{}.T"),
        ((4, 300, 2), "jnp.swapaxes({}, -1, -2)"),
        ((5, 4, 300, 8), "jnp.swapaxes({}, -1, -2)"),
        ((300, 4, 2), "jnp.moveaxis({}, 0, -1)"),
    ],
)
def test_channels_last_are_refused_with_the_transposition(shape, remedy):
    x = jnp.ones(shape)
    for transform in TRANSFORMS:
        with pytest.raises(ValueError) as error:
            transform(x)
        said = str(error.value)
        assert said == (
            f"`{type(transform).__name__}`: `x` must have its samples in the last "
            f"axis, i.e. shape (*channels, n_samples). Got an array float32"
            f"{list(shape)}, which looks like channels last. Pass "
            f"`{remedy.format('x')}`. If signals really are that short, append zeros."
        )
    for loss in LOSSES:
        for call in (lambda loss=loss: loss(x, x), lambda loss=loss: loss.bind(x)):
            with pytest.raises(ValueError, match="looks like channels last"):
                call()
    moved = eval(remedy.format("x"), {"jnp": jnp, "x": x})
    assert moved.shape[-1] == max(shape) and moved.size == x.size
    TRANSFORMS[0](moved)


@pytest.mark.parametrize("shape", [(2, 9), (8, 8), (5,), (1, 1), (3, 2, 3), (20, 9)])
def test_other_shapes_are_not_taken_for_channels_last(shape):
    assert ke.Spectrogram(8)(jnp.ones(shape)).shape[:-2] == shape[:-1]


# -------------------------------------------------------------------------- numbers

HUGE = 10**400
TOO_LONG_TO_PRINT = 10**5000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (HUGE, "an integer of 1329 bits"),
        (-HUGE, "an integer of 1329 bits"),
        (TOO_LONG_TO_PRINT, "an integer of 16610 bits"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (np.longdouble("inf"), repr(np.longdouble("inf"))),
        (None, "None"),
        (True, "True"),
        (1j, "1j"),
        ([1.0], "[1.0]"),
        ([TOO_LONG_TO_PRINT], "a list"),
    ],
    ids=name,
)
def test_real_numbers(value, text):
    for check in (checks.real, checks.positive, checks.non_negative):
        with pytest.raises(ValueError) as error:
            check("Owner", "argument", value)
        assert str(error.value) == (
            f"`Owner(argument=...)` must be a finite real number. Got {text}."
        )


@pytest.mark.parametrize(
    "value", [2**1023, 5, np.longdouble(2.5), np.float16(2), 1e308]
)
def test_numbers_that_are_real(value):
    found = checks.real("Owner", "argument", value)
    assert found == value and type(found) in (int, float)


def test_integers_beyond_those_of_jax():
    for value in (2**31, 2**62, HUGE, TOO_LONG_TO_PRINT, np.int64(2**40)):
        for call in (
            lambda value=value: ke.STFT(64, hop_length=value),
            lambda value=value: ke.STFT(n_fft=value),
            lambda value=value: ke.MRSTFTLoss((value,), (64,)),
            lambda value=value: ke.MFCC(8000, 64, n_mels=4, n_mfcc=value),
            lambda value=value: ke.SmoothMRSTFTLoss(piece_size=value),
        ):
            with pytest.raises(ValueError, match=r"be at most 2147483647\. Got"):
                call()
    assert checks.positive_int("Owner", "argument", 2**31 - 1) == 2**31 - 1


@pytest.mark.parametrize(
    "make",
    [
        lambda n: ke.Log(n),
        lambda n: ke.Log(eps=n),
        lambda n: ke.PowerToDB(n),
        lambda n: ke.PowerToDB(amin=n),
        lambda n: ke.AmplitudeToDB(top_db=n),
        lambda n: ke.MelScale(n, 64),
        lambda n: ke.MelScale(8000, 64, fmin=n),
        lambda n: ke.MelScale(8000, 64, fmax=n),
        lambda n: ke.Spectrogram(power=n),
        lambda n: ke.MFCC(8000, 64, n_mfcc=2, n_mels=4, lifter=n),
        lambda n: ke.CQT(n),
        lambda n: ke.CQT(8000, fmin=n),
        lambda n: ke.CQT(8000, filter_scale=n),
        lambda n: ke.VQT(8000, gamma=n),
        lambda n: ke.MRSTFTLoss(w_log=n),
        lambda n: ke.MRSTFTLoss(log_eps=n),
        lambda n: ke.PitchTransportLoss(p=n),
        lambda n: ke.SpectralOptimalTransportLoss(p=n),
        lambda n: ke.AWeighting(sr=n, n_fft=64),
        lambda n: ke.TimeFrequencyLoss(
            ke.Spectrogram(64), ke.ElementwiseLoss(), weights=[n]
        ),
    ],
)
@pytest.mark.parametrize("value", [HUGE, TOO_LONG_TO_PRINT], ids=name)
def test_numbers_of_classes_beyond_the_range_of_floats(make, value):
    with pytest.raises(ValueError, match=r"=\.\.\.\)` must be .* Got an integer of"):
        make(value)


@pytest.mark.parametrize(
    "value", [HUGE, -1, np.nan, True, "1", np.ones(3), np.ones(0), [1], 1j], ids=name
)
def test_orders_of_norms(value):
    for make in (
        lambda: ke.MelScale(8000, 64, norm=value),
        lambda: ke.MFCC(8000, 64, n_mfcc=2, n_mels=4, mel_norm=value),
        lambda: ke.CQT(8000, fmin=500.0, n_bins=12, norm_kernels=value),
    ):
        with pytest.raises(ValueError, match="must be .*a positive order of a norm"):
            make()


@pytest.mark.parametrize(
    "arguments",
    [
        {"sr": 1e308},
        {"sr": 5e-324},
        {"sr": 1e300, "fmin": 1e-300},
        {"sr": 8000, "fmin": 5e-324},
        {"sr": 8000, "fmin": 1e308},
        {"sr": 8000, "filter_scale": 1e308},
        {"sr": 8000, "n_bins": 60_000},
    ],
)
def test_kernels_that_nothing_can_hold(arguments):
    with pytest.raises(
        ValueError, match=r"^`CQT\(\w+=\.\.\.\)` must (keep|be small enough) "
    ):
        ke.CQT(**{"fmin": 100.0, "n_bins": 12} | arguments)


def test_sequences_of_real_numbers():
    expected = np.array([1.0, 2.5])
    values = (
        [1, 2.5],
        (np.float32(1), np.longdouble(2.5)),
        expected,
        expected.astype(">f4"),
        expected.astype(np.longdouble),
    )
    for value in values:
        found = checks.real_numbers("Owner", "argument", value)
        assert found.dtype == np.float64 and found.dtype.isnative
        np.testing.assert_array_equal(found, expected)
    wrong = (1.0, "12", {}, {1.0}, np.ones((2, 2)), np.array([1, None]), np.array("a"))
    for value in (*wrong, np.array([np.nan]), np.array([1j]), np.array([True])):
        with pytest.raises(
            ValueError, match="must be a sequence or an array of finite"
        ):
            checks.real_numbers("Owner", "argument", value)
    for value in ([HUGE], ["1"], [None], [[1.0]], [np.nan]):
        with pytest.raises(ValueError, match="must be a finite real number"):
            checks.real_numbers("Owner", "argument", value)


# ---------------------------------------------------------------- arrays and windows


@pytest.mark.parametrize("dtype", [">f4", ">f8"])
def test_configuration_in_another_byte_order_is_taken(dtype):
    window, basis = np.hanning(64).astype(dtype), np.ones((4, 33), dtype)
    native = dtype.replace(">", "=")
    np.testing.assert_array_equal(
        ke.STFT(64, window=window)(GOOD),
        ke.STFT(64, window=window.astype(native))(GOOD),
    )
    swapped = ke.MelSpectrogram(8000, 64, n_mels=4, basis=basis)
    plain = ke.MelSpectrogram(8000, 64, n_mels=4, basis=basis.astype(native))
    np.testing.assert_array_equal(swapped(GOOD), plain(GOOD))


@pytest.mark.skipif(np.longdouble == np.float64, reason="no longer floats here")
def test_configuration_in_longer_floats_is_refused():
    long = np.ones(64, np.longdouble)
    for make in (
        lambda: ke.STFT(64, window=long),
        lambda: ke.MelScale(8000, 64, n_mels=4, basis=np.ones((4, 33), np.longdouble)),
    ):
        with pytest.raises(
            ValueError, match=r"of at most 64 bits.*astype\('float64'\)"
        ):
            make()


@pytest.mark.parametrize(
    "window",
    [
        ("chebwin", 1e6),
        ("chebwin", HUGE),
        ("kaiser", HUGE),
        ("taylor", 4, 1e6),
        ("taylor", HUGE),
        ("gaussian", 0),
        ("gaussian", "a"),
        ("dpss", HUGE),
        ("general_cosine", ()),
        ("general_cosine", (HUGE,)),
        ("tukey", None, None),
        ("",),
        ((),),
        (),
        HUGE,
        -HUGE,
        float("nan"),
    ],
    ids=name,
)
def test_windows_that_scipy_cannot_make(window):
    for make in (
        lambda: ke.STFT(64, window=window),
        lambda: ke.MRSTFTLoss((16,), (64,), window=window),
        lambda: ke.PitchTransportLoss(64, 16, window),
        lambda: ke.CQT(8000, fmin=500.0, n_bins=12, window=window),
    ):
        with pytest.raises(ValueError, match=r"\(window=\.\.\.\)` must be"):
            make()


# ------------------------------------------------------------------------- warnings


class Part(eqx.Module):
    """A class that warns, as those of the package do when they are made."""

    hop: int = eqx.field(static=True)

    def __init__(self, hop: int):
        self.hop = hop
        _warnings.warn_hop_longer_than_window("Part", hop, 64)


class Whole(eqx.Module):
    """A class made of one that warns, and that warns itself."""

    part: Part

    def __init__(self, hop: int):
        _warnings.warn_hop_longer_than_window("Whole", hop, 64)
        with _warnings.without_warnings():
            self.part = Part(hop)

    @property
    def hop(self) -> int:
        return self.part.hop


def one_warning(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert len(caught) <= 1
    return caught[0] if caught else None


def test_hops_longer_than_their_windows():
    assert one_warning(lambda: Whole(64)) is None
    warning = one_warning(lambda: Whole(65))
    assert str(warning.message) == (
        "`Whole`: `hop_length` = 65 is longer than the window, 64 samples: 1 samples "
        "between two frames are skipped. The order of the arguments is not that of "
        "auraloss: use keywords."
    )
    warn = _warnings.warn_hops_longer_than_windows
    assert one_warning(lambda: warn("Owner", (1, 2), (1, 2))) is None
    warning = one_warning(lambda: warn("Owner", (1, 1024, 2048), (64, 120, 240)))
    assert "`hop_length` = 1024 is longer than the window, 120" in str(warning.message)


def test_warnings_name_the_class_that_the_user_called():
    def make():
        with checks.owned_by("Outer"):
            Part(100)

    assert str(one_warning(make).message).startswith("`Outer`: ")


def test_warnings_are_issued_again_after_quiet_parts():
    with _warnings.without_warnings():
        assert one_warning(lambda: Part(100)) is None
    assert one_warning(lambda: Part(100)) is not None


def test_highest_frequencies_above_nyquist():
    warn = _warnings.warn_fmax_above_nyquist
    for fmax in (None, 100.0, 4000):
        assert one_warning(lambda fmax=fmax: warn("Owner", fmax, 8000)) is None
    warning = one_warning(lambda: warn("Owner", 4000.5, 8000))
    assert str(warning.message) == (
        "`Owner`: `fmax` = 4000.5 Hz is above half the sample rate, 4000 Hz: the bands "
        "above that are empty. Use `fmax=None` for half the sample rate."
    )


@pytest.mark.parametrize("htk", [False, True])
@pytest.mark.parametrize(
    ("fmin", "fmax"), [(0.0, 4000.0), (30.0, 3000.0), (0.0, 6000.0)]
)
@pytest.mark.parametrize(
    ("n_fft", "n_mels"), [(64, 8), (256, 40), (256, 80), (255, 60)]
)
def test_empty_bands_are_those_of_the_matrix(htk, fmin, fmax, n_fft, n_mels):
    matrix = mel_matrix(8000, n_fft, n_mels, fmin, fmax, htk, None)
    corners = mel_frequencies_table(n_mels + 2, fmin, fmax, htk)
    empty = np.flatnonzero(~matrix.any(axis=1))
    warning = one_warning(
        lambda: _warnings.warn_empty_bands("Owner", corners, 8000, n_fft)
    )
    if not empty.size:
        assert warning is None
        return
    assert str(warning.message).startswith(
        f"`Owner`: {empty.size} of {n_mels} mel bands are empty, the first is band "
        f"{empty[0]}: no FFT bin lies in them"
    )


def test_warnings_are_at_the_line_of_the_user():
    # As from a module of the package, however deep within it.
    inside = {
        "__name__": "korvax_eqx._made_up",
        "warn": _warnings.warn_fmax_above_nyquist,
    }
    code = "def make(n): make(n - 1) if n else warn('A', 9, 2)"
    exec(compile(code, "made_up.py", "exec"), inside)
    here = sys._getframe().f_lineno + 1
    warning = one_warning(lambda: inside["make"](3))
    assert (warning.filename, warning.lineno) == (__file__, here)


def test_files_are_saved_and_loaded_without_warnings():
    part = [None]
    assert one_warning(lambda: part.append(Whole(100))) is not None
    file = io.BytesIO()
    for call in (lambda: ke.save(file, part[-1]), lambda: ke.to_config(part[-1])):
        assert one_warning(call) is None
    file.seek(0)
    assert one_warning(lambda: ke.load(file, custom=(Whole,))) is None
    config = {"class": "Whole", "arguments": {"hop": 100}}
    warning = one_warning(lambda: ke.from_config(config, custom=(Whole,)))
    assert "skipped" in str(warning.message) and warning.filename == __file__


# ------------------------------------------------------------------- keys and lengths


KEYS = [
    (0, "Got 0. Make one with `jax.random.key(0)`."),
    (1.5, "Got 1.5. Make one with `jax.random.key(0)`."),
    (np.array(3), "Got an array int64[]. Make one with"),
    (np.zeros(3, np.uint32), "Got an array uint32[3]. Make one with"),
    (np.zeros((4, 2), np.uint32), "uint32[4, 2]. Pass one of them, `key[0]`; for one"),
]
KEYED = {
    "drawn": lambda: ke.RandomSubsetLoss([ke.WaveformLoss(), ke.ESRLoss()]),
    "sum": lambda: ke.SumLoss({"a": ke.RandomSubsetLoss([ke.WaveformLoss()])}),
    "other": lambda: ke.WaveformLoss(),
}


@pytest.mark.parametrize("name", list(KEYED))
def test_keys_that_are_none(name):
    loss, x = KEYED[name](), jnp.ones((2, 500))
    bound = loss.bind(x, key=jax.random.key(0))
    keys = jax.random.split(jax.random.key(0), 3)
    said = [*KEYS, (keys, "[3]. Pass one of them, `key[0]`")]
    for key, text in said:
        for call in (
            lambda key: loss(x, x, key=key),
            lambda key: loss.with_terms(x, x, key=key),
            lambda key: loss.parts(x, x, key=key),
            lambda key: loss.bind(x, key=key),
            lambda key: bound(x, key=key),
            lambda key: bound.with_terms(x, key=key),
            lambda key: bound.parts(x, key=key),
            lambda key: jax.jit(lambda x: loss(x, x, key=key))(x),
        ):
            with pytest.raises(ValueError) as caught:
                call(key)
            owner = f"`{type(loss).__name__}(key=...)` must be one key of `jax.random`."
            assert str(caught.value).startswith(owner) and text in str(caught.value)
    for key in (jax.random.PRNGKey(0), np.asarray(jax.random.PRNGKey(0)), keys[0]):
        assert loss(x, x, key=key) == bound(x, key=key) == 0
        assert jax.jit(lambda key: loss(x, x, key=key))(key) == 0


def test_a_mask_is_no_lengths():
    x = jnp.ones((2, 500))
    mask = jnp.arange(500) < jnp.array([[500], [300]])
    for wrong in (mask, np.asarray(mask)):
        with pytest.raises(ValueError, match=r"Convert it: `mask\.sum\(-1\)`\.$"):
            ke.WaveformLoss()(x, x, lengths=wrong)
        ke.WaveformLoss()(x, x, lengths=wrong.sum(-1))
    with pytest.raises(ValueError, match=r"Convert it: `.astype\('int32'\)`"):
        ke.WaveformLoss()(x, x, lengths=jnp.array([500.0, 300.0]))


def own_function(*args):
    return jnp.mean(args[0]) if len(args) == 2 else args[0]


class OwnModule(eqx.Module):
    def __call__(self, *args):
        return own_function(*args)


class OwnMap(ke.AbstractSignalMap):
    def apply(self, data):
        return data


def of_kinds(fn):
    """A loss with a function at each of the places where one may be."""
    spectrogram, mean, wave = ke.Spectrogram(64), ke.ElementwiseLoss(), ke.WaveformLoss
    scale = ke.TimeFrequencyLoss(spectrogram, mean, fn)
    chain = ke.TimeFrequencyLoss(spectrogram, mean, ke.Chain((ke.Log(), fn)))
    batch = ke.TimeFrequencyLoss(spectrogram, [ke.BatchRelativeLoss(), fn])
    return [
        ("AbstractWaveformLoss", ke.SumLoss([wave(), fn])),
        ("AbstractWaveformLoss", ke.MappedLoss(OwnMap(), ke.SumLoss([wave(), fn]))),
        ("AbstractWaveformLoss", ke.RandomSubsetLoss({"a": wave(), "b": fn})),
        ("AbstractSignalMap", ke.MappedLoss(fn, wave())),
        ("AbstractSignalMap", ke.SumLoss([wave(), ke.MappedLoss(fn, wave())])),
        ("AbstractTransform", ke.TimeFrequencyLoss(fn, mean)),
        ("AbstractScale", scale),
        ("AbstractScale", chain),
        ("AbstractScale", ke.RandomSubsetLoss([ke.MappedLoss(OwnMap(), chain)])),
        ("AbstractSpectralLoss", ke.TimeFrequencyLoss(spectrogram, fn)),
        ("AbstractSpectralLoss", ke.RandomSubsetLoss([wave(), batch])),
    ]


@pytest.mark.parametrize("fn", [own_function, OwnModule()], ids=["function", "module"])
@pytest.mark.parametrize("index", range(len(of_kinds(own_function))))
def test_lengths_of_a_function_name_the_base_of_its_kind(fn, index):
    base, loss = of_kinds(fn)[index]
    x, lengths, key = jnp.ones((2, 500)), jnp.array([500, 300]), jax.random.key(0)
    name = "own_function" if fn is own_function else "OwnModule"
    for call in (
        lambda: loss(x, x, lengths=lengths, key=key),
        lambda: loss.bind(x, lengths=lengths, key=key),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        text = str(caught.value)
        assert text.startswith(
            f"`lengths` cannot be combined with `{name}`: a function"
        )
        assert text.endswith(f"Use a class derived from `{base}` instead.")


def test_lengths_of_a_draw_of_losses_over_the_batch():
    """The draw counts what the loss alone counts: no padding."""
    batch = ke.TimeFrequencyLoss(ke.Spectrogram(64), ke.BatchRelativeLoss())
    mapped = ke.MappedLoss(OwnMap(), batch)
    x, y = jax.random.normal(jax.random.key(1), (2, 2, 500))
    lengths, key = jnp.array([500, 300]), jax.random.key(0)
    expected = jax.value_and_grad(batch)(x, y, lengths=lengths)
    x = x.at[1, 300:].set(jnp.nan)
    for bank, n_draws in (([batch], 1), ([mapped], 1), ([batch, ke.ESRLoss()], 2)):
        drawn = ke.RandomSubsetLoss({str(i): p for i, p in enumerate(bank)}, n_draws)
        loss = ke.SumLoss({"drawn": drawn, "wave": ke.WaveformLoss()})
        terms = loss.with_terms(x, y, lengths=lengths, key=key)[1]
        name = next(name for name in terms if name in ("drawn", "drawn/0"))

        def of_name(x, loss=loss, name=name):
            return loss.with_terms(x, y, lengths=lengths, key=key)[1][name]

        value, gradient = jax.value_and_grad(of_name)(x)
        np.testing.assert_allclose(value, expected[0], rtol=1e-6)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-5, atol=1e-9)
        assert not gradient[1, 300:].any()


_SIGNAL = np.zeros((2, 4000), np.float32)
_MODEL = eqx.nn.MLP(2, 2, 4, 1, key=jax.random.key(0))


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda: ke.SISDRLoss(_SIGNAL, _SIGNAL), "make it first: `SISDRLoss(...)(x"),
        (lambda: ke.MRSTFTLoss(_SIGNAL, _SIGNAL), "[2, 4000]. To call a loss, make"),
        (lambda: ke.save("a.eqx", _MODEL), "saves the weights of a whole model."),
        (lambda: ke.MRSTFTLoss(fft_sizes=(64, 128)), "give one of these arguments, gi"),
        (lambda: ke.SumLoss([ke.recipes.mrstft]), "Call it: `mrstft(...)`"),
        (lambda: ke.from_config('{"class": "Log"}'), "with `json.loads` first"),
        (lambda: ke.save(ke.WaveformLoss(), "a.eqx"), "`save(path, loss)`"),
        (
            lambda: jax.vmap(ke.WaveformLoss().bind(_SIGNAL))(_SIGNAL),
            "In `jax.vmap` map both",
        ),
        (
            lambda: jax.vmap(ke.WaveformLoss().bind)(_SIGNAL)(_SIGNAL[0]),
            "mapped by `jax.vmap`. Got an estimate of shape (4000,). In `jax.vmap` map",
        ),
        (
            lambda: jax.vmap(ke.MRSTFTLoss().bind)(_SIGNAL)(_SIGNAL[0]),
            "mapped by `jax.vmap`. Got an estimate of shape (4000,). In `jax.vmap` map",
        ),
        (
            lambda: ke.SumLoss([lambda x, y: None])(_SIGNAL, _SIGNAL),
            "The loss `<lambda>` must return a scalar. Got None.",
        ),
    ],
)
def test_frequent_mistakes_are_told_the_way_out(call, remedy):
    with pytest.raises((ValueError, ke.LoadError), match=re.escape(remedy)):
        call()


def _imaginary(x):
    return jax.lax.complex(jnp.zeros_like(x), x)


class _OfSpectra(ke.AbstractSpectralLoss):
    def values(self, x, y):
        return x.holding((x.S - y.S) ** 2).mean()


class _OfSignals(ke.AbstractWaveformLoss):
    def values(self, x, y):
        return _imaginary(x.x - y.x).mean(-1)


@pytest.mark.parametrize(
    "loss",
    [
        ke.TimeFrequencyLoss(ke.STFT(64), _OfSpectra()),
        ke.TimeFrequencyLoss(ke.STFT(64), lambda x, y: jnp.mean((x - y) ** 2)),
        _OfSignals(),
        ke.SumLoss([lambda x, y: jnp.mean(_imaginary(x - y))]),
        ke.PermutationInvariantLoss(lambda x, y: jnp.mean(_imaginary(x - y))),
    ],
    ids=["spectra", "function of spectra", "signals", "function", "sources"],
)
def test_losses_are_real(loss):
    """Of squared complex differences, the real part alone would count."""
    x, y = jax.random.normal(jax.random.key(0), (2, 2, 500))
    with pytest.raises(ValueError, match="must return real numbers. Got complex64"):
        loss(x, y)


def test_a_weight_of_another_shape_is_refused():
    loss = ke.SumLoss({"wave": ke.WaveformLoss()}, {"wave": jnp.array(1.0)})
    loss = eqx.tree_at(lambda loss: loss.weights["wave"], loss, jnp.ones(3))
    with pytest.raises(ValueError, match=r"weight of `wave` must be a scalar.*\(3,\)"):
        loss(_SIGNAL, _SIGNAL)


def test_a_mask_is_not_taken_for_a_signal():
    with pytest.raises(ValueError, match=r"`mask\.sum\(-1\)`\.$"):
        ke.WaveformLoss()(_SIGNAL, _SIGNAL, lengths=_SIGNAL > 0)


def test_a_loss_that_holds_arrays_says_how_to_compile_it():
    """`jax.jit` needs a hash of what it is given."""
    loss = ke.SumLoss([ke.WaveformLoss()], jnp.ones(1))
    x, y = jax.random.normal(jax.random.key(0), (2, 100))
    for fn in (loss, loss.with_terms, loss.bind(y)):
        with pytest.raises(TypeError, match=r"`SumLoss` cannot .* `eqx.filter_jit"):
            jax.jit(fn)(x, y)
    balancer = ke.GradientBalancer({"wave": jnp.ones(())})
    with pytest.raises(TypeError, match=r"`GradientBalancer` .* `eqx.filter_jit`"):
        jax.jit(balancer.update)({"wave": x}, balancer.init())
    mixtures = ke.MixtureInvariantLoss(loss)
    with pytest.raises(TypeError, match=r"`MixtureInvariantLoss` .* `eqx.filter_jit`"):
        jax.jit(mixtures)(x, y)
    expected = np.mean(np.abs(x - y))
    np.testing.assert_allclose(eqx.filter_jit(loss)(x, y), expected, rtol=1e-6)
    hash(ke.SumLoss([ke.WaveformLoss()]))


@pytest.mark.parametrize("value", [-1e-3, 0.0, np.nan, np.inf])
@pytest.mark.parametrize(
    "make",
    [
        lambda a: ke.LogCoshLoss(a=a),
        lambda a: ke.Log(eps=a),
        lambda a: ke.PowerToDB(ref=a),
        lambda a: ke.AmplitudeToDB(ref=a),
        lambda a: ke.Power(a),
    ],
    ids=["LogCoshLoss", "Log", "PowerToDB", "AmplitudeToDB", "Power"],
)
def test_learnable_numbers_outside_their_range_are_refused(make, value):
    """As far as they are known: they would give NaN, or no gradient."""
    with pytest.raises(ValueError, match=r"must be (a finite )?positive"):
        make(jnp.array(value))
    jax.eval_shape(lambda a: jax.tree.leaves(make(a)), jnp.array(value))
