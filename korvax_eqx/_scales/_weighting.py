"""Frequency weightings of spectra that are in dB."""

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._ranks import along_last
from korvax_eqx._static import static_or_leaf
from korvax_eqx._tables._frequencies import fft_frequencies_table
from korvax_eqx._tables._size import check_finite, check_size
from korvax_eqx._tables._weighting import Curve, weighting_values

Frequencies = Float[Array | np.ndarray, " n_bins"] | Sequence[float]


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
        if not checks.is_learnable(self.frequencies):
            argument, value = ("frequencies", frequencies) if sr is None else ("sr", sr)
            with np.errstate(over="ignore"):
                powers = np.asarray(_bins(self), np.float64) ** 4  # the curves' highest
            check_finite(type(self).__name__, {argument: value}, powers)

    @property
    def weighting_db(self) -> Float[Array | np.ndarray, " n_bins"]:
        """The value added to each bin, dB."""
        return weighting_values(self.curve, _bins(self), self.min_db)

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
    if frequencies is None:
        remedy = "Give either `frequencies`, or both `sr` and `n_fft`."
        if sr is None or n_fft is None:
            checks.refuse(owner, "frequencies", "tell the bins", None, remedy)
        sr = checks.positive(owner, "sr", sr)
        n_fft = checks.positive_int(owner, "n_fft", n_fft)
        check_size(owner, "n_fft", n_fft, n_fft)
    elif sr is not None or n_fft is not None:
        argument, value = ("sr", sr) if sr is not None else ("n_fft", n_fft)
        remedy = "Leave it out, or leave out `frequencies`."
        checks.refuse(owner, argument, "not come with `frequencies`", value, remedy)
    else:
        frequencies = _check_frequencies(owner, frequencies)
    if min_db is not None:
        min_db = checks.real(owner, "min_db", min_db)
    elif frequencies is None or (
        not checks.is_learnable(frequencies) and np.any(np.equal(frequencies, 0.0))
    ):
        rule = "be a number where a bin is at 0 Hz, whose weighting is minus infinity"
        checks.refuse(owner, "min_db", rule, None, "Use e.g. `min_db=-200.0`.")
    return static_or_leaf(frequencies), min_db, sr, n_fft


def _check_frequencies(owner: str, frequencies: Any) -> Any:
    rule = "hold at least one frequency in Hz, none negative"
    if isinstance(frequencies, Sequence) and not isinstance(frequencies, str):
        frequencies = tuple(
            checks.non_negative(owner, "frequencies", f) for f in frequencies
        )
        if frequencies:
            return frequencies
    elif isinstance(frequencies, jax.Array | np.ndarray):
        checks.floating_array(owner, "frequencies", frequencies, 1)
        is_array = isinstance(frequencies, np.ndarray)
        if frequencies.size and not (is_array and np.any(frequencies < 0.0)):
            return frequencies
    checks.refuse(owner, "frequencies", rule, frequencies)


def _bins(scale: Any) -> Any:
    if scale.frequencies is not None:
        return scale.frequencies
    return fft_frequencies_table(scale.sr, scale.n_fft)


def _add(
    owner: str, data: Spectra, weighting_db: Float[Array | np.ndarray, " n_bins"]
) -> Spectra:
    S = checks.scale_input(owner, data.S, bins_last=True)
    (n_bins,) = weighting_db.shape
    if S.shape[-1] != n_bins:
        raise ValueError(
            f"`{owner}`: the spectrogram must have the {n_bins} bins whose frequencies "
            f"were given, shape (*channels, {n_bins}, n_frames). Got "
            f"{checks.public_shape(S)}. For an "
            "FFT spectrum use its `sr` and `n_fft`, for mel bands "
            "`frequencies=MelScale(...).frequencies`."
        )
    return data.holding(S + along_last(jnp.asarray(weighting_db, S.dtype), S))
