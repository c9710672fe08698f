"""What parts declare of themselves, and `lengths` with parts of the user's."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import (
    COMPLEX_LOSSES,
    COMPLEX_SCALES,
    MAPS,
    SCALES,
    SIZES,
    SPECTRAL_LOSSES,
    TRANSFORMS,
    arguments,
    signals,
)

import korvax_eqx as ke
from korvax_eqx import _platform
from korvax_eqx._engine import _alone

LENGTHS = jnp.asarray([1500, 1000])


class Threshold(ke.AbstractSpectralLoss):
    """A mean over frames for what is loud or quiet enough, but not in between."""

    def values(self, x, y):
        mean = x.holding(jnp.abs(x.S - y.S)).mean()
        return jnp.maximum(mean - 5, 0)


class WrongThreshold(ke.AbstractSpectralLoss):
    scope = "frame"

    def values(self, x, y):
        mean = x.holding(jnp.abs(x.S - y.S)).mean()
        return jnp.maximum(mean - 5, 0)


class WithoutLengths(ke.AbstractSpectralLoss):
    def values(self, x, y):
        return jnp.mean(jnp.abs(x.S - y.S), axis=(-2, -1))


class Gamma(ke.AbstractSpectralLoss):
    scope = "frame"

    def values(self, x, y):
        return x.holding(jnp.abs(x.S**0.3 - y.S**0.3)).mean()


class Blocks(ke.AbstractTransform):
    def apply(self, data):
        n = data.x.shape[-1] // 50
        S = jnp.abs(data.x[..., : 50 * n].reshape(*data.x.shape[:-1], n, 50))
        n_frames = None if data.n_samples is None else data.n_samples // 50
        return ke.Spectra(S, n_frames)


class WrongBlocks(ke.AbstractTransform):
    def apply(self, data):
        return Blocks().apply(ke.Signals(data.x[..., ::-1], data.n_samples))


class Silent(ke.AbstractTransform):
    """Does not say how many frames are valid."""

    def apply(self, data):
        return ke.Spectra(Blocks().apply(data).S)


class Root(ke.AbstractScale):
    scope = "value"

    def apply(self, data):
        return data.map(lambda S: jnp.sqrt(S + 1e-3))


class WrongRoot(ke.AbstractScale):
    scope = "value"

    def apply(self, data):
        return data.map(lambda S: S / jnp.max(S, axis=-1, keepdims=True))


class WrongScale(ke.AbstractScale):
    scope = "frame"

    def apply(self, data):
        return data.map(lambda S: S / jnp.max(S, axis=(-2, -1), keepdims=True))


class ToLoudest(ke.AbstractScale):
    def apply(self, data):
        loudest = jnp.max(data.cut().S, axis=(-2, -1), keepdims=True)
        return data.map(lambda S: S / loudest)


class Louder(ke.AbstractSignalMap):
    def apply(self, data):
        return data.map(lambda x: 2 * x)


class WithoutMean(ke.AbstractSignalMap):
    def apply(self, data):
        mean = data.mean()[..., None]
        return data.map(lambda x: x - mean)


class WrongMap(ke.AbstractSignalMap):
    def apply(self, data):
        mean = jnp.mean(data.x, axis=-1, keepdims=True)
        return data.map(lambda x: x - mean)


class WithoutMeanOfBatch(ke.AbstractSignalMap):
    def apply(self, data):
        return data.map(lambda x: x - jnp.mean(x, axis=0, keepdims=True))


class ToLoudestOfBatch(ke.AbstractSpectralLoss):
    def values(self, x, y):
        d = jnp.abs(x.S - y.S)
        return x.holding(d / jnp.max(d)).mean()


class Swapped(ke.AbstractSignalMap):
    scope = "channels"

    def apply(self, data):
        n = data.n_samples
        return ke.Signals(data.x[..., ::-1, :], None if n is None else n[..., ::-1])


class WrongSwapped(ke.AbstractSignalMap):
    def apply(self, data):
        return Swapped().apply(data)


class Cubes(ke.AbstractWaveformLoss):
    def values(self, x, y):
        return ke.Signals(jnp.abs(x.x - y.x) ** 3, x.n_samples).mean()


class WrongCubes(ke.AbstractWaveformLoss):
    def values(self, x, y):
        return jnp.mean(jnp.abs(x.x - y.x) ** 3, axis=-1)


def on_spectra(loss=None, scale=None, transform=None):
    transform = ke.Spectrogram(128) if transform is None else transform
    return ke.TimeFrequencyLoss(transform, loss or ke.ElementwiseLoss(), scale)


OWN = [
    on_spectra(Gamma()),
    on_spectra(Threshold()),
    on_spectra(scale=Root()),
    on_spectra(scale=ToLoudest()),
    on_spectra(scale=ke.Chain((Root(), ke.Log()))),
    on_spectra(Gamma(), Root(), Blocks()),
    ke.MappedLoss(Louder(), on_spectra(Gamma())),
    ke.MappedLoss(WithoutMean(), ke.WaveformLoss()),
    Cubes(),
]


@pytest.mark.parametrize("loss", OWN, ids=range(len(OWN)))
def test_lengths_and_parts_of_ones_own(loss):
    with jax.enable_x64(True):
        x, y = signals(2, dtype=jnp.float64)
        cut = [loss(x[i : i + 1, :n], y[i : i + 1, :n]) for i, n in enumerate(LENGTHS)]
        got = loss(x, y.at[1, 1000:].set(jnp.nan), lengths=LENGTHS)
        np.testing.assert_allclose(got, np.mean(cut), rtol=1e-12)


def test_a_transform_that_does_not_count_its_frames():
    with pytest.raises(ValueError, match="`Silent` must say how many frames"):
        on_spectra(transform=Silent())(*signals(2), lengths=LENGTHS)


def spectra():
    return ke.Spectrogram(**SIZES)(signals(2)[0])


RIGHT = [
    (Gamma(), lambda: (spectra(), 2 * spectra())),
    (Threshold(), lambda: (spectra(), 2 * spectra())),
    (Blocks(), lambda: signals(2)[:1]),
    (Root(), lambda: (spectra(),)),
    (ToLoudest(), lambda: (spectra(),)),
    (Louder(), lambda: signals(2)[:1]),
    (WithoutMean(), lambda: signals(2)[:1]),
    (Swapped(), lambda: signals(2)[:1]),
    (Swapped(), lambda: signals(3, 2)[:1]),
    (Cubes(), lambda: signals(2)),
    (Cubes(), lambda: [s[0] for s in signals(2)]),
]
WRONG = [
    (WrongThreshold(), lambda: (spectra(), 2 * spectra())),
    (WithoutLengths(), lambda: (spectra(), 2 * spectra())),
    (WrongBlocks(), lambda: signals(2)[:1]),
    (WrongRoot(), lambda: (spectra(),)),
    (WrongScale(), lambda: (spectra(),)),
    (WrongMap(), lambda: signals(2)[:1]),
    (WrongCubes(), lambda: signals(2)),
    (WithoutMeanOfBatch(), lambda: signals(2)[:1]),
    (WithoutMeanOfBatch(), lambda: signals(1)[:1]),
    (ToLoudestOfBatch(), lambda: (spectra(), 2 * spectra())),
    (WrongSwapped(), lambda: signals(2)[:1]),
]


def name(value):
    return type(value).__name__


@pytest.mark.parametrize("part, given", RIGHT, ids=name)
def test_check_scope_accepts(part, given):
    ke.check_scope(part, *given())


@pytest.mark.parametrize("part, given", WRONG, ids=name)
def test_check_scope_refuses(part, given):
    with pytest.raises(ValueError, match="does not behave as its `scope` declares"):
        ke.check_scope(part, *given())


def test_check_scope_needs_a_part():
    with pytest.raises(ValueError, match="must be a signal map, a transform, a scale"):
        ke.check_scope(ke.MRSTFTLoss(), *signals(2))


PARTS = [
    *MAPS,
    *TRANSFORMS,
    *SCALES,
    *COMPLEX_SCALES,
    *SPECTRAL_LOSSES,
    *COMPLEX_LOSSES,
]


@pytest.mark.parametrize("case", PARTS, ids=repr)
def test_the_parts_of_the_library_are_what_they_declare(case):
    part = case.make()
    for step in getattr(part, "path", (part,)):
        assert step.scope in ("value", "frame", "signal", "channels")
    ke.check_scope(part, *arguments(case))


def changed(base):
    """A subclass that divides by the peak of each signal, after what it inherits."""

    class Changed(base):
        def apply(self, data):
            data = super().apply(data)
            peak = jnp.max(jnp.abs(data.S), axis=(-2, -1), keepdims=True)
            return data.map(lambda S: S / peak.astype(S.dtype))

    return Changed


@pytest.mark.parametrize(
    "make",
    [
        lambda: changed(ke.STFT)(64, 16),
        lambda: changed(ke.Spectrogram)(64, 16),
        lambda: changed(ke.MelSpectrogram)(8000, 64, 8),
        lambda: changed(ke.MFCC)(8000, 64, 4, n_mels=8),
        lambda: changed(ke.Chroma)(8000, 256),
        lambda: changed(ke.CQT)(8000, fmin=200.0, n_bins=24),
        lambda: changed(ke.VQT)(8000, fmin=200.0, n_bins=24),
    ],
    ids=["STFT", "Spectrogram", "MelSpectrogram", "MFCC", "Chroma", "CQT", "VQT"],
)
@pytest.mark.parametrize("n_samples", [2000, 40_001])
def test_a_subclass_that_changes_a_transform(make, n_samples, monkeypatch):
    """Also of a signal that is so long that frames are evaluated in segments."""
    cpu = dataclasses.replace(
        _platform.PLATFORMS["cpu"], samples=2000, transform_samples=2000
    )
    monkeypatch.setitem(_platform.PLATFORMS, "cpu", cpu)
    monkeypatch.setattr(_alone, "_LONG", 8000)
    jax.clear_caches()
    transform = make()
    x, y = jax.random.normal(jax.random.key(0), (2, n_samples))
    x = x * jnp.linspace(0.1, 1, n_samples)
    peak = jnp.max(jnp.abs(transform(x)))
    np.testing.assert_allclose(peak, 1, rtol=1e-5)
    loss = ke.TimeFrequencyLoss(transform, ke.ElementwiseLoss("L2"))
    expected = np.mean(np.abs(transform(x) - transform(y)) ** 2)
    np.testing.assert_allclose(loss(x, y), expected, rtol=1e-4)
    jax.clear_caches()


def test_a_subclass_that_changes_scales():
    class Doubled(ke.Chain):
        def apply(self, data):
            return super().apply(data).map(lambda S: 2 * S)

    S = jax.random.uniform(jax.random.key(0), (3, 5, 7))
    for scale in (Doubled((ke.Power(2.0),)), ke.Chain((Doubled((ke.Power(2.0),)),))):
        np.testing.assert_allclose(scale(S), 2 * S**2, rtol=1e-6)
