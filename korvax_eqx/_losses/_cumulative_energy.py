"""Differences of energies that are summed up over time and frequency."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._losses import AbstractSpectralLoss
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._cumulative import cumulative
from korvax_eqx._numerics._padding import cut_off
from korvax_eqx._numerics._powers import is_negligible, root
from korvax_eqx._numerics._ratio import quotient
from korvax_eqx._numerics._safe import in_range, norm
from korvax_eqx._scales._decibel import AmplitudeToDB, PowerToDB
from korvax_eqx._scales._difference import Difference
from korvax_eqx._static import items_of

_OWNER = "CumulativeEnergyLoss"
_DIAGONALS = ("right_up", "right_down", "left_up", "left_down")
_DIRECTIONS = (*_DIAGONALS, "up", "down", "right", "left")


class CumulativeEnergyLoss(AbstractSpectralLoss):
    r"""Root mean square of $\varphi(C_x) - \varphi(C_y)$, averaged over directions.

    $C$ is the cumulative sum of a power spectrogram, which must be non-negative, over
    frequency (`up` or `down`), over time (`right` or `left`) or over both, e.g. of all
    that is earlier and below.
    $\varphi(C) = \sqrt{\max(C / m_y, \epsilon)}$ with $m_y$ the energy of the target.
    Energy at another time or frequency differs over all that lies between, so that the
    gradient moves it there. The defaults are those of the package cels-audio by
    Tablas de Paula; unlike there, the target has a gradient, too.

    Negative values, e.g. of a difference or of decibels, have no root: NaN.

    A target of silence has no energy to divide by: the estimate's energies are then
    compared as they are ($m_y = 1$). The gradient at equal spectra is 0.
    """

    directions: tuple[str, ...] = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def __init__(
        self, directions: Sequence[str] = _DIAGONALS, eps: float = 1e-12
    ) -> None:
        """**Arguments:**

        - `directions`: along which energy is summed up, all different: `"right_up"`,
            `"right_down"`, `"left_up"`, `"left_down"`, `"up"`, `"down"`, `"right"`,
            `"left"`.
        - `eps`: the smallest part of the target's energy, below which a cumulative
            energy has derivative 0. Positive.

        **Raises:** `ValueError` for another direction, none, or one that comes twice,
        and for a number that is not positive.
        """
        self.directions = _directions(directions)
        self.eps = checks.positive(_OWNER, "eps", eps)

    def check_scale(self, owner: str, scale: Any) -> None:
        """Refuse a scale that makes negative values before this loss."""
        if isinstance(scale, Difference | AmplitudeToDB | PowerToDB):
            rule = f"make no negative values before `{_OWNER}`, which takes roots"
            checks.refuse(owner, "scale_fn", rule, scale, "Leave the scale out.")

    def values(self, x: Spectra, y: Spectra) -> Float[Array, "*rows"]:
        checks.real_spectrum(_OWNER, "S_x", x.S)
        checks.real_spectrum(_OWNER, "S_y", y.S)
        # Out of range, everything would be a negligible part of it.
        energy = in_range(jnp.sum(y.S, axis=(-2, -1)))
        energy = jnp.where(is_negligible(energy), 1, energy)[..., None, None]
        size = x.count
        size = size**0.5 if isinstance(size, float) else jnp.sqrt(size)
        sums = []
        for direction in self.directions:
            a, b = (self._root(_cumulative(d.S, direction), energy) for d in (x, y))
            # Beyond the end of a signal its sums go on.
            sums.append(norm(cut_off(a - b, x.n_frames), (-2, -1)) / size)
        return sum(sums[1:], sums[0]) / len(sums)

    def _root(
        self,
        C: Float[Array, "*rows n_frames n_bins"],
        energy: Float[Array, "*rows 1 1"],
    ) -> Float[Array, "*rows n_frames n_bins"]:
        # Roots are divided, as the quotient of energies may be out of range.
        is_low = C < self.eps * energy
        safe = jnp.where(is_low, 1, C)
        return jnp.where(is_low, self.eps**0.5, quotient(root(safe), root(energy)))


def _cumulative(
    S: Float[Array, "*rows n_frames n_bins"], direction: str
) -> Float[Array, "*rows n_frames n_bins"]:
    words = direction.split("_")
    if "right" in words or "left" in words:
        S = cumulative(S, S.ndim - 2, "left" in words)
    if "up" in words or "down" in words:
        S = cumulative(S, S.ndim - 1, "down" in words)
    return S


def _directions(directions: Any) -> tuple[str, ...]:
    items = items_of(directions)
    if not items or len(set(items)) != len(items):
        rule = "be a non-empty sequence of directions, all different"
        checks.refuse(_OWNER, "directions", rule, directions)
    return tuple(
        str(checks.one_of(_OWNER, "directions", d, _DIRECTIONS)) for d in items
    )
