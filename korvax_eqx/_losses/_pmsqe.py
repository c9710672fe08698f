"""A perceptual metric for speech quality, after PESQ, of power spectra."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._losses import AbstractSpectralLoss
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._powers import is_negligible, root
from korvax_eqx._numerics._ranks import along_last
from korvax_eqx._numerics._ratio import quotient
from korvax_eqx._static import freeze
from korvax_eqx._tables._bark import LOUDNESS, RATES, SPACING, bark_bands
from korvax_eqx._tables._windows import window_values

_OWNER = "PMSQELoss"
# Powers of aligned spectra; all of these are PESQ's.
_LEVEL = 1e7
_MOST = 45.0  # of the disturbance of a frame
_SYMMETRIC, _ASYMMETRIC = 0.1, 0.0309

Bands = Float[Array, "*rows n_frames n_bands"]


class PMSQELoss(AbstractSpectralLoss):
    r"""Perceptual metric for speech quality evaluation (PMSQE), after PESQ.

    $0.1\,D + 0.0309\,D_A$, the symmetric and the asymmetric disturbance of loudness in
    Bark bands, averaged over frames. 0 is best; a frame has at most 5.9.

    1. Power spectra of both signals are aligned to one level, by what lies between 350
       and 3250 Hz, and summed up in 49 Bark bands (42 at 8 kHz).
    2. Bands, and then frames, of the estimate get the power of the target's, within
       factors of 0.01 to 100 and of 0.0003 to 5 (`bark_eq`, `gain_eq`).
    3. Loudness is a power of power above the threshold of hearing (Zwicker). Of a
       difference of loudness, a quarter of the smaller one is not heard.
    4. $D$ is its norm over bands, weighted by their widths. In $D_A$, a sum, added
       power counts up to 12 times, removed power not at all. Both are weighted by the
       target's power in the frame to -0.04, and limited to 45.

    It takes power spectra of frames of 32 ms (FFT of 512 at 16 kHz, of 256 at 8 kHz):
    `recipes.pmsqe` has the transform. The level of either signal makes no difference. A
    signal without power in 350 to 3250 Hz counts as silence.

    See Martín-Doñas, Gomez, Gonzalez, Peinado (2018), "A deep learning loss function
    based on the perceptual evaluation of the speech quality", IEEE SPL; ITU-T P.862;
    asteroid-team/asteroid at 92c8d83, `losses/pmsqe.py`, `SingleSrcPMSQE`. There the
    value of a silent signal, and its gradient, is NaN, and 1e-8 is added inside the
    norm (`eps`), so that equal signals have a value of 3e-4 and not 0.
    """

    sr: int = eqx.field(static=True)
    window: Any = eqx.field(static=True)
    bark_eq: bool = eqx.field(static=True)
    gain_eq: bool = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def __init__(
        self,
        sr: float = 16000,
        window: Any = "sqrt_hann",
        *,
        bark_eq: bool = True,
        gain_eq: bool = True,
        eps: float = 0.0,
    ):
        r"""**Arguments:**

        - `sr`: sample rate in Hz, 16000 or 8000.
        - `window`: of the spectra, a name or tuple for `scipy.signal.get_window`, or
            `"sqrt_hann"`. Only its power counts.
        - `bark_eq`, `gain_eq`: whether to equalise the bands, and the frames, of the
            estimate.
        - `eps`: what is added to the squares of a band's disturbance, and the least
            disturbance: 1e-8 in asteroid. Non-negative.

        **Raises:** `ValueError` for an argument outside these rules, and in a call for
        spectra of another number of bins.
        """
        # Rates of files are floats.
        is_whole = isinstance(sr, float) and sr.is_integer()
        self.sr = checks.one_of(_OWNER, "sr", int(sr) if is_whole else sr, RATES)
        if not isinstance(window, str | float | int | tuple | list):
            checks.refuse(_OWNER, "window", "be a window's name or a tuple", window)
        self.window = freeze(window)
        self.bark_eq = checks.boolean(_OWNER, "bark_eq", bark_eq)
        self.gain_eq = checks.boolean(_OWNER, "gain_eq", gain_eq)
        self.eps = checks.non_negative(_OWNER, "eps", eps)
        self._window_power()

    def _window_power(self) -> float:
        n = int(self.sr / SPACING)
        return float(np.mean(window_values(self.window, n, n, _OWNER) ** 2))

    def values(self, x: Spectra, y: Spectra) -> Float[Array, "*rows"]:
        checks.real_spectrum(_OWNER, "S_x", x.S)
        checks.real_spectrum(_OWNER, "S_y", y.S)
        n_bins = bark_bands(self.sr).level.size
        if x.S.shape[-1] != n_bins:
            raise ValueError(
                f"`{_OWNER}(sr={self.sr})`: spectra must have {n_bins} bins, those of "
                f"an FFT of {2 * (n_bins - 1)} samples. Got {x.S.shape[-1]}. "
                f"`recipes.pmsqe({self.sr})` has the transform."
            )
        a, b = self._bark(x), self._bark(y)
        if self.bark_eq:
            a = a * self._band_gains(a, b)
        power = self._audible(b, 1)
        if self.gain_eq:
            gain = quotient(power + 5e3, self._audible(a, 1) + 5e3)
            a = a * _limited(gain, 3e-4, 5.0)
        d, d_a = self._disturbances(a, b)
        weight = ((power + 1e5) / _LEVEL) ** 0.04
        total = _SYMMETRIC * _at_most(d / weight, _MOST)
        total = total + _ASYMMETRIC * _at_most(d_a / weight, _MOST)
        return x.holding(total).mean()

    def _bark(self, data: Spectra) -> Bands:
        """Return the powers in Bark bands at one level."""
        table = bark_bands(self.sr)
        S, n = data.S, 2 * (table.level.size - 1)
        level = table.level * (n + 2) / n**2 / self._window_power()
        heard = data.holding(S * along_last(jnp.asarray(level, S.dtype), S))
        mean = heard.mean()[..., None, None]
        is_silent = is_negligible(mean)
        aligned = quotient(S, jnp.where(is_silent, 1, mean))
        aligned = _LEVEL * jnp.where(is_silent, 0, aligned)
        matrix = jnp.asarray(table.matrix, S.dtype)
        return jnp.matmul(aligned, matrix, precision=jax.lax.Precision.HIGHEST)

    def _thresholds(self, bands: Bands) -> Float[Array, "... n_bands"]:
        thresholds = jnp.asarray(bark_bands(self.sr).thresholds, bands.dtype)
        return along_last(thresholds, bands)

    def _audible(self, bands: Bands, factor: float) -> Float[Array, "*rows n_frames 1"]:
        is_quiet = bands <= factor * self._thresholds(bands)
        return jnp.sum(jnp.where(is_quiet, 0, bands), axis=-1, keepdims=True)

    def _band_gains(self, a: Bands, b: Bands) -> Float[Array, "*rows 1 n_bands"]:
        """Return the ratio of powers where the target is 20 dB above the threshold."""
        is_quiet = b < 100 * self._thresholds(b)
        is_quiet = is_quiet | (self._audible(b, 100) < 1e7)
        sums = (
            jnp.sum(jnp.where(is_quiet, 0, s), axis=-2, keepdims=True) for s in (b, a)
        )
        of_b, of_a = sums
        return _limited(quotient(of_b + 1e3, of_a + 1e3), 0.01, 100.0)

    def _loudness(self, bands: Bands) -> Bands:
        table = bark_bands(self.sr)
        exponents = along_last(jnp.asarray(table.exponents, bands.dtype), bands)
        thresholds = self._thresholds(bands)
        factor = LOUDNESS * (2 * table.thresholds) ** table.exponents
        factor = along_last(jnp.asarray(factor, bands.dtype), bands)
        loudness = factor * ((0.5 + 0.5 * bands / thresholds) ** exponents - 1)
        return jnp.where(bands < thresholds, 0, loudness)

    def _disturbances(
        self, a: Bands, b: Bands
    ) -> tuple[Float[Array, "*rows n_frames 1"], Float[Array, "*rows n_frames 1"]]:
        loud_a, loud_b = self._loudness(a), self._loudness(b)
        smaller = jnp.where(loud_a < loud_b, loud_a, loud_b)
        heard = jnp.abs(loud_a - loud_b) - 0.25 * smaller
        heard = jnp.where(heard <= self.eps, self.eps, heard)
        widths = bark_bands(self.sr).widths
        total_width = float(np.sum(widths))
        widths = along_last(jnp.asarray(widths, a.dtype), a)
        weighted = heard * widths
        squares = jnp.sum(jnp.square(weighted) + self.eps, axis=-1, keepdims=True)
        factor = quotient(a + 50.0, b + 50.0) ** 1.2
        factor = jnp.where(factor < 3.0, 0, _at_most(factor, 12.0))
        asymmetric = jnp.sum(factor * weighted, axis=-1, keepdims=True)
        return root(squares) * total_width**0.5, asymmetric


def _limited(x: Array, least: float, most: float) -> Array:
    """Return a number within a range, outside of which it has no derivative."""
    return jnp.where(x < least, least, _at_most(x, most))


def _at_most(x: Array, most: float) -> Array:
    return jnp.where(x > most, most, x)
