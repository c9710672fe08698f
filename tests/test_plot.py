"""Pictures: axes, labels, colours and what is drawn where."""

import inspect
import io
import sys
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.colors
import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

import korvax_eqx as ke
from korvax_eqx import plot

SR = 16000
SIZES: dict[str, Any] = {"n_fft": 512, "hop_length": 128}


@pytest.fixture
def ax():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield Figure(layout="constrained").subplots()


def tone(frequency, seconds=1.0, sr=SR):
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * sr)) / sr).astype("f")


def click(at, seconds=1.0):
    x = np.zeros(int(seconds * SR), np.float32)
    x[int(at * SR)] = 1.0
    return x


def mesh(ax):
    """Return edges of columns and rows, and the values, of the picture drawn last."""
    drawn = ax.collections[-1]
    corners, values = drawn.get_coordinates(), np.asarray(drawn.get_array())
    return corners[0, :, 0], corners[:, 0, 1], values


def tick_labels(axis):
    axis.axes.figure.canvas.draw()
    low, high = sorted(axis.get_view_interval())
    texts = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
    return [text.get_text() for at, text in texts if low <= at <= high]


def pixels(ax):
    file = io.BytesIO()
    ax.figure.savefig(file, dpi=60)
    file.seek(0)
    return matplotlib.image.imread(file)[..., :3]


def n_grey_levels(ax):
    """Return how many of 32 levels of grey cover at least 0.1 % of the picture."""
    counts, _ = np.histogram(pixels(ax).mean(axis=-1), bins=32, range=(0, 1))
    return int(np.sum(counts > counts.sum() / 1000))


# ------------------------------------------------------------------ spectrogram

TRANSFORMS = {
    "STFT": (ke.STFT(**SIZES), "Frequency (Hz)", "linear", (0, 8000)),
    "Spectrogram": (ke.Spectrogram(**SIZES), "Frequency (Hz)", "linear", (0, 8000)),
    "MelSpectrogram": (
        ke.MelSpectrogram(SR, n_mels=40, **SIZES),
        "Frequency (Hz)",
        "function",
        (36.785, 7702.2),  # half a band outside of the first and the last centre
    ),
    "MFCC": (
        ke.MFCC(SR, n_mfcc=13, n_mels=40, **SIZES),
        "Coefficient",
        "linear",
        (-0.5, 12.5),
    ),
    "CQT": (
        ke.CQT(SR, fmin=110.0, n_bins=60, hop_length=256),
        "Note",
        "log",
        (110 * 2 ** (-1 / 24), 110 * 2 ** (5 - 1 / 24)),
    ),
    "VQT": (
        ke.VQT(SR, fmin=110.0, n_bins=48, gamma=20.0, hop_length=256),
        "Note",
        "log",
        (110 * 2 ** (-1 / 24), 110 * 2 ** (4 - 1 / 24)),
    ),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_axes_of_each_transform(name, ax):
    transform, label, scale, limits = TRANSFORMS[name]
    x = tone(700.0)
    returned = plot.spectrogram(x, transform, SR, ax=ax)
    assert returned is ax
    assert ax.get_ylabel() == label
    assert ax.get_xlabel() == "Time (s)"
    assert ax.get_yscale() == scale
    assert ax.get_xlim() == (0.0, 1.0)
    np.testing.assert_allclose(ax.get_ylim(), limits, rtol=1e-4)
    n_bins, n_frames = np.shape(transform(jnp.asarray(x)))
    times, _, values = mesh(ax)
    assert values.shape == (n_bins, n_frames)
    assert ax.collections[-1].colorbar is not None
    # Frame t is centred on t hops: its column reaches half a hop to both sides.
    hop = transform.hop_length / SR
    np.testing.assert_allclose(times, (np.arange(n_frames + 1) - 0.5) * hop, rtol=1e-9)
    assert n_grey_levels(ax) > 4


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name != "MFCC"])
@pytest.mark.parametrize("axis", ["hz", "mel", "log", "notes"])
def test_a_tone_is_at_its_frequency(name, axis, ax):
    transform = TRANSFORMS[name][0]
    plot.spectrogram(tone(880.0), transform, SR, ax=ax, axis=axis)
    _, rows, values = mesh(ax)
    row = int(np.argmax(values.mean(axis=1)))
    assert rows[row] < 880.0 < rows[row + 1]
    assert rows[row + 1] - rows[row] < 100.0


@pytest.mark.parametrize("is_centred", [True, False])
@pytest.mark.parametrize("make", ["spectrogram", "cqt"])
def test_a_click_is_at_its_time(make, is_centred, ax):
    if make == "cqt":
        transform = ke.CQT(SR, 64, fmin=1000.0, n_bins=24, center=is_centred)
    else:
        transform = ke.Spectrogram(512, 32, center=is_centred)
    plot.spectrogram(click(0.4), transform, SR, ax=ax, start=10.0)
    columns, _, values = mesh(ax)
    column = int(np.argmax(values.mean(axis=0)))
    assert abs((columns[column] + columns[column + 1]) / 2 - 10.4) <= 0.004
    assert ax.get_xlim() == (10.0, 11.0)


@pytest.mark.parametrize("form", ["complex", "magnitude", "power", "complex of power"])
def test_levels_are_decibels_of_the_magnitude(form, ax):
    # Every level that is drawn, from what is inaudible to beyond full scale.
    rng = np.random.default_rng(0)
    levels = rng.uniform(-250.0, 40.0, (257, 9))
    levels[0, 0] = -250.0
    magnitudes = 10 ** (levels / 20)
    S = magnitudes * np.exp(1j * rng.uniform(-np.pi, np.pi, levels.shape))
    transform, given = {
        "complex": (ke.STFT(**SIZES), S),
        "magnitude": (ke.Spectrogram(**SIZES, power=1), magnitudes),
        "power": (ke.Spectrogram(**SIZES, power=2), magnitudes**2),
        "complex of power": (ke.Spectrogram(**SIZES, power=None), S),
    }[form]
    plot.spectrogram(given, transform, SR, ax=ax, ref=1.0)
    np.testing.assert_allclose(mesh(ax)[2], levels, rtol=1e-12, atol=1e-9)
    plot.spectrogram(given, transform, SR, ax=ax, ref=0.1)
    np.testing.assert_allclose(mesh(ax)[2], levels + 20, rtol=1e-12, atol=1e-9)
    assert ax.collections[-1].colorbar.ax.get_ylabel() == "Level (dB re 0.1)"
    plot.spectrogram(given, transform, SR, ax=ax)
    np.testing.assert_allclose(mesh(ax)[2], levels - levels.max(), atol=1e-9)


@pytest.mark.parametrize("transform", [ke.STFT(**SIZES), ke.Spectrogram(**SIZES)])
def test_levels_of_a_signal(transform, ax):
    x = 0.3 * tone(700.0) + 0.001 * tone(3000.0)
    plot.spectrogram(x, transform, SR, ax=ax, ref=1.0)
    # The naive formula in float64: frames of a Hann window, centred on the hops.
    padded = np.pad(x.astype(np.float64), 256)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    frames = [padded[at : at + 512] * window for at in range(0, len(x) + 1, 128)]
    expected = np.abs(np.fft.rfft(frames)).T
    # Of all bins: what float32 rounds is in proportion to the loudest one.
    drawn = 10 ** (mesh(ax)[2] / 20)
    np.testing.assert_allclose(drawn, expected, rtol=1e-5, atol=1e-6 * expected.max())


def test_colours(ax):
    x, transform = tone(700.0), ke.Spectrogram(**SIZES)
    cases = [
        ({}, (-80.0, 0.0)),
        ({"top_db": 50.0}, (-50.0, 0.0)),
        ({"vmin": -30.0}, (-30.0, 0.0)),
        ({"vmax": 10.0, "top_db": 50.0}, (-40.0, 10.0)),
    ]
    for options, limits in cases:
        plot.spectrogram(x, transform, SR, ax=ax, **options)
        assert ax.collections[-1].get_clim() == limits
        bar = ax.collections[-1].colorbar
        assert bar.ax.get_ylabel() == "Level (dB re max)"
        assert (bar.vmin, bar.vmax) == limits
    n_axes = len(ax.figure.axes)
    plot.spectrogram(x, transform, SR, ax=ax, colorbar=False, cmap="viridis", alpha=0.5)
    assert len(ax.figure.axes) == n_axes
    assert ax.collections[-1].get_cmap().name == "viridis"
    assert ax.collections[-1].get_alpha() == 0.5


def test_silence_is_drawn_at_the_bottom(ax):
    x = np.concatenate([tone(700.0, 0.5), np.zeros(SR // 2, np.float32)])
    plot.spectrogram(x, ke.Spectrogram(**SIZES), SR, ax=ax)
    columns, _, values = mesh(ax)
    assert np.all(values[:, columns[:-1] > 0.6] < -80.0)
    assert np.all(np.isfinite(values))
    plot.spectrogram(0 * x, ke.Spectrogram(**SIZES), SR, ax=ax)
    assert np.all(np.isfinite(mesh(ax)[2]))


def test_notes(ax):
    plot.spectrogram(tone(440.0), TRANSFORMS["CQT"][0], ax=ax)
    assert tick_labels(ax.yaxis) == ["C3", "C4", "C5", "C6", "C7"]
    at = dict(zip(tick_labels(ax.yaxis), ax.get_yticks(), strict=True))
    assert abs(at["C4"] - 261.6256) < 1e-3
    ax.clear()
    octave = ke.CQT(SR, fmin=220.0, n_bins=12, hop_length=256)
    plot.spectrogram(tone(440.0), octave, ax=ax)
    names = "A3 A♯3 B3 C4 C♯4 D4 D♯4 E4 F4 F♯4 G4 G♯4"
    assert tick_labels(ax.yaxis) == names.split()
    ax.clear()
    two = ke.CQT(SR, fmin=220.0, n_bins=20, hop_length=256)
    plot.spectrogram(tone(440.0), two, ax=ax)
    assert tick_labels(ax.yaxis) == "A3 B3 C4 D4 E4 F4 G4 A4 B4 C5 D5 E5".split()


def test_frequency_ticks(ax):
    plot.spectrogram(tone(440.0), TRANSFORMS["MelSpectrogram"][0], ax=ax)
    assert tick_labels(ax.yaxis) == ["250", "500", "1000", "2000", "4000"]
    # Even in mel: 1000 Hz is 15 of 45.2 mels, where a linear axis has it at an eighth;
    # the bands begin and end half a step, 0.55 mel, from the ends of the scale.
    to_axes = ax.transScale + ax.transLimits
    expected = (15.0 - 0.552) / (45.245 - 2 * 0.552)
    assert abs(to_axes.transform((0.0, 1000.0))[1] - expected) < 1e-3
    ax.clear()
    plot.spectrogram(tone(440.0), ke.Spectrogram(**SIZES), SR, ax=ax, axis="log")
    labels = tick_labels(ax.yaxis)
    assert labels == ["20", "50", "100", "200", "500", "1000", "2000", "5000"]
    to_axes = ax.transScale + ax.transLimits
    octaves = np.diff(to_axes.transform([(0, 500), (0, 1000), (0, 2000)])[:, 1])
    np.testing.assert_allclose(octaves, 1 / np.log2(8000 / 20), rtol=1e-3)
    ax.clear()
    plot.spectrogram(tone(440.0), ke.Spectrogram(**SIZES), SR, ax=ax)
    assert tick_labels(ax.yaxis)[:2] == ["0", "1000"]
    to_axes = ax.transScale + ax.transLimits
    assert abs(to_axes.transform((0.0, 1000.0))[1] - 0.125) < 1e-6


def test_mfcc_values(ax):
    transform, x = TRANSFORMS["MFCC"][0], tone(700.0)
    plot.spectrogram(x, transform, ax=ax)
    drawn = ax.collections[-1]
    values = np.asarray(transform(jnp.asarray(x)), np.float64)
    np.testing.assert_allclose(mesh(ax)[2], values, rtol=1e-6)
    limit = np.max(np.abs(values[1:]))
    np.testing.assert_allclose(drawn.get_clim(), (-limit, limit), rtol=1e-6)
    assert drawn.colorbar.ax.get_ylabel() == "MFCC"
    with pytest.raises(ValueError, match="axis"):
        plot.spectrogram(x, transform, ax=ax, axis="hz")


def test_current_axes_are_the_default():
    figure, (left, right) = plt.subplots(1, 2)
    plt.sca(left)
    assert plot.spectrogram(tone(700.0), ke.Spectrogram(**SIZES), SR) is left
    plt.sca(right)
    assert plot.terms([{"a": 1.0}, {"a": 0.5}]) is right
    plt.sca(left)
    assert plot.profile([0.0, 1.0], [1.0, 2.0]) is left
    assert not right.collections
    plt.close(figure)


@pytest.mark.parametrize("function", [plot.spectrogram, None])
def test_bad_arguments(function, ax):
    def draw(S, transform, *args, **kwargs):
        if function is None:
            return plot.difference(S, S, transform, *args, ax=ax, **kwargs)
        return function(S, transform, *args, ax=ax, **kwargs)

    x, transform = tone(700.0), ke.Spectrogram(**SIZES)
    with pytest.raises(ValueError, match=r"sr=.*be given.*None"):
        draw(x, transform)
    with pytest.raises(ValueError, match=r"16000 Hz. Got 44100"):
        draw(x, TRANSFORMS["CQT"][0], 44100)
    with pytest.raises(ValueError, match=r"\(257, n_frames\).*Got shape \(2, 16000\)"):
        draw(np.stack([x, x]), transform, SR)
    with pytest.raises(ValueError, match="must be finite"):
        draw(np.full(SR, np.nan, np.float32), transform, SR)
    with pytest.raises(ValueError, match="be a transform of the library"):
        draw(x, abs, SR)
    with pytest.raises(ValueError, match="'hz', 'mel', 'log', 'notes'"):
        draw(x, transform, SR, axis="index")


# ------------------------------------------------------------------- difference


def test_difference_is_signed(ax):
    rng = np.random.default_rng(0)
    y = rng.standard_normal(SR).astype("f")
    x = y.copy()
    x[: SR // 2] *= 2.0
    x[SR // 2 :] *= 0.5
    transform = ke.Spectrogram(**SIZES)
    assert plot.difference(x, y, transform, SR, ax=ax) is ax
    columns, _, D = mesh(ax)
    step = 20 * np.log10(2)
    np.testing.assert_allclose(D[:, columns[1:] < 0.45], step, atol=1e-5)
    np.testing.assert_allclose(D[:, columns[:-1] > 0.55], -step, atol=1e-5)
    drawn = ax.collections[-1]
    low, high = drawn.get_clim()
    assert low == -high
    assert 6.0 < high < 8.0
    assert drawn.colorbar.ax.get_ylabel() == "Estimate − target (dB)"
    # Red where the estimate is louder, blue where it is softer, nearly white at 0.
    louder, softer, same = drawn.get_cmap()(drawn.norm([step, -step, 0.0]))[:, :3]
    assert louder[0] > 2 * louder[2]
    assert softer[2] > 2 * softer[0]
    assert same.min() > 0.9
    plot.difference(x, y, transform, SR, ax=ax, limit=3.0)
    assert ax.collections[-1].get_clim() == (-3.0, 3.0)
    assert ax.collections[-1].colorbar.extend == "both"


def test_inaudible_differences_are_none(ax):
    rng = np.random.default_rng(0)
    y = tone(1000.0) * np.hanning(SR).astype("f")
    x = y + 1e-7 * rng.standard_normal(SR).astype("f")
    transform = ke.Spectrogram(**SIZES)
    plot.difference(x, y, transform, SR, ax=ax)
    assert np.max(np.abs(mesh(ax)[2])) < 0.5
    assert ax.collections[-1].get_clim() == (-1.0, 1.0)
    plot.difference(x, y, transform, SR, ax=ax, top_db=200.0)
    assert np.max(np.abs(mesh(ax)[2])) > 10.0


def test_difference_takes_spectrograms_of_one_shape(ax):
    transform = TRANSFORMS["MFCC"][0]
    a, b = (transform(jnp.asarray(tone(f))) for f in (700.0, 900.0))
    plot.difference(a, b, transform, ax=ax)
    np.testing.assert_allclose(mesh(ax)[2], np.asarray(a) - np.asarray(b), atol=1e-4)
    assert ax.collections[-1].colorbar.ax.get_ylabel() == "Estimate − target"
    with pytest.raises(ValueError, match="same shape"):
        plot.difference(a, b[:, :-1], transform, ax=ax)


# ------------------------------------------------------------------------ terms

NAMES = ("256/lin", "256/log", "1024/lin", "1024/log")


def make_history(n_steps=20):
    return [
        {name: jnp.float32((i + 1) * 0.9**step) for i, name in enumerate(NAMES)}
        for step in range(n_steps)
    ]


def lines_by_label(ax):
    return {str(line.get_label()): line for line in ax.lines}


def test_terms_over_training(ax):
    history = make_history()
    assert plot.terms(history, ax=ax, steps=np.arange(20) * 10) is ax
    lines = lines_by_label(ax)
    assert list(lines) == [*NAMES, "total"]
    for name in NAMES:
        np.testing.assert_allclose(
            lines[name].get_ydata(), [float(entry[name]) for entry in history]
        )
        np.testing.assert_array_equal(lines[name].get_xdata(), np.arange(20) * 10)
    total = [float(sum(entry.values())) for entry in history]
    np.testing.assert_allclose(lines["total"].get_ydata(), total, rtol=1e-6)
    assert ax.get_yscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Step", "Weighted term")
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == [*NAMES, "total"]
    for a, b, getter, is_equal in (
        ("256/lin", "256/log", "get_color", True),
        ("256/lin", "1024/lin", "get_color", False),
        ("256/lin", "1024/lin", "get_marker", False),
        ("256/lin", "1024/lin", "get_linestyle", True),
        ("256/lin", "256/log", "get_linestyle", False),
    ):
        first, second = getattr(lines[a], getter)(), getattr(lines[b], getter)()
        assert np.all(np.equal(first, second)) == is_equal, (a, b, getter)
    # Printed in grey: lightness must tell the resolutions apart.
    greys = [np.mean(lines[name].get_color()[:3]) for name in ("256/lin", "1024/lin")]
    assert abs(greys[0] - greys[1]) > 0.1
    assert n_grey_levels(ax) > 2


def test_forms_of_a_history():
    history = make_history(5)
    with_totals = [(jnp.float32(7.0), entry) for entry in history]
    sequences = {name: [entry[name] for entry in history] for name in NAMES}
    drawn = []
    for form in (history, with_totals, sequences):
        ax = plot.terms(form, ax=Figure().subplots(), total=False, linewidth=3)
        drawn.append([line.get_ydata() for line in ax.lines])
        assert len(ax.lines) == len(NAMES)
        assert {line.get_linewidth() for line in ax.lines} == {3}
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])


def test_terms_of_a_real_loss(ax):
    loss = ke.MRSTFTLoss(win_lengths=(64, 256), hop_lengths=(16, 64))
    y = jnp.asarray(tone(700.0, 0.1))
    noise = np.random.default_rng(0).standard_normal(y.size).astype("f")
    history = [loss.with_terms(y + 0.5**i * noise, y) for i in range(4)]
    plot.terms(history, ax=ax)
    lines = lines_by_label(ax)
    assert list(lines) == ["64/lin", "64/log", "256/lin", "256/log", "total"]
    values = [float(value) for value, _ in history]
    np.testing.assert_allclose(lines["total"].get_ydata(), values, rtol=1e-5)


def test_terms_are_in_the_order_of_their_numbers(ax):
    # JAX returns dicts in the order of texts: "mel/a", "stft/1024/lin", "stft/256/lin".
    given = {"stft/256/lin": [1.0], "stft/1024/lin": [2.0], "mel/a": [3.0]}
    returned = jax.jit(lambda terms: terms)(given)
    plot.terms(returned, ax=ax)
    names = ["mel/a", "stft/256/lin", "stft/1024/lin", "total"]
    assert list(lines_by_label(ax)) == names
    for name in names[:3]:
        assert lines_by_label(ax)[name].get_ydata() == given[name]
    ax.clear()
    plot.terms(given, ax=ax)  # any other order was meant
    assert list(lines_by_label(ax)) == [*given, "total"]


def test_negative_terms_are_drawn():
    """Ratios in decibels are below 0 where a match is good."""
    history = [{"mel": 2.0 - 0.1 * i, "sisdr": 3.0 - i} for i in range(6)]
    ax = plot.terms(history, ax=Figure().subplots())
    assert ax.get_yscale() == "linear"
    low, high = ax.get_ylim()
    assert low < -2.0 and high > 5.0
    assert plot.terms(history, ax=Figure().subplots(), yscale="log").get_yscale() == (
        "log"
    )


def test_bad_histories(ax):
    with pytest.raises(ValueError, match="must have an entry"):
        plot.terms([], ax=ax)
    with pytest.raises(ValueError, match="at step 1"):
        plot.terms([{"a": 1.0}, {"b": 1.0}], ax=ax)
    with pytest.raises(ValueError, match="one length"):
        plot.terms({"a": [1.0, 2.0], "b": [1.0]}, ax=ax)
    with pytest.raises(ValueError, match="steps"):
        plot.terms([{"a": 1.0}], ax=ax, steps=[0, 1])
    values = jnp.ones(5)
    for wrong in (values, np.ones(5), [1.0, 2.0], "abc", 3.0, None, [(1.0, 2.0)], [()]):
        with pytest.raises(ValueError, match=r"^`terms\(history=...\)` must be a seq"):
            plot.terms(wrong, ax=ax)
    for wrong in ({"a": "abc"}, [{"a": "abc"}], {"a": [None]}, {"a": [[1.0], [2, 3]]}):
        with pytest.raises(
            ValueError, match=r"`terms\(history\['a'\]=...\)` must hold"
        ):
            plot.terms(wrong, ax=ax)
    for wrong in ({"a": jnp.ones((2, 2))}, [{"a": values}]):
        with pytest.raises(
            ValueError, match=r"history\['a'\]=...\)` must be an array w"
        ):
            plot.terms(wrong, ax=ax)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int32"])
def test_histories_of_any_numbers(dtype, ax):
    steps = [{"a": jnp.asarray(value, dtype)} for value in (4, 2, 1)]
    for history in (steps, iter(steps), {"a": jnp.array([4, 2, 1], dtype)}):
        plot.terms(history, ax=ax)
        np.testing.assert_array_equal(ax.lines[-1].get_ydata(), [4.0, 2.0, 1.0])


def test_other_data_that_are_no_numbers(ax):
    for call in (
        lambda wrong: plot.profile(wrong, [1.0], ax=ax),
        lambda wrong: plot.profile([1.0], wrong, ax=ax),
        lambda wrong: plot.surface(wrong, [1.0], [[1.0]], ax=ax),
        lambda wrong: plot.surface([1.0], [1.0], wrong, ax=ax),
        lambda wrong: plot.terms({"a": [1.0]}, steps=wrong or "abc", ax=ax),
    ):
        for wrong in ("abc", ["a"], None, [None], [1j], jnp.array([1j]), [[1], [1, 2]]):
            with pytest.raises(ValueError, match="must hold real numbers"):
                call(wrong)


# ---------------------------------------------------------------------- profile


def marks(ax):
    """Return the positions of all triangles: (points right?, is filled?) -> x."""
    found = {}
    for line in ax.lines:
        if line.get_marker() in ("<", ">"):
            is_filled = line.get_markerfacecolor() != "white"
            found[line.get_marker() == ">", is_filled] = np.asarray(line.get_xdata())
    return found


def test_profile_shows_where_descent_goes(ax):
    x = np.linspace(-3.0, 3.0, 61)
    target, local = 1.0, -2.0
    slope = np.where(x < -1.0, x - local, x - target)
    values = np.where(x < -1.0, (x - local) ** 2 / 2, (x - target) ** 2 / 2)
    assert plot.profile(x, values, slope, ax=ax, target=target, label="loss") is ax
    found = marks(ax)
    assert found[True, True].size and np.all(found[True, True] < target)
    # Between the local minimum and the ridge descent goes left, away from the target.
    assert found[False, False].size
    assert np.all((found[False, False] > local) & (found[False, False] < -1.0))
    assert found[False, True].size and np.all(found[False, True] > target)
    assert found[True, False].size == 0
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["loss", "target", "descent away from target"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Parameter", "Loss")
    ax.clear()
    plot.profile(x, values, slope, ax=ax, n_marks=10)
    found = marks(ax)
    assert found[True, False].size == found[False, False].size == 0
    assert 8 <= sum(at.size for at in found.values()) <= 10


def test_profiles_on_the_same_axes_differ(ax):
    x = np.geomspace(100.0, 1600.0, 50)
    for name in ("one", "two", "three"):
        plot.profile(x, x, np.ones(50), ax=ax, target=400.0, label=name, xscale="log")
    lines = lines_by_label(ax)
    curves = [lines[name] for name in ("one", "two", "three")]
    assert len({line.get_color() for line in curves}) == 3
    assert len({line.get_linestyle() for line in curves}) == 3
    assert [str(line.get_label()) for line in ax.lines].count("target") == 1
    assert tick_labels(ax.xaxis) == ["100", "200", "500", "1000"]
    # Triangles are spread over the axis as drawn: half of them below the middle.
    drawn = np.concatenate(list(marks(ax).values()))
    assert 0.4 < np.mean(drawn < 400.0) < 0.6
    assert n_grey_levels(ax) > 3


def test_bad_profiles(ax):
    with pytest.raises(ValueError, match="values.*shape of `positions`"):
        plot.profile([1.0, 2.0], [1.0], ax=ax)
    with pytest.raises(ValueError, match="gradients"):
        plot.profile([1.0, 2.0], [1.0, 2.0], [1.0], ax=ax)
    with pytest.raises(ValueError, match="1 axis"):
        plot.profile([[1.0, 2.0]], [1.0], ax=ax)


# ---------------------------------------------------------------------- surface

X, Y = np.linspace(-2.0, 2.0, 31), np.linspace(-1.0, 3.0, 41)
Z = (X[None, :] - 1.0) ** 2 + (Y[:, None] - 2.0) ** 2 + 0.1


@pytest.mark.parametrize("log", [False, True])
def test_surface_with_paths(log, ax):
    paths = {"first": [(-1.0, 0.0), (0.0, 1.0), (1.0, 2.0)], "second": [(2, 3), (1, 2)]}
    returned = plot.surface(X, Y, Z, paths, ax=ax, target=(1.0, 2.0), log=log)
    assert returned is ax
    filled = ax.collections[0]
    assert filled.colorbar.ax.get_ylabel() == "Loss"
    steps = np.diff(np.log(filled.levels) if log else filled.levels)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert filled.levels[0] <= Z.min() and filled.levels[-1] >= Z.max()
    lines = lines_by_label(ax)
    np.testing.assert_array_equal(lines["first"].get_xydata(), paths["first"])
    assert lines["first"].get_linestyle() != lines["second"].get_linestyle()
    ends = [line for line in ax.lines if line.get_marker() == "s"]
    assert [tuple(line.get_xydata()[0]) for line in ends] == [(1.0, 2.0), (1.0, 2.0)]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["first", "second", "target"]
    assert ax.get_xlim() == (-2.0, 2.0)
    assert ax.get_ylim() == (-1.0, 3.0)
    assert n_grey_levels(ax) > 8


def test_surface_is_the_right_way_round(ax):
    plot.surface(X, Y, Z, ax=ax, colorbar=False)
    ax.set_axis_off()
    grey = pixels(ax).mean(axis=-1)
    height, width = grey.shape
    box = ax.get_position()
    column = int((box.x0 + box.width * 0.75) * width)  # x = 1, where the minimum is
    row = int((1 - box.y0 - box.height * 0.75) * height)
    opposite_column = int((box.x0 + box.width * 0.05) * width)
    opposite_row = int((1 - box.y0 - box.height * 0.05) * height)
    dark = grey[row - 3 : row + 3, column - 3 : column + 3].mean()
    light = grey[
        opposite_row - 3 : opposite_row + 3, opposite_column - 3 : opposite_column + 3
    ].mean()
    assert dark < light - 0.2


def test_one_path_and_arguments_of_contourf(ax):
    path = np.array([(-1.0, 0.0), (0.0, 1.0)])
    plot.surface(
        X, Y, Z, path, ax=ax, cmap="magma", levels=[0.0, 1.0, 2.0], extend="max"
    )
    assert ax.collections[0].get_cmap().name == "magma"
    np.testing.assert_array_equal(ax.collections[0].levels, [0.0, 1.0, 2.0])
    assert ax.get_legend() is None
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 1, 1]
    plot.surface(X, Y, np.ones_like(Z), [path, path], ax=ax)


def test_bad_surfaces(ax):
    with pytest.raises(ValueError, match=r"\(n_y, n_x\) = \(41, 31\).*Transpose"):
        plot.surface(X, Y, Z.T, ax=ax)
    with pytest.raises(ValueError, match="positive for `log=True`"):
        plot.surface(X, Y, Z - 1.0, ax=ax, log=True)
    with pytest.raises(ValueError, match=r"\(n_steps, 2\)"):
        plot.surface(X, Y, Z, np.zeros((5, 3)), ax=ax)


# ------------------------------------------------------------------ all of them

HISTORY = {"a": [3.0, 2.0], "b/c": [2.0, 1.0]}
CALLS: dict[str, tuple[Any, ...]] = {
    "spectrogram": (tone(700.0), ke.Spectrogram(**SIZES), SR),
    "difference": (tone(700.0), tone(800.0), ke.Spectrogram(**SIZES), SR),
    "terms": (HISTORY,),
    "profile": ([0.0, 1.0], [1.0, 2.0], [1.0, 1.0]),
    "surface": (X, Y, Z, [(0.0, 0.0), (1.0, 1.0)]),
}


def test_all_functions_are_here():
    functions = {name for name, value in vars(plot).items() if callable(value)}
    assert functions == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_axes_are_given_by_name_and_returned(name, ax):
    draw = getattr(plot, name)
    parameters = inspect.signature(draw).parameters
    assert parameters["ax"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["ax"].default is None
    assert next(iter(parameters.values())).default is inspect.Parameter.empty
    assert draw(*CALLS[name], ax=ax) is ax


@pytest.mark.parametrize("name", CALLS)
def test_axes_in_a_place_of_data(name, ax):
    draw, data = getattr(plot, name), CALLS[name]
    both = ax.figure.subplots(1, 2)
    many = np.array([[ax, ax]])
    for wrong in (ax, both, many, [ax]):
        for i in range(len(data) + 1):
            args = (*data[:i], wrong, *data[i + 1 :])
            message = rf"`{name}\(ax=\.\.\.\)` must .* Got axes as argument {i + 1}\."
            with pytest.raises(ValueError, match=message):
                draw(*args)
    first, *rest = inspect.signature(draw).parameters
    with pytest.raises(ValueError, match=f"Got axes as `{first}`.*ax=ax"):
        draw(**{first: ax}, **dict(zip(rest, data[1:], strict=False)))
    assert not ax.lines and not ax.collections


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_axes(name, ax):
    draw, data = getattr(plot, name), CALLS[name]
    for wrong in (ax.figure, "left", 1):
        with pytest.raises(ValueError, match=rf"`{name}\(ax=.*one `Axes`"):
            draw(*data, ax=wrong)
    for several in (ax.figure.subplots(1, 2), [ax]):
        with pytest.raises(ValueError, match=r"Choose one, e\.g\. `ax=axes\[0\]`"):
            draw(*data, ax=several)


def long_history(n_names):
    return {f"a long name {i}/lin": np.geomspace(1, 0.1, 30) for i in range(n_names)}


LEGENDS: dict[str, Any] = {
    "terms, few": lambda ax: plot.terms(HISTORY, ax=ax),
    "terms, many": lambda ax: plot.terms(long_history(12), ax=ax),
    "profile": lambda ax: plot.profile(
        X, X**2, 2 * X, ax=ax, target=1.0, label="a loss with a name"
    ),
    "surface": lambda ax: plot.surface(
        X, Y, Z, {"a path": [(0, 0), (1, 1)]}, ax=ax, target=(1.0, 2.0)
    ),
}


@pytest.mark.parametrize("layout", ["constrained", "tight", None])
@pytest.mark.parametrize("name", LEGENDS)
def test_legends_cover_nothing(name, layout):
    figure = Figure(layout=layout)
    axes = LEGENDS[name](figure.subplots())
    axes.set_title("Title")
    axes.set_xlabel("A parameter (Hz)")
    figure.draw_without_rendering()
    legend = axes.get_legend().get_window_extent()
    for other in (
        axes.bbox,
        axes.xaxis.get_tightbbox(),
        axes.yaxis.get_tightbbox(),
        *(one.bbox for one in figure.axes if one is not axes),
    ):
        assert not legend.overlaps(other), other
    assert legend.width <= axes.bbox.width * 1.1
    # All of it is on the page, and the axes keep the larger part.
    assert legend.x0 >= 0 and legend.x1 <= figure.bbox.x1
    assert legend.y0 >= 0
    assert axes.bbox.height > 0.35 * figure.bbox.height


def test_legend_of_a_part_of_a_figure():
    figure = Figure(layout="constrained", figsize=(8, 8))
    upper, lower = np.ravel(figure.subfigures(2))
    axes = plot.terms(HISTORY, ax=upper.subplots())
    below = plot.profile(X, X**2, ax=lower.subplots(), label="one")
    figure.draw_without_rendering()
    legend = axes.get_legend().get_window_extent()
    assert not legend.overlaps(axes.bbox)
    assert not legend.overlaps(below.get_tightbbox())


def luminance(colours):
    """Return the relative luminance of colours of sRGB, as printed in grey."""
    c = np.asarray(colours)[..., :3]
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_colour_maps_are_read_without_seeing_colours(ax):
    plot.spectrogram(*CALLS["spectrogram"], ax=ax)
    plot.surface(*CALLS["surface"], ax=ax)
    sequential = [one.get_cmap() for one in ax.collections if one.colorbar]
    assert len(sequential) == 2
    for cmap in sequential:  # lighter for more, all the way
        assert np.all(np.diff(luminance(cmap(np.linspace(0, 1, 64)))) > 0)
    plot.difference(*CALLS["difference"], ax=ax)
    # Red against blue, which all kinds of colour-blindness tell apart; 0 is lightest.
    diverging = ax.collections[-1].get_cmap()(np.linspace(0, 1, 65))
    light = luminance(diverging)
    assert np.all(np.diff(light[:33]) > 0) and np.all(np.diff(light[32:]) < 0)
    red_blue = diverging[:, 0] - diverging[:, 2]
    assert red_blue[:28].max() < 0 < red_blue[37:].min()


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
BLINDNESS = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


@pytest.mark.parametrize("kind", BLINDNESS)
def test_curves_are_told_apart_by_the_colour_blind(kind, ax):
    for label in "abcd":
        plot.profile(X, X**2, ax=ax, label=label)
    colours = matplotlib.colors.to_rgb
    drawn = np.array([colours(line.get_color()) for line in ax.lines])
    linear = np.where(drawn <= 0.04045, drawn / 12.92, ((drawn + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(BLINDNESS[kind]), 0, 1) ** (1 / 2.2)
    distances = np.linalg.norm(seen[:, None] - seen, axis=-1)
    assert distances[np.triu_indices(4, 1)].min() > 0.15
    assert luminance(drawn).max() < 0.4  # seen on white


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (
        lambda: plot.terms([{"a": 1.0}]),
        lambda: plot.spectrogram(tone(700.0), ke.Spectrogram(**SIZES), SR),
        lambda: plot.profile([1.0], [1.0]),
        lambda: plot.surface(X, Y, Z),
    ):
        with pytest.raises(ImportError, match=r'pip install "korvax_eqx\[plot\]"'):
            draw()
