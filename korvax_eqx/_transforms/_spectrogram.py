"""Magnitude and power spectrograms."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractTransform
from korvax_eqx._engine._devices import keep_sharded
from korvax_eqx._numerics._safe import magnitude_power
from korvax_eqx._static import Static
from korvax_eqx._transforms._stft import STFT, pad_for_frames


class Spectrogram(AbstractTransform):
    r"""Spectrogram $|X|^p$ of the short-time Fourier transform $X$.

    The derivative at a bin that is exactly 0 is 0, so digital silence and tones that
    cancel in a bin have finite gradients.
    """

    stft: STFT
    power: float | None = eqx.field(static=True)

    def __init__(
        self,
        n_fft: int = 2048,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Any = "hann",
        center: bool = True,
        power: float | None = 2.0,
        pad_mode: str = "constant",
    ):
        """**Arguments:** those of `STFT`, and

        - `power`: the exponent $p > 0$; 1 gives magnitudes, 2 powers; `None` the
            complex transform itself.
        """
        with checks.owned_by("Spectrogram"):
            self.stft = STFT(n_fft, hop_length, win_length, window, center, pad_mode)
        if power is not None:
            power = checks.positive("Spectrogram", "power", power)
        self.power = power

    @property
    def n_fft(self) -> int:
        return self.stft.n_fft

    @property
    def hop_length(self) -> int:
        return self.stft.hop_length

    @property
    def win_length(self) -> int:
        return self.stft.win_length

    @property
    def window(self) -> Array | Static:
        return self.stft.window

    @property
    def center(self) -> bool:
        return self.stft.center

    @property
    def pad_mode(self) -> str:
        return self.stft.pad_mode

    @property
    def window_values(self) -> np.ndarray | Float[Array, " n_fft"]:
        """The window as it is applied, shape `(n_fft,)`."""
        return self.stft.window_values

    @property
    def frequencies(self) -> np.ndarray:
        """Centre frequencies of the bins in cycles a sample, shape `(n_bins,)`."""
        return self.stft.frequencies

    def frames_first(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Inexact[Array, "*channels n_frames n_bins"]:
        """Return the spectrogram with the bins along the last axis, as computed."""
        X = self.stft.frames_first(x)
        return X if self.power is None else magnitude_power(X, self.power)

    @jax.named_scope("korvax_eqx.Spectrogram")
    def __call__(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Inexact[Array, "*channels n_bins n_frames"]:
        """Return the spectrogram of `x`, with `n_fft // 2 + 1` bins.

        **Raises:** `ValueError` for a signal that is not real floating point, or too
        short for one frame with `center=False`.
        """
        x = checks.signal("Spectrogram", "x", x)
        return jnp.swapaxes(keep_sharded(self.frames_first, x), -1, -2)


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
    return Spectrogram(n_fft, hop_length, win_length, window, center, power)(x)
