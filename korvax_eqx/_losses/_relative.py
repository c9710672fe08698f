"""Absolute or squared error relative to the target."""

from typing import Any, ClassVar, Literal

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._losses import AbstractBatchLoss, AbstractSpectralLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._ratio import ratio, squared_ratio
from korvax_eqx._numerics._safe import difference, magnitude, norm, squared_magnitude


class RelativeLoss(AbstractSpectralLoss):
    r"""Mean of $|S_x - S_y|^p$ divided by the mean of $|S_y|^p$, for each signal.

    $p$ is 1 (L1) or 2 (L2). $\epsilon$ is added to the denominator. It is 0 by default,
    because squares of quiet power spectra are far below any fixed number. RAVE takes
    one quotient over the whole batch: see `BatchRelativeLoss`.
    """

    metric: Literal["L1", "L2"] = eqx.field(static=True)
    eps: float | None = eqx.field(static=True)

    def __init__(
        self, metric: Literal["L1", "L2"] = "L2", eps: float | None = 0.0
    ) -> None:
        """**Arguments:**

        - `metric`: `"L1"` for absolute, `"L2"` for squared values.
        - `eps`: added to the denominator. With 0, only a silent target is divided by
            the machine epsilon. `None` adds the machine epsilon of the dtype; in
            float32 with L2 that is as much as the power spectrogram of a signal at
            about -55 dB.

        **Raises:** `ValueError` for another metric or a negative number.
        """
        self.metric, self.eps = _checked("RelativeLoss", metric, eps)

    def values(self, x: Spectra, y: Spectra) -> Float[Array, "*rows"]:
        d = difference(x.S, y.S)
        if self.metric == "L2" and self.eps == 0:
            root_n = x.count**0.5
            error, reference = norm(d, (-2, -1)), norm(y.S, (-2, -1))
            return squared_ratio(error / root_n, reference / root_n)
        size = _size(self.metric)
        error = x.holding(size(d)).mean()
        return ratio(error, y.map(size).mean(), self.eps)


class BatchRelativeLoss(AbstractBatchLoss):
    r"""Sum of $|S_x - S_y|^p$ over a batch divided by that of $|S_y|^p$.

    $p$ is 1 (L1) or 2 (L2). With L2 and `eps=0.0` it is the linear term of RAVE's
    spectral distance (Caillon and Esling 2021, "RAVE: A variational autoencoder for
    fast and high-quality neural audio synthesis"). Loud examples outweigh quiet ones,
    and the loss of a batch is not the mean of the losses of its parts. `RelativeLoss`
    takes one quotient per signal instead.
    """

    scope: ClassVar[Scope] = "frame"
    metric: Literal["L1", "L2"] = eqx.field(static=True)
    eps: float | None = eqx.field(static=True)

    def __init__(
        self, metric: Literal["L1", "L2"] = "L2", eps: float | None = 0.0
    ) -> None:
        """**Arguments:**

        - `metric`: `"L1"` for absolute, `"L2"` for squared values.
        - `eps`: added to the mean over signals of the sum of $|S_y|^p$. With 0, only a
            batch of silent targets is divided by the machine epsilon. `None` adds the
            machine epsilon of the dtype.

        **Raises:** `ValueError` for another metric or a negative number.
        """
        self.metric, self.eps = _checked("BatchRelativeLoss", metric, eps)

    @property
    def n_sums(self) -> int:
        return 2

    def sums(self, x: Spectra, y: Spectra) -> tuple[Float[Array, "*rows"], ...]:
        size = _size(self.metric)
        return x.holding(size(difference(x.S, y.S))).sum(), y.map(size).sum()

    def finish(self, means: tuple[Float[Array, ""], ...]) -> Float[Array, ""]:
        error, reference = means
        return ratio(error, reference, self.eps)


def _checked(owner: str, metric: Any, eps: Any) -> tuple[Any, float | None]:
    metric = checks.one_of(owner, "metric", metric, ("L1", "L2"))
    return metric, None if eps is None else checks.non_negative(owner, "eps", eps)


def _size(metric: str) -> Any:
    return magnitude if metric == "L1" else squared_magnitude
