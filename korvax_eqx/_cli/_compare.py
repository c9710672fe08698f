"""The command `compare`."""

import argparse
import os
import sys
import warnings

import numpy as np

from korvax_eqx._cli._align import Pair, make_comparable
from korvax_eqx._cli._audio import block_sizes, open_signal
from korvax_eqx._cli._error import CommandError
from korvax_eqx._cli._evaluate import check_channels, evaluate
from korvax_eqx._cli._folders import compare_all
from korvax_eqx._cli._losses import get_loss
from korvax_eqx._cli._picture import LongSpectrogram, check_picture, draw
from korvax_eqx._cli._report import print_json, print_table
from korvax_eqx._cli._result import Result


def run(args: argparse.Namespace) -> None:
    """Compare two files, or all files of two folders, and print the result."""
    args.losses = args.loss or ["mrstft"]
    paths = (args.reference, args.estimate)
    if any(map(os.path.isdir, paths)) or len(args.losses) > 1 or args.csv:
        compare_all(args)
    else:
        _compare_two(args, args.losses[0])


def _compare_two(args: argparse.Namespace, name: str) -> None:
    reference = open_signal(args.reference, args.start, args.duration)
    estimate = open_signal(args.estimate, args.start, args.duration)
    build, rate = get_loss(name)
    pair = Pair(reference, estimate)
    make_comparable(pair, rate, args.mono, args.resample, args.align)
    pictures = None
    if args.plot:
        check_picture(args.plot)
        shape = (pair.reference.sr, pair.reference.n_samples, pair.reference.n_channels)
        pictures = LongSpectrogram(*shape), LongSpectrogram(*shape)
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        try:
            loss = build(pair.reference.sr)
        except ValueError as error:  # e.g. bands beyond half the sample rate
            raise CommandError(f"--loss {name}: {error}") from error
    check_channels(name, args.mono, loss, pair.reference.n_channels)
    seconds = min(args.block_seconds, pair.reference.seconds)
    size = max(1, round(seconds * pair.reference.sr))
    sizes = block_sizes(pair.reference.n_samples, size)
    channels, silent = evaluate(name, loss, pair, sizes, pictures)
    found = [*pair.warnings, *(f"--loss {name}: {w.message}" for w in doubts)]
    found += [f"{path} is silent: all samples compared are 0" for path in silent]
    if not np.isfinite([value for value, _ in channels]).all():
        found.append("the loss is not finite: the samples are out of its range")
    result = Result(
        name,
        loss,
        reference,
        estimate,
        pair,
        len(sizes),
        channels,
        found,
        args.plot or None,
    )
    if pictures is not None:
        titles = (
            f"Reference: {os.path.basename(args.reference)}",
            f"Estimate: {os.path.basename(args.estimate)}",
            f"Difference; {name} = {result.value:.6g}",
        )
        draw(args.plot, *pictures, titles, args.start)
    for warning in found:
        print(f"warning: {warning}", file=sys.stderr)
    (print_json if args.json else print_table)(result)
