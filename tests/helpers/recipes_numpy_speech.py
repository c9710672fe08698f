"""Original losses of codecs, vocoders and enhancement, in NumPy, in float64.

As in `recipes_numpy`, no code is shared with korvax_eqx. Signals have the shape
`(batch, n_samples)`, or `(batch, 2, n_samples)` for `stable_audio`.
"""

import librosa
import numpy as np
from recipes_numpy import (
    audiotools,
    convergence,
    floored,
    htk,
    l1,
    l2,
    power,
    slaney,
    torch_stft,
    window_of,
    windowed,
)

CODEC_SIZES = tuple((n, n // 4, n) for n in (32, 64, 128, 256, 512, 1024, 2048))
CODEC_MELS = (5, 10, 20, 40, 80, 160, 320)
STEREO_SIZES = tuple((n, n // 4, n) for n in (2048, 1024, 512, 256, 128, 64, 32))


def vocos(x, y, sr=24000, n_fft=1024, hop=256, n_mels=100):
    matrix = htk(sr, n_fft, n_mels, 0.0, None)

    def log_mel(s):
        M = np.abs(torch_stft(s, n_fft, hop, n_fft))
        return np.log(np.maximum(matrix @ M, 1e-7))

    return l1(log_mel(x), log_mel(y))


def bigvgan(x, y, sr, windows, mels, weight=1.0):
    return weight * audiotools(x, y, windows, mels, 0.0, 1.0, sr)


def stable_audio(x, y, taps, sizes=STEREO_SIZES, weights=(1.0, 1.0), lin=0.0):
    """The loss with the target first, as the project calls it."""
    x, y = y, x
    signs = {"sum": (1, 1), "diff": (1, -1), "left": (1, 0), "right": (0, 1)}
    factors = (*weights, 1.0, 1.0)
    total = 0.0
    for (a, b), factor in zip(signs.values(), factors, strict=True):
        mixes = [
            np.stack([np.convolve(a * s[0] + b * s[1], taps, "same") for s in signals])
            for signals in (x, y)
        ]
        for size in sizes:
            M_x, M_y = (floored(torch_stft(s, *size), 1e-8) for s in mixes)
            ratios = [convergence(p, q) for p, q in zip(M_x, M_y, strict=True)]
            value = np.mean(ratios) + l1(np.log(M_x), np.log(M_y)) + lin * l1(M_x, M_y)
            total += 0.5 * factor * value / len(sizes)
    return total


def nemo_codec(
    x,
    y,
    sr,
    sizes=CODEC_SIZES,
    mels=CODEC_MELS,
    scales=(10.0, 0.0, 10.0, 0.0),
    guards=(1.0, 1.0),
):
    l1_scale, l2_scale, stft_scale, time_scale = scales
    total = time_scale * l1(x, y)
    for (n_fft, hop, win_length), n_mels in zip(sizes, mels, strict=True):
        window = np.hanning(win_length)
        matrix = librosa.filters.mel(
            sr=sr, n_fft=n_fft, n_mels=n_mels, norm=None, dtype=np.float64
        )

        def magnitudes(s, mode, n_fft=n_fft, hop=hop, window=window):
            s = np.pad(s, [(0, 0), (n_fft // 2, n_fft // 2)], mode=mode)
            return np.sqrt(power(windowed(s, n_fft, hop, window)) + 1e-5)

        kept = slice(0, x.shape[-1] // hop)
        logs = [
            np.log(matrix @ magnitudes(s, "constant")[..., kept] + guards[0])
            for s in (x, y)
        ]
        value = l1_scale * l1(*logs) + l2_scale * l2(*logs)
        logs = [np.log(magnitudes(s, "reflect") + guards[1]) for s in (x, y)]
        total += (value + stft_scale * l1(*logs)) / len(sizes)
    return total


def gtcrn(x, y, weights=(30.0, 70.0, 1.0)):
    window = np.sqrt(window_of("hann", 512))
    X, Y = (
        windowed(np.pad(s, [(0, 0), (256, 256)], mode="reflect"), 512, 256, window)
        for s in (x, y)
    )
    m_x, m_y = (np.sqrt(power(S) + 1e-12) for S in (X, Y))
    total = weights[0] * np.mean(power(X / m_x**0.7 - Y / m_y**0.7))
    total += weights[1] * l2(m_x**0.3, m_y**0.3)
    factor = np.sum(x * y, -1, keepdims=True) / (np.sum(y**2, -1, keepdims=True) + 1e-8)
    t = factor * y
    ratio = np.sum(t**2, -1) / (np.sum((x - t) ** 2, -1) + 1e-8)
    return total - weights[2] * np.mean(np.log10(ratio + 1e-8))


def deepfilternet(
    x, y, sizes=(256, 512, 1024, 2048), gamma=0.3, factor=500.0, f_complex=(500.0,) * 4
):
    total = 0.0
    for n, complex_factor in zip(sizes, f_complex, strict=True):
        X, Y = (torch_stft(s, n, n // 4, n) / np.sqrt(n) for s in (x, y))
        floor = 0.0 if gamma == 1 else 1e-12
        A_x, A_y = (np.maximum(np.abs(S), floor) ** gamma for S in (X, Y))
        total += factor * l2(A_x, A_y)
        X, Y = A_x * np.exp(1j * np.angle(X)), A_y * np.exp(1j * np.angle(Y))
        parts = np.stack([X.real - Y.real, X.imag - Y.imag])
        total += complex_factor * np.mean(parts**2)
    return total


def apnet2(x, y, sr=22050, floor=1e-9, weights=(45.0, 100.0, 20.0, 45.0), meloss=None):
    X, Y = (torch_stft(s, 1024, 256, 1024) for s in (x, y))
    logs = (np.log(np.abs(S) + 1e-5) for S in (X, Y))
    total = weights[0] * l2(*logs)
    # With the matrices of the original project.
    phases = np.angle(X) - np.angle(Y)
    _, n_bins, n_frames = phases.shape

    def differences(n):
        return np.eye(n, k=1) - np.eye(n)

    delays = np.swapaxes(phases, -1, -2) @ differences(n_bins)
    for d in (phases, delays, phases @ differences(n_frames)):
        total += weights[1] * np.mean(np.abs(d - np.round(d / 2 / np.pi) * 2 * np.pi))
    parts = l1(X.real, Y.real) + l1(X.imag, Y.imag)
    total += weights[2] * 2.25 * parts
    matrix = slaney(sr, 1024, 80, 0.0, meloss)
    mels = (np.maximum(matrix @ np.sqrt(power(S) + floor), 1e-5) for S in (X, Y))
    return total + weights[3] * l1(*map(np.log, mels))


def freev(x, y):
    return apnet2(x, y, floor=0.0)
