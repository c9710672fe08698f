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
