"""Making two files comparable: one sample rate, one length, the same channels."""

import dataclasses

import numpy as np
import scipy.signal

from korvax_eqx._cli._audio import (
    Chunk,
    Signal,
    blocks,
    check_rate,
    cut,
    mono,
    resample,
)
from korvax_eqx._cli._error import CommandError

# Seconds of the files in which the delay is searched; at most half of this is found.
_SEARCHED = 60.0
# A peak of the correlation below this says little about the delay.
_WEAK = 0.1


@dataclasses.dataclass
class Pair:
    """Two signals that are being brought to one sample rate, length and channel count.

    `offset` is the delay of the estimate in samples, `None` if not searched for;
    `notes` are the steps taken, `warnings` the doubts about them.
    """

    reference: Signal
    estimate: Signal
    offset: int | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)


def make_comparable(
    pair: Pair, rate: float | None, is_mono: bool, is_resampled: bool, how: str | None
) -> None:
    """Make two signals comparable, in the ways that the user allowed.

    **Arguments:**

    - `rate`: the sample rate that the loss is made for, Hz, or `None`.
    - `how`: the way to align, `"trim"`, `"pad"`, `"offset"` or `None`.

    **Raises:** `CommandError` that lists all mismatches, with the options that resolve
    them.
    """
    rates = (pair.reference.sr, pair.estimate.sr)
    if is_mono and max(pair.reference.n_channels, pair.estimate.n_channels) > 1:
        pair.notes.append("channels averaged")
        pair.reference, pair.estimate = mono(pair.reference), mono(pair.estimate)
    if is_resampled:
        check_rate("the loss", rate or pair.reference.sr)
        _resample(pair, round(rate or pair.reference.sr))
    problems = _mismatches(pair, rate)
    # One sample at the lower rate, to which resampling rounds lengths.
    rounding = -(-pair.reference.sr // min(rates)) if rates[0] != rates[1] else 0
    excess = pair.estimate.n_samples - pair.reference.n_samples
    if how is None and not problems and abs(excess) > rounding:
        problems.append(
            f"the lengths differ: the reference has {_length(pair.reference)}, the "
            f"estimate {_length(pair.estimate)}. Add --align trim (cut the longer), "
            "--align pad (append zeros to the shorter) or --align offset (find the "
            "delay between them, then cut)."
        )
    if problems:
        names = f"{pair.reference.path} and {pair.estimate.path}"
        raise CommandError("\n  ".join([f"{names} cannot be compared:", *problems]))
    if how == "offset":
        _remove_offset(pair)
    _equalise_lengths(pair, how == "pad", rounding)


def _resample(pair: Pair, sr: int) -> None:
    for role, signal in (("reference", pair.reference), ("estimate", pair.estimate)):
        if signal.sr != sr:
            pair.notes.append(f"{role} resampled from {signal.sr} to {sr} Hz")
    pair.reference = resample(pair.reference, sr)
    pair.estimate = resample(pair.estimate, sr)


def _mismatches(pair: Pair, rate: float | None) -> list[str]:
    reference, estimate = pair.reference, pair.estimate
    problems = []
    if reference.sr != estimate.sr:
        problems.append(
            f"the sample rates differ: the reference has {reference.sr} Hz, the "
            f"estimate {estimate.sr} Hz. Add --resample to convert to one rate."
        )
    elif rate is not None and reference.sr != rate:
        problems.append(
            f"the loss is made for {rate:g} Hz, the files have {reference.sr} Hz. Add "
            "--resample to convert them."
        )
    if reference.n_channels != estimate.n_channels:
        problems.append(
            f"the numbers of channels differ: the reference has "
            f"{reference.n_channels}, the estimate {estimate.n_channels}. Add --mono "
            "to compare the means of the channels."
        )
    return problems


def _length(signal: Signal) -> str:
    return f"{signal.n_samples} samples ({signal.seconds:.3f} s)"


def _remove_offset(pair: Pair) -> None:
    offset, strength = find_offset(pair.reference, pair.estimate)
    pair.offset = offset
    late, early = max(offset, 0), max(-offset, 0)
    pair.reference = cut(pair.reference, early, pair.reference.n_samples - early)
    pair.estimate = cut(pair.estimate, late, pair.estimate.n_samples - late)
    side = "late" if offset > 0 else "early"
    delay = f"{abs(offset)} samples ({abs(offset) / pair.reference.sr:.6f} s)"
    pair.notes.append(f"estimate {side} by {delay}" if offset else "no delay")
    if strength < _WEAK:
        pair.warnings.append(
            f"the files hardly correlate (peak {strength:.3f} of 1): the delay that "
            "was found may mean nothing"
        )


def _equalise_lengths(pair: Pair, is_padded: bool, rounding: int) -> None:
    lengths = (pair.reference.n_samples, pair.estimate.n_samples)
    difference = abs(lengths[0] - lengths[1])
    is_padded = is_padded and difference > rounding
    n_samples = max(lengths) if is_padded else min(lengths)
    for role, length in zip(("reference", "estimate"), lengths, strict=True):
        if length != n_samples and difference > rounding:
            verb = "padded" if length < n_samples else "trimmed"
            pair.notes.append(f"{role} {verb} by {difference} samples")
    pair.reference = cut(pair.reference, 0, n_samples)
    pair.estimate = cut(pair.estimate, 0, n_samples)


def find_offset(reference: Signal, estimate: Signal) -> tuple[int, float]:
    """Return the delay of the estimate in samples, and the correlation at that delay.

    The delay is the peak of the cross-correlation of the first minute of both, summed
    over the channels. Delays of more than half of that are not searched. The magnitude
    counts, so signals of inverted polarity are aligned as well. The correlation is
    divided by the norms of both: it is 1 for a pure delay.
    """
    x, y = _beginning(estimate), _beginning(reference)
    correlation = np.zeros(x.shape[1] + y.shape[1] - 1)
    for x_row, y_row in zip(x, y, strict=True):
        correlation += scipy.signal.correlate(x_row, y_row, method="fft")
    lags = scipy.signal.correlation_lags(x.shape[1], y.shape[1])
    longest = max(x.shape[1], y.shape[1]) // 2
    strength = np.where(np.abs(lags) <= longest, np.abs(correlation), 0.0)
    peak = int(np.argmax(strength))
    scale = float(np.linalg.norm(x) * np.linalg.norm(y))
    if scale == 0.0:
        return 0, 0.0
    return int(lags[peak]), float(strength[peak]) / scale


def _beginning(signal: Signal) -> Chunk:
    n_samples = min(signal.n_samples, round(_SEARCHED * signal.sr))
    (block,) = blocks(cut(signal, 0, n_samples), [n_samples])
    return block.astype(np.float64)
