"""Magnitude, power and norm with a stated derivative where the formula has none.

Each function returns the textbook value. Where its derivative does not exist (at
zero) the derivative is defined as 0, which is a subgradient of the magnitude and of
the norm. The derivative rules call the same functions, so that higher derivatives
are finite too.

Written with `jax.lax`: operators of `jax.numpy` are traced again for every shape, which
took a third of the time to trace and compile a multi-resolution loss.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact


def reciprocal_or_zero(x: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    """Return `1 / x`, 0 where `x` is 0, and NaN where it is infinite.

    If a magnitude or a norm overflows, its derivative is unknown. A derivative of 0
    would look like a minimum.
    """
    is_zero = lax.eq(x, lax.full_like(x, 0))
    one = lax.full_like(x, 1)
    inverse = lax.div(one, lax.select(is_zero, one, x))
    inverse = lax.select(is_zero, lax.full_like(x, 0), inverse)
    return lax.select(_is_finite(x), inverse, lax.full_like(x, jnp.nan))


@jax.custom_jvp
def in_range(x: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    """Return `x`, and NaN where it is so large that its reciprocal is out of range.

    For denominators: dividing by infinity gives 0, a perfect score, and the derivative
    of a quotient by a sum near the largest number underflows to 0. The derivative of
    this function is 1 everywhere, so that where a quotient is NaN, its derivative is
    NaN too, not 0.
    """
    limits = jnp.finfo(x.dtype)
    # 2^10 is for the derivative, which divides the quotient, perhaps small, by `x`.
    most = 1 / (float(limits.tiny) * 2**10)
    is_large = lax.gt(lax.abs(x), lax.full_like(x, most))
    return lax.select(is_large, lax.full_like(x, jnp.nan), x)


@in_range.defjvp
def _in_range_jvp(primals, tangents):
    return in_range(*primals), tangents[0]


def squared_magnitude(X: Inexact[Array, "*dims"]) -> Float[Array, "*dims"]:
    r"""Return $|X|^2$."""
    if not jnp.iscomplexobj(X):
        return lax.square(X)
    return lax.add(lax.square(lax.real(X)), lax.square(lax.imag(X)))


@jax.custom_jvp
def difference(
    a: Inexact[Array, "*dims"],
    b: Inexact[Array, "*dims"],
    sources: tuple[Inexact[Array, "*dims"], Inexact[Array, "*dims"]] | None = None,
) -> Inexact[Array, "*dims"]:
    r"""Return $a - b$, and 0 for equal finite values.

    If an operand is a product, XLA may fuse it with the subtraction into one operation
    with one rounding, and the difference of equal values is not zero. The derivative
    ignores whether they are equal, which would have to be stored. Infinities do not
    count as equal: the difference of spectra that overflow is NaN.

    `sources` are what `a` and `b` were computed from, number by number. These are
    compared in their place, which then are read once: XLA for GPU fuses more.
    """
    p, q = (a, b) if sources is None else sources
    is_equal = lax.bitwise_and(lax.eq(p, q), _is_finite(p))
    return lax.select(is_equal, lax.full_like(a, 0), lax.sub(a, b))


def _is_finite(X: Inexact[Array, "*dims"]) -> Array:
    if not jnp.iscomplexobj(X):
        return lax.is_finite(X)
    return lax.bitwise_and(lax.is_finite(lax.real(X)), lax.is_finite(lax.imag(X)))


@difference.defjvp
def _difference_jvp(primals, tangents):
    return difference(*primals), lax.sub(*tangents[:2])


@jax.custom_jvp
def magnitude(X: Inexact[Array, "*dims"]) -> Float[Array, "*dims"]:
    r"""Return $|X|$, with derivative $\mathrm{Re}(\bar X\,dX)/|X|$, and 0 at 0.

    Complex magnitudes whose square underflows (below 1e-19 in float32) are 0.
    """
    return lax.sqrt(squared_magnitude(X)) if jnp.iscomplexobj(X) else lax.abs(X)


@magnitude.defjvp
def _magnitude_jvp(primals, tangents):
    (X,), (dX,) = primals, tangents
    m = magnitude(X)
    if not jnp.iscomplexobj(X):
        return m, lax.mul(lax.sign(X), dX)
    scale = reciprocal_or_zero(m)
    return m, _inner(X, dX, scale)


@jax.custom_jvp
def signed_magnitude(
    d: Float[Array, "*dims"], sign_of: Float[Array, "*dims"]
) -> Float[Array, "*dims"]:
    r"""Return $|d|$, given another number `sign_of` with the same sign as `d`.

    The derivative uses the sign of `sign_of`, so that it does not read `d`.
    """
    return lax.abs(d)


@signed_magnitude.defjvp
def _signed_magnitude_jvp(primals, tangents):
    (d, sign_of), (dd, _) = primals, tangents
    return signed_magnitude(d, sign_of), lax.mul(lax.sign(sign_of), dd)


def _inner(X: Array, dX: Array, scale: Array) -> Array:
    r"""Return $\mathrm{Re}(\bar X\,dX)$ times a real scale."""
    real = lax.mul(lax.mul(lax.real(X), scale), lax.real(dX))
    return lax.add(real, lax.mul(lax.mul(lax.imag(X), scale), lax.imag(dX)))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def magnitude_power(X: Inexact[Array, "*dims"], power: float) -> Float[Array, "*dims"]:
    r"""Return $|X|^p$, with derivative $p|X|^{p-2}\mathrm{Re}(\bar X\,dX)$, 0 at 0."""
    if power == 1:
        return magnitude(X)
    if power == 2:
        return squared_magnitude(X)
    return squared_magnitude(X) ** (power / 2)


@magnitude_power.defjvp
def _magnitude_power_jvp(power, primals, tangents):
    (X,), (dX,) = primals, tangents
    if power in (1, 2):
        function = magnitude if power == 1 else squared_magnitude
        return jax.jvp(function, (X,), (dX,))
    square = squared_magnitude(X)
    is_zero = square == 0
    value = jnp.where(is_zero, 0, square) ** (power / 2)
    slope = power * jnp.where(is_zero, 1, square) ** (power / 2 - 1)
    slope = jnp.where(is_zero, 0, slope)
    if not jnp.iscomplexobj(X):
        return value, slope * X * dX
    return value, _inner(X, dX, slope)


FloorMode = Literal["clip", "add"]


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def floored_power(
    X: Inexact[Array, "*dims"], power: float, floor: float, mode: FloorMode
) -> Float[Array, "*dims"]:
    r"""Return $\max(|X|^2, \epsilon)^{p/2}$, or $(|X|^2 + \epsilon)^{p/2}$ for `"add"`.

    With `"clip"` the derivative is 0 where $|X|^2 < \epsilon$. At equality it is the
    derivative of $|X|^p$, as for `torch.clamp` (`torch.maximum` gives half of it).
    """
    return _power(_floored(X, floor, mode)[0], power)


@floored_power.defjvp
def _floored_power_jvp(power, floor, mode, primals, tangents):
    (X,), (dX,) = primals, tangents
    square, is_clipped = _floored(X, floor, mode)
    value = _power(square, power)
    if power == 1:
        slope = reciprocal_or_zero(value)
    elif power == 2:
        slope = lax.full_like(square, 2)
    else:
        # A floor may underflow in the dtype: the derivative at 0 is still 0.
        is_zero = square == 0
        slope = power * jnp.where(is_zero, 1, square) ** (power / 2 - 1)
        slope = jnp.where(is_zero, 0, slope)
    if mode == "clip":
        slope = lax.select(is_clipped, lax.full_like(slope, 0), slope)
    if not jnp.iscomplexobj(X):
        return value, slope * X * dX
    return value, _inner(X, dX, slope)


def _floored(X: Array, floor: float, mode: FloorMode) -> tuple[Array, Array]:
    """Return the squared magnitude with its floor, and where it was below the floor."""
    square = squared_magnitude(X)
    least = lax.full_like(square, floor)
    is_below = lax.lt(square, least)
    if mode == "add":
        return lax.add(square, least), is_below
    return lax.select(is_below, least, square), is_below


def _power(square: Array, power: float) -> Array:
    if power == 1:
        return lax.sqrt(square)
    if power == 2:
        return square
    is_zero = square == 0
    return jnp.where(is_zero, 0, jnp.where(is_zero, 1, square) ** (power / 2))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def largest(
    x: Float[Array, "*dims"], axis: int | tuple[int, ...] | None
) -> Float[Array, "*kept"]:
    """Return the maximum over `axis`, keeping the axes; one entry gets the derivative.

    JAX's own rule divides by the number of entries that are equal to the maximum. This
    is 0 / 0 if XLA computes the entries a second time and rounds them differently,
    which depends on the device and its settings.
    """
    return jnp.max(x, axis, keepdims=True)


@largest.defjvp
def _largest_jvp(axis, primals, tangents):
    (x,), (dx,) = primals, tangents
    axes = (axis,) if isinstance(axis, int) else range(x.ndim) if axis is None else axis
    axes = tuple(sorted(a % x.ndim for a in axes))
    first = x.ndim - len(axes)

    def joined(a: Array) -> Array:
        """Merge the axes into the last one, so that one index gives the maximum."""
        a = jnp.moveaxis(a, axes, range(first, a.ndim))
        return jnp.reshape(a, (*a.shape[:first], -1))

    flat, tangent = joined(x), joined(dx)
    index = lax.argmax(lax.stop_gradient(flat), first, jnp.int32)[..., None]
    is_there = lax.broadcasted_iota(jnp.int32, flat.shape, first) == index
    value = largest(x, axis)
    tangent = jnp.sum(jnp.where(is_there, tangent, 0), axis=-1)
    return value, jnp.reshape(tangent, value.shape)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def norm(
    S: Inexact[Array, "*dims"], axis: int | tuple[int, ...]
) -> Float[Array, "*reduced"]:
    r"""Return $\|S\|_2$ over `axis`, with derivative $S/\|S\|_2$, and 0 at 0.

    Entries are divided by the largest one before squaring, so that the norm neither
    overflows nor underflows before its entries do.
    """
    m = magnitude(S)
    most = jnp.max(m, axis=axis, keepdims=True)
    ratio = m * reciprocal_or_zero(most)
    total = jnp.sqrt(jnp.sum(jnp.square(ratio), axis=axis))
    return jnp.squeeze(most, axis) * total


@norm.defjvp
def _norm_jvp(axis, primals, tangents):
    (S,), (dS,) = primals, tangents
    value = norm(S, axis)
    scale = jnp.expand_dims(reciprocal_or_zero(value), axis)
    direction = S * scale.astype(S.dtype)
    if not jnp.iscomplexobj(S):
        return value, jnp.sum(direction * dS, axis=axis)
    inner = direction.real * dS.real + direction.imag * dS.imag
    return value, jnp.sum(inner, axis=axis)
