"""Cepstral coefficients: the cosine transform of spectra along their bins."""

import dataclasses
import functools
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx import _warnings
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
from korvax_eqx._numerics._safe import FloorMode
from korvax_eqx._scales._decibel import PowerToDB, check_limits, power_to_db
from korvax_eqx._scales._log import Log
from korvax_eqx._tables._frequencies import read_only
from korvax_eqx._tables._mel import MelNorm
from korvax_eqx._tables._size import check_finite, check_size
from korvax_eqx._transforms._framing import Padding
from korvax_eqx._transforms._mel_spectrogram import MelSpectrogram, mel_spectrogram
from korvax_eqx._transforms._stft import Normalized
from korvax_eqx._tree import part_of

DCTNorm = Literal["backward", "ortho"] | None
MagScale = Literal["linear", "log", "db"]

# korvax's constant: added inside the logarithm, and the smallest power in dB.
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
        with np.errstate(all="ignore"):
            gains = 1.0 + lifter / 2.0 * np.sin(np.pi * steps / lifter)
        check_finite("MFCC", {"lifter": lifter}, gains)
        rows = rows * gains[:, None]
    return read_only(rows)


class MFCC(AbstractFramesTransform):
    r"""Mel-frequency cepstral coefficients: $L\,D\,s(M |X|^p)$.

    $M |X|^p$ is a `MelSpectrogram`, $s$ the magnitude scale, $D$ the first `n_mfcc`
    rows of the DCT-II and $L$ the lifter $1 + \tfrac{l}{2} \sin(\pi k / l)$ with
    $k = 1, 2, \dots$ and $l$ = `lifter`.

    With decibels, each spectrogram is limited to `top_db` below its own maximum. The
    function `mfcc`, like korvax and librosa, uses the maximum of the whole batch.
    """

    window: Any
    basis: Any
    sr: float = eqx.field(static=True)
    n_fft: int = eqx.field(static=True)
    n_mfcc: int = eqx.field(static=True)
    norm: DCTNorm = eqx.field(static=True)
    mag_scale: MagScale = eqx.field(static=True)
    lifter: float = eqx.field(static=True)
    n_mels: int = eqx.field(static=True)
    fmin: float = eqx.field(static=True)
    fmax: float | None = eqx.field(static=True)
    hop_length: int = eqx.field(static=True)
    win_length: int = eqx.field(static=True)
    center: bool = eqx.field(static=True)
    power: float = eqx.field(static=True)
    pad_mode: str = eqx.field(static=True)
    htk: bool = eqx.field(static=True)
    mel_norm: MelNorm = eqx.field(static=True)
    padding: Padding = eqx.field(static=True)
    extra_padding: bool = eqx.field(static=True)
    normalized: Normalized = eqx.field(static=True)
    floor: float = eqx.field(static=True)
    floor_mode: FloorMode = eqx.field(static=True)
    amin: float = eqx.field(static=True)
    top_db: float | None = eqx.field(static=True)

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
        padding: Padding = None,
        extra_padding: bool = False,
        normalized: Normalized = False,
        floor: float = 0.0,
        floor_mode: FloorMode = "clip",
        amin: float = _FLOOR,
        top_db: float | None = 80.0,
    ) -> None:
        """**Arguments:**

        - `n_mfcc`: number of coefficients, at most `n_mels`.
        - `norm`: scaling of the cosine transform: `"ortho"` is orthonormal, `None` and
            `"backward"` leave it unscaled.
        - `mag_scale`: `"db"`: decibels with `amin` and `top_db`; `"log"`: the natural
            logarithm of the bands plus `amin`; `"linear"`: unchanged.
        - `lifter`: length of the lifter in coefficients; 0: no lifter.
        - `mel_norm`: the `norm` of `MelSpectrogram`.
        - `amin`, `top_db`: smallest value of a band, and range below the largest one in
            dB, as in `PowerToDB`. The default `amin` is korvax's; quiet speech falls
            below it and becomes constant. librosa's is 1e-10.
        - all others: as in `MelSpectrogram`.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        with checks.owned_by("MFCC", norm="mel_norm"):
            mel = MelSpectrogram(
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
                padding=padding,
                extra_padding=extra_padding,
                normalized=normalized,
                floor=floor,
                floor_mode=floor_mode,
            )
        self.sr, self.n_fft, self.n_mels = mel.sr, mel.n_fft, mel.n_mels
        self.fmin, self.fmax, self.basis = mel.fmin, mel.fmax, mel.basis
        self.hop_length, self.win_length = mel.hop_length, mel.win_length
        self.window, self.center, self.power = mel.window, mel.center, mel.power
        self.pad_mode, self.htk, self.mel_norm = mel.pad_mode, mel.htk, mel.norm
        self.padding, self.extra_padding = mel.padding, mel.extra_padding
        self.normalized = mel.normalized
        self.floor, self.floor_mode = mel.floor, mel.floor_mode
        self.amin, self.top_db = check_limits("MFCC", amin, top_db)
        self.n_mfcc, self.norm, self.mag_scale, self.lifter = _check(
            "MFCC", "n_mfcc", n_mfcc, self.n_mels, norm, mag_scale, lifter
        )
        # Refuses a lifter out of range.
        dct_matrix(self.n_mfcc, self.n_mels, self.norm, self.lifter)

    @property
    def mel_spectrogram(self) -> MelSpectrogram:
        """The spectrogram whose cosine transform is taken."""
        return part_of(self, MelSpectrogram, norm=self.mel_norm)

    @property
    def path(self) -> tuple[AbstractStep, ...]:
        scales: dict[str, tuple[AbstractStep, ...]] = {
            "linear": (),
            "log": (Log(eps=self.amin),),
            "db": (PowerToDB(amin=self.amin, top_db=self.top_db),),
        }
        scale = scales[self.mag_scale]
        return *self.mel_spectrogram.path, *scale, part_of(self, _CosineTransform)

    @property
    def dct_matrix(self) -> Float[np.ndarray, "n_mfcc n_mels"]:
        """The liftered cosine transform, shape `(n_mfcc, n_mels)`."""
        return dct_matrix(self.n_mfcc, self.n_mels, self.norm, self.lifter)

    @property
    def axes(self) -> Axes:
        return dataclasses.replace(
            self.mel_spectrogram.axes,
            spacing="index",
            frequencies=np.arange(self.n_mfcc),
            power=None,
        )

    def n_frames(self, n_samples: Count) -> Count:
        return self.mel_spectrogram.n_frames(n_samples)

    def apply(self, data: Signals) -> Spectra:
        return applied(self.path, data)


class _CosineTransform(AbstractScale):
    """Liftered cosine transform of each frame, truncated to the first coefficients."""

    scope: ClassVar[Scope] = "frame"
    n_mfcc: int = eqx.field(static=True)
    n_mels: int = eqx.field(static=True)
    norm: DCTNorm = eqx.field(static=True)
    lifter: float = eqx.field(static=True)

    def apply(self, data: Spectra) -> Spectra:
        matrix = dct_matrix(self.n_mfcc, self.n_mels, self.norm, self.lifter)
        return data.map(lambda S: _product(matrix, S))


@checks.owned_by("cepstral_coefficients")
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
    - `norm`, `mag_scale`, `lifter`: as in `MFCC`, except that with `mag_scale="db"`
        values are limited to 80 dB below the maximum of the whole array.

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
    M = _product(dct_matrix(n_cc, n_bins, norm, lifter), jnp.swapaxes(S, -1, -2))
    return jnp.swapaxes(M, -1, -2)


@checks.owned_by("mfcc")
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

    With `mag_scale="db"` values are limited to 80 dB below the maximum of the whole
    batch. The class `MFCC` uses the maximum of each signal.
    """
    with _warnings.remade("mfcc"):
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
    frames: Float[Array, "*rows n_frames n_bins"],
) -> Float[Array, "*rows n_frames n_cc"]:
    weights = jnp.asarray(matrix, frames.dtype)
    precision = jax.lax.Precision.HIGHEST
    return jnp.einsum("...f,mf->...m", frames, weights, precision=precision)


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
    sized = "n_mels" if argument == "n_mfcc" else "S"
    check_size(owner, sized, n_bins, n_bins**2)
    return (
        n_cc,
        checks.one_of(owner, "norm", norm, ("ortho", "backward", None)),
        checks.one_of(owner, "mag_scale", mag_scale, ("linear", "log", "db")),
        checks.non_negative(owner, "lifter", lifter),
    )
