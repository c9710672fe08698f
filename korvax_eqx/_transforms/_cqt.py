"""The constant-Q transform."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Inexact

from korvax_eqx import _checks as checks
from korvax_eqx._axes import Axes
from korvax_eqx._core._steps import (
    AbstractFramesTransform,
    AbstractStep,
    Count,
    applied,
)
from korvax_eqx._data import Signals, Spectra
from korvax_eqx._tables._cqt_kernels import Normalization, VQTKernels
from korvax_eqx._tree import part_of

from ._vqt import VQT, vqt


class CQT(AbstractFramesTransform):
    """Constant-Q transform: logarithmically spaced bins of constant relative width.

    Defined as `VQT` with `gamma=0`. J. C. Brown (1991), "Calculation of a constant Q
    spectral transform", JASA 89(1).
    """

    sr: float = eqx.field(static=True)
    hop_length: int = eqx.field(static=True)
    fmin: float = eqx.field(static=True)
    fmax: float | None = eqx.field(static=True)
    n_bins: int = eqx.field(static=True)
    bins_per_octave: int = eqx.field(static=True)
    filter_scale: float = eqx.field(static=True)
    norm_kernels: float | None = eqx.field(static=True)
    power: float | None = eqx.field(static=True)
    window: Any = eqx.field(static=True)
    center: bool = eqx.field(static=True)
    normalization_type: Normalization = eqx.field(static=True)
    pad_mode: str = eqx.field(static=True)

    def __init__(
        self,
        sr: float,
        hop_length: int = 512,
        fmin: float = 32.70,
        fmax: float | None = None,
        n_bins: int = 84,
        bins_per_octave: int = 12,
        filter_scale: float = 1.0,
        norm_kernels: float | None = 1,
        power: float | None = 2.0,
        window: Any = "hann",
        center: bool = True,
        normalization_type: Normalization = "librosa",
        pad_mode: str = "constant",
    ):
        """**Arguments:** those of `VQT` without `gamma`."""
        with checks.owned_by("CQT"):
            vqt = VQT(
                sr=sr,
                hop_length=hop_length,
                fmin=fmin,
                fmax=fmax,
                n_bins=n_bins,
                bins_per_octave=bins_per_octave,
                filter_scale=filter_scale,
                norm_kernels=norm_kernels,
                power=power,
                window=window,
                center=center,
                normalization_type=normalization_type,
                pad_mode=pad_mode,
            )

        self.sr, self.hop_length = vqt.sr, vqt.hop_length
        self.fmin, self.fmax, self.n_bins = vqt.fmin, vqt.fmax, vqt.n_bins
        self.bins_per_octave, self.filter_scale = vqt.bins_per_octave, vqt.filter_scale
        self.norm_kernels, self.power = vqt.norm_kernels, vqt.power
        self.window, self.center, self.pad_mode = vqt.window, vqt.center, vqt.pad_mode
        self.normalization_type = vqt.normalization_type

    @property
    def vqt(self) -> VQT:
        """The same transform, as a `VQT`."""
        return part_of(self, VQT, gamma=0.0)

    @property
    def path(self) -> tuple[AbstractStep, ...]:
        return self.vqt.path

    @property
    def kernels(self) -> VQTKernels:
        """The tables: frequencies, lengths and kernels, in float64."""
        return self.vqt.kernels

    @property
    def frequencies(self) -> np.ndarray:
        """Centre frequencies of the bins in Hz, shape `(n_bins,)`."""
        return self.vqt.frequencies

    @property
    def axes(self) -> Axes:
        return self.vqt.axes

    def n_frames(self, n_samples: Count) -> Count:
        return self.vqt.n_frames(n_samples)

    def apply(self, data: Signals) -> Spectra:
        return applied(self.path, data)


@checks.owned_by("cqt")
def cqt(
    x: Float[Array, "*channels n_samples"],
    /,
    sr: float,
    hop_length: int = 512,
    fmin: float = 32.70,
    fmax: float | None = None,
    n_bins: int = 84,
    bins_per_octave: int = 12,
    filter_scale: float = 1.0,
    norm_kernels: float | None = 1,
    power: float | None = 2.0,
    window: Any = "hann",
    center: bool = True,
    normalization_type: Normalization = "librosa",
    pad_kwargs: dict[str, Any] | None = None,
) -> Inexact[Array, "*channels n_bins n_frames"]:
    """Apply `CQT` to `x`; `pad_kwargs` are arguments of `jax.numpy.pad`."""
    return vqt(
        x,
        sr=sr,
        hop_length=hop_length,
        fmin=fmin,
        fmax=fmax,
        n_bins=n_bins,
        bins_per_octave=bins_per_octave,
        filter_scale=filter_scale,
        norm_kernels=norm_kernels,
        power=power,
        window=window,
        center=center,
        normalization_type=normalization_type,
        pad_kwargs=pad_kwargs,
    )
