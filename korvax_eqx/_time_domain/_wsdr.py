"""Weighted signal-to-distortion ratio of a source and the rest of its mixture."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Signals
from korvax_eqx._numerics._ratio import quotient
from korvax_eqx._numerics._safe import in_range, norm

from ._mixture import (
    Mixture,
    checked_mixture,
    mixture_scope,
    over_sources,
    with_mixture,
)

_OWNER = "WSDRLoss"


class WSDRLoss(AbstractWaveformLoss):
    r"""Negated cosine similarities of a source and of the rest, weighted by energy.

    $$-\alpha\, c(x, y) - (1 - \alpha)\, c(u - x, u - y), \quad
      c(a, b) = \frac{\sum a b}{\|a\| \|b\| + \epsilon}, \quad
      \alpha = \frac{\|y\|^2}{\|y\|^2 + \|u - y\|^2 + \epsilon}$$

    Smaller is better, -1 the best and 1 the worst. The estimate of the noise is what
    the mixture $u$ has besides the estimate $x$, so that the level counts, which one
    cosine does not see. The mixture comes with the target as in `LogWMSELoss`. It
    carries no gradient.

    To enhance speech, stack speech and noisy speech along the axis before the samples:
    `loss(jnp.stack([x, u], -2), jnp.stack([y, u], -2))`. What stands for the mixture in
    the estimate is not read.

    The sums are absolute: with the root of the energies at $\sqrt\epsilon$, 1e-4, the
    cosines are half of what they should be. A smaller $\epsilon$ moves that level.

    See Choi, Kim, Huh, Kim, Ha, Lee (2019), "Phase-aware speech enhancement with deep
    complex U-Net", ICLR, whose formula has no $\epsilon$; these are where
    DeepComplexUNetPyTorch [c68510a], `DCUNet/criterion.py`, has them. Measured against
    its code in float64: value and gradient 1e-14.
    """

    mixture: Mixture = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def __init__(self, mixture: Mixture = "last", *, eps: float = 1e-8):
        r"""**Arguments:**

        - `mixture`: `"sum"` of the targets along the axis before the samples, `"last"`
            along it, which then is not compared itself, or `"target"`: without a rest,
            one cosine. The first two mix channels: `jax.vmap` and `lengths` go over
            recordings.
        - `eps`: $\epsilon$. Positive.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        self.mixture = checked_mixture(_OWNER, mixture)
        self.eps = checks.positive(_OWNER, "eps", eps)

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return mixture_scope(self.mixture)

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        """Return the loss of each signal, or of the sources of a recording."""
        x, y, u = with_mixture(_OWNER, self.mixture, x, y)
        cosine, energy = self._cosine(x.x, y.x)
        if self.mixture == "target":
            return -quotient(energy, energy + self.eps) * cosine
        of_rest, energy_of_rest = self._cosine(u.x - x.x, u.x - y.x)
        total = energy + energy_of_rest + self.eps
        # Not as 1 - alpha, which loses the digits of quiet noise.
        shares = energy * cosine + (energy_of_rest + self.eps) * of_rest
        return over_sources(-quotient(shares, total), self.mixture)

    def _cosine(
        self, a: Float[Array, "*rows n_samples"], b: Float[Array, "*rows n_samples"]
    ) -> tuple[Float[Array, "*rows"], Float[Array, "*rows"]]:
        """Return the cosine of two signals, and the energy of the second."""
        norm_b = norm(b, (-1,))
        product = in_range(jnp.sum(a * b, axis=-1))
        size = in_range(norm(a, (-1,)) * norm_b) + self.eps
        return quotient(product, size), in_range(jnp.square(norm_b))
