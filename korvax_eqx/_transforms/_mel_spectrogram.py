"""Spectrograms in mel bands."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractTransform
from korvax_eqx._scales._mel import MelScale, to_mel_scale
from korvax_eqx._static import Static
from korvax_eqx._tables._mel import MelNorm
from korvax_eqx._transforms._spectrogram import Spectrogram, spectrogram


class MelSpectrogram(AbstractTransform):
    r"""Mel spectrogram $M |X|^p$: a `Spectrogram`, then a `MelScale`."""

    spectrogram: Spectrogram
    mel_scale: MelScale

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
    ) -> None:
        """**Arguments:**

        - `sr`: sample rate, Hz.
        - `n_fft`, `hop_length`, `win_length`, `window`, `center`, `power`, `pad_mode`:
            as in `Spectrogram`, but `power` must be a number: 1 sums magnitudes
            into bands, 2 powers.
        - `n_mels`, `fmin`, `fmax`, `htk`, `norm`, `basis`: as in `MelScale`.

        **Raises:** `ValueError` for an argument outside the rules of these two.
        """
        with checks.owned_by("MelSpectrogram"):
            power = checks.positive("MelSpectrogram", "power", power)
            self.spectrogram = Spectrogram(
                n_fft, hop_length, win_length, window, center, power, pad_mode
            )
            self.mel_scale = MelScale(
                sr, n_fft, n_mels, fmin, fmax, htk, norm, basis=basis
            )

    @property
    def sr(self) -> float:
        return self.mel_scale.sr

    @property
    def n_fft(self) -> int:
        return self.spectrogram.n_fft

    @property
    def n_mels(self) -> int:
        return self.mel_scale.n_mels

    @property
    def fmin(self) -> float:
        return self.mel_scale.fmin

    @property
    def fmax(self) -> float | None:
        return self.mel_scale.fmax

    @property
    def hop_length(self) -> int:
        return self.spectrogram.hop_length

    @property
    def win_length(self) -> int:
        return self.spectrogram.win_length

    @property
    def window(self) -> Array | Static:
        return self.spectrogram.window

    @property
    def center(self) -> bool:
        return self.spectrogram.center

    @property
    def power(self) -> float | None:
        return self.spectrogram.power

    @property
    def pad_mode(self) -> str:
        return self.spectrogram.pad_mode

    @property
    def htk(self) -> bool:
        return self.mel_scale.htk

    @property
    def norm(self) -> MelNorm:
        return self.mel_scale.norm

    @property
    def basis(self) -> Array | Static:
        return self.mel_scale.basis

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

    @jax.named_scope("korvax_eqx.MelSpectrogram")
    def __call__(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Float[Array, "*channels n_mels n_frames"]:
        """Return the mel spectrogram of `x`.

        **Raises:** `ValueError` for a signal that is not real floating point, or too
        short for one frame with `center=False`.
        """
        x = checks.signal("MelSpectrogram", "x", x)
        return self.mel_scale(self.spectrogram(x))


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
    """Apply `spectrogram` to `x`, then `to_mel_scale`; the arguments are theirs."""
    with checks.owned_by("mel_spectrogram"):
        power = checks.positive("mel_spectrogram", "power", power)
        S = spectrogram(
            x, n_fft, hop_length, win_length, window, center, power, pad_kwargs
        )
        return to_mel_scale(S, sr, n_fft, n_mels, fmin, fmax)
