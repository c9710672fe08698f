"""The command `compare`."""

import argparse
import os
import shutil
import sys
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from korvax_eqx._cli._align import Pair, make_comparable
from korvax_eqx._cli._audio import Chunk, block_sizes, blocks, open_signal
from korvax_eqx._cli._error import CommandError
from korvax_eqx._cli._losses import get_loss, n_channels
from korvax_eqx._cli._picture import LongSpectrogram, check_picture, draw
from korvax_eqx._cli._report import print_json, print_table
from korvax_eqx._cli._result import Result
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._engine._plan import steps_of

# Seed of losses that draw: always the same, so that results are comparable.
_SEED = 0


def run(args: argparse.Namespace) -> None:
    """Compare two files and print the result."""
    reference = open_signal(args.reference, args.start, args.duration)
    estimate = open_signal(args.estimate, args.start, args.duration)
    build, rate = get_loss(args.loss)
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
            raise CommandError(f"--loss {args.loss}: {error}") from error
    _check_channels(args, loss, pair.reference.n_channels)
    seconds = min(args.block_seconds, pair.reference.seconds)
    size = max(1, round(seconds * pair.reference.sr))
    sizes = block_sizes(pair.reference.n_samples, size)
    channels, silent = _evaluate(args.loss, loss, pair, sizes, pictures)
    found = [*pair.warnings, *(f"--loss {args.loss}: {w.message}" for w in doubts)]
    found += [f"{path} is silent: all samples compared are 0" for path in silent]
    if not np.isfinite([value for value, _ in channels]).all():
        found.append("the loss is not finite: the samples are out of its range")
    result = Result(
        args.loss,
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
            f"Difference; {args.loss} = {result.value:.6g}",
        )
        draw(args.plot, *pictures, titles, args.start)
    for warning in found:
        print(f"warning: {warning}", file=sys.stderr)
    (print_json if args.json else print_table)(result)


def _check_channels(args: argparse.Namespace, loss: Any, found: int) -> None:
    for needed in n_channels(loss) - {found}:
        what = "their mean is one" if args.mono else f"the files have {found}"
        remedy = "Leave out --mono" if args.mono else f"Give files of {needed} channels"
        raise CommandError(
            f"--loss {args.loss}: compares {needed} channels with one another, {what}. "
            f"{remedy}, or choose another loss."
        )


def _evaluate(
    name: str, loss: AbstractLoss, pair: Pair, sizes: list[int], pictures: Any
) -> tuple[list[tuple[float, dict[str, float]]], list[str]]:
    """Return loss and terms of each channel, and the files that are silent."""
    sr, n_samples = pair.reference.sr, pair.reference.n_samples
    # Channels that are compared together count as one.
    is_mix = _mixes_channels(loss)
    n_channels = 1 if is_mix else pair.reference.n_channels
    totals = [0.0] * n_channels
    terms: list[dict[str, float]] = [{} for _ in range(n_channels)]
    peaks = np.zeros(2)
    both = zip(blocks(pair.reference, sizes), blocks(pair.estimate, sizes), strict=True)
    columns, rows = shutil.get_terminal_size()
    bar = tqdm(
        total=round(n_samples / sr, 1),
        desc="comparing",
        unit="s",
        leave=False,
        # Given: tqdm would draw nothing on a terminal that reports no size.
        ncols=columns,
        nrows=rows,
        # `None`: shown on a terminal only. One block is over before a bar says much.
        disable=True if len(sizes) == 1 else None,
        bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]",
    )
    with bar:
        for y, x in both:
            share = y.shape[1] / n_samples
            peaks = np.maximum(peaks, [np.abs(y).max(), np.abs(x).max()])
            for channel in range(n_channels):
                of = slice(None) if is_mix else channel
                value, parts = _one(name, loss, x[of], y[of], len(sizes))
                totals[channel] += share * value
                for key, part in parts.items():
                    terms[channel][key] = terms[channel].get(key, 0.0) + share * part
            if pictures is not None:
                pictures[0].add(y)
                pictures[1].add(x)
            bar.update(y.shape[1] / sr)
    paths = (pair.reference.path, pair.estimate.path)
    silent = [path for path, peak in zip(paths, peaks, strict=True) if peak == 0.0]
    return list(zip(totals, terms, strict=True)), silent


def _mixes_channels(loss: AbstractLoss) -> bool:
    terms = loss.terms(key=jax.random.key(_SEED))
    parts = [part for term in terms for part in (*steps_of(term), term.loss)]
    return any(part.scope == "channels" for part in parts)


def _one(
    name: str, loss: Any, x: Chunk, y: Chunk, n_blocks: int
) -> tuple[float, dict[str, float]]:
    """Return the loss of one channel of one block, and its terms."""
    a, b = jnp.asarray(x), jnp.asarray(y)
    try:
        value, terms = loss.with_terms(a, b, key=jax.random.key(_SEED))
    except ValueError as error:
        remedy = " Or raise --block-seconds." if n_blocks > 1 else ""
        raise CommandError(f"--loss {name}: {error}{remedy}") from error
    return float(value), {key: float(term) for key, term in terms.items()}
