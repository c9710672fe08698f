"""Comparing all files of two folders."""

import argparse
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from korvax_eqx._cli._align import Pair, make_comparable
from korvax_eqx._cli._audio import block_sizes, open_signal
from korvax_eqx._cli._error import CommandError
from korvax_eqx._cli._evaluate import check_channels, evaluate
from korvax_eqx._cli._losses import get_loss
from korvax_eqx._cli._table import Row, print_summary, print_summary_json, write_csv

# Extensions of audio files, in addition to the names of libsndfile's formats.
_MORE_ENDINGS = ("aif", "oga", "opus", "mp2")
# Largest number of names in a message.
_MOST_NAMES = 5


def compare_all(args: argparse.Namespace) -> None:
    """Compare all pairs of files by all losses; print and write the table."""
    if args.plot:
        raise CommandError(
            "--plot draws two files and one loss: leave it out for folders, several "
            "losses and --csv."
        )
    names = list(dict.fromkeys(args.losses))
    pairs, found = _pairs(args.reference, args.estimate)
    losses = {name: get_loss(name) for name in names}
    # Check headers first, so that errors do not come after hours of work.
    opened = [
        [_opened(args, reference, estimate, losses[n][1]) for n in names]
        for _, reference, estimate in pairs
    ]
    rows: list[Row] = []
    bar = tqdm(
        total=len(pairs), desc="comparing", unit="file", leave=False, disable=None
    )
    with bar:
        for (label, reference, estimate), own in zip(pairs, opened, strict=True):
            values = []
            for name, pair in zip(names, own, strict=True):
                value, doubts = _value(args, name, losses[name][0], pair)
                values.append(value)
                found += [f"{label}: {doubt}" for doubt in doubts]
            first = own[0].reference
            rows.append(Row(label, first.seconds, first.sr, first.n_channels, values))
            bar.update()
            del reference, estimate
    found = list(dict.fromkeys(found))
    for warning in found:
        print(f"warning: {warning}", file=sys.stderr)
    if args.csv:
        write_csv(args.csv, names, rows)
    if args.json:
        print_summary_json(names, rows, found)
    else:
        print_summary(names, rows, args.csv)


def _opened(
    args: argparse.Namespace, reference: str, estimate: str, rate: float | None
) -> Pair:
    pair = Pair(
        open_signal(reference, args.start, args.duration),
        open_signal(estimate, args.start, args.duration),
    )
    make_comparable(pair, rate, args.mono, args.resample, args.align)
    return pair


def _value(
    args: argparse.Namespace, name: str, build, pair: Pair
) -> tuple[float, list[str]]:
    """Return the loss of two files, and warnings about it."""
    sr = pair.reference.sr
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        try:
            loss = build(sr)
        except ValueError as error:
            raise CommandError(f"--loss {name}: {error}") from error
    check_channels(name, args.mono, loss, pair.reference.n_channels)
    seconds = min(args.block_seconds, pair.reference.seconds)
    sizes = block_sizes(pair.reference.n_samples, max(1, round(seconds * sr)))
    channels, silent = evaluate(name, loss, pair, sizes, is_padded=True)
    value = float(np.mean([value for value, _ in channels]))
    found = [*pair.warnings, *(f"--loss {name}: {w.message}" for w in doubts)]
    found += [f"{path} is silent: all samples compared are 0" for path in silent]
    if not np.isfinite(value):
        found.append(f"--loss {name} is not finite: the samples are out of its range")
    return value, found


def _pairs(
    reference: str, estimate: str
) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Return names and paths of files to compare, and warnings of those left out."""
    are_folders = [os.path.isdir(path) for path in (reference, estimate)]
    if not any(are_folders):
        return [(os.path.basename(estimate), reference, estimate)], []
    if not all(are_folders):
        raise CommandError(
            f"{reference} and {estimate}: one is a folder and one is not. Give two "
            "files or two folders."
        )
    targets, others = _audio_files(reference), _audio_files(estimate)
    common = sorted(set(targets) & set(others))
    if not common:
        raise CommandError(
            f"{reference} and {estimate}: no audio file has the same name in both. "
            f"Found {len(targets)} and {len(others)}."
        )
    found = []
    for folder, names in ((reference, {*targets}), (estimate, {*others})):
        left = sorted(names - {*common})
        if left:
            some = ", ".join(left[:_MOST_NAMES])
            some += ", ..." if len(left) > _MOST_NAMES else ""
            found.append(f"{folder}: without a partner, left out: {some} ({len(left)})")
    return [(name, targets[name], others[name]) for name in common], found


def _audio_files(folder: str) -> dict[str, str]:
    """Return the paths of audio files by their names in the folder, no extensions."""
    endings = {*map(str.lower, soundfile.available_formats()), *_MORE_ENDINGS} - {"raw"}
    files: dict[str, str] = {}
    for path in sorted(Path(folder).rglob("*")):
        is_hidden = path.name.startswith(".")  # e.g. what macOS writes beside a file
        if is_hidden or path.suffix[1:].lower() not in endings or not path.is_file():
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            raise CommandError(
                f"{files[name]} and {path} have the same name. Keep one of them."
            )
        files[name] = str(path)
    return files
