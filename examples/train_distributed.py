"""Train the autoencoder of `train_autoencoder.py` on many devices and processes.

On the devices of one machine, or on four simulated CPU devices:

    python examples/train_distributed.py
    python examples/train_distributed.py --cpu-devices 4

On many machines, the same command on each (`jax.distributed.initialize` finds the
others by itself on Slurm, Open MPI, Kubernetes and Cloud TPU):

    python examples/train_distributed.py --coordinator auto

or with an address and numbers, here two processes on one machine:

    python examples/train_distributed.py --coordinator 127.0.0.1:9876 \\
        --num-processes 2 --process-id 0 --cpu-devices 2 &
    python examples/train_distributed.py --coordinator 127.0.0.1:9876 \\
        --num-processes 2 --process-id 1 --cpu-devices 2

The batch is split over all devices, and each has a copy of the model. No code here
averages gradients: the loss is a mean over the batch, so XLA inserts the sums of the
gradients and of the loss. No signal leaves its device. The losses equal those of one
device up to rounding. Process 0 prints them and writes a `checkpoint.eqx` that
`train_autoencoder.py --resume` accepts.
"""

import argparse
from pathlib import Path

import _processes
import jax
import numpy as np
from _arguments import folder, whole
from _autoencoder import LOSSES, QUICK, Settings, make_step, open_loss, start
from _checkpoint import Checkpoint, save
from _sounds import batch, open_sounds


def train(arguments: argparse.Namespace) -> None:
    """Train; print the losses and write the checkpoint on process 0."""
    settings = QUICK if arguments.quick else Settings()
    sounds, loss = open_sounds(arguments.data), open_loss(arguments.loss)
    layout = _processes.layout(settings.batch)
    # Every device makes the same model from the seed, so nothing is sent.
    make = jax.jit(start, static_argnums=0, out_shardings=layout.everywhere)
    model, state = make(settings)
    step_fn = make_step(settings)

    is_first = _processes.is_first()
    if is_first:
        print(_processes.in_words(), flush=True)
    for step in range(arguments.steps):
        x = layout.spread(
            batch(sounds, settings.seed, step, layout.rows, settings.samples)
        )
        model, state, value, *_ = step_fn(model, state, loss, x)
        if is_first and (step + 1) % arguments.print_every == 0:
            print(f"step {step + 1}: loss {float(value):.9g}", flush=True)
    if is_first:
        arguments.out.mkdir(parents=True, exist_ok=True)
        model, state = jax.tree.map(np.asarray, (model, state))
        fingerprint = sounds.fingerprint()
        run = Checkpoint(
            arguments.steps, settings, arguments.data, fingerprint, loss, model, state
        )
        save(arguments.out / "checkpoint.eqx", run)


def parse_arguments() -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    _processes.add_arguments(parser)
    parser.add_argument(
        "--data", metavar="FOLDER", help="of audio files (default: made-up tunes)"
    )
    parser.add_argument(
        "--loss",
        default="mrstft",
        help=f"{', '.join(LOSSES)}, or a file that korvax_eqx.save wrote",
    )
    parser.add_argument("--steps", type=whole(1), help="(default: 1500, quick: 20)")
    parser.add_argument("--print-every", type=whole(1), metavar="STEPS")
    parser.add_argument("--out", type=folder, default=Path("outputs/distributed"))
    parser.add_argument(
        "--quick", action="store_true", help="a tiny model for a few steps, to try it"
    )
    arguments = parser.parse_args()
    if arguments.steps is None:
        arguments.steps = 20 if arguments.quick else 1500
    if arguments.print_every is None:
        arguments.print_every = 1 if arguments.quick else 50
    _processes.check(parser, arguments)
    return arguments


if __name__ == "__main__":
    options = parse_arguments()
    _processes.connect(options)
    train(options)
