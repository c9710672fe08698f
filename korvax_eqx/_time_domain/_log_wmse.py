"""The logarithm of a filtered error, relative to the level of a mixture."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Signals
from korvax_eqx._maps._fields import table_or_leaf
from korvax_eqx._numerics._fir import correlate, filtered_energy
from korvax_eqx._numerics._padding import cut_off
from korvax_eqx._numerics._safe import in_range
from korvax_eqx._numerics._waveform import log_ratio

from ._mixture import (
    Mixture,
    checked_mixture,
    mixture_scope,
    over_sources,
    with_mixture,
)

# The smallest power of a mixture.
_LEAST_POWER = 1e-16


class LogWMSELoss(AbstractWaveformLoss):
    r"""Log of the mean squared filtered error, relative to the filtered power of a
    mixture.

    $$4 \ln\left(\frac{\frac1n \sum (h * (x - y))^2}{\max(\frac1n \sum (h * u)^2,
      10^{-16})} + \epsilon\right)$$

    Smaller is better; equal signals give $4 \ln \epsilon$, -73.7. Unlike single-signal
    ratios, it is defined for sources that are silent, because it is relative to their
    mixture $u$. The mixture carries no gradient.

    The mixture is taken from the target: the axis before the samples holds the sources,
    shape `(*batch, n_sources, n_samples)`, and the mixture is their sum (`"sum"`) or
    the last entry (`"last"`). With `"target"`, each target signal is its own mixture.
    See Jordal (2023), "log-wmse-audio-quality", and the package torch-log-wmse.

    The value of a recording is the mean over its sources. With `p` above 0 it is the
    logarithm of their generalised mean, $(\frac1S \sum_s (m_s + \epsilon)^p)^{1/p}$
    of the quotients $m_s$ above: the larger $p$, the more the worst source counts.
    From $p = \frac12$ on, the gradient of a source that is nearly right stays bounded.
    """

    taps: Any
    mixture: Mixture = eqx.field(static=True)
    eps: float = eqx.field(static=True)
    p: float = eqx.field(static=True)
    threshold_db: float | None = eqx.field(static=True)

    def __init__(
        self,
        taps: Sequence[float] | Float[np.ndarray | Array, " n_taps"],
        mixture: Mixture = "target",
        *,
        eps: float = 1e-8,
        p: float = 0.0,
        threshold_db: float | None = None,
    ):
        r"""**Arguments:**

        - `taps`: $h$, shape `(n_taps,)`. A sequence or NumPy array is configuration, a
            JAX array is learnable. `(1.0,)` filters nothing.
        - `mixture`: `"target"`, `"sum"` of the targets along the axis before the
            samples, or `"last"`: the last entry of that axis, which is not compared
            itself. With the last two, `jax.vmap` and `lengths` apply to recordings, not
            to single channels.
        - `eps`: $\epsilon$, so that an error of 0 gives a finite value. Positive.
        - `p`: the exponent of the mean over sources, the axis before the samples.
            Non-negative; 0 is the mean of logarithms. Above 0 it mixes channels with
            every `mixture`.
        - `threshold_db`: filtered differences below this level count as 0, in dB
            relative to the root mean square of the mixture (-68 in
            log-wmse-audio-quality). The filtered signals are then cut to the length of
            the signals. With `None` the ringing of the filter beyond their ends counts
            too.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        owner = "LogWMSELoss"
        self.taps = table_or_leaf(owner, "taps", taps, ndim=1)
        self.mixture = checked_mixture(owner, mixture)
        self.eps = checks.positive(owner, "eps", eps)
        self.p = checks.non_negative(owner, "p", p)
        if threshold_db is not None:
            threshold_db = checks.real(owner, "threshold_db", threshold_db)
        self.threshold_db = threshold_db

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "channels" if self.p else mixture_scope(self.mixture)

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        """Return the loss of each signal, or of the sources of a recording."""
        x, y, mixture = with_mixture("LogWMSELoss", self.mixture, x, y)
        power = in_range(self._energy(mixture) / mixture.count)
        power = jnp.where(power < _LEAST_POWER, _LEAST_POWER, power)
        difference = Signals(x.x - y.x, y.n_samples)
        error = in_range(self._energy(difference, jnp.sqrt(power)) / x.count)
        value = log_ratio(error + self.eps * power, power)
        if not self.p:
            return 4 * over_sources(value, self.mixture)
        total = jax.nn.logsumexp(self.p * value, axis=-1)
        return 4 / self.p * (total - math.log(value.shape[-1]))

    def _energy(
        self, data: Signals, scale: Float[Array, "*rows"] | None = None
    ) -> Float[Array, "*rows"]:
        """Return the energy of filtered signals; values below the threshold count as
        0."""
        x = data.x
        if self.threshold_db is None:
            return filtered_energy(x, self.taps)
        # `correlate` does not reverse the taps: reversed taps make a convolution.
        taps = jnp.asarray(self.taps, x.dtype)[::-1]
        filtered = cut_off(correlate(x, taps), data.n_samples)
        if scale is not None:
            least = scale * 10 ** (self.threshold_db / 20)
            is_gated = jnp.abs(filtered) < least[..., None]
            filtered = jnp.where(is_gated, 0, filtered)
        return jnp.sum(jnp.square(filtered), axis=-1)
