"""Quotients of non-negative numbers, also where the denominator is zero."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._powers import is_negligible
from ._safe import in_range


@jax.custom_jvp
def quotient(
    a: Float[Array, "*#dims"], b: Float[Array, "*#dims"]
) -> Float[Array, "..."]:
    r"""Return $a / b$, with derivative $(da - (a / b)\,db) / b$.

    The usual rule contains the square of $b$, which overflows in float32 from 1e19 on:
    the derivative would silently be 0, or infinite. Where $b$ is so large that its
    reciprocal is out of range (1e35), the quotient is NaN, not 0.
    """
    return a / in_range(b)


@quotient.defjvp
def _quotient_jvp(primals, tangents):
    (a, b), (da, db) = primals, tangents
    value = quotient(a, b)
    return value, (da - value * db) / in_range(b)


def ratio(
    a: Float[Array, "*dims"], b: Float[Array, "*dims"], eps: float | None
) -> Float[Array, "*dims"]:
    r"""Return $a / (b + \epsilon)$.

    **Arguments:**

    - `eps`: `None` is the machine epsilon of the dtype. If it is 0, or rounds to 0 in
        the dtype, a denominator of 0 is replaced by the machine epsilon.
    """
    limits = jnp.finfo(b.dtype)
    b = b + jnp.asarray(limits.eps if eps is None else eps, b.dtype)
    if eps is None or eps >= limits.tiny:
        return quotient(a, b)
    return quotient(a, jnp.where(b < limits.tiny, jnp.asarray(limits.eps, b.dtype), b))


def squared_ratio(
    a: Float[Array, "*dims"], b: Float[Array, "*dims"]
) -> Float[Array, "*dims"]:
    r"""Return $a^2 / b^2$ of two norms, whose squares may be out of range.

    For $b = 0$ it is $a^2$ divided by the machine epsilon of the dtype.
    """
    eps = jnp.asarray(jnp.finfo(b.dtype).eps ** 0.5, b.dtype)
    return jnp.square(quotient(a, jnp.where(is_negligible(b), eps, b)))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def quotient_at_most(
    a: Float[Array, "*#dims"], b: Float[Array, "*#dims"], most: float
) -> Float[Array, "..."]:
    """Return `quotient(a, b)`, at most `most`, with derivative 0 above. NaN stays."""
    value = a / in_range(b)
    return jnp.where(value > most, most, value)


@quotient_at_most.defjvp
def _quotient_at_most_jvp(most, primals, tangents):
    (a, b), (da, db) = primals, tangents
    value = quotient_at_most(a, b, most)
    slope = (da - value * db) / in_range(b)
    return value, jnp.where(value >= most, 0, slope)
