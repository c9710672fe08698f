"""Legends below the axes, where they cover no curve."""

from typing import Any

from korvax_eqx._plot._matplotlib import SMALL, Axes

_GAP = 4.0  # points, around the label of the x axis
_HIGHEST = 0.6  # of the figure: axes must stay visible above a long legend


def legend_below(ax: Axes) -> None:
    """Name what has a label in a legend below the axes, in as many columns as fit.

    A figure with a layout engine makes room for it. Without one, the room is taken
    from the bottom of the figure's grid of axes.
    """
    from matplotlib.transforms import ScaledTranslation

    handles, labels = ax.get_legend_handles_labels()
    if not labels:
        return
    figure: Any = ax.figure
    down = ScaledTranslation(0.0, -_height_of_labels() / 72, figure.dpi_scale_trans)
    lowest = 0.0
    for n_columns in range(len(labels), 0, -1):
        legend = ax.legend(
            handles,
            labels,
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            bbox_transform=ax.transAxes + down,
            borderaxespad=0.0,
            columnspacing=1.2,
            fontsize=SMALL,
            frameon=False,
            ncols=n_columns,
        )
        extent = legend.get_window_extent()
        lowest = extent.y0
        if extent.width <= ax.bbox.width:
            break
    grid = ax.get_subplotspec()
    if figure.get_layout_engine() is None and grid is not None and grid.is_last_row():
        depth = (ax.bbox.y0 - lowest) / figure.bbox.height + 0.01
        if depth > figure.subplotpars.bottom:
            figure.subplots_adjust(bottom=min(depth, _HIGHEST))


def _height_of_labels() -> float:
    """Return the room that ticks, their labels and the label of the x axis take."""
    import matplotlib
    from matplotlib.font_manager import FontProperties

    settings: Any = matplotlib.rcParams

    def size(name: str) -> float:
        return FontProperties(size=settings[name]).get_size_in_points()

    ticks = settings["xtick.major.size"] + settings["xtick.major.pad"]
    pads = settings["axes.labelpad"] + 2 * _GAP
    # Letters and what hangs below them: 1.2 of the size.
    return ticks + pads + 1.2 * (size("xtick.labelsize") + size("axes.labelsize"))
