"""Transport of any order, by the quantile functions of both spectra."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from . import _transport_scan as scan

# Totals that agree within this many units in the last place count as equal. Otherwise
# rounding would decide whether there is missing mass at the end of a spectrum.
_TOTAL_ULPS = 16


class _Masses(NamedTuple):
    """The cumulative masses of rows, and what is derived from them.

    They are compared by integer keys. Mass up to half the total is counted from the
    bottom, mass above it from the top. The key is the difference between the bits of
    the mass and those of the half, negative below the half and positive above. Bits
    ascend with the numbers, so keys ascend with the quantiles, and both tails keep the
    relative precision of floating point. Without a half, all masses are counted from
    the bottom.
    """

    below: Float[Array, "rows n"]  # up to and including a bin
    above: Float[Array, "rows n"]  # beyond it
    key: Int[Array, "rows n"]
    first: Int[Array, "rows 1"]  # the first and the last bin with mass
    last: Int[Array, "rows 1"]
    is_filled: Bool[Array, "rows n"]


class _Facing(NamedTuple):
    """Where the breakpoints of one spectrum lie among those of the other."""

    before: Int[Array, "rows n"]  # how many breakpoints of the other lie below
    after: Int[Array, "rows n"]  # the first breakpoint of the other above
    bin: Int[Array, "rows n"]  # the other's bin for the piece that ends here
    left: Int[Array, "rows n"]  # the other's bin just below the breakpoint
    right: Int[Array, "rows n"]  # the other's bin just above it


def any_order(
    u: Float[Array, "rows n"],
    v: Float[Array, "rows n"],
    x: Float[Array, " n_bins"],
    p: float | int,
    quantile_lowpass: bool,
    balanced: bool,
) -> tuple[Array, Array, Array, Array]:
    """`W_p^p` of each row, and its derivatives with respect to `u`, `v` and `x`."""
    n = x.size
    cost = _power(p)
    same = jnp.all(u == v, -1)
    # Empty bins at the last position change nothing and fill the last block.
    u, v = (scan.pad(a, -a.shape[-1] % scan.BLOCK) for a in (u, v))
    x = jnp.pad(x, (0, -n % scan.BLOCK), mode="edge")
    positions = x[None]
    below_u, above_u, total_u = scan.masses(u)
    below_v, above_v, total_v = scan.masses(v)
    half = None
    if balanced and not quantile_lowpass:
        half = _bits(lax.stop_gradient(total_u) / 2)
    U, V = _masses(below_u, above_u, half), _masses(below_v, above_v, half)
    at_u, at_v = _facing(U, V, balanced)
    total = lax.stop_gradient(total_u + total_v)
    nan = jnp.where(jnp.isnan(total), total, 0)
    # A total of 1 must not count as above 1 because of rounding.
    limit = 1 + _slack(x)

    def mass(A: _Masses) -> Array:
        """The mass from the bottom, read from the key: XLA would repeat the sum."""
        return _from_key(A.key, None, x.dtype)

    def counted(length: Array, A: _Masses) -> Array:
        # Sums by blocks may decrease by rounding, and a length must not be negative.
        # Not `maximum`, which would halve the derivative at bins without mass.
        length = jnp.where(length < 0, 0, length)
        return jnp.where(mass(A) > limit, 0, length) if quantile_lowpass else length

    def starts(A: _Masses, B: _Masses, at: _Facing) -> tuple[Array, Array]:
        """The last breakpoint of A, and of B, before each breakpoint of A."""
        empty = jnp.zeros_like(A.key[:, :1]) if half is None else -half
        # Before A's first breakpoint, the least integer: B's is at least `empty`.
        least = jnp.iinfo(A.key.dtype).min
        own = jnp.pad(A.key[:, :-1], ((0, 0), (1, 0)), constant_values=least)
        return own, jnp.where(at.before > 0, scan.take(B.key, at.before - 1), empty)

    def moved(A: _Masses, B: _Masses, at: _Facing) -> Array:
        """The cost of the piece that ends at each breakpoint of A."""
        A, B, fixed = lax.stop_gradient((A, B, x))
        start = jnp.maximum(*starts(A, B, at))
        low, high = (_from_key(key, half, fixed.dtype) for key in (start, A.key))
        length = high - low
        if half is not None:
            middle = _from_key(half, None, fixed.dtype)
            across = (middle - low) + (middle - high)
            length = jnp.where(start > 0, -length, jnp.where(A.key > 0, across, length))
        return counted(length, A) * cost(fixed[None] - scan.look_up(fixed, at.bin))

    def lengths(A: _Masses, B: _Masses, at: _Facing) -> Array:
        """The length of each piece with exact derivatives, by more look-ups."""
        own, other = starts(A, B, at)

        def start(a: Array, b: Array, none: Array) -> Array:
            facing = jnp.where(at.before > 0, scan.take(b, at.before - 1), none)
            return jnp.where(own >= other, scan.shift(a, 1, none), facing)

        length = A.below - start(A.below, B.below, jnp.zeros_like(A.below[:, :1]))
        if half is not None:
            from_top = start(A.above, B.above, A.below[:, -1:]) - A.above
            length = jnp.where(jnp.maximum(own, other) > 0, from_top, length)
        return counted(length, A)

    def slope(A: _Masses, B: _Masses, at: _Facing) -> Array:
        """The derivative w.r.t. each cumulative mass; if balanced, up to a constant."""
        upper = scan.shift(positions, -1, x[-1])
        left, right = scan.look_up(x, at.left), scan.look_up(x, at.right)
        below = cost(positions - left) + cost(positions - right)
        above = cost(upper - left) + cost(upper - right)
        if quantile_lowpass:
            # The piece above is counted if either of its ends is within the limit.
            own_end = scan.shift(mass(A), -1, 2 * limit) <= limit
            other_end = (scan.take(mass(B), at.after) <= limit) & (at.after < x.size)
            is_counted = mass(A) <= limit
            above = jnp.where(is_counted & (own_end | other_end), above, 0)
            below = jnp.where(is_counted, below, 0)
        return (below - above) / 2

    def potentials(of_u: Array, of_v: Array) -> tuple[Array, Array]:
        """Sums of the slopes whose inner products with the masses add up to `W`."""
        if not balanced:
            # Zero at the last position, where missing mass counts.
            below_u = scan.prefix_sum(of_u, reverse=True)
            return below_u, scan.prefix_sum(of_v, reverse=True)
        # Where mass moves between two bins, their potentials add up to the cost of the
        # move. Summing from the median rounds least where most of the mass is.
        if half is None:
            at = U.last, V.last
        else:
            at = tuple(jnp.minimum(scan.count_set(A.key <= 0), A.last) for A in (U, V))
        base = cost(scan.look_up(x, at[0]) - scan.look_up(x, at[1])) / 2
        if quantile_lowpass:
            base = jnp.where(U.below[:, -1:] > limit, 0, base)
        return scan.sum_around(of_u, at[0], base), scan.sum_around(of_v, at[1], base)

    def pull(A: _Masses, B: _Masses, at: _Facing) -> Array:
        d = positions - scan.look_up(x, at.bin)
        _, rise = jax.jvp(cost, (d,), (jnp.ones_like(d),))
        force = lengths(A, B, at) * rise
        force = force - scan.scatter_add(at.bin, force)
        # Padding bins lie at the position of the last bin.
        return force[:, :n].at[:, -1].add(jnp.sum(force[:, n:], -1))

    W = jnp.sum(moved(U, V, at_u) + moved(V, U, at_v), -1)
    phi, psi = potentials(slope(U, V, at_u), slope(V, U, at_v))
    return (
        # Exactly zero for equal spectra, however the device rounds its sums.
        jnp.where(same, 0, W) + nan[:, 0],
        phi[:, :n],
        psi[:, :n],
        pull(U, V, at_u) + pull(V, U, at_v),
    )


def _power(p: float | int) -> Callable[[Array], Array]:
    """`|d|^p`, with derivatives that are zero where they would be infinite."""
    if p == 2:
        return jnp.square
    if p == 1:
        return jnp.abs

    def power(d: Array) -> Array:
        safe = jnp.where(d == 0, 1, jnp.abs(d))
        return jnp.where(d == 0, 0, safe ** (int(p) if p == int(p) else p))

    return power


def _slack(a: Array) -> float:
    return _TOTAL_ULPS * float(jnp.finfo(a.dtype).eps)


def _bits(a: Float[Array, "rows n"]) -> Int[Array, "rows n"]:
    """The bits of masses as integers, which ascend as the masses do."""
    return lax.bitcast_convert_type(jnp.abs(a), jnp.dtype(f"int{8 * a.dtype.itemsize}"))


def _from_key(
    key: Int[Array, "rows n"], half: Int[Array, "rows 1"] | None, dtype: jnp.dtype
) -> Float[Array, "rows n"]:
    """The mass that a key stands for, counted from the nearer end."""
    bits = key if half is None else jnp.where(key > 0, half + 1 - key, half + key)
    return lax.bitcast_convert_type(bits, dtype)


def _masses(
    below: Float[Array, "rows n"],
    above: Float[Array, "rows n"],
    half: Int[Array, "rows 1"] | None,
) -> _Masses:
    n = below.shape[-1]
    key = _bits(lax.stop_gradient(below))
    if half is None:
        key, empty = scan.stored(key), jnp.zeros_like(key[:, :1])
    else:
        from_top = half + 1 - jnp.minimum(_bits(lax.stop_gradient(above)), half)
        key, empty = jnp.where(key <= half, key - half, from_top), -half
    # From cumulative sums: how many bins precede the first and the last bin with mass.
    first, last = scan.count_set(key <= empty), scan.count_set(key < key[:, -1:])
    is_filled = key > jnp.concatenate([empty, key[:, :-1]], -1)
    first, last = jnp.minimum(first, n - 1), jnp.minimum(last, n - 1)
    return _Masses(below, above, key, first, last, is_filled)


def _facing(U: _Masses, V: _Masses, balanced: bool) -> tuple[_Facing, _Facing]:
    """Where each breakpoint of U lies among those of V, and the reverse.

    If breakpoints coincide, V's come first.
    """
    n = U.key.shape[-1]
    count_u = scan.count_at_or_below(V.key, U.key)
    count_v = scan.stored(scan.count_below(count_u, U.below.dtype))

    def within(index: Array, B: _Masses) -> Array:
        """Clip to bins with mass. Unless balanced, missing mass is at the last bin."""
        return jnp.clip(index, B.first, B.last if balanced else n - 1)

    def end(index: Array, A: _Masses, B: _Masses) -> Array:
        """If totals are equal, the last piece belongs to the last bin with mass."""
        if balanced:
            return index
        top, total = (_from_key(a, None, A.below.dtype) for a in (A.key, B.key[:, -1:]))
        is_end = (top >= total) & (top <= total * (1 + _slack(top))) & (total > 0)
        return jnp.where(is_end, B.last, index)

    right = within(count_u, V)
    met = end(right, U, V)
    meets = (count_u > 0) & (scan.take(V.key, count_u - 1) == U.key)
    left = jnp.where(meets, scan.take(scan.previous_set(V.is_filled), count_u - 1), met)
    at_u = _Facing(count_u, count_u, met, jnp.maximum(left, V.first), right)

    left = end(within(count_v, U), V, U)
    meets = (count_v < n) & (scan.take(U.key, count_v) == V.key)
    after = jnp.where(meets, scan.take(scan.next_set(U.is_filled), count_v), count_v)
    right = after
    if not balanced:
        # From U's total on, U's mass is missing.
        right = jnp.where(V.key >= U.key[:, -1:], n, after)
    return at_u, _Facing(count_v, after, left, left, within(right, U))
