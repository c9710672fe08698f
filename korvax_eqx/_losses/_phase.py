"""Differences of phases, and of their derivatives along time and frequency."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._losses import AbstractSpectralLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._padding import cut_off
from korvax_eqx._numerics._phase import phase, wrapped
from korvax_eqx._numerics._powers import is_negligible
from korvax_eqx._numerics._ratio import quotient
from korvax_eqx._numerics._safe import magnitude

_OWNER = "PhaseLoss"
Quantity = Literal["phase", "instantaneous_frequency", "group_delay"]
_IN_TIME = "instantaneous_frequency"


class PhaseLoss(AbstractSpectralLoss):
    r"""Mean of $|w(\varphi_x - \varphi_y)|$ (L1) or its square (L2) of complex spectra.

    $\varphi$ is the phase, its difference between frames (instantaneous frequency), or
    its difference between bins (group delay). $w$ wraps to $[-\pi, \pi]$. With L1 these
    are the three phase losses of Ai and Ling (2023), "Neural speech phase prediction
    based on parallel estimation architecture and anti-wrapping losses", ICASSP. The
    first frame or bin has no predecessor and is left out, as in MP-SENet. APNet2 and
    FreeV also count its own phase: `prepend=True`. auraloss's phase term is
    `PhaseLoss("L2", wrap=False)`.

    A bin that is 0 has phase 0 and derivative 0. The phase of a bin near 0 is noise,
    and its derivative is the reciprocal of the magnitude: use `weighting="magnitude"`
    to suppress such bins.
    """

    metric: Literal["L1", "L2"] = eqx.field(static=True)
    quantity: Quantity = eqx.field(static=True)
    wrap: bool = eqx.field(static=True)
    weighting: Literal["uniform", "magnitude"] = eqx.field(static=True)
    prepend: bool = eqx.field(static=True)

    def __init__(
        self,
        metric: Literal["L1", "L2"] = "L1",
        *,
        quantity: Quantity = "phase",
        wrap: bool = True,
        weighting: Literal["uniform", "magnitude"] = "uniform",
        prepend: bool = False,
    ) -> None:
        r"""**Arguments:**

        - `metric`: `"L1"` for absolute, `"L2"` for squared differences, radians.
        - `quantity`: `"phase"`, `"instantaneous_frequency"` (change per frame) or
            `"group_delay"` (change per bin).
        - `wrap`: whether differences are wrapped to $[-\pi, \pi]$.
        - `weighting`: `"uniform"`, or `"magnitude"` for a mean weighted by the
            magnitudes of the target (for differences between frames or bins, by the
            smaller magnitude of the two). With `"magnitude"`, a silent target gives 0.
        - `prepend`: whether a phase of 0 precedes the first frame or bin, as in
            `numpy.diff(prepend=0)`, so that its own phase is compared too. For
            differences only.

        **Raises:** `ValueError` for another value.
        """
        self.metric = checks.one_of(_OWNER, "metric", metric, ("L1", "L2"))
        options = ("phase", "instantaneous_frequency", "group_delay")
        self.quantity = checks.one_of(_OWNER, "quantity", quantity, options)
        self.wrap = checks.boolean(_OWNER, "wrap", wrap)
        options = ("uniform", "magnitude")
        self.weighting = checks.one_of(_OWNER, "weighting", weighting, options)
        self.prepend = checks.boolean(_OWNER, "prepend", prepend)
        if self.prepend and self.quantity == "phase":
            rule = "be False for the phase itself, which has no differences"
            checks.refuse(_OWNER, "prepend", rule, prepend)

    @property
    def least_frames(self) -> int:  # pyright: ignore
        return 2 if self.quantity == _IN_TIME and not self.prepend else 1

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        is_plain = self.weighting == "uniform" and self.quantity != _IN_TIME
        return "frame" if is_plain else "signal"

    def values(self, x: Spectra, y: Spectra) -> Float[Array, "*rows"]:
        S_x, S_y, n_frames = x.S, y.S, x.n_frames
        checks.complex_spectrum(_OWNER, "S_x", S_x)
        checks.complex_spectrum(_OWNER, "S_y", S_y)
        d = phase(S_x) - phase(S_y)
        if self.quantity != "phase":
            later, earlier = self._neighbours(d, 0.0)
            d = later - earlier
            is_shorter = self.quantity == _IN_TIME and not self.prepend
            if is_shorter and n_frames is not None:
                n_frames = jnp.maximum(n_frames - 1, 0)
        if self.wrap:
            d = wrapped(d)
        # There is no difference after the last frame of a signal.
        costs = magnitude(d) if self.metric == "L1" else lax.square(d)
        costs = Spectra(cut_off(costs, n_frames), n_frames, x.n_whole)
        if self.weighting == "uniform":
            return costs.mean()
        weights = magnitude(S_y)
        if self.quantity != "phase":
            # Not `jnp.minimum`, whose derivative depends on which of the two is
            # smaller.
            a, b = self._neighbours(weights, jnp.inf)
            weights = jnp.where(a < b, a, b)
        sum_of_weights = jnp.sum(weights, axis=(-2, -1))
        is_silent = is_negligible(sum_of_weights)
        one = jnp.ones_like(sum_of_weights)
        sum_of_weights = jnp.where(is_silent, one, sum_of_weights)
        return quotient(jnp.sum(weights * costs.S, axis=(-2, -1)), sum_of_weights)

    def _neighbours(self, values: Array, before: float) -> tuple[Array, Array]:
        """Return the later and the earlier value of each difference.

        `before` stands before the first one, if something does.
        """
        axis = values.ndim - (2 if self.quantity == _IN_TIME else 1)
        n = values.shape[axis]
        if self.prepend:
            widths = [(0, 0, 0)] * values.ndim
            widths[axis] = (1, -1, 0)
            return values, lax.pad(values, jnp.asarray(before, values.dtype), widths)
        if n < 2:
            what = "frames" if self.quantity == _IN_TIME else "bins"
            raise ValueError(
                f'`{_OWNER}(quantity="{self.quantity}")`: the spectra must have at '
                f"least two {what}. Got the shape {checks.public_shape(values)}."
            )
        later = lax.slice_in_dim(values, 1, n, axis=axis)
        return later, lax.slice_in_dim(values, 0, n - 1, axis=axis)
