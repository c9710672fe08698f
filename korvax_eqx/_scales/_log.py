"""The logarithm of a spectrum."""

import math
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra
from korvax_eqx._leaves import positive_leaf
from korvax_eqx._platform import target
from korvax_eqx._static import static_or_leaf

_OWNER = "Log"


class Log(AbstractScale):
    r"""The logarithm $\log_b(\mathrm{floor}(\mathrm{factor} \cdot S))$.

    `floor_mode` decides what keeps silence finite. With $v = \mathrm{factor} \cdot S$:

    - `floor_mode="add"`: $\log_b(v + \epsilon)$, as in korvax. The derivative at
        silence is $\mathrm{factor} / \epsilon$ (times $1 / \ln b$).
    - `floor_mode="clip"`: $\log_b(\max(v, \epsilon))$, as in ParallelWaveGAN and
        audiotools. The derivative is 0 where the value is raised to $\epsilon$.
    - `floor_mode="replace"`: $\log_b(v)$ if $v > 0$, else $\log_b(\epsilon)$, as in
        DDSP's `safe_log`. The derivative is $\mathrm{factor} / v$, however small $v$
        is, and 0 where $v$ is replaced. Values below the smallest normal number of the
        dtype (1e-38 in float32) count as 0, because their derivative would overflow.

    For a power inside the logarithm, $\log_{10}(v^p)$, set `base=10 ** (1 / p)`.
    """

    scope: ClassVar[Scope] = "value"
    factor: Any
    eps: Any
    base: float | Literal["e"] = eqx.field(static=True)
    floor_mode: Literal["add", "clip", "replace"] = eqx.field(static=True)

    def __init__(
        self,
        factor: float | Float[Array, ""] = 1.0,
        eps: float | Float[Array, ""] = 1e-7,
        *,
        base: float | Literal["e"] = "e",
        floor_mode: Literal["add", "clip", "replace"] = "add",
    ) -> None:
        """**Arguments:**

        - `factor`: multiplies the spectrum before the logarithm. Positive.
        - `eps`: added to the scaled spectrum (`"add"`), or replaces values below it
            (`"clip"`), or replaces zeros (`"replace"`). Positive.
        - `base`: of the logarithm: `"e"`, or a number above 1.
        - `floor_mode`: `"add"`, `"clip"` or `"replace"`, see above.

        `factor` and `eps` may be scalar JAX arrays: they are then learnable.

        **Raises:** `ValueError` for a value outside these ranges.
        """
        self.factor = _positive("factor", factor)
        self.eps = _positive("eps", eps)
        self.base = _base(base)
        options = ("add", "clip", "replace")
        self.floor_mode = checks.one_of(_OWNER, "floor_mode", floor_mode, options)

    def apply(self, data: Spectra) -> Spectra:
        S = checks.scale_input(_OWNER, data.S, bins_last=True)
        factor = jnp.asarray(self.factor, S.dtype)
        eps, tiny = self.eps, float(jnp.finfo(S.dtype).tiny)
        if not checks.is_leaf(eps):
            # An eps too small for the dtype would otherwise be rounded to zero.
            eps = max(eps, tiny)
        eps = jnp.asarray(eps, S.dtype)
        v = lax.mul(S, factor)
        if self.floor_mode == "add":
            v = lax.add(v, eps)
        else:
            # Not `jnp.maximum`: NaN must stay NaN.
            v = jnp.where(v < (eps if self.floor_mode == "clip" else tiny), eps, v)
        logarithm = lax.log(v)
        if self.base != "e":
            scale = jnp.asarray(1 / math.log(self.base), S.dtype)
            logarithm = lax.mul(logarithm, scale)
        return data.holding(logarithm, v if target().keeps_source else None)


def _positive(argument: str, value: Any) -> Any:
    if checks.is_leaf(value):
        return positive_leaf(_OWNER, argument, value)
    return static_or_leaf(checks.positive(_OWNER, argument, value))


def _base(value: Any) -> Any:
    if isinstance(value, str) and value == "e":
        return "e"
    if isinstance(value, bool) or not isinstance(value, int | float):
        value = 0.0
    if not 1 < value < math.inf:
        checks.refuse(_OWNER, "base", "be 'e' or a number above 1", value)
    return value
