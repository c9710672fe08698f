"""The picture of a comparison, computed block by block."""

import os
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from korvax_eqx import plot
from korvax_eqx._cli._audio import Chunk
from korvax_eqx._cli._error import CommandError
from korvax_eqx._cli._losses import frame_length
from korvax_eqx._plot._matplotlib import require_matplotlib
from korvax_eqx._transforms._spectrogram import Spectrogram
from korvax_eqx._warnings import without_warnings

# Largest number of columns that the width of the picture can show.
_MOST_COLUMNS = 1200
# Frames transformed at a time: a constant, so that only one program is compiled.
_FRAMES = 256
# Range of levels, in dB below the maximum.
_RANGE = 80.0
# Largest number of characters of a title that fits the width.
_MOST_LETTERS = 90


def check_picture(path: str) -> None:
    """Raise if the picture cannot be written, before anything is computed."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    kind = os.path.splitext(path)[1].lower().removeprefix(".")
    kinds = FigureCanvasAgg.get_supported_filetypes()
    if kind not in kinds:
        raise CommandError(
            f"--plot {path}: the name must end in one of .{', .'.join(sorted(kinds))}."
        )
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise CommandError(f"--plot {path}: there is no folder {folder}.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise CommandError(f"--plot {path}: exists already, and is not a file.")


class LongSpectrogram:
    """A power spectrogram whose columns are means over frames and channels.

    Frames are centred every `hop` samples, as in `Spectrogram`. All columns have the
    same number of frames, the smallest that `_MOST_COLUMNS` allows. The memory is that
    of the picture, for signals of any length.
    """

    def __init__(self, sr: int, n_samples: int, n_channels: int):
        self.sr, self.n_samples, self.n_channels = sr, n_samples, n_channels
        self.n_fft = frame_length(sr)
        self.hop = self.n_fft // 4
        self.n_frames = 1 + n_samples // self.hop
        self.frames_a_column = -(-self.n_frames // _MOST_COLUMNS)
        n_columns = -(-self.n_frames // self.frames_a_column)
        self._sums = np.zeros((self.n_fft // 2 + 1, n_columns))
        self._counts = np.zeros(n_columns)
        self._transform = Spectrogram(self.n_fft, self.hop, center=False)
        self._done = 0
        self._rest = np.zeros((n_channels, self.n_fft // 2), np.float32)

    def add(self, block: Chunk) -> None:
        """Add the next samples."""
        samples = np.concatenate([self._rest, block], axis=1)
        step = _FRAMES * self.hop
        needed = step - self.hop + self.n_fft
        at = 0
        while samples.shape[1] - at >= needed:
            self._add_frames(samples[:, at : at + needed], _FRAMES)
            at += step
        self._rest = samples[:, at:]

    def finish(self) -> Float[np.ndarray, "n_bins n_columns"]:
        """Return the powers, with zeros after the end of the signal."""
        while self._done < self.n_frames:
            zeros = np.zeros((self.n_channels, _FRAMES * self.hop), np.float32)
            self.add(zeros)
        return self._sums / self._counts

    @property
    def columns(self) -> Spectrogram:
        """The transform whose frames lie where the columns do.

        Only for the layout of the picture. If a column is the mean of several frames,
        the frames of this transform skip samples, but those of the mean do not.
        """
        with without_warnings():
            return Spectrogram(self.n_fft, self.hop * self.frames_a_column)

    @property
    def start(self) -> float:
        """Seconds from the start to the middle of the first column."""
        return (self.frames_a_column - 1) / 2 * self.hop / self.sr

    def _add_frames(self, samples: Chunk, n_frames: int) -> None:
        n_frames = min(n_frames, self.n_frames - self._done)
        columns = np.arange(self._done, self._done + n_frames) // self.frames_a_column
        # Powers of very loud or very quiet samples would be out of float32's range.
        _, exponent = np.frexp(np.max(np.abs(samples)))
        scaled, power = np.ldexp(samples, -exponent), 4.0 ** float(exponent)
        for channel in scaled:
            S = np.asarray(self._transform(jnp.asarray(channel)), np.float64) * power
            np.add.at(self._sums.T, columns, S.T[:n_frames] / self.n_channels)
        np.add.at(self._counts, columns, 1.0)
        self._done += n_frames


def draw(
    path: str,
    reference: LongSpectrogram,
    estimate: LongSpectrogram,
    titles: tuple[str, str, str],
    start: float,
) -> None:
    """Write the picture of both spectrograms and of their difference."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    S_y, S_x = reference.finish(), estimate.finish()
    figure = Figure(figsize=(9.0, 9.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels: Any = figure.subplots(3, 1, sharex=True)
    where: dict[str, Any] = {"axis": "mel", "start": start + reference.start}
    peak = float(np.sqrt(max(S_x.max(), S_y.max()))) or 1.0
    levels = {"ref": peak, "vmin": -_RANGE, "vmax": 0.0, **where}
    for S, panel, title in ((S_y, panels[0], titles[0]), (S_x, panels[1], titles[1])):
        plot.spectrogram(S, reference.columns, reference.sr, ax=panel, **levels)
        panel.collections[-1].colorbar.set_label("Level (dB re max of both)")
        panel.set_title(_printable(title), fontsize=10, parse_math=False)
    plot.difference(
        S_x,
        S_y,
        reference.columns,
        reference.sr,
        ax=panels[2],
        top_db=_RANGE,
        **where,
    )
    panels[2].set_title(_printable(titles[2]), fontsize=10, parse_math=False)
    panels[2].set_xlim(start, start + reference.n_samples / reference.sr)
    for panel in panels[:2]:
        panel.set_xlabel("")
    try:
        with warnings.catch_warnings():
            # Characters that the font lacks are drawn as boxes.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure.savefig(path, dpi=150)
    except OSError as error:
        raise CommandError(f"--plot {path}: {error.strerror or error}.") from error


def _printable(title: str) -> str:
    """Return a title that fits: file names can be long, and invalid as text."""
    text = title.encode("utf-8", "backslashreplace").decode("utf-8")
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= _MOST_LETTERS else "…" + text[1 - _MOST_LETTERS :]
