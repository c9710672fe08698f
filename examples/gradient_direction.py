"""Does the gradient of a loss point the right way?

For sounds of known pitch, level, time and timbre: how often does the sign of the
derivative of a loss say whether one of these is too high or too low? Prints a table of
all losses with confidence intervals and one beside published numbers, and writes
`gradient_direction.csv` and a picture.

    python examples/gradient_direction.py
    python examples/gradient_direction.py --quick
    python examples/gradient_direction.py --sounds 8 --n 100
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _pictures
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from _arguments import folder, one_of, whole
from _intervals import bootstrapped
from _notes import Sound, as_sound, drawn
from _results import write_csv
from _tones import NAMES, TONES, losses
from jaxtyping import Array, Float
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

import korvax_eqx as ke

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

# The argument of a sound that a question is about, and how far it is from the target.
QUESTIONS = {
    "coarse": ("octaves", 2.0),
    "fine": ("octaves", 1 / 12),
    "level": ("decibels", 12.0),
    "shift": ("shift", 100.0),
    "onset": ("onset", 100.0),
    "timbre": ("timbre", 6.0),
}
# The parts and weights of `recipes.sound_matching` were chosen on other sounds, of
# other seeds and fundamentals, and of vowels of which only /e/, /o/ and /ae/ are new.
SEED, VOWELS = 7, ("e", "o", "ae")
COLUMNS = (
    *(("coarse", family) for family in ("tones", "strings", "bars", "vowels")),
    *(("fine", family) for family in ("tones", "strings", "bars", "vowels")),
    ("level", None),
    ("shift", None),
    ("onset", None),
    ("timbre", "tones, strings, bars"),
    ("timbre", "vowels"),
)
# Marttila and Reiss (2026), % coarse / fine: of a sine of 160 Hz, and of a vowel.
PUBLISHED = {
    "mrstft": ("OrigMSS", "49.6 / 65.7", ""),
    "smooth": ("SmoothMSS", "69.7 / 64.5", ""),
    "sot paper, 512, log": ("SOT-512-LogF", "85.4 / 99.9", "61 / 50"),
    "": ("TTI-2048", "94.3 / 100", "94 / 64"),
}


@dataclasses.dataclass(frozen=True)
class Score:
    """Shares in percent over the tested positions of one loss, sound and question."""

    loss: str
    family: str
    sound: str
    question: str
    right: float
    not_finite: float


@dataclasses.dataclass(frozen=True)
class Trial:
    """Estimates at positions around a target, and how they change there."""

    sound: Sound
    question: str
    at: Float[np.ndarray, " n"]
    x: Float[Array, "n n_samples"]
    dx: Float[Array, "n n_samples"]
    y: Float[Array, " n_samples"]

    def score(self, name: str, loss: ke.AbstractLoss) -> Score:
        """Ask the question about a loss."""
        y = jnp.broadcast_to(self.y, self.x.shape)
        # A loss is a mean over examples: the factor makes it each example's gradient.
        gradient = jax.grad(loss)(self.x, y) * len(self.at)
        slope = np.asarray(jnp.sum(gradient * self.dx, axis=-1))
        right = 100 * np.mean(np.sign(slope) == np.sign(self.at))
        broken = 100 * np.mean(~np.isfinite(slope))
        sound = self.sound
        return Score(name, sound.family, sound.name, self.question, right, broken)


def positions(question: str, n: int) -> Float[np.ndarray, " n"]:
    """Evenly spaced positions to both sides of the target, none on it."""
    span = QUESTIONS[question][1]
    right = np.linspace(span / n, span, n // 2)
    return np.r_[-right[::-1], right].astype(np.float32)


def trial(sound: Sound, question: str, n: int, seed: int = 1) -> Trial:
    """Make the signals of a question: the estimate has other phases than the target.

    In time, both have the same: otherwise the phases would differ more than the time.
    """
    parameter = QUESTIONS[question][0]
    is_moved = question in ("shift", "onset")
    target = jnp.zeros(len(sound.ratios))
    phases = target if is_moved else sound.phases(seed)

    def estimate(position: Array) -> Array:
        arguments: dict[str, Any] = {parameter: position}
        return sound(phases, is_moved=is_moved, **arguments)

    def both(position: Array) -> tuple[Array, Array]:
        return jax.jvp(estimate, (position,), (jnp.ones(()),))

    at = positions(question, n)
    x, dx = jax.jit(lambda at: jax.lax.map(both, at))(jnp.asarray(at))
    return Trial(sound, question, at, x, dx, sound(target, is_moved=is_moved))


def measure(
    contenders: dict[str, ke.AbstractLoss], sounds: Sequence[Sound], n: int
) -> list[Score]:
    """Ask all questions about all losses. A single partial has no timbre."""
    asked = [
        (sound, question)
        for sound in sounds
        for question in QUESTIONS
        if question != "timbre" or len(sound.ratios) > 1
    ]
    scores = []
    with tqdm(total=len(asked) * len(contenders), unit="question") as progress:
        for sound, question in asked:
            progress.set_description(f"{sound.name:>23}")
            signals = trial(sound, question, n)
            for name, loss in contenders.items():
                scores.append(signals.score(name, loss))
                progress.update()
    return scores


def select(
    scores: list[Score], loss: str, question: str, families: str | None = None
) -> Float[np.ndarray, " sounds"]:
    """The shares of the sounds of some families; `None`: of all."""
    return np.array(
        [
            s.right
            for s in scores
            if (s.loss, s.question) == (loss, question)
            and (families is None or s.family in families.split(", "))
        ]
    )


def cell(shares: Float[np.ndarray, " sounds"]) -> str:
    """Mean, interval, and the worst sound."""
    if not len(shares):
        return ""
    low, high = bootstrapped(shares)
    return f"{shares.mean():.0f}\n{low:.0f}-{high:.0f}\n({shares.min():.0f})"


LEGEND = (
    "How often the derivative of the loss has the right sign, in % of the positions of "
    "an estimate around its target; 50 is chance. Mean over the sounds, the 95 % "
    "interval of that mean (bootstrap over sounds), in brackets the worst sound. "
    "`coarse` and `fine`: of the pitch, within 2 octaves and within 100 cents; "
    "`level`: within 12 dB; `shift`: of the whole sound, within 100 ms; `onset`: of "
    "its envelope, within 100 ms; `timbre`: of the slope of the spectrum, within 6 dB "
    "per octave, and of the formants of vowels, within 6 semitones. The estimate has "
    "random phases, the target has phases of 0; in time, both have. `not finite`: "
    "derivatives that are no number, in % of the worst question."
)
BESIDE = (
    "Beside the numbers that Marttila and Reiss (2026) publish, coarse / fine: theirs "
    "for one sine and one vowel, ours for our sine and the mean of our vowels. Their "
    "ranges, frames and vowel are not public, so neither column says anything of the "
    "other. TTI-2048 is not in this library."
)


def tables(scores: list[Score]) -> list[Table]:
    """All losses, and those that have published numbers."""
    names = list(dict.fromkeys(s.loss for s in scores))
    table = Table(title="sign of the gradient is right, %", show_lines=True)
    table.add_column("loss")
    for question, families in COLUMNS:
        lines = (families or "all").replace(", ", "\n")
        table.add_column(f"{question}\n{lines}", justify="right")
    table.add_column("not\nfinite", justify="right")
    for name in names:
        cells = [cell(select(scores, name, *column)) for column in COLUMNS]
        broken = max(s.not_finite for s in scores if s.loss == name)
        table.add_row(name, *cells, f"{broken:.0f}")
    beside = Table(title="sign of the pitch's gradient is right, %: coarse / fine")
    columns = ("loss", "sine 160", "vowels", "theirs", "their sine 160", "their vowel")
    for column in columns:
        beside.add_column(column)
    others = ("sot paper, valid", "pitch", "cel", "sound matching")
    for name in dict.fromkeys((*PUBLISHED, *others)):
        if name and name not in names:
            continue
        ours = ["", ""]
        if name:
            own = [s for s in scores if s.loss == name]
            sine = [s for s in own if s.sound == "sine 160"]
            vowels = [s for s in own if s.family == "vowels"]
            ours = [_both(sine), _both(vowels)]
        beside.add_row(name, *ours, *PUBLISHED.get(name, ("", "", "")))
    return [table, beside]


def _both(scores: list[Score]) -> str:
    """Coarse / fine."""
    shares = [
        [s.right for s in scores if s.question == question]
        for question in ("coarse", "fine")
    ]
    return " / ".join(f"{np.mean(s):.0f}" for s in shares if s)


def draw(scores: list[Score], path: Path) -> None:
    """A map of losses over questions."""
    names = list(dict.fromkeys(s.loss for s in scores))
    shares = [[select(scores, n, *column) for column in COLUMNS] for n in names]
    values = np.array([[s.mean() if len(s) else np.nan for s in row] for row in shares])
    figure, ax = plt.subplots(
        figsize=(12, 0.36 * len(names) + 2.0), layout="constrained"
    )
    image = ax.imshow(values, vmin=0, vmax=100, cmap="PuOr", aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        colour = "white" if abs(value - 50) > 25 else "black"
        ax.text(
            j,
            i,
            "" if np.isnan(value) else f"{value:.0f}",
            ha="center",
            va="center",
            color=colour,
        )
    words = {"coarse": "pitch, 2 octaves", "fine": "pitch, 100 cents"}
    labels = [
        f"{words.get(question, question)}\n{'others' if ',' in (f or '') else f or ''}"
        for question, f in COLUMNS
    ]
    ax.set_xticks(range(len(COLUMNS)), labels, rotation=40, ha="right")
    ax.set_yticks(range(len(names)), names)
    figure.colorbar(image, label="right sign, % (50 is chance)")
    _pictures.save(figure, path)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    available = losses()
    parser.add_argument("--n", type=whole(2), default=20, help="positions a question")
    parser.add_argument(
        "--sounds", type=whole(1), default=4, help="strings, bars and vowels, of each"
    )
    parser.add_argument(
        "--loss",
        nargs="+",
        type=one_of(available),
        default=list(available),
        help="names, e.g. mrstft 'sot, p=1'",
    )
    parser.add_argument(
        "--out", type=folder, default=Path("outputs/gradient_direction")
    )
    parser.add_argument(
        "--quick", action="store_true", help="two losses, few sounds and positions"
    )
    _pictures.add_argument(parser)
    options = parser.parse_args()
    _pictures.check(parser, options)
    n, names = options.n, options.loss
    sounds = [*map(as_sound, TONES), *drawn(SEED, options.sounds, VOWELS)]
    if options.quick:
        n, names = 4, ["mrstft, lin only", "sound matching"]
        sounds = [as_sound(TONES[0]), *drawn(SEED, 1, VOWELS)[:2]]
    options.out.mkdir(parents=True, exist_ok=True)
    scores = measure({name: available[name] for name in names}, sounds, n)
    # Into a file or a pipe, rich would squeeze the table into 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 170, highlight=False)
    first, beside = tables(scores)
    console.print(LEGEND, NAMES, first, BESIDE, beside, sep="\n")
    write_csv(scores, options.out / "gradient_direction.csv")
    picture = options.out / "gradient_direction.png"
    draw(scores, picture)
    if options.pictures:
        _pictures.renew(picture)
    print(f"Written to {options.out}.")


if __name__ == "__main__":
    main()
