"""Quotients of non-negative numbers, also where the denominator is zero."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_jvp
def quotient(
    a: Float[Array, "*#dims"], b: Float[Array, "*#dims"]
) -> Float[Array, "..."]:
    r"""Return $a / b$, with derivative $(da - (a / b)\,db) / b$.

    The usual rule has the square of $b$, which in float32 is out of range from 1e19 on:
    the derivative would silently be 0, or infinite.
    """
    return a / b


@quotient.defjvp
def _quotient_jvp(primals, tangents):
    (a, b), (da, db) = primals, tangents
    value = quotient(a, b)
    return value, (da - value * db) / b


def ratio(
    a: Float[Array, "*dims"], b: Float[Array, "*dims"], eps: float | None
) -> Float[Array, "*dims"]:
    r"""Return $a / (b + \epsilon)$.

    **Arguments:**

    - `eps`: `None` is the machine epsilon of the dtype. With 0, and any number that is
        0 in the dtype, a denominator of 0 is replaced by the machine epsilon.
    """
    limits = jnp.finfo(b.dtype)
    b = b + jnp.asarray(limits.eps if eps is None else eps, b.dtype)
    if eps is None or eps >= limits.tiny:
        return quotient(a, b)
    return quotient(a, jnp.where(b < limits.tiny, jnp.asarray(limits.eps, b.dtype), b))
