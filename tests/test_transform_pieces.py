"""Transforms in pieces of the batch and of long signals: what is computed and held."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from on_devices import printed
from oracle import assert_close
from registry import SAMPLE_RATE

import korvax_eqx as ke
from korvax_eqx._data import Signals, Spectra

ROOT = Path(__file__).parent.parent
# Pieces have about this many samples (on CPU), long signals several times as many.
PIECE = 180_000
N = 20_000  # nine signals of this length make a piece
LONG = 4 * PIECE + 123
SMALL = {"n_fft": 256, "hop_length": 100}
TRANSFORMS = {
    "complex": ke.STFT(**SMALL),
    "magnitude": ke.Spectrogram(**SMALL, power=1.0),
    "mel": ke.MelSpectrogram(SAMPLE_RATE, n_mels=20, **SMALL),
    "mfcc": ke.MFCC(SAMPLE_RATE, n_mfcc=8, n_mels=20, **SMALL),
    "cqt": ke.CQT(SAMPLE_RATE, fmin=500.0, n_bins=24, hop_length=100),
    "vqt complex": ke.VQT(SAMPLE_RATE, fmin=500.0, n_bins=24, gamma=9.0, power=None),
}
LONG_TRANSFORMS = {
    **TRANSFORMS,
    "reflect": ke.Spectrogram(**SMALL, pad_mode="reflect"),
    "edge": ke.Spectrogram(250, 90, pad_mode="edge"),
    "wrap": ke.Spectrogram(**SMALL, pad_mode="wrap"),  # is not cut
    "valid": ke.Spectrogram(**SMALL, center=False),
    "end": ke.Spectrogram(**SMALL, padding="end"),
    "uneven padding": ke.Spectrogram(**SMALL, padding=(300, 0)),
    "extra padding": ke.STFT(**SMALL, padding="same", extra_padding=True),
    "chroma": ke.Chroma(SAMPLE_RATE, **SMALL),
    "vqt reflect": ke.VQT(SAMPLE_RATE, fmin=500.0, n_bins=24, pad_mode="reflect"),
}


def noise(*shape: int, dtype: Any = jnp.float32) -> jax.Array:
    return (0.3 * jax.random.normal(jax.random.key(0), shape)).astype(dtype)


def frames_of(transform: Any, x: jax.Array) -> jax.Array:
    """What a transform makes of signals, without the evaluation; bins are last."""
    return transform.apply(Signals(x)).S


def signal_by_signal(transform: Any, x: jax.Array) -> jax.Array:
    """The frames of each signal, without a loop and without a rule of ours."""
    whole = jnp.stack([frames_of(transform, row[None])[0] for row in x])
    return jnp.swapaxes(whole, -1, -2)


def total(S: jax.Array) -> jax.Array:
    """A number that every entry counts in, differently."""
    weights = jnp.cos(jnp.arange(S.size, dtype=S.real.dtype)).reshape(S.shape)
    parts = (S.real, S.imag) if jnp.iscomplexobj(S) else (S,)
    sums = [jnp.sum(jnp.sin(part) * weights) for part in parts]
    return sum(sums[1:], sums[0])


def temporary(fn: Any, *args: Any) -> int:
    analysis = jax.jit(fn).lower(*args).compile().memory_analysis()
    assert analysis is not None
    return analysis.temp_size_in_bytes


def is_looping(fn: Any, *args: Any) -> bool:
    return " while(" in str(jax.jit(fn).lower(*args).compile().as_text())


# More than a piece, with and without a rest.
@pytest.mark.parametrize("batch", [31, 27])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_pieces_of_a_batch_are_the_whole(name: str, batch: int) -> None:
    transform = TRANSFORMS[name]
    x = noise(batch, N)
    assert is_looping(transform, x)
    S = jax.jit(transform)(x)
    assert_close(S, jax.jit(signal_by_signal, static_argnums=0)(transform, x), 1e-6)
    assert_close(transform(x), S, 1e-6)
    assert_close(transform(x.reshape(1, batch, N))[0], S, 1e-6)
    assert_close(jax.jit(jax.vmap(transform))(x), S, 1e-6)


@pytest.mark.parametrize("name", ["complex", "mel", "cqt"])
def test_derivatives_of_pieces(name: str) -> None:
    """Reverse, forward, batched, of second order, against plain autodiff."""
    with jax.enable_x64(True):
        transform = TRANSFORMS[name]
        x = noise(31, N, dtype=jnp.float64)
        t = jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)

        def plain(x: jax.Array) -> jax.Array:
            return jnp.swapaxes(frames_of(transform, x), -1, -2)

        def outcomes(fn: Any) -> Any:
            gradient = jax.grad(lambda x: total(fn(x)))
            return {
                "gradient": gradient(x),
                "batched": jax.vmap(gradient)(x[:, None]),
                "forward": jax.jvp(fn, (x,), (t,))[1],
                "second": jax.jvp(gradient, (x,), (t,))[1],
                "reverse twice": jax.grad(lambda x: jnp.sum(gradient(x) * t))(x),
            }

        ours = jax.jit(functools.partial(outcomes, transform))()
        assert_close(ours, jax.jit(functools.partial(outcomes, plain))(), 1e-9)


def test_gradients_of_learnable_arrays_are_sums() -> None:
    x = noise(31, N)
    basis = jnp.asarray(ke.MelSpectrogram(SAMPLE_RATE, n_mels=20, **SMALL).matrix)
    basis = basis.astype(jnp.float32)
    window = jnp.asarray(np.hanning(256) + 0.1, jnp.float32)

    def made(window: jax.Array, basis: jax.Array) -> ke.MelSpectrogram:
        return ke.MelSpectrogram(
            SAMPLE_RATE, n_mels=20, window=window, basis=basis, **SMALL
        )

    def ours(window: jax.Array, basis: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(made(window, basis)(x)))

    def plain(window: jax.Array, basis: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(frames_of(made(window, basis), x)))

    for_both = [jax.jit(jax.grad(fn, argnums=(0, 1, 2))) for fn in (ours, plain)]
    assert_close(for_both[0](window, basis, x), for_both[1](window, basis, x), 2e-5)
    # Examples with a window each, and one window for all of them.
    windows = window * jnp.linspace(0.5, 1.5, 3)[:, None]
    xs = x[:12].reshape(3, 4, N)
    for axes in (0, None, 0), (None, None, 0), (0, None, None):
        args = (
            windows if axes[0] == 0 else window,
            basis,
            xs if axes[2] == 0 else xs[0],
        )
        each = [
            jax.vmap(jax.grad(fn, argnums=(0, 1, 2)), in_axes=axes)(*args)
            for fn in (ours, plain)
        ]
        assert_close(each[0], each[1], 2e-5)


def test_memory_does_not_grow_with_the_batch() -> None:
    for transform in TRANSFORMS["magnitude"], TRANSFORMS["mel"], TRANSFORMS["mfcc"]:
        for fn in transform, jax.vmap(transform):
            few, many = (temporary(fn, noise(batch, N)) for batch in (18, 72))
            assert many <= few + 4096  # where the pieces start
            # A batch without divisors leaves a rest: a second program, with memory of
            # its own, before which XLA copies what the loop has made.
            made = jax.eval_shape(transform, noise(71, N))
            copied = made.size * made.dtype.itemsize
            assert temporary(fn, noise(71, N)) <= 2 * few + copied
    mel = TRANSFORMS["mel"]

    def gradient(x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: jnp.sum(mel(x) ** 2))(x)

    # The user's own sum of squares holds the spectra, and the gradient for them.
    few, many = (temporary(gradient, noise(batch, N)) for batch in (18, 72))
    output = 4 * mel(noise(1, N)).size
    assert many - few <= 2.1 * (72 - 18) * output
    batched = temporary(jax.vmap(gradient), noise(72, N))
    assert batched <= 1.1 * many


def test_gradients_of_several_transforms_take_their_memory_in_turn() -> None:
    x = noise(36, N)
    # Hops that make fewer and fewer frames, so that each gradient for spectra fits
    # where spectra were.
    transforms = [ke.Spectrogram(256, 100 + i, power=1.0) for i in range(6)]

    def used(n: int) -> int:
        def total_of_squares(x: jax.Array) -> jax.Array:
            return sum((jnp.sum(t(x) ** 2) for t in transforms[:n]), jnp.zeros(()))

        return temporary(jax.grad(total_of_squares), x)

    spectra = sum(4 * t(x).size for t in transforms[3:])
    # Of three transforms more, their spectra, and less than one more gradient for x.
    assert used(6) - used(3) <= spectra + 4 * x.size


def test_one_piece_has_no_loop_and_transforms_once() -> None:
    transform = TRANSFORMS["magnitude"]
    for shape in (1, N), (9, N), (N,):
        x = noise(*shape)
        assert not is_looping(transform, x)
        both = jax.value_and_grad(lambda x: jnp.sum(transform(x) ** 2))
        text = jax.jit(both).lower(x).compile().as_text()
        assert text.count(" fft(") == 2  # one there, one back


def test_symbolic_batch() -> None:
    transform = TRANSFORMS["mel"]
    (batch,) = jax.export.symbolic_shape("batch")
    spec = jax.ShapeDtypeStruct((batch, 2, N), jnp.float32)

    def gradient(x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: jnp.sum(transform(x) ** 2))(x)

    for fn in transform, gradient:
        exported = jax.export.export(jax.jit(fn))(spec)
        for size in 1, 3:
            x = noise(size, 2, N)
            assert_close(exported.call(x), jax.jit(fn)(x))


@pytest.mark.parametrize("name", LONG_TRANSFORMS)
def test_long_signals(name: str) -> None:
    transform = LONG_TRANSFORMS[name]
    x = noise(2, LONG)

    def plain(x: jax.Array) -> jax.Array:
        if name == "mfcc":
            mel = frames_of(transform.mel_spectrogram, x)
            S = ke.PowerToDB(amin=1e-6).apply(Spectra(mel)).S
            return jnp.einsum("mb,...tb->...mt", transform.dct_matrix.astype("f4"), S)
        return jnp.swapaxes(frames_of(transform, x), -1, -2)

    # One signal: with two, those that are not cut are a piece each.
    # XLA unrolls the few segments that need no padding.
    if not name.startswith(("cqt", "vqt", "valid")):
        assert is_looping(transform, x[:1]) == (name != "wrap")
    value = jax.jit(transform)(x)
    assert_close(value, jax.jit(plain)(x), 1e-5)
    for fn in (lambda x: jax.grad(lambda x: total(transform(x)))(x),):
        expected = jax.jit(jax.grad(lambda x: total(plain(x))))(x)
        assert_close(jax.jit(fn)(x), expected, 2e-5)


def test_long_signals_in_every_direction() -> None:
    """Forward mode, second order and learnable windows, of a signal in segments."""
    x, t = noise(LONG), noise(LONG)[::-1]
    window = jnp.asarray(np.hanning(256) + 0.1, jnp.float32)

    def ours(window: jax.Array, x: jax.Array) -> jax.Array:
        return ke.Spectrogram(**SMALL, window=window)(x)

    def plain(window: jax.Array, x: jax.Array) -> jax.Array:
        transform = ke.Spectrogram(**SMALL, window=window)
        return jnp.swapaxes(frames_of(transform, x), -1, -2)

    def outcomes(fn: Any) -> Any:
        def both(window: jax.Array, x: jax.Array) -> Any:
            return jax.grad(lambda w, x: jnp.sum(jnp.sin(fn(w, x))), (0, 1))(window, x)

        return jax.jit(lambda w, x, t: (both(w, x), jax.jvp(both, (w, x), (w * w, t))))(
            window, x, t
        )

    assert_close(outcomes(ours), outcomes(plain), 5e-5)


@pytest.mark.parametrize("name", ["magnitude", "mel", "mfcc", "cqt"])
def test_memory_of_long_signals(name: str) -> None:
    transform = LONG_TRANSFORMS[name]
    used = [temporary(transform, noise(2, n)) for n in (LONG, 2 * LONG)]
    bins = transform(noise(2, N)).shape[-2]
    frames = 2 * LONG / 100
    # Of CQT the complex spectra, of MFCC the mel bands in and out of decibels.
    held = {"magnitude": 0, "mel": 0, "mfcc": 3 * 20 * 4, "cqt": 2 * bins * 4}[name]
    assert used[1] - used[0] <= 1.1 * held * frames + 4096


SHARDED = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
from checks import KINDS, agree, collectives, compiled, make_mesh, put
import korvax_eqx as ke

window = jnp.asarray(np.hanning(64) + 0.1, jnp.float32)
x = jax.random.normal(jax.random.key(0), (8, 2, 100_000), jnp.float32)

def transform(window, x):
    return ke.Spectrogram(64, 50, window=window, power=1.0)(x)

def gradient(window, x):
    total = lambda window, x: jnp.sum(jnp.sin(transform(window, x)))
    return jax.grad(total, argnums=(0, 1))(window, x)

def per_example(window, x):
    return jax.vmap(lambda x: gradient(window, x)[1])(x)

def forward(window, x):
    return jax.jvp(lambda x: transform(window, x), (x,), (0.5 * x,))[1]

found = []
for fn, n_windows in (transform, 0), (gradient, 1), (per_example, 0), (forward, 0):
    expected = jax.jit(fn)(window, x)
    for kind in KINDS:
        mesh = make_mesh(kind)
        args = put(window, mesh), put(x, mesh, "data")
        run = compiled(fn, *args)
        agree(run(*args), expected, 1e-4)
        assert " while(" in run.as_text(), fn.__name__
        moved = collectives(run)
        found.append([fn.__name__, str(kind), moved])
        assert moved == [("all-reduce", 64)] * n_windows, found[-1]
print(json.dumps(found))
"""


@pytest.mark.long
def test_eight_devices_move_nothing_but_a_window() -> None:
    assert len(printed("-c", SHARDED)) == 8


def test_a_transform_of_the_users_is_cut_as_well() -> None:
    class Halves(ke.AbstractTransform):
        gain: jax.Array

        def apply(self, data: Any) -> Any:
            x = data.x
            return Spectra(self.gain * x.reshape(*x.shape[:-1], 2, -1) ** 2)

    transform = Halves(jnp.asarray(2.0))
    x = noise(18, N)
    assert is_looping(lambda x: transform(x), x)
    expected = jnp.swapaxes(frames_of(transform, x), -1, -2)
    assert_close(transform(x), expected, 1e-6)
    slope = jax.grad(lambda m: jnp.sum(m(x)))(transform)
    assert_close(slope.gain, jnp.sum(expected) / 2)
    doubled = dataclasses.replace(transform, gain=jnp.asarray(4.0))
    assert_close(doubled(x), 2 * expected, 1e-6)
