"""Differences of energy decay curves, for reverberation."""

import math
from fractions import Fraction
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractWaveformLoss
from korvax_eqx._data import Signals
from korvax_eqx._numerics._padding import cut_off
from korvax_eqx._numerics._powers import is_negligible
from korvax_eqx._numerics._ratio import quotient, ratio
from korvax_eqx._numerics._safe import difference, in_range, magnitude

_OWNER = "EnergyDecayLoss"
# Samples of long signals are counted in 32-bit integers.
_MOST_DENOMINATOR = 10_000


class EnergyDecayLoss(AbstractWaveformLoss):
    r"""Mean of $(D_x - D_y)^2$ (L2) or $|D_x - D_y|$ (L1) of decay curves, in dB.

    $$D_n = 10 \log_{10} \max\Big(\sum_{m \ge n} x_m^2,\; a\Big)$$

    The energy that is still to come: Schroeder's backward integral, the decay of a room
    whose impulse response is $x$. See Schroeder (1965), "New method of measuring
    reverberation time", JASA.

    The sums of a signal end where it ends: with zeros after a decay the curve falls to
    $a$ there. What is below $a$ has no gradient.
    """

    metric: Literal["L1", "L2"] = eqx.field(static=True)
    relative: bool = eqx.field(static=True)
    normalize: bool = eqx.field(static=True)
    range_db: float | None = eqx.field(static=True)
    discard: float = eqx.field(static=True)
    amin: float = eqx.field(static=True)

    def __init__(
        self,
        metric: Literal["L1", "L2"] = "L2",
        *,
        relative: bool = False,
        normalize: bool = False,
        range_db: float | None = None,
        discard: float = 0.005,
        amin: float = 1e-18,
    ):
        """**Arguments:**

        - `metric`: `"L1"` for absolute, `"L2"` for squared differences.
        - `relative`: whether the mean is divided by that of $|D_y|$, or $D_y^2$.
        - `normalize`: whether each curve starts at 0 dB.
        - `range_db`: both curves are `10 log10(amin)` where the target's is further
            than this below its start, dB. Positive; `None` for the whole curve.
        - `discard`: the part of a signal, at its end, that does not count; from 0 to
            below 1.
        - `amin`: $a$, the least energy; with `normalize` the least part of the whole
            energy. Positive, at least 1e-36.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        self.metric = checks.one_of(_OWNER, "metric", metric, ("L1", "L2"))
        self.relative = checks.boolean(_OWNER, "relative", relative)
        self.normalize = checks.boolean(_OWNER, "normalize", normalize)
        if range_db is not None:
            range_db = checks.positive(_OWNER, "range_db", range_db)
        self.range_db = range_db
        self.discard = checks.real(_OWNER, "discard", discard)
        if not 0 <= discard < 1:
            checks.refuse(_OWNER, "discard", "be at least 0 and below 1", discard)
        self.amin = checks.positive(_OWNER, "amin", amin)
        if amin < 1e-36:
            rule = "be at least 1e-36: smaller numbers have no reciprocal in float32"
            checks.refuse(_OWNER, "amin", rule, amin)

    def values(self, x: Signals, y: Signals) -> Float[Array, "*rows"]:
        n: Any = n_kept(x.x.shape[-1], self.discard)
        D_x, D_y = (self._curve(s, n) for s in (x, y))
        if x.n_samples is not None:
            n = n_kept(x.n_samples, self.discard)
        if self.range_db is not None:
            is_low = D_y < D_y[..., :1] - self.range_db
            D_x, D_y = (jnp.where(is_low, self._least_db, D) for D in (D_x, D_y))
        distance = magnitude if self.metric == "L1" else jnp.square
        count = n if isinstance(n, int) else n.astype(D_x.dtype)
        # Beyond the end both curves are at their least.
        error = jnp.sum(distance(difference(D_x, D_y)), axis=-1) / count
        if not self.relative:
            return error
        size = distance(D_y if isinstance(n, int) else cut_off(D_y, n))
        return ratio(error, jnp.sum(size, axis=-1) / count, 0.0)

    @property
    def _least_db(self) -> float:
        return 10 * math.log10(self.amin)

    def _curve(self, data: Signals, n: int) -> Float[Array, "*rows n_kept"]:
        x = lax.slice_in_dim(data.x, 0, n, axis=-1)
        if data.n_samples is not None:
            x = cut_off(x, n_kept(data.n_samples, self.discard))
        energy = in_range(lax.cumsum(jnp.square(x), x.ndim - 1, reverse=True))
        if self.normalize:
            whole = energy[..., :1]
            whole = jnp.where(is_negligible(whole), 1, whole)
            energy = quotient(energy, whole)
        is_low = energy < self.amin
        safe = jnp.where(is_low, 1, energy)
        return jnp.where(is_low, self._least_db, 10 * jnp.log10(safe))


def n_kept(n: Any, discard: float) -> Any:
    """Return how many of n samples are left, to the nearest, halves to even.

    **Arguments:**

    - `n`: a number, or an array of integers.
    - `discard`: the part that is left out, to 1 / 10000.
    """
    part = 1 - Fraction(discard).limit_denominator(_MOST_DENOMINATOR)
    # Whole denominators apart: products of samples would leave 32-bit integers.
    whole, rest = n // part.denominator, n % part.denominator
    below = whole * part.numerator + rest * part.numerator // part.denominator
    twice = 2 * (rest * part.numerator % part.denominator)
    is_half = twice == part.denominator
    up = (twice > part.denominator) | (is_half & (below % 2 == 1))
    if isinstance(n, int):
        return max(below + int(up), 1)
    return jnp.maximum(below + up.astype(n.dtype), 1)
