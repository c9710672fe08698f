"""The multi-resolution STFT loss."""

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractLoss
from korvax_eqx._engine._branches import Branch, Term, unique_names
from korvax_eqx._engine._pieces import PieceSize
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._losses._spectral_convergence import SpectralConvergenceLoss
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._log import Log
from korvax_eqx._static import FrozenArray, Static, parameter, thaw
from korvax_eqx._transforms._spectrogram import Spectrogram

from ._bound import BoundLoss
from ._call import Terms, check_piece_size, compare, compare_total

Metric = Literal["L1", "L2"]


class MRSTFTLoss(AbstractLoss):
    r"""Multi-resolution STFT loss (also: multi-scale spectral loss).

    For each resolution, with the magnitudes $S = |\mathrm{STFT}|^p$ of both signals,

    $$w_\mathrm{lin}\, d_\mathrm{lin}(S_x, S_y) + w_\mathrm{log}\,
      d_\mathrm{log}(\log(f S_x + \epsilon), \log(f S_y + \epsilon)) + w_\mathrm{sc}\,
      \|S_y - S_x\|_F / \|S_y\|_F$$

    then the mean over resolutions. $d$ is the mean absolute (L1) or squared (L2)
    difference; the last term is `SpectralConvergenceLoss`. See Yamamoto, Song, Kim
    (2020), "Parallel WaveGAN" (`w_lin=0, w_sc=1`); Engel et al. (2020), "DDSP" (as it
    is by default). auraloss takes the convergence over the whole batch, and clips
    magnitudes at $\epsilon$ under the root instead of adding it in the logarithm.
    """

    window: Any
    w_lin: Array | Static
    w_log: Array | Static
    log_fac: Array | Static
    log_eps: Array | Static
    w_sc: Array | Static
    hop_lengths: tuple[int, ...] = eqx.field(static=True)
    win_lengths: tuple[int, ...] = eqx.field(static=True)
    fft_sizes: tuple[int, ...] = eqx.field(static=True)
    lin_dist: Metric = eqx.field(static=True)
    log_dist: Metric = eqx.field(static=True)
    power: float = eqx.field(static=True)
    center: bool = eqx.field(static=True)
    piece_size: PieceSize = eqx.field(static=True)

    def __init__(
        self,
        hop_lengths: Sequence[int] = (32, 64, 128, 256, 512, 1024),
        win_lengths: Sequence[int] = (64, 128, 256, 512, 1024, 2048),
        fft_sizes: Sequence[int] | None = None,
        window: Any = "hann",
        w_lin: Any = 1.0,
        w_log: Any = 1.0,
        lin_dist: Metric = "L1",
        log_dist: Metric = "L1",
        log_fac: Any = 1.0,
        log_eps: Any = 1e-7,
        power: float = 1,
        *,
        w_sc: Any = 0.0,
        center: bool = True,
        piece_size: PieceSize = "auto",
    ):
        """**Arguments:**

        - `hop_lengths`, `win_lengths`: one for each resolution, in samples.
        - `fft_sizes`: one for each resolution, in samples; `None`: `win_lengths`.
        - `window`: a name or tuple for `scipy.signal.get_window`; or a list of
            windows, one for each resolution, each as `Spectrogram` takes them (a JAX
            array is learnable).
        - `w_lin`, `w_log`, `w_sc`: weights of the terms; a term of weight 0 is not
            computed. A JAX scalar is a leaf: learnable, or annealed without compiling
            again.
        - `lin_dist`, `log_dist`: `"L1"` or `"L2"`.
        - `log_fac`, `log_eps`: the factor $f$ and the positive constant $\\epsilon$.
        - `power`: the exponent $p$.
        - `center`: whether frames are centred, see `STFT`.
        - `piece_size`: see `TimeFrequencyLoss`.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        owner = "MRSTFTLoss"
        self.hop_lengths = checks.positive_ints(owner, "hop_lengths", hop_lengths)
        self.win_lengths = checks.positive_ints(owner, "win_lengths", win_lengths)
        sizes = self.win_lengths if fft_sizes is None else fft_sizes
        self.fft_sizes = checks.positive_ints(owner, "fft_sizes", sizes)
        lengths = [len(self.hop_lengths), len(self.win_lengths), len(self.fft_sizes)]
        if len(set(lengths)) != 1:
            raise ValueError(
                f"`{owner}(hop_lengths=..., win_lengths=..., fft_sizes=...)` must have "
                f"one entry for each resolution. Got {lengths[0]}, {lengths[1]} and "
                f"{lengths[2]} entries."
            )
        if isinstance(window, list) or _is_windows(window):
            if len(window) != lengths[0]:
                rule = f"be one window, or one for each of {lengths[0]} resolutions"
                checks.refuse(owner, "window", rule, f"{len(window)} windows")
            self.window = tuple(map(parameter, window))
        else:
            self.window = parameter(window)
        self.w_lin = checks.number_or_leaf(owner, "w_lin", w_lin)
        self.w_log = checks.number_or_leaf(owner, "w_log", w_log)
        self.w_sc = checks.number_or_leaf(owner, "w_sc", w_sc)
        with checks.owned_by(owner, factor="log_fac", eps="log_eps"):
            log = Log(log_fac, log_eps)
        self.log_fac, self.log_eps = log.factor, log.eps
        self.lin_dist = checks.one_of(owner, "lin_dist", lin_dist, ("L1", "L2"))
        self.log_dist = checks.one_of(owner, "log_dist", log_dist, ("L1", "L2"))
        self.power = checks.positive(owner, "power", power)
        self.center = checks.boolean(owner, "center", center)
        self.piece_size = check_piece_size(owner, piece_size)
        with checks.owned_by(owner):
            self.transforms  # noqa: B018 its checks name this class

    @property
    def transforms(self) -> tuple[Spectrogram, ...]:
        """The spectrogram of each resolution."""
        windows = self.window
        if not isinstance(windows, tuple):
            windows = (windows,) * len(self.hop_lengths)
        sizes = zip(
            self.fft_sizes, self.hop_lengths, self.win_lengths, windows, strict=True
        )
        return tuple(
            Spectrogram(n_fft, hop, win, window, self.center, self.power)
            for n_fft, hop, win, window in sizes
        )

    def branches(self) -> tuple[Branch, ...]:
        """What is computed, for the evaluation engine."""
        factor = 1 / len(self.hop_lengths)
        log = Log(thaw(self.log_fac), thaw(self.log_eps))
        terms = [
            ("lin", Identity(), ElementwiseLoss(self.lin_dist), self.w_lin),
            ("log", log, ElementwiseLoss(self.log_dist), self.w_log),
            ("sc", Identity(), SpectralConvergenceLoss(), self.w_sc),
        ]
        active = [t for t in terms if not t[-1] == Static(0.0)]
        labels = unique_names([str(n_fft) for n_fft in self.fft_sizes])
        return tuple(
            Branch(
                transform,
                tuple(
                    Term(scale, loss, weight, factor, f"{label}/{name}")
                    for name, scale, loss, weight in active
                ),
            )
            for transform, label in zip(self.transforms, labels, strict=True)
            if active
        )

    @jax.named_scope("korvax_eqx.MRSTFTLoss")
    def __call__(
        self,
        x: Float[Array, "*channels n_samples"],
        y: Float[Array, "*channels n_samples"],
    ) -> Float[Array, ""]:
        """Return the loss of the estimate `x` for the target `y`.

        **Raises:** `ValueError` for signals of different shapes, or not real floats.
        """
        return compare_total(self, x, y)

    def with_terms(
        self,
        x: Float[Array, "*channels n_samples"],
        y: Float[Array, "*channels n_samples"],
    ) -> tuple[Float[Array, ""], Terms]:
        """Return the loss and its weighted terms by name, which carry no gradient.

        The names are FFT size and scale, e.g. `"2048/log"`.
        """
        return compare(self, x, y)

    def bind(self, y: Float[Array, "*channels n_samples"]) -> BoundLoss:
        """Return the loss of `x` alone, with all about the target computed once."""
        return BoundLoss(self, y)


def _is_windows(window: Any) -> bool:
    """Whether a tuple holds a window for each resolution, and is none itself."""
    arrays = (np.ndarray, jax.Array, FrozenArray, Static)
    return isinstance(window, tuple) and any(isinstance(w, arrays) for w in window)


def mrstft_loss(
    x: Float[Array, "*channels n_samples"],
    y: Float[Array, "*channels n_samples"],
    /,
    hop_lengths: Sequence[int] = (32, 64, 128, 256, 512, 1024),
    win_lengths: Sequence[int] = (64, 128, 256, 512, 1024, 2048),
    fft_sizes: Sequence[int] | None = None,
    window: Any = "hann",
    w_lin: Any = 1.0,
    w_log: Any = 1.0,
    lin_dist: Metric = "L1",
    log_dist: Metric = "L1",
    log_fac: Any = 1.0,
    log_eps: Any = 1e-7,
    power: float = 1,
) -> Float[Array, ""]:
    """Apply `MRSTFTLoss`."""
    loss = MRSTFTLoss(
        hop_lengths,
        win_lengths,
        fft_sizes,
        window,
        w_lin,
        w_log,
        lin_dist,
        log_dist,
        log_fac,
        log_eps,
        power,
    )
    return loss(x, y)
