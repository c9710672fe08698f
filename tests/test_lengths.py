"""Laws of `lengths`, tested for every loss on signals.

Which signals are too short, channels that end on their own, and exported programs.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import (
    BATCHES,
    COMPOSITES,
    LEVELS,
    N_SAMPLES,
    RECIPES,
    RECIPES_OF_BATCHES,
    SIZES,
    signals,
)

import korvax_eqx as ke
from korvax_eqx import recipes

# Without what takes most of a minute to compile.
SLOW = ("SmoothMRSTFTLoss", "auraloss_random")
MEANS = [c for c in [*COMPOSITES, *LEVELS, *RECIPES] if c.name not in SLOW]
LOSSES = [*MEANS, *BATCHES]
LOSSES += [c for c in RECIPES_OF_BATCHES if c.name not in SLOW]
OF_SIGNALS = [case for case in LOSSES if case.n_channels is None]
# Without those of the batch, which are no means over recordings.
OF_CHANNELS = [case for case in MEANS if case.n_channels is not None]
SHORT = 1033


def close(a, b, rtol):
    """Compare by the largest entry."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape and a.dtype == b.dtype and np.all(np.isfinite(b))
    np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.max(np.abs(b), initial=0))


def with_gradients(fn):
    return jax.jit(jax.value_and_grad(fn, argnums=(0, 1)))


def filled(x, lengths):
    """Signals with NaN beyond their ends."""
    is_padding = np.arange(x.shape[-1]) >= np.asarray(lengths)[..., None]
    return jnp.where(is_padding, jnp.nan, x), is_padding


# ------------------------------------------------------------------------- too short


def refusal(case, n):
    """How a call refuses signals of so many samples; `None` if it takes them."""
    x = jnp.zeros(n) if case.n_channels is None else jnp.zeros((case.n_channels, n))
    try:
        jax.eval_shape(case.callable(), x, x)
    except ValueError as error:
        assert "too short" in str(error) or "at least two frames" in str(error), error
        return str(error)
    return None


def around_the_least(case):
    """The longest signals that a call refuses, 0 if none, and the shortest it takes.

    Found by halving, after what messages say is needed. Channels of a few samples would
    be taken for samples of channels.
    """
    low, high = 1 if case.n_channels is None else 9, N_SAMPLES
    message = refusal(case, low)
    if message is None:
        return 0, low
    while high - low > 1:
        said = re.search(r"(\d+) samples are needed", message or "")
        n = int(said[1]) if said and low < int(said[1]) < high else (low + high) // 2
        message = refusal(case, n)
        if message is not None:
            low = n
            continue
        high = n
        if said and high - low > 1 and refusal(case, n - 1) is not None:
            low = n - 1
    return low, high


@pytest.mark.parametrize("case", LOSSES, ids=repr)
def test_what_a_call_refuses_is_left_out(case):
    """As a length of 0 is; without any signal left the value and the gradient are 0."""
    short, least = around_the_least(case)
    with jax.enable_x64(True):
        x, y = case.signals(3, dtype=jnp.float64)
        loss, keywords = case.make(), case.keywords
        has_terms = len(loss.terms(**keywords)) > 1

        @with_gradients
        def padded(x, y, lengths):
            if case.n_channels is not None:
                lengths = lengths[:, None]
            if not has_terms:
                return loss(x, y, lengths=lengths, **keywords)
            total, terms = loss.with_terms(x, y, lengths=lengths, **keywords)
            return total + 0 * sum(terms.values())

        lengths = np.asarray([N_SAMPLES, short, least])
        ends = lengths if case.n_channels is None else lengths[:, None]
        ends = np.broadcast_to(ends, x.shape[:-1])
        (x, is_padding), (y, _) = (filled(s, ends) for s in (x, y))
        value, grads = padded(x, y, jnp.asarray(lengths))
        for gradient in grads:
            assert np.all(np.isfinite(gradient)) and not np.any(gradient[1])
            assert not np.any(np.asarray(gradient)[is_padding])
        without, grads_without = padded(x, y, jnp.asarray([N_SAMPLES, 0, least]))
        np.testing.assert_array_equal(value, without)
        jax.tree.map(np.testing.assert_array_equal, grads, grads_without)
        if case in MEANS:
            alone = case.callable()
            first, last = alone(x[0], y[0]), alone(x[2, ..., :least], y[2, ..., :least])
            close(value, (first + last) / 2, 1e-12)
        value, grads = padded(x, y, jnp.full(3, short))
        assert value == 0 and not any(np.any(gradient) for gradient in grads)


def test_parameters_have_no_gradient_of_what_is_left_out():
    """Signals of no sample and those too short for a frame, of learnable parts too."""
    window, weights = jnp.hanning(257)[:-1], jnp.ones(2)

    def value(parts, lengths):
        window, weights = parts
        loss = ke.TimeFrequencyLoss(
            ke.Spectrogram(window=window, **SIZES, center=False),
            [ke.ElementwiseLoss(), ke.RelativeLoss()],
            weights=weights,
        )
        return loss(x, y, lengths=lengths)

    x, y = signals(3)
    gradient = jax.jit(jax.grad(value))
    expected = gradient((window, weights), jnp.asarray([N_SAMPLES, 0, 0]))
    assert all(bool(jnp.any(g)) for g in expected)
    actual = gradient((window, weights), jnp.asarray([N_SAMPLES, 255, 0]))
    jax.tree.map(np.testing.assert_array_equal, actual, expected)
    nothing = gradient((window, weights), jnp.asarray([255, 0, 1]))
    assert not any(bool(jnp.any(g)) for g in nothing)


def test_a_transform_of_ones_own_that_needs_a_frame():
    class Frames(ke.AbstractTransform):
        def apply(self, data):
            return ke.STFT(**SIZES, center=False).apply(data).map(jnp.abs)

    loss = ke.TimeFrequencyLoss(Frames(), ke.ElementwiseLoss())
    x, y = signals(3)
    value, gradient = jax.value_and_grad(loss)(
        x, y, lengths=jnp.asarray([N_SAMPLES, 255, 300])
    )
    alone = loss(x[0], y[0]), loss(x[2, :300], y[2, :300])
    np.testing.assert_allclose(value, sum(alone) / 2, rtol=1e-6)
    assert np.all(np.isfinite(gradient)) and not np.any(gradient[1])


# ----------------------------------------------------------------- padded by reflection

# The least samples: those of `torch.stft`, or `pad`, with the originals' defaults.
REFLECTING = {
    "audiocraft_mrstft": (recipes.audiocraft_mrstft, 1025),
    "audiotools_mel": (lambda: recipes.audiotools_mel(44100), 1025),
    "audiotools_stft": (recipes.audiotools_stft, 1025),
    "auraloss_mel": (lambda: recipes.auraloss_mel(44100), 513),
    "auraloss_mrstft": (recipes.auraloss_mrstft, 1025),
    "auraloss_stft": (recipes.auraloss_stft, 513),
    "dac_mel": (lambda: recipes.dac_mel(44100), 1025),
    "denoiser": (recipes.denoiser, 1025),
    "encodec_mel": (lambda: recipes.encodec_mel(44100), 385),
    "flamo_mss": (recipes.flamo_mss, 2049),
    "hifigan_mel": (lambda: recipes.hifigan_mel(22050), 385),
    "l1snr_db_multi": (recipes.l1snr_db_multi, 1025),
    "l1snr_db_stft": (recipes.l1snr_db_stft, 1025),
    "parallel_wavegan": (recipes.parallel_wavegan, 1025),
    "parallel_wavegan_mel": (lambda: recipes.parallel_wavegan_mel(22050), 513),
    "rave": (recipes.rave, 1025),
    "smooth_auraloss": (recipes.smooth_auraloss, 1027),
    "smooth_paper": (recipes.smooth_paper, 1027),
    "smooth_scrapl": (recipes.smooth_scrapl, 1027),
    "sot": (recipes.sot, 513),
    "sot_multiresolution": (recipes.sot_multiresolution, 1025),
    "MRSTFTLoss": (lambda: ke.MRSTFTLoss((16,), (64,), pad_mode="reflect"), 33),
}


@pytest.mark.parametrize("name", REFLECTING)
def test_losses_refuse_what_their_originals_do(name):
    make, least = REFLECTING[name]
    loss = make()
    long, short = jnp.zeros(least), jnp.zeros(least - 1)
    jax.eval_shape(loss, long, long)
    message = f"too short to be reflected: {least} samples are needed, {least - 1} were"
    with pytest.raises(ValueError, match=message):
        loss(short, short)


@pytest.mark.parametrize("n_fft", [16, 15])
@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
def test_short_signals_as_in_torch(n_fft, pad_mode):
    """At each length both refuse, or both have the same values."""
    torch = pytest.importorskip("torch")
    transform = ke.STFT(n_fft, 4, padding="torch", pad_mode=pad_mode)
    window = torch.hann_window(n_fft, dtype=torch.float64)
    for n_samples in (1, 7, 8, 9, 16):
        with jax.enable_x64(True):
            x = np.random.default_rng(0).normal(size=n_samples)
            try:
                expected = torch.stft(
                    torch.as_tensor(x),
                    n_fft,
                    4,
                    window=window,
                    pad_mode=pad_mode,
                    return_complex=True,
                ).numpy()
            except RuntimeError:
                assert pad_mode == "reflect" or n_fft % 2 == 1
                assert transform.n_frames(n_samples) == 0
                with pytest.raises(ValueError, match="too short"):
                    transform(jnp.asarray(x))
                continue
            assert transform.n_frames(n_samples) == expected.shape[-1]
            actual = transform(jnp.asarray(x))
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cls", [ke.CQT, ke.VQT])
def test_constant_q_transforms_reflect_no_further_than_the_signal(cls):
    transform = cls(8000, fmin=500.0, n_bins=12, pad_mode="reflect")
    half = transform.kernels.frame_length // 2
    assert transform.n_frames(half) == 0 and transform.n_frames(half + 1) > 0
    counts = transform.n_frames(jnp.asarray([half, half + 1]))
    assert counts.tolist() == [0, transform.n_frames(half + 1)]
    jax.eval_shape(transform, jnp.zeros(half + 1))
    with pytest.raises(ValueError, match=f"{half + 1} samples are needed"):
        transform(jnp.zeros(half))


def test_functions_pad_as_korvax_does():
    """NumPy's reflection, back and forth, is what `pad_kwargs` ask for."""
    korvax = pytest.importorskip("korvax")
    x = jax.random.normal(jax.random.key(0), (10,))
    options = {"n_fft": 64, "hop_length": 16, "pad_kwargs": {"mode": "reflect"}}
    close(ke.spectrogram(x, **options), korvax.spectrogram(x, **options), 1e-5)


# ------------------------------------------------------------------ of each channel

# Of two recordings, each of two channels; none of the signals is too short.
ENDS = np.asarray([[N_SAMPLES, SHORT], [1211, 0]])


def cut_recordings(x, y, ends):
    """Recordings as long as their longest channel; the others are silent at the end."""
    x, y = (jnp.where(filled(s, ends)[1], 0.0, s) for s in (x, y))
    longest = ends.max(axis=-1)
    return [(x[i, :, :n], y[i, :, :n]) for i, n in enumerate(longest)]


MIXING = ke.MappedLoss(ke.MidSide(), ke.WaveformLoss("L2"))


@functools.cache
def recordings_mixed():
    """Both signals, where they are padding, and the loss that mixes channels alone."""
    with jax.enable_x64(True):
        (x, is_padding), (y, _) = (
            filled(s, ENDS) for s in signals(2, 2, dtype=jnp.float64)
        )

        @with_gradients
        def mixed(x, y):
            return sum(MIXING(*cut) for cut in cut_recordings(x, y, ENDS)) / 2

        return x, y, is_padding, mixed(x, y)


@pytest.mark.parametrize("case", OF_SIGNALS, ids=repr)
def test_each_channel_has_its_own_end_beside_what_mixes_them(case):
    """A term of a sum is what it is alone, whatever the others need."""
    both = ke.SumLoss({"own": case.make(), "mixed": MIXING})
    key = case.keywords.get("key")
    keys = {} if key is None else {"key": jax.random.split(key, 2)[0]}

    @with_gradients
    def own(x, y, lengths):
        return case.make()(x, y, lengths=lengths, **keys)

    @with_gradients
    def summed(x, y, lengths):
        return both(x, y, lengths=lengths, **case.keywords)

    x, y, is_padding, mixed = recordings_mixed()
    with jax.enable_x64(True):
        lengths = jnp.asarray(ENDS)
        value, grads = summed(x, y, lengths)
        expected, gradients = jax.tree.map(jnp.add, own(x, y, lengths), mixed)
        close(value, expected, 1e-12)
        for gradient, wanted in zip(grads, gradients, strict=True):
            close(gradient, wanted, 1e-9)
            assert not np.any(np.asarray(gradient)[is_padding])


@pytest.mark.parametrize("case", OF_CHANNELS, ids=repr)
def test_mixed_channels_end_with_the_longest(case):
    """Beside signals that each have an end of their own, too, and where it is bound."""
    wave = ke.WaveformLoss()
    both = ke.SumLoss({"own": wave, "mixed": case.make()})
    ends = ENDS
    if case.n_channels == 3:
        ends = np.concatenate([ENDS, [[300], [1]]], axis=1)

    @with_gradients
    def padded(x, y):
        lengths = jnp.asarray(ends)
        total, terms = both.with_terms(x, y, lengths=lengths, **case.keywords)
        bound = both.bind(y, lengths=lengths, **case.keywords)(x, **case.keywords)
        return 3 * total - sum(terms.values()) - bound

    @with_gradients
    def alone(x, y):
        mixed = [
            case.callable()(*recording) for recording in cut_recordings(x, y, ends)
        ]
        rows = zip(x.reshape(-1, N_SAMPLES), y.reshape(-1, N_SAMPLES), strict=True)
        pairs = zip(rows, ends.ravel(), strict=True)
        own = [wave(a[:n], b[:n]) for (a, b), n in pairs if n > 0]
        return sum(mixed) / 2 + sum(own) / len(own)

    with jax.enable_x64(True):
        x, y = (filled(s, ends)[0] for s in case.signals(2, dtype=jnp.float64))
        (value, grads), (expected, gradients) = padded(x, y), alone(x, y)
        close(value, expected, 1e-12)
        for gradient, wanted in zip(grads, gradients, strict=True):
            close(gradient, wanted, 1e-9)


def emphasised(parts):
    return ke.MappedLoss(ke.PreEmphasis(), ke.SumLoss(parts))


def drawn(parts):
    return ke.RandomSubsetLoss(parts, 2)


@pytest.mark.parametrize("make", [emphasised, drawn])
def test_each_channel_has_its_own_end_within_maps_and_draws(make):
    """Also where the padding holds NaN, in terms and of what is bound."""
    parts = {
        "wave": ke.WaveformLoss(),
        "mid_side": ke.MappedLoss(ke.MidSide(), ke.WaveformLoss("L2")),
    }
    key, lengths = {"key": jax.random.key(0)}, jnp.asarray(ENDS)
    with jax.enable_x64(True):
        x, y = (filled(s, ENDS)[0] for s in signals(2, 2, dtype=jnp.float64))
        total, terms = make(parts).with_terms(x, y, lengths=lengths, **key)
        bound = make(parts).bind(y, lengths=lengths, **key)(x, **key)
        emphasis = ke.PreEmphasis() if make is emphasised else ke.Identity()
        wave = [
            parts["wave"](emphasis(a[:n]), emphasis(b[:n]))
            for a, b, n in zip(
                x.reshape(4, -1), y.reshape(4, -1), ENDS.ravel(), strict=True
            )
            if n > 0
        ]
        mixed = [
            parts["mid_side"](emphasis(a), emphasis(b))
            for a, b in cut_recordings(x, y, ENDS)
        ]
        expected = [sum(wave) / 3, sum(mixed) / 2]
        assert list(terms) == ["wave", "mid_side"]
        for term, wanted in zip(terms.values(), expected, strict=True):
            close(term, wanted, 1e-12)
        close(total, sum(expected), 1e-12)
        close(bound, sum(expected), 1e-12)


# --------------------------------------------------------------------------- exported


@pytest.mark.parametrize("case", LOSSES, ids=repr)
def test_exported_with_a_symbolic_batch(case):
    """One program for batches of any size, each with lengths."""
    (batch,) = jax.export.symbolic_shape("batch")
    loss = case.make()

    @jax.jit
    def value(x, y, lengths):
        lengths = lengths if case.n_channels is None else lengths[:, None]
        return loss(x, y, lengths=lengths, **case.keywords)

    x, y = case.signals(2)
    lengths = jnp.asarray([N_SAMPLES, SHORT])
    shape = jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype)
    of_lengths = jax.ShapeDtypeStruct((batch,), lengths.dtype)
    exported = jax.export.export(value)(shape, shape, of_lengths)
    close(exported.call(x, y, lengths), value(x, y, lengths), 1e-5)


@pytest.mark.parametrize("shape", [(), (1,), ("batch",)], ids=str)
def test_lengths_that_broadcast_to_a_symbolic_batch(shape):
    (batch,) = jax.export.symbolic_shape("batch")
    loss = ke.WaveformLoss()
    gradient = jax.jit(jax.grad(lambda x, y, n: loss(x, y, lengths=n)))
    sizes = tuple(batch if size == "batch" else size for size in shape)
    signal = jax.ShapeDtypeStruct((batch, N_SAMPLES), jnp.float32)
    of_lengths = jax.ShapeDtypeStruct(sizes, jnp.int32)
    exported = jax.export.export(gradient)(signal, signal, of_lengths)
    x, y = signals(3)
    lengths = jnp.full([3 if size == "batch" else size for size in shape], SHORT)
    close(exported.call(x, y, lengths), gradient(x, y, lengths), 1e-6)


def test_lengths_of_another_shape_than_a_symbolic_batch():
    (batch,) = jax.export.symbolic_shape("batch")
    loss = ke.WaveformLoss()
    fn = jax.jit(lambda x, n: loss(x, x, lengths=n))
    signal = jax.ShapeDtypeStruct((batch, N_SAMPLES), jnp.float32)
    with pytest.raises(ValueError, match="broadcast to, the shape of the signals"):
        jax.export.export(fn)(signal, jax.ShapeDtypeStruct((3,), jnp.int32))
