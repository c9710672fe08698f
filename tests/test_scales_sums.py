"""Scales over several bins or frames: differences, sums, means, parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import DOUBLE, assert_equals_torch, close, refused, torch

import korvax_eqx as ke
from korvax_eqx._data import Spectra

RNG = np.random.default_rng(1)
S = RNG.standard_normal((2, 5, 7))
BIN_WEIGHTS = RNG.uniform(0.1, 1, 5)

CASES = {
    "time": (ke.Difference(), lambda S: torch.diff(S, dim=-1)),
    "frequency": (ke.Difference("frequency"), lambda S: torch.diff(S, dim=-2)),
    "sum": (ke.CumulativeSum(), lambda S: torch.cumsum(S, -2)),
    "sum down": (
        ke.CumulativeSum(reverse=True),
        lambda S: torch.flip(torch.cumsum(torch.flip(S, (-2,)), -2), (-2,)),
    ),
    "sum over time": (ke.CumulativeSum("time"), lambda S: torch.cumsum(S, -1)),
    "sum back": (
        ke.CumulativeSum("time", reverse=True),
        lambda S: torch.flip(torch.cumsum(torch.flip(S, (-1,)), -1), (-1,)),
    ),
    "mean": (ke.MeanOverBins(), lambda S: torch.mean(S, -2, keepdim=True)),
    "weighted mean": (
        ke.MeanOverBins(BIN_WEIGHTS),
        lambda S: torch.mean(S * torch.tensor(BIN_WEIGHTS)[:, None], -2, keepdim=True),
    ),
    "chain": (
        ke.Chain((ke.Difference(), ke.CumulativeSum(), ke.Difference())),
        lambda S: torch.diff(torch.cumsum(torch.diff(S, dim=-1), -2), dim=-1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_scale_is_the_formula(name):
    scale, naive = CASES[name]
    # A sum of squares, so that each entry has a gradient of its own.
    assert_equals_torch(
        lambda S: jnp.sum(scale(S) ** 2), lambda S: torch.sum(naive(S) ** 2), S
    )


@pytest.mark.parametrize("name", CASES)
def test_frames_beyond_the_end_do_not_count(name):
    scale, _ = CASES[name]
    counts = (7, 5, 3)
    with jax.enable_x64(True):
        frames = jnp.asarray(RNG.standard_normal((3, 7, 5)))  # frames first; all noise
        n_frames = jnp.asarray(counts, jnp.int32)
        data = scale.apply(Spectra(frames, n_frames))
        scaled, left = data.S, data.n_frames
        for i, n in enumerate(counts):
            alone = scale.apply(Spectra(frames[i : i + 1, :n])).S
            assert alone.shape[1] == int(left[i])
            close(scaled[i : i + 1, : int(left[i])], alone, 1e-14)


def test_complex_spectra():
    with jax.enable_x64(True):
        X = jnp.asarray(S + 1j * S[::-1])
        np.testing.assert_array_equal(ke.Difference()(X), np.diff(X, axis=-1))
        close(ke.CumulativeSum()(X), np.cumsum(X, -2), 1e-15)
        parts = ke.RealImaginary()(X)
        np.testing.assert_array_equal(parts, np.concatenate([X.real, X.imag], -2))


def _loudness(x, sr, n_fft, hop):
    """DDSP's: power weighted by 10^(A/10), mean over bins, dB, at least -80."""
    window = np.hanning(n_fft + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(x, n_fft)[::hop] * window
    power = np.abs(np.fft.rfft(frames)) ** 2
    f = np.arange(n_fft // 2 + 1) * sr / n_fft
    with np.errstate(divide="ignore"):
        poles = (f**2 + 20.598997**2) * (f**2 + 12194.217**2)
        poles = poles * np.sqrt((f**2 + 107.65265**2) * (f**2 + 737.86223**2))
        a_db = 2.0 + 20 * np.log10(12194.217**2 * f**4 / poles)
    weights = 10 ** (np.maximum(a_db, -80.0) / 10)
    mean = np.mean(power * weights, axis=-1)
    return 10 * np.log10(np.maximum(mean, 1e-8))


def test_loudness_of_ddsp():
    sr, n_fft, hop = 16000, 512, 64
    with jax.enable_x64(True):
        x = RNG.standard_normal(2000) * np.linspace(0, 1, 2000) ** 6
        x[:600] = 0.0
        frequencies = ke.fft_frequencies(sr=sr, n_fft=n_fft)
        weights = 10 ** (np.asarray(ke.A_weighting(frequencies)) / 10)
        loudness = ke.Chain(
            (ke.MeanOverBins(weights), ke.PowerToDB(amin=1e-8, top_db=None))
        )
        power = ke.Spectrogram(n_fft, hop, center=False)(jnp.asarray(x))
        expected = _loudness(x, sr, n_fft, hop)
        assert expected.min() == -80.0
        close(loudness(power)[0], expected, DOUBLE)
        # The other reading: dB of each bin with the weighting added, then their mean.
        per_bin = ke.Chain(
            (ke.PowerToDB(), ke.AWeighting(sr=sr, n_fft=n_fft), ke.MeanOverBins())
        )
        assert per_bin(power).shape == (1, power.shape[-1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ke.Difference("bins"), r"`Difference\(axis=...\)` must be one of"),
        (lambda: ke.Difference()(jnp.ones((3, 1))), r"at least two frames. Got .*3, 1"),
        (
            lambda: ke.Difference("frequency")(jnp.ones((1, 3))),
            r"at least two bins. Got the shape \(1, 3\)",
        ),
        (lambda: ke.CumulativeSum("bins"), r"`CumulativeSum\(axis=...\)` must be one"),
        (lambda: ke.MeanOverBins(()), r"`MeanOverBins\(weights=...\)` must be None or"),
        (lambda: ke.MeanOverBins(3), r"`MeanOverBins\(weights=...\)` must be None or"),
        (
            lambda: ke.MeanOverBins((1.0, 2.0))(jnp.ones((3, 4))),
            r"a bin for each of the 2 weights. Got the shape \(3, 4\)",
        ),
        (lambda: ke.RealImaginary()(jnp.ones((3, 4))), r"must be a complex spectrum"),
    ],
)
def test_refused(call, message):
    with refused(message):
        call()
