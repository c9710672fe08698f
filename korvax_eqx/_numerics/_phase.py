"""The phase of complex numbers, with a derivative that is finite at zero."""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Complex, Float

from korvax_eqx._numerics._safe import (
    in_range,
    reciprocal_or_zero,
    squared_magnitude,
)


@jax.custom_jvp
def phase(X: Complex[Array, "*dims"]) -> Float[Array, "*dims"]:
    r"""Return $\arg X$ in $(-\pi, \pi]$; its derivative is $\mathrm{Im}(dX / X)$.

    At 0 the phase and its derivative are 0. The derivative is also 0 where the square
    of the magnitude underflows (below 1e-19 in float32), and NaN where it overflows.
    The sign of a zero is ignored: the phase of a negative real number is $\pi$, whether
    its imaginary part is 0 or -0.
    """
    return lax.atan2(_unsigned(lax.imag(X)), _unsigned(lax.real(X)))


@phase.defjvp
def _phase_jvp(primals, tangents):
    (X,), (dX,) = primals, tangents
    scale = reciprocal_or_zero(in_range(squared_magnitude(X)))
    re, im = lax.real(X) * scale, lax.imag(X) * scale
    return phase(X), re * lax.imag(dX) - im * lax.real(dX)


def wrapped(angle: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    r"""Return the angle nearest to 0 that differs by whole turns."""
    return angle - 2 * math.pi * jnp.round(angle / (2 * math.pi))


def _unsigned(x: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    # Not `x + 0`, which XLA replaces by `x`, keeping the sign of a zero.
    return jnp.where(x == 0, jnp.zeros_like(x), x)
