"""Objects for tests of saving: of user classes, and with all kinds of arguments."""

import io
import json
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from registry import SAMPLE_RATE

import korvax_eqx as ke


class Tilt(ke.AbstractScale):
    """A user's scale without a constructor of its own."""

    gain: Array
    offset: float
    name: str = eqx.field(static=True, default="tilt")

    def apply(self, data):
        return data.map(lambda S: self.gain * S + self.offset)


class Bands(ke.AbstractScale):
    """A user's scale whose constructor makes its parameters."""

    weights: Array
    n_bins: int = eqx.field(static=True)

    def __init__(self, n_bins: int):
        self.n_bins = n_bins
        self.weights = jnp.ones(n_bins)

    def apply(self, data):
        return data.map(lambda S: self.weights * S)


class Anything(eqx.Module):
    """A user's module that keeps any static value."""

    value: Any = eqx.field(static=True)


class Learnable(eqx.Module):
    """A user's module that keeps any array."""

    value: Any


class PositionOnly(ke.AbstractScale):
    """A user's scale with a constructor of all kinds of parameters."""

    a: int = eqx.field(static=True)
    b: int = eqx.field(static=True)
    c: Array | None

    def __init__(self, a: int = 1, b: int = 2, /, *, c: Array | None = None):
        self.a, self.b, self.c = a, b, c

    def apply(self, data):
        return data


CUSTOM = (Tilt, Bands, Anything, Learnable, PositionOnly)


def saved(loss) -> bytes:
    buffer = io.BytesIO()
    ke.save(buffer, loss)
    return buffer.getvalue()


def loaded(content: bytes, custom=()):
    return ke.load(io.BytesIO(content), custom=custom)


def assert_same(one, other):
    """Check equality to the last bit, for Equinox, JAX and its compilation cache."""
    assert type(one) is type(other)
    leaves, structure = jax.tree.flatten(one)
    others, other_structure = jax.tree.flatten(other)
    assert structure == other_structure and hash(structure) == hash(other_structure)
    assert repr(structure) == repr(other_structure)  # which tells 8 from 8.0
    assert bool(one == other)
    for a, b in zip(leaves, others, strict=True):
        assert type(a) is type(b)
        if eqx.is_array_like(a) and not eqx.is_array(a):
            assert a == b
            continue
        assert (a.dtype, a.shape, a.weak_type) == (b.dtype, b.shape, b.weak_type)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def assert_round_trips(loss, custom=()):
    assert_same(loaded(saved(loss), custom), loss)
    assert_config_round_trips(loss, custom)


def assert_config_round_trips(loss, custom=()):
    config = ke.to_config(loss)
    text = json.dumps(config, allow_nan=False)
    assert json.loads(text) == config  # plain values only: no tuples, no arrays
    assert_same(ke.from_config(json.loads(text), custom=custom), loss)


def triangle(n: int) -> np.ndarray:
    """A window of exact numbers: files that hold it are kept for all platforms."""
    steps = np.arange(n)
    return np.minimum(steps + 1, n - steps) / n


def learnable_everywhere() -> ke.TimeFrequencyLoss:
    positions = jnp.asarray(np.arange(129, dtype=np.float32) / 128)
    window = triangle(256).astype(np.float32)
    return ke.TimeFrequencyLoss(
        ke.Spectrogram(256, 64, window=jnp.asarray(window)),
        [ke.SpectralOptimalTransportLoss(positions, p=1), ke.ElementwiseLoss("L2")],
        [ke.Identity(), ke.Chain((ke.MelScale(8000, 256, 20), ke.Log(jnp.array(2.0))))],
        weights=jnp.array([0.75, 0.25]),
    )


def named_losses():
    nested = ke.SumLoss({"z": ke.WaveformLoss(), "y": ke.ESRLoss()}, [1.0, 2.0])
    return {"b": nested, "a": ke.WaveformLoss("L2")}


def config_variants():
    basis = (np.arange(20 * 129) % 37 / 64).reshape(20, 129)
    samples = triangle(64).astype(np.float32)
    rows: dict[str, Any] = {"sr": SAMPLE_RATE, "n_fft": 256}
    return {
        "window-tuple": ke.STFT(256, window=("kaiser", 8.0)),
        "window-tuple-int": ke.STFT(256, window=("kaiser", 8)),
        "window-number": ke.STFT(256, window=8.0),
        "window-general": ke.STFT(256, window=("general_cosine", (0.5, 0.25, 0.25))),
        "window-numpy": ke.STFT(256, window=samples),
        "window-numpy-swapped": ke.STFT(256, window=samples.astype(">f8")),
        "window-small": ke.STFT(8, window=np.array([0.1, -0.0, 1e-300, 1.0])),
        "windows": ke.MRSTFTLoss((8, 8), (64, 64), window=["hann", ("kaiser", 8.0)]),
        "windows-names": ke.MRSTFTLoss((8, 8), (64, 64), window=["hann", "hamming"]),
        "windows-mixed": ke.MRSTFTLoss(
            (8, 8, 8), (64,) * 3, window=[samples, jnp.asarray(samples), "hann"]
        ),
        "windows-learnable": ke.MRSTFTLoss(
            (8, 8), (64, 64), window=[jnp.asarray(samples), jnp.asarray(samples) / 2]
        ),
        "basis": ke.MelSpectrogram(**rows, n_mels=20, basis=basis),
        "basis-learnable": ke.MFCC(**rows, n_mels=20, basis=jnp.asarray(basis)),
        "norm-inf": ke.MelScale(**rows, norm=math.inf),
        "norm-none": ke.MelScale(**rows, norm=None, fmax=4000),
        "positions": ke.SpectralOptimalTransportLoss(positions=[0, 0.1, 5]),
        "frequencies": ke.AWeighting(frequencies=[20, 1000.5, 3000]),
        "frequencies-array": ke.CWeighting(frequencies=np.array([20.0, 1000.5])),
        "reference": ke.AmplitudeToDB(ref=jnp.array(0.5), top_db=None),
        "weights": ke.MRSTFTLoss(w_lin=jnp.array(0.1), w_log=0, piece_size=3),
        "pieces": ke.SmoothMRSTFTLoss(piece_size=None),
        "fmax": ke.VQT(8000, 100, 110.0, fmax=880, norm_kernels=math.inf, power=None),
        "nested": ke.Chain((ke.Chain((ke.Chain((ke.Log(),)), ke.Identity())),)),
        "learnable": learnable_everywhere(),
    }


def named_variants():
    """Weights by position, for names that are not in alphabetical order."""
    return {
        "named": ke.SumLoss(named_losses(), [3.0, 0.5]),
        "named-array": ke.SumLoss(named_losses(), jnp.array([3.0, 0.5])),
        "named-names": ke.SumLoss(named_losses(), {"a": 0.5, "b": jnp.array(3.0)}),
        "drawn": ke.RandomSubsetLoss(named_losses(), 2, [3.0, 0.5]),
        "drawn-array": ke.RandomSubsetLoss(named_losses(), 1, jnp.array([3.0, 0.5])),
    }
