"""Checkpoints: model, optimiser state, settings and loss in one file.

One line of JSON describes the run (step, settings, sounds, and the loss by
`korvax_eqx.to_config`). The arrays follow as Equinox writes them.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
from _archive import read, write
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
    write(path, header, (checkpoint.model, checkpoint.state))


def load(path: Path) -> Checkpoint:
    """Read a checkpoint."""
    header, (model, state) = read(path, FORMAT, _arrays)
    return Checkpoint(**header, model=model, state=state)


def _arrays(header: dict[str, Any]) -> Any:
    """Return the shapes of the arrays, and make objects of what the header says."""
    settings = header["settings"]
    settings["balance"] = tuple(settings.get("balance", ()))
    header["settings"] = Settings(**settings)
    header["loss"] = kx.from_config(header["loss"])
    return eqx.filter_eval_shape(start, header["settings"])
