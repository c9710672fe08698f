"""Absolute or squared error relative to the target's."""

from typing import Any, Literal

import equinox as eqx
from jaxtyping import Array, Float, Inexact, Int

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractBatchLoss, AbstractFramesLoss
from korvax_eqx._losses._mean import mean_over_frames, n_elements, total
from korvax_eqx._numerics._ratio import ratio, squared_ratio
from korvax_eqx._numerics._safe import (
    difference,
    magnitude,
    norm,
    squared_magnitude,
)


class RelativeLoss(AbstractFramesLoss):
    r"""Mean of $|S_x - S_y|^p$ divided by the mean of $|S_y|^p$, for each signal.

    $p$ is 1 (L1) or 2 (L2). The denominator has $\epsilon$ added, by default nothing:
    squares of quiet power spectra are far below any fixed number. RAVE takes one
    quotient for the whole batch: [`BatchRelativeLoss`][].
    """

    metric: Literal["L1", "L2"] = eqx.field(static=True)
    eps: float | None = eqx.field(static=True)

    def __init__(
        self, metric: Literal["L1", "L2"] = "L2", eps: float | None = 0.0
    ) -> None:
        """**Arguments:**

        - `metric`: `"L1"` for absolute, `"L2"` for squared values.
        - `eps`: is added to the denominator. With 0 a target of silence is divided by
            the machine epsilon alone, and no other. `None` adds the machine epsilon of
            the dtype: in float32, with L2, as much as the power spectrogram of a signal
            at about -55 dB.

        **Raises:** `ValueError` for another metric or a negative number.
        """
        self.metric, self.eps = _checked("RelativeLoss", metric, eps)

    def values(
        self,
        S_x: Inexact[Array, "*rows n_frames n_bins"],
        S_y: Inexact[Array, "*rows n_frames n_bins"],
        n_frames: Int[Array, "*rows"] | None = None,
    ) -> Float[Array, "*rows"]:
        d = difference(S_x, S_y)
        if self.metric == "L2" and self.eps == 0:
            root_n = n_elements(S_x, n_frames) ** 0.5
            error, reference = norm(d, (-2, -1)), norm(S_y, (-2, -1))
            return squared_ratio(error / root_n, reference / root_n)
        size = _size(self.metric)
        error = mean_over_frames(size(d), n_frames)
        return ratio(error, mean_over_frames(size(S_y), n_frames), self.eps)


class BatchRelativeLoss(AbstractBatchLoss):
    r"""Sum of $|S_x - S_y|^p$ over a batch divided by the sum of $|S_y|^p$ over it.

    $p$ is 1 (L1) or 2 (L2). With L2 and `eps=0.0` it is the linear term of RAVE's
    spectral distance (Caillon and Esling 2021, "RAVE: A variational autoencoder for
    fast and high-quality neural audio synthesis"). A loud example outweighs a quiet
    one, and a part of a batch has another value than the whole: [`RelativeLoss`][]
    takes a quotient for each signal.
    """

    metric: Literal["L1", "L2"] = eqx.field(static=True)
    eps: float | None = eqx.field(static=True)

    def __init__(
        self, metric: Literal["L1", "L2"] = "L2", eps: float | None = 0.0
    ) -> None:
        """**Arguments:**

        - `metric`: `"L1"` for absolute, `"L2"` for squared values.
        - `eps`: is added to the mean over signals of the sum of $|S_y|^p$. With 0 a
            batch of silent targets is divided by the machine epsilon alone. `None` adds
            the machine epsilon of the dtype.

        **Raises:** `ValueError` for another metric or a negative number.
        """
        self.metric, self.eps = _checked("BatchRelativeLoss", metric, eps)

    @property
    def n_sums(self) -> int:
        return 2

    @property
    def over_frames(self) -> Literal["sum"]:
        return "sum"

    def sums(
        self,
        S_x: Inexact[Array, "*rows n_frames n_bins"],
        S_y: Inexact[Array, "*rows n_frames n_bins"],
        n_frames: Int[Array, "*rows"] | None = None,
    ) -> tuple[Float[Array, "*rows"], ...]:
        size = _size(self.metric)
        return total(size(difference(S_x, S_y))), total(size(S_y))

    def finish(self, means: tuple[Float[Array, ""], ...]) -> Float[Array, ""]:
        error, reference = means
        return ratio(error, reference, self.eps)


def _checked(owner: str, metric: Any, eps: Any) -> tuple[Any, float | None]:
    metric = checks.one_of(owner, "metric", metric, ("L1", "L2"))
    return metric, None if eps is None else checks.non_negative(owner, "eps", eps)


def _size(metric: str) -> Any:
    return magnitude if metric == "L1" else squared_magnitude
