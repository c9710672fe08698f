"""The mean over the bins of each frame."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._ranks import along_last
from korvax_eqx._static import items_of, static_or_leaf

_OWNER = "MeanOverBins"


class MeanOverBins(AbstractScale):
    r"""Mean over bins, one value per frame: $\frac1n \sum_k w_k S_k$.

    Applied to a power spectrogram and followed by decibels, it measures loudness.
    DDSP's loudness has the weights `10 ** (A / 10)`, where `A` is `A_weighting` of the
    bins in dB, followed by `PowerToDB(amin=1e-8, top_db=None)`, a range of 80 dB (Engel
    et al. 2020, "DDSP: Differentiable digital signal processing", ICLR).
    """

    scope: ClassVar[Scope] = "frame"
    weights: Any

    def __init__(
        self,
        weights: Float[Array | np.ndarray, " n_bins"] | Sequence[float] | None = None,
    ) -> None:
        """**Arguments:**

        - `weights`: the factor of each bin, shape `(n_bins,)`. The sum is divided by
            the number of bins, not by the sum of the weights. `None`: all 1. A JAX
            array is learnable.

        **Raises:** `ValueError` if the weights are not a vector of real numbers.
        """
        self.weights = static_or_leaf(_weights(weights))

    def apply(self, data: Spectra) -> Spectra:
        S = checks.scale_input(_OWNER, data.S, bins_last=True)
        if self.weights is not None:
            weights = jnp.asarray(self.weights, S.dtype)
            if weights.shape != S.shape[-1:]:
                raise ValueError(
                    f"`{_OWNER}`: the spectrogram must have a bin for each of the "
                    f"{weights.shape[0]} weights. Got the shape "
                    f"{checks.public_shape(S)}."
                )
            S = S * along_last(weights, S)
        return data.holding(jnp.mean(S, axis=-1, keepdims=True))


def _weights(weights: Any) -> Any:
    if weights is None:
        return None
    if isinstance(weights, jax.Array | np.ndarray):
        checks.floating_array(_OWNER, "weights", weights, 1)
        is_empty = weights.size == 0
    else:
        items = items_of(weights)
        is_empty = not items
        if items:
            return tuple(checks.real(_OWNER, "weights", item) for item in items)
    if is_empty:
        checks.refuse(_OWNER, "weights", "be None or one number for each bin", weights)
    return weights
