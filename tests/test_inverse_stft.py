"""The inverse STFT: what it gives back, against other libraries, and its gradient."""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import korvax
import librosa
import numpy as np
import pytest
import scipy.signal

import korvax_eqx as ke

RNG = np.random.default_rng(0)
WINDOWS = ["hann", "hamming", "sqrt_hann", "blackman", ("kaiser", 8.0), "boxcar"]
PADDINGS = [None, "torch", "same", "end", (3, 50)]
MODES = ["constant", "reflect", "edge"]


def signal(*shape):
    return RNG.standard_normal(shape)


def random_arguments(seed):
    """A transform that can be inverted, and the length of a signal for it."""
    rng = np.random.default_rng(seed)
    n_fft = int(rng.integers(16, 600))
    win_length = int(rng.integers(max(8, n_fft // 2), n_fft + 1))
    arguments = {
        "n_fft": n_fft,
        "hop_length": int(rng.integers(1 + win_length // 9, 1 + win_length // 2)),
        "win_length": win_length,
        "window": WINDOWS[int(rng.integers(len(WINDOWS)))],
        "padding": PADDINGS[int(rng.integers(len(PADDINGS)))],
        "pad_mode": MODES[int(rng.integers(len(MODES)))],
        "normalized": (False, "window", "frame_length")[int(rng.integers(3))],
        "extra_padding": bool(rng.integers(2)),
    }
    return arguments, int(rng.integers(3 * n_fft, 10 * n_fft))


def weights_of(stft, n_frames, length):
    """By a loop: the sum of squared windows that each sample of a signal is under."""
    window = np.asarray(stft.window_values)
    left, _ = stft.pad_widths
    sums = np.zeros(left + length + (n_frames + 1) * stft.hop_length + stft.n_fft)
    for t in range(n_frames):
        sums[t * stft.hop_length :][: stft.n_fft] += window**2
    return sums[left : left + length]


def n_lost(stft):
    """More samples than are lost: the first one's weight, and those after the last."""
    return 2 + stft.n_fft


@pytest.mark.parametrize("seed", range(50))
def test_gives_the_signal_back(seed):
    """To 1e-12; near the ends relative to the weight that frames give a sample."""
    arguments, length = random_arguments(seed)
    with jax.enable_x64(True):
        stft = ke.STFT(**arguments)
        x = signal(2, length)
        S = stft(x)
        y = stft.inverse(S, length)
    assert y.shape == x.shape and y.dtype == jnp.float64
    weights = weights_of(stft, S.shape[-1], length)
    is_lost = weights <= np.finfo(float).eps ** 2 * np.max(weights)
    assert np.all(np.asarray(y)[:, is_lost] == 0) and np.sum(is_lost) < n_lost(stft)
    is_whole = weights > 0.5 * np.median(weights)
    assert np.mean(is_whole) > 0.6
    errors = np.abs(np.asarray(y) - x)
    assert np.max(errors[:, is_whole]) < 1e-12
    assert np.max(errors * np.sqrt(weights / np.max(weights))) < 1e-12
    if stft.padding in (None, "torch"):
        assert np.max(errors[:, : S.shape[-1] * stft.hop_length // 2]) < 1e-11


@pytest.mark.parametrize("n_fft", [128, 101, 1, 2, 3])
def test_length_that_is_not_given(n_fft):
    """It is that of the shortest signal with so many frames."""
    hop = max(1, n_fft // 4)
    for padding in (None, "torch", "end", (0, 0)):
        stft = ke.STFT(n_fft, hop, padding=padding, window="hamming")
        S = stft(jnp.asarray(signal(1000), jnp.float32))
        n = stft.inverse(S).shape[-1]
        assert stft.n_frames(n) == S.shape[-1] > stft.n_frames(n - 1)


def test_is_the_least_squares_solution():
    """Of spectra that no signal has, against NumPy's solver."""
    stft = ke.STFT(24, 7, 20, "hamming", center=False)
    n, n_frames = 24 + 7 * 5, 6
    S = RNG.standard_normal((13, n_frames)) + 1j * RNG.standard_normal((13, n_frames))
    frames = np.fft.irfft(S, 24, axis=0)
    matrix = np.zeros((n_frames, 24, n))
    for t in range(n_frames):
        matrix[t, :, 7 * t : 7 * t + 24] = np.diag(stft.window_values)
    expected = np.linalg.lstsq(matrix.reshape(-1, n), frames.T.reshape(-1), None)[0]
    with jax.enable_x64(True):
        found = stft.inverse(jnp.asarray(S), n)
    np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize("window", ["hann", "hamming", ("kaiser", 5.0)])
@pytest.mark.parametrize("hop", [32, 50])
def test_equals_scipy(window, hop):
    x = signal(1500)
    with jax.enable_x64(True):
        stft = ke.STFT(128, hop, window=window)
        S = stft(x) + 0.3 * stft(signal(1500)) * np.exp(1j * signal(65, 1))
        found = stft.inverse(S)
    scale = np.sum(scipy.signal.get_window(window, 128))
    _, expected = scipy.signal.istft(
        np.asarray(S) / scale, nperseg=128, noverlap=128 - hop, window=window
    )
    np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize("n_fft", [128, 131])
@pytest.mark.parametrize(("win_length", "window"), [(128, "hann"), (90, "hamming")])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("length", [None, 900, 1500])
def test_equals_librosa(n_fft, win_length, window, center, length):
    keywords = {"hop_length": 30, "win_length": win_length, "window": window}
    x = signal(2, 1400)
    theirs = {**keywords, "n_fft": n_fft, "center": center}
    S = librosa.stft(x, **theirs)
    S = S * np.exp(0.2j * signal(*S.shape))
    expected = librosa.istft(S, **theirs, length=length)
    with jax.enable_x64(True):
        padding = "torch" if center else (0, 0)
        stft = ke.STFT(n_fft, padding=padding, **keywords)
        found = stft.inverse(jnp.asarray(S), length)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-11)


@pytest.mark.parametrize("n_fft", [None, 128])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("length", [None, 900, 1400])
def test_function_equals_korvax(n_fft, center, length):
    with jax.enable_x64(True):
        S = korvax.stft(jnp.asarray(signal(2, 1500)), 128, 32, center=center)
        S = S * np.exp(0.2j * signal(*S.shape))
        keywords = {"hop_length": 32, "center": center, "length": length}
        found = ke.istft(S, n_fft, **keywords)
        expected = korvax.istft(S, n_fft, **keywords)
    assert found.shape == expected.shape
    # korvax leaves samples undivided that hardly any frame weights.
    inner = slice(None) if center else slice(4, -4 if length is None else 896)
    np.testing.assert_allclose(found[:, inner], expected[:, inner], atol=1e-12)


def test_function_has_korvaxs_arguments():
    ours, theirs = map(inspect.signature, (ke.istft, korvax.istft))
    names = [(p.name, p.default, p.kind) for p in ours.parameters.values()]
    expected = [(p.name, p.default, p.kind) for p in theirs.parameters.values()]
    assert names == expected


@pytest.mark.parametrize("n_fft", [64, 67, 263])
def test_gradient_agrees_with_finite_differences(n_fft):
    """For the spectra, and for a window that is learnable."""
    hop = n_fft // 3
    with jax.enable_x64(True):
        window = jnp.asarray(scipy.signal.get_window("hamming", n_fft))
        c = jnp.asarray(signal(2, 700))

        def value(parts, window):
            stft = ke.STFT(n_fft, hop, window=window)
            return jnp.sum(jnp.sin(c * stft.inverse(jax.lax.complex(*parts), 700)))

        S = ke.STFT(n_fft, hop)(signal(2, 700))
        parts = S.real, S.imag
        for which in (0, 1):
            gradient = jax.jit(jax.grad(value, argnums=which))(parts, window)
            arguments = [parts, window]
            t = jax.tree.map(lambda a: jnp.asarray(signal(*a.shape)), arguments[which])

            def moved(h, which=which, t=t):
                own = [parts, window]
                own[which] = jax.tree.map(lambda a, b: a + h * b, own[which], t)
                return value(*own)

            h = 1e-5
            estimate = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (
                12 * h
            )
            along = jax.tree.map(lambda g, t: jnp.sum(g * t), gradient, t)
            np.testing.assert_allclose(sum(jax.tree.leaves(along)), estimate, rtol=1e-8)


def test_learnable_window_has_the_same_values():
    x = jnp.asarray(signal(700), jnp.float32)
    for win_length, n_fft in ((64, 64), (50, 67)):
        window = scipy.signal.get_window("hamming", win_length)
        fixed = ke.STFT(n_fft, 20, window=window)
        learnable = ke.STFT(n_fft, 20, window=jnp.asarray(window, jnp.float32))
        S = fixed(x)
        for n in (700, 40):
            expected = fixed.inverse(S, n)
            jitted = eqx.filter_jit(lambda s, S, n=n: s.inverse(S, n))
            for found in (learnable.inverse(S, n), jitted(learnable, S)):
                np.testing.assert_allclose(found, expected, atol=2e-6)


def test_few_frames():
    """Fewer than a window has hops, down to one."""
    with jax.enable_x64(True):
        stft = ke.STFT(64, 8)
        for n in range(1, 100, 9):
            x = signal(n)
            found = np.asarray(stft.inverse(stft(x), n))
            weights = weights_of(stft, stft.n_frames(n), n)
            assert np.max(np.abs(found - x) * np.sqrt(weights)) < 1e-14


def test_jit_vmap_batches_and_single_precision():
    stft = ke.STFT(256, 64)
    x = jnp.asarray(signal(40, 3, 9000), jnp.float32)
    S = stft(x)
    y = stft.inverse(S, 9000)
    assert y.dtype == jnp.float32 and y.shape == x.shape
    np.testing.assert_allclose(y, x, atol=3e-6)
    one = jnp.stack([stft.inverse(s, 9000) for s in S[:3, 0]])
    np.testing.assert_allclose(y[:3, 0], one, atol=1e-6)
    mapped = jax.jit(jax.vmap(lambda s: stft.inverse(s, 9000), 1, 1))(S)
    np.testing.assert_allclose(mapped, y, atol=1e-6)
    assert not np.any(stft.inverse(jnp.zeros_like(S)))


def test_nan_stays():
    stft = ke.STFT(64, 16)
    S = stft(jnp.asarray(signal(800), jnp.float32)).at[3, 20].set(jnp.nan)
    found = np.isnan(stft.inverse(S))
    assert found[20 * 16 - 30 : 20 * 16 + 30].all() and not found[:280].any()


@pytest.mark.filterwarnings("ignore:.*is longer than the window")
@pytest.mark.parametrize(
    "make",
    [
        lambda: ke.STFT(64, 64),  # a Hann window begins with 0
        lambda: ke.STFT(64, 60, 50, "hamming"),
        lambda: ke.STFT(64, 33, window=np.r_[np.ones(31), 0.0, np.zeros(32)]),
        lambda: ke.STFT(
            64, 64, window=jnp.asarray(np.hanning(66)[1:-1] * (np.arange(64) > 5))
        ),
    ],
)
def test_what_cannot_be_inverted_is_refused(make):
    stft = make()
    S = stft(jnp.asarray(signal(800), jnp.float32))
    with pytest.raises(ValueError, match="NOLA.*Got hop_length=.*Use a shorter hop"):
        stft.inverse(S)
    assert not scipy.signal.check_NOLA(
        np.asarray(stft.window_values), 64, 64 - stft.hop_length
    )


S = np.ones((33, 20), np.complex64)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ke.STFT(64).inverse(S[1:]), "`STFT.inverse`: `S` must have the shape"),
        (lambda: ke.STFT(64).inverse(S.real), "must be a complex spectrum"),
        (lambda: ke.STFT(64).inverse(S[0]), "`S` must have the shape"),
        (lambda: ke.STFT(64).inverse(S[:, :0]), "not be empty"),
        (lambda: ke.STFT(64).inverse(S[:, :1]), "`length` must be given for 1 frame:"),
        (lambda: ke.STFT(64).inverse(S, 0), r"`STFT.inverse\(length=...\)` must be"),
        (lambda: ke.istft(S, 62), "`istft`: "),
        (lambda: ke.istft(S, 64, 64), "`istft`: the window and `hop_length` must"),
        (lambda: ke.istft(S, hop_length=0), r"`istft\(hop_length=...\)` must be"),
        (lambda: ke.istft(S, length=-1), r"`istft\(length=...\)` must be"),
    ],
)
def test_bad_input(call, said):
    with pytest.raises(ValueError, match=said):
        call()
