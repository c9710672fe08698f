"""Chroma: the filter bank, the frames' norms, and where the classes lie."""

import itertools
import math

import jax
import jax.numpy as jnp
import jaxtyping
import librosa
import numpy as np
import pytest

import korvax_eqx as ke
from korvax_eqx._data import Signals


@pytest.mark.long
@pytest.mark.parametrize("n_fft", [2, 3, 64, 255])
def test_filter_bank_is_librosas(n_fft):
    for sr, n_chroma, tuning, base_c in itertools.product(
        (8000, 22050.0), (1, 7, 12, 24, 30, 36), (0.0, 0.3, -0.4), (True, False)
    ):
        arguments = {"tuning": tuning, "base_c": base_c}
        for extra in ({}, {"octwidth": None}, {"ctroct": 3.5, "octwidth": 0.7}):
            chroma = ke.Chroma(sr, n_fft, n_chroma, **arguments, **extra)
            expected = librosa.filters.chroma(
                sr=sr,
                n_fft=n_fft,
                n_chroma=n_chroma,
                dtype=np.float64,
                **arguments,
                **extra,
            )
            assert chroma.matrix.dtype == np.float64
            np.testing.assert_allclose(chroma.matrix, expected, rtol=0, atol=1e-12)


@pytest.mark.long
@pytest.mark.parametrize("norm", [None, 1, 2, math.inf])
def test_chroma_is_librosas(norm):
    """Its filter bank is rounded to float32 in `chroma_stft`: 1e-6 and no less."""
    y = np.random.default_rng(0).normal(size=5000)
    y[3000:4500] = 0.0
    options = {"sr": 8000, "n_fft": 512, "hop_length": 100, "n_chroma": 24}
    expected = librosa.feature.chroma_stft(y=y, tuning=0.2, norm=norm, **options)
    with jax.enable_x64(True):
        actual = ke.Chroma(tuning=0.2, norm=norm, **options)(jnp.asarray(y))
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=0)


def test_sines_fall_into_their_classes():
    """In every octave, and `frequencies` and `positions` say which class it is."""
    chroma = ke.Chroma(16000, 4096, center=False)
    np.testing.assert_allclose(chroma.frequencies[0], 440 * 2 ** (-45 / 12))
    for octave, k in itertools.product((3, 4, 5), range(12)):
        frequency = chroma.frequencies[k] * 2**octave
        x = jnp.sin(jnp.asarray(2 * np.pi * frequency / 16000 * np.arange(4096)))
        assert jnp.argmax(chroma(x)[:, 0]) == k
    np.testing.assert_allclose(chroma.positions, np.arange(12) / 12)
    for n_chroma, tuning, base_c in itertools.product(
        (12, 24), (0, 0.5), (True, False)
    ):
        chroma = ke.Chroma(16000, 64, n_chroma, tuning, base_c=base_c)
        octaves = np.log2(chroma.frequencies / chroma.frequencies[0])
        np.testing.assert_allclose(octaves, chroma.positions, atol=1e-12)
        lowest = 32.703195662574829 if base_c else 27.5
        lowest *= 2 ** (tuning / n_chroma)
        np.testing.assert_allclose(chroma.frequencies[0], lowest, rtol=1e-12)


@pytest.mark.parametrize("norm", [None, 1, 2, math.inf])
def test_gradient_at_silence(norm):
    """Finite in a silent frame, in one below `eps`, and where they follow sound."""
    chroma = ke.Chroma(8000, 64, norm=norm)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(12, 1)), jnp.float32)

    def total(x):
        return jnp.sum(chroma(x) * weights)

    assert jnp.all(jax.grad(total)(jnp.zeros(500)) == 0)
    x = jnp.asarray(np.random.default_rng(0).normal(size=500), jnp.float32)
    for scale in (1e-30, 1e-20, 1e-10, 1e-5, 1.0):
        gradient = jax.grad(total)((scale * x).at[250:].set(0))
        assert jnp.all(jnp.isfinite(gradient))
        if scale >= 1e-10:
            assert jnp.any(gradient != 0)


@pytest.mark.parametrize("norm", [1, 2, math.inf])
def test_gradient_is_that_of_the_quotient(norm):
    """Loud frames are divided by their norm, quiet ones by `eps`."""
    x = np.random.default_rng(0).normal(size=300)
    weights = np.random.default_rng(1).normal(size=(12, 1))
    with jax.enable_x64(True):
        x, weights = jnp.asarray(x), jnp.asarray(weights)

        def total(x, eps):
            return jnp.sum(ke.Chroma(8000, 64, norm=norm, eps=eps)(x) * weights)

        def naive(x):
            C = ke.Chroma(8000, 64, norm=None)(x)
            return jnp.sum(C / jnp.linalg.norm(C, norm, axis=0) * weights)

        def quiet(x):
            return jnp.sum(ke.Chroma(8000, 64, norm=None)(x) / 1e6 * weights)

        for f, g in (
            (lambda x: total(x, 1e-10), naive),
            (lambda x: total(x, 1e6), quiet),
        ):
            value, gradient = jax.jit(jax.value_and_grad(f))(x)
            expected, slope = jax.jit(jax.value_and_grad(g))(x)
            np.testing.assert_allclose(value, expected, rtol=1e-12)
            scale = np.max(np.abs(slope))
            np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("norm", [None, 1, 2, math.inf])
def test_equal_signals_have_no_difference(norm):
    """Exactly: a quotient fused into the difference would be rounded only once."""
    loss = ke.TimeFrequencyLoss(ke.Chroma(8000, 64, norm=norm), ke.ElementwiseLoss())
    x = jnp.asarray(np.random.default_rng(0).normal(size=500), jnp.float32)
    assert loss(x, x) == 0


def test_signals_that_end_early():
    """Frames of a padded batch, values and gradients, are those of each alone."""
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(3, 300))
        lengths = np.array([300, 40, 170])
        x = jnp.asarray(x * (np.arange(300) < lengths[:, None]))
        chroma = ke.Chroma(8000, 64, pad_mode="reflect", padding="same", norm=2)
        counts = chroma.n_frames(jnp.asarray(lengths))

        @jax.jit
        def frames_and_gradient(x):
            C, pull = jax.vjp(
                lambda x: chroma.apply(Signals(x, jnp.asarray(lengths))).S, x
            )
            valid = jnp.arange(C.shape[-2]) < counts[:, None]
            return C, pull(jnp.where(valid[..., None], jnp.ones_like(C), 0.0))[0]

        frames, gradient = frames_and_gradient(x)
        for row, n in enumerate(lengths):
            alone = x[row, :n]
            expected = chroma(alone).T
            assert expected.shape[0] == counts[row]
            actual = frames[row, : len(expected)]
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)
            slope = jax.jit(jax.grad(lambda x: jnp.sum(chroma(x))))(alone)
            np.testing.assert_allclose(gradient[row, :n], slope, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_chroma": 0}, r"Chroma\(n_chroma=...\)` must be a positive integer"),
        ({"norm": 3}, "be one of None, 1, 2"),
        ({"norm": "max"}, "be one of None, 1, 2"),
        ({"eps": 0.0}, "be positive"),
        ({"octwidth": 0.0}, "be positive"),
        ({"tuning": math.nan}, "be a finite real number"),
        ({"base_c": 1}, "be True or False"),
        ({"power": None}, "be a finite real number"),
        ({"padding": "centre"}, r"Chroma\(padding=...\)` must be 'torch'"),
        ({"n_fft": 1}, "be at least 2"),
    ],
)
def test_refused(arguments, message):
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=message):
            ke.Chroma(**{"sr": 8000, "n_fft": 64, **arguments})
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
