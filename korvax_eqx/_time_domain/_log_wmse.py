"""The logarithm of a filtered error, relative to the level of a mixture."""

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Signals
from korvax_eqx._maps._fields import table_or_leaf
from korvax_eqx._numerics._fir import correlate, filtered_energy
from korvax_eqx._numerics._padding import cut_off
from korvax_eqx._numerics._safe import in_range
from korvax_eqx._numerics._waveform import log_ratio

Mixture = Literal["target", "sum", "last"]
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
    """

    taps: Any
    mixture: Mixture = eqx.field(static=True)
    eps: float = eqx.field(static=True)
    threshold_db: float | None = eqx.field(static=True)

    def __init__(
        self,
        taps: Sequence[float] | Float[np.ndarray | Array, " n_taps"],
        mixture: Mixture = "target",
        *,
        eps: float = 1e-8,
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
        - `threshold_db`: filtered differences below this level count as 0, in dB
            relative to the root mean square of the mixture (-68 in
            log-wmse-audio-quality). The filtered signals are then cut to the length of
            the signals. With `None` the ringing of the filter beyond their ends counts
            too.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        owner = "LogWMSELoss"
        self.taps = table_or_leaf(owner, "taps", taps, ndim=1)
        options = ("target", "sum", "last")
        self.mixture = checks.one_of(owner, "mixture", mixture, options)
        self.eps = checks.positive(owner, "eps", eps)
        if threshold_db is not None:
            threshold_db = checks.real(owner, "threshold_db", threshold_db)
        self.threshold_db = threshold_db

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "signal" if self.mixture == "target" else "channels"

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        """Return the loss of each signal, or of the sources of a recording."""
        mixture = y
        if self.mixture == "sum":
            mixture = Signals(jnp.sum(y.x, axis=-2, keepdims=True), _first(y.n_samples))
        elif self.mixture == "last":
            x, y, mixture = self._split(x, y)
        # No gradient for the signals; the filter may be learned.
        mixture = Signals(jax.lax.stop_gradient(mixture.x), mixture.n_samples)
        power = in_range(self._energy(mixture) / mixture.count)
        power = jnp.where(power < _LEAST_POWER, _LEAST_POWER, power)
        difference = Signals(x.x - y.x, y.n_samples)
        error = in_range(self._energy(difference, jnp.sqrt(power)) / x.count)
        value = 4 * log_ratio(error + self.eps * power, power)
        return value if self.mixture == "target" else jnp.mean(value, axis=-1)

    def _split(self, x: Signals, y: Signals) -> tuple[Signals, Signals, Signals]:
        if y.x.shape[-2] < 2:
            raise ValueError(
                '`LogWMSELoss(mixture="last")`: signals must have at least two entries '
                "in the axis before the samples, the sources and then the mixture. Got "
                f"the shape {y.x.shape[1:]}."
            )
        n = y.n_samples
        lengths = (None, None) if n is None else (n[..., :-1], n[..., -1:])
        x, mixture = Signals(x.x[..., :-1, :], lengths[0]), y.x[..., -1:, :]
        return x, Signals(y.x[..., :-1, :], lengths[0]), Signals(mixture, lengths[1])

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


def _first(n_samples: Int[Array, "*rows channels"] | None) -> Any:
    """Return the length of each recording, keeping an axis for the channels."""
    return None if n_samples is None else n_samples[..., :1]
