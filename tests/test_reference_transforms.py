"""STFT and spectrogram against korvax, SciPy and the definition."""

from typing import Any

import jax
import jax.numpy as jnp
import korvax
import numpy as np
import promotion
import pytest
import scipy.signal
from oracle import assert_close, assert_same, lead, noise, pick

import korvax_eqx as ke

# Hops longer than windows are allowed, and warned of.
pytestmark = pytest.mark.filterwarnings("ignore:.*between two frames are skipped")

N_CONFIGURATIONS = 50
WINDOWS = [
    "hann",
    "hamming",
    "blackman",
    "flattop",
    "boxcar",
    "nuttall",
    ("kaiser", 8.0),
    ("gaussian", 20.0),
    ("tukey", 0.3),
    5.5,
    "array",
]
PAD_MODES = ["reflect", "edge", "symmetric", "wrap", "mean", "linear_ramp"]
POWERS = [None, 1, 2, 0.5, 1.5, 3, 1.0, 2.0, 0.8]


def sizes(rng: np.random.Generator, index: int) -> tuple[dict[str, Any], int]:
    """Random arguments, and the number of samples of a signal that they fit.

    Parity of the FFT size, whether the window is shorter, whether the hop divides it
    and whether the signal is shorter than the window go through all combinations.
    """
    is_odd, is_short, divides, is_brief = (bool(index >> k & 1) for k in range(4))
    # At least 16, so that shorter windows and several divisors exist.
    n_fft = 2 * int(rng.integers(8, 130)) + is_odd
    win_length = int(rng.integers(8, n_fft)) if is_short else None
    divisors = [k for k in range(1, n_fft + 1) if n_fft % k == 0]
    others = [k for k in range(2, n_fft + 20) if n_fft % k]
    hop_length = pick(rng, [*divisors[-4:], None] if divides else others)
    if index % 20 == 0:
        hop_length = 1 + int(rng.integers(3))  # overlaps of more than 64 hops
    # Without centring, a signal shorter than a frame has no frame.
    center = is_brief or bool(rng.integers(2))
    length = win_length or n_fft
    n_samples = int(rng.integers(1, length) if is_brief else rng.integers(n_fft, 900))
    arguments = {
        "n_fft": n_fft,
        "hop_length": hop_length,
        "win_length": win_length,
        "center": center,
    }
    return arguments, n_samples


def arguments(index: int) -> tuple[dict[str, Any], np.ndarray]:
    rng = np.random.default_rng(index)
    chosen, n_samples = sizes(rng, index)
    window = pick(rng, WINDOWS)
    if window == "array":
        window = rng.uniform(0.1, 1.0, chosen["win_length"] or chosen["n_fft"])
    chosen["window"] = window
    if chosen["center"] and n_samples > chosen["n_fft"] and rng.integers(2):
        chosen["pad_kwargs"] = {"mode": pick(rng, PAD_MODES)}
    # Two signals of a few samples would be taken for samples of channels.
    shape = lead(index) if n_samples > 8 else ()
    return chosen, noise(rng, *shape, n_samples)


def by_scipy(
    x: np.ndarray,
    n_fft: int,
    hop_length: int | None,
    win_length: int | None,
    window: Any,
    center: bool,
    pad_kwargs: Any = None,
) -> np.ndarray:
    length = win_length or n_fft
    hop_length = hop_length or length // 4
    if not isinstance(window, np.ndarray):
        window = scipy.signal.get_window(window, length)
    values = np.zeros(n_fft)
    values[(n_fft - length) // 2 :][:length] = window
    transform = scipy.signal.ShortTimeFFT(values, hop_length, fs=1.0, phase_shift=None)
    still = [(0, 0)] * (x.ndim - 1)
    if pad_kwargs:
        widths = [*still, (n_fft // 2, n_fft - n_fft // 2)]
        x, center = np.pad(x, widths, **pad_kwargs), False
    n_samples = x.shape[-1]
    n_frames = 1 + (n_samples if center else n_samples - n_fft) // hop_length
    # SciPy refuses signals shorter than half a window; zeros on the right are free.
    x = np.pad(x, [*still, (0, 2 * n_fft + hop_length)])
    # Frame p has its middle at sample p * hop + k_offset.
    offset = 0 if center else n_fft // 2
    return transform.stft(x, p0=0, p1=n_frames, k_offset=offset)


@pytest.mark.parametrize("index", range(N_CONFIGURATIONS))
def test_stft_equals_korvax_and_scipy(index):
    chosen, x = arguments(index)
    print(chosen, x.shape)
    double, single = assert_same(
        lambda x: ke.stft(x, **chosen),
        lambda x: korvax.stft(x, **chosen),
        x,
        wrt=[0],
    )
    desired = by_scipy(x, **chosen)
    assert_close(double, desired, 1e-9)
    assert_close(single, desired, 1e-5)


@pytest.mark.parametrize("index", range(N_CONFIGURATIONS))
def test_spectrogram_equals_korvax(index):
    # Other configurations than those above.
    chosen, x = arguments(1000 + index)
    chosen["power"] = POWERS[index % len(POWERS)]
    print(chosen, x.shape)
    assert_same(
        lambda x: ke.spectrogram(x, **chosen),
        lambda x: korvax.spectrogram(x, **chosen),
        x,
        wrt=[0],
    )


@pytest.mark.parametrize("index", range(6))
def test_spectrogram_equals_the_definition(index):
    """The class, against a plain sum over samples."""
    rng = np.random.default_rng(3000 + index)
    chosen, n_samples = sizes(rng, index)
    x, power = noise(rng, n_samples), (1, 2, 0.5)[index % 3]
    length = chosen["win_length"] or chosen["n_fft"]
    hop, n_fft = chosen["hop_length"] or length // 4, chosen["n_fft"]
    start = (n_fft - length) // 2
    window = scipy.signal.get_window("hann", length)
    first = -(n_fft // 2) if chosen["center"] else 0
    n_frames = 1 + (n_samples - (0 if chosen["center"] else n_fft)) // hop
    desired = np.zeros((n_fft // 2 + 1, n_frames))
    k = np.arange(n_fft // 2 + 1)
    for t in range(n_frames):
        X = np.zeros(len(k), complex)
        for j, w in enumerate(window, start):
            n = first + t * hop + j
            if 0 <= n < n_samples:
                X += w * x[n] * np.exp(-2j * np.pi * k * j / n_fft)
        desired[:, t] = np.abs(X) ** power
    with jax.enable_x64(True):
        transform = jax.jit(ke.Spectrogram(**chosen, power=power))
        assert_close(transform(jnp.asarray(x)), desired, 1e-9)


def test_centred_frames_of_odd_sizes_are_those_of_korvax():
    """One sample more is padded on the right: at times one frame more than librosa."""
    x = jnp.arange(1.0, 13.0, dtype=jnp.float32)
    actual = ke.stft(x, n_fft=5, hop_length=4, window="boxcar")
    padded = [0, 0, *range(1, 13), 0, 0, 0]
    frames = [padded[k : k + 5] for k in (0, 4, 8, 12)]
    assert_close(actual, np.fft.rfft(frames).T.astype(np.complex64))
    with promotion.usual_promotion():
        assert_close(actual, korvax.stft(x, n_fft=5, hop_length=4, window="boxcar"))


def test_defaults_are_those_of_korvax():
    x = noise(np.random.default_rng(0), 3000)
    assert_same(ke.stft, korvax.stft, x, wrt=[0])
    assert_same(ke.spectrogram, korvax.spectrogram, x, wrt=[0])


def test_a_window_of_another_length_is_refused_and_not_ignored():
    """korvax says that `win_length` is ignored for an array, but asserts instead."""
    x, window = jnp.ones(500), np.ones(50)
    with pytest.raises(AssertionError), promotion.usual_promotion():
        korvax.stft(x, n_fft=64, window=window)
    # Not given, the length is the array's, as documented.
    actual = ke.stft(x, n_fft=64, hop_length=16, window=window)
    assert_close(actual, ke.stft(x, 64, 16, 50, window="boxcar"))
    with pytest.raises(ValueError, match="win_length"):
        ke.stft(x, n_fft=64, win_length=60, window=window)


def test_float64_is_exact_after_float32():
    """A table that was a float32 constant once must not be one ever after.

    `jnp.asarray(table).astype(dtype)` of one NumPy array, in a program compiled first
    without and then with x64, still has the float32 values (JAX 0.10).
    """
    chosen: dict[str, Any] = {"n_fft": 90, "hop_length": 30, "window": "bohman"}
    x = noise(np.random.default_rng(4), 400)
    jax.jit(lambda x: ke.stft(x, **chosen))(jnp.asarray(x, jnp.float32))
    with jax.enable_x64(True):
        actual = jax.jit(lambda x: ke.stft(x, **chosen))(jnp.asarray(x))
    assert_close(actual, by_scipy(x, win_length=None, center=True, **chosen), 1e-9)
