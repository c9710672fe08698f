"""Spectral features, one value for each frame: centroid, roll-off, flatness."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._features import centroid, flatness, rolloff
from korvax_eqx._static import static_or_leaf

from ._bins import Frequencies, bins_of, check_bins, check_n_bins


class SpectralCentroid(AbstractScale):
    r"""The centre of mass of each frame in Hz, $\sum_k f_k S_k / \sum_k S_k$.

    As `librosa.feature.spectral_centroid`, of magnitudes there: a loss of brightness is
    `TimeFrequencyLoss(Spectrogram(2048, power=1), ElementwiseLoss(),
    SpectralCentroid(sr=44100, n_fft=2048))`, in Hz. The spectrum must not be negative.
    Level makes no difference: the derivative is the reciprocal of the sum over bins.
    Silent frames, of a sum below 1e-29 in float32, are 0 Hz with derivative 0. See
    Peeters (2004), "A large set of audio features for sound description in the CUIDADO
    project", IRCAM.
    """

    scope: ClassVar[Scope] = "frame"
    frequencies: Any
    sr: float | None = eqx.field(static=True)
    n_fft: int | None = eqx.field(static=True)

    def __init__(
        self,
        frequencies: Frequencies | None = None,
        *,
        sr: float | None = None,
        n_fft: int | None = None,
    ) -> None:
        """**Arguments:**

        - `frequencies`: of the bins, Hz, shape `(n_bins,)`, e.g.
            `MelScale(...).frequencies`. A JAX array is learnable.
        - `sr`, `n_fft`: sample rate in Hz and samples of a frame, in place of
            `frequencies`, for a spectrum of `n_fft // 2 + 1` FFT bins.

        **Raises:** `ValueError` if the bins are given in neither or both ways.
        """
        bins, self.sr, self.n_fft = check_bins(
            "SpectralCentroid", frequencies, sr, n_fft
        )
        self.frequencies = static_or_leaf(bins)

    def apply(self, data: Spectra) -> Spectra:
        S, bins = _inputs("SpectralCentroid", data, bins_of(self))
        return data.per_frame(lambda _: centroid(S, bins))


class SpectralRolloff(AbstractScale):
    r"""The frequency in Hz below which a part of each frame's sum lies.

    With the cumulative sum over bins $C_k$ and the first bin $k$ of
    $C_k \ge t = p\,C_{n-1}$:

    $$f_k - (f_k - f_{k-1})\, \frac{C_k - t}{S_k}$$

    i.e. the quantile of a distribution that is continuous between bins (definition 4 of
    Hyndman and Fan 1996, "Sample quantiles in statistical packages", Am. Stat. 50(4)).
    `librosa.feature.spectral_rolloff` is $f_k$, at most a bin above: a step function,
    whose derivative is 0 wherever there is one. This one has a derivative that is
    right, with kinks where the crossing moves to the next bin. It is as large as the
    step of a bin over $S_k$: of peaky spectra, where the crossing may be in a bin that
    is nearly empty, it is large.

    The spectrum must not be negative. Level makes no difference. Silent frames, of a
    sum below 1e-29 in float32, are 0 Hz with derivative 0. See Peeters (2004), "A large
    set of audio features for sound description in the CUIDADO project", IRCAM, with
    95 % of the power.
    """

    scope: ClassVar[Scope] = "frame"
    frequencies: Any
    roll_percent: float = eqx.field(static=True)
    sr: float | None = eqx.field(static=True)
    n_fft: int | None = eqx.field(static=True)

    def __init__(
        self,
        frequencies: Frequencies | None = None,
        roll_percent: float = 0.85,
        *,
        sr: float | None = None,
        n_fft: int | None = None,
    ) -> None:
        """**Arguments:**

        - `frequencies`: of the bins, Hz, ascending, shape `(n_bins,)`. A JAX array is
            learnable.
        - `roll_percent`: $p$, between 0 and 1; called so in librosa, though it is no
            percentage.
        - `sr`, `n_fft`: sample rate in Hz and samples of a frame, in place of
            `frequencies`, for a spectrum of `n_fft // 2 + 1` FFT bins.

        **Raises:** `ValueError` if the bins are given in neither or both ways, or a
        value is out of these ranges.
        """
        owner = "SpectralRolloff"
        bins, self.sr, self.n_fft = check_bins(owner, frequencies, sr, n_fft)
        is_known = not (bins is None or checks.is_leaf(bins))
        if is_known and np.any(np.diff(np.asarray(bins)) < 0):
            checks.refuse(owner, "frequencies", "ascend", frequencies)
        self.frequencies = static_or_leaf(bins)
        self.roll_percent = checks.positive(owner, "roll_percent", roll_percent)
        if self.roll_percent >= 1:
            checks.refuse(owner, "roll_percent", "be below 1", roll_percent)

    def apply(self, data: Spectra) -> Spectra:
        S, bins = _inputs("SpectralRolloff", data, bins_of(self))
        return data.per_frame(lambda _: rolloff(S, bins, self.roll_percent))


class SpectralFlatness(AbstractScale):
    r"""The geometric mean over the arithmetic mean of each frame's bins.

    $$\exp\Bigl(\frac1n \sum_k \ln P_k\Bigr) \Big/ \frac1n \sum_k P_k, \quad
      P = \max(S, a)$$

    between 0 for tones and 1 for white noise and for silence, as
    `librosa.feature.spectral_flatness`, which takes magnitudes and squares them: here
    take `Spectrogram(power=2)`. Where a bin is below the floor its derivative is 0. See
    Johnston (1988), "Transform coding of audio signals using perceptual noise
    criteria", IEEE J. Sel. Areas Commun. 6(2).
    """

    scope: ClassVar[Scope] = "frame"
    amin: float = eqx.field(static=True)

    def __init__(self, amin: float = 1e-10) -> None:
        """**Arguments:**

        - `amin`: $a$, the smallest value of a bin. Positive.

        **Raises:** `ValueError` for a number that is not positive.
        """
        self.amin = checks.positive("SpectralFlatness", "amin", amin)

    def apply(self, data: Spectra) -> Spectra:
        S = checks.scale_input("SpectralFlatness", data.S, bins_last=True)
        return data.per_frame(lambda _: flatness(S, self.amin))


def _inputs(
    owner: str, data: Spectra, frequencies: Any
) -> tuple[Array, Float[Array, " n_bins"]]:
    """Return spectra and the frequencies of their bins as arrays of one dtype."""
    S = checks.scale_input(owner, data.S, bins_last=True)
    bins = jnp.asarray(frequencies, S.dtype)
    check_n_bins(owner, S, bins.shape[0])
    return S, bins
