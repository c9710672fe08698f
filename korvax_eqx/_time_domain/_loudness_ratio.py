"""Loudness of the difference over that of the target, in bands and frames."""

import functools
import math
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._data import Signals
from korvax_eqx._numerics._fir import correlate
from korvax_eqx._numerics._frames import windowed_frames
from korvax_eqx._numerics._iir import filter_by_blocks
from korvax_eqx._numerics._padding import cut_off, extended, is_within
from korvax_eqx._numerics._safe import in_range
from korvax_eqx._numerics._waveform import log_ratio
from korvax_eqx._tables._bands import band_taps, n_band_taps
from korvax_eqx._tables._loudness import (
    HIGHEST_RATE,
    LEAST_RATE,
    Design,
    k_weighting_matrices,
)
from korvax_eqx._tables._size import check_size

_OWNER = "LoudnessRatioLoss"
# Blocks of ITU-R BS.1770, in seconds and as a part of a block.
_BLOCK, _STEP = 0.4, 0.25
_DB = 10 / math.log(10)


class LoudnessRatioLoss(AbstractWaveformLoss):
    r"""Loudness of the error over the target's, in dB, mainly in the loudest parts.

    $$\sum_i w_i r_i, \quad w = \mathrm{softmax}(r / T), \quad
      r_i = 10 \log_{10} \frac{P_i(x - y) + \epsilon}{P_i(y) + \epsilon}$$

    over all bands, frames and blocks $i$ of a signal. Signals are split into bands of
    equal width in mels, cut into frames that overlap, and each frame is K-weighted from
    rest. $P$ is the mean square of blocks of 0.4 s, a quarter of them apart, inside of
    a frame: the loudness of ITU-R BS.1770, whose constants a difference does not see.

    Smaller is better. The largest ratios weigh most, so that a change hides where the
    target is loud: San Roman et al. (2024), "Proactive detection of voice cloning with
    localized watermarking", ICML. The last frames reach beyond the end, over zeros;
    filters see the last sample repeated there.
    """

    sr: float = eqx.field(static=True)
    n_bands: int = eqx.field(static=True)
    segment: float = eqx.field(static=True)
    overlap: float = eqx.field(static=True)
    temperature: float = eqx.field(static=True)
    reduction: Literal["sum", "mean"] = eqx.field(static=True)
    weighting: Design = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def __init__(
        self,
        sr: float,
        n_bands: int = 16,
        segment: float = 0.5,
        overlap: float = 0.5,
        *,
        temperature: float = 1.0,
        reduction: Literal["sum", "mean"] = "sum",
        weighting: Design = "bs1770",
        eps: float = 2.0**-23,
    ):
        r"""**Arguments:**

        - `sr`: sample rate, Hz; above 3364 and at most 1e6.
        - `n_bands`: bands; 1 for none.
        - `segment`: length of a frame, seconds; at least 0.4.
        - `overlap`: of two frames, as a part of a frame; from 0 to below 1.
        - `temperature`: $T$, dB: the higher, the more even the weights. Positive.
        - `reduction`: `"sum"` as above, which is a mean with weights; `"mean"` divides
            it by the number of ratios, as audiocraft does.
        - `weighting`: `"bs1770"`, that of `KWeightingFilter`, or `"torchaudio"`: a
            shelf at 1500 Hz and a high-pass at 38 Hz as in SoX.
        - `eps`: $\epsilon$, the power that silence counts as. Positive.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        self.sr = checks.positive(_OWNER, "sr", sr)
        if not LEAST_RATE < self.sr <= HIGHEST_RATE:
            rule = f"be above 3364 Hz and at most {HIGHEST_RATE:g} Hz"
            checks.refuse(_OWNER, "sr", rule, sr, "It is in Hz, not kHz.")
        self.n_bands = checks.positive_int(_OWNER, "n_bands", n_bands)
        # There are more taps than bands, whose edges are computed to count them.
        check_size(_OWNER, "n_bands", n_bands, self.n_bands**2)
        n_values = self.n_bands * n_band_taps(self.sr, self.n_bands)
        check_size(_OWNER, "n_bands", n_bands, n_values)
        self.segment = checks.real(_OWNER, "segment", segment)
        if not _BLOCK <= self.segment:
            checks.refuse(_OWNER, "segment", "be at least 0.4 s, one block", segment)
        check_size(_OWNER, "segment", segment, self.segment * self.sr)
        self.overlap = checks.real(_OWNER, "overlap", overlap)
        if not 0 <= overlap < 1 or self._hop < 1:
            rule = "be at least 0 and below 1, and leave a sample between frames"
            checks.refuse(_OWNER, "overlap", rule, overlap)
        self.temperature = checks.positive(_OWNER, "temperature", temperature)
        options = ("sum", "mean")
        self.reduction = checks.one_of(_OWNER, "reduction", reduction, options)
        options = ("bs1770", "torchaudio")
        self.weighting = checks.one_of(_OWNER, "weighting", weighting, options)
        self.eps = checks.positive(_OWNER, "eps", eps)

    @property
    def values_per_sample(self) -> float:  # pyright: ignore
        return self.n_bands * self._width / self._hop

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        difference = self._powers(Signals(x.x - y.x, y.n_samples))
        target = self._powers(y)
        r = _DB * log_ratio(difference + self.eps, target + self.eps)
        n_frames: Any = r.shape[-2]
        is_valid = True
        if y.n_samples is not None:
            n_frames = _n_frames(y.n_samples, self._hop)
            is_valid = is_within(r.shape[-2], n_frames, n_trailing=1)
            is_valid = is_valid[..., None, :, :]
        axes = (-3, -2, -1)
        r = r / self.temperature
        # Frames that do not count must not be the largest: all others might vanish.
        most = jnp.max(jnp.where(is_valid, r, -jnp.inf), axes, keepdims=True)
        gaps = jnp.where(is_valid, r - lax.stop_gradient(most), -jnp.inf)
        weights = jnp.exp(gaps)
        value = jnp.sum(weights * r, axes) / jnp.sum(weights, axes)
        value = value * self.temperature
        if self.reduction == "sum":
            return value
        each = self.n_bands * r.shape[-1]
        if isinstance(n_frames, int):
            return value / (n_frames * each)
        return value / (n_frames.astype(value.dtype) * each)

    @property
    def _width(self) -> int:
        """The samples of a frame."""
        return int(self.segment * self.sr)

    @property
    def _hop(self) -> int:
        return int(self._width * (1 - self.overlap))

    def _powers(self, data: Signals) -> Float[Array, "*rows n_bands n_frames n_blocks"]:
        """Return the mean squares of blocks of K-weighted frames of bands."""
        bands = self._bands(data)
        n_samples, hop = bands.shape[-1], self._hop
        missing = (_n_frames(n_samples, hop) - 1) * hop + self._width - n_samples
        window = jnp.ones(self._width, bands.dtype)
        frames = windowed_frames(bands, window, hop, right=missing)
        matrices = functools.partial(
            k_weighting_matrices, self.sr, design=self.weighting
        )
        square = jnp.square(filter_by_blocks(frames, matrices))
        size = round(_BLOCK * self.sr)
        step = round(size * _STEP)
        starts = range(0, self._width - size + 1, step)
        blocks = [lax.slice_in_dim(square, i, i + size, axis=-1) for i in starts]
        return in_range(jnp.stack([jnp.mean(b, -1) for b in blocks], -1))

    def _bands(self, data: Signals) -> Float[Array, "*rows n_bands n_samples"]:
        x = data.x
        if self.n_bands == 1:
            return x[..., None, :]
        taps = band_taps(self.sr, self.n_bands)
        half = taps.shape[1] // 2
        wide = extended(x, data.n_samples, half, half, "edge")
        # One after another: XLA takes the FFTs of the signal once for all of them.
        filters = [jnp.asarray(taps_of_band, x.dtype) for taps_of_band in taps]
        bands = jnp.stack([correlate(wide, one) for one in filters], -2)
        bands = lax.slice_in_dim(bands, half, half + x.shape[-1], axis=-1)
        if data.n_samples is None:
            return bands
        ends = jnp.broadcast_to(data.n_samples[..., None], bands.shape[:-1])
        return cut_off(bands, ends)


def _n_frames(n: Any, hop: int) -> Any:
    """Return how many frames begin inside of signals, at least one."""
    n_frames = (n + hop - 1) // hop
    return max(n_frames, 1) if isinstance(n, int) else jnp.maximum(n_frames, 1)
