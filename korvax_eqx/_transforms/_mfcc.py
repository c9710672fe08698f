"""Cepstral coefficients: the cosine transform of spectra along their bins."""

import functools
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractTransform
from korvax_eqx._scales._decibel import PowerToDB, power_to_db
from korvax_eqx._scales._log import Log
from korvax_eqx._static import Static
from korvax_eqx._tables._frequencies import read_only
from korvax_eqx._tables._mel import MelNorm
from korvax_eqx._transforms._mel_spectrogram import MelSpectrogram, mel_spectrogram

DCTNorm = Literal["backward", "ortho"] | None
MagScale = Literal["linear", "log", "db"]

# korvax's: added to the spectrum under a logarithm, and its smallest power in dB.
_FLOOR = 1e-6


@functools.cache
def dct_matrix(
    n_cc: int, n_bins: int, norm: DCTNorm, lifter: float
) -> Float[np.ndarray, "n_cc n_bins"]:
    """Return the first rows of the liftered DCT-II in float64, read-only."""
    full = scipy.fft.dct(np.eye(n_bins), type=2, norm=norm, axis=0)
    rows = np.asarray(full)[:n_cc]
    if lifter > 0.0:
        steps = np.arange(1, n_cc + 1)
        rows = rows * (1.0 + lifter / 2.0 * np.sin(np.pi * steps / lifter))[:, None]
    return read_only(rows)


class MFCC(AbstractTransform):
    r"""Mel-frequency cepstral coefficients: $L\,D\,s(M |X|^p)$.

    $M |X|^p$ is a `MelSpectrogram`, $s$ the magnitude scale, $D$ the first `n_mfcc`
    rows of the DCT-II and $L$ the lifter $1 + \tfrac{l}{2} \sin(\pi k / l)$ with
    $k = 1, 2, \dots$ and $l$ = `lifter`.

    In dB, each spectrogram is limited to 80 dB below its own maximum. The function
    [`mfcc`][], as korvax and librosa, takes the maximum of the whole batch.
    """

    mel_spectrogram: MelSpectrogram
    n_mfcc: int = eqx.field(static=True)
    norm: DCTNorm = eqx.field(static=True)
    mag_scale: MagScale = eqx.field(static=True)
    lifter: float = eqx.field(static=True)

    def __init__(
        self,
        sr: float,
        n_fft: int,
        n_mfcc: int = 20,
        norm: DCTNorm = "ortho",
        mag_scale: MagScale = "db",
        lifter: float = 0.0,
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
        mel_norm: MelNorm = "slaney",
        basis: Float[Array | np.ndarray, "n_mels n_bins"] | None = None,
    ) -> None:
        """**Arguments:**

        - `n_mfcc`: number of coefficients, at most `n_mels`.
        - `norm`: of the cosine transform: `"ortho"` makes it orthonormal, `None` and
            `"backward"` leave it unscaled.
        - `mag_scale`: `"db"`, decibels with `amin=1e-6` and `top_db=80`; `"log"`, the
            natural logarithm of the bands plus 1e-6; `"linear"`, none.
        - `lifter`: length of the lifter in coefficients; 0 for none.
        - `mel_norm`: the `norm` of `MelSpectrogram`.
        - the others as in `MelSpectrogram`.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        with checks.owned_by("MFCC", norm="mel_norm"):
            self.mel_spectrogram = MelSpectrogram(
                sr,
                n_fft,
                n_mels,
                fmin,
                fmax,
                hop_length,
                win_length,
                window,
                center,
                power,
                pad_mode,
                htk=htk,
                norm=mel_norm,
                basis=basis,
            )
        self.n_mfcc, self.norm, self.mag_scale, self.lifter = _check(
            "MFCC", "n_mfcc", n_mfcc, self.n_mels, norm, mag_scale, lifter
        )

    @property
    def sr(self) -> float:
        return self.mel_spectrogram.sr

    @property
    def n_fft(self) -> int:
        return self.mel_spectrogram.n_fft

    @property
    def n_mels(self) -> int:
        return self.mel_spectrogram.n_mels

    @property
    def fmin(self) -> float:
        return self.mel_spectrogram.fmin

    @property
    def fmax(self) -> float | None:
        return self.mel_spectrogram.fmax

    @property
    def hop_length(self) -> int:
        return self.mel_spectrogram.hop_length

    @property
    def win_length(self) -> int:
        return self.mel_spectrogram.win_length

    @property
    def window(self) -> Array | Static:
        return self.mel_spectrogram.window

    @property
    def center(self) -> bool:
        return self.mel_spectrogram.center

    @property
    def power(self) -> float | None:
        return self.mel_spectrogram.power

    @property
    def pad_mode(self) -> str:
        return self.mel_spectrogram.pad_mode

    @property
    def htk(self) -> bool:
        return self.mel_spectrogram.htk

    @property
    def mel_norm(self) -> MelNorm:
        return self.mel_spectrogram.norm

    @property
    def basis(self) -> Array | Static:
        return self.mel_spectrogram.basis

    @property
    def dct_matrix(self) -> Float[np.ndarray, "n_mfcc n_mels"]:
        """The liftered cosine transform, shape `(n_mfcc, n_mels)`."""
        return dct_matrix(self.n_mfcc, self.n_mels, self.norm, self.lifter)

    @jax.named_scope("korvax_eqx.MFCC")
    def __call__(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Float[Array, "*channels n_mfcc n_frames"]:
        """Return the coefficients of `x`.

        **Raises:** `ValueError` for a signal that is not real floating point, or too
        short for one frame with `center=False`.
        """
        S = self.mel_spectrogram(checks.signal("MFCC", "x", x))
        if self.mag_scale == "log":
            S = Log(eps=_FLOOR)(S)
        elif self.mag_scale == "db":
            S = PowerToDB(amin=_FLOOR)(S)
        return _product(self.dct_matrix, S)


def cepstral_coefficients(
    S: Float[Array, "*channels n_freqs n_frames"],
    /,
    n_cc: int = 20,
    norm: DCTNorm = "ortho",
    mag_scale: MagScale = "db",
    lifter: float = 0.0,
) -> Float[Array, "*channels {n_cc} n_frames"]:
    """Return the first `n_cc` cepstral coefficients of a spectrogram.

    **Arguments:**

    - `S`: power spectrogram, e.g. in mel bands.
    - `n_cc`: number of coefficients, at most the number of bins.
    - `norm`, `mag_scale`, `lifter`: as in [`MFCC`][], but with `mag_scale="db"` the
        limit of 80 dB is below the maximum of the whole of `S`.

    **Returns:** coefficients of the same dtype.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "cepstral_coefficients"
    S = checks.scale_input(owner, S)
    n_bins = S.shape[-2]
    n_cc, norm, mag_scale, lifter = _check(
        owner, "n_cc", n_cc, n_bins, norm, mag_scale, lifter
    )
    if mag_scale == "log":
        S = Log(eps=_FLOOR)(S)
    elif mag_scale == "db":
        S = power_to_db(S, amin=_FLOOR)
    return _product(dct_matrix(n_cc, n_bins, norm, lifter), S)


def mfcc(
    x: Float[Array, "*channels n_samples"],
    /,
    sr: float,
    n_fft: int,
    n_mfcc: int = 20,
    norm: DCTNorm = "ortho",
    mag_scale: MagScale = "db",
    lifter: float = 0.0,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = "hann",
    center: bool = True,
    power: float = 2.0,
    pad_kwargs: dict[str, Any] | None = None,
) -> Float[Array, "*channels {n_mfcc} n_frames"]:
    """Apply `mel_spectrogram` to `x`, then `cepstral_coefficients`.

    With `mag_scale="db"` the limit of 80 dB is below the maximum of the whole batch;
    in the class [`MFCC`][] it is below that of each signal.
    """
    with checks.owned_by("mfcc"):
        S = mel_spectrogram(
            x,
            sr,
            n_fft,
            n_mels,
            fmin,
            fmax,
            hop_length,
            win_length,
            window,
            center,
            power,
            pad_kwargs,
        )
        _check("mfcc", "n_mfcc", n_mfcc, n_mels, norm, mag_scale, lifter)
        return cepstral_coefficients(S, n_mfcc, norm, mag_scale, lifter)


def _product(
    matrix: Float[np.ndarray, "n_cc n_bins"],
    S: Float[Array, "*channels n_bins n_frames"],
) -> Float[Array, "*channels n_cc n_frames"]:
    frames, weights = jnp.swapaxes(S, -1, -2), jnp.asarray(matrix, S.dtype)
    precision = jax.lax.Precision.HIGHEST
    M = jnp.einsum("...f,mf->...m", frames, weights, precision=precision)
    return jnp.swapaxes(M, -1, -2)


def _check(
    owner: str,
    argument: str,
    n_cc: Any,
    n_bins: int,
    norm: Any,
    mag_scale: Any,
    lifter: Any,
) -> tuple[int, Any, Any, float]:
    n_cc = checks.positive_int(owner, argument, n_cc)
    if n_cc > n_bins:
        rule = f"be at most the number of bins or bands, {n_bins}"
        checks.refuse(owner, argument, rule, n_cc)
    return (
        n_cc,
        checks.one_of(owner, "norm", norm, ("ortho", "backward", None)),
        checks.one_of(owner, "mag_scale", mag_scale, ("linear", "log", "db")),
        checks.non_negative(owner, "lifter", lifter),
    )
