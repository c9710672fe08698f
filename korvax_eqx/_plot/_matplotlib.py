"""matplotlib, imported when a picture is drawn and not before."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
else:
    Axes = Any

# For text beside and inside of the axes; matplotlib's own 10 is for the axes' labels.
SMALL = 9


def require_matplotlib() -> None:
    """Raise a clear error if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "`korvax_eqx.plot` draws with matplotlib, which is not installed. Install "
            'it with `pip install "korvax_eqx[plot]"`.'
        ) from error


def axes(ax: Axes | None) -> Axes:
    """Return `ax`, or the current axes of `matplotlib.pyplot` if it is `None`."""
    require_matplotlib()
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.gca()


def as_numpy(owner: str, argument: str, value: Any, ndim: int) -> np.ndarray:
    """Return numbers as a float64 NumPy array of `ndim` axes."""
    array = np.asarray(value, np.float64)
    if array.ndim != ndim or array.size == 0:
        plural = "axis" if ndim == 1 else "axes"
        raise ValueError(
            f"`{owner}({argument}=...)` must be an array with {ndim} {plural}, not "
            f"empty. Got shape {array.shape}."
        )
    return array
