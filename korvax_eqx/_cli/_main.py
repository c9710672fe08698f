"""Arguments, messages and exit codes of the command."""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence

import jax

from korvax_eqx._cli._error import CommandError
from korvax_eqx._cli._losses import DESCRIPTIONS, descriptions

PROGRAM = "python -m korvax_eqx"

# The packages of the extra `audio` that each command needs.
_LIBRARIES = {"compare": ("rich", "soundfile", "soxr", "tqdm"), "show": ()}

# Shortest block: with shorter ones, a minute of audio would take minutes to compare.
_SHORTEST_BLOCK = 0.01

_COMPARE = """\
Compare an estimate with a reference: the loss, its terms and its channels.

Files may have any format, sample rate and number of channels that libsndfile reads.
A file of more than one and a half blocks is read block by block: the result is then
the mean of the blocks' losses, weighted by their lengths, and memory does not grow
with the length of the file.

For two folders, all files that have the same path inside both are compared; extensions
may differ. The table has a row for each file, and for each loss the mean, weighted by
the lengths of the files, with its 95 % confidence interval.
"""
_EPILOG = "exit codes: 0 success, 2 wrong arguments or files, 130 interrupted"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    if sys.stderr is None:  # closed, `2>&-`; `print` would use standard output
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 to the end of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names may be invalid as text
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is None:
        return _fail("standard output is closed.")
    try:
        code = _run(argv)
        sys.stdout.flush()
    except BrokenPipeError:  # e.g. `| head`, which stops reading
        code = 141
    except OSError as error:  # errors of files have their own messages
        code = _fail(f"the output cannot be written: {error.strerror or error}.")
    else:
        return code
    # Otherwise flushing the rest of the buffer would fail again at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = parser().parse_args(argv)
        _require(_LIBRARIES[args.command])
        # Imported when used: the other command may lack its libraries.
        command = importlib.import_module(f"korvax_eqx._cli._{args.command}")
        command.run(args)
    except SystemExit as error:  # from `--help`, or wrong arguments
        return error.code if isinstance(error.code, int) else 2
    except CommandError as error:
        return _fail(str(error))
    except ImportError as error:
        if "korvax_eqx[" not in str(error):
            raise
        return _fail(str(error))
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            return _fail("out of memory. Lower --block-seconds.")
        raise
    except KeyboardInterrupt:
        return 130
    return 0


def _fail(message: str) -> int:
    print(f"{PROGRAM}: error: {message}", file=sys.stderr)
    return 2


def _require(names: Sequence[str]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise CommandError(
                f"`{name}` is not installed. Install what the command needs with "
                '`pip install "korvax_eqx[audio]"`.'
            ) from error


def parser() -> argparse.ArgumentParser:
    """Return the parser of all arguments."""
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog=PROGRAM, description="Audio spectral losses.", epilog=_EPILOG
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_compare(
        commands.add_parser(
            "compare",
            help="the loss of two audio files, or of two folders",
            description=_COMPARE,
            epilog=f"losses:\n{_losses(DESCRIPTIONS)}\n  ... and recipes of other "
            f"projects: --list\n\n{_EPILOG}",
            formatter_class=raw,
        )
    )
    show = commands.add_parser(
        "show",
        help="the configuration of a saved loss, or of one known by name",
        description="Print what a file written by korvax_eqx.save holds, or a loss "
        "that is known by name.",
        epilog=_EPILOG,
        formatter_class=raw,
    )
    show.add_argument("file", help="the saved file, or a name: see --list")
    names = _losses(descriptions())
    show.add_argument("--list", action="version", version=names, help=_LIST)
    show.add_argument(
        "--sr",
        type=_rate,
        default=44100.0,
        metavar="HZ",
        help="sample rate that a loss known by name is made for (default: 44100)",
    )
    show.add_argument("--json", action="store_true", help="print JSON only")
    return top


_LIST = "print the losses that are known by name, and exit"


def _losses(lines: Mapping[str, str]) -> str:
    width = max(map(len, lines))
    return "\n".join(f"  {name:<{width}} {text}" for name, text in lines.items())


def _add_compare(compare: argparse.ArgumentParser) -> None:
    add = compare.add_argument
    add("reference", help="audio file of the target, or a folder of them")
    add("estimate", help="audio file that is compared with it, or a folder")
    names = _losses(descriptions())
    add("--list", action="version", version=names, help=_LIST)
    short = ", ".join(DESCRIPTIONS)
    add(
        "--loss",
        action="append",
        metavar="NAME_OR_FILE",
        help=f"{short}, a recipe (see --list), or a file written by korvax_eqx.save "
        "(default: mrstft); several times for a table of several losses",
    )
    add(
        "--csv",
        metavar="TABLE",
        help="also write the table of all files, with means and confidence intervals",
    )
    add(
        "--resample",
        action="store_true",
        help="convert to one sample rate: the loss's own if it is made for one, "
        "otherwise the reference's",
    )
    add("--mono", action="store_true", help="compare the mean of the channels")
    add(
        "--align",
        choices=("trim", "pad", "offset"),
        help="files of different lengths: cut the end of the longer (trim), append "
        "zeros to the shorter (pad), or find the delay between them by "
        "cross-correlation of their first minute, cut the beginning of the delayed "
        "one, then cut to the common length (offset)",
    )
    add(
        "--start",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="compare from here on",
    )
    add(
        "--duration",
        type=_positive_seconds,
        metavar="SECONDS",
        help="compare this much at most",
    )
    add(
        "--block-seconds",
        type=_block_seconds,
        default=60.0,
        metavar="SECONDS",
        help="length of a block (default: 60); the last one has between half and one "
        "and a half of it",
    )
    add(
        "--plot",
        metavar="PICTURE",
        help="draw both spectrograms and their difference, e.g. to a .png, .pdf or "
        ".svg; a column of a long file's picture is the mean of many frames",
    )
    add("--json", action="store_true", help="print JSON only")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be seconds, 0 or more. Got {text}.")
    return value


def _positive_seconds(text: str) -> float:
    value = _seconds(text)
    if value == 0.0:
        raise argparse.ArgumentTypeError("must be more than 0 seconds.")
    return value


def _block_seconds(text: str) -> float:
    value = _positive_seconds(text)
    if value < _SHORTEST_BLOCK:
        raise argparse.ArgumentTypeError(
            f"must be at least {_SHORTEST_BLOCK} seconds. Got {text}."
        )
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a rate in Hz. Got {text}.")
    return value


_rate.__name__ = "sample rate"

# The names that argparse uses in "invalid ... value: 'abc'".
for _type in (_seconds, _positive_seconds, _block_seconds):
    _type.__name__ = "number of seconds"
