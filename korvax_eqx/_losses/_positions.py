"""Where the bins of a transport loss lie, as its argument says."""

from typing import Any

import jax
import numpy as np

from korvax_eqx import _checks as checks
from korvax_eqx._leaves import is_known


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
