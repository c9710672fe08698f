"""The logarithm of a frequency-weighted error, relative to the level of a mixture."""

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from korvax_eqx import _checks as checks
from korvax_eqx._evaluation._comparison import AbstractComparison
from korvax_eqx._evaluation._loss import AbstractLoss
from korvax_eqx._evaluation._signals import WaveformComparison, counted
from korvax_eqx._maps._fields import table_or_leaf
from korvax_eqx._numerics._fir import correlate, filtered_energy
from korvax_eqx._numerics._padding import cut_off
from korvax_eqx._numerics._safe import in_range
from korvax_eqx._numerics._waveform import log_ratio

Mixture = Literal["target", "sum", "last"]
# The least power of a mixture.
_LEAST_POWER = 1e-16


class LogWMSELoss(AbstractLoss):
    r"""Logarithm of the filtered squared error, relative to a mixture's filtered power.

    $$4 \ln\left(\frac{\frac1n \sum (h * (x - y))^2}{\max(\frac1n \sum (h * u)^2,
      10^{-16})} + \epsilon\right)$$

    Smaller is better; equal signals give $4 \ln \epsilon$, -73.7. Of a source in a
    mixture $u$ also where that source is silent, which ratios of one signal cannot.
    The mixture is a constant: it carries no gradient.

    The mixture is a third signal beside $x$ and $y$. Here it comes with the target:
    sources are in the axis before the samples, shape `(*batch, n_sources, n_samples)`,
    and the mixture is their sum, or what is given as the last of them. With
    `mixture="target"` every signal is its own mixture. See Jordal (2023),
    "log-wmse-audio-quality", and the package torch-log-wmse.
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
            samples, or `"last"` along it, which then is not compared itself. The last
            two mix channels: `jax.vmap` and `lengths` go over recordings.
        - `eps`: $\epsilon$, what an error of 0 counts as. Positive.
        - `threshold_db`: filtered differences below it count as 0, in dB of the
            mixture's root mean square, -68 in log-wmse-audio-quality. The filtered
            signals are then as long as the signals themselves; otherwise what rings
            beyond their ends counts, too.

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

    def comparisons(
        self, *, key: PRNGKeyArray | None = None
    ) -> tuple[AbstractComparison, ...]:
        event_ndim = 1 if self.mixture == "target" else 2
        return (
            WaveformComparison(
                losses=(self,),
                names=("log_wmse",),
                piece_size="signals",
                event_ndim=event_ndim,
            ),
        )

    def values(
        self,
        x: Float[Array, "*rows n_samples"],
        y: Float[Array, "*rows n_samples"],
        n_samples: Int[Array, " rows"] | None = None,
    ) -> Float[Array, " rows"]:
        """Return the loss of each row: a signal, or the sources of a recording."""
        mixture, n_mixture = y, n_samples
        if self.mixture != "target":
            n_mixture = None if n_samples is None else n_samples[:, None]
            if self.mixture == "sum":
                mixture = jnp.sum(y, axis=-2, keepdims=True)
            else:
                x, y, mixture = self._split(x, y)
            if n_samples is not None:
                n_samples = jnp.broadcast_to(n_samples[:, None], y.shape[:-1])
        n = jnp.maximum(counted(mixture, n_mixture), 1)
        # A constant of the signals, while the filter may be learned.
        mixture = jax.lax.stop_gradient(mixture)
        power = in_range(self._energy(mixture, n_mixture) / n)
        power = jnp.where(power < _LEAST_POWER, _LEAST_POWER, power)
        n = jnp.maximum(counted(x, n_samples), 1)
        error = in_range(self._energy(x - y, n_samples, jnp.sqrt(power)) / n)
        value = 4 * log_ratio(error + self.eps * power, power)
        return value if self.mixture == "target" else jnp.mean(value, axis=-1)

    def _split(
        self, x: Float[Array, "*rows n_samples"], y: Float[Array, "*rows n_samples"]
    ) -> tuple[Array, Array, Array]:
        if y.shape[-2] < 2:
            raise ValueError(
                '`LogWMSELoss(mixture="last")`: signals must have at least two entries '
                "in the axis before the samples, the sources and then the mixture. Got "
                f"the shape {y.shape[1:]}."
            )
        return x[..., :-1, :], y[..., :-1, :], y[..., -1:, :]

    def _energy(
        self,
        x: Float[Array, "*rows n_samples"],
        n_samples: Int[Array, "*rows"] | None,
        scale: Float[Array, "*rows"] | None = None,
    ) -> Float[Array, "*rows"]:
        """Return the energy of filtered signals; what is below `scale` and dB is 0."""
        if self.threshold_db is None:
            return filtered_energy(x, self.taps)
        # `correlate` takes taps as they are; reversed, it convolves.
        taps = jnp.asarray(self.taps, x.dtype)[::-1]
        filtered = cut_off(correlate(x, taps), n_samples)
        if scale is not None:
            least = scale * 10 ** (self.threshold_db / 20)
            is_gated = jnp.abs(filtered) < least[..., None]
            filtered = jnp.where(is_gated, 0, filtered)
        return jnp.sum(jnp.square(filtered), axis=-1)
