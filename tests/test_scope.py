"""What parts declare of themselves, and `lengths` with parts of the user's."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import (
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
from korvax_eqx._scope import scope_of

LENGTHS = jnp.asarray([1500, 1000])


class Threshold(ke.AbstractSpectralLoss):
    """A mean over frames for what is loud or quiet enough, but not in between."""

    def __call__(self, S_x, S_y):
        return jnp.maximum(jnp.mean(jnp.abs(S_x - S_y)) - 5, 0)


class WrongThreshold(ke.AbstractSpectralLoss):
    scope = "frame"

    def __call__(self, S_x, S_y):
        return jnp.maximum(jnp.mean(jnp.abs(S_x - S_y)) - 5, 0)


class Gamma(ke.AbstractSpectralLoss):
    scope = "frame"

    def __call__(self, S_x, S_y):
        return jnp.mean(jnp.abs(S_x**0.3 - S_y**0.3))


class Blocks(ke.AbstractTransform):
    scope = "frame"

    def __call__(self, x):
        n = x.shape[-1] // 50
        blocks = x[..., : 50 * n].reshape(*x.shape[:-1], n, 50)
        return jnp.abs(jnp.swapaxes(blocks, -1, -2))


class Reversed(ke.AbstractTransform):
    def __call__(self, x):
        return Blocks()(x[..., ::-1])


class Root(ke.AbstractScale):
    scope = "value"

    def __call__(self, S):
        return jnp.sqrt(S + 1e-3)


class ToLoudest(ke.AbstractScale):
    def __call__(self, S):
        return S / jnp.max(S, axis=(-2, -1), keepdims=True)


class WithoutMean(ke.AbstractSignalMap):
    def __call__(self, x):
        return x - jnp.mean(x, axis=-1, keepdims=True)


class Louder(ke.AbstractSignalMap):
    scope = "value"

    def __call__(self, x):
        return 2 * x


class OtherWords(ke.AbstractScale):
    scope = "frames"  # pyright: ignore

    def __call__(self, S):
        return S


def on_spectra(loss=None, scale=None, transform=None):
    transform = ke.Spectrogram(128) if transform is None else transform
    return ke.TimeFrequencyLoss(transform, loss or ke.ElementwiseLoss(), scale)


CAUTIOUS = [
    (on_spectra(Threshold()), "Threshold", "AbstractFramesLoss"),
    (on_spectra(scale=ToLoudest()), "ToLoudest", "AbstractFramesScale"),
    (on_spectra(transform=Reversed()), "Reversed", "AbstractFramesTransform"),
    (
        ke.MappedLoss(WithoutMean(), ke.WaveformLoss()),
        "WithoutMean",
        "map the signals before",
    ),
]


@pytest.mark.parametrize("loss, name, remedy", CAUTIOUS, ids=lambda v: str(v)[:20])
def test_lengths_and_a_part_that_may_see_the_padding(loss, name, remedy):
    x, y = signals(2)
    loss(x, y)
    with pytest.raises(ValueError, match=f"`{name}`, whose `scope` is .*{remedy}"):
        loss(x, y, lengths=LENGTHS)


DECLARED = [
    on_spectra(Gamma()),
    on_spectra(scale=Root()),
    on_spectra(scale=ke.Chain((Root(), ke.Log()))),
    on_spectra(Gamma(), Root(), Blocks()),
    ke.MappedLoss(Louder(), on_spectra(Gamma())),
]


@pytest.mark.parametrize("loss", DECLARED, ids=range(len(DECLARED)))
def test_lengths_and_a_part_that_declares_its_scope(loss):
    with jax.enable_x64(True):
        x, y = signals(2, dtype=jnp.float64)
        cut = [loss(x[i : i + 1, :n], y[i : i + 1, :n]) for i, n in enumerate(LENGTHS)]
        got = loss(x, y.at[1, 1000:].set(jnp.nan), lengths=LENGTHS)
        np.testing.assert_allclose(got, np.mean(cut), rtol=1e-12)


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="OtherWords.scope.*one of 'value'.*'frames'"):
        on_spectra(scale=OtherWords())(*signals(2), lengths=LENGTHS)


def test_a_derived_class_has_to_declare_anew():
    class Louder(ke.PreEmphasis):
        def __call__(self, x):
            return x - jnp.mean(x)

    assert scope_of(ke.PreEmphasis(), "__call__") == "frame"
    assert scope_of(Louder(), "__call__") == "signal"


def test_frames_are_counted_without_compiling():
    """Trials used to take 3 to 7 s: here is what is left, without the loss itself."""
    x, y = signals(2)
    loss = on_spectra(Gamma(), transform=Blocks())
    jax.eval_shape(loss, x, y)
    start = time.perf_counter()
    jax.eval_shape(lambda x, y: loss(x, y, lengths=LENGTHS), x, y)
    assert time.perf_counter() - start < 2


def spectra():
    return ke.Spectrogram(**SIZES)(signals(2)[0])


@pytest.mark.parametrize(
    "part, arguments",
    [
        (Gamma(), lambda: (spectra(), 2 * spectra())),
        (Blocks(), lambda: signals(2)[:1]),
        (Root(), lambda: (spectra(),)),
        (Louder(), lambda: signals(2)[:1]),
        (Threshold(), lambda: (spectra(), 2 * spectra())),
    ],
    ids=lambda v: type(v).__name__,
)
def test_check_scope_accepts(part, arguments):
    ke.check_scope(part, *arguments())


class WrongRoot(ke.AbstractScale):
    scope = "value"

    def __call__(self, S):
        return S / jnp.max(S, axis=-2, keepdims=True)


class WrongScale(ke.AbstractScale):
    scope = "frame"

    def __call__(self, S):
        return S / jnp.max(S, axis=(-2, -1), keepdims=True)


class WrongBlocks(ke.AbstractTransform):
    scope = "frame"

    def __call__(self, x):
        return Blocks()(x[..., ::-1])


class WrongMap(ke.AbstractSignalMap):
    scope = "frame"

    def __call__(self, x):
        return x - jnp.mean(x, axis=-1, keepdims=True)


@pytest.mark.parametrize(
    "part, arguments",
    [
        (WrongThreshold(), lambda: (spectra(), 2 * spectra())),
        (WrongRoot(), lambda: (spectra(),)),
        (WrongScale(), lambda: (spectra(),)),
        (WrongBlocks(), lambda: signals(2)[:1]),
        (WrongMap(), lambda: signals(2)[:1]),
    ],
    ids=lambda v: type(v).__name__,
)
def test_check_scope_refuses(part, arguments):
    with pytest.raises(ValueError, match="is not what its `scope`"):
        ke.check_scope(part, *arguments())


def test_check_scope_needs_a_part():
    with pytest.raises(ValueError, match="signal map, a transform, a scale or a loss"):
        ke.check_scope(ke.WaveformLoss(), *signals(2))


@pytest.mark.parametrize("case", [*MAPS, *SCALES, *COMPLEX_SCALES], ids=repr)
def test_the_parts_of_the_library_are_what_they_declare(case):
    made, given = case.make(), arguments(case)
    method = "frames" if isinstance(made, ke.AbstractFramesScale) else "__call__"
    if scope_of(made, method) != "signal":
        ke.check_scope(made, *given, rtol=1e-4)


@pytest.mark.parametrize("case", [*TRANSFORMS, *SPECTRAL_LOSSES], ids=repr)
def test_the_parts_of_the_library_that_are_told_where_signals_end(case):
    told = (ke.AbstractFramesTransform, ke.AbstractFramesLoss)
    assert isinstance(case.make(), told)
