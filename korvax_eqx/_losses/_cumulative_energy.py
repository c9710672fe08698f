"""Differences of energies accumulated over time and frequency."""

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

    $C$ is the cumulative sum of a power spectrogram, which must be non-negative: over
    frequency (`up` or `down`), over time (`right` or `left`), or over both, e.g.
    `right_up` accumulates everything earlier and below. $\varphi(C) = \sqrt{\max(C /
    m_y, \epsilon)}$ with $m_y$ the energy of the target. If energy is at the wrong time
    or frequency, the sums differ everywhere between the two places, so the gradient
    moves it to the right one. The defaults are those of the package cels-audio by
    Tablas de Paula. Unlike there, the target has a gradient too.

    Negative values, e.g. from `Difference` or decibels, give NaN: they have no root.

    For a silent target, which has no energy to divide by, $m_y = 1$. The gradient at
    equal spectra is 0.
    """

    directions: tuple[str, ...] = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def __init__(
        self, directions: Sequence[str] = _DIAGONALS, eps: float = 1e-12
    ) -> None:
        """**Arguments:**

        - `directions`: the directions of the cumulative sums, without repetition:
            `"right_up"`, `"right_down"`, `"left_up"`, `"left_down"`, `"up"`, `"down"`,
            `"right"`, `"left"`.
        - `eps`: $\\epsilon$, as a fraction of the target's energy. Cumulative energies
            below it have derivative 0. Positive.

        **Raises:** `ValueError` for an unknown or repeated direction, for none, and for
        an `eps` that is not positive.
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
        # If the total overflowed, everything would be a negligible part of it.
        energy = in_range(jnp.sum(y.S, axis=(-2, -1)))
        energy = jnp.where(is_negligible(energy), 1, energy)[..., None, None]
        size = x.count
        size = size**0.5 if isinstance(size, float) else jnp.sqrt(size)
        sums = []
        for direction in self.directions:
            a, b = (self._root(_cumulative(d.S, direction), energy) for d in (x, y))
            # Cumulative sums continue beyond the end of a signal.
            sums.append(norm(cut_off(a - b, x.n_frames), (-2, -1)) / size)
        return sum(sums[1:], sums[0]) / len(sums)

    def _root(
        self,
        C: Float[Array, "*rows n_frames n_bins"],
        energy: Float[Array, "*rows 1 1"],
    ) -> Float[Array, "*rows n_frames n_bins"]:
        # Divide the roots: the quotient of the energies may overflow.
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
