"""How much a file may ask for before anything is made of it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ._error import LoadError, join, place

MAX_DEPTH = 64
"""Nested modules and sequences."""

MAX_ENTRIES = 2**16
"""Values in a config; arrays in base64 count as one."""

MAX_TABLE_VALUES = 2**25
"""Values in the tables (windows, kernels) that the package's classes make.

They take time as well, so all else that does is counted in values: one stands for about
45 ns, the time of a value of a kernel, and the whole for about two seconds.
"""

MAX_COMPILED = 64
"""Shapes that JAX compiles something for, which takes 25 ms each."""

# Arguments whose numbers are no sizes.
_NO_SIZES = frozenset(
    {"fmax", "fmin", "frequencies", "piece_size", "positions", "sr", "weights"}
)

# What else takes time, in values, as measured (SciPy 1.17, JAX 0.10).
_AN_OBJECT = 512
_A_RESOLUTION = 4096
_A_KERNEL = 512

# SciPy's windows that take at most 45 ns and 5 values of memory a sample.
_CHEAP = frozenset(
    "barthann bart brthan bartlett brt triang tri triangle blackman black blk "
    "blackmanharris blackharr bkh bohman bman bmn boxcar box ones rect rectangular "
    "cosine halfcosine exponential poisson flattop flat flt gaussian gauss gss "
    "hamming hamm ham hann han kaiser ksr lanczos sinc nuttall nutl nut parzen parz "
    "par tukey tuk".split()
) | {
    *("general gaussian", "general_gaussian", "general gauss", "general_gauss", "ggs"),
    *("general hamming", "general_hamming"),
    *("kaiser bessel derived", "kaiser_bessel_derived", "kbd"),
}
_TAYLOR = frozenset({"taylor", "taylorwin"})
_COSINES = frozenset({"general cosine", "general_cosine"})
# The dearest of the others: DPSS takes 12 values a sample and 400 ns.
_DEAR = 12


@dataclasses.dataclass
class Budget:
    """What has been used up of the limits by one file or config."""

    entries: int = 0
    table_values: float | int = 0
    compiled: set[Any] = dataclasses.field(default_factory=set)

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

    def compile(self, kind: Any, where: str) -> None:
        """Count what JAX compiles, the first time that a kind of it comes."""
        self.compiled.add(kind)
        if len(self.compiled) > MAX_COMPILED:
            raise LoadError(
                f"{place(where)}: more than {MAX_COMPILED} shapes of arrays that JAX "
                "compiles something for: weakly typed ones, and sequences of arrays."
            )

    def tables(self, arguments: Mapping[str, Any], where: str) -> None:
        """Count the tables that an object of the package makes of its arguments.

        A few digits in a file can ask for a window of any length; the constructors
        make windows at once, to check them.
        """
        self._count(_AN_OBJECT, where)
        sizes = {
            name: _integers(value)
            for name, value in arguments.items()
            if name not in _NO_SIZES
        }
        for name, integers in sizes.items():
            self._count(sum(integers), join(where, name))
            if isinstance(arguments[name], list | tuple):
                self._count(len(integers) * _A_RESOLUTION, join(where, name))
        for name, value in arguments.items():
            if isinstance(value, list | tuple):
                if any(isinstance(item, jax.Array) for item in value):
                    self.compile(len(value), join(where, name))
        n_samples = max(map(sum, sizes.values()), default=0)
        kernel_values = _kernel_values(arguments)
        self._count(kernel_values, where)
        window = arguments.get("window")
        n_values = _values_a_sample(window) * (n_samples + kernel_values)
        self._count(n_values + _values_besides(window), join(where, "window"))

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
    """Return what SciPy makes besides the window itself, in values a sample.

    Windows are anything at all here: they have not been checked. Of several, and of
    what one holds, the dearest counts.
    """
    if not isinstance(window, list | tuple):
        return 0
    dearest = max(map(_values_a_sample, window), default=0)
    name = _name(window)
    if name is None or name in _CHEAP:
        return dearest
    if name in _TAYLOR:
        return max(dearest, _largest(window))
    return max(dearest, len(_numbers(window)) if name in _COSINES else _DEAR)


def _values_besides(window: Any) -> float | int:
    """Return what SciPy takes for a window of any length: Taylor's coefficients."""
    if not isinstance(window, list | tuple):
        return 0
    own = _largest(window) ** 2 if _name(window) in _TAYLOR else 0
    return own + sum(map(_values_besides, window))


def _name(window: Any) -> str | None:
    """Return the name in a SciPy window, without what says how it ends."""
    is_named = isinstance(window, tuple) and window and isinstance(window[0], str)
    if not is_named:
        return None
    return window[0].removesuffix("_symmetric").removesuffix("_periodic")


def _largest(window: Sequence[Any]) -> float:
    # Within the floats, so that products of it are no error.
    return max((min(abs(n), 2.0**60) for n in _numbers(window)), default=0)


def _numbers(values: Sequence[Any]) -> list[float | int]:
    """Return all numbers in a tuple and in its tuples."""
    return [
        number
        for value in values
        for number in (_numbers(value) if isinstance(value, tuple) else [value])
        if isinstance(number, int | float)
    ]


def _kernel_values(arguments: Mapping[str, Any]) -> float | int:
    """Return about how many values the kernels of a constant-Q transform have."""
    names = ("sr", "fmin", "filter_scale", "gamma", "fmax")
    numbers = [arguments.get(name) or 0.0 for name in names]
    bins, n_bins = arguments.get("bins_per_octave"), arguments.get("n_bins")
    if type(bins) is not int or not all(type(n) in (int, float) for n in numbers):
        return 0
    # Within the floats: the constructor refuses what is not.
    largest = 2.0**1023
    sr, fmin, scale, gamma, fmax = (
        float(max(-largest, min(n, largest))) for n in numbers
    )
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
        n_values = float(np.sum(scale * sr / bandwidths, where=bandwidths > 0))
    return n_values + _A_KERNEL * n_bins
