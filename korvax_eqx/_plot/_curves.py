"""Curves: the terms of a loss over training, a loss along one parameter."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from korvax_eqx import _checks as checks
from korvax_eqx._plot._legend import legend_below
from korvax_eqx._plot._matplotlib import Axes, as_numpy, axes, data_first

_LINES = ("-", "--", "-.", ":")
# Okabe and Ito's (2008) palette for the colour-blind; those dark enough on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "black")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# What was drawn by an earlier call on the same axes is recognised by its group id.
_PROFILE, _TARGET = "korvax_eqx.profile", "korvax_eqx.target"
_MARKS, _AWAY = "korvax_eqx.descent", "korvax_eqx.away"
_AWAY_LABEL = "descent away from target"


@data_first
def terms(
    history: Sequence[Any] | Mapping[str, Any],
    *,
    ax: Axes | None = None,
    steps: Any = None,
    total: bool = True,
    yscale: str | None = None,
    legend: bool = True,
    **kwargs: Any,
) -> Axes:
    """Draw the terms of a loss over training, one line each, and their sum.

    Terms with the same first part of the name (`"2048/lin"`, `"2048/log"`) share colour
    and marker; terms with the same last part share the line style, so the picture is
    legible in grey too. Names in alphabetical order, as JAX returns dicts, are
    reordered by the numbers in them.

    **Arguments:**

    - `history`: for each step a dict from names to numbers, or the `(loss, dict)` that
        `with_terms` returns; or one dict from names to sequences.
    - `ax`: the axes to draw on; `None` for the current ones.
    - `steps`: the step of each entry, shape `(n_steps,)`; `None`: 0, 1, 2 ...
    - `total`: whether to draw the sum of the terms.
    - `yscale`: matplotlib's scale of the y axis. `None`: `"log"` if no term is negative
        (ratios in decibels can be), otherwise `"linear"`. With `"log"`, values that are
        not positive are left out.
    - `legend`: whether to draw a legend, below the axes.
    - all others: passed to `Axes.plot`, e.g. `linewidth=1`.

    **Returns:** the axes.

    **Raises:** `ValueError` if the history is empty, or if its names or lengths
    differ; `ImportError` without matplotlib.
    """
    ax = axes("terms", ax)
    series = _series(history)
    n_steps = next(iter(series.values())).size
    at = np.arange(n_steps) if steps is None else as_numpy("terms", "steps", steps, 1)
    if at.size != n_steps:
        rule = f"have one entry for each of the {n_steps} entries of the history"
        checks.refuse("terms", "steps", rule, at)
    first = _indices([name.rpartition("/")[0] or name for name in series])
    last = _indices([name.rpartition("/")[2] for name in series])
    if max(last) + 1 == len(series):  # names without a common last part
        last = [0] * len(series) if "/" in "".join(series) else first
    shades = np.linspace(0.0, 0.85, max(first) + 1)
    import matplotlib

    colours = matplotlib.colormaps["viridis"](shades)
    for (name, values), i, j in zip(series.items(), first, last, strict=True):
        style = {
            "color": colours[i],
            "linestyle": _LINES[j % len(_LINES)],
            "marker": _MARKERS[i % len(_MARKERS)],
            "markersize": 4.0,
            # Shifted from line to line, so that markers do not cover each other.
            "markevery": _marks(n_steps, (i + j / 2) / (max(first) + 1)),
            "label": name,
        }
        ax.plot(at, values, **{**style, **kwargs})
    if total:
        style = {"color": "black", "linewidth": 2.0, "label": "total"}
        ax.plot(at, sum(series.values()), **{**style, **kwargs})
    if yscale is None:
        is_signed = any(np.any(values < 0) for values in series.values())
        yscale = "linear" if is_signed else "log"
    options = {"nonpositive": "mask"} if yscale == "log" else {}
    ax.set_yscale(yscale, **options)
    ax.set_xlabel("Step")
    ax.set_ylabel("Weighted term")
    ax.grid(True, alpha=0.3)
    if legend:
        legend_below(ax)
    return ax


@data_first
def profile(
    positions: Any,
    values: Any,
    gradients: Any = None,
    *,
    ax: Axes | None = None,
    target: float | None = None,
    n_marks: int = 24,
    xscale: Literal["linear", "log"] | None = None,
    legend: bool = True,
    **kwargs: Any,
) -> Axes:
    """Draw a loss along one parameter, with the direction of descent.

    Triangles on the curve point where a step of gradient descent goes. Those that point
    away from the target are hollow. Call it again on the same axes for further losses:
    each gets its own colour and line style.

    **Arguments:**

    - `positions`: values of the parameter, shape `(n,)`.
    - `values`: the loss at each, shape `(n,)`.
    - `gradients`: its derivative at each, shape `(n,)`; `None`: no triangles.
    - `ax`: the axes to draw on; `None` for the current ones.
    - `target`: the parameter's true value, marked by a vertical line.
    - `n_marks`: about how many triangles to draw.
    - `xscale`: `"log"`, e.g. for frequencies; `None` leaves that of the axes.
    - `legend`: whether to draw a legend, below the axes.
    - all others: passed to `Axes.plot`, e.g. `label="SOT"`.

    **Returns:** the axes.

    **Raises:** `ValueError` for shapes that differ, `ImportError` without matplotlib.
    """
    owner = "profile"
    ax = axes(owner, ax)
    x = as_numpy(owner, "positions", positions, 1)
    y = _like(owner, "values", values, x)
    if xscale is not None:
        _set_x_scale(ax, xscale)
    n_drawn = sum(line.get_gid() == _PROFILE for line in ax.lines)
    style = {
        "color": _COLOURS[n_drawn % len(_COLOURS)],
        "linestyle": _LINES[n_drawn % len(_LINES)],
        "gid": _PROFILE,
    }
    (line,) = ax.plot(x, y, **{**style, **kwargs})
    marked = [one for one in ax.lines if one.get_gid() == _TARGET]
    if target is not None and not any(_first_x(m) == target for m in marked):
        ax.axvline(target, color="0.4", linestyle=":", zorder=0, gid=_TARGET)
        ax.lines[-1].set_label("target")
    if gradients is not None:
        slope = _like(owner, "gradients", gradients, x)
        _draw_descent(ax, x, y, slope, target, n_marks, line.get_color())
        _name_hollow_marks(ax)
    ax.set_xlabel("Parameter")
    ax.set_ylabel("Loss")
    ax.grid(True, alpha=0.3)
    if legend:
        legend_below(ax)
    return ax


def _draw_descent(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    slope: np.ndarray,
    target: float | None,
    n_marks: int,
    colour: Any,
) -> None:
    n_marks = checks.positive_int("profile", "n_marks", n_marks)
    # Evenly over the axis as it is drawn, so that marks do not pile up.
    along = ax.get_xaxis().get_transform().transform(x)
    wanted = np.linspace(along.min(), along.max(), min(n_marks, x.size))
    some = np.unique(np.abs(along[:, None] - wanted).argmin(axis=0))
    heading = -np.sign(slope[some])
    is_right = np.ones(some.size, bool)
    if target is not None:
        is_right = np.sign(target - x[some]) == heading
    for sign, marker in ((1.0, ">"), (-1.0, "<")):
        for is_filled in (True, False):
            at = some[(heading == sign) & (is_right == is_filled)]
            ax.plot(
                x[at],
                y[at],
                color=colour,
                linestyle="none",
                marker=marker,
                markersize=6.0,
                markerfacecolor=colour if is_filled else "white",
                zorder=3,
                gid=_MARKS if is_filled else _AWAY,
            )


def _name_hollow_marks(ax: Axes) -> None:
    """Add the hollow triangles to the legend once."""
    hollow = [line for line in ax.lines if line.get_gid() == _AWAY]
    drawn = [line for line in hollow if np.size(line.get_xdata())]
    if drawn and not any(str(line.get_label()) == _AWAY_LABEL for line in drawn):
        drawn[0].set_label(_AWAY_LABEL)


def _first_x(line: Any) -> float:
    return float(np.ravel(line.get_xdata())[0])


def _set_x_scale(ax: Axes, scale: str) -> None:
    from matplotlib import ticker

    ax.set_xscale(scale)
    if scale == "log":  # 100, 200, 500 ...: a parameter rarely spans many decades
        ax.xaxis.set_major_locator(ticker.LogLocator(10, subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}"))
        ax.xaxis.set_minor_locator(ticker.NullLocator())


def _like(owner: str, argument: str, value: Any, x: np.ndarray) -> np.ndarray:
    array = as_numpy(owner, argument, value, 1)
    if array.shape != x.shape:
        rule = f"have the shape of `positions`, {x.shape}"
        checks.refuse(owner, argument, rule, array)
    return array


def _series(history: Any) -> dict[str, np.ndarray]:
    """Return the history as one sequence of numbers per name."""
    if not isinstance(history, Mapping):
        entries = list(history) if isinstance(history, Iterable) else [history]
        steps = [e[-1] if isinstance(e, tuple) and e else e for e in entries]
        if not all(isinstance(step, Mapping) for step in steps):
            rule = "be a sequence of dicts from names to numbers, one for each step"
            remedy = "For a single curve use `{'loss': values}`."
            checks.refuse("terms", "history", rule, history, remedy)
        if not steps:
            raise ValueError("`terms(history=...)` must have an entry. Got none.")
        names = list(steps[0])
        for index, step in enumerate(steps):
            if set(step) != set(names):
                raise ValueError(
                    "`terms(history=...)` must have the same names at every step. Got "
                    f"{names} at step 0 and {list(step)} at step {index}."
                )
        history = {n: [np.asarray(step[n]) for step in steps] for n in names}
    series = {
        str(name): as_numpy("terms", f"history[{name!r}]", values, 1)
        for name, values in history.items()
    }
    if list(series) == sorted(series):  # as JAX returns dicts, "1024" before "256"
        series = {name: series[name] for name in sorted(series, key=_numbers_as_such)}
    if len({values.size for values in series.values()}) != 1:
        lengths = {name: values.size for name, values in series.items()}
        raise ValueError(
            "`terms(history=...)` must have one length for all names, and a name. Got "
            f"{lengths}."
        )
    return series


def _numbers_as_such(name: str) -> list[tuple[bool, int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(i % 2 == 1, int(p) if i % 2 else 0, p) for i, p in enumerate(parts)]


def _indices(names: list[str]) -> list[int]:
    order = list(dict.fromkeys(names))
    return [order.index(name) for name in names]


def _marks(n_steps: int, phase: float) -> tuple[int, int]:
    every = max(1, n_steps // 8)
    return int(every * (phase % 1.0)), every
