"""Checkpoints: model, optimiser state, settings and loss in one file.

One line of JSON describes the run (step, settings, sounds, and the loss by
`korvax_eqx.to_config`). The arrays follow as Equinox writes them.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
from _autoencoder import Autoencoder, Settings, start

import korvax_eqx as kx

FORMAT = "korvax_eqx autoencoder checkpoint 1"


class Checkpoint(NamedTuple):
    """A run after some steps."""

    step: int  # how many steps are done
    settings: Settings
    folder: str | None  # of the sounds
    fingerprint: str  # of the sounds
    loss: Any
    model: Autoencoder
    state: Any  # of the optimiser and the balancer


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint: completely, or not at all if interrupted."""
    header = {
        "format": FORMAT,
        "step": checkpoint.step,
        "settings": dataclasses.asdict(checkpoint.settings),
        "folder": checkpoint.folder,
        "fingerprint": checkpoint.fingerprint,
        "loss": kx.to_config(checkpoint.loss),
    }
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        eqx.tree_serialise_leaves(file, (checkpoint.model, checkpoint.state))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint."""
    try:
        with open(path, "rb") as file:
            header = json.loads(file.readline())
            if header.pop("format", None) != FORMAT:
                raise ValueError("it has another format")
            settings = header.pop("settings")
            settings["balance"] = tuple(settings.get("balance", ()))
            settings = Settings(**settings)
            loss = kx.from_config(header.pop("loss"))
            # Shapes and dtypes, computing nothing.
            like = eqx.filter_eval_shape(start, settings)
            model, state = eqx.tree_deserialise_leaves(file, like)
    except (OSError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        sys.exit(f"Cannot resume from {str(path)!r}: {error}")
    return Checkpoint(**header, settings=settings, loss=loss, model=model, state=state)
