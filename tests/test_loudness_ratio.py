"""The loudness ratio of audiocraft, against its formula in NumPy's float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from formulas import assert_is
from naive import refused

import korvax_eqx as ke
from korvax_eqx import recipes
from korvax_eqx._tables._bands import band_taps
from korvax_eqx._tables._loudness import k_weighting_sections

SR = 4000
RNG = np.random.default_rng(0)
Y = 0.3 * RNG.standard_normal((2, 5000))
COLOURED: np.ndarray = scipy.signal.lfilter(
    [1], [1, -0.9], RNG.standard_normal(Y.shape)
)  # pyright: ignore
X = Y + 0.03 * COLOURED


def biquad(x, sr, kind):
    """torchaudio's `treble_biquad` and `highpass_biquad`, without their clipping."""
    if kind == "treble":
        w, q, A = 2 * np.pi * 1500 / sr, 1 / np.sqrt(2), 10 ** (4 / 40)
        alpha, c = np.sin(w) / 2 / q, np.cos(w)
        k = 2 * np.sqrt(A) * alpha
        b = [
            A * ((A + 1) + (A - 1) * c + k),
            -2 * A * ((A - 1) + (A + 1) * c),
            A * ((A + 1) + (A - 1) * c - k),
        ]
        a = [
            (A + 1) - (A - 1) * c + k,
            2 * ((A - 1) - (A + 1) * c),
            (A + 1) - (A - 1) * c - k,
        ]
    else:
        w = 2 * np.pi * 38 / sr
        alpha, c = np.sin(w) / 2 / 0.5, np.cos(w)
        b = [(1 + c) / 2, -1 - c, (1 + c) / 2]
        a = [1 + alpha, -2 * c, 1 - alpha]
    return scipy.signal.lfilter(b, a, x)


def split(x, sr, n_bands):
    """julius's `SplitBands`, of one signal: shape `(n_bands, n_samples)`."""
    if n_bands == 1:
        return x[None]
    mels = np.linspace(0, 2595 * np.log10(1 + sr / 2 / 700), n_bands + 1)[1:-1]
    cutoffs = 700 * (10 ** (mels / 2595) - 1) / sr
    half = int(8 / min(cutoffs) / 2)
    window, time = np.hanning(2 * half + 1), np.arange(-half, half + 1)
    wide = np.pad(x, half, mode="edge")
    lows = []
    for c in cutoffs:
        taps = 2 * c * window * np.sinc(2 * c * time)
        lows.append(np.convolve(wide, taps / taps.sum(), mode="valid"))
    return np.diff(np.stack([0 * x, *lows, x]), axis=0)


def powers(x, sr, n_bands, segment, overlap, weigh):
    width = int(segment * sr)
    hop = int(width * (1 - overlap))
    size = round(0.4 * sr)
    step = round(size * 0.25)
    found = []
    for band in split(x, sr, n_bands):
        n_frames = -(-len(band) // hop)
        band = np.pad(band, (0, (n_frames - 1) * hop + width - len(band)))
        for i in range(n_frames):
            square = weigh(band[i * hop : i * hop + width]) ** 2
            starts = range(0, width - size + 1, step)
            found += [np.mean(square[s : s + size]) for s in starts]
    return np.array(found)


def as_torchaudio(x, sr):
    return biquad(biquad(x, sr, "treble"), sr, "low cut")


def as_recommended(x, sr):
    return scipy.signal.sosfilt(np.array(k_weighting_sections(sr)), x)


def ratio(x, y, sr, n_bands, segment, overlap, temperature, weigh, mean):
    settings = sr, n_bands, segment, overlap, lambda s: weigh(s, sr)
    eps = np.finfo(np.float32).eps
    r = 10 * np.log10((powers(x - y, *settings) + eps) / (powers(y, *settings) + eps))
    weights = np.exp((r - r.max()) / temperature)
    value = np.sum(weights * r) / np.sum(weights)
    return value / r.size if mean else value


@pytest.mark.parametrize(
    ("n_bands", "segment", "overlap", "temperature"),
    [(1, 0.5, 0.5, 1.0), (3, 0.5, 0.5, 2.0), (4, 0.75, 0.3, 1.0)],
)
def test_recipe_is_the_formula(n_bands, segment, overlap, temperature):
    settings = SR, n_bands, segment, overlap, temperature

    def formula(x, y):
        return ratio(x, y, *settings, as_torchaudio, mean=True)

    loss = recipes.audiocraft_loudness_ratio(
        SR, n_bands=n_bands, segment=segment, overlap=overlap, temperature=temperature
    )
    # Single precision keeps fewer digits of the filters' quiet outputs.
    assert_is(loss, formula, X, Y, single=1e-5)


def test_class_is_the_formula():
    def formula(x, y):
        return ratio(x, y, SR, 2, 0.5, 0.5, 1.0, as_recommended, mean=False)

    assert_is(ke.LoudnessRatioLoss(SR, 2), formula, X, Y, single=1e-5)


def test_bands_sum_to_the_signal():
    taps = band_taps(16000.0, 16)
    identity = np.zeros(taps.shape[1])
    identity[taps.shape[1] // 2] = 1
    np.testing.assert_allclose(taps.sum(0), identity, rtol=0, atol=1e-15)
    # Each passes the middle of its band, and nothing two bands away.
    gains = np.abs(np.fft.rfft(taps, 2**14))
    mels = np.linspace(0, ke.hz_to_mel(8000.0, htk=True), 33)[1::2]
    middles = np.asarray(ke.mel_to_hz(jnp.asarray(mels), htk=True)) / 16000 * 2**14
    at = gains[:, np.round(middles).astype(int)]
    np.testing.assert_allclose(np.diag(at), 1, atol=0.05)
    assert np.max(np.abs(np.tril(at, -2))) < 1e-2
    assert np.max(np.abs(np.triu(at, 2))) < 1e-2


def test_a_change_that_the_target_masks_costs_less():
    """Equal changes, once where the target is and once three octaves above."""
    time = np.arange(SR) / SR
    y = np.sin(2 * np.pi * 150 * time)
    hidden, heard = (0.01 * np.sin(2 * np.pi * f * time) for f in (160, 1200))
    loss = ke.LoudnessRatioLoss(SR, 8)
    y = jnp.asarray(y, jnp.float32)
    assert loss(y + hidden, y) < loss(y + heard, y) - 20


def test_refusals():
    for arguments, rule in (
        ({"sr": 16}, r"sr=...\)` must be above 3364 Hz"),
        ({"n_bands": 0}, r"n_bands=...\)` must be a positive integer"),
        ({"n_bands": 10**6}, r"n_bands=...\)` must be small enough"),
        ({"segment": 0.3}, r"segment=...\)` must be at least 0.4 s"),
        ({"segment": 1e9}, r"segment=...\)` must be small enough"),
        ({"overlap": 1.0}, r"overlap=...\)` must be at least 0 and below 1"),
        ({"overlap": 0.99999}, r"overlap=...\)` must be at least 0 and below 1"),
        ({"temperature": 0}, r"temperature=...\)` must be positive"),
        ({"reduction": "none"}, r"reduction=...\)` must be one of 'sum', 'mean'"),
        ({"weighting": "A"}, r"weighting=...\)` must be one of 'bs1770'"),
        ({"eps": 0}, r"eps=...\)` must be positive"),
    ):
        with refused(rf"`LoudnessRatioLoss\({rule}"):
            ke.LoudnessRatioLoss(**{"sr": 16000, **arguments})
    with refused(r"`audiocraft_loudness_ratio\(sample_rate=...\)` must be above 3364"):
        recipes.audiocraft_loudness_ratio(16)


def test_frames_beyond_an_end_do_not_count():
    loss = ke.LoudnessRatioLoss(SR, 3, reduction="mean")
    lengths = [5000, 2100]
    x, y = (jnp.asarray(a, jnp.float32) for a in (X, Y))
    alone = [loss(x[i, :n], y[i, :n]) for i, n in enumerate(lengths)]
    value = jax.jit(loss)(x, y, lengths=jnp.asarray(lengths))
    np.testing.assert_allclose(value, np.mean(alone), rtol=1e-5)
    # Where every ratio is far below that of the silence behind an end.
    cold = ke.LoudnessRatioLoss(SR, 1, temperature=0.1)
    value, gradient = jax.value_and_grad(
        lambda x: cold(x, y, lengths=jnp.asarray(lengths))
    )(y)
    alone = [cold(y[i, :n], y[i, :n]) for i, n in enumerate(lengths)]
    np.testing.assert_allclose(value, np.mean(alone), rtol=1e-5)
    assert jnp.all(jnp.isfinite(gradient))


def test_memory_does_not_grow_with_the_batch() -> None:
    """Each sample is in all bands of two frames, so signals are evaluated in turn."""

    def temporary(n_signals: int) -> int:
        loss = ke.LoudnessRatioLoss(16000)
        x = jax.ShapeDtypeStruct((n_signals, 16000), jnp.float32)
        fn = jax.jit(jax.value_and_grad(loss)).lower(x, x).compile()
        return fn.memory_analysis().temp_size_in_bytes

    one, many = temporary(1), temporary(8)
    assert many < one + 3 * 8 * 4 * 16000
