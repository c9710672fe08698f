"""Frequency weightings of spectra that are in dB."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._ranks import along_last
from korvax_eqx._static import static_or_leaf
from korvax_eqx._tables._size import check_finite
from korvax_eqx._tables._weighting import Curve, weighting_values

from ._bins import Frequencies, bins_of, check_bins, check_n_bins


class _AbstractWeighting(AbstractScale):
    """Adds a frequency weighting to a spectrum in dB: `S + w(f)`.

    Private: the library's four weightings are its only subclasses.
    """

    scope: ClassVar[Scope] = "frame"
    curve: eqx.AbstractClassVar[Curve]
    frequencies: Any
    min_db: float | None = eqx.field(static=True)
    sr: float | None = eqx.field(static=True)
    n_fft: int | None = eqx.field(static=True)

    def __init__(
        self,
        frequencies: Frequencies | None = None,
        min_db: float | None = -80.0,
        *,
        sr: float | None = None,
        n_fft: int | None = None,
    ) -> None:
        """**Arguments:**

        - `frequencies`: centre of each bin, Hz, shape `(n_bins,)`, e.g.
            `MelScale(...).frequencies`. A JAX array is learnable.
        - `min_db`: lower limit of the weighting, dB. `None`: no limit; frequencies must
            then be above 0 Hz, where the weighting is minus infinity.
        - `sr`, `n_fft`: sample rate in Hz and samples of a frame, in place of
            `frequencies`, for a spectrum of `n_fft // 2 + 1` FFT bins.

        **Raises:** `ValueError` if the bins are given in both ways or in neither, or
        for a value outside these ranges.
        """
        self.frequencies, self.min_db, self.sr, self.n_fft = _check(
            type(self).__name__, frequencies, min_db, sr, n_fft
        )
        if not checks.is_leaf(self.frequencies):
            argument, value = ("frequencies", frequencies) if sr is None else ("sr", sr)
            with np.errstate(over="ignore"):
                powers = (
                    np.asarray(bins_of(self), np.float64) ** 4
                )  # the curves' highest
            check_finite(type(self).__name__, {argument: value}, powers)

    @property
    def weighting_db(self) -> Float[Array | np.ndarray, " n_bins"]:
        """The value added to each bin, dB."""
        return weighting_values(self.curve, bins_of(self), self.min_db)

    def apply(self, data: Spectra) -> Spectra:
        return _add(type(self).__name__, data, self.weighting_db)


class AWeighting(_AbstractWeighting):
    """Adds the A-weighting of each bin to a spectrum in dB: `S + A(f)`.

    The spectrum must already be in dB. A-weighted decibels of a power spectrogram:
    `Chain((PowerToDB(), AWeighting(sr=16000, n_fft=2048)))`. The curve is
    `A_weighting`.
    """

    curve: ClassVar[Curve] = "A"  # pyright: ignore[reportIncompatibleVariableOverride]


class BWeighting(_AbstractWeighting):
    """Adds the B-weighting of each bin to a spectrum in dB: `S + B(f)`.

    The spectrum must already be in dB, as for `AWeighting`. The curve is
    `B_weighting`.
    """

    curve: ClassVar[Curve] = "B"  # pyright: ignore[reportIncompatibleVariableOverride]


class CWeighting(_AbstractWeighting):
    """Adds the C-weighting of each bin to a spectrum in dB: `S + C(f)`.

    The spectrum must already be in dB, as for `AWeighting`. The curve is
    `C_weighting`.
    """

    curve: ClassVar[Curve] = "C"  # pyright: ignore[reportIncompatibleVariableOverride]


class DWeighting(_AbstractWeighting):
    """Adds the D-weighting of each bin to a spectrum in dB: `S + D(f)`.

    The spectrum must already be in dB, as for `AWeighting`. The curve is
    `D_weighting`.
    """

    curve: ClassVar[Curve] = "D"  # pyright: ignore[reportIncompatibleVariableOverride]


def _check(
    owner: str, frequencies: Any, min_db: Any, sr: Any, n_fft: Any
) -> tuple[Any, float | None, float | None, int | None]:
    frequencies, sr, n_fft = check_bins(owner, frequencies, sr, n_fft)
    if min_db is not None:
        min_db = checks.real(owner, "min_db", min_db)
    elif frequencies is None or (
        not checks.is_leaf(frequencies) and np.any(np.equal(frequencies, 0.0))
    ):
        rule = "be a number where a bin is at 0 Hz, whose weighting is minus infinity"
        checks.refuse(owner, "min_db", rule, None, "Use e.g. `min_db=-200.0`.")
    return static_or_leaf(frequencies), min_db, sr, n_fft


def _add(
    owner: str, data: Spectra, weighting_db: Float[Array | np.ndarray, " n_bins"]
) -> Spectra:
    S = checks.scale_input(owner, data.S, bins_last=True)
    (n_bins,) = weighting_db.shape
    check_n_bins(owner, S, n_bins)
    return data.holding(S + along_last(jnp.asarray(weighting_db, S.dtype), S))
