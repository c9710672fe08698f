"""Which `log_eps` for `MRSTFTLoss`, and what its values mean.

Sounds are degraded in known ways: MP3, Opus, noise, low-pass, clipping, -6 dB, a
semitone up, resampling. It prints the loss of each, by `log_eps`; how well the losses
agree with measures of quality (those of PESQ, STOI, ViSQOL and Zimtohrli that are
installed); and how often the gradient finds the pitch. It writes the tables as CSV, and
a picture. `recipes.mrstft()` is the recommended setting that came out of it.

    python examples/what_values_mean.py
    python examples/what_values_mean.py --sounds speech *.wav --sounds music *.ogg
    python examples/what_values_mean.py --quick

MP3 and Opus are coded by libsndfile; other tools are not needed.
"""

import argparse
import csv
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from _degradations import NOT_JUDGED, families, without_codecs
from _excerpts import Excerpt, made, read
from _judges import Judge, judges
from _notes import as_sound
from _results import write_csv
from _tones import TONES, Tone
from _value_pictures import draw
from gradient_direction import trial
from jaxtyping import Float
from pitch_fit import fit
from rich.console import Console
from rich.table import Table
from scipy.signal import get_window
from scipy.stats import rankdata
from tqdm import tqdm

import korvax_eqx as ke

EPS = tuple(f"1e-{k}" for k in range(7, 0, -1)) + ("1",)
PARITY, BETTER = "1e-7", "1e-2"
# A pair of sounds that a judge clearly tells apart: a difference of half a point of
# its scale from 1 to 5; STOI's scale ends at 1.
CLEAR = {"STOI": 0.02}
IDENTICAL = "identical"
Losses = tuple[ke.AbstractLoss, ...]  # whose values are added up
Table2D = Float[np.ndarray, "sounds degradations"]


@dataclasses.dataclass(frozen=True)
class Study:
    """Sounds, their degradations, and the values of losses and judges for each.

    A judge's rating is NaN where it does not apply.
    """

    excerpts: Sequence[Excerpt]
    degradations: dict[str, str]  # name to family
    values: dict[str, Table2D]  # by the label of the loss
    ratings: dict[str, Table2D]  # by the name of the judge

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys(e.kind for e in self.excerpts))

    def of_kind(self, kind: str) -> list[int]:
        return [i for i, e in enumerate(self.excerpts) if e.kind == kind]

    def value(self, label: str, kind: str, degradation: str) -> float:
        """Return the mean over the sounds of a kind."""
        column = list(self.degradations).index(degradation)
        return float(np.mean(self.values[label][self.of_kind(kind), column]))


def by_eps(eps: Sequence[str]) -> dict[str, Losses]:
    """Return `MRSTFTLoss` for each `log_eps`, with the defaults otherwise."""
    return {e: (ke.MRSTFTLoss(log_eps=float(e)),) for e in eps}


def variants() -> dict[str, Losses]:
    """Return alternatives: other logarithmic terms beside the linear term."""
    linear = ke.MRSTFTLoss(w_log=0)

    def log(eps: float, **options) -> Losses:
        return linear, ke.MRSTFTLoss(w_lin=0, log_eps=eps, **options)

    # Each resolution's magnitudes in units of its window's sum.
    sizes = linear.win_lengths
    windows = [np.asarray(get_window("hann", size), float) for size in sizes]
    unit = [window / np.sum(window) for window in windows]
    relative = {
        f"{e} of the window's sum": log(float(e), window=unit)
        for e in ("1e-6", "1e-5", "1e-4")
    }
    squared = {
        f"{e}, log_dist L2": log(float(e), log_dist="L2")
        for e in ("1e-3", "1e-2", "1e-1")
    }
    power = {f"({e})², power 2": log(float(e) ** 2, power=2) for e in ("1e-3", "1e-2")}
    return {
        **relative,
        **squared,
        **power,
        "linear term alone": (linear,),
        "SmoothMRSTFTLoss": (ke.SmoothMRSTFTLoss(),),
    }


def measure(
    excerpts: Sequence[Excerpt],
    losses: dict[str, Losses],
    panel: Sequence[Judge],
    codecs: bool = True,
) -> Study:
    """Degrade all sounds in all ways, and rate the results."""
    chosen = {
        name: (family, degrade)
        for family, members in families().items()
        for name, degrade in members.items()
        if codecs or family not in ("MP3", "Opus")
    }
    names = {IDENTICAL: IDENTICAL, **{n: family for n, (family, _) in chosen.items()}}
    shape = len(excerpts), len(names)
    values = {label: np.zeros(shape) for label in losses}
    ratings = {judge.name: np.full(shape, np.nan) for judge in panel}
    for i, excerpt in enumerate(tqdm(excerpts, unit="sound")):
        x = excerpt.signal
        y = [x, *(degrade(x) for _, degrade in chosen.values())]
        estimates = jnp.asarray(np.stack(y), jnp.float32)
        targets = jnp.broadcast_to(jnp.asarray(x), estimates.shape)
        for term in dict.fromkeys(t for terms in losses.values() for t in terms):
            each = np.asarray(jax.vmap(term)(estimates, targets))
            for label, terms in losses.items():
                values[label][i] += each if term in terms else 0.0
        for judge in panel:
            if excerpt.kind == "speech" or not judge.of_speech_only:
                ratings[judge.name][i] = [judge.rate(x, z) for z in np.asarray(y)]
    return Study(excerpts, names, values, ratings)


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Of a loss with a judge, over the sounds of a kind."""

    loss: str
    kind: str
    judge: str
    rank_correlation: float  # Spearman's, mean over sounds; 1: the same order
    inverted: float  # % of the pairs that the judge clearly tells apart
    worst: float  # the largest difference of ratings that the loss inverts
    worst_pair: str


def agreement(study: Study, label: str, kind: str, judge: str) -> Agreement:
    """Compare orders sound by sound, of the degradations that judges can rate."""
    names = list(study.degradations)
    left_out = (IDENTICAL, *NOT_JUDGED)
    columns = [i for i, name in enumerate(names) if name not in left_out]
    correlations, n_inverted, n_clear, worst, pair = [], 0, 0, 0.0, "none"
    for i in study.of_kind(kind):
        loss = study.values[label][i, columns]
        rating = study.ratings[judge][i, columns]
        ranks = rankdata(loss), rankdata(-rating)
        correlations.append(np.corrcoef(*ranks)[0, 1])
        better = rating[:, None] - rating  # [a, b]: by how much a is the better one
        inverted = loss[:, None] > loss
        clear = better >= CLEAR.get(judge, 0.5)
        n_clear += np.sum(clear)
        n_inverted += np.sum(clear & inverted)
        gaps = np.where(inverted, better, 0.0)
        a, b = np.unravel_index(np.argmax(gaps), gaps.shape)
        if gaps[a, b] > worst:
            worst = float(gaps[a, b])
            pair = f"{names[columns[a]]} costs more than {names[columns[b]]}"
    share = 100 * n_inverted / n_clear if n_clear else float("nan")
    mean = float(np.mean(correlations))
    return Agreement(label, kind, judge, mean, float(share), worst, pair)


def agreements(study: Study) -> list[Agreement]:
    """Return all for which there are ratings."""
    return [
        agreement(study, label, kind, judge)
        for label in study.values
        for kind in study.kinds
        for judge, ratings in study.ratings.items()
        if not np.isnan(ratings[study.of_kind(kind)]).any()
    ]


@dataclasses.dataclass(frozen=True)
class Pitch:
    """Shares in % over all tones: of signs of the gradient, and of fits."""

    log_eps: str
    coarse: float
    fine: float
    within_50_cents: float


def pitch(
    eps: Sequence[str], tones: Sequence[Tone], seeds: int, steps: int, n: int
) -> list[Pitch]:
    """Ask the questions of `gradient_direction.py` and `pitch_fit.py`."""
    starts = np.random.default_rng(0).uniform(-2, 2, seeds)
    results = []
    for e in tqdm(eps, unit="fit"):
        loss = ke.MRSTFTLoss(log_eps=float(e))
        coarse, fine = (
            np.mean(
                [trial(as_sound(t), question, n).score(e, loss).right for t in tones]
            )
            for question in ("coarse", "fine")
        )
        ends = [fit(loss, t, jnp.asarray(starts, jnp.float32), steps) for t in tones]
        close = 1200 * np.abs(np.asarray(ends)) <= 50
        results.append(Pitch(e, coarse, fine, 100 * float(np.mean(close))))
    return results


def sines(log_eps: str) -> list[float]:
    """Return the values of 240, 250 and 260 Hz for 440 Hz, of 1 s at 16 kHz."""
    t = jnp.arange(16_000) / 16_000
    loss = ke.MRSTFTLoss(log_eps=float(log_eps))
    target = jnp.sin(2 * jnp.pi * 440 * t)
    return [float(loss(jnp.sin(2 * jnp.pi * f * t), target)) for f in (240, 250, 260)]


def print_meaning(study: Study, console: Console) -> None:
    """One line per degradation: its values and its rating."""
    console.print(
        f"What MRSTFTLoss(log_eps={PARITY}) and MRSTFTLoss(log_eps={BETTER}) are for a "
        "sound and what became of it, by the kind of sound; 0 is identical."
    )
    if "ViSQOL" in study.ratings:
        console.print("ViSQOL rates the quality from 1 to 4.7, which is identical.")
    console.print("kbit/s: for one channel; SNR: level of the sound above the noise.")
    table = Table(title=f"values with log_eps {PARITY} and {BETTER}, means over sounds")
    table.add_column("degradation")
    judge = "ViSQOL" if "ViSQOL" in study.ratings else ""
    for kind in study.kinds:
        for label in (PARITY, BETTER):
            table.add_column(f"{kind}\n{label}", justify="right")
        if judge:
            table.add_column(f"{kind}\n{judge}", justify="right")
    for column, name in enumerate(study.degradations):
        cells = []
        for kind in study.kinds:
            cells += [f"{study.value(e, kind, name):.3f}" for e in (PARITY, BETTER)]
            if judge:
                rated = study.ratings[judge][study.of_kind(kind), column]
                cells.append(f"{np.mean(rated):.1f}")
        table.add_row(name, *cells)
    console.print(table)
    for e in (PARITY, BETTER):
        values = ", ".join(f"{value:.2f}" for value in sines(e))
        console.print(f"Sines of 240, 250, 260 Hz for 440 Hz, with {e}: {values}.")


def print_agreements(scores: list[Agreement], console: Console) -> None:
    """One line per loss, one column per kind of sound and judge."""
    console.print(
        "a / b: a is Spearman's rank correlation of the loss with the measure of "
        "quality, 1 for the same order; b the pairs that the measure clearly tells "
        "apart and the loss puts in the wrong order, in %. PESQ and STOI rate speech "
        "only. The losses are MRSTFTLoss by its log_eps; `of the window's sum`: in "
        "units of the sum of each window; `(a)², power 2`: of power spectra."
    )
    table = Table(
        title="rank correlation with judges / % of clear pairs in the wrong order"
    )
    table.add_column("loss")
    columns = list(dict.fromkeys((s.kind, s.judge) for s in scores))
    for kind, judge in columns:
        table.add_column(f"{kind}\n{judge}", justify="right")
    for label in dict.fromkeys(s.loss for s in scores):
        found = {(s.kind, s.judge): s for s in scores if s.loss == label}
        cells = [found[c] for c in columns]
        table.add_row(
            label, *(f"{s.rank_correlation:.2f} / {s.inverted:.0f}" for s in cells)
        )
    console.print(table)
    for label in (PARITY, BETTER):
        worst = max((s for s in scores if s.loss == label), key=lambda s: s.worst)
        console.print(
            f"Worst inversion with {label}: {worst.worst_pair} "
            f"({worst.kind}), {worst.worst:.1f} points of {worst.judge}."
        )


def print_pitch(results: list[Pitch], runs: int, console: Console) -> None:
    console.print(
        "Tones at random phases. `within ...`: how often the derivative of the loss "
        "along frequency has the right sign, from so far away, in %; 50 is chance. "
        "`fits`: runs of Adam from up to two octaves away that end within 50 cents."
    )
    table = Table(
        title="pitch: % of right signs of the gradient, and of fits within 50 cents"
    )
    table.add_column("log_eps")
    for column in ("within 2 octaves", "within 100 cents", f"fits, % of {runs}"):
        table.add_column(column, justify="right")
    for r in results:
        shares = (r.coarse, r.fine, r.within_50_cents)
        table.add_row(r.log_eps, *(f"{share:.0f}" for share in shares))
    console.print(table)


def write_values(study: Study, path: Path) -> None:
    """Write every value and rating, one line a sound and degradation."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["kind", "sound", "degradation", *study.values, *study.ratings])
        numbers = [*study.values.values(), *study.ratings.values()]
        for i, excerpt in enumerate(study.excerpts):
            for j, name in enumerate(study.degradations):
                cells = [f"{table[i, j]:.6g}" for table in numbers]
                writer.writerow([excerpt.kind, excerpt.name, name, *cells])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sounds",
        nargs="+",
        action="append",
        metavar=("KIND", "FILES"),
        help="'speech', 'music' or any other word, then files (made-up sounds if none)",
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of every sound")
    parser.add_argument("--seeds", type=int, default=10, help="fits a tone")
    parser.add_argument("--out", type=Path, default=Path("outputs/what_values_mean"))
    parser.add_argument(
        "--quick", action="store_true", help="short sounds, two losses, no judges"
    )
    options = parser.parse_args()
    if any(len(words) < 2 for words in options.sounds or ()):
        parser.error("--sounds takes a kind and then at least one file.")
    # Into a file or a pipe, rich would squeeze the tables into 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    run(options, console)


def run(options: argparse.Namespace, console: Console) -> tuple[Study, list[Pitch]]:
    """Measure, print and write everything."""
    seconds, eps, panel, missing = options.seconds, EPS, [], []
    losses = {**by_eps(eps), **variants()}
    tones, steps, seeds, n = TONES, 200, options.seeds, 40
    if options.quick:
        seconds, eps = 1.0, (PARITY, BETTER)
        losses, tones, steps, seeds, n = by_eps(eps), TONES[1:2], 5, 2, 8
    else:
        panel, missing = judges()
    excerpts = []
    for kind, *files in options.sounds or ():
        excerpts += read(kind, files, seconds)
    excerpts = excerpts or made(seconds)
    options.out.mkdir(parents=True, exist_ok=True)
    if missing:
        console.print(f"Not installed, so left out: {', '.join(missing)}.")
    if reason := without_codecs():
        console.print(f"MP3 and Opus are left out: {reason}.")

    study = measure(excerpts, losses, panel, codecs=not reason)
    print_meaning(study, console)
    write_values(study, options.out / "values.csv")
    scores = agreements(study)
    if scores:
        print_agreements(scores, console)
        write_csv(scores, options.out / "agreements.csv")
    results = pitch(eps, tones, seeds, steps, n)
    print_pitch(results, seeds * len(tones), console)
    write_csv(results, options.out / "pitch.csv")

    draw(study, scores, options.out / "what_values_mean.png")
    console.print(f"Written to {options.out}.")
    return study, results


if __name__ == "__main__":
    main()
