"""Evaluating a loss on two files, block by block."""

import math
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from korvax_eqx._cli._align import Pair
from korvax_eqx._cli._audio import Chunk, blocks
from korvax_eqx._cli._error import CommandError
from korvax_eqx._cli._losses import n_channels
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._engine._plan import steps_of

# For losses that draw at random: constant, so that values of files are comparable.
_SEED = 0


def check_channels(name: str, is_mono: bool, loss: Any, found: int) -> None:
    """Raise if a loss that mixes channels needs another number of channels."""
    for needed in n_channels(loss) - {found}:
        what = "their mean is one" if is_mono else f"the files have {found}"
        remedy = "Leave out --mono" if is_mono else f"Give files of {needed} channels"
        raise CommandError(
            f"--loss {name}: compares {needed} channels with one another, {what}. "
            f"{remedy}, or choose another loss."
        )


def evaluate(
    name: str,
    loss: AbstractLoss,
    pair: Pair,
    sizes: list[int],
    pictures: Any = None,
    is_padded: bool = False,
) -> tuple[list[tuple[float, dict[str, float]]], list[str]]:
    """Return loss and terms of each channel, and the files that are silent.

    **Arguments:**

    - `sizes`: sizes of the blocks.
    - `pictures`: pictures that get the samples, too.
    - `is_padded`: whether to pad signals to one of a few lengths, so that not every
        length compiles a program. Values do not change.
    """
    sr, n_samples = pair.reference.sr, pair.reference.n_samples
    # Channels that are compared together count as one row.
    is_mix = _mixes_channels(loss)
    n_rows = 1 if is_mix else pair.reference.n_channels
    totals = [0.0] * n_rows
    terms: list[dict[str, float]] = [{} for _ in range(n_rows)]
    peaks = np.zeros(2)
    both = zip(blocks(pair.reference, sizes), blocks(pair.estimate, sizes), strict=True)
    columns, rows = shutil.get_terminal_size()
    bar = tqdm(
        total=round(n_samples / sr, 1),
        desc="comparing",
        unit="s",
        leave=False,
        # Passed because tqdm would draw nothing on a terminal that reports no size.
        ncols=columns,
        nrows=rows,
        # `None`: shown on a terminal only. A bar for a single block is no use.
        disable=True if len(sizes) == 1 else None,
        bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]",
    )
    with bar:
        for y, x in both:
            share = y.shape[1] / n_samples
            peaks = np.maximum(peaks, [np.abs(y).max(), np.abs(x).max()])
            for channel in range(n_rows):
                of = slice(None) if is_mix else channel
                value, parts = _one(name, loss, x[of], y[of], len(sizes), is_padded)
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
    name: str, loss: Any, x: Chunk, y: Chunk, n_blocks: int, is_padded: bool
) -> tuple[float, dict[str, float]]:
    """Return the loss of one channel of one block, and its terms."""
    key, n_samples = jax.random.key(_SEED), x.shape[-1]
    lengths = None
    if is_padded:
        n_zeros = _padded_length(n_samples) - n_samples
        widths = [(0, 0)] * (x.ndim - 1) + [(0, n_zeros)]
        lengths = np.full(x.shape[:-1], n_samples)
        x, y = np.pad(x, widths), np.pad(y, widths)
    a, b = jnp.asarray(x), jnp.asarray(y)
    try:
        value, terms = loss.with_terms(a, b, lengths=lengths, key=key)
        if is_padded and not float(value) and not any(map(float, terms.values())):
            # Signals are identical or too short. If too short, this call raises, as
            # it has no `lengths`.
            short = [s[..., :n_samples] for s in (a, b)]
            jax.eval_shape(lambda a, b: loss(a, b, key=key), *short)
    except ValueError as error:
        remedy = " Or raise --block-seconds." if n_blocks > 1 else ""
        raise CommandError(f"--loss {name}: {error}{remedy}") from error
    return float(value), {key: float(term) for key, term in terms.items()}


def _padded_length(n_samples: int) -> int:
    """Return the next length of a series in which each is 1.41 times the last."""
    return math.ceil(2 ** (math.ceil(2 * math.log2(max(n_samples, 1))) / 2))
