"""Relative error of a spectrogram in the Frobenius norm."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractSpectralLoss
from korvax_eqx._numerics._safe import norm


class SpectralConvergenceLoss(AbstractSpectralLoss):
    r"""Spectral convergence $\|S_y - S_x\|_F / (\|S_y\|_F + \epsilon)$.

    One ratio for every leading index, then their mean; $\epsilon$ is the machine
    epsilon of the dtype and keeps a silent target finite. auraloss takes one ratio
    over the whole batch instead, where a loud example outweighs a quiet one. The
    gradient of a norm at 0 is 0. See Arik, Jun, Diamos (2019), "Fast spectrogram
    inversion using multi-head convolutional neural networks", IEEE SPL 26(1).
    """

    @jax.named_scope("korvax_eqx.SpectralConvergenceLoss")
    def __call__(
        self,
        S_x: Inexact[Array, "*channels n_bins n_frames"],
        S_y: Inexact[Array, "*channels n_bins n_frames"],
    ) -> Float[Array, ""]:
        """Return the mean relative error of the estimate `S_x`.

        **Raises:** `ValueError` if the shapes differ or have less than two axes.
        """
        checks.pair("SpectralConvergenceLoss", S_x, S_y)
        checks.spectrum("SpectralConvergenceLoss", "S_x", S_x)
        error = norm(S_y - S_x, (-2, -1))
        reference = norm(S_y, (-2, -1))
        return jnp.mean(error / (reference + jnp.finfo(reference.dtype).eps))


def spectral_convergence_loss(
    S_x: Inexact[Array, "*channels n_freq n_frames"],
    S_y: Inexact[Array, "*channels n_freq n_frames"],
) -> Float[Array, ""]:
    """Apply `SpectralConvergenceLoss`."""
    return SpectralConvergenceLoss()(S_x, S_y)
