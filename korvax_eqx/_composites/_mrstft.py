"""The multi-resolution STFT loss."""

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from korvax_eqx import _checks as checks
from korvax_eqx import _warnings
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._data import Term
from korvax_eqx._data._term import is_off
from korvax_eqx._engine._plan import unique_names
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._losses._spectral_convergence import SpectralConvergenceLoss
from korvax_eqx._scales._log import Log
from korvax_eqx._static import STATIC_TYPES, StaticTuple, items_of, static_or_leaf
from korvax_eqx._transforms._spectrogram import Spectrogram
from korvax_eqx._tree import made

from ._arguments import PieceSize, check_piece_size, weights_of
from ._multi_resolution import means_of

Metric = Literal["L1", "L2"]


class MRSTFTLoss(AbstractLoss):
    r"""Multi-resolution STFT loss (also: multi-scale spectral loss).

    For each resolution, with the magnitudes $S = |\mathrm{STFT}|^p$ of both signals,

    $$w_\mathrm{lin}\, d_\mathrm{lin}(S_x, S_y) + w_\mathrm{log}\,
      d_\mathrm{log}(\log(f S_x + \epsilon), \log(f S_y + \epsilon)) + w_\mathrm{sc}\,
      \|S_y - S_x\|_F / \|S_y\|_F$$

    averaged over resolutions. $d$ is the mean absolute (L1) or squared (L2) difference;
    the last term is `SpectralConvergenceLoss`. For the recommended `log_eps` use
    `recipes.mrstft()`; the default here is korvax's. See Yamamoto, Song, Kim (2020),
    "Parallel WaveGAN" (`w_lin=0, w_sc=1`); Engel et al. (2020), "DDSP" (the default).
    auraloss takes the convergence over the whole batch, and clips powers at $\epsilon$
    under the root instead of adding $\epsilon$ inside the logarithm. Terms are named
    after FFT size and scale, e.g. `"2048/log"`.
    """

    window: Any
    w_lin: Any
    w_log: Any
    log_fac: Any
    log_eps: Any
    w_sc: Any
    resolution_weights: Any
    hop_lengths: tuple[int, ...] = eqx.field(static=True)
    win_lengths: tuple[int, ...] = eqx.field(static=True)
    fft_sizes: tuple[int, ...] = eqx.field(static=True)
    lin_dist: Metric = eqx.field(static=True)
    log_dist: Metric = eqx.field(static=True)
    power: float = eqx.field(static=True)
    center: bool = eqx.field(static=True)
    pad_mode: str = eqx.field(static=True)
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
        pad_mode: str = "constant",
        resolution_weights: Any = None,
        piece_size: PieceSize = "auto",
    ):
        """**Arguments:**

        - `hop_lengths`, `win_lengths`: one for each resolution, in samples.
        - `fft_sizes`: one for each resolution, in samples; `None`: `win_lengths`.
        - `window`: a name or tuple for `scipy.signal.get_window`; or a list of
            windows, one for each resolution, each as `Spectrogram` takes them (a JAX
            array is learnable).
        - `w_lin`, `w_log`, `w_sc`: weights of the terms; a term of weight 0 is not
            computed. A JAX scalar is a leaf: it can be learned, or annealed without
            recompiling.
        - `lin_dist`, `log_dist`: `"L1"` or `"L2"`.
        - `log_fac`, `log_eps`: the factor $f$ and the positive constant $\\epsilon$.
        - `power`: the exponent $p$.
        - `center`, `pad_mode`: whether and how signals are padded so that frames are
            centred, see `STFT`.
        - `resolution_weights`: one number per resolution, or a JAX array of that shape.
            `None`: the mean over resolutions.
        - `piece_size`: see `TimeFrequencyLoss`.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        owner = "MRSTFTLoss"
        self.hop_lengths = checks.positive_ints(owner, "hop_lengths", hop_lengths)
        self.win_lengths = checks.positive_ints(owner, "win_lengths", win_lengths)
        sizes = self.win_lengths if fft_sizes is None else fft_sizes
        self.fft_sizes = checks.positive_ints(owner, "fft_sizes", sizes)
        given = {"hop_lengths": self.hop_lengths, "win_lengths": self.win_lengths}
        if fft_sizes is not None:
            given["fft_sizes"] = self.fft_sizes
        numbers = [len(values) for values in given.values()]
        if len(set(numbers)) != 1:
            *first, last = map(str, numbers)
            raise ValueError(
                f"`{checks.named(owner)}({'=..., '.join(given)}=...)` must have "
                "one entry for each resolution. Got "
                f"{', '.join(first)} and {last} entries. If you "
                "give one of these arguments, give all."
            )
        _warnings.warn_hops_longer_than_windows(
            owner, self.hop_lengths, self.win_lengths
        )
        self.window = windows_of(owner, window, numbers[0])
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
        self.pad_mode = pad_mode
        self.resolution_weights = weights_of(
            owner, resolution_weights, numbers[0], "resolution_weights", "resolutions"
        )
        self.piece_size = check_piece_size(owner, piece_size)
        _transforms_of(self)  # checks the arguments that they share

    @property
    def transforms(self) -> tuple[Spectrogram, ...]:
        """The spectrogram of each resolution."""
        return _transforms_of(self)

    @property
    def has_parts(self) -> bool:
        return True

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        log = made(
            Log, factor=self.log_fac, eps=self.log_eps, base="e", floor_mode="add"
        )
        lin_dist, log_dist = (
            ElementwiseLoss(self.lin_dist),
            ElementwiseLoss(self.log_dist),
        )
        parts = (
            ("lin", (), lin_dist, self.w_lin),
            ("log", (log,), log_dist, self.w_log),
            ("sc", (), SpectralConvergenceLoss(), self.w_sc),
        )
        labels = unique_names([str(n_fft) for n_fft in self.fft_sizes])
        factors = means_of(self.resolution_weights, len(self.fft_sizes))
        resolutions = list(zip(self.transforms, labels, factors, strict=True))
        return tuple(
            Term(
                (*transform.path, *scales),
                loss,
                weight,
                name,
                piece_size=self.piece_size,
            ).part_of(label, factor)
            for transform, label, factor in resolutions
            if not is_off(factor)
            for name, scales, loss, weight in parts
            if not is_off(weight)
        )


def _transforms_of(loss: MRSTFTLoss) -> tuple[Spectrogram, ...]:
    windows = loss.window
    if type(windows) is not tuple:
        windows = (windows,) * len(loss.hop_lengths)
    sizes = zip(
        loss.fft_sizes, loss.hop_lengths, loss.win_lengths, windows, strict=True
    )
    with _warnings.remade("MRSTFTLoss"):
        return tuple(
            Spectrogram(n_fft, hop, win, window, loss.center, loss.power, loss.pad_mode)
            for n_fft, hop, win, window in sizes
        )


def windows_of(owner: str, window: Any, n: int) -> Any:
    """Check one window for all resolutions, or a plain tuple of one for each."""
    if isinstance(window, StaticTuple) or not _is_windows(window):
        return static_or_leaf(window)
    windows = items_of(window)
    assert windows is not None
    if len(windows) != n:
        rule = f"be one window, or one for each of {n} resolutions"
        checks.refuse(owner, "window", rule, f"{len(windows)} windows")
    return tuple(map(static_or_leaf, windows))


def _is_windows(window: Any) -> bool:
    """Whether a value is a sequence of windows, and not itself a window."""
    if not isinstance(window, tuple):
        return items_of(window) is not None
    kinds = (np.ndarray, jax.Array, *STATIC_TYPES)
    return any(isinstance(w, kinds) for w in window)


@checks.owned_by("mrstft_loss")
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
    with _warnings.remade("MRSTFTLoss"):
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
