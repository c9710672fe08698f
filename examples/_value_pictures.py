"""The picture of `what_values_mean.py`."""

from pathlib import Path

import _pictures
import matplotlib
import numpy as np
from _degradations import NOT_JUDGED

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

# Okabe and Ito's colours, told apart by the colour-blind; markers too, for print.
STYLES = {
    "MP3": ("o", "#0072B2"),
    "Opus": ("s", "#56B4E9"),
    "noise": ("^", "#D55E00"),
    "low-pass": ("v", "#009E73"),
    "clipping": ("D", "#CC79A7"),
    "level": ("*", "black"),
    "pitch": ("P", "black"),
}
LINES = ("-", "--", ":", "-.")


def draw(study, scores, path: Path) -> None:
    """Values of all degradations, ordered by their ratings, for two constants.

    Beside them the agreement for all constants; left out, and in the order of the
    values, where nobody rates.
    """
    rater = next((n for n in ("ViSQOL", *study.ratings) if n in study.ratings), None)
    labels = [e for e in ("1e-7", "1e-2") if e in study.values]
    names = [n for n, family in study.degradations.items() if family in STYLES]
    columns = [list(study.degradations).index(name) for name in names]
    rank = study.ratings[rater] if rater else -study.values[labels[-1]]
    rank = np.mean(rank[:, columns], axis=0)
    order = np.argsort(-rank, kind="stable")
    figure, axes = plt.subplots(
        1, len(labels) + (rater is not None), figsize=(12.5, 5), layout="constrained"
    )
    for ax, label in zip(axes, labels, strict=False):
        values = np.mean(study.values[label][:, columns], axis=0)
        for place, i in enumerate(order):
            marker, colour = STYLES[study.degradations[names[i]]]
            ax.plot(values[i], place, marker, color=colour, markersize=7)
        if NOT_JUDGED[0] in names:
            quieter = values[names.index(NOT_JUDGED[0])]
            ax.axvline(quieter, color="black", linewidth=0.8, linestyle="--")
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.grid(axis="y", color="0.88")
        ax.set_axisbelow(True)
        ax.set_yticks([])
        ax.invert_yaxis()
        ax.set_xlabel("loss, mean over sounds")
        ax.set_title(f"log_eps = {label}")
    rated = [f"{names[i]}  {rank[i]:.1f}" if rater else names[i] for i in order]
    everything = [ax.get_xlim() for ax in axes[: len(labels)]]
    for ax in axes[: len(labels)]:
        ax.set_xlim(np.min(everything), np.max(everything))
        ax.xaxis.set_minor_formatter("")
        ax.set_yticks(range(len(names)), rated if ax is axes[0] else [""] * len(names))
    if rater is not None:
        axes[0].set_ylabel(f"best to worst by {rater}, whose rating is beside")
        _agreement(axes[-1], study, scores)
    _pictures.save(figure, path)
    plt.close(figure)


def _agreement(ax, study, scores) -> None:
    eps = [label for label in study.values if label == "1" or label[3:].isdigit()]
    for line, judge in zip(LINES, study.ratings, strict=False):
        means = []
        for e in eps:
            own = [
                s.rank_correlation for s in scores if (s.loss, s.judge) == (e, judge)
            ]
            means.append(np.mean(own))
        at = [float(e) for e in eps]
        ax.plot(at, means, line, marker="o", markersize=4, color="black")
        ax.annotate(
            judge,
            (at[0], means[0]),
            (-7, 0),
            textcoords="offset points",
            ha="right",
            va="center",
        )
    ax.set_xscale("log")
    ax.set_xticks([float(e) for e in eps], eps, rotation=45)
    ax.minorticks_off()
    ax.set_xlim(left=float(eps[0]) / 300)  # room for the names
    ax.set_ylim(0, 1)
    ax.grid(color="0.88")
    ax.set_xlabel("log_eps")
    ax.set_title("rank correlation with the judges")
