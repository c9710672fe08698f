"""The smooth multi-resolution STFT loss."""

import equinox as eqx
import jax
from jaxtyping import Array, Float

from korvax_eqx._base import AbstractLoss
from korvax_eqx._engine._branches import Branch
from korvax_eqx._engine._pieces import PieceSize

from ._bound import BoundLoss
from ._call import Terms, check_piece_size, compare, compare_total
from ._mrstft import MRSTFTLoss


class SmoothMRSTFTLoss(AbstractLoss):
    r"""Multi-resolution STFT loss of Schwär and Müller, smooth in pitch.

    The mean squared difference of $\log(1 + |\mathrm{STFT}|)$ with flattop windows
    of prime lengths and hops of about half of them: the broad main lobes make the
    loss fall towards the right pitch from further away, with fewer local minima. See
    S. Schwär and M. Müller (2023), "Multi-scale spectral loss revisited", IEEE SPL 30.
    """

    piece_size: PieceSize = eqx.field(static=True)

    def __init__(self, *, piece_size: PieceSize = "auto"):
        """**Arguments:** `piece_size`: see `TimeFrequencyLoss`."""
        self.piece_size = check_piece_size("SmoothMRSTFTLoss", piece_size)

    @property
    def mrstft(self) -> MRSTFTLoss:
        """The same loss written as `MRSTFTLoss`."""
        return MRSTFTLoss(
            hop_lengths=(32, 63, 128, 254, 510, 1026),
            win_lengths=(67, 127, 257, 509, 1021, 2053),
            window="flattop",
            w_lin=0.0,
            log_dist="L2",
            log_fac=1.0,
            log_eps=1.0,
            piece_size=self.piece_size,
        )

    def branches(self) -> tuple[Branch, ...]:
        """What is computed, for the evaluation engine."""
        return self.mrstft.branches()

    @jax.named_scope("korvax_eqx.SmoothMRSTFTLoss")
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
        """Return the loss and its weighted terms by name, which carry no gradient."""
        return compare(self, x, y)

    def bind(self, y: Float[Array, "*channels n_samples"]) -> BoundLoss:
        """Return the loss of `x` alone, with all about the target computed once."""
        return BoundLoss(self, y)


def smooth_mrstft_loss(
    x: Float[Array, "*channels n_samples"], y: Float[Array, "*channels n_samples"]
) -> Float[Array, ""]:
    """Apply `SmoothMRSTFTLoss`."""
    return SmoothMRSTFTLoss()(x, y)
