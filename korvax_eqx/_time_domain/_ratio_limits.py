"""The limits of ratios of energies in dB, the same for three losses."""

from typing import Any

from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._data import Signals
from korvax_eqx._numerics._bounds import Bounds

from ._mixture import Mixture, checked_mixture, over_sources, with_mixture


def checked_limits(
    owner: str, max_db: Any, mixture: Any, silent_max_db: Any
) -> tuple[float | None, Mixture, float | None]:
    """Return the three arguments.

    **Raises:** `ValueError` for a limit that is not positive, another mixture, and for
    a limit of silent targets without a mixture.
    """
    mixture = checked_mixture(owner, mixture)
    if max_db is not None:
        max_db = checks.positive(owner, "max_db", max_db)
    if silent_max_db is not None:
        silent_max_db = checks.positive(owner, "silent_max_db", silent_max_db)
        if mixture == "target":
            rule = 'be None with `mixture="target"`'
            remedy = 'Give a mixture, `mixture="sum"` or `"last"`.'
            checks.refuse(owner, "silent_max_db", rule, silent_max_db, remedy)
    return max_db, mixture, silent_max_db


def limited_ratio(
    function: Any, loss: Any, x: Signals, y: Signals
) -> Float[Array, "*rows"]:
    """Return a ratio of `_numerics._waveform` with the limits of a loss."""
    x, y, u = with_mixture(type(loss).__name__, loss.mixture, x, y)
    silent = loss.max_db if loss.silent_max_db is None else loss.silent_max_db
    mixture = None if loss.mixture == "target" else u.x
    bounds = Bounds(loss.max_db, silent, mixture)
    settings = loss.zero_mean, loss.eps, loss.eps_mode
    return over_sources(function(x.x, y.x, x.count, *settings, bounds), loss.mixture)
