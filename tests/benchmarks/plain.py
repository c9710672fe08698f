"""Losses as one would write them in ten lines of `jax.numpy`: what ours must beat."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.signal

import korvax_eqx as ke
from korvax_eqx._tables._pqmf import analysis_taps

SIZES = (64, 128, 256, 512, 1024, 2048)
SMOOTH = ((67, 32), (127, 63), (257, 128), (509, 254), (1021, 510), (2053, 1026))


def window(name: str, n: int) -> np.ndarray:
    return scipy.signal.get_window(name, n, fftbins=True).astype(np.float32)


def stft(
    x: Any,
    n: int,
    hop: int,
    win: int | None = None,
    name: str = "hann",
    mode: str | None = "constant",
) -> Any:
    """Spectra of frames; frames of whole hops from shifted views, others gathered."""
    win = win or n
    w = np.zeros(n, np.float32)
    w[(n - win) // 2 : (n - win) // 2 + win] = window(name, win)
    if mode is not None:
        widths = [(0, 0)] * (x.ndim - 1) + [(n // 2, n - n // 2)]
        x = jnp.pad(x, widths, mode=mode)
    n_frames = 1 + (x.shape[-1] - n) // hop
    if n % hop == 0:
        k = n // hop
        blocks = x[..., : (n_frames + k - 1) * hop].reshape(*x.shape[:-1], -1, hop)
        frames = jnp.concatenate(
            [blocks[..., j : j + n_frames, :] for j in range(k)], -1
        )
    else:
        frames = x[..., np.arange(n_frames)[:, None] * hop + np.arange(n)]
    return jnp.fft.rfft(frames * w)


def magnitude(X: Any) -> Any:
    p = X.real**2 + X.imag**2
    return jnp.where(p > 0, jnp.sqrt(jnp.where(p > 0, p, 1)), 0)


def magnitudes(x: Any) -> list[Any]:
    return [magnitude(stft(x, n, n // 2)) for n in SIZES]


def mrstft(x: Any, y: Any, lengths: Any = None, spectra: Any = None) -> Any:
    total: Any = 0.0
    if lengths is not None:
        within = np.arange(x.shape[-1]) < lengths[:, None]
        x, y = jnp.where(within, x, 0), jnp.where(within, y, 0)
    targets = magnitudes(y) if spectra is None else spectra
    for n, a, b in zip(SIZES, magnitudes(x), targets, strict=True):
        linear = jnp.abs(a - b)
        log = jnp.abs(jnp.log(a + 1e-7) - jnp.log(b + 1e-7))
        if lengths is None:
            total += jnp.mean(linear) + jnp.mean(log)
            continue
        n_frames = 1 + lengths // (n // 2)
        valid = (np.arange(a.shape[-2]) < n_frames[:, None])[..., None]
        each = [jnp.sum(jnp.where(valid, v, 0), (-2, -1)) for v in (linear, log)]
        total += jnp.mean((each[0] + each[1]) / (n_frames * a.shape[-1]))
    return total / len(SIZES)


def smooth(x: Any, y: Any) -> Any:
    total: Any = 0.0
    for n, hop in SMOOTH:
        a, b = (magnitude(stft(v, n, hop, name="flattop")) for v in (x, y))
        total += jnp.mean((jnp.log(a + 1) - jnp.log(b + 1)) ** 2)
    return total / len(SMOOTH)


def auraloss(x: Any, y: Any) -> Any:
    total: Any = 0.0
    for n, hop, win in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        spectra = [stft(v, n, hop, win, mode="reflect") for v in (x, y)]
        powers = [X.real**2 + X.imag**2 for X in spectra]
        a, b = (jnp.sqrt(jnp.maximum(p, 1e-8)) for p in powers)
        total += jnp.sqrt(jnp.sum((b - a) ** 2)) / jnp.sqrt(jnp.sum(b**2))
        total += jnp.mean(jnp.abs(jnp.log(a) - jnp.log(b)))
    return total / 3


def mel_bands(x: Any, sr: float, n: int, hop: int, m: int, mode: str, p: int) -> Any:
    M = np.asarray(ke.MelScale(sr, n, m).matrix, np.float32).T
    S = magnitude(stft(x, n, hop, mode=mode)) ** p
    return jnp.matmul(S, M, precision="highest")


def log_mel(
    x: Any,
    y: Any,
    sr: float = 22050,
    n: int = 1024,
    hop: int = 256,
    m: int = 80,
    mode: str = "constant",
) -> Any:
    a, b = (mel_bands(v, sr, n, hop, m, mode, 1) for v in (x, y))
    logs = [jnp.log(jnp.maximum(v, 1e-5)) for v in (a, b)]
    return jnp.mean(jnp.abs(logs[0] - logs[1]))


def dac(x: Any, y: Any) -> Any:
    bands = (5, 10, 20, 40, 80, 160, 320)
    sizes = (32, 64, 128, 256, 512, 1024, 2048)
    pairs = zip(sizes, bands, strict=True)
    return sum(log_mel(x, y, 44100, n, n // 4, m, "reflect") for n, m in pairs)


def mfcc(x: Any, y: Any) -> Any:
    D = scipy.fft.dct(np.eye(80), norm="ortho", axis=0)[:20].astype(np.float32)
    both = []
    for v in (x, y):
        bands = mel_bands(v, 22050, 1024, 256, 80, "constant", 2)
        db = 10 * jnp.log10(jnp.maximum(bands, 1e-6))
        db = jnp.maximum(db, jnp.max(db, (-2, -1), keepdims=True) - 80)
        both.append(jnp.matmul(db, D.T, precision="highest"))
    return jnp.mean(jnp.abs(both[0] - both[1]))


def cqt(x: Any, y: Any) -> Any:
    """Frames times all kernels, padded to the longest."""
    kernels = ke.CQT(22050, fmin=65.4).kernels
    n, hop = kernels.frame_length, 512
    table = np.zeros((n, len(kernels.kernels)), np.complex64)
    for k, (first, kernel) in enumerate(
        zip(kernels.starts, kernels.kernels, strict=True)
    ):
        table[first : first + len(kernel), k] = np.conj(kernel)
    both = []
    for v in (x, y):
        v = jnp.pad(v, [(0, 0)] * (v.ndim - 1) + [(n // 2, n // 2)])
        n_frames = 1 + (v.shape[-1] - n) // hop
        frames = v[..., np.arange(n_frames)[:, None] * hop + np.arange(n)]
        parts = [
            jnp.matmul(frames, part, precision="highest")
            for part in (table.real, table.imag)
        ]
        both.append(parts[0] ** 2 + parts[1] ** 2)
    return jnp.mean(jnp.abs(both[0] - both[1]))


def pitch(x: Any, y: Any) -> Any:
    masses = []
    for v in (x, y):
        X = stft(v, 2048, 256, name="flattop", mode=None)
        S = X.real**2 + X.imag**2
        masses.append(S / (jnp.sum(S, -1, keepdims=True) + 1e-12))
    between = jnp.cumsum(masses[0] - masses[1], -1)[..., :-1]
    return jnp.mean(jnp.sum(jnp.abs(between), -1)) / masses[0].shape[-1]


def wave(x: Any, y: Any) -> Any:
    return jnp.mean(jnp.abs(x - y))


def esr(x: Any, y: Any) -> Any:
    return jnp.mean(jnp.sum((x - y) ** 2, -1) / (jnp.sum(y**2, -1) + 1e-8))


def si_sdr(x: Any, y: Any) -> Any:
    x, y = (v - jnp.mean(v, -1, keepdims=True) for v in (x, y))
    energy = jnp.sum(y**2, -1, keepdims=True) + 1e-8
    t = jnp.sum(x * y, -1, keepdims=True) / energy * y
    error, signal = jnp.sum((x - t) ** 2, -1), jnp.sum(t**2, -1)
    return jnp.mean(10 * jnp.log10(error + 1e-8) - 10 * jnp.log10(signal + 1e-8))


def snr(x: Any, y: Any) -> Any:
    """Of at most 30 dB."""
    x, y = (v - jnp.mean(v, -1, keepdims=True) for v in (x, y))
    signal = jnp.sum(y**2, -1)
    error = jnp.sum((x - y) ** 2, -1) + 1e-3 * signal + 1e-8
    return jnp.mean(10 * jnp.log10(error) - 10 * jnp.log10(signal + 1e-8))


def compressed(x: Any, y: Any) -> Any:
    X, Y = (stft(v, 512, 128) for v in (x, y))
    powers = [jnp.maximum(Z.real**2 + Z.imag**2, 1e-12) for Z in (X, Y)]
    gains = [p**-0.35 for p in powers]
    D, A = X * gains[0] - Y * gains[1], powers[0] ** 0.15 - powers[1] ** 0.15
    return jnp.mean(D.real**2 + D.imag**2) + jnp.mean(A**2)


def bands(x: Any, y: Any) -> Any:
    """Of four sub-bands, by a convolution."""
    taps = analysis_taps(4, 62, 0.142, 9.0).astype(np.float32)[:, None]
    pad, n = [(31, 31)], 4 * (x.shape[-1] // 4)
    x, y = (
        jax.lax.conv_general_dilated(
            v[:, None, :n], taps, (4,), pad, precision="highest"
        )
        for v in (x, y)
    )
    return mrstft(x, y)


def sources(x: Any, y: Any) -> Any:
    """In the order that is best: signals of shape (batch, n_sources, n_samples)."""
    n, pairs = x.shape[-2], zip(magnitudes(x), magnitudes(y), strict=True)
    costs: Any = 0.0
    for A, B in pairs:
        A, B = A[:, :, None], B[:, None]
        log = jnp.abs(jnp.log(A + 1e-7) - jnp.log(B + 1e-7))
        costs += jnp.mean(jnp.abs(A - B), (-2, -1)) + jnp.mean(log, (-2, -1))
    orders = np.array(list(itertools.permutations(range(n))))
    sums = jnp.mean(costs[:, orders, np.arange(n)], -1)
    return jnp.mean(jnp.min(sums, -1)) / len(SIZES)


def total(x: Any, y: Any) -> Any:
    return mrstft(x, y) + log_mel(x, y) + wave(x, y) + si_sdr(x, y)
