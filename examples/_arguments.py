"""Argument types of the examples' command lines; wrong values give one-line errors."""

import argparse
import math
from collections.abc import Callable, Collection
from pathlib import Path


def whole(lowest: int) -> Callable[[str], int]:
    """Return the type of whole numbers of at least `lowest`."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = lowest - 1
        if not lowest <= value < 2**31:
            rule = f"must be a whole number, at least {lowest} and below 2**31"
            raise argparse.ArgumentTypeError(f"{rule}. Got {text:.40}.")
        return value

    return number


def duration(text: str) -> float:
    """The type of lengths of sounds, up to a day."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.1 <= value <= 86_400:
        rule = "must be a number of seconds from 0.1 to 86400"
        raise argparse.ArgumentTypeError(f"{rule}. Got {text:.40}.")
    return value


def folder(text: str) -> Path:
    """The type of folders that exist or can be created."""
    path = Path(text)
    for part in (path, *path.parents):
        if part.exists() and not part.is_dir():
            raise argparse.ArgumentTypeError(f"{part} is there and is no folder.")
    return path


def one_of(names: Collection[str]) -> Callable[[str], str]:
    """Return the type of the names in a list."""

    def name(text: str) -> str:
        if text not in names:
            rule = "must be one of " + ", ".join(map(repr, names))
            raise argparse.ArgumentTypeError(f"{rule}. Got {text!r:.40}.")
        return text

    return name


def address(text: str) -> str:
    """The type of HOST:PORT, or "auto"."""
    host, _, port = text.rpartition(":")
    if text != "auto" and not (host and port.isascii() and port.isdigit()):
        rule = "must be HOST:PORT, e.g. 127.0.0.1:9876, or 'auto'"
        raise argparse.ArgumentTypeError(f"{rule}. Got {text!r:.40}.")
    if text != "auto" and not 0 < int(port) < 2**16:
        raise argparse.ArgumentTypeError(f"a port is from 1 to 65535. Got {port:.40}.")
    return text


def parse_run(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add `--resume` and `--quick`, and parse. A resumed run stays in its folder."""
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="CHECKPOINT",
        help="go on from here: with its settings, loss and sounds, in its folder",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tiny model for a few steps, to try it"
    )
    arguments = parser.parse_args()
    if arguments.resume is not None:
        arguments.out = arguments.resume.parent
    return arguments
