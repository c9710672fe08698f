"""The model of `train_separation.py`, its loss, one step of training, checkpoints."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from _archive import read, write
from jaxtyping import Array, Float

import korvax_eqx as kx

FORMAT = "korvax_eqx separation checkpoint 1"
FRAMES = {"nperseg": 1024, "noverlap": 768}  # harmonics are told apart
N_BINS = 513


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a run is made of, besides its sounds."""

    seed: int = 0
    batch: int = 8
    samples: int = 16_000  # of a mixture
    steps: int = 40  # of an epoch
    held_out: int = 48  # mixtures for validation
    width: int = 64  # channels of the network
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8)
    rate: float = 3e-3  # learning rate


QUICK = Settings(batch=2, samples=8192, steps=3, held_out=4, width=8, dilations=(1, 2))


def make_loss() -> kx.PermutationInvariantLoss:
    """Return the objective: which output is which voice is not said."""
    losses = {"sdr": kx.SISDRLoss(), "stft": kx.recipes.mrstft()}
    weighted = kx.SumLoss(losses, {"sdr": 1.0, "stft": 1.0})
    return kx.PermutationInvariantLoss(weighted)


class Block(eqx.Module):
    """Adds to each frame what it makes of three frames some distance apart."""

    norm: eqx.nn.LayerNorm
    wide: eqx.nn.Conv1d
    narrow: eqx.nn.Conv1d

    def __init__(self, width: int, dilation: int, key: Array):
        one, two = jax.random.split(key)
        self.norm = eqx.nn.LayerNorm(width)
        options = {"dilation": dilation, "padding": dilation, "key": one}
        self.wide = eqx.nn.Conv1d(width, width, 3, **options)
        self.narrow = eqx.nn.Conv1d(width, width, 1, key=two)

    def __call__(self, x: Float[Array, "width n"]) -> Float[Array, "width n"]:
        normalised = jax.vmap(self.norm, 1, 1)(x)
        return x + self.narrow(jax.nn.gelu(self.wide(normalised)))


class MaskNetwork(eqx.Module):
    """A mixture to two voices: a mask for each, between 0 and 1, on its spectrum."""

    first: eqx.nn.Conv1d
    blocks: tuple[Block, ...]
    last: eqx.nn.Conv1d

    def __init__(self, width: int, dilations: tuple[int, ...], key: Array):
        first, last, *keys = jax.random.split(key, 2 + len(dilations))
        self.first = eqx.nn.Conv1d(N_BINS, width, 1, key=first)
        pairs = zip(dilations, keys, strict=True)
        self.blocks = tuple(Block(width, d, key) for d, key in pairs)
        self.last = eqx.nn.Conv1d(width, 2 * N_BINS, 1, key=last)

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, "2 n"]:
        _, _, spectrum = jax.scipy.signal.stft(x, **FRAMES)
        power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
        hidden = self.first(0.2 * jnp.log(power + 1e-8) + 2)
        for block in self.blocks:
            hidden = block(hidden)
        masks = jax.nn.sigmoid(self.last(hidden)).reshape(2, N_BINS, -1)
        _, voices = jax.scipy.signal.istft(masks * spectrum, **FRAMES)
        return voices[:, : x.shape[-1]]


def make_optimiser(settings: Settings) -> optax.GradientTransformation:
    """Adam; its rate depends on the step alone, so that a run may go on for longer."""
    rise = optax.linear_schedule(0.0, settings.rate, 20)
    return optax.chain(optax.clip_by_global_norm(5.0), optax.adam(rise))


@functools.partial(jax.jit, static_argnums=0)
def start(settings: Settings) -> tuple[MaskNetwork, optax.OptState]:
    """Return the model and the optimiser's state before the first step."""
    key = jax.random.key(settings.seed)
    model = MaskNetwork(settings.width, settings.dilations, key)
    return model, make_optimiser(settings).init(model)


def make_step(settings: Settings) -> Callable[..., Any]:
    """Return the compiled step of training."""
    optimiser, loss = make_optimiser(settings), make_loss()

    @jax.jit
    def step(
        model: MaskNetwork, state: optax.OptState, voices: Float[Array, "batch 2 n"]
    ) -> tuple[MaskNetwork, optax.OptState, Array]:
        def objective(model: MaskNetwork) -> Array:
            return loss(jax.vmap(model)(jnp.sum(voices, axis=1)), voices)

        value, gradient = jax.value_and_grad(objective)(model)
        updates, state = optimiser.update(gradient, state, model)
        return eqx.apply_updates(model, updates), state, value

    return step


@jax.jit
def separated(
    model: MaskNetwork, voices: Float[Array, "batch 2 n"]
) -> tuple[Float[Array, "batch 2 n"], Float[Array, " batch"]]:
    """Return the estimates in the order of the voices, and what they gain, in dB.

    The gain is the mean over the voices of a mixture of how much nearer, in SI-SDR,
    the estimate is to the voice than the mixture is.
    """
    mixture = jnp.sum(voices, axis=1)
    estimates = jax.vmap(model)(mixture)
    loss = kx.SISDRLoss()
    ordered = kx.PermutationInvariantLoss(loss)
    before = jax.vmap(loss)(jnp.broadcast_to(mixture[:, None], voices.shape), voices)
    gain = before - jax.vmap(ordered)(estimates, voices)
    order = ordered.assignment(estimates, voices)
    return jnp.take_along_axis(estimates, order[..., None], axis=1), gain


class Checkpoint(NamedTuple):
    """A run after some epochs, with a row of the table for each."""

    table: list[dict[str, float]]
    settings: Settings
    folder: str | None  # of the sounds
    fingerprint: str  # of the sounds
    model: MaskNetwork
    state: optax.OptState


def save(path: Path, run: Checkpoint) -> None:
    """Write a checkpoint: completely, or not at all if interrupted."""
    header = {"format": FORMAT, **run._asdict()}
    model, state = header.pop("model"), header.pop("state")
    header["settings"] = dataclasses.asdict(run.settings)
    write(path, header, (model, state))


def load(path: Path) -> Checkpoint:
    """Read a checkpoint."""
    header, (model, state) = read(path, FORMAT, _arrays)
    return Checkpoint(**header, model=model, state=state)


def _arrays(header: dict[str, Any]) -> Any:
    """Return the shapes of the arrays, and make settings of what the header says."""
    own = header["settings"]
    header["settings"] = Settings(**{**own, "dilations": tuple(own["dilations"])})
    return eqx.filter_eval_shape(start, header["settings"])
