"""Frequency weightings of the ear: the A, B, C and D curves, in dB.

With `g(f, c) = f / sqrt(f^2 + c^2)`, a first-order high-pass at corner `c`, and
`h(f, c) = c / sqrt(f^2 + c^2)`, a low-pass, each curve is a product of such factors,
and D also of a resonance. Each `g` and `h` lies in (0, 1), so that its logarithm is
accurate in float32.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from korvax_eqx._checks import real
from korvax_eqx._tables._frequencies import as_default, as_floats, read_only

Curve = Literal["A", "B", "C", "D"]

# Corner frequencies in Hz and offsets in dB that put the curves at 0 dB at 1 kHz:
# IEC 61672-1 for A and C, IEC 651 for B.
_HIGH = 12194.217
_LOW = 20.598997
_A_1, _A_2, _A_OFFSET = 107.65265, 737.86223, 2.0
_B_1, _B_OFFSET = 158.48932, 0.17
_C_OFFSET = 0.062
# D, from IEC 537: two corners, and a resonance as a ratio of two quadratics.
_D_1, _D_2 = 282.7, 1160.0
_D_OFFSET = -20.0 * math.log10(8.3046305e-3**2 * _D_2)
_D_ZERO, _D_ZERO_WIDTH = 1018.7, 1039.6
_D_POLE, _D_POLE_WIDTH = 3136.5, 3424.0

# Frequencies below this count as 0 Hz. The derivative grows as 1 / f, and overflows in
# single precision for much lower ones.
_SILENT_HZ = 1e-30


def _db(xp: Any, ratio: Any) -> Any:
    return 20.0 * xp.log10(ratio)


def _high_pass(xp: Any, f: Any, corner: float) -> Any:
    return _db(xp, f / xp.sqrt(f**2 + corner**2))


def _low_pass(xp: Any, f: Any, corner: float) -> Any:
    return _db(xp, corner / xp.sqrt(f**2 + corner**2))


def _a_curve(xp: Any, f: Any) -> Any:
    shared = 2.0 * _high_pass(xp, f, _LOW) + 2.0 * _low_pass(xp, f, _HIGH)
    return _A_OFFSET + shared + _high_pass(xp, f, _A_1) + _high_pass(xp, f, _A_2)


def _b_curve(xp: Any, f: Any) -> Any:
    shared = 2.0 * _high_pass(xp, f, _LOW) + 2.0 * _low_pass(xp, f, _HIGH)
    return _B_OFFSET + shared + _high_pass(xp, f, _B_1)


def _c_curve(xp: Any, f: Any) -> Any:
    shared = 2.0 * _high_pass(xp, f, _LOW) + 2.0 * _low_pass(xp, f, _HIGH)
    return _C_OFFSET + shared


def _d_curve(xp: Any, f: Any) -> Any:
    def quadratic(corner: float, width: float) -> Any:
        return ((corner - f) * (corner + f)) ** 2 + (width * f) ** 2

    resonance = quadratic(_D_ZERO, _D_ZERO_WIDTH) / quadratic(_D_POLE, _D_POLE_WIDTH)
    edges = _high_pass(xp, f, _D_1) + _low_pass(xp, f, _D_2)
    return _D_OFFSET + edges + 0.5 * _db(xp, resonance)


_CURVES = {"A": _a_curve, "B": _b_curve, "C": _c_curve, "D": _d_curve}


def weighting_values(curve: Curve, frequencies: Any, min_db: float | None) -> Any:
    """Return one of the curves in dB at `frequencies` in Hz.

    The result is a read-only float64 NumPy array, or a JAX array if `frequencies` is
    one. The derivative is 0 where the value is clipped to `min_db`, and at 0 Hz, where
    the value is minus infinity if `min_db` is None.
    """
    xp, f = as_floats(frequencies)
    f = xp.abs(f)
    is_silent = f < _SILENT_HZ
    values = _CURVES[curve](xp, xp.where(is_silent, 1.0, f))
    values = xp.where(is_silent, -math.inf, values)
    if min_db is not None:
        # Not `maximum`, so that a NaN stays one.
        values = xp.where(values < min_db, min_db, values)
    return read_only(values) if xp is np else values


def _public(curve: Curve, frequencies: Any, min_db: float | None) -> Array:
    if min_db is not None:
        min_db = real(f"{curve}_weighting", "min_db", min_db)
    values = weighting_values(curve, frequencies, min_db)
    return as_default(values) if isinstance(values, np.ndarray) else values


def A_weighting(
    frequencies: Real[ArrayLike, "*dims"] | Sequence[float],
    /,
    min_db: float | None = -80.0,
) -> Float[Array, "*dims"]:
    """Return the A-weighting curve (IEC 61672-1) in dB.

    `2 + 20 log10(g(f, 20.6)^2 g(f, 107.7) g(f, 737.9) h(f, 12194)^2)` with
    `g(f, c) = f / sqrt(f^2 + c^2)` and `h(f, c) = c / sqrt(f^2 + c^2)`.

    **Arguments:**

    - `frequencies`: Hz. A JAX array can be differentiated.
    - `min_db`: lower limit of the result, dB. `None` for no limit: the value at 0 Hz
        is then minus infinity.

    **Returns:**

    dB, of the same shape. The derivative is 0 where the value is clipped and at 0 Hz.

    **Raises:** `ValueError` if `min_db` is neither `None` nor a finite number.
    """
    return _public("A", frequencies, min_db)


def B_weighting(
    frequencies: Real[ArrayLike, "*dims"] | Sequence[float],
    /,
    min_db: float | None = -80.0,
) -> Float[Array, "*dims"]:
    """Return the B-weighting curve (IEC 651) in dB.

    `0.17 + 20 log10(g(f, 20.6)^2 g(f, 158.5) h(f, 12194)^2)`. Arguments, factors and
    limits are as in `A_weighting`.
    """
    return _public("B", frequencies, min_db)


def C_weighting(
    frequencies: Real[ArrayLike, "*dims"] | Sequence[float],
    /,
    min_db: float | None = -80.0,
) -> Float[Array, "*dims"]:
    """Return the C-weighting curve (IEC 61672-1) in dB.

    `0.062 + 20 log10(g(f, 20.6)^2 h(f, 12194)^2)`. Arguments, factors and limits are
    as in `A_weighting`.
    """
    return _public("C", frequencies, min_db)


def D_weighting(
    frequencies: Real[ArrayLike, "*dims"] | Sequence[float],
    /,
    min_db: float | None = -80.0,
) -> Float[Array, "*dims"]:
    """Return the D-weighting curve (IEC 537) in dB.

    `20 log10(g(f, 282.7) h(f, 1160) / 0.08) + 10 log10(q(f))`, where `q` is a
    resonance at about 3 kHz: the ratio of `((1018.7^2 - f^2)^2 + (1039.6 f)^2)` to
    `((3136.5^2 - f^2)^2 + (3424 f)^2)`. Arguments, factors and limits are as in
    `A_weighting`.
    """
    return _public("D", frequencies, min_db)
