"""Signals at another sample rate."""

import equinox as eqx
import jax.numpy as jnp

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractSignalMap, Count
from korvax_eqx._data import Signals
from korvax_eqx._numerics._padding import cut_off
from korvax_eqx._numerics._resample import resample
from korvax_eqx._tables._resampling import (
    Design,
    Resampler,
    resampled_length,
    resampler,
)
from korvax_eqx._tables._size import check_finite

_OWNER = "Resample"


class Resample(AbstractSignalMap):
    r"""Signals at another sample rate, by a polyphase filter.

    $$y_i = \sum_j h_{iq - jp}\, x_j, \qquad h_n = p\, \frac{w_n \,
      \mathrm{sinc}(n/m)}{\sum_k w_k\, \mathrm{sinc}(k/m)}, \qquad m = \max(p, q)$$

    where $p/q$ is the ratio of the new rate to the old one in lowest terms and $w$ a
    Kaiser window of $2m$ `n_zeros` + 1 samples. Signals are zero outside of their
    samples. `n_samples` samples become `ceil(n_samples * p / q)`.

    For example a loss at the rate of a network that hears 16 kHz, of signals at 44.1
    kHz: `MappedLoss(Resample(44100, 16000), loss)`. Equal to
    `scipy.signal.resample_poly`, whose window is `("kaiser", 5.0)` by default, too.
    torchaudio's `resample` has a Hann window and 6 zeros on each side by default.
    """

    sr: int = eqx.field(static=True)
    sr_out: int = eqx.field(static=True)
    n_zeros: int = eqx.field(static=True)
    beta: float = eqx.field(static=True)

    def __init__(
        self, sr: float, sr_out: float, *, n_zeros: int = 10, beta: float = 5.0
    ) -> None:
        """**Arguments:**

        - `sr`: sample rate of the signals in Hz, a whole number.
        - `sr_out`: the rate that they get, in Hz.
        - `n_zeros`: zero crossings of the filter on each side: more make a steeper one.
        - `beta`: of the Kaiser window, non-negative, below about 700: a larger one
            attenuates more of what is beyond half a rate, and makes the filter less
            steep.

        **Raises:** `ValueError` for an argument outside these rules, and for rates
        whose filter is too large a table, as their common multiple is large.
        """
        self.sr = checks.rate(_OWNER, "sr", sr)
        self.sr_out = checks.rate(_OWNER, "sr_out", sr_out)
        self.n_zeros = checks.positive_int(_OWNER, "n_zeros", n_zeros)
        self.beta = checks.non_negative(_OWNER, "beta", beta)
        if self.sr != self.sr_out:
            check_finite(_OWNER, {"beta": beta}, self._table().matrix)

    def _table(self) -> Resampler:
        design = Design(self.n_zeros, self.beta)
        return resampler(_OWNER, self.sr, self.sr_out, design)

    def samples_left(self, n_samples: Count) -> Count:
        return resampled_length(n_samples, self.sr, self.sr_out)

    def apply(self, data: Signals) -> Signals:
        if self.sr == self.sr_out:
            return data
        n_out = resampled_length(data.x.shape[-1], self.sr, self.sr_out)
        y = resample(data.x, self._table(), n_out)
        if data.n_samples is None:
            return Signals(y)
        n_samples = jnp.asarray(self.samples_left(data.n_samples))
        return Signals(cut_off(y, n_samples), n_samples)
