"""The pictures that the pages show: small files, updated only on request."""

import argparse
import io
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image

FOLDER = Path(__file__).parent / "pictures"
LARGEST = 200_000  # bytes; a page of a few pictures loads at once


def add_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="also renew what the pages show, in examples/pictures; not with --quick",
    )


def check(
    parser: argparse.ArgumentParser,
    options: argparse.Namespace,
    free: tuple[str, ...] = ("out",),
) -> None:
    """Only allow pictures of the pages to be updated by a full default run."""
    if not options.pictures:
        return
    for name, default in vars(parser.parse_args([])).items():
        if name not in ("pictures", *free) and vars(options)[name] != default:
            parser.error(f"--pictures shows the default run: leave `{name}` out.")


def save(figure: Any, path: Path, dpi: int = 110) -> None:
    """Write a figure as a PNG of as many colours as fit, without date and version."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    picture = Image.open(file).convert("RGB")
    for n_colours in (256, 128, 96, 64):
        # Dithering would be noise on the levels of a spectrogram, and not compress.
        small = picture.quantize(
            n_colours, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE
        )
        written = io.BytesIO()
        small.save(written, "PNG", optimize=True)
        if written.tell() < LARGEST:
            path.write_bytes(written.getvalue())
            return
    sys.exit(f"{path} would be {written.tell()} bytes, which is no small picture.")


def renew(*paths: Path) -> None:
    """Copy these pictures to the pages."""
    for path in paths:
        shutil.copyfile(path, FOLDER / path.name)
