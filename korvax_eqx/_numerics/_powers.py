"""Powers of real numbers with a stated derivative where the formula has none."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def is_negligible(x: Float[Array, "*dims"]) -> Array:
    """Whether a number is 0, or so small that its reciprocal may be out of range."""
    tiny = jnp.asarray(jnp.finfo(x.dtype).tiny, x.dtype)
    return lax.abs(x) < tiny


def real_power(x: Float[Array, "*dims"], exponent: Any) -> Float[Array, "*dims"]:
    r"""Return $x^p$ for a positive exponent, a number or a scalar array.

    For $p < 1$ the derivative $p\,x^{p-1}$ at 0 is defined as 0. Subnormal numbers then
    count as 0, as their derivative is out of range.
    """
    is_array = isinstance(exponent, jax.Array)
    if not is_array and exponent >= 1:
        return x if exponent == 1 else _power(x, exponent)
    is_zero = is_negligible(x)
    safe = jnp.where(is_zero, jnp.ones_like(x), x)
    return jnp.where(is_zero, jnp.zeros_like(x), _power(safe, exponent))


def root(x: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    r"""Return $\sqrt x$, with derivative 0 at 0."""
    return real_power(x, 0.5)


def _power(x: Float[Array, "*dims"], exponent: Any) -> Float[Array, "*dims"]:
    if not isinstance(exponent, jax.Array) and exponent in (0.5, 2):
        return lax.sqrt(x) if exponent == 0.5 else lax.square(x)
    exponent = jnp.asarray(exponent).astype(x.dtype)
    return lax.pow(x, jnp.broadcast_to(exponent, x.shape))
