"""Compressing the magnitude of complex numbers by a power, keeping the phase."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Complex, Float

from ._safe import FloorMode, in_range, squared_magnitude


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def compressed(
    X: Complex[Array, "*dims"], power: float, floor: float, mode: FloorMode
) -> Complex[Array, "*dims"]:
    r"""Return $A^p e^{j\varphi}$ with the phase of $X$ and $A = \max(|X|,\sqrt f)$.

    With `mode="add"` it is $X (|X|^2 + f)^{(p - 1) / 2}$. No angle is computed: with
    $u = X/\sqrt{|X|^2}$, or $X/\sqrt{|X|^2+f}$, and the gain $g = A^{p-1}$ the
    derivative is $g\,(dX + (p - 1)\,u\,\mathrm{Re}(\bar u\,dX))$. It is 0 where the
    magnitude is raised to the floor and, without a floor, where the magnitude is 0.

    A squared magnitude below the smallest normal number (1e-38 in float32) counts as 0,
    with phase 0. One whose reciprocal is out of range gives NaN.
    """
    gain, _, _ = _gain(X, power, floor, mode)
    value = _times(X, gain)
    if mode == "add" or floor == 0:
        return value
    square, is_zero = _square(X)
    is_below = lax.lt(square, lax.full_like(square, floor))
    least = lax.full_like(square, floor ** (power / 2))
    # Below the floor the phasor has the floor's magnitude, and phase 0 at 0.
    unit = lax.rsqrt(lax.select(is_zero, lax.full_like(square, 1), square))
    phasor = _times(X, lax.mul(unit, least))
    phasor = jnp.where(is_zero, lax.complex(least, lax.full_like(least, 0)), phasor)
    return jnp.where(is_below, phasor, value)


@compressed.defjvp
def _compressed_jvp(power, floor, mode, primals, tangents):
    (X,), (dX,) = primals, tangents
    gain, inverse, is_flat = _gain(X, power, floor, mode)
    real, imag = lax.mul(lax.real(X), inverse), lax.mul(lax.imag(X), inverse)
    along = lax.add(lax.mul(real, lax.real(dX)), lax.mul(imag, lax.imag(dX)))
    along = lax.mul(along, lax.full_like(along, power - 1))
    gain = lax.select(is_flat, lax.full_like(gain, 0), gain)
    tangent = lax.complex(
        lax.mul(gain, lax.add(lax.real(dX), lax.mul(along, real))),
        lax.mul(gain, lax.add(lax.imag(dX), lax.mul(along, imag))),
    )
    return compressed(X, power, floor, mode), tangent


def _square(X: Complex[Array, "*dims"]) -> tuple[Float[Array, "*dims"], Array]:
    """Return the squared magnitude, and where it counts as 0."""
    square = in_range(squared_magnitude(X))
    tiny = lax.full_like(square, jnp.finfo(square.dtype).tiny)
    return square, lax.lt(square, tiny)


def _gain(
    X: Complex[Array, "*dims"], power: float, floor: float, mode: FloorMode
) -> tuple[Float[Array, "*dims"], Float[Array, "*dims"], Array]:
    """Return $A^{p-1}$, $1/A$, and where the derivative is 0."""
    square, is_flat = _square(X)
    if mode == "add" and floor > 0:
        square = lax.add(square, lax.full_like(square, floor))
        # A floor that underflows in the dtype has no effect.
        is_flat = lax.lt(square, lax.full_like(square, jnp.finfo(square.dtype).tiny))
    safe = lax.select(is_flat, lax.full_like(square, 1), square)
    gain = lax.pow(safe, lax.full_like(safe, (power - 1) / 2))
    gain = lax.select(is_flat, lax.full_like(gain, 0), gain)
    if mode == "clip" and floor > 0:
        is_flat = is_flat | lax.lt(square, lax.full_like(square, floor))
    return gain, lax.rsqrt(safe), is_flat


def _times(
    X: Complex[Array, "*dims"], scale: Float[Array, "*dims"]
) -> Complex[Array, "*dims"]:
    """Return `X` times a real array."""
    return lax.complex(lax.mul(lax.real(X), scale), lax.mul(lax.imag(X), scale))
