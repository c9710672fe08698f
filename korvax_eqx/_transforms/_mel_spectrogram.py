"""Spectrograms in mel bands."""

import dataclasses
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx import _warnings
from korvax_eqx._axes import Axes
from korvax_eqx._core._steps import (
    AbstractFramesTransform,
    AbstractStep,
    Count,
    applied,
)
from korvax_eqx._data import Signals, Spectra
from korvax_eqx._numerics._safe import FloorMode
from korvax_eqx._scales._mel import MelScale, to_mel_scale
from korvax_eqx._tables._mel import MelNorm
from korvax_eqx._transforms._framing import Padding
from korvax_eqx._transforms._spectrogram import Spectrogram, spectrogram
from korvax_eqx._transforms._stft import Normalized
from korvax_eqx._tree import part_of


class MelSpectrogram(AbstractFramesTransform):
    r"""Mel spectrogram $M |X|^p$: a `Spectrogram` followed by a `MelScale`."""

    window: Any
    basis: Any
    sr: float = eqx.field(static=True)
    n_fft: int = eqx.field(static=True)
    n_mels: int = eqx.field(static=True)
    fmin: float = eqx.field(static=True)
    fmax: float | None = eqx.field(static=True)
    hop_length: int = eqx.field(static=True)
    win_length: int = eqx.field(static=True)
    center: bool = eqx.field(static=True)
    power: float = eqx.field(static=True)
    pad_mode: str = eqx.field(static=True)
    htk: bool = eqx.field(static=True)
    norm: MelNorm = eqx.field(static=True)
    padding: Padding = eqx.field(static=True)
    extra_padding: bool = eqx.field(static=True)
    normalized: Normalized = eqx.field(static=True)
    floor: float = eqx.field(static=True)
    floor_mode: FloorMode = eqx.field(static=True)

    def __init__(
        self,
        sr: float,
        n_fft: int,
        n_mels: int = 128,
        fmin: float = 0.0,
        fmax: float | None = None,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Any = "hann",
        center: bool = True,
        power: float = 2.0,
        pad_mode: str = "constant",
        *,
        htk: bool = False,
        norm: MelNorm = "slaney",
        basis: Float[Array | np.ndarray, "n_mels n_bins"] | None = None,
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
            `Spectrogram`, but `power` must be a number: 1 sums magnitudes into bands, 2
            powers. The floor applies to the bins, not to the bands.
        - `n_mels`, `fmin`, `fmax`, `htk`, `norm`, `basis`: as in `MelScale`.

        **Raises:** `ValueError` for an argument that either of the two does not accept.
        """
        with checks.owned_by("MelSpectrogram"):
            self.power = checks.positive("MelSpectrogram", "power", power)
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
            mel_scale = MelScale(sr, n_fft, n_mels, fmin, fmax, htk, norm, basis=basis)
        self.n_fft, self.hop_length = spectrogram.n_fft, spectrogram.hop_length
        self.win_length, self.window = spectrogram.win_length, spectrogram.window
        self.center, self.pad_mode = spectrogram.center, spectrogram.pad_mode
        self.padding = spectrogram.padding
        self.extra_padding = spectrogram.extra_padding
        self.normalized = spectrogram.normalized
        self.floor, self.floor_mode = spectrogram.floor, spectrogram.floor_mode
        self.sr, self.n_mels = mel_scale.sr, mel_scale.n_mels
        self.fmin, self.fmax = mel_scale.fmin, mel_scale.fmax
        self.htk, self.norm, self.basis = mel_scale.htk, mel_scale.norm, mel_scale.basis

    @property
    def spectrogram(self) -> Spectrogram:
        """The spectrogram whose bins are summed."""
        return part_of(self, Spectrogram)

    @property
    def mel_scale(self) -> MelScale:
        """The scale that sums them into bands."""
        return part_of(self, MelScale)

    @property
    def path(self) -> tuple[AbstractStep, ...]:
        return (*self.spectrogram.path, self.mel_scale)

    @property
    def window_values(self) -> np.ndarray | Float[Array, " n_fft"]:
        """The window as it is applied, shape `(n_fft,)`."""
        return self.spectrogram.window_values

    @property
    def matrix(self) -> np.ndarray | Float[Array, "n_mels n_bins"]:
        """The weights that sum bins into bands, shape `(n_mels, n_fft // 2 + 1)`."""
        return self.mel_scale.matrix

    @property
    def frequencies(self) -> np.ndarray:
        """Centre frequencies of the bands in Hz, shape `(n_mels,)`."""
        return self.mel_scale.frequencies

    @property
    def axes(self) -> Axes:
        return dataclasses.replace(
            self.spectrogram.axes,
            spacing="mel",
            frequencies=self.frequencies,
            sr=self.sr,
            htk=self.htk,
        )

    def n_frames(self, n_samples: Count) -> Count:
        return self.spectrogram.n_frames(n_samples)

    def apply(self, data: Signals) -> Spectra:
        return applied(self.path, data)


@checks.owned_by("mel_spectrogram")
def mel_spectrogram(
    x: Float[Array, "*channels n_samples"],
    /,
    sr: float,
    n_fft: int,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = "hann",
    center: bool = True,
    power: float = 2.0,
    pad_kwargs: dict[str, Any] | None = None,
) -> Float[Array, "*channels n_mels n_frames"]:
    """Apply `spectrogram` to `x`, then `to_mel_scale`, with their arguments."""
    with _warnings.remade("mel_spectrogram"):
        power = checks.positive("mel_spectrogram", "power", power)
        S = spectrogram(
            x, n_fft, hop_length, win_length, window, center, power, pad_kwargs
        )
        return to_mel_scale(S, sr, n_fft, n_mels, fmin, fmax)
