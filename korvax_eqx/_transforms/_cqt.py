"""The constant-Q transform."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Inexact

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractTransform
from korvax_eqx._tables._cqt_kernels import Normalization, VQTKernels

from ._vqt import VQT, vqt


class CQT(AbstractTransform):
    """Constant-Q transform: logarithmically spaced bins of constant relative width.

    `VQT` with `gamma=0`; see there for the definition. J. C. Brown (1991),
    "Calculation of a constant Q spectral transform", JASA 89(1).
    """

    vqt: VQT

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
            self.vqt = VQT(
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

    @property
    def sr(self) -> float:
        return self.vqt.sr

    @property
    def hop_length(self) -> int:
        return self.vqt.hop_length

    @property
    def fmin(self) -> float:
        return self.vqt.fmin

    @property
    def fmax(self) -> float | None:
        return self.vqt.fmax

    @property
    def n_bins(self) -> int:
        return self.vqt.n_bins

    @property
    def bins_per_octave(self) -> int:
        return self.vqt.bins_per_octave

    @property
    def filter_scale(self) -> float:
        return self.vqt.filter_scale

    @property
    def norm_kernels(self) -> float | None:
        return self.vqt.norm_kernels

    @property
    def power(self) -> float | None:
        return self.vqt.power

    @property
    def window(self) -> Any:
        return self.vqt.window

    @property
    def center(self) -> bool:
        return self.vqt.center

    @property
    def normalization_type(self) -> Normalization:
        return self.vqt.normalization_type

    @property
    def pad_mode(self) -> str:
        return self.vqt.pad_mode

    @property
    def kernels(self) -> VQTKernels:
        """The tables in use: frequencies, lengths and kernels, in float64."""
        return self.vqt.kernels

    @property
    def frequencies(self) -> np.ndarray:
        """Centre frequencies of the bins in Hz, shape `(n_bins,)`."""
        return self.vqt.frequencies

    @jax.named_scope("korvax_eqx.CQT")
    def __call__(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Inexact[Array, "*channels n_bins n_frames"]:
        """Return the transform of `x`.

        **Raises:** `ValueError` for a signal that is not real floating point, or too
        short for one frame with `center=False`.
        """
        return self.vqt(checks.signal("CQT", "x", x))


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
