"""Signal maps: filters and mixes, against their definitions and other libraries."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from naive import refused
from on_devices import checks_of, outcomes
from oracle import assert_close

import korvax_eqx as ke
from korvax_eqx._maps._a_weighting import AWeightingFilter
from korvax_eqx._maps._channel_mix import ChannelMix
from korvax_eqx._maps._fir import FIRFilter
from korvax_eqx._maps._k_weighting import KWeightingFilter
from korvax_eqx._maps._mid_side import MidSide
from korvax_eqx._maps._pre_emphasis import PreEmphasis
from korvax_eqx._numerics._fir import correlate
from korvax_eqx._tables._loudness import k_weighting_sections
from korvax_eqx._tables._weighting import weighting_values

RNG = np.random.default_rng(0)
MIX = RNG.standard_normal((3, 2))
# By shifts, by blocks (of two sizes and with taps that just fit), by FFTs.
N_TAPS = (1, 2, 3, 4, 5, 8, 31, 64, 65, 101, 130, 512, 513, 700)

MAPS = {
    "fir-shifts": lambda: FIRFilter([0.5, -0.2, 0.1]),
    "fir-blocks": lambda: FIRFilter(np.hanning(33)),
    "fir-ffts": lambda: FIRFilter(np.hanning(600)),
    "pre-emphasis": PreEmphasis,
    "a-weighting": lambda: AWeightingFilter(16000, 51),
    "k-weighting": lambda: KWeightingFilter(44100),
    "mid-side": MidSide,
    "mix": lambda: ChannelMix(MIX),
}
LEARNABLE = {
    "fir": (FIRFilter, "taps", np.hanning(33)),
    "fir-ffts": (FIRFilter, "taps", RNG.standard_normal(600)),
    "pre-emphasis": (PreEmphasis, "coefficient", np.asarray(0.7)),
    "mix": (ChannelMix, "matrix", MIX),
}


def correlated(x, taps):
    """The definition of the FIR filter, one signal at a time."""
    left = len(taps) // 2
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(left, len(taps) - 1 - left)])
    return np.apply_along_axis(np.correlate, -1, padded, taps, "valid")


def recursion(sr, x):
    """The K-weighting by recursion, in extended precision: double loses 1e-12."""
    y = np.asarray(x, np.longdouble)
    for section in k_weighting_sections(sr):
        b, a = np.split(section.astype(np.longdouble), 2)
        y = scipy.signal.lfilter(b, a, y)
    return y.astype(np.float64)


# ------------------------------------------------------------------ every map


@pytest.fixture(params=MAPS)
def a_map(request):
    return MAPS[request.param]()


def test_maps_have_no_leaves_and_compile_once(a_map, request):
    assert jax.tree.leaves(a_map) == []
    other = MAPS[request.node.callspec.params["a_map"]]()
    assert a_map == other and hash(a_map) == hash(other)
    traced = []
    call = jax.jit(lambda map_fn, x: traced.append(1) or map_fn(x))
    x = jnp.ones((2, 64))
    assert_close(call(a_map, x), call(other, x), 0.0)
    assert len(traced) == 1
    assert dataclasses.replace(a_map) == a_map


# At fewer samples than channels they would be taken for channels.
@pytest.mark.parametrize("n_samples", [3, 31, 64, 1500])
def test_maps_are_linear_and_keep_length(a_map, n_samples):
    with jax.enable_x64(True):
        x, y = jnp.asarray(RNG.standard_normal((2, 3, 2, n_samples)))
        out = a_map(x)
        assert out.shape[-1] == n_samples and out.dtype == jnp.float64
        assert_close(a_map(x - 3.0 * y), out - 3.0 * a_map(y), 1e-12)
        assert_close(jax.jit(a_map)(x), out, 1e-12)
        assert_close(jax.vmap(a_map)(x), out, 1e-12)
        assert_close(jnp.stack([a_map(x[i]) for i in range(3)]), out, 1e-12)
        # The transpose of a linear map is its gradient, however it is computed.
        basis = jnp.asarray(RNG.standard_normal(out.shape))
        _, pullback = jax.vjp(a_map, x)
        _, moved = jax.jvp(a_map, (x,), (y,))
        assert_close(moved, a_map(y), 1e-12)
        assert_close(jnp.vdot(basis, moved), jnp.vdot(pullback(basis)[0], y), 1e-11)


@pytest.mark.parametrize("name", sorted(MAPS.keys() - {"mid-side", "mix"}))
def test_maps_of_one_sample(name):
    """As of the same sample followed by zeros."""
    x = jnp.asarray([0.7])
    out = MAPS[name]()(x)
    assert out.shape == (1,)
    assert_close(out, MAPS[name]()(jnp.pad(x, (0, 9)))[:1], 1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_maps_compute_halves_in_single_precision(a_map, dtype):
    x = jnp.asarray(RNG.standard_normal((2, 200)), dtype)
    out = a_map(x)
    assert out.dtype == jnp.float32
    with jax.enable_x64(True):
        assert_close(out, a_map(x.astype(jnp.float64)), 1e-6)
    gradient = jax.grad(lambda x: jnp.sum(a_map(x)))(x)
    assert gradient.dtype == x.dtype


def test_maps_keep_nan_and_refuse_what_is_no_signal(a_map):
    x = jnp.zeros((2, 64)).at[:, 40].set(jnp.nan)
    assert jnp.isnan(a_map(x)).any()
    name = type(a_map).__name__
    with pytest.raises(ValueError, match=f"`{name}`: `x` must hold real floats"):
        a_map(jnp.ones((2, 64), int))


@pytest.mark.parametrize("name", LEARNABLE)
def test_learnable_arguments_are_leaves_with_gradients(name):
    make, field, value = LEARNABLE[name]
    with jax.enable_x64(True):
        x = jnp.asarray(RNG.standard_normal((3, 2, 900)))
        value = jnp.asarray(value)
        map_fn = make(value)
        assert jax.tree.leaves(map_fn) == [value]
        assert getattr(map_fn, field) is value
        static = make(np.asarray(value) if value.ndim else float(value))
        assert_close(map_fn(x), static(x), 1e-12)

        def energy(value):
            return jnp.sum(jnp.square(make(value)(x)))

        direction = jnp.asarray(RNG.standard_normal(value.shape))
        slope = jnp.vdot(jax.grad(energy)(value), direction)
        # Of a quadratic function the central difference is exact.
        difference = energy(value + direction) - energy(value - direction)
        assert_close(slope, difference / 2, 1e-10)


# ---------------------------------------------------------------------- filters


@pytest.mark.parametrize("n_taps", N_TAPS)
def test_fir_is_its_definition(n_taps):
    taps = RNG.standard_normal(n_taps)
    for n_samples in (1, 7, 64, 2000):
        x = RNG.standard_normal((2, 3, n_samples) if n_samples > 3 else n_samples)
        expected = correlated(x, taps)
        with jax.enable_x64(True):
            assert_close(FIRFilter(taps)(jnp.asarray(x)), expected, 1e-13)
        assert_close(FIRFilter(taps)(jnp.asarray(x, jnp.float32)), expected, 2e-6)


def test_a_gradient_of_another_size():
    x, y = np.random.default_rng(0).standard_normal((2, 2, 3, 400))
    with jax.enable_x64(True):
        x, y = jnp.asarray(x), jnp.asarray(y)
        loss = ke.SumLoss({"stft": ke.MRSTFTLoss((16,), (64,)), "snr": ke.SNRLoss()})
        scaled = ke.MappedLoss(ke.GradientScale(0.1), loss)
        value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(x, y)
        same, smaller = jax.jit(jax.value_and_grad(scaled, argnums=(0, 1)))(x, y)
        np.testing.assert_allclose(same, value, rtol=1e-14)
        for a, b in zip(smaller, gradients, strict=True):
            np.testing.assert_allclose(a, 0.1 * b, rtol=1e-12, atol=1e-18)
        lengths = jnp.asarray([400, 300])[:, None]
        padded = jax.grad(lambda x: scaled(x, y, lengths=lengths))(x)
        plain = jax.grad(lambda x: loss(x, y, lengths=lengths))(x)
        np.testing.assert_allclose(padded, 0.1 * plain, rtol=1e-12, atol=1e-18)
    with refused(r"`GradientScale\(scale=...\)` must be positive"):
        ke.GradientScale(0.0)


@pytest.mark.parametrize("n_taps", [3, 101, 601])
def test_fir_equals_torch(n_taps):
    torch = pytest.importorskip("torch")
    taps, x = RNG.standard_normal(n_taps), RNG.standard_normal((2, 1, 1000))
    weight = torch.tensor(taps).view(1, 1, -1)
    conv1d = torch.nn.functional.conv1d
    expected = conv1d(torch.tensor(x), weight, padding=n_taps // 2).numpy()
    with jax.enable_x64(True):
        assert_close(FIRFilter(taps)(jnp.asarray(x)), expected, 1e-13)


def test_fir_has_no_gather_and_no_scatter():
    for n_taps in (3, 101, 600):
        taps, x = jnp.ones(n_taps), jnp.ones((2, 2000))
        both = jax.grad(lambda x, h: jnp.sum(correlate(x, h) ** 2), argnums=(0, 1))
        text = str(jax.make_jaxpr(both)(x, taps))
        assert "gather" not in text and "scatter" not in text.replace("_scatter", "")


def test_pre_emphasis_is_its_formula():
    x = RNG.standard_normal((2, 50))
    expected = x - 0.85 * np.pad(x, ((0, 0), (1, 0)))[:, :-1]
    with jax.enable_x64(True):
        assert_close(PreEmphasis()(jnp.asarray(x)), expected, 1e-15)
        assert_close(PreEmphasis(0.5)(jnp.ones(3)), np.array([1.0, 0.5, 0.5]), 1e-15)


def test_a_weighting_is_near_the_curve_where_it_says():
    taps = AWeightingFilter(44100).taps
    frequencies, response = scipy.signal.freqz(taps, worN=4096, fs=44100)
    decibels = 20 * np.log10(np.abs(response))
    error = np.abs(decibels - weighting_values("A", frequencies, None))
    assert np.max(error[(frequencies >= 500) & (frequencies <= 8000)]) < 1.0
    with jax.enable_x64(True):
        x = RNG.standard_normal((2, 300))
        out = AWeightingFilter(44100)(jnp.asarray(x))
        assert_close(out, correlated(x, taps), 1e-13)


@pytest.mark.parametrize("sr", [8000, 16000, 44100, 48000.0, 96000, 192000])
def test_k_weighting_equals_the_recursion(sr):
    x = RNG.standard_normal((2, 1, 20001))
    x[1] = 1.0
    expected = recursion(sr, x)
    with jax.enable_x64(True):
        out = KWeightingFilter(sr)(jnp.asarray(x))
    # A pole of 0.9988, rounded to double, is off by 1e-13 of its distance from 1, and
    # the state that a constant leads to by as many times that distance again.
    for row, tolerance in ((0, 1e-12), (1, 1e-10)):
        assert_close(out[row], expected[row], tolerance)
        single = KWeightingFilter(sr)(jnp.asarray(x[row], jnp.float32))
        assert_close(single, expected[row], 1e-6)


@pytest.mark.parametrize("n_samples", [1, 32, 33, 512, 513, 8193])
def test_k_weighting_of_any_length(n_samples):
    x = RNG.standard_normal(n_samples)
    expected = recursion(48000, x)
    with jax.enable_x64(True):
        assert_close(KWeightingFilter(48000)(jnp.asarray(x)), expected, 1e-12)


def test_k_weighting_of_digital_silence_and_extremes():
    for scale in (0.0, 1e-20, 1e15):
        x = jnp.asarray(scale * RNG.standard_normal(3000), jnp.float32)
        out = KWeightingFilter(48000)(x)
        expected = recursion(48000, x)
        assert_close(out, expected, 1e-6)


# --------------------------------------------------------------------- channels


def test_mid_side_and_mix():
    x = RNG.standard_normal((4, 2, 30))
    expected = np.stack([x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]], axis=1)
    with jax.enable_x64(True):
        assert_close(MidSide()(jnp.asarray(x)), expected, 1e-15)
        assert_close(ChannelMix([[1, 1], [1, -1]])(jnp.asarray(x)), expected, 1e-15)
        mixed = np.einsum("oi,bin->bon", MIX, x)
        assert_close(ChannelMix(MIX)(jnp.asarray(x)), mixed, 1e-15)


# --------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FIRFilter([]), r"`FIRFilter\(taps=...\)` must not be empty"),
        (lambda: FIRFilter([[1.0]]), "must be a real floating array with 1 axis"),
        (lambda: FIRFilter([1.0, np.nan]), "without NaN or infinities"),
        (lambda: FIRFilter([1j]), "sequence of real numbers with 1 axis"),
        (lambda: FIRFilter("hann"), "sequence of real numbers with 1 axis"),
        (lambda: FIRFilter(jnp.ones((1, 3))), "must be a real floating array"),
        (lambda: ChannelMix([1.0, 2.0]), "must be a real floating array with 2 axes"),
        (lambda: ChannelMix([[1.0], [1.0, 2.0]]), "numbers with 2 axes"),
        (lambda: ChannelMix(np.ones((0, 2))), "must not be empty"),
        (
            lambda: PreEmphasis("0.85"),
            r"`PreEmphasis\(coefficient=...\)` must be a fin",
        ),
        (lambda: PreEmphasis(np.inf), "must be a finite real number"),
        (lambda: AWeightingFilter(0), r"sr=...\)` must be positive. Got 0"),
        (lambda: AWeightingFilter(8000, 100), "must be odd. Got 100. Use 101"),
        (lambda: AWeightingFilter(8000, 0), "must be a positive integer"),
        (lambda: KWeightingFilter(44.1), "above 3364 Hz.* Got 44.1. It is in Hz"),
        (lambda: KWeightingFilter(3363.9), "above 3364 Hz"),
        (lambda: MidSide()(jnp.ones(4)), r"two channels .* Got \(4,\)"),
        (lambda: MidSide()(jnp.ones((2, 1, 4))), r"two channels .* Got \(2, 1, 4\)"),
        (lambda: ChannelMix(MIX)(jnp.ones((3, 4))), r"must have 2 channels"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# -------------------------------------------------------------- several devices


@pytest.mark.long
@pytest.mark.parametrize("name", checks_of("maps.py"))
def test_eight_devices(name):
    failure = outcomes("maps.py")[name]
    assert failure is None, failure
