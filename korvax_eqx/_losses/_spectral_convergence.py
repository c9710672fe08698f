"""Relative error of a spectrogram in the Frobenius norm."""

from typing import ClassVar, Literal

import equinox as eqx
from jaxtyping import Array, Float, Inexact

from korvax_eqx import _checks as checks
from korvax_eqx._core._losses import AbstractBatchLoss, AbstractSpectralLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._powers import root
from korvax_eqx._numerics._ratio import ratio
from korvax_eqx._numerics._safe import difference, norm, squared_magnitude


class SpectralConvergenceLoss(AbstractSpectralLoss):
    r"""Spectral convergence $\|S_y - S_x\|_F / (\|S_y\|_F + \epsilon)$.

    One ratio per signal, then the mean. auraloss takes one ratio over the whole batch:
    see `BatchSpectralConvergenceLoss`. The gradient of a norm at 0 is 0. See Arik, Jun,
    Diamos (2019), "Fast spectrogram inversion using multi-head convolutional neural
    networks", IEEE SPL 26(1).

    With `reference="estimate"` the denominator is $\|S_x\|_F + \epsilon$. Projects that
    call the loss with the target first have this, on purpose or not: its gradient
    favours loud estimates.
    """

    eps: float | None = eqx.field(static=True)
    reference: Literal["target", "estimate"] = eqx.field(static=True)

    def __init__(
        self,
        eps: float | None = None,
        *,
        reference: Literal["target", "estimate"] = "target",
    ) -> None:
        """**Arguments:**

        - `eps`: added to the norm in the denominator, so that silence gives a finite
            value. `None`: the machine epsilon of the dtype. With 0, only a silent
            signal is divided by the machine epsilon.
        - `reference`: whose norm is the denominator, `"target"` or `"estimate"`.

        **Raises:** `ValueError` for a negative number or another reference.
        """
        owner = "SpectralConvergenceLoss"
        self.eps = _checked(owner, eps)
        options = ("target", "estimate")
        self.reference = checks.one_of(owner, "reference", reference, options)

    def values(self, x: Spectra, y: Spectra) -> Float[Array, "*rows"]:
        # Frames that are zero in both signals add nothing to either norm.
        error = norm(difference(y.S, x.S), (-2, -1))
        reference = x.S if self.reference == "estimate" else y.S
        return ratio(error, norm(reference, (-2, -1)), self.eps)


class BatchSpectralConvergenceLoss(AbstractBatchLoss):
    r"""Spectral convergence $\|S_y - S_x\|_F / (\|S_y\|_F + \epsilon)$ of a batch.

    Both norms are taken over the whole batch, as in auraloss and ParallelWaveGAN
    (Yamamoto, Song, Kim 2020, "Parallel WaveGAN", ICASSP), which have no $\epsilon$
    (`eps=0.0`). Loud examples outweigh quiet ones, and the loss of a batch is not the
    mean of the losses of its parts. `SpectralConvergenceLoss` takes one ratio per
    signal instead. The gradient of a norm at 0 is 0. Magnitudes below 1e-19 count as 0
    in float32, where their squares underflow.
    """

    scope: ClassVar[Scope] = "frame"
    eps: float | None = eqx.field(static=True)

    def __init__(self, eps: float | None = None) -> None:
        r"""**Arguments:**

        - `eps`: added to the root of the mean over signals of $\|S_y\|_F^2$. `None`:
            the machine epsilon of the dtype. With 0, only a batch of silent targets is
            divided by the machine epsilon.

        **Raises:** `ValueError` for a negative number.
        """
        self.eps = _checked("BatchSpectralConvergenceLoss", eps)

    @property
    def n_sums(self) -> int:
        return 2

    def sums(self, x: Spectra, y: Spectra) -> tuple[Float[Array, "*rows"], ...]:
        error = x.holding(squared_magnitude(difference(y.S, x.S)))
        return error.sum(), y.map(squared_magnitude).sum()

    def finish(self, means: tuple[Float[Array, ""], ...]) -> Float[Array, ""]:
        error, reference = means
        return ratio(root(error), root(reference), self.eps)


def _checked(owner: str, eps: float | None) -> float | None:
    return None if eps is None else checks.non_negative(owner, "eps", eps)


@checks.owned_by("spectral_convergence_loss")
def spectral_convergence_loss(
    S_x: Inexact[Array, "*channels n_freq n_frames"],
    S_y: Inexact[Array, "*channels n_freq n_frames"],
) -> Float[Array, ""]:
    """Apply `SpectralConvergenceLoss`."""
    return SpectralConvergenceLoss()(S_x, S_y)
