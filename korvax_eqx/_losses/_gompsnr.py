"""The signal-to-noise ratio with differences of phase derivatives."""

import math
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._losses import AbstractSpectralLoss
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._padding import cut_off
from korvax_eqx._numerics._phase import phase, wrapped
from korvax_eqx._numerics._powers import is_negligible
from korvax_eqx._numerics._safe import (
    difference,
    floored_power,
    in_range,
    magnitude,
    squared_magnitude,
)

_OWNER = "GOMPSNRLoss"
_DB = 10 / math.log(10)
# The steps along frames and bins to the neighbours of a bin.
_NEIGHBOURS = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))


class GOMPSNRLoss(AbstractSpectralLoss):
    r"""Negated signal-to-noise ratio of complex spectra with other phase distances, dB.

    The energy of an error is $A^2 + B^2 - 2AB\cos\varphi$ for magnitudes $A$, $B$ and
    a difference of phases $\varphi$. Here it is

    $$E = \sum (A - B)^2 + \frac{AB}{9} \sum_{d=0}^8 h(\varphi - \varphi_d)$$

    with $\varphi_0 = 0$ and, for the other $d$, the difference of phases at one of the
    eight neighbours of a bin in time and frequency (0 beyond the edges): differences of
    phase derivatives in all directions say more about a sound than those of phases. $h$
    is $2|w|/\pi$ of the angle wrapped to $[-\pi, \pi]$, or $2 - 2\cos$. The loss is $10
    \log_{10} (E + \epsilon) / \sum |S_y|^2$ for each signal, with $A = \sqrt{|S_x|^2 +
    \epsilon}$ and $B$ likewise.

    GOMPSNR and OMPSNR (`distance="cosine"`) of Dai et al. (2026), "GOMPSNR: Reflourish
    the signal-to-noise ratio metric for audio generation tasks", AAAI, whose STFT is
    `STFT(1024, 256, padding="torch", pad_mode="reflect")` divided by the root of the
    window's energy: `normalized="window"`. A silent target counts as the energy
    $\epsilon$. A bin that is 0 has phase 0.
    """

    distance: Literal["linear", "cosine"] = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def __init__(
        self, distance: Literal["linear", "cosine"] = "linear", eps: float = 1e-8
    ) -> None:
        r"""**Arguments:**

        - `distance`: `"linear"` for $2|w|/\pi$, `"cosine"` for $2 - 2\cos$.
        - `eps`: $\epsilon$, added to powers and to the energy of the error. Positive.

        **Raises:** `ValueError` for another value.
        """
        options = ("linear", "cosine")
        self.distance = checks.one_of(_OWNER, "distance", distance, options)
        self.eps = checks.positive(_OWNER, "eps", eps)

    def values(self, x: Spectra, y: Spectra) -> Float[Array, "*rows"]:
        checks.complex_spectrum(_OWNER, "S_x", x.S)
        checks.complex_spectrum(_OWNER, "S_y", y.S)
        A, B = (floored_power(d.S, 1.0, self.eps, "add") for d in (x, y))
        # Relative to the largest, as squares may be out of range.
        most = lax.stop_gradient(jnp.maximum(A, B))
        peak = in_range(jnp.max(most, axis=(-2, -1), keepdims=True))
        A, B = A / peak, B / peak
        # Equal spectra differ by exactly 0, so that they have no gradient.
        sources = x.S, y.S
        turned = difference(phase(x.S), phase(y.S), sources)
        distances = self._distance(turned)
        for step in _NEIGHBOURS:
            distances = distances + self._distance(turned - _moved(turned, *step))
        costs = jnp.square(difference(A, B, sources))
        costs = costs + A * B * distances / (len(_NEIGHBOURS) + 1)
        # Magnitudes are not 0 beyond the end of a signal.
        error = jnp.sum(cut_off(costs, x.n_frames), axis=(-2, -1))
        peak = peak[..., 0, 0]
        least = 8 * float(jnp.finfo(peak.dtype).tiny)
        error = error + jnp.maximum(self.eps / peak / peak, least)
        signal = in_range(jnp.sum(squared_magnitude(y.S), axis=(-2, -1)))
        signal = jnp.where(is_negligible(signal), self.eps, signal)
        return _DB * (jnp.log(error) + 2 * jnp.log(peak) - jnp.log(signal))

    def _distance(self, angle: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
        if self.distance == "cosine":
            return 4 * jnp.square(jnp.sin(angle / 2))  # 2 - 2 cos, exact near 0
        return magnitude(wrapped(angle)) * (2 / math.pi)


def _moved(
    values: Float[Array, "*rows n_frames n_bins"], n_frames: int, n_bins: int
) -> Float[Array, "*rows n_frames n_bins"]:
    """Return the values some frames and bins away, 0 beyond the edges."""
    widths = [(0, 0, 0)] * (values.ndim - 2)
    widths += [(n_frames, -n_frames, 0), (n_bins, -n_bins, 0)]
    return lax.pad(values, jnp.zeros((), values.dtype), widths)
