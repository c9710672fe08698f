"""STOI, ESTOI and PMSQE in NumPy, in float64, from their descriptions.

The only code shared with korvax_eqx are the tables of Bark bands, which `test_pmsqe`
compares with those of others. Signals have the shape `(n_samples,)`.
"""

import math

import numpy as np
import scipy.signal

from korvax_eqx._tables._bark import bark_bands

HANN = np.hanning(258)[1:-1]


def at_10k(x, sr):
    if sr == 10000:
        return x
    common = math.gcd(sr, 10000)
    p, q = 10000 // common, sr // common
    cutoff = 1 / (2 * max(p, q))
    half = math.ceil((60 - 8) / (28.714 * cutoff / 10))
    t = np.arange(-half, half + 1)
    taps = np.kaiser(2 * half + 1, 0.1102 * (60 - 8.7)) * np.sinc(2 * cutoff * t)
    return scipy.signal.resample_poly(x, p, q, window=taps / taps.sum())


def frames(x):
    starts = range(0, len(x) - 256, 128)
    return np.array([HANN * x[i : i + 256] for i in starts])


def added(parts):
    out = np.zeros(128 * (len(parts) + 1))
    for i, part in enumerate(parts):
        out[128 * i : 128 * i + 256] += part
    return out


def bands(x):
    power = np.abs(np.fft.rfft(frames(x), 512)) ** 2
    edges = 150 * 2.0 ** ((2 * np.arange(16) - 1) / 6)
    bins = np.arange(257) * 10000 / 512
    first = [np.argmin(np.abs(bins - edge)) for edge in edges]
    rows = [power[:, a:b].sum(1) for a, b in zip(first, first[1:], strict=False)]
    return np.sqrt(np.array(rows))


def unit(v, axis):
    v = v - v.mean(axis, keepdims=True)
    return v / np.linalg.norm(v, axis=axis, keepdims=True)


def stoi(x, y, sr, extended, n=30):
    """STOI or ESTOI of the estimate `x` for the target `y`."""
    x, y = at_10k(x, sr), at_10k(y, sr)
    f_x, f_y = frames(x), frames(y)
    level = np.linalg.norm(f_y, axis=1)
    kept = level > level.max() / 100
    b_x, b_y = bands(added(f_x[kept])), bands(added(f_y[kept]))
    scores = []
    for m in range(n, b_x.shape[1] + 1):
        a, b = b_x[:, m - n : m], b_y[:, m - n : m]
        if extended:
            scores.append(np.sum(unit(unit(a, 1), 0) * unit(unit(b, 1), 0)) / n)
            continue
        gain = np.linalg.norm(b, axis=1) / np.linalg.norm(a, axis=1)
        a = np.minimum(a * gain[:, None], b * (1 + 10 ** (15 / 20)))
        scores.append(np.mean(np.sum(unit(a, 1) * unit(b, 1), axis=1)))
    return np.mean(scores)


def bark_tables(sr):
    """Bands of PESQ, from korvax_eqx: `test_pmsqe` checks them."""
    table = bark_bands(sr)
    return table.matrix, table.widths, table.thresholds, table.exponents


def aligned(P, n_fft, window_power):
    """Powers at the level of PESQ, the weighted mean of the bins 11 to 104."""
    weights = np.zeros(n_fft // 2 + 1)
    weights[11:105] = 1
    weights[11], weights[104] = 0.4, 0.5
    mean = np.mean(P * weights) * (n_fft + 2) / n_fft**2 / window_power
    return 1e7 * P / mean


def pmsqe(x, y, sr, bark_eq=True, gain_eq=True, eps=1e-8):
    """PMSQE of two signals, written from its description."""
    n = sr * 32 // 1000
    window = np.sqrt(scipy.signal.get_window("hann", n))
    P_x, P_y = (
        np.abs(
            [
                np.fft.rfft(s[i : i + n] * window)
                for i in range(0, len(s) - n + 1, n // 2)
            ]
        )
        ** 2
        for s in (x, y)
    )
    matrix, widths, heard, exponents = bark_tables(sr)
    b_x, b_y = (aligned(P, n, np.mean(window**2)) @ matrix for P in (P_x, P_y))

    def audible(b, factor):
        return (b * (b > factor * heard)).sum(-1, keepdims=True)

    if bark_eq:
        loud = (audible(b_y, 100) >= 1e7) & (b_y >= 100 * heard)
        gain = ((b_y * loud).sum(0) + 1000) / ((b_x * loud).sum(0) + 1000)
        b_x = b_x * np.clip(gain, 0.01, 100)
    if gain_eq:
        gain = (audible(b_y, 1) + 5000) / (audible(b_x, 1) + 5000)
        b_x = b_x * np.clip(gain, 3e-4, 5)

    def loudness(b):
        density = (heard / 0.5) ** exponents * ((0.5 + b / heard / 2) ** exponents - 1)
        return 0.1866055 * density * (b >= heard)

    l_x, l_y = loudness(b_x), loudness(b_y)
    d = np.maximum(np.abs(l_x - l_y) - np.minimum(l_x, l_y) / 4, eps) * widths
    factor = ((b_x + 50) / (b_y + 50)) ** 1.2
    factor = np.minimum(factor, 12) * (factor >= 3)
    weight = ((audible(b_y, 1)[:, 0] + 1e5) / 1e7) ** 0.04
    symmetric = np.sqrt((d**2 + eps).sum(-1)) * np.sqrt(widths.sum()) / weight
    asymmetric = (factor * d).sum(-1) / weight
    parts = np.minimum(symmetric, 45), np.minimum(asymmetric, 45)
    return np.mean(0.1 * parts[0] + 0.0309 * parts[1])
