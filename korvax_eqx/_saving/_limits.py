"""How much a file may ask for before anything is made of it."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._error import LoadError, join, place

MAX_DEPTH = 64
"""Nested modules and sequences."""

MAX_ENTRIES = 2**16
"""Values in a config; arrays in base64 count as one."""

MAX_TABLE_VALUES = 2**25
"""Values in the tables (windows, kernels) that the package's classes make."""

# Arguments whose numbers are no sizes.
_NO_SIZES = frozenset(
    {"fmax", "fmin", "frequencies", "piece_size", "positions", "sr", "weights"}
)


@dataclasses.dataclass
class Budget:
    """What has been used up of the limits by one file or config."""

    entries: int = 0
    table_values: float | int = 0

    def enter(self, where: str, depth: int) -> None:
        """Count one value at a depth of nesting."""
        if depth > MAX_DEPTH:
            raise LoadError(f"{place(where)}: nested more than {MAX_DEPTH} deep.")
        self.entries += 1
        if self.entries > MAX_ENTRIES:
            raise LoadError(
                f"{place(where)}: more than {MAX_ENTRIES} values. Write large arrays "
                "in base64, as `to_config` does."
            )

    def tables(self, arguments: Mapping[str, Any], where: str) -> None:
        """Count the tables that an object of the package makes of its arguments.

        A few digits in a file can ask for a window of any length; the constructors
        make windows at once, to check them.
        """
        sizes = {
            name: _integers(value)
            for name, value in arguments.items()
            if name not in _NO_SIZES
        }
        for name, integers in sizes.items():
            self._count(sum(integers), join(where, name))
        longest = max((n for integers in sizes.values() for n in integers), default=0)
        window = arguments.get("window")
        self._count(longest * _values_a_sample(window), join(where, "window"))
        self._count(_kernel_values(arguments), where)

    def _count(self, n_values: float | int, where: str) -> None:
        self.table_values += min(n_values, 2.0**60)
        # Not `>`, which NaN would pass.
        if not self.table_values <= MAX_TABLE_VALUES:
            raise LoadError(
                f"{place(where)}: the sizes are too large, the tables of the whole "
                f"would have more than {MAX_TABLE_VALUES} values."
            )


def _integers(value: Any) -> list[int]:
    if isinstance(value, list | tuple):
        return [n for item in value for n in _integers(item)]
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return [abs(value)] if is_integer else []


def _values_a_sample(window: Any) -> float | int:
    """Return how much more SciPy makes than the window; only Taylor's is large."""
    if isinstance(window, list):
        return max(map(_values_a_sample, window), default=0)
    if not isinstance(window, tuple) or "taylor" not in _of_type(window, str):
        return 0
    return max(map(abs, _of_type(window, int | float)), default=0)


def _of_type(values: tuple[Any, ...], kinds: Any) -> list[Any]:
    return [value for value in values if isinstance(value, kinds)]


def _kernel_values(arguments: Mapping[str, Any]) -> float | int:
    """Return about how many values the kernels of a constant-Q transform have."""
    names = ("sr", "fmin", "filter_scale", "gamma", "fmax")
    numbers = [arguments.get(name) or 0.0 for name in names]
    bins, n_bins = arguments.get("bins_per_octave"), arguments.get("n_bins")
    if type(bins) is not int or not all(type(n) in (int, float) for n in numbers):
        return 0
    sr, fmin, scale, gamma, fmax = map(float, numbers)
    if bins <= 0 or min(sr, fmin, scale) <= 0:
        return 0  # the constructor refuses it
    if fmax > 0:
        n_bins = bins * math.log2(max(1.0, fmax / fmin)) + 1.0
    if not isinstance(n_bins, int | float):
        return 0
    if n_bins > MAX_ENTRIES:
        return math.inf
    with np.errstate(all="ignore"):
        frequencies = fmin * np.exp2(np.arange(n_bins) / bins)
        bandwidths = np.expm1(math.log(2.0) / bins) * frequencies + gamma
        return float(np.sum(scale * sr / bandwidths, where=bandwidths > 0))
