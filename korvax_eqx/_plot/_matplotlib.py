"""matplotlib, imported only when a picture is drawn; axes as arguments."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec

import jax.numpy as jnp
import numpy as np

from korvax_eqx import _checks as checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
else:
    Axes = Any

P = ParamSpec("P")

# For text beside and inside the axes; matplotlib's 10 is for axis labels.
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


def data_first(draw: Callable[P, Axes]) -> Callable[P, Axes]:
    """Raise `ValueError` for axes passed as anything but `ax`.

    Some libraries take the axes first. Axes in the place of data would give an obscure
    error about shapes or the number of arguments.
    """
    owner = draw.__name__

    @functools.wraps(draw)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Axes:
        require_matplotlib()
        places = [(f"argument {i + 1}", value) for i, value in enumerate(args)]
        places += [(f"`{n}`", value) for n, value in kwargs.items() if n != "ax"]
        for place, value in places:
            if _holds_axes(value):
                raise ValueError(
                    f"`{owner}(ax=...)` must be given by its name. Got axes as {place}."
                    f" Data come first: `{owner}(..., ax=ax)`."
                )
        return draw(*args, **kwargs)

    return checked


def axes(owner: str, ax: Axes | None) -> Axes:
    """Return `ax`, or the current axes of `matplotlib.pyplot` if it is `None`."""
    if ax is None:
        import matplotlib.pyplot as plt

        return plt.gca()
    from matplotlib import axes

    if not isinstance(ax, axes.Axes):
        several = isinstance(ax, np.ndarray | list | tuple)
        remedy = "Choose one, e.g. `ax=axes[0]`." if several else ""
        checks.refuse(owner, "ax", "be one `Axes` of matplotlib", ax, remedy)
    return ax


def _holds_axes(value: Any) -> bool:
    """Return whether a value is axes, or an array or a sequence of axes."""
    from matplotlib import axes

    if isinstance(value, np.ndarray) and value.dtype == object:
        value = list(value.flat)
    if isinstance(value, list | tuple) and value:
        value = value[0]
    return isinstance(value, axes.Axes)


def as_numpy(owner: str, argument: str, value: Any, ndim: int) -> np.ndarray:
    """Return numbers as a float64 NumPy array of `ndim` axes."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):  # of sequences of several lengths, or of no numbers
        array = np.asarray(None)
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    if not any(jnp.issubdtype(array.dtype, kind) for kind in kinds):
        checks.refuse(owner, argument, "hold real numbers", value)
    array = array.astype(np.float64)
    if array.ndim != ndim or array.size == 0:
        plural = "axis" if ndim == 1 else "axes"
        raise ValueError(
            f"`{owner}({argument}=...)` must be an array with {ndim} {plural}, not "
            f"empty. Got shape {array.shape}."
        )
    return array
