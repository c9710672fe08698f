"""Spectrograms folded into one octave."""

import dataclasses
import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._axes import Axes
from korvax_eqx._core._steps import (
    AbstractFramesTransform,
    AbstractScale,
    AbstractStep,
    Count,
    Scope,
    applied,
)
from korvax_eqx._data import Signals, Spectra
from korvax_eqx._numerics._ratio import quotient
from korvax_eqx._numerics._safe import FloorMode, largest
from korvax_eqx._numerics._safe import norm as two_norm
from korvax_eqx._tables._chroma import (
    check_chroma,
    chroma_frequencies,
    chroma_matrix,
    circle_positions,
)
from korvax_eqx._transforms._framing import Padding
from korvax_eqx._transforms._spectrogram import Spectrogram
from korvax_eqx._transforms._stft import Normalized
from korvax_eqx._tree import part_of

NORMS = (None, 1, 2, 1.0, 2.0, math.inf)


class Chroma(AbstractFramesTransform):
    r"""Chromagram $C |X|^p$: the energy of each pitch class, summed over octaves.

    $C$ is librosa's chroma filter bank: each bin is spread over the pitch classes by a
    Gaussian, and weighted by a Gaussian over octaves centred at `ctroct`. Each frame is
    then divided by its norm, or by `eps` if that is larger.

    It differs from `librosa.feature.chroma_stft` in two ways: the tuning is an
    argument, not estimated from the signal, and frames quieter than `eps` are not
    scaled up to norm 1 (librosa's limit is the smallest normal number), because the
    gradient would be unbounded at silence.

    Takuya Fujishima (1999), "Realtime chord recognition of musical sound"; D. P. W.
    Ellis (2007), "Chroma feature analysis and synthesis".
    """

    window: Any
    sr: float = eqx.field(static=True)
    n_fft: int = eqx.field(static=True)
    n_chroma: int = eqx.field(static=True)
    tuning: float = eqx.field(static=True)
    hop_length: int = eqx.field(static=True)
    win_length: int = eqx.field(static=True)
    center: bool = eqx.field(static=True)
    power: float = eqx.field(static=True)
    pad_mode: str = eqx.field(static=True)
    norm: float | None = eqx.field(static=True)
    eps: float = eqx.field(static=True)
    ctroct: float = eqx.field(static=True)
    octwidth: float | None = eqx.field(static=True)
    base_c: bool = eqx.field(static=True)
    padding: Padding = eqx.field(static=True)
    extra_padding: bool = eqx.field(static=True)
    normalized: Normalized = eqx.field(static=True)
    floor: float = eqx.field(static=True)
    floor_mode: FloorMode = eqx.field(static=True)

    def __init__(
        self,
        sr: float,
        n_fft: int,
        n_chroma: int = 12,
        tuning: float = 0.0,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Any = "hann",
        center: bool = True,
        power: float = 2.0,
        pad_mode: str = "constant",
        *,
        norm: float | None = math.inf,
        eps: float = 1e-10,
        ctroct: float = 5.0,
        octwidth: float | None = 2.0,
        base_c: bool = True,
        padding: Padding = None,
        extra_padding: bool = False,
        normalized: Normalized = False,
        floor: float = 0.0,
        floor_mode: FloorMode = "clip",
    ) -> None:
        """**Arguments:**

        - `sr`: sample rate, Hz.
        - `n_fft`, `hop_length`, `win_length`, `window`, `center`, `power`, `pad_mode`,
            `padding`, `extra_padding`, `normalized`, `floor`, `floor_mode`: as in
            `Spectrogram`, but `power` must be a number.
        - `n_chroma`: number of pitch classes in an octave.
        - `tuning`: deviation from A = 440 Hz, in classes.
        - `norm`: order of the norm that divides each frame: 1, 2 or `math.inf`. `None`:
            no normalisation.
        - `eps`: smallest divisor, in the unit of the sums over bins. Quieter frames
            keep a norm below 1.
        - `ctroct`, `octwidth`: centre and standard deviation of the weights over
            octaves; A = 27.5 Hz is at octave 0. `octwidth=None`: equal weights.
        - `base_c`: whether the first class is C (otherwise A).

        **Raises:** `ValueError` for an argument outside these rules.
        """
        with checks.owned_by("Chroma"):
            self.power = checks.positive("Chroma", "power", power)
            spectrogram = Spectrogram(
                n_fft,
                hop_length,
                win_length,
                window,
                center,
                power,
                pad_mode,
                padding=padding,
                extra_padding=extra_padding,
                normalized=normalized,
                floor=floor,
                floor_mode=floor_mode,
            )
        self.hop_length = spectrogram.hop_length
        self.win_length = spectrogram.win_length
        self.window, self.center = spectrogram.window, spectrogram.center
        self.pad_mode, self.padding = spectrogram.pad_mode, spectrogram.padding
        self.extra_padding = spectrogram.extra_padding
        self.normalized = spectrogram.normalized
        self.floor, self.floor_mode = spectrogram.floor, spectrogram.floor_mode
        checked = check_chroma(
            "Chroma", sr, n_fft, n_chroma, tuning, ctroct, octwidth, base_c
        )
        self.sr, self.n_fft, self.n_chroma = checked.sr, checked.n_fft, checked.n_chroma
        self.tuning, self.ctroct = checked.tuning, checked.ctroct
        self.octwidth, self.base_c = checked.octwidth, checked.base_c
        self.norm = checks.one_of("Chroma", "norm", norm, NORMS)
        self.eps = checks.positive("Chroma", "eps", eps)
        chroma_matrix(*self.matrix_key)  # refuses what gives no finite weights

    @property
    def spectrogram(self) -> Spectrogram:
        """The spectrogram whose bins are summed."""
        return part_of(self, Spectrogram)

    @property
    def path(self) -> tuple[AbstractStep, ...]:
        fold = _ChromaFold(self.matrix_key, self.norm, self.eps)
        return (*self.spectrogram.path, fold)

    @property
    def matrix_key(self) -> tuple[Any, ...]:
        """The arguments of the table that sums bins."""
        return (
            self.sr,
            self.n_fft,
            self.n_chroma,
            self.tuning,
            self.ctroct,
            self.octwidth,
            self.base_c,
        )

    @property
    def matrix(self) -> Float[np.ndarray, "n_chroma n_bins"]:
        """The weights that sum bins, shape `(n_chroma, n_fft // 2 + 1)`."""
        return chroma_matrix(*self.matrix_key)

    @property
    def frequencies(self) -> Float[np.ndarray, " n_chroma"]:
        """Frequencies of the classes in the lowest octave in Hz, ascending.

        From C1 = 32.7 Hz, or from A0 = 27.5 Hz without `base_c`.
        """
        return chroma_frequencies(self.n_chroma, self.tuning, self.base_c)

    @property
    def positions(self) -> Float[np.ndarray, " n_chroma"]:
        """Positions of the classes within the octave, in octaves from 0 to 1.

        For circular transport, where the last class is next to the first.
        """
        return circle_positions(self.n_chroma)

    @property
    def axes(self) -> Axes:
        return dataclasses.replace(
            self.spectrogram.axes,
            spacing="index",
            frequencies=np.arange(self.n_chroma),
            sr=self.sr,
            power=None,
        )

    def n_frames(self, n_samples: Count) -> Count:
        return self.spectrogram.n_frames(n_samples)

    def apply(self, data: Signals) -> Spectra:
        return applied(self.path, data)


class _ChromaFold(AbstractScale):
    """Sum of the bins of each pitch class, divided by the norm of the frame."""

    scope: ClassVar[Scope] = "frame"
    matrix_key: tuple[Any, ...] = eqx.field(static=True)
    norm: float | None = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def apply(self, data: Spectra) -> Spectra:
        S = data.S
        weights = jnp.asarray(chroma_matrix(*self.matrix_key), S.dtype)
        precision = jax.lax.Precision.HIGHEST
        C = jnp.einsum("...f,cf->...c", S, weights, precision=precision)
        if self.norm is None:
            return data.holding(C)
        # The sums are not negative, so `abs` changes no value. It keeps XLA from fusing
        # the quotient, as a product, into the difference that a loss takes, in one
        # rounding: two equal spectra then differed by 1e-17 (CPU; a barrier was no
        # help).
        return data.holding(jax.lax.abs(quotient(C, self._sizes(C))))

    def _sizes(
        self, C: Float[Array, "*rows n_frames n_chroma"]
    ) -> Float[Array, "*rows n_frames 1"]:
        """Return the norm of each frame (entries are non-negative), at least `eps`."""
        if self.norm == 1:
            sizes = jnp.sum(C, axis=-1)
        elif self.norm == 2:
            sizes = two_norm(C, -1)
        else:
            sizes = largest(C, -1)[..., 0]
        sizes = jnp.where(sizes < self.eps, jnp.asarray(self.eps, C.dtype), sizes)
        return sizes[..., None]
