"""The model of the autoencoder examples, its losses, and one step of its training."""

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from _sounds import SR
from jaxtyping import Array, Float

import korvax_eqx as kx

STRIDES = (4, 4, 4)  # of the encoder's layers

LOSSES: dict[str, Callable[[], Any]] = {
    "mrstft": kx.recipes.mrstft,
    "smooth": kx.SmoothMRSTFTLoss,
    "mel": lambda: kx.TimeFrequencyLoss(
        kx.MelSpectrogram(SR, 1024, n_mels=80, hop_length=256, power=1),
        [kx.SpectralConvergenceLoss(), kx.ElementwiseLoss()],
        [kx.Identity(), kx.Log(eps=1e-3)],
    ),
    # The everyday objective: spectra at several resolutions, mel bands, the waveform.
    "sum": lambda: kx.SumLoss(
        {
            "stft": kx.recipes.mrstft(),
            "mel": LOSSES["mel"](),
            "wave": kx.WaveformLoss("L1"),
            "sdr": kx.SISDRLoss(),
        },
        weights={"stft": 1.0, "mel": 1.0, "wave": 1.0, "sdr": 0.01},
    ),
}


def open_loss(name: str) -> Any:
    """Return a loss by its name here, or the one that `korvax_eqx.save` saved."""
    if name in LOSSES:
        return LOSSES[name]()
    if not Path(name).is_file():
        known = ", ".join(LOSSES)
        sys.exit(f"--loss must be one of {known}, or a saved loss. Got {name!r}.")
    try:
        return kx.load(name)
    except kx.LoadError as error:
        sys.exit(str(error))


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a run, apart from its sounds and its loss."""

    seed: int = 0
    batch: int = 8
    samples: int = 8_192  # of an example, a multiple of the strides' product
    width: int = 24  # channels of the first layer
    code: int = 24  # channels of the code
    rate: float = 2e-3  # learning rate
    balance: tuple[str, ...] = ()  # parts of the loss whose gradients are balanced


QUICK = Settings(batch=4, samples=2048, width=4, code=4)


class Residual(eqx.Module):
    """Residual block of two convolutions."""

    wide: eqx.nn.Conv1d
    narrow: eqx.nn.Conv1d

    def __init__(self, channels: int, key: Array):
        one, two = jax.random.split(key)
        self.wide = eqx.nn.Conv1d(channels, channels, 7, padding=3, key=one)
        self.narrow = eqx.nn.Conv1d(channels, channels, 1, key=two)

    def __call__(self, x: Float[Array, "channels n"]) -> Float[Array, "channels n"]:
        return x + self.narrow(jax.nn.gelu(self.wide(jax.nn.gelu(x))))


class Autoencoder(eqx.Module):
    """Strided convolutions down to a code at 1/64 of the rate, and back."""

    encoder: tuple[Any, ...]
    decoder: tuple[Any, ...]

    def __init__(self, width: int, code: int, key: Array):
        widths = [1, *(width * 2**i for i in range(len(STRIDES)))]
        down, up = [], []
        for stride, fine, coarse in zip(STRIDES, widths, widths[1:], strict=False):
            key, *keys = jax.random.split(key, 5)
            sizes = {
                "kernel_size": 2 * stride,
                "stride": stride,
                "padding": stride // 2,
            }
            down += [
                eqx.nn.Conv1d(fine, coarse, **sizes, key=keys[0]),
                Residual(coarse, keys[1]),
            ]
            up += [
                eqx.nn.ConvTranspose1d(coarse, fine, **sizes, key=keys[2]),
                Residual(coarse, keys[3]),
            ]
        last, first = jax.random.split(key)
        coarsest = widths[-1]
        self.encoder = (*down, eqx.nn.Conv1d(coarsest, code, 3, padding=1, key=last))
        self.decoder = (
            eqx.nn.Conv1d(code, coarsest, 3, padding=1, key=first),
            *reversed(up),
        )

    def encode(self, x: Float[Array, "1 n"]) -> Float[Array, "code n_frames"]:
        for layer in self.encoder:
            x = layer(x)
        return x

    def __call__(self, x: Float[Array, "1 n"]) -> Float[Array, "1 n"]:
        x = self.encode(x)
        for layer in self.decoder:
            x = layer(x)
        return jnp.tanh(x)


def make_optimiser(settings: Settings) -> optax.GradientTransformation:
    """Adam with a learning rate that depends only on the step, so runs can be
    extended."""
    rise = optax.linear_schedule(0.0, settings.rate, 50)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rise))


@functools.partial(jax.jit, static_argnums=0)
def start(settings: Settings) -> tuple[Autoencoder, Any]:
    """Return the model, and the state of optimiser and balancer before the first step.

    The state of the balancer is `None` without one.
    """
    key = jax.random.key(settings.seed)
    model = Autoencoder(settings.width, settings.code, key)
    balancer = make_balancer(settings)
    balance = None if balancer is None else balancer.init()
    return model, (make_optimiser(settings).init(model), balance)


def make_balancer(settings: Settings) -> kx.GradientBalancer | None:
    """Return what gives every part of the loss an equal share of the gradient."""
    if not settings.balance:
        return None
    return kx.GradientBalancer(dict.fromkeys(settings.balance, 1.0))


def parts_of(loss: Any) -> tuple[str, ...]:
    """Return the parts of a loss whose gradients can be balanced."""
    x = jax.ShapeDtypeStruct((1, 1, SR), jnp.float32)
    parts = tuple(jax.eval_shape(loss.part_gradients, x, x)[1])
    if len(parts) < 2:
        sys.exit("--balance needs a loss of several parts, e.g. --loss sum.")
    return parts


def make_step(settings: Settings) -> Callable[..., Any]:
    """Return the compiled step of training.

    The loss is an argument, not part of what is trained: otherwise a learnable window,
    for example, would minimise the loss by becoming zero.
    """
    optimiser, balancer = make_optimiser(settings), make_balancer(settings)

    @eqx.filter_jit
    def step(
        model: Autoencoder,
        states: Any,
        loss: Any,
        x: Float[Array, "batch 1 n"],
    ) -> tuple[Autoencoder, Any, Array, kx.Terms, dict[str, dict[str, Array]]]:
        state, balance = states
        z, pull_back = jax.vjp(lambda model: jax.vmap(model)(x), model)
        norms = {}
        if balancer is None:
            both = jax.value_and_grad(loss.with_terms, has_aux=True)
            (value, terms), gradient = both(z, x)
        else:
            terms, gradients = loss.part_gradients(z, x)
            value = sum(terms.values(), jnp.zeros(()))
            gradient, balance = balancer.update(gradients, balance)
            norms = norms_of(gradients, terms, balance)
        (of_model,) = pull_back(gradient)
        updates, state = optimiser.update(of_model, state, model)
        model = eqx.apply_updates(model, updates)
        return model, (state, balance), value, terms, norms

    return step


def norms_of(
    gradients: dict[str, Array], terms: kx.Terms, balance: kx.BalancerState
) -> dict[str, dict[str, Array]]:
    """Return the norm of what each part adds to the gradient, for a log.

    `"sum"` is what it would add to that of the loss, `"balanced"` what it adds now.
    """
    norms: dict[str, dict[str, Array]] = {"sum": {}, "balanced": {}}
    for name, gradient in gradients.items():
        norm = jnp.mean(jnp.linalg.norm(gradient, axis=-1))
        weight = terms.parts[name] / terms.parts.unweighted[name]
        norms["sum"][name] = jnp.abs(weight) * norm
        norms["balanced"][name] = norm / balance.norms[name] / len(gradients)
    return norms
