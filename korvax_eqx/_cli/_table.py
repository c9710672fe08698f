"""The table of many comparisons: printed, as CSV and as JSON."""

import csv
import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import scipy.stats
from rich.console import Console
from rich.table import Table
from rich.text import Text

from korvax_eqx._cli._error import CommandError

# With more files, rows are only written to the CSV.
_MOST_ROWS = 40
_LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Row:
    """One pair of files, with the value of each loss."""

    name: str
    seconds: float
    sr: int
    n_channels: int
    values: list[float]


@dataclasses.dataclass(frozen=True)
class Summary:
    """Summary of one loss: its mean weighted by length, with a confidence interval, and
    the unweighted mean of files.

    The interval is `mean ± t sqrt(n / (n - 1) sum((w (v - mean))^2)) / sum(w)`, for n
    files drawn at random, with lengths w and values v. It is `None` for a single file.
    """

    mean: float
    low: float | None
    high: float | None
    mean_of_files: float


def summary_of(values: Sequence[float], weights: Sequence[float]) -> Summary:
    """Return the weighted mean of values with its confidence interval."""
    v, w = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    mean, n = float(np.sum(w * v) / np.sum(w)), len(v)
    of_files = float(np.mean(v))
    if n == 1:
        return Summary(mean, None, None, of_files)
    squares = np.sum((w * (v - mean)) ** 2)
    deviation = math.sqrt(n / (n - 1) * squares) / float(np.sum(w))
    half = float(scipy.stats.t.ppf((1 + _LEVEL) / 2, n - 1)) * deviation
    return Summary(mean, mean - half, mean + half, of_files)


def summaries(rows: Sequence[Row], n_losses: int) -> list[Summary]:
    weights = [row.seconds for row in rows]
    return [summary_of([r.values[i] for r in rows], weights) for i in range(n_losses)]


_Kind = Literal["mean", "low", "high", "mean_of_files"]
_KINDS: tuple[_Kind, ...] = ("mean", "low", "high", "mean_of_files")


def write_csv(path: str, names: Sequence[str], rows: Sequence[Row]) -> None:
    """Write a row for each file, then rows of the summary; column `row` tells which."""
    found = summaries(rows, len(names))
    seconds = sum(row.seconds for row in rows)
    try:
        with open(path, "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(
                ["row", "file", "seconds", "sample_rate", "channels", *names]
            )
            for r in rows:
                about = [r.name, r.seconds, r.sr, r.n_channels]
                table.writerow(["file", *about, *r.values])
            for kind in _KINDS:
                values = [getattr(one, kind) for one in found]
                cells = ["" if value is None else value for value in values]
                table.writerow([kind, "", seconds, "", "", *cells])
    except OSError as error:
        reason = error.strerror or error
        raise CommandError(f"--csv {path}: cannot be written: {reason}.") from error


def print_summary_json(
    names: Sequence[str], rows: Sequence[Row], warnings: Sequence[str]
) -> None:
    found = zip(names, summaries(rows, len(names)), strict=True)
    report = {
        "losses": {
            name: {kind: _number(getattr(one, kind)) for kind in _KINDS}
            for name, one in found
        },
        "files": [
            {
                "file": r.name,
                "seconds": r.seconds,
                "sample_rate": r.sr,
                "channels": r.n_channels,
                "values": dict(zip(names, map(_number, r.values), strict=True)),
            }
            for r in rows
        ],
        "warnings": list(warnings),
    }
    print(json.dumps(report, indent=2, allow_nan=False))


def print_summary(names: Sequence[str], rows: Sequence[Row], path: str | None) -> None:
    """Print the rows, if they are not too many, and the summary."""
    console = Console(highlight=False)
    seconds = sum(row.seconds for row in rows)
    files = f"{len(rows)} file" + ("s" if len(rows) > 1 else "")
    table = Table(title=Text(f"{files}, {seconds:.3f} s"))
    table.add_column("file")
    table.add_column("seconds", justify="right", no_wrap=True)
    for name in names:
        table.add_column(Text(name), justify="right", no_wrap=True)
    shown = rows if len(rows) <= _MOST_ROWS else []
    for row in shown:
        cells = [f"{value:.6g}" for value in row.values]
        table.add_row(Text(row.name), f"{row.seconds:.3f}", *cells)
    if shown:
        table.add_section()
    found = summaries(rows, len(names))
    lines: dict[str, list[float | None]] = {
        "mean, weighted by length": [one.mean for one in found],
        "95 % interval from": [one.low for one in found],
        "to": [one.high for one in found],
        "mean of files": [one.mean_of_files for one in found],
    }
    for line, values in lines.items():
        cells = ["-" if value is None else f"{value:.6g}" for value in values]
        table.add_row(Text(line), "", *cells)
    console.print(table)
    if path is not None:
        console.print(Text(f"Wrote {path}."), soft_wrap=True)
    elif not shown:
        console.print(Text("Add --csv TABLE for the rows of the files."))


def _number(value: Any) -> float | None:
    return value if value is not None and math.isfinite(value) else None
