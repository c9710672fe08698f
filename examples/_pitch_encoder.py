"""The signals, model, losses and measures of `train_pitch_encoder.py`."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _archive import read, write
from jaxtyping import Array, Float

import korvax_eqx as kx

FORMAT = "korvax_eqx pitch encoder checkpoint 1"
SR = 16_000
SAMPLES = 4096  # of a signal
FREQUENCIES = (40.0, 1950.0)  # Hz, of the signals
AMPLITUDES = (0.4, 1.0)  # of their harmonics
PEAK = 0.9
MOST_HARMONICS = 8  # of a signal

FMIN, BINS_PER_OCTAVE, N_BINS = 32.7, 36, 285
TEMPERATURE = 0.1  # of the softmax over the bins
SHARES = (0.7, 0.2, 0.1)  # for training, validation and test

LOSSES: dict[str, Callable[[], kx.AbstractLoss]] = {
    "PitchTransportLoss": kx.PitchTransportLoss,
    "recipes.mrstft": kx.recipes.mrstft,
    "MRSTFTLoss": kx.MRSTFTLoss,
    "SmoothMRSTFTLoss": kx.SmoothMRSTFTLoss,
    "recipes.sot_paper": kx.recipes.sot_paper,
    "recipes.sound_matching": lambda: kx.recipes.sound_matching(SR),
    "recipes.ddsp, lin and log": lambda: kx.recipes.ddsp(logmag_weight=1.0),
}
# The paper's baseline. The default leaves it out, for time.
BASELINE = "recipes.ddsp, lin and log"


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of all runs of a study."""

    losses: tuple[str, ...] = tuple(name for name in LOSSES if name != BASELINE)
    seeds: int = 3
    signals: int = 4000
    frames: int = 1  # of each signal that the encoder sees
    # Whether the synthesiser is told the amplitudes: then only the pitch is learned.
    told: bool = True
    harmonics: int = 8  # of the synthesiser, if it is not told
    channels: tuple[int, ...] = (16, 12, 12, 8, 3)
    dropout: float = 0.0
    batch: int = 16
    epochs: int = 5
    every: int = 1  # epochs between two validations
    rate: float = 1e-3  # learning rate
    falls: bool = True  # whether the rate falls to 0 (half a cosine) or stays
    decay: float = 1e-4  # weight decay, added to the gradient

    @property
    def runs(self) -> list[tuple[str, int]]:
        """A loss and a seed each."""
        return [(name, seed) for name in self.losses for seed in range(self.seeds)]

    @property
    def sizes(self) -> list[int]:
        """How many signals are for training, validation and test."""
        return [round(share * self.signals) for share in SHARES]

    @property
    def steps(self) -> int:
        """How many steps an epoch has; the signals left over are not used in it."""
        return self.sizes[0] // self.batch


# As in the paper and its code.
COMPLETE = Settings(
    losses=tuple(LOSSES),
    seeds=5,
    frames=16,
    told=False,
    harmonics=20,
    batch=64,
    channels=(40, 30, 30, 10, 3),
    dropout=0.5,
    epochs=500,
    every=5,
    rate=1e-4,
    falls=False,
)
QUICK = Settings(
    losses=("PitchTransportLoss",),
    seeds=2,
    signals=40,
    channels=(4, 4, 4, 4, 1),
    batch=4,
    epochs=2,
)


class Signals(NamedTuple):
    """Harmonic signals, what the encoder sees of them, and their pitch."""

    x: Float[np.ndarray, "n samples"]
    features: Float[np.ndarray, "n frames bins"]
    amplitudes: Float[np.ndarray, "n harmonics"]
    f0: Float[np.ndarray, " n"]

    def part(self, rows: Any) -> "Signals":
        return Signals(*(values[rows] for values in self))


@functools.cache
def make_signals(settings: Settings) -> tuple[Signals, Signals, Signals]:
    """Return the signals for training, validation and test: the same at each call."""
    n = settings.signals
    rng = np.random.default_rng(0)
    f0 = rng.uniform(*FREQUENCIES, n).astype(np.float32)
    amplitudes = rng.uniform(*AMPLITUDES, (n, MOST_HARMONICS)).astype(np.float32)
    count = rng.integers(1, MOST_HARMONICS + 1, n)
    amplitudes *= np.arange(MOST_HARMONICS) < count[:, None]

    @jax.jit
    def make(f0: Array, amplitudes: Array) -> tuple[Array, Array, Array]:
        x = jax.vmap(synthesise)(f0[:, None], amplitudes[:, None])
        gain = PEAK / jnp.max(jnp.abs(x), axis=-1, keepdims=True)
        return gain * x, features(gain * x, settings.frames), gain * amplitudes

    # In pieces, for memory.
    pieces = [make(f0[i : i + 40], amplitudes[i : i + 40]) for i in range(0, n, 40)]
    arrays = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    ends = np.cumsum(settings.sizes)
    whole = Signals(*arrays, f0)
    train, validation, test = (
        whole.part(slice(end - size, end))
        for size, end in zip(settings.sizes, ends, strict=True)
    )
    return train, validation, test


def cqt(frames: int) -> kx.CQT:
    """Return the transform that the encoder sees: one frame is the middle of three."""
    hop = SAMPLES // max(frames, 2)
    return kx.CQT(SR, hop, FMIN, None, N_BINS, BINS_PER_OCTAVE, power=1.0)


def features(x: Float[Array, "n samples"], frames: int) -> Float[Array, "n frames b"]:
    """Return magnitudes of the CQT, frames before bins."""
    S = jnp.swapaxes(cqt(frames)(x), -1, -2)
    return S[:, 1:2] if frames == 1 else S[:, :frames]


def synthesise(
    f0: Float[Array, " frames"], amplitudes: Float[Array, "frames harmonics"]
) -> Float[Array, " samples"]:
    """Return a sum of harmonics, those above half the sample rate left out.

    As in DDSP (Engel, Hantrakul, Gu, Roberts 2020): the pitch of the frames is
    interpolated, and the amplitudes are cross-faded with Hann windows.
    """
    cycles, fades = _tables(f0.shape[0])
    order = jnp.arange(1, amplitudes.shape[-1] + 1)
    audible = jnp.where(order * f0[:, None] < SR / 2, amplitudes, 0.0)
    # Whole cycles are dropped: float32 has too few digits for the phase in radians.
    phase = f0 @ cycles
    phase = 2 * jnp.pi * (phase - jnp.floor(phase))
    return jnp.sum(fades * (audible @ jnp.sin(order[:, None] * phase)), axis=0)


@functools.cache
def _tables(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cycles up to each sample for 1 Hz in each frame, and its fades."""
    eye = np.eye(frames)
    at = np.arange(SAMPLES) * frames / SAMPLES
    # A frame's pitch is that of its middle, its amplitudes are those of its beginning.
    middle = at + 0.5 * frames / SAMPLES - 0.5
    pitch = np.array([np.interp(middle, range(frames), row) for row in eye])
    fade = np.sin(np.pi / 2 * (at % 1)) ** 2
    now = at.astype(int)
    following = np.minimum(now + 1, frames - 1)
    fades = eye[:, now] * (1 - fade) + eye[:, following] * fade
    cycles = np.cumsum(pitch, axis=1) / SR
    return cycles.astype(np.float32), fades.astype(np.float32)


class Encoder(eqx.Module):
    """From a frame of a CQT to its pitch and the amplitudes of its harmonics.

    The network of PESTO (Riou, Lattner, Hadjeres, Peeters 2023), as the paper uses it:
    convolutions over the bins, then a Toeplitz matrix, whose softmax over the bins has
    an expectation: the pitch.
    """

    norm: eqx.nn.LayerNorm
    first: eqx.nn.Conv1d
    second: eqx.nn.Conv1d
    narrow: tuple[eqx.nn.Conv1d, ...]
    last: eqx.nn.Conv1d
    pitch: eqx.nn.Conv1d
    amplitudes: eqx.nn.Linear
    dropout: float = eqx.field(static=True)

    def __init__(self, settings: Settings, key: Array):
        keys = iter(jax.random.split(key, 8))
        wide, *middle, code = settings.channels
        self.norm = eqx.nn.LayerNorm((1, N_BINS))
        same: dict[str, Any] = {"kernel_size": 15, "padding": 7}
        self.first = eqx.nn.Conv1d(1, wide, **same, key=next(keys))
        self.second = eqx.nn.Conv1d(wide, wide, **same, key=next(keys))
        pairs = zip([wide, *middle], middle, strict=False)
        self.narrow = tuple(eqx.nn.Conv1d(a, b, 1, key=next(keys)) for a, b in pairs)
        self.dropout = settings.dropout
        self.last = eqx.nn.Conv1d(middle[-1], code, 1, key=next(keys))
        n_in = code * N_BINS
        # A Toeplitz matrix is a convolution with a kernel of all its diagonals.
        self.pitch = eqx.nn.Conv1d(
            1,
            1,
            n_in + N_BINS - 1,
            padding=N_BINS - 1,
            use_bias=False,
            key=next(keys),
        )
        self.amplitudes = eqx.nn.Linear(n_in, settings.harmonics, key=next(keys))

    def __call__(
        self, frame: Float[Array, " bins"], key: Array | None = None
    ) -> tuple[Float[Array, ""], Float[Array, " harmonics"]]:
        """Return the pitch in Hz and amplitudes. Without a key nothing is dropped."""
        x = _leaky(self.first(self.norm(frame[None])))
        x = x + _leaky(self.second(x))
        for layer in self.narrow:
            x = _leaky(layer(x))
        dropout = eqx.nn.Dropout(self.dropout, inference=key is None)
        x = self.last(dropout(x, key=key)).reshape(-1)
        logits = self.pitch(x[None])[0] / TEMPERATURE
        octaves = jax.nn.softmax(logits) @ (jnp.arange(N_BINS) / BINS_PER_OCTAVE)
        # DDSP's `exp_sigmoid`.
        amplitudes = 2.0 * jax.nn.sigmoid(self.amplitudes(x)) ** np.log(10.0) + 1e-7
        return FMIN * 2.0**octaves, amplitudes


def _leaky(x: Array) -> Array:
    return jax.nn.leaky_relu(x, 0.3)


def reconstruct(
    model: Encoder,
    frames: Float[Array, "frames bins"],
    told: Float[Array, " harmonics"] | None,
    key: Array | None = None,
) -> tuple[Float[Array, " samples"], Float[Array, " frames"]]:
    """Return the signal that the model makes of the frames of one, and its pitch.

    `told` are the amplitudes, or `None` for those of the model.
    """
    keys = None if key is None else jax.random.split(key, frames.shape[0])
    f0, amplitudes = jax.vmap(model)(frames, keys)
    if told is not None:
        amplitudes = jnp.broadcast_to(told, (frames.shape[0], told.size))
    return synthesise(f0, amplitudes), f0


def make_optimiser(settings: Settings) -> optax.GradientTransformation:
    """Adam with the weight decay in the gradient, as in PyTorch."""
    decay = optax.add_decayed_weights(settings.decay)
    rate: Any = settings.rate
    if settings.falls:
        rate = optax.cosine_decay_schedule(rate, settings.epochs * settings.steps)
    return optax.chain(decay, optax.adam(rate))


@functools.partial(jax.jit, static_argnums=0)
def start(settings: Settings, seed: Any) -> tuple[Encoder, optax.OptState]:
    """Return the model and the optimiser's state before the first step."""
    model = Encoder(settings, jax.random.key(seed))
    return model, make_optimiser(settings).init(model)


@functools.cache
def make_step(settings: Settings, loss: kx.AbstractLoss) -> Callable[..., Any]:
    """Return the compiled step of training; it sees no pitch."""
    optimiser = make_optimiser(settings)

    @jax.jit
    def step(
        model: Encoder,
        state: optax.OptState,
        x: Array,
        seen: Array,
        amplitudes: Array,
        key: Array,
    ) -> tuple[Encoder, optax.OptState, Array]:
        keys = jax.random.split(key, x.shape[0]) if settings.dropout else None
        told = amplitudes if settings.told else None

        def objective(model: Encoder) -> Array:
            make = jax.vmap(functools.partial(reconstruct, model))
            return loss(make(seen, told, keys)[0], x)

        value, gradient = jax.value_and_grad(objective)(model)
        updates, state = optimiser.update(gradient, state, model)
        return eqx.apply_updates(model, updates), state, value

    return step


def spectral_distance() -> kx.TimeFrequencyLoss:
    """The paper's log-spectral distance: the mean square of differences in dB."""
    transform = kx.Spectrogram(1024, 256, padding="end", normalized="frame_length")
    scale = kx.PowerToDB(amin=1e-5, top_db=None)
    return kx.TimeFrequencyLoss(transform, kx.ElementwiseLoss("L2"), scale)


@functools.partial(jax.jit, static_argnums=0)
def measure(
    settings: Settings,
    model: Encoder,
    x: Array,
    seen: Array,
    amplitudes: Array,
    f0: Array,
) -> dict[str, Float[Array, " n"]]:
    """Return for each signal how well its pitch and spectrum are met.

    The raw pitch and chroma accuracies of mir_eval: the share of frames, in %, whose
    pitch is within 50 cents of the right one, or of one some octaves away.
    """
    told = amplitudes if settings.told else None
    make = jax.vmap(functools.partial(reconstruct, model))
    estimates, pitch = make(seen, told)
    octaves = jnp.log2(pitch / f0[:, None])
    chroma = octaves - jnp.round(octaves)

    def accuracy(error: Array) -> Array:
        return 100.0 * jnp.mean(jnp.abs(error) < 50 / 1200, axis=-1)

    return {
        "raw_pitch_accuracy": accuracy(octaves),
        "raw_chroma_accuracy": accuracy(chroma),
        "octave_errors": accuracy(chroma) - accuracy(octaves),
        "log_spectral_distance": jax.vmap(spectral_distance())(estimates, x),
    }


class Study(NamedTuple):
    """A study after some epochs of one of its runs."""

    settings: Settings
    run: int  # its number
    epoch: int  # how many of its epochs are done
    log: list[dict[str, Any]]  # of all validations
    table: list[dict[str, Any]]  # of all runs that are done
    lowest: float  # distance of this run's validations
    model: Encoder
    state: optax.OptState
    best: Encoder  # the model of that distance


def begin(settings: Settings) -> Study:
    """Return a study before its first run."""
    model, state = start(settings, 0)
    return Study(settings, 0, 0, [], [], float("inf"), model, state, model)


def save(path: Path, study: Study) -> None:
    """Write a checkpoint: completely, or not at all if interrupted."""
    header = study._asdict()
    arrays = tuple(header.pop(name) for name in ("model", "state", "best"))
    header["settings"] = dataclasses.asdict(study.settings)
    write(path, {"format": FORMAT, **header}, jax.tree.map(np.asarray, arrays))


def load(path: Path) -> Study:
    """Read a checkpoint."""
    header, (model, state, best) = read(path, FORMAT, _arrays)
    return Study(**header, model=model, state=state, best=best)


def _arrays(header: dict[str, Any]) -> Any:
    """Return the shapes of the arrays, and make settings of what the header says."""
    own = header["settings"]
    for name in ("losses", "channels"):
        own[name] = tuple(own[name])
    header["settings"] = Settings(**own)
    model, state = eqx.filter_eval_shape(start, header["settings"], 0)
    return model, state, model
