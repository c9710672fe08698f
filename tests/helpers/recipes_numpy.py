"""The original losses of recipes, written from their formulas in NumPy, in float64.

No code is shared with korvax_eqx: windows are SciPy's, mel filters librosa's. Signals
have the shape `(batch, n_samples)`. Values are averaged as in the originals.
"""

import math
from typing import Any

import librosa
import numpy as np
import scipy.optimize
import scipy.signal

EPS32 = float(np.finfo(np.float32).eps)
SIZES = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))


def windowed(x, n_fft, hop, window):
    """Spectra of the frames that fit into `x`, with the window centred in each."""
    left = (n_fft - len(window)) // 2
    window = np.pad(window, (left, n_fft - len(window) - left))
    frames = np.lib.stride_tricks.sliding_window_view(x, n_fft, -1)[..., ::hop, :]
    return np.fft.rfft(frames * window).swapaxes(-1, -2)


def window_of(name, n):
    return scipy.signal.get_window(name, n, fftbins=True)


def torch_stft(x, n_fft, hop, win_length, window="hann", center=True):
    if center:
        x = np.pad(x, [(0, 0), (n_fft // 2, n_fft // 2)], mode="reflect")
    return windowed(x, n_fft, hop, window_of(window, win_length))


def power(X):
    return X.real**2 + X.imag**2


def floored(X, floor):
    return np.sqrt(np.maximum(power(X), floor))


def slaney(sr, n_fft, n_mels, fmin=0.0, fmax=None):
    return librosa.filters.mel(
        sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, dtype=np.float64
    )


def l1(a, b):
    return np.mean(np.abs(a - b))


def l2(a, b):
    return np.mean((a - b) ** 2)


def convergence(M_x, M_y, eps=0.0):
    return np.linalg.norm(M_y - M_x) / (np.linalg.norm(M_y) + eps)


def auraloss(
    x,
    y,
    sizes=SIZES,
    weights=(1.0, 1.0, 0.0, 0.0),
    window="hann",
    mel=None,
    eps=1e-8,
    distance=l1,
    log_fac=1.0,
    log_eps=0.0,
):
    total = 0.0
    w_sc, w_log, w_lin, w_phs = weights
    for n_fft, hop, win_length in sizes:
        X, Y = (torch_stft(s, n_fft, hop, win_length, window) for s in (x, y))
        M_x, M_y = floored(X, eps), floored(Y, eps)
        if mel is not None:
            matrix = slaney(mel[0], n_fft, mel[1])
            M_x, M_y = matrix @ M_x, matrix @ M_y
        logs = (np.log(log_fac * M + log_eps) for M in (M_x, M_y))
        total += w_sc * convergence(M_x, M_y) + w_log * distance(*logs)
        total += w_lin * distance(M_x, M_y)
        total += w_phs * l2(np.angle(X + 0.0), np.angle(Y + 0.0))  # no signed zeros
    return total / len(sizes)


def parallel_wavegan(x, y, sizes=SIZES, factors=(1.0, 1.0)):
    return auraloss(x, y, sizes, (*factors, 0.0, 0.0), eps=1e-7)


def parallel_wavegan_mel(x, y, fs=22050):
    def log_mel(s):
        M = floored(torch_stft(s, 1024, 256, 1024), 1e-10)
        return np.log10(np.maximum(slaney(fs, 1024, 80, 80, 7600) @ M, 1e-10))

    return l1(log_mel(x), log_mel(y))


def hifigan_mel(x, y, sr=22050):
    def log_mel(s):
        s = np.pad(s, [(0, 0), (384, 384)], mode="reflect")
        X = windowed(s, 1024, 256, window_of("hann", 1024))
        mel = slaney(sr, 1024, 80) @ np.sqrt(power(X) + 1e-9)
        return np.log(np.maximum(mel, 1e-5))

    return l1(log_mel(x), log_mel(y))


def audiocraft_mrstft(x, y, factors=(0.1, 0.1), normalized=False, eps=EPS32):
    total = 0.0
    for n_fft, hop, win_length in SIZES:
        scale = n_fft**-0.5 if normalized else 1.0
        M_x, M_y = (
            floored(scale * torch_stft(s, n_fft, hop, win_length), 1e-7) for s in (x, y)
        )
        total += factors[0] * convergence(M_x, M_y, eps)
        total += factors[1] * l1(np.log(eps + M_x), np.log(eps + M_y))
    return total / len(SIZES)


def htk(sr, n_fft, n_mels, fmin, fmax):
    """torchaudio's filters: HTK's mel scale, unit peaks."""

    def to_mel(f):
        return 2595 * np.log10(1 + np.asarray(f) / 700)

    points = np.linspace(
        to_mel(fmin), to_mel(sr / 2 if fmax is None else fmax), n_mels + 2
    )
    corners = 700 * (10 ** (points / 2595) - 1)
    bins = np.linspace(0, sr / 2, n_fft // 2 + 1)
    rise = (bins - corners[:-2, None]) / np.diff(corners)[:-1, None]
    fall = (corners[2:, None] - bins) / np.diff(corners)[1:, None]
    return np.maximum(0, np.minimum(rise, fall))


def encodec_mel(x, y, sr=24000, f_min=0.0, normalized=False, alphas=True):
    total = divisor = 0.0
    for i in range(6, 11):
        n, hop = 2**i, 2**i // 4
        window: Any = window_of("hann", n)
        scale = np.linalg.norm(window) if normalized else 1.0
        mels = []
        for s in (x, y):
            s = np.pad(s, [(0, 0), ((n - hop) // 2,) * 2], mode="reflect")
            s = np.pad(s, [(0, 0), (0, -(s.shape[-1] - n) % hop)])
            P = power(windowed(s, n, hop, window) / scale)
            mels.append(htk(sr, n, 64, f_min, None) @ P)
        alpha = math.sqrt(n - 1) if alphas else 1.0
        total += l1(*mels) + alpha * l2(*(np.log10(1e-5 + m) for m in mels))
        divisor += alpha + 1
    return total / divisor if normalized else total


def ddsp(x, y, sizes=(2048, 1024, 512, 256, 128, 64), distance=l1, **weights):
    def magnitudes(s, n):
        hop, n_fft = n // 4, 2 ** math.ceil(math.log2(n))
        n_frames = math.ceil(s.shape[-1] / hop)
        s = np.pad(s, [(0, 0), (0, (n_frames - 1) * hop + n - s.shape[-1])])
        frames = np.lib.stride_tricks.sliding_window_view(s, n, -1)[:, ::hop]
        return np.abs(np.fft.rfft(frames * window_of("hann", n), n_fft))

    def loudness(s):
        s = np.pad(s, [(0, 0), (1024, 1024)])
        P = power(windowed(s, 2048, 64, window_of("hann", 2048)))
        with np.errstate(divide="ignore"):  # at 0 Hz
            A = librosa.A_weighting(librosa.fft_frequencies(sr=16000, n_fft=2048))
        mean = np.mean(P * 10 ** (A[:, None] / 10), axis=-2)
        return 10 * np.log10(np.maximum(mean, 1e-8))

    scales = {
        "mag_weight": lambda M: M,
        "delta_time_weight": lambda M: np.diff(M, axis=1),
        "delta_freq_weight": lambda M: np.diff(M, axis=2),
        "cumsum_freq_weight": lambda M: np.cumsum(M, axis=2),
        "logmag_weight": lambda M: np.log(np.where(M > 0, M, 1e-5)),
    }
    total = 0.0
    for n in sizes:
        M_x, M_y = magnitudes(x, n), magnitudes(y, n)
        for name, scale in scales.items():
            total += weights.get(name, 0.0) * distance(scale(M_x), scale(M_y))
    loud = weights.get("loudness_weight", 0.0)
    return total + loud * distance(loudness(x), loudness(y))


def audiotools(x, y, windows=(2048, 512), mels=None, mag=1.0, pow=2.0, sr=44100):
    total = 0.0
    for i, n in enumerate(windows):
        S_x, S_y = (np.abs(torch_stft(s, n, n // 4, n)) for s in (x, y))
        if mels is not None:
            matrix = slaney(sr, n, mels[i])
            S_x, S_y = matrix @ S_x, matrix @ S_y
        logs = (np.log10(np.maximum(S, 1e-5) ** pow) for S in (S_x, S_y))
        total += l1(*logs) + mag * l1(S_x, S_y)
    return total


def rave(x, y, scales=(2048, 1024, 512, 256, 128), eps=1e-7):
    total = 0.0
    for n in scales:
        M_x, M_y = (np.abs(torch_stft(s, n, n // 4, n)) for s in (x, y))
        total += l2(M_x, M_y) / np.mean(M_y**2)
        total += l1(np.log(M_x + eps), np.log(M_y + eps))
    return total


def modulated(h, n_bands, sign=1):
    """The filters of a cosine-modulated filter bank with an odd number of taps."""
    k, t = np.arange(n_bands)[:, None], np.arange(len(h)) - len(h) // 2
    phases = sign * (-1.0) ** k * np.pi / 4
    return 2 * h * np.cos((2 * k + 1) * np.pi / (2 * n_bands) * t + phases)


def kaiser_sinc(taps=62, cutoff_ratio=0.142, beta=9.0):
    n = np.arange(taps + 1) - taps / 2
    with np.errstate(invalid="ignore"):
        h = np.sin(np.pi * cutoff_ratio * n) / (np.pi * n)
    h[taps // 2] = cutoff_ratio
    return h * scipy.signal.windows.kaiser(taps + 1, beta)


def pqmf(x, n_bands=4, **prototype):
    """ParallelWaveGAN's analysis: filter all samples, then keep every Kth."""
    filters = modulated(kaiser_sinc(**prototype), n_bands)
    n, half = x.shape[-1] // n_bands, filters.shape[-1] // 2
    z = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(half, half)])
    windows = np.lib.stride_tricks.sliding_window_view(z, filters.shape[-1], -1)
    bands = np.einsum("...tj,kj->...kt", windows, filters)
    return bands[..., ::n_bands][..., :n]


def pqmf_synthesis(bands, **prototype):
    """ParallelWaveGAN's synthesis: insert zeros, multiply by K, and filter."""
    n_bands, n = bands.shape[-2:]
    filters = modulated(kaiser_sinc(**prototype), n_bands, -1)
    half = filters.shape[-1] // 2
    up = np.zeros((*bands.shape[:-1], n * n_bands))
    up[..., ::n_bands] = n_bands * bands
    up = np.pad(up, [(0, 0)] * (up.ndim - 1) + [(half, half)])
    windows = np.lib.stride_tricks.sliding_window_view(up, filters.shape[-1], -1)
    return np.einsum("...ktj,kj->...t", windows, filters)


SUB_SIZES = ((384, 30, 150), (683, 60, 300), (171, 10, 60))


def mb_melgan(x, y, sizes=SIZES, sub_sizes=SUB_SIZES, n_bands=4, **prototype):
    bands = [pqmf(s, n_bands, **prototype) for s in (x, y)]
    x_sub, y_sub = (b.reshape(-1, b.shape[-1]) for b in bands)
    full = parallel_wavegan(x, y, sizes)
    return 0.5 * full + 0.5 * parallel_wavegan(x_sub, y_sub, sub_sizes)


def rave_filters(n_bands, attenuation):
    """RAVE's filters, padded to a power of 2."""

    def kaiser_filter(wc):
        n, beta = scipy.signal.kaiserord(attenuation, wc / np.pi)
        n, window = 2 * (n // 2) + 1, ("kaiser", beta)
        return scipy.signal.firwin(n, wc, window=window, scale=False, fs=2 * np.pi)

    def loss(wc):
        h = kaiser_filter(wc[0])
        g = np.convolve(h, h[::-1], "full")
        return np.max(np.abs(g[len(g) // 2 :: 2 * n_bands][1:]))

    h = kaiser_filter(scipy.optimize.fmin(loss, 1 / n_bands, disp=False)[0])
    pad = 2 ** math.ceil(math.log2(len(h))) - len(h)
    return np.pad(modulated(h, n_bands), [(0, 0), (pad // 2, pad // 2 + pad % 2)])


def rave_bands(x, n_bands=16, attenuation=100):
    """RAVE's analysis: its `classic_forward` and `reverse_half`."""
    filters = rave_filters(n_bands, attenuation)
    n = x.shape[-1] // n_bands
    z = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(filters.shape[-1] // 2,) * 2])
    windows = np.lib.stride_tricks.sliding_window_view(z, filters.shape[-1], -1)
    bands = np.einsum("...tj,kj->...kt", windows[..., ::n_bands, :], filters)[..., :n]
    bands[..., 1::2, ::2] *= -1
    return bands


def rave_objective(x, y, scales, n_bands=16, attenuation=100):
    bands = [rave_bands(s, n_bands, attenuation) for s in (x, y)]
    x_sub, y_sub = (b.reshape(-1, b.shape[-1]) for b in bands)
    return rave(x, y, scales) + rave(x_sub, y_sub, scales)


def decay_curve(x, normalize=False):
    energy = np.cumsum(x[::-1] ** 2)[::-1]
    return 10 * np.log10(energy / (energy[0] if normalize else 1))


def flamo_edc(x, y, energy_norm=False, clip=False, convergence=False):
    """Of one signal."""
    n = round(0.995 * x.shape[-1])
    D_x, D_y = (decay_curve(a[:n], energy_norm) for a in (x, y))
    if clip:
        is_low = D_y < D_y[0] - 60
        assert 0.1 < is_low.mean() < 0.9
        D_x, D_y = (np.where(is_low, -180, D) for D in (D_x, D_y))
    value = np.mean((D_x - D_y) ** 2)
    return value / np.mean(D_y**2) if convergence else value


def flamo_edr(x, y):
    """Of one signal at 48 kHz."""

    def relief(x):
        P = power(torch_stft(x[None], 1024, 480, 960))
        S = slaney(48000, 1024, 64, 20.0, 24000) @ P
        return 10 * np.log10(np.cumsum(S[..., ::-1] ** 2, -1)[..., ::-1])

    R_x, R_y = relief(x), relief(y)
    return np.sum(np.abs(R_x - R_y)) / np.sum(np.abs(R_y))


def mp_senet(x, y, sizes=(400, 100, 400), p=0.3, S=None, weight=0.1):
    """MP-SENet's loss. With the spectra `S` of the estimate, plus their consistency."""
    n_fft, hop, win_length = sizes
    X, Y = (torch_stft(s, n_fft, hop, win_length) for s in (x, y))
    X = X if S is None else S

    def compressed(X):
        return X * (power(X) + 1e-9) ** ((p - 1) / 2)

    def wrapped(d):
        return np.mean(np.abs(d - 2 * np.pi * np.round(d / (2 * np.pi))))

    angles = [np.angle(X + 0.0), np.angle(Y + 0.0)]
    total = 0.3 * wrapped(angles[0] - angles[1])
    for axis in (-2, -1):
        first, second = (np.diff(a, axis=axis) for a in angles)
        total += 0.3 * wrapped(first - second)
    total += 0.9 * l2(*((power(Z) + 1e-9) ** (p / 2) for Z in (X, Y)))
    total += 0.1 * np.mean(power(compressed(X) - compressed(Y))) + 0.2 * l1(x, y)
    if S is not None:
        again = compressed(torch_stft(x, n_fft, hop, win_length))
        total += weight * np.mean(power(compressed(S) - again))
    return total


def asteroid(x, y, sizes=None, alpha=1.0):
    """asteroid's loss, with spectra as products of filters with frames."""
    sizes = sizes or [(n, n, n // 2) for n in (2048, 1024, 512, 256, 128, 64, 32)]
    total = 0.0
    for n, width, hop in sizes:
        left = (n - width) // 2
        k, t = np.arange(n // 2 + 1)[:, None], np.arange(left, left + width)
        filters = np.exp(-2j * np.pi * k * t / n) * np.sqrt(window_of("hann", width))
        filters /= 0.5 * np.sqrt(width * n / hop)
        filters[[0, -1]] /= np.sqrt(2)

        def magnitudes(s, filters=filters, width=width, hop=hop):
            frames = np.lib.stride_tricks.sliding_window_view(s, width, -1)[:, ::hop]
            return np.sqrt(power(frames @ filters.T) + 1e-8)

        M_x, M_y = magnitudes(x), magnitudes(y)
        logs = np.log(M_x + 1e-8) - np.log(M_y + 1e-8)
        total += np.sum(np.abs(M_x - M_y)) + alpha * np.sum(np.abs(logs))
    return total / len(x)


def sound_matching(x, y, sr):
    """Transport after a low-pass, by cumulative masses; and cumulative energies."""
    decay = 2 * np.pi * 60 / sr
    taps = [(n + 1) * np.exp(-decay * n) for n in range(int(np.ceil(9 / decay)))]
    taps = np.array(taps) / np.sum(taps)
    unit = 2.0 ** (np.ceil(np.log2(np.max(taps))) - 32)
    taps = np.round(taps / unit) * unit  # the recipe keeps 32 bits of the largest
    n = 2 ** round(np.log2(0.12 * sr))
    f = np.maximum(np.fft.rfftfreq(n, 1 / sr), 32.7)
    places = np.log(f / 32.7) / np.log(sr / 2 / 32.7)
    masses = []
    for signals in (x, y):
        padded = np.pad(signals, ((0, 0), (len(taps) // 2, len(taps))))
        low = np.stack([np.correlate(s, taps) for s in padded])[:, : x.shape[-1]]
        S = power(torch_stft(low, n, n // 8, n, "flattop", center=False))
        masses.append(np.cumsum(S / S.sum(-2, keepdims=True), -2))
    moved = np.diff(places) @ np.abs(masses[0] - masses[1])[..., :-1, :]
    n //= 2
    S_x, S_y = (power(torch_stft(s, n, n // 4, n, center=False)) for s in (x, y))
    differences = []
    for axes in ((), (-1,), (-2,), (-2, -1)):
        energy = S_y.sum((-2, -1), keepdims=True)
        flipped = [np.flip(S, axes) / energy for S in (S_x, S_y)]
        a, b = (np.sqrt(np.maximum(S.cumsum(-2).cumsum(-1), 1e-12)) for S in flipped)
        differences.append(np.sqrt(np.mean((a - b) ** 2, (-2, -1))))
    return np.mean(moved) + 2 * np.mean(differences)
