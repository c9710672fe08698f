"""Scales: identity, logarithm, decibels, mel bands, frequency weightings, chains."""

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

from korvax_eqx._core._steps import AbstractScale
from korvax_eqx._scales import _decibel as decibel
from korvax_eqx._scales._chain import Chain
from korvax_eqx._scales._decibel import AmplitudeToDB, PowerToDB
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._log import Log
from korvax_eqx._scales._mel import MelScale, to_mel_scale
from korvax_eqx._scales._weighting import (
    AWeighting,
    BWeighting,
    CWeighting,
    DWeighting,
)

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


N_BINS = 33
N_FFT = 64
WEIGHTINGS = {"A": AWeighting, "B": BWeighting, "C": CWeighting, "D": DWeighting}

# One line for each class: how to make two equal instances of it.
CASES = {
    "Identity": Identity,
    "Log": functools.partial(Log, factor=3.0, eps=1e-5),
    "AmplitudeToDB": functools.partial(AmplitudeToDB, ref=0.5, top_db=60.0),
    "AmplitudeToDB of max": functools.partial(AmplitudeToDB, ref=jnp.max),
    "PowerToDB": functools.partial(PowerToDB, amin=1e-6, top_db=None),
    "PowerToDB of max": functools.partial(PowerToDB, ref=jnp.max),
    "MelScale": functools.partial(MelScale, 16000, N_FFT, 8, fmin=50.0, htk=True),
    "MelScale of a basis": lambda: MelScale(
        16000, N_FFT, 4, basis=np.random.default_rng(9).random((4, N_BINS))
    ),
    "AWeighting": functools.partial(AWeighting, sr=16000, n_fft=N_FFT),
    "BWeighting": functools.partial(BWeighting, tuple(range(N_BINS)), min_db=-30.0),
    "CWeighting": lambda: CWeighting(np.linspace(50.0, 8000.0, N_BINS), min_db=None),
    "DWeighting": functools.partial(DWeighting, list(range(1, N_BINS + 1))),
    "Chain": lambda: Chain((PowerToDB(), Chain([AWeighting(sr=8000, n_fft=N_FFT)]))),
}


def assert_close(actual, expected, tolerance):
    """Compare relative to the largest expected value: zeros have no scale."""
    actual = np.asarray(actual, np.float64)
    expected = np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    error = np.max(np.abs(actual - expected))
    assert error <= tolerance * np.max(np.abs(expected))


def spectra(seed, shape=(2, 3, N_BINS, 5)):
    """Positive values over nine decades."""
    return 10.0 ** np.random.default_rng(seed).uniform(-6.0, 3.0, shape)


def value_and_grad(function, S, seed=0):
    """Return the values, and the gradient of a random combination of them."""
    values, pullback = jax.vjp(function, S)
    weights = np.random.default_rng(seed).standard_normal(values.shape)
    return values, pullback(jnp.asarray(weights, values.dtype))[0]


def assert_agree(ours, theirs, S, tolerances=(1e-9, 1e-5)):
    """Compare values and gradients in float64, then ours in float32 with them."""
    with jax.enable_x64(True), promotion.usual_promotion():
        expected = value_and_grad(theirs, jnp.asarray(S))
    with jax.enable_x64(True):
        actual = value_and_grad(ours, jnp.asarray(S))
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype in (jnp.float64, jnp.complex128)
        assert_parts_close(a, e, tolerances[0])
    is_complex = np.iscomplexobj(S)
    single = jnp.asarray(S, jnp.complex64 if is_complex else jnp.float32)
    actual = value_and_grad(ours, single)
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype in (jnp.float32, jnp.complex64)
        assert_parts_close(a, e, tolerances[1])


def assert_parts_close(actual, expected, tolerance):
    actual, expected = np.asarray(actual), np.asarray(expected)
    if not np.iscomplexobj(expected):
        return assert_close(actual, expected, tolerance)
    actual, expected = (np.stack([np.real(a), np.imag(a)]) for a in (actual, expected))
    return assert_close(actual, expected, tolerance)


# ----------------------------------------------------------- laws of every scale


@pytest.mark.parametrize("name", CASES)
class TestLaws:
    def test_has_no_leaves(self, name):
        assert jax.tree.leaves(CASES[name]()) == []

    @pytest.mark.cheap
    def test_is_a_final_scale(self, name):
        scale = CASES[name]()
        assert isinstance(scale, AbstractScale)
        for base in type(scale).__bases__:
            with pytest.raises(TypeError, match="abstract"):
                base()
        assert not inspect.isabstract(type(scale))

    def test_equal_instances_share_one_compilation(self, name):
        first, second = CASES[name](), CASES[name]()
        assert first is not second and first == second and hash(first) == hash(second)
        n_traces = 0

        @jax.jit
        def evaluate(scale, S):
            nonlocal n_traces
            n_traces += 1
            return scale(S)

        S = jnp.asarray(spectra(0), jnp.float32)
        evaluate(first, S)
        evaluate(second, S)
        assert n_traces == 1

    def test_can_be_rebuilt_from_its_attributes(self, name):
        scale = CASES[name]()
        names = inspect.signature(type(scale)).parameters
        arguments = {key: getattr(scale, key) for key in names}
        assert type(scale)(**arguments) == scale

    def test_jit_and_vmap_equal_eager(self, name):
        scale, S = CASES[name](), jnp.asarray(spectra(1), jnp.float32)
        expected = scale(S)
        assert_close(jax.jit(scale)(S), expected, 1e-6)
        assert_close(jax.vmap(scale)(S), expected, 1e-6)
        # Every spectrogram on its own, whatever else is in the batch.
        alone = jnp.stack([jnp.stack([scale(S_ij) for S_ij in S_i]) for S_i in S])
        assert_close(alone, expected, 1e-6)

    def test_gradient_is_finite(self, name):
        scale = CASES[name]()
        one_silent = spectra(2)
        one_silent[0, 1, 7, 2] = 0.0
        for S in (np.zeros_like(one_silent), 1e-30 * one_silent, one_silent):
            S = jnp.asarray(S, jnp.float32)
            values, gradient = value_and_grad(scale, S)
            assert np.all(np.isfinite(values)) and np.all(np.isfinite(gradient))

    def test_dtypes(self, name):
        scale, S = CASES[name](), spectra(3)
        assert scale(jnp.asarray(S, jnp.float32)).dtype == jnp.float32
        if name != "Identity":
            assert scale(jnp.asarray(S, jnp.bfloat16)).dtype == jnp.float32
        with jax.enable_x64(True):
            assert scale(jnp.asarray(S)).dtype == jnp.float64
            gradient = jax.grad(lambda S: jnp.sum(scale(S)))(jnp.asarray(S, "float32"))
            assert gradient.dtype == jnp.float32

    def test_nan_is_not_hidden(self, name):
        S = spectra(4)
        S[0, 0, 20, 1] = np.nan
        values = CASES[name]()(jnp.asarray(S, jnp.float32))
        assert np.any(np.isnan(values[0, 0])) and not np.any(np.isnan(values[1]))

    def test_refuses_what_is_no_spectrogram(self, name):
        if name == "Identity":
            return
        scale = CASES[name]()
        owner = type(scale).__name__
        takes_complex = owner in ("AmplitudeToDB", "PowerToDB", "Chain")
        integers = np.ones((N_BINS, 3), np.int32)
        message = f"`{owner}`: the spectrogram must be .* of floats. Got an array int32"
        with refused(message):
            scale(integers)
        if not takes_complex:
            message = (
                f"`{owner}`: .* array of real floats. "
                rf"Got an array complex64\[{N_BINS}, 3\]. Convert it first"
            )
            with refused(message):
                scale(jnp.ones((N_BINS, 3), jnp.complex64))
        message = rf"`{owner}`: the spectrogram must have shape .* Got \({N_BINS},\)"
        with refused(message):
            scale(jnp.ones(N_BINS))
        with refused(rf"Got \(2, {N_BINS}, 0\)"):
            scale(jnp.ones((2, N_BINS, 0)))


# ---------------------------------------------------------------- identity, logs


def test_identity_returns_its_argument():
    S = jnp.asarray(spectra(0, (3, 2)) + 1j, jnp.complex64)
    returned = Identity()(S)
    assert returned.dtype == S.dtype
    np.testing.assert_array_equal(returned, S)


@slices.BY_SEEDS
def test_log_equals_its_formula(seeds):
    for seed in seeds:
        rng = np.random.default_rng(seed)
        factor, eps = 10.0 ** rng.uniform(-1.0, 2.0), 10.0 ** rng.uniform(-7.0, 0.0)
        log = Log(factor, eps)
        S = spectra(seed, (N_BINS, 5))
        with jax.enable_x64(True):
            values, gradient = value_and_grad(log, jnp.asarray(S), seed)
        assert_close(values, np.log(factor * S + eps), 1e-12)
        weights = np.random.default_rng(seed).standard_normal(S.shape)
        assert_close(gradient, weights * factor / (factor * S + eps), 1e-12)
        single = value_and_grad(log, jnp.asarray(S, jnp.float32), seed)
        assert_close(single[0], values, 1e-5)
        assert_close(single[1], gradient, 1e-5)


def test_log_eps_below_the_dtype_stays_finite():
    values, gradient = value_and_grad(Log(eps=1e-60), jnp.zeros((3, 2), jnp.float32))
    assert np.all(np.isfinite(values)) and np.all(np.isfinite(gradient))


def test_log_parameters_are_learnable():
    with jax.enable_x64(True):
        log = Log(jnp.asarray(2.0), jnp.asarray(0.1))
        S = jnp.asarray(spectra(0, (N_BINS, 5)))
        assert len(jax.tree.leaves(log)) == 2
        gradient = eqx.filter_grad(lambda log: jnp.sum(log(S)))(log)
        assert_close(gradient.factor, jnp.sum(S / (2.0 * S + 0.1)), 1e-12)
        assert_close(gradient.eps, jnp.sum(1.0 / (2.0 * S + 0.1)), 1e-12)
    # Its dtype does not change that of the spectrum.
    assert log(jnp.ones((3, 2), jnp.float32)).dtype == jnp.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 0.0}, r"`Log\(factor=...\)` must be positive. Got 0.0"),
        ({"eps": -1.0}, r"`Log\(eps=...\)` must be positive. Got -1.0"),
        ({"eps": math.inf}, "must be a finite real number. Got inf"),
        ({"factor": "1"}, "must be a finite real number. Got '1'"),
        ({"factor": np.ones(2)}, "must be a finite real number. Got an array"),
        ({"factor": True}, "must be a finite real number. Got True"),
    ],
)
def test_log_refusals(options, message):
    with refused(message):
        Log(**options)


def test_log_refuses_arrays_that_are_no_real_scalars():
    with refused("must be a real floating scalar. Got an array float32"):
        Log(eps=jnp.ones(3))
    with refused("must be a real floating scalar. Got an array int32"):
        Log(factor=jnp.ones((), jnp.int32))


# ---------------------------------------------------------------------- decibels


def random_decibels(rng):
    refs = (1.0, 10.0 ** rng.uniform(-3.0, 2.0), jnp.max, jnp.mean, -0.3)
    return {
        "ref": refs[rng.integers(len(refs))],
        "amin": 10.0 ** rng.uniform(-10.0, -4.0),
        "top_db": (None, 80.0, rng.uniform(10.0, 60.0))[rng.integers(3)],
    }


@slices.BY_SEEDS
@pytest.mark.parametrize("name", ["amplitude_to_db", "power_to_db"])
def test_decibels_equal_korvax(name, seeds):
    ours, theirs = getattr(decibel, name), getattr(korvax, name)
    for seed in seeds:
        rng = np.random.default_rng([seed, 1])
        options = random_decibels(rng)
        S = spectra(seed, (2, 9, 5))
        S[0, 3, 2] = 0.0
        if rng.integers(3) == 0:
            S = S * np.exp(1j * rng.uniform(0.0, 6.0, S.shape))
        assert_agree(
            functools.partial(ours, **options), functools.partial(theirs, **options), S
        )


@pytest.mark.parametrize("name", ["amplitude_to_db", "power_to_db"])
def test_decibels_equal_librosa(name):
    for seed in range(10):
        rng = np.random.default_rng([seed, 2])
        options = random_decibels(rng)
        S = spectra(seed, (9, 5))
        by_librosa = options | ({"ref": np.max} if callable(options["ref"]) else {})
        if callable(options["ref"]):
            options["ref"] = jnp.max
        with jax.enable_x64(True):
            actual = getattr(decibel, name)(jnp.asarray(S), **options)
        assert_close(actual, getattr(librosa, name)(S, **by_librosa), 1e-12)


@pytest.mark.parametrize("name", ["db_to_amplitude", "db_to_power"])
def test_decibels_back_equal_korvax(name):
    ours, theirs = getattr(decibel, name), getattr(korvax, name)
    for seed in range(N_CONFIGURATIONS):
        rng = np.random.default_rng([seed, 3])
        S_db = rng.uniform(-100.0, 20.0, (3, 4))
        ref = 10.0 ** rng.uniform(-2.0, 2.0)
        # exp(23) in float32: the rounding of the exponent is multiplied by 23.
        assert_agree(
            functools.partial(ours, ref=ref), functools.partial(theirs, ref=ref), S_db
        )
        with jax.enable_x64(True):
            expected = getattr(librosa, name)(S_db, ref=ref)
            assert_close(ours(jnp.asarray(S_db), ref), expected, 1e-12)


@pytest.mark.parametrize("kind", ["amplitude", "power"])
def test_decibels_round_trip(kind):
    S = jnp.asarray(spectra(0, (4, 5)), jnp.float32)
    to_db = functools.partial(getattr(decibel, f"{kind}_to_db"), ref=0.1, top_db=None)
    assert_close(getattr(decibel, f"db_to_{kind}")(to_db(S), ref=0.1), S, 1e-5)


@pytest.mark.parametrize("name", ["amplitude_to_db", "power_to_db"])
def test_decibel_functions_take_numbers_of_any_kind(name):
    function = getattr(decibel, name)
    factor = 20.0 if "amplitude" in name else 10.0
    for S in (1000, 1000.0, np.int32(1000), jnp.asarray(1000), np.asarray([1000.0])):
        assert function(S).dtype == jnp.float32
        assert_close(function(S), np.full(np.shape(S), 3.0 * factor), 1e-6)
    assert_close(function([1, 1000], top_db=5.0)[0], 3.0 * factor - 5.0, 1e-6)
    learnable = jnp.asarray(10.0)
    assert_close(function(1000.0, ref=learnable), 2.0 * factor, 1e-6)


CLASSES = [(AmplitudeToDB, "amplitude_to_db"), (PowerToDB, "power_to_db")]


@pytest.mark.parametrize(("cls", "name"), CLASSES)
def test_decibel_classes_equal_the_function_for_each_spectrogram(cls, name):
    function = getattr(decibel, name)
    assert cls() == cls(
        **{
            key: parameter.default
            for key, parameter in inspect.signature(function).parameters.items()
            if key != "S"
        }
    )
    for seed in range(4):
        options = random_decibels(np.random.default_rng([seed, 4]))
        if not callable(options["ref"]):
            options["ref"] = abs(options["ref"])

        def each(S, options=options):
            flat = [function(S_i, **options) for S_i in S.reshape(-1, *S.shape[-2:])]
            return jnp.stack(flat).reshape(S.shape)

        S = spectra(seed, (2, 2, 9, 5))
        assert_agree(cls(**options), each, S, (1e-12, 1e-5))
        S = S * np.exp(1j * S)
        assert_agree(cls(**options), each, S, (1e-12, 1e-5))


@pytest.mark.parametrize(("cls", "name"), CLASSES)
def test_decibel_reference_is_learnable(cls, name):
    with jax.enable_x64(True):
        scale = cls(ref=jnp.asarray(0.5), top_db=None)
        assert len(jax.tree.leaves(scale)) == 1
        S = jnp.asarray(spectra(0, (3, 4)))
        gradient = eqx.filter_grad(lambda scale: jnp.sum(scale(S)))(scale).ref
        factor = 20.0 if cls is AmplitudeToDB else 10.0
        assert_close(gradient, -12.0 * factor / (math.log(10.0) * 0.5), 1e-12)
        function = getattr(decibel, name)
        assert_close(scale(S), function(S, ref=0.5, top_db=None), 1e-14)


@pytest.mark.parametrize(("cls", "name"), CLASSES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ref": 0.0}, r"\(ref=...\)` must be positive. Got 0.0"),
        ({"ref": "max"}, r"\(ref=...\)` must be a finite real number. Got 'max'"),
        ({"amin": 0.0}, r"\(amin=...\)` must be positive. Got 0.0"),
        ({"amin": None}, r"\(amin=...\)` must be a finite real number. Got None"),
        ({"top_db": -1.0}, r"\(top_db=...\)` must be non-negative. Got -1.0"),
        ({"top_db": math.nan}, r"\(top_db=...\)` must be a finite real number"),
    ],
)
def test_decibel_refusals(cls, name, options, message):
    with refused(f"`{cls.__name__}{message}"):
        cls(**options)
    if "ref" not in options:
        with refused(f"`{name}{message}"):
            getattr(decibel, name)(1.0, **options)


@pytest.mark.parametrize(("cls", "name"), CLASSES)
def test_decibel_reference_must_be_one_number_or_return_one(cls, name):
    with refused("must be a real floating scalar. Got an array"):
        cls(ref=jnp.ones(3))
    scale = cls(ref=lambda S: jnp.max(S, axis=-1))
    message = r"must return one number .* Got \(9,\). Reduce over both"
    with refused(message):
        scale(jnp.ones((2, 9, 5)))


# --------------------------------------------------------------------- mel bands


def random_mel(rng):
    return {
        "sr": rng.uniform(8000.0, 48000.0),
        "n_fft": N_FFT,
        "n_mels": 8,
        "fmin": (0.0, rng.uniform(0.0, 800.0))[rng.integers(2)],
        "fmax": (None, rng.uniform(1500.0, 4000.0))[rng.integers(2)],
    }


@slices.BY_SEEDS
def test_mel_scale_equals_korvax(seeds):
    rngs = (np.random.default_rng([seed, 5]) for seed in seeds)
    configurations = list(map(random_mel, rngs))

    def in_all(to_mel, S):
        return jnp.stack([to_mel(S, **options) for options in configurations])

    def ours(S):
        return in_all(to_mel_scale, S)

    S = spectra(0, (2, N_BINS, 5))
    with jax.enable_x64(True), promotion.usual_promotion():
        theirs = functools.partial(in_all, korvax.to_mel_scale)
        expected = value_and_grad(theirs, jnp.asarray(S))
    for dtype, tolerance in (("float64", 1e-9), ("float32", 1e-5)):
        with jax.enable_x64(dtype == "float64"):
            # One compilation: each configuration has products of other shapes.
            compiled = jax.jit(functools.partial(value_and_grad, ours))
            actual = compiled(jnp.asarray(S, dtype))
        for a, e in zip(actual, expected, strict=True):
            assert a.dtype == dtype
            assert_close(a, e, tolerance)


def test_mel_scale_equals_librosa():
    S = spectra(0, (2, 513, 5))
    options = {"sr": 22050, "n_fft": 1024, "htk": True, "norm": 1.0}
    matrix = librosa.filters.mel(**options, dtype=np.float64)
    expected = np.einsum("mf,bfn->bmn", matrix, S)
    assert_close(MelScale(**options)(jnp.asarray(S, jnp.float32)), expected, 1e-5)


@pytest.mark.filterwarnings("ignore:.*mel bands are empty")
@pytest.mark.parametrize("n_mels", [1, 5, 128])
def test_mel_scale_equals_the_full_product(n_mels):
    # 128 bands over 513 bins: at this `fmax` some bands are all zeros.
    scale = MelScale(44100, 1024, n_mels, 30.0, 3000.0)
    S = spectra(n_mels, (2, 513, 3))
    with jax.enable_x64(True):
        values, gradient = value_and_grad(scale, jnp.asarray(S))
    assert_close(values, np.einsum("mf,bfn->bmn", scale.matrix, S), 1e-13)
    weights = np.random.default_rng(0).standard_normal(values.shape)
    expected = np.einsum("mf,bmn->bfn", scale.matrix, weights)
    assert_close(gradient, expected, 1e-13)


@pytest.mark.parametrize("density", [0.0, 0.01, 1.0])
def test_mel_scale_of_any_numpy_basis(density):
    rng = np.random.default_rng(0)
    basis = rng.standard_normal((8, N_BINS)) * (rng.random((8, N_BINS)) < density)
    scale = MelScale(16000, N_FFT, 8, basis=basis.astype(np.float32))
    basis[:] = basis.astype(np.float32)
    assert jax.tree.leaves(scale) == []
    matrix = scale.matrix
    assert isinstance(matrix, np.ndarray)
    assert matrix.dtype == np.float64 and not matrix.flags.writeable
    S = spectra(1)
    with jax.enable_x64(True):
        values = scale(jnp.asarray(S))
    assert_close(values, np.einsum("mf,abfn->abmn", basis, S), 1e-13)


def test_mel_scale_basis_is_learnable():
    with jax.enable_x64(True):
        table = MelScale(16000, N_FFT, 8)
        scale = MelScale(16000, N_FFT, 8, basis=jnp.asarray(table.matrix))
        assert len(jax.tree.leaves(scale)) == 1
        assert scale.matrix is scale.basis
        S = jnp.asarray(spectra(0))
        assert_close(scale(S), table(S), 1e-13)
        weights = np.random.default_rng(0).standard_normal((2, 3, 8, 5))
        gradient = eqx.filter_grad(lambda scale: jnp.sum(scale(S) * weights))(scale)
        assert_close(gradient.basis, np.einsum("abmn,abfn->mf", weights, S), 1e-12)
    # Its dtype does not change that of the spectrum.
    assert scale(jnp.ones((N_BINS, 2), jnp.float32)).dtype == jnp.float32


def test_mel_scale_attributes():
    scale = MelScale(22050, 2048, fmax=8000)
    expected = librosa.filters.mel(sr=22050, n_fft=2048, fmax=8000, dtype=np.float64)
    assert_close(scale.matrix, expected, 1e-12)
    expected = librosa.mel_frequencies(130, fmin=0.0, fmax=8000)[1:-1]
    assert_close(scale.frequencies, expected, 1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sr": -1}, r"`MelScale\(sr=...\)` must be positive. Got -1"),
        ({"fmin": 9000}, r"fmin=...\)` must be below the highest frequency, 8000.0 Hz"),
        ({"norm": "l2"}, r"norm=...\)` must be 'slaney', None or a positive order"),
        (
            {"basis": np.ones((128, 32))},
            r"\(n_mels, n_fft // 2 \+ 1\) = \(128, 33\). Got",
        ),
        ({"basis": np.ones((8, 33))}, "Pass the `n_mels` and `n_fft` that the basis"),
        ({"basis": [[1.0]]}, r"basis=...\)` must be an array of shape"),
        ({"basis": np.ones((128, 33), int)}, "must be a real floating array"),
        ({"basis": np.full((128, 33), np.nan)}, "without NaN or infinities"),
    ],
)
def test_mel_scale_refusals(options, message):
    with refused(message):
        MelScale(**({"sr": 16000, "n_fft": N_FFT} | options))


def test_mel_scale_refuses_another_number_of_bins():
    message = (
        r"`MelScale`: the spectrogram must have n_fft // 2 \+ 1 = 33 bins, .* Got "
        r"\(2, 17, 5\). Use the `n_fft` .* `MelScale\(n_fft=32\)` fits this one"
    )
    with refused(message):
        MelScale(16000, N_FFT, 8)(jnp.ones((2, 17, 5)))


# -------------------------------------------------------------------- weightings


@pytest.mark.parametrize("curve", WEIGHTINGS)
def test_weightings_equal_korvax(curve):
    cls, theirs = WEIGHTINGS[curve], getattr(korvax, f"{curve}_weighting")
    for seed in range(8):
        rng = np.random.default_rng([seed, 6])
        sr, min_db = rng.uniform(8000.0, 48000.0), rng.uniform(-90.0, -20.0)
        S_db = rng.uniform(-80.0, 40.0, (2, N_BINS, 3))
        by_fft = cls(min_db=min_db, sr=sr, n_fft=N_FFT)

        def expected(S, sr=sr, min_db=min_db):
            frequencies = korvax.fft_frequencies(sr=sr, n_fft=N_FFT)
            return S + theirs(frequencies, min_db=min_db)[:, None]

        assert_agree(by_fft, expected, S_db)
        by_array = cls(np.arange(N_BINS) * sr / N_FFT, min_db)
        assert_close(by_array.weighting_db, by_fft.weighting_db, 1e-12)


@pytest.mark.parametrize("curve", WEIGHTINGS)
def test_weighting_frequencies_are_learnable(curve):
    theirs = getattr(korvax, f"{curve}_weighting")
    S = spectra(0, (N_BINS, 3))
    with jax.enable_x64(True):
        f = jnp.linspace(0.0, 8000.0, N_BINS)
        scale = WEIGHTINGS[curve](f)
        assert len(jax.tree.leaves(scale)) == 1
        weights = np.random.default_rng(0).standard_normal(S.shape)
        gradient = eqx.filter_grad(lambda s: jnp.sum(s(jnp.asarray(S)) * weights))(
            scale
        )
        # korvax's derivative at 0 Hz is NaN; it is 0 where the curve is clipped.
        slope = jax.vmap(jax.grad(theirs))(f).at[0].set(0.0)
        assert_close(gradient.frequencies, slope * weights.sum(axis=1), 1e-9)


@pytest.mark.cheap
@pytest.mark.parametrize("curve", WEIGHTINGS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"frequencies=...\)` must tell the bins. Got None. Give either"),
        (
            {"sr": 16000},
            r"frequencies=...\)` must tell the bins. Got None. Give either",
        ),
        (
            {"n_fft": 64},
            r"frequencies=...\)` must tell the bins. Got None. Give either",
        ),
        ({"sr": 0, "n_fft": 64}, r"sr=...\)` must be positive. Got 0"),
        ({"sr": 8000, "n_fft": -4}, r"n_fft=...\)` must be a positive integer. Got -4"),
        ({"frequencies": [1.0], "sr": 8000}, r"sr=...\)` must not come with `freq"),
        ({"frequencies": [1.0], "n_fft": 64}, r"n_fft=...\)` must not come with `freq"),
        ({"frequencies": []}, r"frequencies=...\)` must hold at least one frequency"),
        ({"frequencies": "abc"}, r"frequencies=...\)` must hold at least one freq"),
        ({"frequencies": 100.0}, r"frequencies=...\)` must hold at least one freq"),
        ({"frequencies": [-1.0]}, r"frequencies=...\)` must be non-negative. Got -1.0"),
        ({"frequencies": np.asarray([-1.0])}, "in Hz, none negative"),
        ({"frequencies": np.asarray([np.nan])}, "without NaN or infinities"),
        ({"frequencies": np.ones((2, 2))}, "must be a real floating array with 1 axis"),
        (
            {"frequencies": [1.0], "min_db": "x"},
            "must be a finite real number. Got 'x'",
        ),
        (
            {"frequencies": [0.0, 1.0], "min_db": None},
            "must be a number where a bin is",
        ),
        ({"sr": 8000, "n_fft": 64, "min_db": None}, r"min_db=...\)` must be a number"),
    ],
)
def test_weighting_refusals(curve, options, message):
    with refused(message) as error:
        WEIGHTINGS[curve](**options)
    assert str(error.value).startswith(f"`{curve}Weighting(")


@pytest.mark.parametrize("curve", WEIGHTINGS)
def test_weighting_refuses_another_number_of_bins(curve):
    message = rf"`{curve}Weighting`: .* must have the 33 bins .* Got \(2, 17, 5\)"
    with refused(message):
        WEIGHTINGS[curve](sr=16000, n_fft=N_FFT)(jnp.ones((2, 17, 5)))


# ------------------------------------------------------------------------ chains


def test_chain_applies_in_order():
    S = jnp.asarray(spectra(0), jnp.float32)
    mel, log = MelScale(16000, N_FFT, 8), Log()
    assert_close(Chain((mel, log))(S), log(mel(S)), 1e-7)
    nested = Chain([Chain([mel]), lambda S: 2.0 * S, log])
    assert_close(nested(S), log(2.0 * mel(S)), 1e-6)
    assert jax.tree.leaves(nested) == []


def test_chain_keeps_leaves():
    chain = Chain((MelScale(16000, N_FFT, 8), Log(jnp.asarray(2.0))))
    assert len(jax.tree.leaves(chain)) == 1


@pytest.mark.parametrize("scales", [(), [], None, Log(), jnp.log, "ab", (Log(), 1.0)])
def test_chain_refusals(scales):
    message = r"`Chain\(scales=...\)` must be a non-empty sequence of scales, i.e. call"
    with refused(message):
        Chain(scales)


def test_documented_example_of_a_weighting():
    S = jnp.asarray(spectra(0, (1025, 3)), jnp.float32)
    scale = Chain((PowerToDB(), AWeighting(sr=16000, n_fft=2048)))
    weights = korvax.A_weighting(korvax.fft_frequencies(sr=16000, n_fft=2048))
    assert_close(scale(S), korvax.power_to_db(S) + weights[:, None], 1e-5)
