"""Which loss teaches an encoder the pitch, without any label?

    python examples/train_pitch_encoder.py
    python examples/train_pitch_encoder.py --loss recipes.sot_paper MRSTFTLoss --seeds 5
    python examples/train_pitch_encoder.py --complete
    python examples/train_pitch_encoder.py --resume outputs/pitch_encoder/checkpoint.eqx

The experiment of Torres, Peeters and Richard (ICASSP 2024), "Unsupervised harmonic
parameter estimation using differentiable DSP and spectral optimal transport": an
encoder sees a CQT of a harmonic signal and controls a harmonic synthesiser, and the
loss compares what that plays with the signal. Nothing tells it the pitch. The same for
each loss and several seeds; then the raw pitch and chroma accuracy, octave errors and
the log-spectral distance on signals that were held out.

`--complete` is the protocol of the paper's code, for a GPU: 500 epochs of 4000 signals,
of 16 frames each, for 5 seeds. The default is for two CPU cores and minutes. What
differs is in `Settings` in `_pitch_encoder.py`; above all, the synthesiser is told the
amplitudes of the harmonics, so the encoder only has to learn the pitch.

It writes to the folder `--out`: `runs.csv`, a row for each loss and seed; `log.csv`,
all validations; `pitch_encoder.md` and `pitch_encoder.png`, means with 95 % confidence
intervals; and after every validation `checkpoint.eqx`, from which `--resume` goes on as
if nothing had happened, with its settings; with `--loss`, those losses follow its own.
On many devices and machines it runs as `train_distributed.py` does, with the same
arguments: the batch is cut over all devices.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import _pictures
import _processes
import jax
import matplotlib
import numpy as np
from _arguments import folder, one_of, parse_run, whole
from _intervals import of_mean
from _pitch_encoder import (
    BASELINE,
    COMPLETE,
    LOSSES,
    QUICK,
    Settings,
    Signals,
    Study,
    begin,
    load,
    make_signals,
    make_step,
    measure,
    save,
    start,
)
from _processes import Layout
from _results import write_csv
from tqdm import tqdm

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

MEASURES = {
    "raw_pitch_accuracy": "raw pitch accuracy, %",
    "raw_chroma_accuracy": "raw chroma accuracy, %",
    "octave_errors": "octave errors, %",
    "log_spectral_distance": "log-spectral distance, dB²",
}
# Raw pitch accuracy in the paper, %: mean and median over 5 seeds.
PUBLISHED = {"MSS, published": (20.0, None), "SOT, published": (75.0, 99.7)}


def train(study: Study, parts: tuple[Signals, ...], out: Path) -> Study:
    """Do what is left of the study, with a checkpoint after each validation."""
    s = study.settings
    layout = _processes.layout(s.batch)
    total = len(s.runs) * s.epochs
    with tqdm(
        total=total,
        initial=study.run * s.epochs + study.epoch,
        unit="epoch",
        disable=not _processes.is_first(),
    ) as bar:
        while study.run < len(s.runs):
            name, seed = s.runs[study.run]
            bar.set_description(f"{name}, seed {seed}")
            study = epoch(study, parts[0], layout)
            if study.epoch % s.every == 0 or study.epoch == s.epochs:
                study = validated(study, parts, layout)
                last = study.log[-1]
                bar.set_postfix_str(f"validation {last['raw_pitch_accuracy']:.1f} %")
                if _processes.is_first():
                    save(out / "checkpoint.eqx", study)
            bar.update()
    return study


def epoch(study: Study, signals: Signals, layout: Layout) -> Study:
    """Train for an epoch; begin the run if it is its first."""
    s, (name, seed) = study.settings, study.settings.runs[study.run]
    step_fn = make_step(s, LOSSES[name]())
    model, state = study.model, study.state
    if study.epoch == 0:
        make = jax.jit(start, static_argnums=0, out_shardings=layout.everywhere)
        model, state = make(s, seed)
    order = np.random.default_rng((seed, study.epoch)).permutation(len(signals.x))
    for i in range(s.steps):
        rows = order[i * s.batch : (i + 1) * s.batch][layout.rows]
        mine = signals.part(rows)
        key = jax.random.fold_in(jax.random.key(seed), study.epoch * s.steps + i)
        arrays = map(layout.spread, (mine.x, mine.features, mine.amplitudes))
        model, state, _ = step_fn(model, state, *arrays, key)
    return study._replace(model=model, state=state, epoch=study.epoch + 1)


def validated(study: Study, parts: tuple[Signals, ...], layout: Layout) -> Study:
    """Validate; keep the best model; after the last epoch test it and go on."""
    s, (name, seed) = study.settings, study.settings.runs[study.run]
    result = means(study.model, parts[1], s, layout)
    entry = {"loss": name, "seed": seed, "epoch": study.epoch, **result}
    study = study._replace(log=[*study.log, entry])
    distance = result["log_spectral_distance"]
    # As in the paper's code: the model of the lowest distance, which needs no label.
    if distance < study.lowest:
        study = study._replace(lowest=distance, best=study.model)
    if study.epoch < s.epochs:
        return study
    tested = means(study.best, parts[2], s, layout)
    row = {"loss": name, "seed": seed, **tested}
    return study._replace(
        run=study.run + 1,
        epoch=0,
        lowest=float("inf"),
        table=[*study.table, row],
    )


def means(
    model: Any, signals: Signals, settings: Settings, layout: Layout
) -> dict[str, float]:
    """Return the means of all measures over the signals."""
    n, batch, found = len(signals.x), settings.batch, []
    for i in range(0, n, batch):
        # Beyond the last signal it is repeated, and not counted.
        rows = np.minimum(np.arange(i, i + batch), n - 1)[layout.rows]
        part = signals.part(rows)
        found.append(measure(settings, model, *map(layout.spread, part)))
    gather = jax.jit(lambda tree: tree, out_shardings=layout.everywhere)
    columns = {
        name: np.concatenate([np.asarray(gather(piece[name])) for piece in found])[:n]
        for name in MEASURES
    }
    return {name: float(np.mean(values)) for name, values in columns.items()}


def rows(study: Study) -> list[list[str]]:
    """The cells of the table: a line for each loss."""
    lines = []
    for loss in dict.fromkeys(row["loss"] for row in study.table):
        own = [row for row in study.table if row["loss"] == loss]
        cells = [loss]
        for name in MEASURES:
            values = [row[name] for row in own]
            low, _ = of_mean(values)
            reach = f" ± {np.mean(values) - low:.1f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.1f}{reach} ({np.median(values):.1f})")
        lines.append(cells)
    for name, (mean, median) in PUBLISHED.items():
        inside = "" if median is None else f" ({median})"
        lines.append([name, f"{mean:.0f}{inside}", "", "", ""])
    return lines


def markdown(study: Study) -> str:
    """The table for a page."""
    headings = ["", *MEASURES.values()]
    lines = [headings, ["---", *["---:"] * len(MEASURES)], *rows(study)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw(study: Study, path: Path) -> None:
    """Accuracies of all runs, and how they came about."""
    losses = list(dict.fromkeys(row["loss"] for row in study.table))
    colours = {loss: f"C{i}" for i, loss in enumerate(losses)}
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12.5, 4.6), width_ratios=(1.1, 1), layout="constrained"
    )
    places = [*losses, *PUBLISHED]
    for row in study.table:
        at, colour = places.index(row["loss"]), colours[row["loss"]]
        left.plot(row["raw_pitch_accuracy"], at, "o", color=colour, alpha=0.6)
        left.plot(row["raw_chroma_accuracy"], at + 0.25, "x", color=colour, alpha=0.6)
    for loss in losses:
        values = [r["raw_pitch_accuracy"] for r in study.table if r["loss"] == loss]
        low, high = of_mean(values)
        ends = np.clip([low, high], 0, 100)
        left.plot(ends, [places.index(loss) - 0.2] * 2, color=colours[loss], lw=2)
    for name, (mean, median) in PUBLISHED.items():
        left.plot(mean, places.index(name), "D", color="black")
        if median is not None:
            left.plot(median, places.index(name), "D", color="black", mfc="none")
    left.set_yticks(range(len(places)), places)
    left.invert_yaxis()
    left.set_xlim(-3, 103)
    left.grid(axis="y", color="0.9")
    left.set_axisbelow(True)
    left.set_xlabel("accuracy on test signals, %")
    left.set_title(
        "o pitch, x chroma, a mark a seed; line: interval of the mean",
        fontsize="medium",
    )
    for loss, seed in study.settings.runs:
        own = [e for e in study.log if (e["loss"], e["seed"]) == (loss, seed)]
        at = [entry["epoch"] for entry in own]
        values = [entry["raw_pitch_accuracy"] for entry in own]
        label = loss if seed == 0 else None
        right.plot(at, values, color=colours[loss], lw=1.2, label=label)
    right.set(ylim=(-3, 103), xlabel="epoch", ylabel="raw pitch accuracy, %")
    right.set_title("on validation signals, a line a seed", fontsize="medium")
    right.grid(color="0.9")
    right.xaxis.get_major_locator().set_params(integer=True)
    right.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _pictures.save(figure, path)
    plt.close(figure)


def report(study: Study, out: Path) -> None:
    """Print and write what came out."""
    text = markdown(study)
    print("Mean over seeds ± 95 % confidence interval (median).", text, sep="\n")
    write_csv(study.table, out / "runs.csv")
    write_csv(study.log, out / "log.csv")
    (out / "pitch_encoder.md").write_text(text, "utf-8")
    draw(study, out / "pitch_encoder.png")


def prepare(arguments: argparse.Namespace) -> Study:
    """Return the study of a checkpoint, or a new one."""
    if arguments.resume is not None:
        study = load(arguments.resume)
        more = [n for n in arguments.loss or () if n not in study.settings.losses]
        losses = (*study.settings.losses, *more)
        settings = dataclasses.replace(study.settings, losses=losses)
        return study._replace(settings=settings)
    settings = COMPLETE if arguments.complete else Settings()
    settings = QUICK if arguments.quick else settings
    given = {"seeds": arguments.seeds, "epochs": arguments.epochs}
    changes: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    if arguments.loss is not None:
        changes["losses"] = tuple(dict.fromkeys(arguments.loss))
    return begin(dataclasses.replace(settings, **changes))


def parse_arguments() -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    _processes.add_arguments(parser)
    parser.add_argument(
        "--loss",
        nargs="+",
        type=one_of(LOSSES),
        help=f"names of losses (default: all but {BASELINE!r})",
    )
    parser.add_argument(
        "--complete", action="store_true", help="the protocol of the paper, for a GPU"
    )
    parser.add_argument("--seeds", type=whole(1), help="runs for each loss")
    parser.add_argument("--epochs", type=whole(1), help="of each run")
    parser.add_argument("--out", type=folder, default=Path("outputs/pitch_encoder"))
    _pictures.add_argument(parser)
    arguments = parse_run(parser)
    _processes.check(parser, arguments)
    _pictures.check(parser, arguments)
    fixed = ("complete", "quick", "seeds", "epochs")
    for name in fixed if arguments.resume is not None else ():
        if vars(arguments)[name]:
            parser.error(f"--resume goes on with its settings: leave `{name}` out.")
    return arguments


def main() -> None:
    """Train, save and report."""
    arguments = parse_arguments()
    _processes.connect(arguments)
    study, out = prepare(arguments), arguments.out
    if _processes.is_first():
        out.mkdir(parents=True, exist_ok=True)
        print(_processes.in_words(), flush=True)
    study = train(study, make_signals(study.settings), out)
    if _processes.is_first():
        report(study, out)
        if arguments.pictures:
            _pictures.renew(out / "pitch_encoder.png")
        print(f"Wrote runs.csv, log.csv, pitch_encoder.md and .png to {out}.")


if __name__ == "__main__":
    main()
