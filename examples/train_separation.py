"""Train a small network to separate two voices that talk at once.

    python examples/train_separation.py                    # made-up voices
    python examples/train_separation.py --data recordings/ --epochs 40
    python examples/train_separation.py --resume outputs/separation/checkpoint.eqx

Each mixture is the sum of two voices. Nothing says which output of the network is which
voice: `PermutationInvariantLoss` takes the order that fits. After every epoch the table
shows by how many dB SI-SDR improves on mixtures that were held out, and
`checkpoint.eqx` is written to the folder `--out`, from which `--resume` goes on as if
nothing had happened. At the end there are `epochs.csv`, the table; `separation.png`,
the improvement over epochs and a mixture taken apart; and `separation.wav`, that
mixture and then its two voices as the network hears them.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import soundfile
from _arguments import folder, parse_run, whole
from _results import write_csv
from _separation import (
    QUICK,
    Checkpoint,
    Settings,
    load,
    make_step,
    save,
    separated,
    start,
)
from _sounds import HELD_OUT, SR, TRAINING
from _voices import Speakers, mixtures, open_speakers
from tqdm import tqdm

import korvax_eqx as kx
from korvax_eqx import plot


def train(run: Checkpoint, speakers: Speakers, epochs: int, out: Path) -> Checkpoint:
    """Train up to an epoch, with a checkpoint and a row of the table after each."""
    s, step_fn = run.settings, make_step(run.settings)
    voices = held_out(s, speakers)
    if not run.table:
        # Before training: what an untrained network does to a mixture.
        run = run._replace(table=[row(0, [], run, voices)])
    print("epoch   training loss   SI-SDR improvement (dB, mean and standard error)")
    for entry in run.table:
        show(entry)
    for epoch in range(len(run.table), epochs + 1):
        values = []
        for step in tqdm(range(s.steps), f"epoch {epoch}", leave=False):
            number = (epoch - 1) * s.steps + step
            x = mixtures(speakers, s.seed, number, s.batch, s.samples, TRAINING)
            model, state, value = step_fn(run.model, run.state, x)
            run = run._replace(model=model, state=state)
            values.append(float(value))
        run = run._replace(table=[*run.table, row(epoch, values, run, voices)])
        show(run.table[-1])
        save(out / "checkpoint.eqx", run)
    return run


def held_out(settings: Settings, speakers: Speakers) -> np.ndarray:
    """Return the voices of the mixtures for validation."""
    s = settings
    return mixtures(speakers, s.seed, 0, s.held_out, s.samples, HELD_OUT)


def row(
    epoch: int, values: list[float], run: Checkpoint, voices: np.ndarray
) -> dict[str, float]:
    """Return a row of the table."""
    size = run.settings.batch
    parts = [voices[i : i + size] for i in range(0, len(voices), size)]
    gains = np.concatenate([separated(run.model, jnp.asarray(p))[1] for p in parts])
    return {
        "epoch": epoch,
        "training_loss": float(np.mean(values)) if values else float("nan"),
        "improvement_db": float(np.mean(gains)),
        "standard_error_db": float(np.std(gains, ddof=1) / np.sqrt(len(gains))),
    }


def show(entry: dict[str, float]) -> None:
    loss, gain = entry["training_loss"], entry["improvement_db"]
    error = entry["standard_error_db"]
    print(f"{entry['epoch']:5.0f} {loss:15.2f} {gain:20.2f} ± {error:.2f}", flush=True)


def report(run: Checkpoint, speakers: Speakers, out: Path) -> None:
    """Write the table, and draw it beside a mixture that is taken apart."""
    write_csv(run.table, out / "epochs.csv")
    s = run.settings
    voices = held_out(s, speakers)[:1]
    estimates, gain = separated(run.model, jnp.asarray(voices))
    mixture, first, second = np.sum(voices[0], axis=0), *np.asarray(estimates[0])

    figure = plt.figure(figsize=(15, 6.5), layout="constrained")
    mosaic = [["curve", "mixture", "one", "two"], ["curve", "legend", "is 1", "is 2"]]
    axes = figure.subplot_mosaic(mosaic, width_ratios=(1.3, 1, 1, 1))
    draw_table(axes["curve"], run.table)
    axes["legend"].axis("off")
    transform = kx.Spectrogram(512, hop_length=64, power=1)
    peak = float(jnp.max(transform(jnp.asarray(mixture))))
    pictures = {
        "mixture": (mixture, "Mixture"),
        "one": (voices[0, 0], "Voice 1"),
        "two": (voices[0, 1], "Voice 2"),
        "is 1": (first, "Estimate 1"),
        "is 2": (second, "Estimate 2"),
    }
    options: dict[str, Any] = {"ref": peak, "vmax": 0, "top_db": 60, "axis": "mel"}
    for name, (x, title) in pictures.items():
        ax = axes[name]
        plot.spectrogram(x, transform, SR, ax=ax, colorbar=False, **options)
        ax.set_title(title)
    text = f"A mixture that was held out:\n{float(gain[0]):.1f} dB better"
    axes["legend"].text(0.5, 0.5, text, ha="center", va="center")
    figure.savefig(out / "separation.png", dpi=100)
    plt.close(figure)
    sound = np.concatenate([mixture, first, second])
    soundfile.write(out / "separation.wav", np.clip(sound, -1, 1), SR)


def draw_table(ax: Any, table: list[dict[str, float]]) -> None:
    """Draw the improvement over epochs, with its standard error."""
    epochs = [entry["epoch"] for entry in table]
    gains = np.array([entry["improvement_db"] for entry in table])
    errors = np.array([entry["standard_error_db"] for entry in table])
    ax.fill_between(epochs, gains - errors, gains + errors, alpha=0.3, linewidth=0)
    ax.plot(epochs, gains, marker="o")
    ax.axhline(0, color="grey", linewidth=1)
    ax.set(xlabel="Epoch", ylabel="SI-SDR improvement (dB)", title="Validation")
    ax.grid(alpha=0.3)


def begin(arguments: argparse.Namespace) -> tuple[Checkpoint, Speakers]:
    """Return the run of a checkpoint, or a new one, and its sounds."""
    if arguments.resume is None:
        settings = QUICK if arguments.quick else Settings()
        speakers = open_speakers(arguments.data)
        model, state = start(settings)
        fingerprint = speakers.fingerprint()
        return Checkpoint(
            [], settings, arguments.data, fingerprint, model, state
        ), speakers
    run = load(arguments.resume)
    if arguments.data is not None:  # the folder may have moved
        run = run._replace(folder=arguments.data)
    speakers = open_speakers(run.folder)
    if speakers.fingerprint() != run.fingerprint:
        sys.exit(f"The sounds in {run.folder!r} are not those of the checkpoint.")
    return run, speakers


def parse_arguments() -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help="of recordings of one voice each (default: made-up voices)",
    )
    parser.add_argument(
        "--epochs", type=whole(1), help="in all (default: 12, quick: 2)"
    )
    parser.add_argument("--out", type=folder, default=Path("outputs/separation"))
    arguments = parse_run(parser)
    if arguments.epochs is None:
        arguments.epochs = 2 if arguments.quick else 12
    return arguments


def main() -> None:
    """Train, save and report."""
    plt.switch_backend("agg")
    arguments = parse_arguments()
    run, speakers = begin(arguments)
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    run = train(run, speakers, arguments.epochs, out)
    report(run, speakers, out)
    print(f"Wrote epochs.csv, checkpoint.eqx and separation.png/.wav to {out}.")


if __name__ == "__main__":
    main()
