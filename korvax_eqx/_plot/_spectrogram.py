"""Pictures of one spectrogram, and of the difference of two."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from korvax_eqx import _checks as checks
from korvax_eqx._plot._layout import FrequencyAxis, Layout, layout
from korvax_eqx._plot._matplotlib import SMALL, Axes, axes, data_first
from korvax_eqx._plot._ticks import set_frequency_axis

# Lower octaves are a few broad bins of a Fourier transform, and inaudible.
_LOWEST_HZ = 20.0


@data_first
def spectrogram(
    S_or_x: Any,
    transform: Any,
    sr: float | None = None,
    *,
    ax: Axes | None = None,
    ref: float | None = None,
    top_db: float = 80.0,
    vmin: float | None = None,
    vmax: float | None = None,
    axis: FrequencyAxis | None = None,
    start: float = 0.0,
    colorbar: bool = True,
    **kwargs: Any,
) -> Axes:
    """Draw a spectrogram: seconds, frequencies, and levels in dB.

    **Arguments:**

    - `S_or_x`: a signal of shape `(n_samples,)`, or the result of `transform`, shape
        `(n_bins, n_frames)`.
    - `transform`: the `STFT`, `Spectrogram`, `MelSpectrogram`, `MFCC`, `CQT` or `VQT`.
    - `sr`: sample rate, Hz; required for `STFT` and `Spectrogram`.
    - `ax`: the axes to draw on; `None` for the current ones.
    - `ref`: the magnitude at 0 dB; `None` for the largest one in the picture.
    - `top_db`: the range of colours below the maximum, dB.
    - `vmin`, `vmax`: limits of the colours, dB re `ref`, instead of `top_db`.
    - `axis`: layout of the frequencies. `"hz"`: linear (default for `STFT` and
        `Spectrogram`); `"mel"`: Hz, evenly spaced in mel (`MelSpectrogram`); `"log"`:
        Hz, evenly spaced in octaves; `"notes"`: the same with note names (`CQT` and
        `VQT`). An `MFCC` is always drawn by index; its colours are the values, centred
        at 0, with limits set by the largest value apart from coefficient 0.
    - `start`: time of the first sample, seconds.
    - `colorbar`: whether to draw a colour bar, which takes space from `ax`.
    - all others: passed to `Axes.pcolormesh`, e.g. `cmap="viridis"`.

    **Returns:** the axes. The picture is `ax.collections[-1]`, with its `.colorbar`.

    **Raises:** `ValueError` for shapes and arguments outside these rules,
    `ImportError` without matplotlib.
    """
    owner = "spectrogram"
    ax = axes(owner, ax)
    where = layout(owner, transform, sr, axis)
    S, seconds = _values(owner, "S_or_x", S_or_x, transform, where)
    extend = "neither"
    if where.power is None:
        inner = np.abs(S[1:] if S.shape[0] > 1 else S)
        limit = float(np.max(inner)) or 1.0
        low, high = -limit, limit
        is_clipped = bool(np.max(np.abs(S)) > limit)
        extend, label, cmap = "both" if is_clipped else extend, "MFCC", "RdBu_r"
    else:
        peak = float(np.max(S)) if ref is None else checks.positive(owner, "ref", ref)
        label = "Level (dB re max)" if ref is None else f"Level (dB re {ref:g})"
        S = 20.0 * (_log10(S) - _log10(np.asarray(peak)))
        high = float(np.max(S)) if vmax is None else vmax
        low, cmap = high - checks.positive(owner, "top_db", top_db), "magma"
    low, high = low if vmin is None else vmin, high if vmax is None else vmax
    options = {"cmap": cmap, "vmin": low, "vmax": high, **kwargs}
    _draw(ax, S, where, seconds, start, options, (label, extend) if colorbar else None)
    return ax


@data_first
def difference(
    x: Any,
    y: Any,
    transform: Any,
    sr: float | None = None,
    *,
    ax: Axes | None = None,
    top_db: float = 80.0,
    limit: float | None = None,
    axis: FrequencyAxis | None = None,
    start: float = 0.0,
    colorbar: bool = True,
    **kwargs: Any,
) -> Axes:
    """Draw the level of an estimate `x` above (red) or below (blue) a target `y`.

    **Arguments:** those of `spectrogram`, and

    - `x`, `y`: two signals, or two spectrograms, of the same shape.
    - `top_db`: levels more than this below the maximum of both are first raised to that
        floor, so that parts inaudible in both show no difference.
    - `limit`: limit of the colours, ± dB. `None`: the 99th percentile of the picture,
        at least 1 dB.

    For an `MFCC` the values are subtracted.

    **Returns:** the axes.

    **Raises:** `ValueError` for shapes and arguments outside these rules,
    `ImportError` without matplotlib.
    """
    owner = "difference"
    checks.pair(owner, x, y)
    ax = axes(owner, ax)
    where = layout(owner, transform, sr, axis)
    S_x, seconds = _values(owner, "x", x, transform, where)
    S_y, _ = _values(owner, "y", y, transform, where)
    unit = ""
    if where.power is not None:
        S_x, S_y = 20.0 * _log10(S_x), 20.0 * _log10(S_y)
        floor = max(np.max(S_x), np.max(S_y)) - checks.positive(owner, "top_db", top_db)
        S_x, S_y, unit = np.maximum(S_x, floor), np.maximum(S_y, floor), " (dB)"
    D = S_x - S_y
    if limit is None:
        limit = max(1.0, float(np.percentile(np.abs(D), 99)))
    limit = checks.positive(owner, "limit", limit)
    extend = "both" if np.max(np.abs(D)) > 1.001 * limit else "neither"
    options = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, **kwargs}
    label = ("Estimate − target" + unit, extend) if colorbar else None
    _draw(ax, D, where, seconds, start, options, label)
    return ax


def _values(
    owner: str, argument: str, S: Any, transform: Any, where: Layout
) -> tuple[np.ndarray, float | None]:
    """Return magnitudes (of an MFCC: values), and the length of a signal in seconds."""
    seconds = None
    shape = np.shape(S)
    if len(shape) == 1:
        seconds = shape[0] / where.sr
        S = transform(jnp.asarray(S))
    elif len(shape) != 2 or shape[0] != where.centres.size or shape[1] == 0:
        raise ValueError(
            f"`{owner}({argument}=...)` must be one signal, shape (n_samples,), or one "
            f"spectrogram of the transform, shape ({where.centres.size}, n_frames). "
            f"Got shape {shape}. Draw one channel at a time."
        )
    S = np.asarray(S)
    if not np.all(np.isfinite(S)):
        raise ValueError(
            f"`{owner}({argument}=...)` must be finite. Got NaN or infinities; replace "
            "them first, e.g. with `jnp.nan_to_num`."
        )
    if where.power is None:
        return S.astype(np.float64), seconds
    magnitudes = np.abs(S).astype(np.float64)
    if np.iscomplexobj(S) or where.power == 1.0:
        return magnitudes, seconds
    return magnitudes ** (1.0 / where.power), seconds


def _log10(S: np.ndarray) -> np.ndarray:
    # Digital silence is -600 dB: below every range of colours, and finite.
    return np.log10(np.maximum(S, 1e-30))


def _draw(
    ax: Axes,
    values: np.ndarray,
    where: Layout,
    seconds: float | None,
    start: float,
    options: dict[str, Any],
    bar: tuple[str, str] | None,
) -> None:
    times = start + where.time_edges(values.shape[1])
    edges = where.frequency_edges()
    if where.axis in ("log", "notes"):
        # Bin 0 of a Fourier transform reaches down to 0 Hz, which has no place on this
        # axis.
        keep = int(np.count_nonzero(edges <= 0.0))
        edges, values = edges[keep:], values[keep:]
    # Rasterised: a vector file would hold a path for every point of the picture.
    mesh = ax.pcolormesh(times, edges, values, **{"rasterized": True, **options})
    low, high = float(edges[0]), float(edges[-1])
    if where.axis in ("log", "notes") and where.spacing == "hz":
        low = max(low, min(_LOWEST_HZ, high / 2))
    set_frequency_axis(ax, where, low, high)
    if seconds is None:
        ax.set_xlim(max(start, float(times[0])), float(times[-1]))
    else:
        ax.set_xlim(start, start + seconds)
    ax.set_xlabel("Time (s)")
    if bar is not None:
        label, extend = bar
        colorbar = ax.figure.colorbar(mesh, ax=ax, extend=extend, pad=0.02)
        colorbar.set_label(label)
        colorbar.ax.tick_params(labelsize=SMALL)
