"""Scales, ticks and labels of frequency axes."""

import math
from typing import Any

import numpy as np

from korvax_eqx._plot._layout import FrequencyAxis, Layout
from korvax_eqx._plot._matplotlib import Axes
from korvax_eqx._tables._frequencies import _hz_to_mel, _mel_to_hz

_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
_A4_HZ, _A4_NUMBER = 440.0, 69  # MIDI's numbers: C4 is 60
# In Hz on a mel axis: octaves, which a mel scale spreads out well from 250 Hz up.
_MEL_TICKS = (0, 250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000)


def note_name(number: int) -> str:
    """Return the name of a MIDI note number: `note_name(60)` is `"C4"`."""
    return f"{_NAMES[number % 12]}{number // 12 - 1}"


def set_frequency_axis(ax: Axes, layout: Layout, low: float, high: float) -> None:
    """Set scale, limits, ticks and label of the y axis for frequencies in Hz."""
    from matplotlib import ticker

    axis: FrequencyAxis = layout.axis
    if axis == "mel":
        htk = layout.htk
        functions = (
            lambda f: _hz_to_mel(np, np.asarray(f, np.float64), htk),
            lambda m: _mel_to_hz(np, np.asarray(m, np.float64), htk),
        )
        ax.set_yscale("function", functions=functions)
        ax.set_yticks([tick for tick in _MEL_TICKS if low <= tick <= high])
    elif axis in ("log", "notes"):
        ax.set_yscale("log", base=2)
    if axis == "log":
        ax.yaxis.set_major_locator(ticker.LogLocator(10, subs=(1.0, 2.0, 5.0)))
    if axis == "notes":
        _set_note_ticks(ax, low, high)
    elif axis == "index":
        ax.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    else:
        ax.yaxis.set_major_formatter(ticker.FuncFormatter(_plain))
    ax.yaxis.set_minor_locator(ticker.NullLocator())
    ax.set_ylim(low, high)
    labels = {"notes": "Note", "index": "Coefficient"}
    ax.set_ylabel(labels.get(axis, "Frequency (Hz)"))


def _set_note_ticks(ax: Axes, low: float, high: float) -> None:
    """Label every C, or the naturals, or all semitones: what suits the range."""
    first, last = math.ceil(_number(low)), math.floor(_number(high))
    octaves = (last - first) / 12
    if octaves > 2:
        shown = {0}
    elif octaves > 1:
        shown = {0, 2, 4, 5, 7, 9, 11}
    else:
        shown = set(range(12))
    numbers = [n for n in range(first, last + 1) if n % 12 in shown]
    hertz = [_A4_HZ * 2 ** ((n - _A4_NUMBER) / 12) for n in numbers]
    ax.set_yticks(hertz, [note_name(n) for n in numbers])


def _number(hertz: float) -> float:
    return _A4_NUMBER + 12 * math.log2(hertz / _A4_HZ)


def _plain(value: float, _position: Any) -> str:
    """Format a frequency without an exponent."""
    return f"{value:g}" if abs(value) < 1e6 else f"{value:.0f}"
