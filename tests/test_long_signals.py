"""Losses of signals that are cut in overlapping segments, against the uncut ones."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import registry

import korvax_eqx as ke
from korvax_eqx import _platform
from korvax_eqx._core._steps import widest
from korvax_eqx._data import Spectra
from korvax_eqx._engine import _long

RNG = np.random.default_rng(0)
N = 9001


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Segments of some hundred samples, so that short signals are cut."""
    cpu = dataclasses.replace(_platform.PLATFORMS["cpu"], samples=600)
    monkeypatch.setitem(_platform.PLATFORMS, "cpu", cpu)
    jax.clear_caches()
    yield
    jax.clear_caches()


def uncut(monkeypatch, fn, *args):
    with monkeypatch.context() as patch:
        patch.setattr(_long, "framing_of", lambda *_: None)
        jax.clear_caches()
        result = fn(*args)
    jax.clear_caches()
    return result


def signals(*shape):
    x = RNG.standard_normal((2, *shape)) * np.linspace(0.1, 1, shape[-1])
    return jnp.asarray(x[0], jnp.float32), jnp.asarray(x[1], jnp.float32)


def is_cut(loss: Any, *args: Any) -> bool:
    """Whether a program of the loss goes along its signals in segments."""
    calls, in_segments = [], _long.in_segments

    def recorded(*arguments: Any) -> Any:
        calls.append(arguments)
        return in_segments(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_long, "in_segments", recorded)
        jax.clear_caches()
        jax.jit(loss).lower(*args)
    jax.clear_caches()
    return bool(calls)


def single(transform: Any, loss: Any = None, scale: Any = None) -> Any:
    return ke.TimeFrequencyLoss(
        transform, loss or ke.ElementwiseLoss("L1"), scale or ke.Log(eps=1e-3)
    )


def spectrogram(n_fft=64, hop=16, **options):
    return ke.Spectrogram(n_fft, hop, power=1, floor=1e-6, floor_mode="add", **options)


class EverySecond(ke.AbstractSignalMap):
    """A map of half as many samples."""

    def samples_left(self, n_samples):
        return -(-n_samples // 2)

    def apply(self, data):
        return ke.Signals(data.x[..., ::2])


LOSSES: dict[str, Any] = {
    "resolutions": ke.MRSTFTLoss((16, 13, 32), (64, 40, 32), (64, 50, 32)),
    "smooth": ke.SmoothMRSTFTLoss(hop_lengths=(32, 8), win_lengths=(67, 29)),
    "not centred": single(spectrogram(center=False)),
    "extra": single(spectrogram(hop=15, center=False, extra_padding=True)),
    "reflect": single(spectrogram(pad_mode="reflect")),
    "symmetric": single(spectrogram(pad_mode="symmetric")),
    "edge": single(spectrogram(n_fft=50, hop=17, pad_mode="edge")),
    "end": single(spectrogram(padding="end")),
    "same": single(spectrogram(padding="same", pad_mode="reflect")),
    "torch": single(spectrogram(n_fft=51, padding="torch")),
    "widths": single(spectrogram(padding=(3, 40))),
    "mel": single(ke.MelSpectrogram(16000, 64, 10, hop_length=16)),
    "chroma": single(ke.Chroma(16000, 256, hop_length=64)),
    "complex": single(ke.STFT(64, 16), scale=ke.RealImaginary()),
    "transport": single(spectrogram(), ke.SpectralOptimalTransportLoss()),
    "sum": single(spectrogram(), ke.ElementwiseLoss("L2", reduction="sum")),
    "norm": single(spectrogram(), ke.NormLoss(over="frame", reduction="mean")),
    "batch": single(spectrogram(), ke.BatchSpectralConvergenceLoss()),
    "chain": single(
        spectrogram(), scale=ke.Chain((ke.Log(), ke.Difference("frequency")))
    ),
    "longer": ke.MappedLoss(ke.Resample(2, 3), single(spectrogram())),
    "shorter": ke.MappedLoss(EverySecond(), single(spectrogram())),
    "bands": ke.MappedLoss(ke.PQMF(2), single(spectrogram(), ke.ElementwiseLoss("L2"))),
    "parts": ke.SumLoss(
        {
            "a": ke.MRSTFTLoss((16, 8), (64, 32)),
            "b": ke.SISDRLoss(),
            "c": ke.WaveformLoss("L1"),
        }
    ),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(N,), (2, 1, N)], ids=str)
def test_value_and_gradient_are_those_of_the_whole_signal(monkeypatch, name, shape):
    loss = LOSSES[name]
    assert is_cut(loss, *signals(N))
    assert not uncut(monkeypatch, is_cut, loss, *signals(N))
    with jax.enable_x64(True):
        x, y = (s.astype(jnp.float64) for s in signals(*shape))
        fn = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
        value, grads = fn(x, y)
        expected = uncut(monkeypatch, fn, x, y)
        np.testing.assert_allclose(value, expected[0], rtol=1e-13)
        for actual, wanted in zip(grads, expected[1], strict=True):
            atol = 1e-12 * float(jnp.max(jnp.abs(wanted)))
            np.testing.assert_allclose(actual, wanted, rtol=0, atol=atol)


@pytest.mark.parametrize(
    "loss",
    [
        ke.MRSTFTLoss((16,), (64,), w_sc=1.0),
        single(spectrogram(pad_mode="wrap")),
        single(spectrogram(), scale=ke.PowerToDB()),
        single(spectrogram(), scale=ke.PowerToDB(ref=jnp.max, top_db=None)),
        single(spectrogram(), scale=ke.Difference("time")),
        single(spectrogram(), ke.SpectralOptimalTransportLoss(axis="time")),
        single(
            ke.STFT(64, 16),
            ke.PhaseLoss(quantity="instantaneous_frequency"),
            ke.Identity(),
        ),
        single(lambda x: ke.Spectrogram(64, 16)(x)),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_what_needs_the_whole_signal_is_not_cut(loss):
    assert not is_cut(loss, *signals(N))


class Peak(ke.ElementwiseLoss):
    scope = "signal"

    def values(self, x, y):
        return jnp.max(jnp.abs(x.S - y.S), axis=(-2, -1))


class Loudest(ke.Log):
    scope = "signal"

    def apply(self, data):
        return data.map(lambda S: S / jnp.max(S, axis=(-2, -1), keepdims=True))


class RootOfMean(Peak):
    scope = "average"


class Normalised(ke.Spectrogram):
    @property
    def path(self):
        return (self,)

    def apply(self, data):
        spectra = ke.Spectrogram(64, 16).apply(data)
        return spectra.map(lambda S: S / jnp.max(S, axis=(-2, -1), keepdims=True))


@pytest.mark.parametrize(
    "loss",
    [
        single(spectrogram(), Peak()),
        single(spectrogram(), scale=Loudest()),
        single(Normalised(64, 16)),
    ],
    ids=["loss", "scale", "transform"],
)
def test_what_is_not_said_to_see_single_frames_is_not_cut(loss):
    assert not is_cut(loss, *signals(N))


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="RootOfMean.scope.*Got 'average'"):
        single(spectrogram(), RootOfMean())(*signals(N))


@pytest.mark.parametrize("hop", [100, 599, 601, 5000])
def test_hops_as_long_as_a_segment(monkeypatch, hop):
    with pytest.warns(UserWarning, match="longer than the window"):
        loss = single(spectrogram(hop=hop))
    for n in (7003, 12345):
        x, y = signals(n)
        value, expected = loss(x, y), uncut(monkeypatch, loss, x, y)
        np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["resolutions", "reflect", "batch", "parts"])
def test_other_ways_to_call(monkeypatch, name):
    loss, (x, y) = LOSSES[name], signals(2, N)
    change = signals(2, N)[0]

    def ways(x, y):
        def forward(x):
            return jax.jvp(lambda x: loss(x, y), (x,), (change,))

        def second(x):
            return jax.jvp(jax.grad(lambda x: loss(x, y)), (x,), (change,))[1]

        return {
            "value": loss(x, y),
            "terms": loss.with_terms(x, y),
            "parts": jax.grad(lambda x: sum(loss.parts(x, y).values()))(x),
            "forward": forward(x),
            "second": second(x),
            "vmap": jax.vmap(jax.value_and_grad(loss))(x, y),
        }

    actual, expected = ways(x, y), uncut(monkeypatch, ways, x, y)
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        atol = 1e-5 * float(jnp.max(jnp.abs(b)))
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def test_a_bound_part_beside_others():
    (x, y), (z, _) = signals(2, N), signals(2, N)
    stft = LOSSES["resolutions"]
    for other in (stft, ke.SISDRLoss()):
        loss = ke.SumLoss({"bound": stft.bind(y), "free": other})
        actual = jax.value_and_grad(loss)(x, z)
        parts = jax.value_and_grad(stft)(x, y), jax.value_and_grad(other)(x, z)
        expected = jax.tree.map(jnp.add, *parts)
        for a, b in zip(actual, expected, strict=True):
            atol = 1e-5 * float(jnp.max(jnp.abs(b)))
            np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def test_learnable_arrays(monkeypatch):
    window = jnp.asarray(np.hanning(64), jnp.float32)
    x, y = signals(N)

    def fn(window, weight):
        transform = spectrogram(window=window)
        loss = ke.MultiResolutionLoss(
            (transform, spectrogram(32, 8)),
            ke.ElementwiseLoss("L2"),
            ke.Log(),
            weights=weight[None],
        )
        return loss(x, y)

    differentiated = jax.value_and_grad(fn, argnums=(0, 1))
    actual = differentiated(window, jnp.asarray(2.0))
    expected = uncut(monkeypatch, differentiated, window, jnp.asarray(2.0))
    for a, b in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        atol = 2e-6 * float(jnp.max(jnp.abs(b)))
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def test_single_precision_agrees_to_rounding(monkeypatch):
    loss, (x, y) = LOSSES["resolutions"], signals(N)
    fn = jax.value_and_grad(loss)
    (value, grad), (wanted, slope) = fn(x, y), uncut(monkeypatch, fn, x, y)
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    atol = 1e-6 * float(jnp.max(jnp.abs(slope)))
    np.testing.assert_allclose(grad, slope, rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["resolutions", "reflect"])
def test_any_number_of_samples(monkeypatch, name):
    """However many frames are left for the ends."""
    loss = LOSSES[name]
    for n in (*range(6000, 6040, 7), 20011):
        x, y = signals(n)
        value, grad = jax.value_and_grad(loss)(x, y)
        fn = functools.partial(jax.value_and_grad(loss), x)
        wanted, slope = uncut(monkeypatch, fn, y)
        np.testing.assert_allclose(value, wanted, rtol=1e-6)
        atol = 3e-6 * float(jnp.max(jnp.abs(slope)))
        np.testing.assert_allclose(grad, slope, rtol=0, atol=atol)


def test_memory_is_that_of_segments():
    """Beyond the gradient, 16 times the length takes as much."""
    loss = ke.MRSTFTLoss((16, 13, 32), (64, 40, 32), (64, 50, 32))

    def temporary(n):
        kind = jax.ShapeDtypeStruct((1, n), jnp.float32)
        compiled = jax.jit(jax.value_and_grad(loss)).lower(kind, kind).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(16 * 20000) < 1.1 * temporary(20000) + 4 * 15 * 20000 * 1.1


# ----------------------------------------------- what the parts say of themselves


def spectra(case):
    return [jnp.swapaxes(S, -1, -2) for S in registry.arguments(case)]


@pytest.mark.parametrize("case", [*registry.SCALES, *registry.COMPLEX_SCALES], ids=str)
def test_scales_say_whether_they_look_at_frames_one_by_one(case):
    (S,), scale = spectra(case), case.make()
    # So that a limit to so many decibels is reached.
    S = np.asarray(S) * np.geomspace(1e-6, 1, S.shape[-2])[None, :, None]
    with jax.enable_x64(True):
        S = jnp.asarray(S)
        whole = scale.apply(Spectra(S)).S
        parts = [scale.apply(Spectra(part)).S for part in (S[:, :6], S[:, 6:])]
        joined = jnp.concatenate(parts, -2)
        is_same = joined.shape == whole.shape and bool(
            jnp.all(jnp.abs(joined - whole) <= 1e-12 * jnp.max(jnp.abs(whole)))
        )
    assert is_same == (widest(scale.path) in ("value", "frame"))


@pytest.mark.parametrize(
    "case",
    [
        *registry.SPECTRAL_LOSSES,
        *registry.COMPLEX_LOSSES,
        *registry.BATCH_LOSSES,
        *registry.LEVEL_LOSSES,
    ],
    ids=str,
)
def test_losses_say_whether_they_are_made_of_frames(case):
    """And those that are no mean or sum of numbers of one frame do not say so."""
    (S_x, S_y), loss = spectra(case), case.make()
    loud = jnp.linspace(0.1, 1, S_x.shape[-2])[None, :, None].astype(S_x.dtype)
    S_x, S_y = loud * S_x, loud * S_y
    n = S_x.shape[-2]

    def of(part: slice, n_whole: int | None) -> Any:
        pair = (Spectra(S[:, part], None, n_whole) for S in (S_x, S_y))
        return loss.sums(*pair) if loss.is_of_batch else (loss.values(*pair),)

    whole = of(slice(None), None)
    # Of segments of a whole: what they make adds up to what the whole makes.
    first, last = of(slice(6), n), of(slice(6, None), n)
    adds_up = all(
        bool(jnp.all(jnp.abs(f + m - w) <= 1e-5 * jnp.abs(w)))
        for f, m, w in zip(first, last, whole, strict=True)
    )
    assert adds_up == (loss.scope in ("value", "frame"))
