"""Magnitude and power spectrograms."""

import dataclasses
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Inexact

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
from korvax_eqx._scales._magnitude import Magnitude
from korvax_eqx._transforms._framing import Padding
from korvax_eqx._transforms._stft import STFT, Normalized, pad_for_frames
from korvax_eqx._tree import part_of


class Spectrogram(AbstractFramesTransform):
    r"""Spectrogram $|X|^p$ of the short-time Fourier transform $X$.

    With a floor $\epsilon$ it is $\max(|X|^2, \epsilon)^{p/2}$, as in auraloss (1e-8)
    and ParallelWaveGAN (1e-7), or $(|X|^2 + \epsilon)^{p/2}$, as in HiFi-GAN (1e-9).

    The derivative at a bin that is exactly 0 is 0, so gradients are finite at digital
    silence and where tones cancel in a bin. It is also 0 where the floor clips.
    """

    window: Any
    n_fft: int = eqx.field(static=True)
    hop_length: int = eqx.field(static=True)
    win_length: int = eqx.field(static=True)
    center: bool = eqx.field(static=True)
    power: float | None = eqx.field(static=True)
    pad_mode: str = eqx.field(static=True)
    padding: Padding = eqx.field(static=True)
    extra_padding: bool = eqx.field(static=True)
    normalized: Normalized = eqx.field(static=True)
    floor: float = eqx.field(static=True)
    floor_mode: FloorMode = eqx.field(static=True)

    def __init__(
        self,
        n_fft: int = 2048,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Any = "hann",
        center: bool = True,
        power: float | None = 2.0,
        pad_mode: str = "constant",
        *,
        padding: Padding = None,
        extra_padding: bool = False,
        normalized: Normalized = False,
        floor: float = 0.0,
        floor_mode: FloorMode = "clip",
    ):
        """**Arguments:** those of `STFT`, and

        - `power`: the exponent $p > 0$: 1 gives magnitudes, 2 powers. `None`: the
            complex transform itself.
        - `floor`: the smallest power, at least 0. Must be 0 for the complex transform.
        - `floor_mode`: `"clip"` raises smaller powers to the floor, with derivative 0;
            `"add"` adds the floor to all powers.
        """
        with checks.owned_by("Spectrogram"):
            stft = STFT(
                n_fft,
                hop_length,
                win_length,
                window,
                center,
                pad_mode,
                padding=padding,
                extra_padding=extra_padding,
                normalized=normalized,
            )
        self.n_fft, self.hop_length = stft.n_fft, stft.hop_length
        self.win_length, self.window = stft.win_length, stft.window
        self.center, self.pad_mode = stft.center, stft.pad_mode
        self.padding, self.extra_padding = stft.padding, stft.extra_padding
        self.normalized = stft.normalized
        if power is not None:
            power = checks.positive("Spectrogram", "power", power)
        self.power = power
        self.floor = checks.non_negative("Spectrogram", "floor", floor)
        if power is None and self.floor > 0:
            remedy = "Give a `power`."
            rule = "be 0 for the complex transform, power=None"
            checks.refuse("Spectrogram", "floor", rule, floor, remedy)
        modes = ("clip", "add")
        self.floor_mode = checks.one_of("Spectrogram", "floor_mode", floor_mode, modes)

    @property
    def stft(self) -> STFT:
        """The transform whose magnitudes are taken."""
        return part_of(self, STFT)

    @property
    def path(self) -> tuple[AbstractStep, ...]:
        if self.power is None:
            return (self.stft,)
        return self.stft, part_of(self, Magnitude)

    @property
    def window_values(self) -> np.ndarray | Float[Array, " n_fft"]:
        """The window as it is applied, shape `(n_fft,)`."""
        return self.stft.window_values

    @property
    def frequencies(self) -> np.ndarray:
        """Centre frequencies of the bins in cycles per sample, shape `(n_bins,)`."""
        return self.stft.frequencies

    @property
    def axes(self) -> Axes:
        return dataclasses.replace(self.stft.axes, power=self.power or 1.0)

    def n_frames(self, n_samples: Count) -> Count:
        return self.stft.n_frames(n_samples)

    def apply(self, data: Signals) -> Spectra:
        return applied(self.path, data)


@checks.owned_by("spectrogram")
def spectrogram(
    x: Float[Array, "*channels n_samples"],
    /,
    n_fft: int = 2048,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = "hann",
    center: bool = True,
    power: float | None = 2.0,
    pad_kwargs: dict[str, Any] | None = None,
) -> Inexact[Array, "*channels n_bins n_frames"]:
    """Apply `Spectrogram` to `x`; `pad_kwargs` are arguments of `jax.numpy.pad`."""
    x, center = pad_for_frames(x, n_fft, center, pad_kwargs)
    with _warnings.remade("Spectrogram"):
        transform = Spectrogram(n_fft, hop_length, win_length, window, center, power)
    return transform(x)
