"""Draw losses and their gradients over frequency, amplitude and a shift in time.

One figure of profiles, losses side by side, and one of a surface over frequency and
amplitude with the paths of optax runs from several starts.

    python examples/loss_landscape.py
    python examples/loss_landscape.py --quick
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import _pictures
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from _arguments import folder, one_of, whole
from _tones import N_SAMPLES, SAMPLE_RATE, TONES, Tone, losses
from jaxtyping import Array, Float
from tqdm import tqdm

import korvax_eqx as ke

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.lines import Line2D  # noqa: E402

NAMES = ("mrstft", "smooth", "log-mel", "pitch")
TITLES = {
    "mrstft": "MRSTFTLoss",
    "smooth": "SmoothMRSTFTLoss",
    "log-mel": "log MelSpectrogram",
    "pitch": "PitchTransportLoss",
}
AXES = {
    "coarse": ("Frequency (octaves from the target)", 2.0),
    "amplitude": ("Amplitude (dB from the target)", 12.0),
    "time": ("Shift in time (ms)", 20.0),
}


def estimate(
    question: str, tone: Tone, position: Float[Array, ""], phases: Array
) -> Float[Array, " n_samples"]:
    """The tone, off the target by `position`."""
    f = jnp.asarray(tone.frequency)
    if question == "coarse":
        return tone(f * 2.0**position, phases)
    if question == "amplitude":
        return 10.0 ** (position / 20.0) * tone(f, phases)
    # A note that begins in the middle: a steady tone has no time to be shifted to.
    time = jnp.arange(N_SAMPLES) / SAMPLE_RATE
    since = time - 0.5 * N_SAMPLES / SAMPLE_RATE - position / 1000.0
    envelope = jax.nn.sigmoid(since / 0.002) * jnp.exp(-4.0 * jnp.maximum(since, 0.0))
    return envelope * tone(f, phases)


def profile(
    loss: ke.AbstractLoss, tone: Tone, question: str, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values and derivatives of the loss at the positions, shape `(n,)` each."""
    phases = tone.phases(None)

    def value(position: Float[Array, ""], target: Array) -> Float[Array, ""]:
        return loss(estimate(question, tone, position, phases), target)

    target = estimate(question, tone, jnp.zeros(()), phases)
    both = jax.jit(jax.vmap(jax.value_and_grad(value), (0, None)))
    values, slopes = both(jnp.asarray(at), target)
    return np.asarray(values), np.asarray(slopes)


def draw_profiles(contenders: dict[str, ke.AbstractLoss], n: int, path: Path) -> None:
    tone = TONES[3]
    figure, axes = plt.subplots(
        len(contenders),
        len(AXES),
        figsize=(12, 2.3 * len(contenders)),
        sharex="col",
        squeeze=False,
        layout="constrained",
    )
    for row, (name, loss) in zip(axes, tqdm(contenders.items()), strict=True):
        highest = 0.0
        for ax, (question, (_, span)) in zip(row, AXES.items(), strict=True):
            at = np.linspace(-span, span, n, dtype=np.float32)
            values, slopes = profile(loss, tone, question, at)
            highest = max(highest, values.max())
            flat = values.max() < 1e-4 * highest  # rounding: an arrow says nothing
            slopes = None if flat else slopes
            ke.plot.profile(at, values, slopes, ax=ax, target=0.0, legend=False)
            top = max(ax.get_ylim()[1], 0.02 * highest)
            ax.set_ylim(-0.05 * top, top)
            ax.set(xlabel="", ylabel="")
        row[0].set_ylabel(f"{TITLES.get(name, name)}\n(no unit)")
    figure.align_ylabels()
    for ax, (label, _) in zip(axes[-1], AXES.values(), strict=True):
        ax.set_xlabel(label)
    named = [ax.get_legend_handles_labels() for ax in axes.flat]
    entries = {
        label.replace("descent away", "it goes away"): handle
        for handles, labels in named
        for handle, label in zip(handles, labels, strict=True)
    }
    towards = "a step of descent goes this way, to the target"
    filled = Line2D([], [], color="C0", marker=">", linestyle="none")
    figure.legend(
        [filled, *reversed(entries.values())],
        [towards, *reversed(entries)],
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    figure.suptitle(f"{tone.name} Hz: losses around the target")
    _pictures.save(figure, path)
    plt.close(figure)


def descend(
    value: Callable[[Array], Float[Array, ""]], start: tuple[float, float], steps: int
) -> np.ndarray:
    """Return the points that Adam goes through, shape `(steps + 1, 2)`."""
    # Octaves and tens of decibels: Adam's steps are of one size in both.
    optimiser = optax.adam(0.03)
    scale = jnp.array([1.0, 10.0])

    def step(carry, _):
        point, state = carry
        gradient = jax.grad(lambda p: value(p * scale))(point)
        updates, state = optimiser.update(gradient, state)
        point = point + updates
        return (point, state), point

    @jax.jit
    def run(point: Array) -> Array:
        _, points = jax.lax.scan(
            step, (point, optimiser.init(point)), None, length=steps
        )
        return jnp.concatenate([point[None], points]) * scale

    return np.asarray(run(jnp.asarray(start) / scale))


def draw_surfaces(
    contenders: dict[str, ke.AbstractLoss], n: int, steps: int, path: Path
) -> None:
    tone = TONES[3]
    phases = tone.phases(None)
    octaves = np.linspace(-1.5, 1.5, n, dtype=np.float32)
    decibels = np.linspace(-24, 12, n // 2 + 1, dtype=np.float32)
    starts = [(-1.2, -9.0), (1.2, 8.0), (0.7, -6.0), (-0.6, 9.0)]
    n_rows, n_columns = -(-len(contenders) // 2), min(2, len(contenders))
    figure, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=(5.5 * n_columns, 3.8 * n_rows),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for ax in axes.flat[len(contenders) :]:
        ax.set_axis_off()
    target = tone(jnp.asarray(tone.frequency), phases)
    # Not strict: an odd number of losses leaves a place free.
    for ax, (name, loss) in zip(axes.flat, tqdm(contenders.items()), strict=False):

        def value(point: Array, loss: ke.AbstractLoss = loss) -> Float[Array, ""]:
            x = tone(tone.frequency * 2.0 ** point[0], phases)
            return loss(10.0 ** (point[1] / 20.0) * x, target)

        points = np.stack(np.meshgrid(octaves, decibels), axis=-1)
        values = jax.jit(lambda p, f=value: jax.lax.map(jax.vmap(f), p))(points)
        paths = [descend(value, start, steps) for start in starts]
        ke.plot.surface(
            octaves,
            decibels,
            np.asarray(values),
            paths,
            ax=ax,
            target=(0.0, 0.0),
            legend=False,
        )
        ax.set_title(TITLES.get(name, name))
        ax.set(xlabel="", ylabel="")
        ax.set_xlim(octaves[0], octaves[-1])
        ax.set_ylim(decibels[0], decibels[-1])
    figure.supxlabel(AXES["coarse"][0], fontsize="medium")
    figure.supylabel(AXES["amplitude"][0], fontsize="medium")
    figure.suptitle(
        f"{tone.name} Hz: {steps} steps of Adam, from the circles to the squares; "
        "the star is the target"
    )
    _pictures.save(figure, path)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    available = losses()
    parser.add_argument(
        "--loss",
        nargs="+",
        type=one_of(available),
        default=NAMES,
        help="names of losses",
    )
    parser.add_argument("--n", type=whole(9), default=121, help="positions a profile")
    parser.add_argument("--steps", type=whole(1), default=120, help="of a descent")
    parser.add_argument("--out", type=folder, default=Path("outputs/loss_landscape"))
    parser.add_argument("--quick", action="store_true", help="one loss, few positions")
    _pictures.add_argument(parser)
    options = parser.parse_args()
    _pictures.check(parser, options)
    names, n, steps = options.loss, options.n, options.steps
    if options.quick:
        names, n, steps = ("pitch",), 9, 3
    options.out.mkdir(parents=True, exist_ok=True)
    contenders = {name: available[name] for name in names}
    profiles = options.out / "landscape_profiles.png"
    surfaces = options.out / "landscape_surfaces.png"
    draw_profiles(contenders, n, profiles)
    draw_surfaces(contenders, n // 2, steps, surfaces)
    if options.pictures:
        _pictures.renew(profiles, surfaces)
    print(f"Written to {options.out}.")


if __name__ == "__main__":
    main()
