"""Does the gradient of a loss point the right way?

For tones of a known frequency, how often does the sign of dL/df say whether the pitch
is too high or too low: coarsely, over two octaves to both sides, and finely, over 100
cents. Then the same for amplitude and for a shift in time. Prints a table, writes
`gradient_direction.csv` and a picture.

    python examples/gradient_direction.py
    python examples/gradient_direction.py --quick
"""

import argparse
import csv
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from _arguments import folder, one_of, whole
from _tones import N_SAMPLES, NAMES, SAMPLE_RATE, TONES, Tone, losses
from jaxtyping import Array, Float
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

import korvax_eqx as ke

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

# Relative positions of the estimate: octaves, octaves, decibels, milliseconds.
SPANS = {"coarse": 2.0, "fine": 1 / 12, "amplitude": 12.0, "time": 20.0}


@dataclasses.dataclass(frozen=True)
class Score:
    """Shares in percent over the tested positions of one loss, tone and question."""

    loss: str
    tone: str
    phases: str
    question: str
    right: float
    not_finite: float


def positions(question: str, n: int) -> np.ndarray:
    """Evenly spaced positions to both sides of the target, none on it."""
    span = SPANS[question]
    right = np.linspace(span / n, span, n // 2)
    return np.r_[-right[::-1], right].astype(np.float32)


def estimate(
    question: str, tone: Tone, position: Float[Array, ""], phases: Array
) -> Float[Array, " n_samples"]:
    """The tone, off the target by `position`."""
    f = jnp.asarray(tone.frequency)
    if question in ("coarse", "fine"):
        return tone(f * 2.0**position, phases)
    if question == "amplitude":
        return 10.0 ** (position / 20.0) * tone(f, phases)
    # A note that begins in the middle: a steady tone has no time to be shifted to.
    time = jnp.arange(N_SAMPLES) / SAMPLE_RATE
    since = time - 0.5 * N_SAMPLES / SAMPLE_RATE - position / 1000.0
    envelope = jax.nn.sigmoid(since / 0.002) * jnp.exp(-4.0 * jnp.maximum(since, 0.0))
    return envelope * tone(f, phases)


def slopes(
    loss: ke.AbstractLoss,
    signal: Callable[[Float[Array, ""]], Float[Array, " n_samples"]],
    target: Float[Array, " n_samples"],
    at: np.ndarray,
) -> np.ndarray:
    """Derivatives of the loss along the parameter of `signal`, shape `(n,)`."""
    ones = jnp.ones(())

    def both(position: Float[Array, ""]) -> tuple[Array, Array]:
        return jax.jvp(signal, (position,), (ones,))

    x, dx = jax.jit(jax.vmap(both))(jnp.asarray(at))
    y = jnp.broadcast_to(target, x.shape)
    # A loss is a mean over examples: the factor makes it each example's gradient.
    gradient = jax.grad(loss)(x, y) * len(at)
    return np.asarray(jnp.sum(gradient * dx, axis=-1))


def score(
    name: str,
    loss: ke.AbstractLoss,
    tone: Tone,
    seed: int | None,
    question: str,
    n: int,
) -> Score:
    """Ask one question about one loss and tone."""
    phases, others = tone.phases(None), tone.phases(seed)

    def signal(position: Float[Array, ""]) -> Float[Array, " n_samples"]:
        return estimate(question, tone, position, others)

    target = estimate(question, tone, jnp.zeros(()), phases)
    at = positions(question, n)
    slope = slopes(loss, signal, target, at)
    right = np.mean(np.sign(slope) == np.sign(at))
    broken = np.mean(~np.isfinite(slope))
    label = "same" if seed is None else "random"
    return Score(name, tone.name, label, question, 100 * right, 100 * broken)


def measure(n: int, chosen: list[str] | None) -> list[Score]:
    """Ask all questions about all losses."""
    contenders = {k: v for k, v in losses().items() if not chosen or k in chosen}
    scores = []
    with tqdm(total=len(contenders) * len(TONES), unit="tone") as progress:
        for name, loss in contenders.items():
            progress.set_description(f"{name:>22}")
            for tone in TONES:
                for question in SPANS:
                    seeds = (None, 1) if question in ("coarse", "fine") else (None,)
                    scores += [score(name, loss, tone, s, question, n) for s in seeds]
                progress.update()
    return scores


def mean_right(scores: list[Score], **wanted: str) -> float:
    """Mean share over all scores with the given attributes; NaN if there is none."""
    values = [
        s.right
        for s in scores
        if all(getattr(s, key) == value for key, value in wanted.items())
    ]
    return float(np.mean(values)) if values else float("nan")


COLUMNS = (
    ("coarse", "same"),
    ("coarse", "random"),
    ("fine", "same"),
    ("fine", "random"),
    ("amplitude", "same"),
    ("time", "same"),
)


LEGEND = (
    "How often the derivative of the loss has the right sign, in % of the positions of "
    "an estimate around its target; 50 is chance. Mean over the tones, in brackets the "
    "worst tone. `coarse` and `fine`: of the frequency, within 2 octaves and within "
    "100 cents, at the phases of the target or at random ones; `amplitude`: within "
    "12 dB; `time`: of a shift, within 20 ms. `not finite`: derivatives that are no "
    "number."
)


def print_table(scores: list[Score]) -> None:
    """One line a loss: shares in percent, means over the tones, the worst too."""
    table = Table(title="sign of the gradient is right, % (worst tone)")
    table.add_column("loss")
    for question, phases in COLUMNS:
        suffix = f"\n{phases} phases" if question in ("coarse", "fine") else ""
        table.add_column(question + suffix, justify="right")
    table.add_column("not finite, %", justify="right")
    for name in dict.fromkeys(s.loss for s in scores):
        own = [s for s in scores if s.loss == name]
        cells = []
        for question, phases in COLUMNS:
            some = [s for s in own if (s.question, s.phases) == (question, phases)]
            mean = mean_right(own, question=question, phases=phases)
            cells.append(f"{mean:.0f} ({min(s.right for s in some):.0f})")
        broken = max(s.not_finite for s in own)
        table.add_row(name, *cells, f"{broken:.0f}")
    # Into a file or a pipe, rich would squeeze the table into 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(LEGEND, NAMES, table, sep="\n")


def draw(scores: list[Score], path: Path) -> None:
    """Two maps of losses over tones, coarse and fine."""
    names = list(dict.fromkeys(s.loss for s in scores))
    tones = [tone.name for tone in TONES]
    figure, axes = plt.subplots(
        1, 2, figsize=(12, 0.38 * len(names) + 2.2), sharey=True, layout="constrained"
    )
    image = None
    for ax, question in zip(axes, ("coarse", "fine"), strict=True):
        values = np.array(
            [
                [mean_right(scores, loss=n, tone=t, question=question) for t in tones]
                for n in names
            ]
        )
        image = ax.imshow(values, vmin=0, vmax=100, cmap="PuOr", aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            colour = "white" if abs(value - 50) > 25 else "black"
            ax.text(j, i, f"{value:.0f}", ha="center", va="center", color=colour)
        ax.set_xticks(range(len(tones)), tones, rotation=30, ha="right")
        ax.set_yticks(range(len(names)), names)
        reach = "2 octaves" if question == "coarse" else "100 cents"
        ax.set_title(f"pitch, within {reach}")
    label = "gradient has the right sign, % (50 is chance)"
    if image is not None:
        figure.colorbar(image, ax=axes, label=label)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=whole(2), default=100, help="positions a question")
    parser.add_argument(
        "--loss",
        nargs="+",
        type=one_of(losses()),
        help="names, e.g. mrstft 'sot, p=1'",
    )
    parser.add_argument(
        "--out", type=folder, default=Path("outputs/gradient_direction")
    )
    parser.add_argument(
        "--quick", action="store_true", help="two losses, few positions"
    )
    options = parser.parse_args()
    n, chosen = options.n, options.loss
    if options.quick:
        n, chosen = 8, ["mrstft, lin only", "pitch"]
    options.out.mkdir(parents=True, exist_ok=True)
    scores = measure(n, chosen)
    print_table(scores)
    with open(options.out / "gradient_direction.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in dataclasses.fields(Score)])
        writer.writeheader()
        writer.writerows(map(dataclasses.asdict, scores))
    draw(scores, options.out / "gradient_direction.png")
    print(f"Written to {options.out}.")


if __name__ == "__main__":
    main()
