"""A loss over two parameters."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from korvax_eqx import _checks as checks
from korvax_eqx._plot._legend import legend_below
from korvax_eqx._plot._matplotlib import SMALL, Axes, as_numpy, axes, data_first

_LINES = ("-", "--", "-.", ":")


@data_first
def surface(
    x_values: Any,
    y_values: Any,
    values: Any,
    paths: Any = None,
    *,
    ax: Axes | None = None,
    target: tuple[float, float] | None = None,
    log: bool = False,
    levels: Any = 20,
    colorbar: bool = True,
    legend: bool = True,
    **kwargs: Any,
) -> Axes:
    """Draw a loss over two parameters as filled contours, with paths of descent.

    **Arguments:**

    - `x_values`, `y_values`: values of the parameters, shapes `(n_x,)`, `(n_y,)`.
    - `values`: the loss, shape `(n_y, n_x)`.
    - `paths`: points `(x, y)` that an optimiser visited, shape `(n_steps, 2)`; or a
        sequence of such paths; or a dict of paths by name, for a legend. A circle marks
        the start of a path, a square its end.
    - `ax`: the axes to draw on; `None` for the current ones.
    - `target`: the parameters' true values, marked by a star.
    - `log`: whether contour levels are evenly spaced in the logarithm of the loss.
    - `levels`: number of contour levels, or their ascending values.
    - `colorbar`: whether to draw a colour bar, which takes space from `ax`.
    - `legend`: whether to draw a legend, below the axes, if paths have names.
    - all others: passed to `Axes.contourf`, e.g. `cmap="magma"`.

    **Returns:** the axes.

    **Raises:** `ValueError` for shapes that do not fit, or for `log=True` with values
    that are not positive; `ImportError` without matplotlib.
    """
    owner = "surface"
    ax = axes(owner, ax)
    from matplotlib import ticker

    x = as_numpy(owner, "x_values", x_values, 1)
    y = as_numpy(owner, "y_values", y_values, 1)
    z = as_numpy(owner, "values", values, 2)
    if z.shape != (y.size, x.size) or min(z.shape) < 2:
        rule = f"have the shape (n_y, n_x) = ({y.size}, {x.size}), at least (2, 2)"
        remedy = "Transpose it if its first axis is x."
        checks.refuse(owner, "values", rule, z, remedy)
    if isinstance(levels, int | np.integer):
        levels = _levels(owner, z, checks.positive_int(owner, "levels", levels), log)
    options: dict[str, Any] = {"cmap": "viridis", "levels": levels}
    if log:
        options["norm"] = "log"
    filled = ax.contourf(x, y, z, **{**options, **kwargs})
    # Thin lines carry the shape where colours are printed in grey.
    lines = {"levels": filled.levels, "colors": "black", "linewidths": 0.4}
    ax.contour(x, y, z, alpha=0.5, **lines)
    _draw_paths(ax, _named_paths(owner, paths))
    if target is not None:
        ax.plot(
            *target,
            linestyle="none",
            marker="*",
            markersize=14,
            markerfacecolor="white",
            markeredgecolor="black",
            label="target",
            zorder=4,
        )
    ax.set_xlim(x.min(), x.max())
    ax.set_ylim(y.min(), y.max())
    ax.set_xlabel("x")
    ax.set_ylabel("y")
    if colorbar:
        bar = ax.figure.colorbar(filled, ax=ax, pad=0.02)
        if log:
            decades = np.ptp(np.log10(np.asarray(filled.levels)))
            subs = (1.0,) if decades > 3 else (1.0, 2.0, 5.0)
            bar.set_ticks(ticker.LogLocator(10, subs), minor=False)
            bar.formatter = ticker.FuncFormatter(lambda value, _: f"{value:g}")
            bar.minorticks_off()
        bar.set_label("Loss")
        bar.ax.tick_params(labelsize=SMALL)
    if legend:
        legend_below(ax)
    return ax


def _levels(owner: str, z: np.ndarray, n_levels: int, log: bool) -> Any:
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    if log and low <= 0.0:
        remedy = "Add a small constant, or leave `log` out."
        checks.refuse(owner, "values", "be positive for `log=True`", low, remedy)
    if low == high:  # a plane: contours need ascending levels
        return np.array([low, low + (abs(low) or 1.0)])
    if not log:
        return n_levels  # matplotlib chooses round numbers
    levels = np.geomspace(low, high, n_levels + 1)
    levels[[0, -1]] = low, high  # rounding must leave out no value
    return levels


def _named_paths(owner: str, paths: Any) -> list[tuple[str | None, np.ndarray]]:
    if paths is None:
        return []
    if isinstance(paths, Mapping):
        items = list(paths.items())
    elif isinstance(paths, list | tuple) and np.ndim(paths[0]) == 2:
        items = [(None, path) for path in paths]
    else:
        items = [(None, paths)]
    arrays = [(name, as_numpy(owner, "paths", path, 2)) for name, path in items]
    for _, path in arrays:
        if path.shape[1] != 2:
            checks.refuse(owner, "paths", "have the shape (n_steps, 2) each", path)
    return arrays


def _draw_paths(ax: Axes, paths: list[tuple[str | None, np.ndarray]]) -> None:
    from matplotlib import patheffects

    for index, (name, path) in enumerate(paths):
        (line,) = ax.plot(
            path[:, 0],
            path[:, 1],
            color="white",
            linestyle=_LINES[index % len(_LINES)],
            linewidth=1.8,
            label=name,
            zorder=3,
        )
        outline = patheffects.Stroke(linewidth=3.6, foreground="black")
        line.set_path_effects([outline, patheffects.Normal()])
        for point, marker in ((path[0], "o"), (path[-1], "s")):
            ax.plot(
                *point,
                marker=marker,
                markersize=6,
                markerfacecolor="white",
                markeredgecolor="black",
                zorder=4,
            )
