"""Train a small convolutional audio autoencoder with losses from `korvax_eqx`.

    python examples/train_autoencoder.py                          # made-up tunes
    python examples/train_autoencoder.py --data recordings/ --steps 5000
    python examples/train_autoencoder.py --loss sum       # or mrstft, smooth, mel
    python examples/train_autoencoder.py --loss saved.eqx         # by korvax_eqx.save
    python examples/train_autoencoder.py --loss sum --balance     # equal shares
    python examples/train_autoencoder.py --resume outputs/autoencoder/checkpoint.eqx

It writes to the folder `--out`: `log.jsonl`, the loss and its terms at every step;
`checkpoint.eqx`, from which `--resume` continues bit for bit as if never interrupted;
and at the end `reconstructions.png` and `reconstructions.wav`, of held-out sounds.
With `--balance` every part of the loss has an equal share of the gradient, and
`gradient_norms.png` shows what each part contributes with and without it. Ctrl-C (and
SIGTERM, which clusters send) stops after the current step.
"""

import argparse
import dataclasses
import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import _pictures
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import soundfile
from _arguments import folder, parse_run, whole
from _autoencoder import (
    LOSSES,
    QUICK,
    Settings,
    make_step,
    open_loss,
    parts_of,
    start,
)
from _checkpoint import Checkpoint, load, save
from _sounds import HELD_OUT, SR, Sounds, batch, open_sounds
from tqdm import tqdm

import korvax_eqx as kx
from korvax_eqx import plot

NORMS = "gradient_norms.png"


def train(
    run: Checkpoint, sounds: Sounds, steps: int, every: int, out: Path
) -> Checkpoint:
    """Train up to step `steps`, or until a signal asks to stop.

    **Arguments:**

    - `run`: where to begin.
    - `every`: steps between two checkpoints.
    """
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    settings, step_fn = run.settings, make_step(run.settings)
    keep_log(out / "log.jsonl", run.step)
    with (
        open(out / "log.jsonl", "a") as log,
        tqdm(total=steps, initial=run.step, unit="step", dynamic_ncols=True) as bar,
    ):
        while run.step < steps and not stop.is_set():
            rows = range(settings.batch)
            x = batch(sounds, settings.seed, run.step, rows, settings.samples)
            step = step_fn(run.model, run.state, run.loss, x)
            model, state, value, terms, norms = step
            run = run._replace(step=run.step + 1, model=model, state=state)
            entry = {"loss": float(value)} | {k: float(v) for k, v in terms.items()}
            more = {"norms": jax.tree.map(float, norms)} if norms else {}
            log.write(json.dumps({"step": run.step, **entry, **more}) + "\n")
            bar.set_postfix_str(in_brief(entry), refresh=False)
            bar.update()
            if run.step % every == 0 or run.step == 1:
                log.flush()  # the log is never behind the checkpoint
                save(out / "checkpoint.eqx", run)
    save(out / "checkpoint.eqx", run)
    return run


def keep_log(path: Path, step: int) -> None:
    """Remove log entries after the checkpoint: those steps are repeated."""
    lines = path.read_text().splitlines(keepends=True)[:step] if path.exists() else []
    path.write_text("".join(lines))


def in_brief(entry: dict[str, float]) -> str:
    """Write the loss and its terms, summed over resolutions, in one line."""
    sums: dict[str, float] = {}
    for name, value in entry.items():
        kind = name.rpartition("/")[2]
        sums[kind] = sums.get(kind, 0.0) + value
    return ", ".join(f"{kind} {value:.3f}" for kind, value in sums.items())


def report(run: Checkpoint, sounds: Sounds, out: Path, count: int = 3) -> None:
    """Draw and write held-out sounds and their reconstructions."""
    settings = run.settings
    # Longer than the training excerpts: convolutions take any length.
    n_samples = 4 * settings.samples
    x = batch(sounds, settings.seed, 0, range(count), n_samples, HELD_OUT)
    z = np.asarray(jax.jit(jax.vmap(run.model))(x))
    value = float(run.loss(jnp.asarray(z), jnp.asarray(x)))

    figure = plt.figure(figsize=(16, 2.6 * count + 0.6), layout="constrained")
    mosaic = [[f"sound {i}", f"reconstruction {i}", "loss"] for i in range(count)]
    mosaic[-1][-1] = "legend"
    axes = figure.subplot_mosaic(mosaic, width_ratios=(3, 3.4, 2.5))
    for i in range(count):
        draw_pair(axes[f"sound {i}"], axes[f"reconstruction {i}"], x[i, 0], z[i, 0])
        axes[f"sound {i}"].set_title(f"Sound {i + 1}")
        axes[f"reconstruction {i}"].set_title(f"Reconstruction {i + 1}")
    draw_log(axes["loss"], axes["legend"], out / "log.jsonl")
    name = type(run.loss).__name__
    figure.suptitle(f"{name} of sounds held out, after {run.step} steps: {value:.3f}")
    figure.savefig(out / "reconstructions.png", dpi=100)
    plt.close(figure)

    pairs = np.stack([x[:, 0], z[:, 0]], axis=1)  # each sound, then its reconstruction
    soundfile.write(out / "reconstructions.wav", np.clip(pairs, -1, 1).ravel(), SR)


def draw_pair(left: Any, right: Any, x: np.ndarray, z: np.ndarray) -> None:
    """Draw a sound and its reconstruction, in the same colours."""
    picture = kx.Spectrogram(512, hop_length=64, power=1)
    peak = float(jnp.max(picture(jnp.asarray(x))))
    options: dict[str, Any] = {"ref": peak, "vmax": 0, "top_db": 70, "axis": "mel"}
    plot.spectrogram(x, picture, SR, ax=left, colorbar=False, **options)
    plot.spectrogram(z, picture, SR, ax=right, **options)
    right.collections[-1].colorbar.set_label("dB re peak of the sound")
    right.set_ylabel("")


def draw_log(ax: Any, legend: Any, path: Path) -> None:
    """Draw the loss and its terms at every step; the names have axes of their own."""
    history = [json.loads(line) for line in path.read_text().splitlines()]
    steps = [entry.pop("step") for entry in history]
    others = ("loss", "norms")
    terms = [{k: v for k, v in e.items() if k not in others} for e in history]
    plot.terms(terms, ax=ax, steps=steps, linewidth=1, legend=False)
    legend.legend(*ax.get_legend_handles_labels(), loc="upper center", ncols=3)
    legend.axis("off")
    ax.set_title("Training loss")


def draw_norms(path: Path, out: Path) -> None:
    """Draw what each part adds to the gradient, as it would be and as it is."""
    history = [json.loads(line) for line in path.read_text().splitlines()]
    figure = plt.figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots(1, 2)
    titles = {"sum": "Without: the weighted sum", "balanced": "With the balancer"}
    for ax, (kind, title) in zip(axes, titles.items(), strict=True):
        norms = [entry["norms"][kind] for entry in history]
        steps = [entry["step"] for entry in history]
        plot.terms(norms, ax=ax, steps=steps, total=False, linewidth=1, yscale="log")
        ax.set_title(title)
        ax.set_ylabel("Norm of the gradient of a part")
    _pictures.save(figure, out / NORMS)
    plt.close(figure)


def begin(arguments: argparse.Namespace) -> tuple[Checkpoint, Sounds]:
    """Return the run of a checkpoint, or a new one, and its sounds."""
    if arguments.resume is None:
        settings = QUICK if arguments.quick else Settings()
        sounds, loss = open_sounds(arguments.data), open_loss(arguments.loss)
        if arguments.balance:
            settings = dataclasses.replace(settings, balance=parts_of(loss))
        model, state = start(settings)
        fingerprint = sounds.fingerprint()
        run = Checkpoint(0, settings, arguments.data, fingerprint, loss, model, state)
        return run, sounds
    run = load(arguments.resume)
    if arguments.data is not None:  # the folder may have moved
        run = run._replace(folder=arguments.data)
    sounds = open_sounds(run.folder)
    if sounds.fingerprint() != run.fingerprint:
        sys.exit(f"The sounds in {run.folder!r} are not those of the checkpoint.")
    return run, sounds


def parse_arguments() -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument(
        "--data", metavar="FOLDER", help="of audio files (default: made-up tunes)"
    )
    parser.add_argument(
        "--loss",
        default="mrstft",
        help=f"{', '.join(LOSSES)}, or a file that korvax_eqx.save wrote",
    )
    parser.add_argument(
        "--steps", type=whole(1), help="in all (default: 1500, quick: 20)"
    )
    parser.add_argument(
        "--every", type=whole(1), default=100, help="steps to a checkpoint"
    )
    parser.add_argument("--out", type=folder, default=Path("outputs/autoencoder"))
    parser.add_argument(
        "--balance",
        action="store_true",
        help="give every part of the loss an equal share of the gradient",
    )
    _pictures.add_argument(parser)
    arguments = parse_run(parser)
    # Of a balanced run, which may have been resumed.
    _pictures.check(parser, arguments, ("balance", "every", "loss", "out", "resume"))
    if arguments.pictures and (arguments.loss != "sum" or not arguments.balance):
        parser.error("--pictures shows the run with --loss sum --balance.")
    if arguments.steps is None:
        arguments.steps = 20 if arguments.quick else 1500
    return arguments


def main() -> None:
    """Train, save and report."""
    plt.switch_backend("agg")
    arguments = parse_arguments()
    run, sounds = begin(arguments)
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    run = train(run, sounds, arguments.steps, arguments.every, out)
    if run.step < arguments.steps:
        print(f"Stopped after step {run.step}. Go on with")
        print(f"    --resume {out / 'checkpoint.eqx'} --steps {arguments.steps}")
        return
    report(run, sounds, out)
    if run.settings.balance:
        draw_norms(out / "log.jsonl", out)
        if arguments.pictures:
            _pictures.renew(out / NORMS)
    print(f"Wrote log.jsonl, checkpoint.eqx and reconstructions.png/.wav to {out}.")


if __name__ == "__main__":
    main()
