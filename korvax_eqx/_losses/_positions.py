"""Where the bins of a transport loss lie, as its argument says."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from korvax_eqx import _checks as checks
from korvax_eqx._leaves import is_known
from korvax_eqx._tables._frequencies import mels_table
from korvax_eqx._tables._size import check_finite


def checked_positions(owner: str, positions: Any) -> Any:
    """Check the argument `positions`."""
    if positions is None:
        return None
    if isinstance(positions, str):
        names = ("linear", "log", "mel")
        return checks.one_of(owner, "positions", positions, names)
    if isinstance(positions, jax.Array):
        values = checks.floating_array(owner, "positions", positions, ndim=1)
    else:
        values = checks.real_numbers(owner, "positions", positions)
    if is_known(values) and np.any(np.diff(np.asarray(values)) < 0):
        remedy = "Sort the bins by position first."
        checks.refuse(owner, "positions", "be ascending", positions, remedy)
    return values


def named_positions(
    owner: str, name: str, n_bins: int, sr: float | None, fmin: float, htk: bool
) -> Float[np.ndarray, " n_bins"]:
    """Return the positions from 0 to 1 of bins that are uniform up to `sr / 2`."""
    unit = np.linspace(0, 1, n_bins)
    if name == "linear":
        return unit
    assert sr is not None
    top = sr / 2
    with np.errstate(all="ignore"):  # refused below
        if name == "log":
            ratio = np.maximum(unit * top, fmin) / fmin
            values = np.log(ratio) / np.log(np.float64(top) / fmin)
        else:
            mel = mels_table(np.append(unit * top, top), htk)
            values = mel[:-1] / mel[-1]
    check_finite(owner, {"sr": sr, "fmin": fmin}, values)
    return values
