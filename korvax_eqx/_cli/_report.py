"""The result of a comparison as a table and as JSON."""

import json
import math
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from korvax_eqx._cli._audio import Signal
from korvax_eqx._cli._result import Result

# More channels than this get a table of their own: 80 columns hold no more.
_MOST_COLUMNS = 4


def print_json(result: Result) -> None:
    """Print everything as one JSON object; numbers that are not finite are null."""
    compared = result.pair.reference
    report = {
        "loss": {
            "name": result.loss_name,
            "class": type(result.loss).__name__,
            "value": _number(result.value),
            "terms": _numbers(result.terms),
            "channels": [
                {"value": _number(value), "terms": _numbers(terms)}
                for value, terms in result.channels
            ],
        },
        "reference": _file(result.reference),
        "estimate": _file(result.estimate),
        "compared": {
            "sample_rate": compared.sr,
            "channels": compared.n_channels,
            "samples": compared.n_samples,
            "seconds": compared.seconds,
            "blocks": result.n_blocks,
            "offset_samples": result.pair.offset,
            "steps": result.pair.notes,
        },
        "picture": result.picture,
        "warnings": result.warnings,
    }
    print(json.dumps(report, indent=2, allow_nan=False))


def _file(signal: Signal) -> dict[str, Any]:
    return {
        "path": signal.path,
        "sample_rate": signal.sr,
        "channels": signal.n_channels,
        "samples": signal.n_samples,
        "seconds": signal.seconds,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _numbers(terms: dict[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in terms.items()}


def print_table(result: Result) -> None:
    """Print the files, the steps taken, and the loss with terms and channels."""
    # No highlighting: it would colour digits in file names.
    console = Console(highlight=False)
    for role, signal in (
        ("reference", result.reference),
        ("estimate", result.estimate),
    ):
        line = f"{role:<10} {signal.path}: {signal.sr} Hz, "
        line += _count(signal.n_channels, "channel") + f", {signal.seconds:.3f} s"
        console.print(Text(line), soft_wrap=True)
    for note in result.pair.notes:
        console.print(Text(f"{'':<10} {note}"), soft_wrap=True)
    if result.n_blocks > 1:
        line = f"{'':<10} mean of {result.n_blocks} blocks, weighted by their lengths"
        console.print(Text(line), soft_wrap=True)
    n_channels = len(result.channels)
    is_wide = 1 < n_channels <= _MOST_COLUMNS
    console.print(_terms_table(result, is_wide))
    if n_channels > _MOST_COLUMNS:
        console.print(_channels_table(result))
    if result.picture is not None:
        console.print(Text(f"Wrote {result.picture}."), soft_wrap=True)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("s" if n > 1 else "")


def _terms_table(result: Result, is_wide: bool) -> Table:
    table = Table(show_footer=True, title=Text(f"{result.loss_name}"))
    table.add_column("term", "loss", no_wrap=True)
    table.add_column("value", _format(result.value), justify="right", no_wrap=True)
    table.add_column("share", "", justify="right", no_wrap=True)
    channels = result.channels if is_wide else []
    for index, (value, _) in enumerate(channels, 1):
        header = f"channel {index}"
        table.add_column(header, _format(value), justify="right", no_wrap=True)
    terms = result.terms
    shares = _shares(terms)
    # Hide terms of value 0, e.g. those not drawn; but show all for equal files.
    shown = [name for name, term in terms.items() if term != 0.0] or list(terms)
    for name in shown:
        cells = [_format(terms[name]) for _, terms in channels]
        table.add_row(Text(name), _format(terms[name]), shares[name], *cells)
    if len(shown) < len(terms):
        table.caption = f"and {_count(len(terms) - len(shown), 'term')} of value 0"
    return table


def _channels_table(result: Result) -> Table:
    table = Table()
    table.add_column("channel", justify="right")
    table.add_column("loss", justify="right")
    for index, (value, _) in enumerate(result.channels, 1):
        table.add_row(str(index), _format(value))
    return table


def _format(value: float) -> str:
    return f"{value:.6g}"


def _shares(terms: dict[str, float]) -> dict[str, str]:
    """Return the share of each term in the loss; "-" if terms have both signs."""
    values = terms.values()
    has_shares = all(v >= 0 for v in values) or all(v <= 0 for v in values)
    total = abs(sum(values))
    if not has_shares or not 0.0 < total < math.inf:
        return dict.fromkeys(terms, "-")
    return {name: f"{abs(value) / total:.1%}" for name, value in terms.items()}
