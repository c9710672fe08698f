"""Which of two sinusoids does a loss call nearer?

Table 1 of Turian and Henry (2020), "I'm sorry for your loss: spectrally-based audio
distances are bad at pitch" (arXiv:2012.04572), for losses of this library: 1000 pairs
of random sinusoids. The first of a pair is moved towards the second and away from it,
in pitch by 30 or 600 cents, or in level by 2 or 10 dB. A loss is right if it calls the
one that moved towards the second nearer. For small steps, the sign of the derivative
has to be right. Prints a table with 95 % confidence intervals, writes it as
`two_sinusoids.csv` and `two_sinusoids.md`, and draws it as `two_sinusoids.png`.

    python examples/two_sinusoids.py
    python examples/two_sinusoids.py --quick

We know of no code of theirs, and the following is our choice: 0.5 s at 16 kHz,
frequencies log-uniform from 30 to 4000 Hz, levels uniform from -40 to 0 dB, random
phases, and that both steps are taken, not only the one towards the second. Their
published amplitude columns of MSS are near chance, which ours approach only if the two
differ in pitch as well. So here both sinusoids of a pair are random in everything.
Beside it, the same with the other parameter equal in both: with the level, for pitch,
and with the frequency, for amplitude.
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import NamedTuple

import _pictures
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from _arguments import folder, one_of, whole
from _intervals import of_share
from _results import write_csv
from _tones import N_SAMPLES, SAMPLE_RATE, losses
from jaxtyping import Array, Float
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

import korvax_eqx as ke

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

FREQUENCIES = (30.0, 4000.0)  # Hz
LEVELS = (-40.0, 0.0)  # dB re 1
# Sizes of the steps, in cents and in dB. 0 is the derivative.
STEPS = {"pitch": (0, 30, 600), "amplitude": (0, 2, 10)}
UNITS = {"pitch": "cents", "amplitude": "dB"}
PER_UNIT = {"pitch": 1 / 1200, "amplitude": 1.0}  # octaves and dB
OTHERS = ("random", "equal")  # the parameter that is not asked for
COLUMNS = [(question, step) for question, steps in STEPS.items() for step in steps]
# Rows of Table 1, by column: of its distances, those with a like among ours.
PUBLISHED = {
    "MSS, published": (0.771, 0.905, 0.978, 0.550, 0.530, 0.531),
    "mel, published": (0.511, 0.479, 0.580, 0.564, 0.544, 0.551),
    "MFCC, published": (0.532, 0.603, 0.648, 0.593, 0.931, 0.999),
}
PUBLISHED_TRIALS = 1000
LEGEND = (
    "How often a loss knows which of two sinusoids is nearer to a third, as a share of "
    "the trials (0.5 is chance), with the 95 % confidence interval. `derivative`: the "
    "sign of the derivative. The first number of a cell: the sinusoids differ in pitch "
    "and amplitude; the second: only in what is asked for."
)


class Sinusoids(NamedTuple):
    """Sinusoids by their parameters, shape `(n,)` each."""

    octaves: Float[Array, " n"]  # above 1 Hz
    level: Float[Array, " n"]  # dB
    phase: Float[Array, " n"]  # radians

    def moved(self, question: str, by: Float[Array, " n"]) -> "Sinusoids":
        """The same, moved by octaves or by dB."""
        if question == "pitch":
            return self._replace(octaves=self.octaves + by)
        return self._replace(level=self.level + by)

    def __call__(self) -> Float[Array, "n n_samples"]:
        time = jnp.arange(N_SAMPLES) / SAMPLE_RATE
        cycles = 2.0 ** self.octaves[:, None] * time
        sines = jnp.sin(2 * jnp.pi * cycles + self.phase[:, None])
        return 10.0 ** (self.level[:, None] / 20.0) * sines


@dataclasses.dataclass(frozen=True)
class Score:
    """What one loss gets right of one question."""

    loss: str
    question: str
    step: int  # cents or dB
    other: str
    share: float
    low: float  # of the confidence interval
    high: float
    trials: int


def contenders() -> dict[str, ke.AbstractLoss]:
    """The losses that can be asked, by name: those of `_tones.py` and a few more."""
    mel = ke.MelSpectrogram(SAMPLE_RATE, 2048, n_mels=128)
    mfcc = ke.MFCC(SAMPLE_RATE, 2048)
    few = {
        "recipes.mrstft": ke.recipes.mrstft(),
        "recipes.ddsp, lin and log": ke.recipes.ddsp(logmag_weight=1.0),
        "mel": ke.TimeFrequencyLoss(mel, ke.ElementwiseLoss()),
        "mfcc": ke.TimeFrequencyLoss(mfcc, ke.ElementwiseLoss()),
    }
    return losses() | few


# Without the other configurations of one loss.
NAMES = (
    "mrstft",
    "recipes.mrstft",
    "recipes.ddsp, lin and log",
    "smooth",
    "convergence",
    "mel",
    "log-mel",
    "log-cqt",
    "mfcc",
    "sot",
    "sot, log-frequency",
    "pitch",
    "sound matching",
)


def pairs(n: int, seed: int = 0) -> tuple[Sinusoids, Sinusoids]:
    """Random sinusoids and random targets."""
    rng = np.random.default_rng(seed)

    def some() -> Sinusoids:
        octaves = rng.uniform(*np.log2(FREQUENCIES), n)
        level, phase = rng.uniform(*LEVELS, n), rng.uniform(0, 2 * np.pi, n)
        # Rounded once here: differences below are those of the float32 numbers.
        return Sinusoids(
            *(jnp.asarray(v, jnp.float32) for v in (octaves, level, phase))
        )

    return some(), some()


def right(
    loss: ke.AbstractLoss, x: Sinusoids, y: Sinusoids, question: str, step: int
) -> np.ndarray:
    """Whether the loss knows the direction from each sinusoid to its target."""
    ours, theirs = (s.octaves if question == "pitch" else s.level for s in (x, y))
    up = jnp.sign(theirs - ours)
    target = y()
    if step == 0:
        ones = jnp.ones_like(ours)
        signals, tangents = jax.jvp(
            lambda by: x.moved(question, by)(), (0 * up,), (ones,)
        )
        gradient = jax.grad(loss)(signals, target)
        slope = jnp.sum(gradient * tangents, axis=-1)
    else:
        by = step * PER_UNIT[question]
        each = jax.vmap(loss)
        above, below = (each(x.moved(question, s * up)(), target) for s in (by, -by))
        slope = up * (above - below)
    # Descent moves against the slope.
    signs = np.asarray(jnp.sign(slope) * -up)
    # Who sees no difference guesses.
    guesses = np.random.default_rng(1).choice([-1, 1], signs.shape)
    return np.where(signs == 0, guesses, signs) == 1


def measure(n: int, names: list[str]) -> list[Score]:
    """Ask the losses all questions."""
    available = contenders()
    x, y = pairs(n)
    scores = []
    with tqdm(total=len(names) * len(COLUMNS) * len(OTHERS), unit="cell") as progress:
        for name in names:
            progress.set_description(f"{name:>25}")
            for question, step in COLUMNS:
                for other in OTHERS:
                    target = y
                    if other == "equal" and question == "pitch":
                        target = y._replace(level=x.level)
                    if other == "equal" and question == "amplitude":
                        target = y._replace(octaves=x.octaves)
                    hits = int(
                        np.sum(right(available[name], x, target, question, step))
                    )
                    interval = of_share(hits, n)
                    scores.append(
                        Score(name, question, step, other, hits / n, *interval, n)
                    )
                    progress.update()
    return scores


def published() -> list[Score]:
    """The rows of the paper, with intervals for their number of trials."""
    scores = []
    for name, shares in PUBLISHED.items():
        for (question, step), share in zip(COLUMNS, shares, strict=True):
            n = PUBLISHED_TRIALS
            interval = of_share(round(share * n), n)
            scores.append(Score(name, question, step, "random", share, *interval, n))
    return scores


def heading(question: str, step: int) -> str:
    return f"{question}, " + (f"{step} {UNITS[question]}" if step else "derivative")


def rows(scores: list[Score]) -> list[list[str]]:
    """The cells of the table: the name, then one a column."""
    found = {(s.loss, s.question, s.step, s.other): s for s in scores}
    lines = []
    for name in dict.fromkeys(s.loss for s in scores):
        cells = [name]
        for question, step in COLUMNS:
            some = [found.get((name, question, step, other)) for other in OTHERS]
            cells.append(" / ".join(in_words(s) for s in some if s is not None))
        lines.append(cells)
    return lines


def in_words(score: Score) -> str:
    """A share and how far its interval reaches, to the further side."""
    reach = max(score.share - score.low, score.high - score.share)
    return f"{score.share:.2f} ± {reach:.2f}"


def print_table(scores: list[Score]) -> None:
    table = Table(title=f"right, as a share of {scores[0].trials} pairs")
    table.add_column("loss")
    for question, step in COLUMNS:
        table.add_column(heading(question, step).replace(", ", "\n"), justify="right")
    for cells in rows(scores):
        table.add_row(*(cell.replace(" / ", "\n") for cell in cells))
    # Into a file or a pipe, rich would squeeze the table into 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(LEGEND, table, sep="\n")


def markdown(scores: list[Score]) -> str:
    """The table for a page."""
    headings = ["", *(heading(*column) for column in COLUMNS)]
    lines = [headings, ["---", *["---:"] * len(COLUMNS)], *rows(scores)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw(scores: list[Score], path: Path) -> None:
    """One panel a question, one line a loss."""
    names = list(dict.fromkeys(s.loss for s in scores))
    places = {name: place for place, name in enumerate(names)}
    figure, axes = plt.subplots(
        1,
        len(COLUMNS),
        figsize=(12.5, 0.33 * len(names) + 1.7),
        sharey=True,
        sharex=True,
        layout="constrained",
    )
    styles = {"random": ("o", "#0072B2", -0.13), "equal": ("s", "#D55E00", 0.13)}
    for ax, (question, step) in zip(axes, COLUMNS, strict=True):
        for other, (marker, colour, offset) in styles.items():
            own = [
                s
                for s in scores
                if (s.question, s.step, s.other) == (question, step, other)
            ]
            share = np.array([s.share for s in own])
            ends = np.array([[s.low, s.high] for s in own]).T
            ax.errorbar(
                share,
                [places[s.loss] + offset for s in own],
                xerr=np.abs(ends - share),
                fmt=marker,
                color=colour,
                markersize=4.5,
                linewidth=1.2,
                label="differ in both" if other == "random" else "in this alone",
            )
        ax.axvline(0.5, color="black", linewidth=0.8, linestyle="--")
        ax.set_xlim(0.3, 1.03)
        ax.set_xticks([0.4, 0.6, 0.8, 1.0])
        ax.grid(axis="y", color="0.9")
        ax.set_axisbelow(True)
        ax.set_title(heading(question, step).replace(", ", "\n"), fontsize="medium")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False)
    figure.supxlabel(
        "share of pairs whose direction is right (dashed: chance)", fontsize="medium"
    )
    _pictures.save(figure, path)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=whole(1), default=1000, help="pairs a question")
    parser.add_argument(
        "--loss",
        nargs="+",
        type=one_of(contenders()),
        default=NAMES,
        help="names of losses",
    )
    parser.add_argument("--out", type=folder, default=Path("outputs/two_sinusoids"))
    parser.add_argument("--quick", action="store_true", help="two losses, few pairs")
    _pictures.add_argument(parser)
    options = parser.parse_args()
    _pictures.check(parser, options)
    n, names = options.n, options.loss
    if options.quick:
        n, names = 20, ("mel", "pitch")
    options.out.mkdir(parents=True, exist_ok=True)
    scores = measure(n, names) + published()
    print_table(scores)
    write_csv(scores, options.out / "two_sinusoids.csv")
    (options.out / "two_sinusoids.md").write_text(markdown(scores), "utf-8")
    picture = options.out / "two_sinusoids.png"
    draw(scores, picture)
    if options.pictures:
        _pictures.renew(picture)
    print(f"Written to {options.out}.")


if __name__ == "__main__":
    main()
