"""Where frames lie, what their spectra are divided by, and the floor of powers."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

import korvax_eqx as ke
from korvax_eqx import recipes
from korvax_eqx._data import Signals
from korvax_eqx._numerics._padding import INDEXED_MODES, extended
from korvax_eqx._numerics._safe import floored_power

FRAMINGS = [
    {"center": True},
    {"center": False},
    {"center": False, "extra_padding": True},
    {"extra_padding": True},
    {"padding": "torch"},
    {"padding": "same"},
    {"padding": "same", "extra_padding": True},
    {"padding": "end"},
    {"padding": (0, 0)},
    {"padding": (3, 11)},
    {"padding": (40, 0), "extra_padding": True},
]
# n_fft, hop_length, win_length: even and odd, a hop that divides and one that does not,
# windows shorter than the FFT by an even and by an odd number of samples.
SIZES = [(16, 4, 16), (16, 5, 12), (15, 6, 10)]
# Zeros and reflection are padded in every framing, the other modes in these.
CONFIGURATIONS = [
    *itertools.product(FRAMINGS, ("constant", "reflect")),
    *itertools.product(({}, {"padding": (3, 11)}), ("edge", "symmetric", "wrap")),
]
# Shorter than the padding, than a frame and than a hop; 37 is the longest. Those that
# are not longer than the padding cannot be reflected.
LENGTHS = np.array([[37, 1, 24], [16, 2, 7]])


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def naive_stft(x, stft, left, right, is_complete):
    """Frames one by one, by the formula; frames along the last axis."""
    n, hop = stft.n_fft, stft.hop_length
    padded = np.pad(x, (left, right), mode=stft.pad_mode)
    starts = list(range(0, len(padded) - n + 1, hop))
    if is_complete:
        starts = [0]
        while starts[-1] + n < len(padded):
            starts.append(starts[-1] + hop)
        padded = np.pad(padded, (0, starts[-1] + n - len(padded) + hop))
    spectra = [np.fft.rfft(padded[s : s + n] * stft.window_values) for s in starts]
    return np.array(spectra).reshape(len(starts), n // 2 + 1).T


def naive_widths(framing, n_fft, hop, win):
    padding = framing.get("padding")
    if padding is None:
        centred = (n_fft // 2, (n_fft + 1) // 2)
        return centred if framing.get("center", True) else (0, 0)
    if padding == "torch":
        return n_fft // 2, n_fft // 2
    if padding == "same":
        return (n_fft - hop) // 2, (n_fft - hop) // 2
    if padding == "end":
        return (n_fft - win) // 2, n_fft - 1 - (n_fft - win) // 2
    return padding


@pytest.mark.parametrize("framing, pad_mode", CONFIGURATIONS, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_frames_are_those_of_the_formula(x64, sizes, framing, pad_mode):
    """Of every signal of a padded batch: numbers, values and gradients.

    The transform is linear: the oracle's gradient is the transpose of its matrix.
    """
    stft = ke.STFT(*sizes, pad_mode=pad_mode, **framing)
    widths = naive_widths(framing, *sizes)
    if pad_mode == "reflect" and max(widths) >= LENGTHS.max():
        with pytest.raises(ValueError, match="too short to be reflected"):
            stft(jnp.asarray(noise(LENGTHS.max())))
        return
    is_complete = framing.get("extra_padding", False)
    assert stft.pad_widths == widths
    x = noise(*LENGTHS.shape, 37) * (np.arange(37) < LENGTHS[..., None])
    counts = np.asarray(stft.n_frames(jnp.asarray(LENGTHS)))

    def frames_of(x, lengths=None):
        return stft.apply(Signals(x, lengths)).S

    shape = jax.eval_shape(frames_of, jnp.asarray(x)).shape
    weights = (
        noise(*shape, seed=1) * (np.arange(shape[-2]) < counts[..., None])[..., None]
    )

    @jax.jit
    def value_and_gradient(x, lengths):
        _, pull = jax.vjp(lambda x: jnp.real(frames_of(x, lengths)), x)
        return frames_of(x, lengths), pull(jnp.asarray(weights))[0]

    X, gradient = value_and_gradient(jnp.asarray(x), jnp.asarray(LENGTHS))
    for row in np.ndindex(LENGTHS.shape):
        n = int(LENGTHS[row])
        if pad_mode == "reflect" and n <= max(widths) > 0:
            assert stft.n_frames(n) == counts[row] == 0
            continue
        expected = naive_stft(x[row][:n], stft, *widths, is_complete).T
        count = len(expected)
        assert stft.n_frames(n) == counts[row] == count
        np.testing.assert_allclose(X[row][:count], expected, rtol=0, atol=1e-12)
        columns = [naive_stft(unit, stft, *widths, is_complete) for unit in np.eye(n)]
        expected = np.einsum("nft,tf->n", np.real(columns), weights[row][:count])
        np.testing.assert_allclose(gradient[row][:n], expected, rtol=0, atol=1e-12)

    # The longest and a short signal alone, of the length of their arrays.
    for row in ((0, 0), (1, 2)):
        alone = jnp.asarray(x[row][: LENGTHS[row]])
        if counts[row] == 0:
            with pytest.raises(ValueError, match="too short"):
                stft(alone)
        else:
            expected = X[row][: int(counts[row])].T
            actual = stft(alone)
            assert actual.shape == expected.shape
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", INDEXED_MODES)
def test_extension_repeats_as_numpy_does(x64, mode):
    """Also where the padding is many times as long as the signal, but in reflection."""
    if mode == "reflect":
        with pytest.raises(ValueError, match="24 samples are needed, 23 were given"):
            extended(jnp.asarray(noise(23)), None, 17, 23, mode)
    for n in (24, 30) if mode == "reflect" else (1, 2, 3, 5):
        x = noise(n)
        expected = np.pad(x, (17, 23), mode=mode)
        row = jnp.asarray(np.pad(x, (0, 4)))
        actual = extended(row, jnp.asarray(n), 17, 23, mode)
        np.testing.assert_array_equal(actual[: n + 40], expected)
        np.testing.assert_array_equal(
            extended(jnp.asarray(x), None, 17, 23, mode), expected
        )


@pytest.mark.parametrize("n_fft, win", [(16, 16), (16, 11), (15, 15), (15, 10)])
@pytest.mark.parametrize("normalized", [False, "frame_length"])
def test_torch_padding_is_torchs(x64, n_fft, win, normalized):
    """Odd sizes and windows shorter than the FFT included."""
    torch = pytest.importorskip("torch")
    for n_samples, mode in itertools.product((9, 20, 21, 39), ("reflect", "constant")):
        x = noise(2, n_samples)
        expected = torch.stft(
            torch.as_tensor(x),
            n_fft,
            4,
            win,
            torch.hann_window(win, dtype=torch.float64),
            pad_mode=mode,
            normalized=bool(normalized),
            return_complex=True,
        ).numpy()
        padding = {"padding": "torch", "normalized": normalized}
        actual = ke.STFT(n_fft, 4, win, pad_mode=mode, **padding)(jnp.asarray(x))
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)
        if n_fft % 2 == 0:
            plain = ke.STFT(n_fft, 4, win, pad_mode=mode, normalized=normalized)
            np.testing.assert_array_equal(plain(jnp.asarray(x)), actual)


def test_hifigans_frames(x64):
    """Reflected by (n_fft - hop) / 2, then `torch.stft(center=False)`."""
    torch = pytest.importorskip("torch")
    for n_samples, (n_fft, hop, win) in itertools.product(
        (20, 33), [(16, 4, 16), (16, 6, 12), (15, 4, 15)]
    ):
        x = noise(2, n_samples)
        half = (n_fft - hop) // 2
        padded = torch.nn.functional.pad(torch.as_tensor(x), (half, half), "reflect")
        window = torch.hann_window(win, dtype=torch.float64)
        expected = torch.stft(
            padded, n_fft, hop, win, window, center=False, return_complex=True
        )
        expected = torch.sqrt(expected.abs() ** 2 + 1e-9).numpy()
        transform = ke.Spectrogram(
            n_fft,
            hop,
            win,
            power=1,
            pad_mode="reflect",
            padding="same",
            floor=1e-9,
            floor_mode="add",
        )
        actual = transform(jnp.asarray(x))
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=0)
        if (n_fft - hop) % 2 == 0:
            assert actual.shape[-1] == n_samples // hop


def test_every_hop_has_a_frame():
    """`"end"`, as TensorFlow's `pad_end`, and EnCodec's `"same"` to a whole frame."""
    for n_samples, (n_fft, hop) in itertools.product(
        range(1, 50), [(16, 4), (16, 6), (8, 8)]
    ):
        n_hops = -(-n_samples // hop)
        assert ke.STFT(n_fft, hop, padding="end").n_frames(n_samples) == n_hops
        same = ke.STFT(n_fft, hop, padding="same", extra_padding=True)
        assert same.n_frames(n_samples) == n_hops
    with pytest.warns(UserWarning, match="longer than the window"):
        assert ke.STFT(4, 6, padding="end").n_frames(13) == 3
    assert ke.STFT(16, 4, padding="end").n_frames(0) == 0


def test_end_places_a_short_window_at_its_hop(x64):
    """A window of 10 in an FFT of 16 sees the samples tH to tH + 9."""
    x = noise(33)
    frames = np.pad(x, (0, 10))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(10) / 10)
    starts = range(0, 33, 4)
    expected = [np.abs(np.fft.rfft(frames[s : s + 10] * window, 16)) for s in starts]
    actual = ke.Spectrogram(16, 4, 10, power=1, padding="end")(jnp.asarray(x))
    np.testing.assert_allclose(actual, np.transpose(expected), rtol=0, atol=1e-12)


def test_normalized_divides_by_the_norm_of_the_window(x64):
    x = jnp.asarray(noise(100))
    plain = ke.STFT(16, 4, 11, "flattop")
    size = float(np.sqrt(np.sum(plain.window_values**2)))
    for value in (True, "window"):
        stft = ke.STFT(16, 4, 11, "flattop", normalized=value)
        np.testing.assert_allclose(stft(x), plain(x) / size, rtol=0, atol=1e-14)
    stft = ke.STFT(16, 4, 11, "flattop", normalized="frame_length")
    np.testing.assert_allclose(stft(x), plain(x) / 4, rtol=0, atol=1e-14)


def test_a_learnable_window_is_normalized_with_its_gradient(x64):
    """The spectrum does not depend on the window's scale."""
    x = jnp.asarray(noise(100))
    values = jnp.asarray(noise(16, seed=1))

    def total(scale):
        S = ke.Spectrogram(16, 4, window=scale * values, normalized=True)(x)
        return jnp.sum(S)

    value, slope = jax.value_and_grad(total)(jnp.asarray(3.0))
    np.testing.assert_allclose(value, total(jnp.asarray(1.0)), rtol=1e-13)
    assert abs(slope) < 1e-12 * value
    silent = ke.STFT(16, 4, window=jnp.zeros(16), normalized=True)
    assert jnp.all(silent(x) == 0)

    def power(window):
        return jnp.sum(ke.Spectrogram(16, 4, window=window, normalized=True)(x))

    assert jnp.all(jnp.isfinite(jax.grad(power)(jnp.zeros(16))))


@pytest.mark.parametrize("power", [0.5, 1, 1.5, 2, 3])
def test_floor_clips_as_torchs_clamp(x64, power):
    """Value and gradient, at a tie (|X|² = floor) as well, where all of it passes."""
    torch = pytest.importorskip("torch")
    re, im = np.array(
        [[0.0, 3.0, 1.0, -4.0, 2.0, 0.6], [0.0, 4.0, 0.5, 2.0, -4.0, 0.0]]
    )
    inputs = torch.tensor(np.stack([re, im]), requires_grad=True)
    square = inputs[0] ** 2 + inputs[1] ** 2
    expected = torch.clamp(square, min=20.0) ** (power / 2)
    expected.sum().backward()

    def total(parts):
        X = jax.lax.complex(parts[0], parts[1])
        values = floored_power(X, power, 20.0, "clip")
        return jnp.sum(values), values

    gradient, actual = jax.grad(total, has_aux=True)(jnp.asarray([re, im]))
    assert inputs.grad is not None
    np.testing.assert_allclose(actual, expected.detach(), rtol=1e-14)
    np.testing.assert_allclose(gradient, inputs.grad, rtol=1e-14)
    assert gradient[1, 4] != 0  # 2² + 4² is the floor itself


@pytest.mark.parametrize("mode", ["clip", "add"])
@pytest.mark.parametrize("power", [0.5, 1, 1.5, 2, 3])
def test_floored_power_is_differentiable_twice(x64, power, mode):
    """Against differences, and against the formula differentiated by JAX."""
    X = jnp.asarray(noise(2, 50))
    direction = jnp.asarray(noise(2, 50, seed=1))
    floor = 0.5

    def own(parts):
        return floored_power(jax.lax.complex(*parts), power, floor, mode)

    def naive(parts):
        square = parts[0] ** 2 + parts[1] ** 2
        square = (
            jnp.where(square < floor, floor, square)
            if mode == "clip"
            else (square + floor)
        )
        return square ** (power / 2)

    for f, g in ((own, naive), (first(own), first(naive))):
        values, slopes = jax.jvp(f, (X,), (direction,))
        expected, expected_slopes = jax.jvp(g, (X,), (direction,))
        np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(slopes, expected_slopes, rtol=1e-12, atol=1e-12)


def first(f):
    """The gradient of the sum."""
    return jax.grad(lambda parts: jnp.sum(f(parts)))


@pytest.mark.parametrize("floor", [1e-7, 1e-60])
@pytest.mark.parametrize("mode", ["clip", "add"])
@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_floor_at_silence(power, mode, floor):
    """Finite and 0, also of a floor that is 0 in float32; NaN stays NaN."""
    transform = ke.Spectrogram(16, 4, power=power, floor=floor, floor_mode=mode)
    silence = jnp.zeros(64)
    least = np.float32(floor) ** (power / 2)
    np.testing.assert_allclose(transform(silence), least, rtol=1e-6)
    gradient = jax.grad(lambda x: jnp.sum(transform(x)))(silence)
    assert jnp.all(gradient == 0)
    assert jnp.any(jnp.isnan(transform(silence.at[30].set(jnp.nan))))


def test_without_a_floor_nothing_changes():
    x = jnp.asarray(noise(500), jnp.float32)
    for power in (0.5, 1, 2):
        plain = ke.Spectrogram(16, 4, power=power)(x)
        floored = ke.Spectrogram(16, 4, power=power, floor=0, floor_mode="add")(x)
        np.testing.assert_array_equal(plain, floored)


ARGUMENTS = {
    "pad_mode": "reflect",
    "padding": "same",
    "extra_padding": True,
    "normalized": "window",
    "floor": 0.01,
    "floor_mode": "add",
}
WHOLE = {
    "MelSpectrogram": lambda **k: ke.MelSpectrogram(8000, 64, 8, power=1, **k),
    "MFCC": lambda **k: ke.MFCC(8000, 64, 5, n_mels=8, power=1, mag_scale="log", **k),
    "Chroma": lambda **k: ke.Chroma(8000, 64, power=1, norm=None, **k),
}


@pytest.mark.parametrize("name", WHOLE)
def test_arguments_reach_the_spectrogram(x64, name):
    """Each on its own changes the values, and all arrive as they were given."""
    x = jnp.asarray(noise(1000))
    whole = WHOLE[name]
    inner = "mel_spectrogram" if name == "MFCC" else "spectrogram"
    part = getattr(whole(**ARGUMENTS), inner)
    for argument, value in ARGUMENTS.items():
        assert getattr(whole(**ARGUMENTS), argument) == value
        assert getattr(part, argument) == value
        others = {k: v for k, v in ARGUMENTS.items() if k != argument}
        a, b = whole(**ARGUMENTS)(x), whole(**others)(x)
        assert a.shape != b.shape or jnp.max(jnp.abs(a - b)) > 1e-4
    alone = dataclasses.replace(
        ke.Spectrogram(64, power=1), **{k: v for k, v in ARGUMENTS.items()}
    )
    if name == "MelSpectrogram":
        expected = ke.MelScale(8000, 64, 8)(alone(x))
        np.testing.assert_array_equal(whole(**ARGUMENTS)(x), expected)


@pytest.mark.parametrize("name", ["Spectrogram", *WHOLE])
def test_arguments_are_shown_saved_and_replaced(tmp_path, name):
    whole = WHOLE.get(name, lambda **k: ke.Spectrogram(64, **k))
    for padding in ("end", (3, 5), [3, 5]):
        made = whole(**{**ARGUMENTS, "padding": padding})
        assert not isinstance(made.padding, list)
        assert eval(repr(made), vars(ke)) == made
        assert dataclasses.replace(made) == made
        assert jax.tree.leaves(made) == []
        ke.save(tmp_path / "x.eqx", made)
        loaded = ke.load(tmp_path / "x.eqx")
        assert loaded == made and type(loaded.padding) is type(made.padding)


SHORTEST = [
    ("reflect", 64, 33),
    ("reflect", 2048, 1025),
    ("symmetric", 2048, 10),
    ("wrap", 2048, 10),
    ("edge", 2048, 1),
    ("constant", 2048, 1),
]


@pytest.mark.parametrize(("pad_mode", "n_fft", "n_samples"), SHORTEST, ids=str)
def test_the_compiler_has_no_complaints_of_the_shortest_signals(
    pad_mode, n_fft, n_samples, capfd
):
    """XLA of JAX 0.12 went round in circles over what reflected a signal many times."""
    transform = ke.Spectrogram(n_fft, power=1, pad_mode=pad_mode)
    loss = ke.TimeFrequencyLoss(transform, ke.ElementwiseLoss())
    x = jnp.linspace(0.1, 1.0, n_samples)
    jax.block_until_ready(jax.value_and_grad(loss)(x, 0.5 * x))
    assert capfd.readouterr().err == ""
    if pad_mode == "reflect":
        for short in (10, n_samples - 1):
            with pytest.raises(ValueError, match="too short"):
                loss(x[:short], x[:short])


def test_a_recipe_that_reflects_refuses_shorter_signals(capfd):
    loss, x = recipes.dac_mel(16000), jnp.linspace(0.1, 1.0, 1025)
    for short, least in ((10, 17), (1024, 1025)):
        with pytest.raises(ValueError, match=f"{least} samples are needed"):
            loss(x[:short], x[:short])
    assert capfd.readouterr().err == ""


def test_windows_of_many_hops():
    """Frames of more than 64 hops are gathered."""
    x = np.random.default_rng(0).normal(size=(2, 700))
    with jax.enable_x64(True), jax.numpy_rank_promotion("raise"):
        spectra = ke.STFT(512, 3, center=False)(jnp.asarray(x))
    window = scipy.signal.get_window("hann", 512)
    frames = np.lib.stride_tricks.sliding_window_view(x, 512, axis=-1)[:, ::3]
    expected = np.swapaxes(np.fft.rfft(frames * window), -1, -2)
    np.testing.assert_allclose(spectra, expected, rtol=0, atol=1e-11)
