"""All pairs of two batches, by `jax.vmap` of `jax.vmap`: values, tiles, transforms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import BATCHES, COMPOSITES, LEVELS, N_SAMPLES, SIZES, signals

import korvax_eqx as ke
from korvax_eqx import _platform

# All but one, which takes minutes to compile and differs in its sizes alone.
LOSSES = [
    case for case in [*COMPOSITES, *LEVELS, *BATCHES] if case.name != "SmoothMRSTFTLoss"
]


def close(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.max(np.abs(b)))


def all_pairs(loss):
    return jax.jit(jax.vmap(jax.vmap(loss, (None, 0)), (0, None)))


def each(loss, x, y):
    pair = jax.jit(loss)
    return jnp.stack([jnp.stack([pair(a, b) for b in y]) for a in x])


def settings(monkeypatch, **fields):
    changed = dataclasses.replace(_platform.PLATFORMS["cpu"], **fields)
    monkeypatch.setitem(_platform.PLATFORMS, "cpu", changed)


@pytest.mark.parametrize("case", LOSSES, ids=repr)
def test_the_values_are_those_of_each_pair(case, monkeypatch):
    """In tiles of 2 by 2 signals, the last ones not full; and as on a GPU."""
    with jax.enable_x64(True):
        x, y = case.signals(5, dtype=jnp.float64)
        x = x[:3]
        expected = each(case.callable(), x, y)
        sizes = dict.fromkeys(("samples", "dense_samples", "signal_samples"), N_SAMPLES)
        settings(monkeypatch, **sizes, pairs=4)
        close(all_pairs(case.callable())(x, y), expected)
        gpu = _platform.PLATFORMS["gpu"]
        monkeypatch.setitem(_platform.PLATFORMS, "cpu", gpu)
        close(all_pairs(case.callable())(x, y), expected)


SPECTRAL = ke.MRSTFTLoss((64, 100), (256, 512))


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_axes_that_both_have_are_batches_of_their_own(axes):
    """Pairs of recordings of two channels, wherever the three axes are."""
    with jax.enable_x64(True):
        x, y = (s.astype(jnp.float64) for s in signals(2, 4))
        x = x[:, :3]
        expected = jnp.stack([each(SPECTRAL, x[i], y[i]) for i in range(2)])
        lead = [jnp.expand_dims(x, 2), jnp.expand_dims(y, 1)]
        a, b = (jnp.transpose(s, (*axes, 3)) for s in lead)
        fn = SPECTRAL
        for _ in range(3):
            fn = jax.vmap(fn)
        shape = jnp.broadcast_shapes(a.shape, b.shape)
        # As `jax.vmap` hands them over: axes of size 1 that are not mapped.
        full = jax.jit(fn)(jnp.broadcast_to(a, shape), jnp.broadcast_to(b, shape))
        close(full, jnp.transpose(expected, axes))

        def nested(fn, sizes):
            for own, other in reversed(sizes):
                fn = jax.vmap(fn, (0 if own > 1 else None, 0 if other > 1 else None))
            return fn

        sizes = list(zip(a.shape[:3], b.shape[:3], strict=True))
        a, b = (s.reshape(*(n for n in s.shape[:3] if n > 1), -1) for s in (a, b))
        close(jax.jit(nested(SPECTRAL, sizes))(a, b), jnp.transpose(expected, axes))


def test_of_bound_losses():
    with jax.enable_x64(True):
        x, y = (s.astype(jnp.float64) for s in signals(4))
        bound = jax.vmap(SPECTRAL.bind)(y)
        values = jax.vmap(jax.vmap(lambda b, x: b(x), (0, None)), (None, 0))(bound, x)
        close(values, each(SPECTRAL, x, y))


def test_terms_and_gradients():
    """The gradient of a function of all values; the terms of each pair."""
    loss = ke.SumLoss({"stft": SPECTRAL, "sdr": ke.SISDRLoss()})
    with jax.enable_x64(True):
        x, y = (s.astype(jnp.float64) for s in signals(3))

        def total(values):
            return jnp.sum(jnp.sin(values / 10))

        gradient = jax.grad(lambda x, y: total(all_pairs(loss)(x, y)), (0, 1))(x, y)
        expected = jax.grad(lambda x, y: total(each(loss, x, y)), (0, 1))(x, y)
        for a, b in zip(gradient, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * np.max(np.abs(b)))
        value, terms = all_pairs(loss.with_terms)(x, y)
        close(sum(terms.values()), value)
        for name, own in terms.items():
            term = each(lambda x, y, n=name: loss.with_terms(x, y)[1][n], x, y)
            close(own, term)


class Active(ke.AbstractTransform):
    """A transform that says itself how many frames of a signal count."""

    def apply(self, data):
        S = data.x.reshape(*data.x.shape[:-1], -1, 25)
        is_loud = jnp.max(jnp.abs(data.x), axis=-1) > 3.5
        return ke.Spectra(S, jnp.where(is_loud, 10, 5).astype(jnp.int32))


class Mean(ke.AbstractSpectralLoss):
    def values(self, x, y):
        return jnp.mean(jnp.abs(x.S - y.S), axis=(-2, -1))


class OverTheSecondAxis(ke.AbstractWaveformLoss):
    """Of one leading axis, as a call has it."""

    def values(self, x, y):
        return jnp.mean((x.x - y.x) ** 2, axis=1)


OWN = {
    "frames": ke.TimeFrequencyLoss(Active(), Mean()),
    "frames of the library's": ke.TimeFrequencyLoss(Active(), ke.ElementwiseLoss()),
    "axis": OverTheSecondAxis(),
    "axis of bands": ke.MappedLoss(ke.PQMF(4), OverTheSecondAxis()),
}


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("name", OWN)
def test_parts_of_ones_own_see_what_a_call_shows_them(name, platform, monkeypatch):
    """Also as many estimates as there are frames, and bound ones."""
    chosen = _platform.PLATFORMS[platform]
    monkeypatch.setitem(_platform.PLATFORMS, "cpu", chosen)
    loss = OWN[name]
    with jax.enable_x64(True):
        x, y = (s[..., :600].astype(jnp.float64) for s in signals(24))
        close(all_pairs(loss)(x, y[:4]), each(loss, x, y[:4]))
        bound = jax.vmap(loss.bind)(y[:4])
        of_bound = jax.vmap(jax.vmap(lambda b, x: b(x), (0, None)), (None, 0))
        expected = [[loss.bind(b)(a) for b in y[:4]] for a in x[:3]]
        close(jax.jit(of_bound)(bound, x[:3]), jnp.asarray(expected))


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (0, 0)])
def test_of_no_signals(sizes):
    x, y = (s[:n] for s, n in zip(signals(3), sizes, strict=True))
    assert all_pairs(SPECTRAL)(x, y).shape == sizes
    gradient = jax.grad(lambda x, y: jnp.sum(all_pairs(SPECTRAL)(x, y)))(x, y)
    np.testing.assert_array_equal(gradient, jnp.zeros_like(x))


def temporary_memory(loss, x, y):
    analysis = all_pairs(loss).lower(x, y).compile().memory_analysis()
    assert analysis is not None
    return analysis.temp_size_in_bytes


def test_a_piece_size_holds_for_pairs_too():
    x, y = (jnp.tile(s, 20) for s in signals(8))
    one, every = (ke.MRSTFTLoss((64,), (256,), piece_size=n) for n in (1, None))
    assert temporary_memory(one, x, y) < 0.3 * temporary_memory(every, x, y)


def test_long_signals_stay_in_segments():
    x, y = (jnp.tile(s, 500) for s in signals(3))
    loss = ke.MRSTFTLoss((64,), (256,))
    # Less than copies of the batches and two whole spectra.
    one_spectrum = 8 * 129 * x.shape[-1] / 64
    assert temporary_memory(loss, x, y) < x.nbytes + y.nbytes + 2 * one_spectrum
    close32 = np.testing.assert_allclose
    close32(all_pairs(loss)(x, y), each(loss, x, y), rtol=1e-5)


class Recorded(ke.AbstractTransform):
    """A transform that notes how many signals it is applied to."""

    def apply(self, data):
        SEEN.append(data.x.shape[:-1])
        return ke.Spectrogram(**SIZES).apply(data)


SEEN = []


def test_each_signal_is_transformed_once():
    x, y = (jnp.tile(s, 3) for s in signals(20))
    loss = ke.TimeFrequencyLoss(Recorded(), ke.ElementwiseLoss())
    lowered = all_pairs(loss).lower(x[:7], y)
    assert {(7,), (20,)} <= set(SEEN)
    assert (140,) not in SEEN
    # Neither gradients nor pairs are kept: memory does not grow with their number.
    analysis = lowered.compile().memory_analysis()
    n_values = 27 * y.size / SIZES["hop_length"] * SIZES["n_fft"] / y.shape[0]
    assert analysis is not None and analysis.temp_size_in_bytes < 4 * 4 * n_values
