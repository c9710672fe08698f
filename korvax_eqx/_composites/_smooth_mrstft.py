"""The smooth multi-resolution STFT loss."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from korvax_eqx import _checks as checks
from korvax_eqx import _warnings
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._data import Term

from ._arguments import PieceSize
from ._mrstft import Metric, MRSTFTLoss


class SmoothMRSTFTLoss(AbstractLoss):
    r"""Multi-resolution STFT loss of Schwär and Müller, which is smooth in pitch.

    The mean squared difference of $\log(1 + |\mathrm{STFT}|)$ with flattop windows of
    prime lengths and hops of about half of them: the broad main lobes let the loss
    decrease towards the right pitch from further away, with fewer local minima. See S.
    Schwär and M. Müller (2023), "Multi-scale spectral loss revisited", IEEE SPL 30.
    """

    window: Any
    log_fac: Any
    log_eps: Any
    resolution_weights: Any
    hop_lengths: tuple[int, ...] = eqx.field(static=True)
    win_lengths: tuple[int, ...] = eqx.field(static=True)
    log_dist: Metric = eqx.field(static=True)
    center: bool = eqx.field(static=True)
    pad_mode: str = eqx.field(static=True)
    piece_size: PieceSize = eqx.field(static=True)

    def __init__(
        self,
        *,
        hop_lengths: Sequence[int] = (32, 63, 128, 254, 510, 1026),
        win_lengths: Sequence[int] = (67, 127, 257, 509, 1021, 2053),
        window: Any = "flattop",
        log_dist: Metric = "L2",
        log_fac: Any = 1.0,
        log_eps: Any = 1.0,
        center: bool = True,
        pad_mode: str = "constant",
        resolution_weights: Any = None,
        piece_size: PieceSize = "auto",
    ):
        """**Arguments:** as in `MRSTFTLoss`; this loss is its logarithmic term."""
        with checks.owned_by("SmoothMRSTFTLoss"):
            loss = _as_mrstft(
                hop_lengths,
                win_lengths,
                window,
                log_dist,
                log_fac,
                log_eps,
                center,
                pad_mode,
                resolution_weights,
                piece_size,
            )
        self.hop_lengths, self.win_lengths = loss.hop_lengths, loss.win_lengths
        self.window, self.log_dist = loss.window, loss.log_dist
        self.log_fac, self.log_eps = loss.log_fac, loss.log_eps
        self.center, self.pad_mode = loss.center, loss.pad_mode
        self.resolution_weights = loss.resolution_weights
        self.piece_size = loss.piece_size

    @property
    def mrstft(self) -> MRSTFTLoss:
        """The same loss as an `MRSTFTLoss`."""
        with _warnings.remade("SmoothMRSTFTLoss"):
            return _as_mrstft(
                self.hop_lengths,
                self.win_lengths,
                self.window,
                self.log_dist,
                self.log_fac,
                self.log_eps,
                self.center,
                self.pad_mode,
                self.resolution_weights,
                self.piece_size,
            )

    @property
    def has_parts(self) -> bool:
        return True

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        return self.mrstft.terms(key=key)


def _as_mrstft(
    hop_lengths: Any,
    win_lengths: Any,
    window: Any,
    log_dist: Any,
    log_fac: Any,
    log_eps: Any,
    center: Any,
    pad_mode: Any,
    resolution_weights: Any,
    piece_size: Any,
) -> MRSTFTLoss:
    return MRSTFTLoss(
        hop_lengths,
        win_lengths,
        window=window,
        w_lin=0.0,
        log_dist=log_dist,
        log_fac=log_fac,
        log_eps=log_eps,
        center=center,
        pad_mode=pad_mode,
        resolution_weights=resolution_weights,
        piece_size=piece_size,
    )


@checks.owned_by("smooth_mrstft_loss")
def smooth_mrstft_loss(
    x: Float[Array, "*channels n_samples"], y: Float[Array, "*channels n_samples"]
) -> Float[Array, ""]:
    """Apply `SmoothMRSTFTLoss`."""
    return SmoothMRSTFTLoss()(x, y)
