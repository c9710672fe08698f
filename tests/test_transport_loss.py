"""The options of the transport loss, quiet signals, and how it runs."""

import dataclasses
import gc
import resource
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from packages import package

import korvax_eqx as ke
from korvax_eqx._platform import PLATFORMS

Loss = ke.SpectralOptimalTransportLoss


@pytest.fixture
def double() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def spectra(seed: int, *shape: int) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.gamma(0.5, size=shape) + 1e-3) for _ in "xy")


def tone(f0: float, decay: float = 1.0) -> np.ndarray:
    t = np.arange(8192) / 16000
    partials = ((h, 0.3 / h**decay) for h in range(1, 9))
    return sum(a * np.sin(2 * np.pi * h * f0 * t) for h, a in partials)


def sounds(kind: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, 8192))
    if kind == "noise":
        return tuple(0.1 * noise)
    if kind == "low-pass noise":
        smooth = np.hanning(64) / 32
        return tuple(0.1 * np.convolve(a, smooth, "same") for a in noise)
    quiet = 1e-4 * noise if kind == "tones in noise" else 0 * noise
    # Equal partials would be a kink between every two of them, at which rounding
    # decides: the cumulative masses of both meet there.
    return tone(220) + quiet[0], tone(233, 1.2) + quiet[1]


SOUNDS = ["tones", "tones in noise", "noise", "low-pass noise"]


# ------------------------------------------------------------------- precision


@pytest.mark.parametrize("p", [1, 1.3, 2])
@pytest.mark.parametrize("kind", SOUNDS)
def test_quiet_sounds_follow_double_precision(kind, p):
    """Down to -120 dBFS, on the same spectra: the transform's rounding is not ours.

    A gradient to a power is worth its root: by it a signal's gradient is weighted.
    """
    transform = ke.Spectrogram(1024, center=False, window="flattop")
    for normalize in (True, False):
        solve = jax.value_and_grad(Loss(p=p, normalize=normalize))
        for level in (0, -60, -120):
            gain = 10 ** (level / 20)
            S = [transform(jnp.asarray(gain * a, jnp.float32)) for a in sounds(kind)]
            value, gradient = solve(*S)
            with jax.enable_x64(True):
                wide = [jnp.asarray(np.asarray(a), jnp.float64) for a in S]
                desired, slopes = map(np.asarray, solve(*wide))
            np.testing.assert_allclose(value, desired, rtol=2e-6)
            weight = np.sqrt(np.asarray(S[0], np.float64))
            error = np.linalg.norm((np.asarray(gradient, np.float64) - slopes) * weight)
            # The slopes are sums of differences of costs, which are themselves small
            # differences of positions: five digits of seven are left.
            assert error < 2e-4 * np.linalg.norm(slopes * weight), (normalize, level)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("kind", SOUNDS)
def test_cost_of_masses_is_homogeneous_in_single_precision(kind, p):
    """Euler's identity: `<x, dW/dx> = W` where all scales with `x`."""
    transform = ke.Spectrogram(1024, center=False, window="flattop")
    S_x, S_y = (transform(jnp.asarray(a, jnp.float32)) for a in sounds(kind))
    value, gradient = jax.value_and_grad(Loss(p=p, normalize=False))(S_x, S_y)
    product = np.vdot(np.asarray(S_x, np.float64), np.asarray(gradient, np.float64))
    # The terms of the sum are up to 43 times the sum, and are rounded each.
    np.testing.assert_allclose(product, value, rtol=1e-4)


def test_quiet_frames_fade_out():
    S_x, S_y = spectra(1, 40, 1)
    unit = [a.astype(jnp.float32) / jnp.sum(a) for a in (S_x, S_y)]
    loud = Loss()(*unit)
    for mass in (1e-12, 1e-10, 1.0, 1e8):
        scaled = (jnp.float32(mass * 1.001) * a for a in unit)
        np.testing.assert_allclose(Loss()(*scaled), loud, rtol=1e-5)
    # Proportional to either mass below, and nothing from a millionth on.
    half = (unit[0], jnp.float32(0.5e-12) * unit[1])
    np.testing.assert_allclose(Loss()(*half), 0.5 * loud, rtol=1e-5)
    for mass in (1e-19, 0.0):
        value, gradients = jax.value_and_grad(Loss(), (0, 1))(
            *(jnp.float32(mass) * a for a in unit)
        )
        assert value == 0 and not any(np.any(g) for g in gradients)


@pytest.mark.parametrize("p", [1, 1.3, 2])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("root", [True, False])
def test_silence_is_finite(root, balanced, normalize, p):
    loss = Loss(None, p, normalize, balanced, root=root, mass_weight=0.5)
    S = spectra(2, 40, 3)[0].astype(jnp.float32)
    silent, half = 0 * S, S.at[:, 1].set(0)
    solve = jax.jit(jax.value_and_grad(loss, (0, 1)))
    for a in (S, silent, half, 1e-30 * S):
        for b in (S, silent, half):
            value, gradients = solve(a, b)
            assert np.isfinite(value), (a is silent, b is silent)
            assert all(np.all(np.isfinite(g)) for g in gradients)
    value, gradients = solve(silent, silent)
    assert value == 0 and not any(np.any(g) for g in gradients)


def test_pitch_transport_does_not_listen_to_near_silence():
    y = np.float32(1e-6) * jnp.asarray(tone(220), jnp.float32)
    x = np.float32(1e-6) * jnp.asarray(tone(220.01), jnp.float32)
    loss = ke.PitchTransportLoss(1024)
    loud, quiet = loss(1e6 * x, 1e6 * y), loss(x, y)
    np.testing.assert_allclose(quiet, loud, rtol=1e-3)
    assert loss(1e-6 * x, 1e-6 * y) == 0


def test_pitch_transport_is_bounded_on_quiet_frames_and_blind_to_level():
    """Alone in a sum it would not see a gain; it never outweighs the other parts."""
    x, y = (jnp.asarray(tone(f), jnp.float32) for f in (220, 233))
    loss = ke.PitchTransportLoss(1024)
    value_and_grad = jax.jit(jax.value_and_grad(loss))
    plain, _ = value_and_grad(x, y)
    for gain in (1e-3, 1e3):
        np.testing.assert_allclose(value_and_grad(gain * x, y)[0], plain, rtol=1e-4)
    along = jnp.sum(value_and_grad(x, y)[1] * x)
    assert jnp.abs(along) < 1e-3 * plain
    noise = 1e-9 * np.random.default_rng(0).standard_normal(8192)
    faint = jnp.asarray(noise, jnp.float32)
    for quiet in (0 * x, faint, 1e-30 * x, x.at[2000:].set(0), x.at[2000:].mul(1e-8)):
        for a, b in ((quiet, y), (y, quiet), (quiet, quiet)):
            value, gradient = value_and_grad(a, b)
            assert 0 <= value <= 1
            assert np.all(np.isfinite(gradient))


# -------------------------------------------------------------------- sot-loss


@pytest.fixture(scope="module")
def sot() -> Any:
    return pytest.importorskip("torch"), package("sot.losses")


def theirs(sot: Any, S_x: Any, S_y: Any, positions: Any, **options: Any):
    """sot-loss's value and gradients, from spectra."""
    torch, losses = sot
    loss = losses.Wasserstein1DLoss(transform="identity", **options)
    tensors = [
        torch.tensor(np.swapaxes(a, -1, -2), dtype=torch.float64, requires_grad=True)
        for a in (S_x, S_y)
    ]
    x = torch.tensor(np.array(positions), dtype=torch.float64)
    value = loss.loss(*tensors, x, x).mean()
    value.backward()
    return value.item(), [np.swapaxes(t.grad.numpy(), -1, -2) for t in tensors]


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"normalize": False},
        {"balanced": False},
        {"normalize": False, "balanced": False, "quantile_lowpass": True},
        {"root": True},
        {"axis": "time"},
    ],
    ids=str,
)
def test_equals_sot_loss(double, sot, options, p):
    S_x, S_y = spectra(3, 2, 33, 9)
    if "quantile_lowpass" in options:
        S_x, S_y = S_x / 12, S_y / 14
    loss = Loss("linear", p, eps=1e-8, **options)
    if options.get("root") and p == 2:
        loss = dataclasses.replace(loss, root_eps=1e-8)
    value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))(S_x, S_y)
    names = {"root": "apply_root"}
    options = {names.get(k, k): v for k, v in options.items() if k != "axis"}
    if loss.axis == "time":
        options["dim"] = -2
    n = S_x.shape[-1 if loss.axis == "time" else -2]
    desired, slopes = theirs(sot, S_x, S_y, np.linspace(0, 1, n), p=p, **options)
    np.testing.assert_allclose(value, desired, rtol=1e-9)
    for actual, slope in zip(gradients, slopes, strict=True):
        np.testing.assert_allclose(actual, slope, rtol=1e-7, atol=1e-12)


def test_circular_equals_sot_loss(double, sot):
    S_x, S_y = spectra(4, 2, 12, 50)
    value = Loss(p=1, circular=True)(S_x, S_y)
    x = np.arange(12) / 12
    desired, _ = theirs(sot, S_x, S_y, x, circular=True, eps=0.0)
    np.testing.assert_allclose(value, desired, rtol=1e-12)


# --------------------------------------------------------------------- options


def ring_cost(u: np.ndarray, v: np.ndarray, x: np.ndarray, period: float) -> float:
    """The minimum over all levels, which is at one of the differences."""
    D = np.cumsum(u - v)
    arcs = np.diff(x, append=x[0] + period)
    return min(np.sum(arcs * np.abs(D - level)) for level in D)


def test_circular_is_the_minimum_over_cuts(double):
    rng = np.random.default_rng(5)
    for n in (1, 2, 12, 35):
        x = np.sort(rng.uniform(3, 8, n))
        loss = Loss(x, p=1, circular=True, period=7.5)
        u, v = (a / np.sum(a) for a in rng.gamma(0.5, size=(2, n)))
        value = loss(jnp.asarray(u)[:, None], jnp.asarray(v)[:, None])
        np.testing.assert_allclose(
            value, ring_cost(u, v, x, 7.5), rtol=1e-12, atol=1e-15
        )


def test_circular_neighbours_across_the_seam():
    S = jnp.eye(12)
    loss = Loss(p=1, circular=True)
    np.testing.assert_allclose(loss(S[:, :1], S[:, 11:]), 1 / 12, rtol=1e-6)
    np.testing.assert_allclose(loss(S[:, :1], S[:, 6:7]), 6 / 12, rtol=1e-6)
    np.testing.assert_allclose(loss(S[:, :1], S[:, 4:5]), 4 / 12, rtol=1e-6)


@pytest.mark.parametrize("normalize", [True, False])
def test_circular_derivatives(double, normalize):
    S_x, S_y = spectra(6, 12, 4)
    x = jnp.sort(jnp.asarray(np.random.default_rng(6).uniform(0, 1, 12)))

    def f(S_x: jax.Array, S_y: jax.Array, x: jax.Array) -> jax.Array:
        return Loss(x, 1, normalize, circular=True)(S_x, S_y)

    args, rng, h = (S_x, S_y, x), np.random.default_rng(7), 1e-6
    for i, slope in enumerate(jax.jit(jax.grad(f, (0, 1, 2)))(*args)):
        along = jnp.asarray(rng.standard_normal(args[i].shape)) * 1e-3
        low, high = (
            f(*args[:i], args[i] + s * h * along, *args[i + 1 :]) for s in (-1, 1)
        )
        numeric = (high - low) / (2 * h)
        # Rounding of the value over a step of 1e-9 leaves five digits of a small slope.
        scale = np.linalg.norm(slope) * np.linalg.norm(along)
        error = abs(jnp.vdot(slope, along) - numeric)
        assert error < 1e-6 * scale, i

    # Mixed ones too: the level moves with the masses.
    def along_positions(S_x: jax.Array) -> jax.Array:
        return jnp.vdot(jax.grad(f, 2)(S_x, S_y, x), jnp.arange(12.0) ** 2)

    along = jnp.asarray(rng.standard_normal(S_x.shape)) * 1e-3
    mixed = jnp.vdot(jax.grad(along_positions)(S_x), along)
    h = 1e-4
    low, high = (along_positions(S_x + s * h * along) for s in (-1, 1))
    np.testing.assert_allclose(mixed, (high - low) / (2 * h), rtol=1e-5)


def test_named_positions(double):
    assert np.array_equal(Loss("linear").bin_positions(5), [0, 0.25, 0.5, 0.75, 1])
    x = Loss("log", sr=16000, fmin=1000).bin_positions(9)
    np.testing.assert_allclose(x, np.log2(np.r_[1, np.arange(1, 9)]) / 3, atol=1e-15)
    x = Loss("mel", sr=16000, htk=True).bin_positions(9)
    mel = np.log10(1 + np.arange(9) * 1000 / 700)
    np.testing.assert_allclose(x, mel / mel[-1], rtol=1e-12)
    slaney = Loss("mel", sr=16000).bin_positions(9)
    np.testing.assert_allclose(slaney[1], 15 / (15 + 27 * np.log(8) / np.log(6.4)))


def test_root(double):
    S_x, S_y = spectra(8, 30, 1)
    for p in (1, 1.3, 2, 3):
        W, D = Loss(p=p)(S_x, S_y), Loss(p=p, root=True)(S_x, S_y)
        np.testing.assert_allclose(D, W ** (1 / p), rtol=1e-12)
        slopes = (jax.grad(Loss(p=p, root=root))(S_x, S_y) for root in (True, False))
        root, slope = slopes
        np.testing.assert_allclose(root, slope * D / W / p, rtol=1e-9, atol=1e-14)
        assert not np.any(jax.grad(Loss(p=p, root=True))(S_x, S_x))


def test_time_axis_is_the_transposed_spectrum(double):
    S_x, S_y = spectra(9, 2, 20, 31)
    along_time = Loss(axis="time")(S_x, S_y)
    swapped = Loss()(jnp.swapaxes(S_x, -1, -2), jnp.swapaxes(S_y, -1, -2))
    np.testing.assert_allclose(along_time, swapped, rtol=1e-12)


def test_weighting(double):
    S_x, S_y = spectra(10, 2, 20, 5)
    S_y = S_y.at[0, :, 2].set(0).at[1].multiply(jnp.arange(5.0))
    costs = np.array(
        [
            [Loss()(S_x[i, :, k : k + 1], S_y[i, :, k : k + 1]) for k in range(5)]
            for i in range(2)
        ]
    )
    mass = np.sum(S_y, 1)
    desired = np.mean(np.sum(mass * costs, 1) / np.sum(mass, 1))
    energy = Loss(weighting="energy")
    np.testing.assert_allclose(energy(S_x, S_y), desired, rtol=1e-12)
    desired = np.mean([np.mean(np.delete(costs[0], 2)), np.mean(costs[1, 1:])])
    active = Loss(weighting="active")
    np.testing.assert_allclose(active(S_x, S_y), desired, rtol=1e-12)
    for loss in (energy, active):
        value, gradient = jax.value_and_grad(loss)(S_x, 0 * S_y)
        assert value == 0 and np.all(gradient == 0)


def test_mass_weight(double):
    S_x, S_y = spectra(11, 20, 5)
    loss, apart = Loss(), Loss(mass_weight=0.3)
    np.testing.assert_allclose(
        apart(S_x, S_y) - loss(S_x, S_y),
        0.3 * np.mean(np.abs(np.log(np.sum(S_x, 0) / np.sum(S_y, 0)))),
        rtol=1e-9,
    )
    assert apart(S_x, S_x) == 0
    np.testing.assert_allclose(apart(2 * S_x, S_x), 0.3 * np.log(2), rtol=1e-9)


def test_costs_and_weights_are_by_frame(double):
    S_x, S_y = spectra(12, 2, 3, 20, 5)
    frames = [jnp.swapaxes(a, -1, -2) for a in (S_x, S_y)]
    loss = Loss(weighting="energy")
    costs, weights = loss.costs(*frames), loss.frame_weights(*frames)
    assert costs.shape == weights.shape == (2, 3, 5)
    assert Loss().frame_weights(*frames) is None
    assert Loss(axis="time").costs(*frames).shape == (2, 3, 20)
    np.testing.assert_allclose(jnp.mean(costs), Loss()(S_x, S_y), rtol=1e-12)


def test_fields_are_the_arguments():
    loss = Loss("log", 1, sr=16000, weighting="energy", floor=1e-9)
    louder = dataclasses.replace(loss, mass_weight=2.0)
    assert louder.mass_weight == 2.0 and louder.weighting == "energy"
    assert louder != loss and dataclasses.replace(loss) == loss
    assert np.array_equal(louder.bin_positions(9), loss.bin_positions(9))
    assert not jax.tree.leaves(loss)


@pytest.mark.cheap
@pytest.mark.parametrize(
    "argument,value,others,rule",
    [
        ("positions", "bark", {}, "be one of 'linear', 'log', 'mel'"),
        ("sr", None, {"positions": "mel"}, "be the sample rate in Hz"),
        ("fmin", 8000, {"positions": "log", "sr": 16000}, "be below `sr / 2`"),
        ("positions", "mel", {"axis": "time", "sr": 8000}, "be None, 'linear'"),
        ("positions", "linear", {"p": 1, "circular": True}, "be None or an array"),
        ("p", 2, {"circular": True}, "be 1 with"),
        ("balanced", False, {"p": 1, "circular": True}, "be True with"),
        ("quantile_lowpass", True, {"p": 1, "circular": True}, "be False with"),
        (
            "period",
            1.0,
            {"positions": [0, 2], "p": 1, "circular": True},
            "be at least the span",
        ),
        ("axis", "bins", {}, "be one of 'frequency', 'time'"),
        ("weighting", "loud", {}, "be one of 'uniform', 'energy', 'active'"),
        ("mass_weight", -1.0, {}, "be a finite|be non-negative"),
        ("eps", 0.0, {}, "be positive"),
        ("floor", 1e-20, {}, "be at least 1e-12"),
        ("root_eps", -1.0, {}, "be non-negative"),
    ],
)
def test_refused(argument, value, others, rule):
    with pytest.raises(ValueError, match=rf"\({argument}=\.\.\.\)` must ({rule})"):
        Loss(**{argument: value}, **others)


# ----------------------------------------------------------------- how it runs


class Compilations:
    """Counts what XLA compiles."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self, event: str, *_: Any, **__: Any) -> None:
        self.n += event == "/jax/core/compile/backend_compile_duration"


@pytest.fixture(scope="module")
def compilations() -> Compilations:
    counter = Compilations()
    jax.monitoring.register_event_duration_secs_listener(counter)
    return counter


def eager_calls(p: float, balanced: bool) -> dict[str, Callable[[], Any]]:
    S_x, S_y = (a.astype(jnp.float32) for a in spectra(13, 3, 40, 300))
    function = ke.loss.spectral_optimal_transport_loss

    def loss() -> Loss:
        return Loss(None, p, balanced=balanced)

    return {
        "call": lambda: loss()(S_x, S_y),
        "function": lambda: function(S_x, S_y, p=p, balanced=balanced),
        "gradient": lambda: jax.grad(loss())(S_x, S_y),
        "both": lambda: jax.value_and_grad(loss(), (0, 1))(S_x, S_y),
        "vmap": lambda: jax.vmap(loss())(S_x, S_y),
        "vmap of the gradient": lambda: jax.vmap(jax.grad(loss()))(S_x, S_y),
    }


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("p", [1, 1.3, 2])
def test_eager_calls_compile_once(compilations, monkeypatch, p, balanced):
    # In pieces, as long spectrograms are.
    small = dataclasses.replace(PLATFORMS["cpu"], masses=5000)
    monkeypatch.setitem(PLATFORMS, "cpu", small)
    jax.clear_caches()
    for name, call in eager_calls(p, balanced).items():
        before = compilations.n
        jax.block_until_ready(call())
        assert name == "function" or compilations.n > before, "nothing is counted"
        before = compilations.n
        for _ in range(3):
            jax.block_until_ready(call())
        assert compilations.n == before, name
    jax.clear_caches()


def test_spectra_alone_are_compared_in_pieces(monkeypatch):
    """As inside a loss on signals, and not all at once."""
    S_x, S_y = spectra(0, 64, 30, 20)

    def jaxpr() -> str:
        jax.clear_caches()
        return str(jax.make_jaxpr(Loss(p=2))(S_x, S_y))

    assert "scan" not in jaxpr()
    small = dataclasses.replace(PLATFORMS["cpu"], masses=5000)
    monkeypatch.setitem(PLATFORMS, "cpu", small)
    assert "scan" in jaxpr()
    jax.clear_caches()


def test_eager_calls_keep_no_memory():
    call = eager_calls(1.3, True)["gradient"]

    def grown(n: int) -> int:
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(n):
            jax.block_until_ready(call())
        gc.collect()
        return len(gc.get_objects()) - before

    grown(5)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert grown(300) < 300
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 20_000  # kB


@pytest.mark.parametrize("options", [{}, {"quantile_lowpass": True}], ids=str)
@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("p", [1, 1.3, 2])
def test_no_nan_or_infinity_on_the_way(p, balanced, options):
    S_x, S_y = (a.astype(jnp.float32) for a in spectra(14, 40, 4))
    S_x, S_y = S_x.at[30:].set(0), S_y.at[:5].set(0).at[:, 2].set(0)
    loss = Loss(None, p, balanced=balanced, root=True, mass_weight=1.0, **options)
    with jax.debug_nans(True), jax.debug_infs(True):
        for f in (loss, jax.grad(loss, (0, 1)), jax.jit(jax.grad(loss))):
            jax.block_until_ready(f(S_x, S_y))


@pytest.mark.parametrize("options", [{"p": 1}, {"p": 2}, {"circular": True}], ids=str)
def test_export_with_a_symbolic_batch(options):
    loss = Loss(**{"p": 1, **options})
    batch, frames = export.symbolic_shape("b, t")
    shape = jax.ShapeDtypeStruct((batch, 40, frames), jnp.float32)
    exported = export.export(jax.jit(jax.value_and_grad(loss)))(shape, shape)
    S_x, S_y = (a.astype(jnp.float32) for a in spectra(15, 3, 40, 7))
    value, gradient = exported.call(S_x, S_y)
    desired, slopes = jax.value_and_grad(loss)(S_x, S_y)
    np.testing.assert_allclose(value, desired, rtol=1e-6)
    scale = np.max(np.abs(slopes))
    np.testing.assert_allclose(gradient / scale, slopes / scale, atol=1e-5)


@pytest.mark.cheap
@pytest.mark.parametrize(
    "positions", [["a"], [10**400], [1 + 2j, 3], {}, 3, np.array([None, 1], object)]
)
def test_positions_that_are_no_numbers_are_refused(positions):
    with pytest.raises(ValueError, match=r"\(positions=...\)` must be "):
        Loss(positions)
