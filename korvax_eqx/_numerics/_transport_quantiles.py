"""Transport of any order, by the quantile functions of both spectra."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from . import _transport_scan as scan

# Totals that agree within this many units of rounding are one total. Otherwise
# rounding decides whether the end of a spectrum counts as missing mass.
_TOTAL_ULPS = 16


class _Masses(NamedTuple):
    """The cumulative masses of rows, and what the other spectrum asks of them.

    They are compared by integer keys. A mass of at most half the total is counted from
    the bottom, one above it from the top: its key is by how much the bits of the mass
    fall short of those of the half, negative below and positive above. Bits ascend as
    the numbers do, so keys ascend as the quantiles do, and both tails keep the relative
    precision of floating point. Without a half all masses are counted from the bottom.
    """

    below: Float[Array, "rows n"]  # up to a bin, itself included
    above: Float[Array, "rows n"]  # beyond it
    key: Int[Array, "rows n"]
    first: Int[Array, "rows 1"]  # the first and the last bin with mass
    last: Int[Array, "rows 1"]
    previous_filled: Int[Array, "rows n"]  # the last bin with mass up to each
    next_filled: Int[Array, "rows n"]  # the first one after each


class _Facing(NamedTuple):
    """Where the breakpoints of one spectrum stand in the other."""

    before: Int[Array, "rows n"]  # how many breakpoints of the other come first
    after: Int[Array, "rows n"]  # the first one of the other that lies above
    bin: Int[Array, "rows n"]  # of the other, met by the piece that ends here
    left: Int[Array, "rows n"]  # just below the breakpoint
    right: Int[Array, "rows n"]  # just above it


def any_order(
    u: Float[Array, "rows n"],
    v: Float[Array, "rows n"],
    x: Float[Array, " n"],
    p: float | int,
    quantile_lowpass: bool,
    balanced: bool,
) -> tuple[Array, Array, Array, Array]:
    """`W_p^p` of each row, and its slopes to `u`, `v` and `x`."""
    n = x.size
    cost = _power(p)
    same = jnp.all(u == v, -1)
    nan = jnp.sum(jnp.where(jnp.isnan(u) | jnp.isnan(v), u + v, 0), -1)
    # Empty bins at the last position change nothing and fill the last block.
    u, v = (scan.pad(a, -n % scan.BLOCK) for a in (u, v))
    x = jnp.pad(x, (0, -n % scan.BLOCK), mode="edge")
    half = None
    if balanced and not quantile_lowpass:
        half = _bits(jnp.sum(lax.stop_gradient(u), -1, keepdims=True) / 2)
    U, V = _masses(u, half), _masses(v, half)
    at_u, at_v = _facing(U, V, balanced)
    # A total of 1 that rounding has moved is not above 1.
    limit = 1 + _slack(x)

    def lengths(A: _Masses, B: _Masses, at: _Facing, is_exact: bool) -> Array:
        """How long the piece is that each breakpoint of A ends.

        Exact in their derivatives, or with fewer look-ups.
        """
        empty = jnp.zeros_like(A.key[:, :1]) if half is None else -half
        own = jnp.concatenate([empty, A.key[:, :-1]], -1)
        other = jnp.where(at.before > 0, scan.take(B.key, at.before - 1), empty)
        key = jnp.maximum(own, other)

        def start(a: Array, b: Array, none: Array) -> Array:
            before = jnp.concatenate([none, a[:, :-1]], -1)
            facing = jnp.where(at.before > 0, scan.take(b, at.before - 1), none)
            return jnp.where(own >= other, before, facing)

        if is_exact:
            low = start(A.below, B.below, jnp.zeros_like(A.below[:, :1]))
            high = start(A.above, B.above, A.below[:, -1:])
        else:
            low = high = _from_key(key, half, A.below.dtype)
        length = A.below - low
        if half is not None:
            length = jnp.where(key > 0, high - A.above, length)
        # What was summed in blocks may decrease by a rounding: never count that.
        # Not by `maximum`, which would halve the derivative at bins without mass.
        length = jnp.where(length < 0, 0, length)
        return jnp.where(A.below > limit, 0, length) if quantile_lowpass else length

    def moved(A: _Masses, B: _Masses, at: _Facing) -> Array:
        A, B, fixed = lax.stop_gradient((A, B, x))
        away = cost(fixed - scan.look_up(fixed, at.bin))
        return lengths(A, B, at, is_exact=False) * away

    def slope(A: _Masses, B: _Masses, at: _Facing) -> Array:
        """The derivative to the mass of each bin, but for a constant if balanced."""
        upper = scan.shift(x, -1, x[-1])
        left, right = scan.look_up(x, at.left), scan.look_up(x, at.right)
        below = cost(x - left) + cost(x - right)
        above = cost(upper - left) + cost(upper - right)
        if quantile_lowpass:
            # The piece above is counted if either of its ends is within the limit.
            own_end = scan.shift(A.below, -1, 2 * limit) <= limit
            other_end = (scan.take(B.below, at.after) <= limit) & (at.after < x.size)
            is_counted = A.below <= limit
            above = jnp.where(is_counted & (own_end | other_end), above, 0)
            below = jnp.where(is_counted, below, 0)
        return (below - above) / 2

    def potentials(of_u: Array, of_v: Array) -> tuple[Array, Array]:
        """Sums of the slopes such that `W` is what they give for the masses."""
        if not balanced:
            # Zero at the last position, where missing mass lies.
            below_u = scan.prefix_sum(of_u, reverse=True)
            return below_u, scan.prefix_sum(of_v, reverse=True)
        # Their sum is the cost wherever mass goes from one bin to the other. Around
        # the median, so that the bulk of the mass has the smallest rounding.
        if half is None:
            at = U.last, V.last
        else:
            at = tuple(
                jnp.minimum(
                    jnp.sum(A.key <= 0, -1, keepdims=True, dtype=jnp.int32), A.last
                )
                for A in (U, V)
            )
        base = cost(scan.look_up(x, at[0]) - scan.look_up(x, at[1])) / 2
        if quantile_lowpass:
            base = jnp.where(U.below[:, -1:] > limit, 0, base)
        return scan.sum_around(of_u, at[0], base), scan.sum_around(of_v, at[1], base)

    def pull(A: _Masses, B: _Masses, at: _Facing) -> Array:
        d = x - scan.look_up(x, at.bin)
        _, rise = jax.jvp(cost, (d,), (jnp.ones_like(d),))
        force = lengths(A, B, at, is_exact=True) * rise
        force = force - scan.scatter_add(at.bin, force)
        # The bins of the padding are the last bin.
        return force[:, :n].at[:, -1].add(jnp.sum(force[:, n:], -1))

    W = jnp.sum(moved(U, V, at_u) + moved(V, U, at_v), -1)
    phi, psi = potentials(slope(U, V, at_u), slope(V, U, at_v))
    return (
        # Exactly zero on any device, however it rounds its sums.
        jnp.where(same, 0, W) + nan,
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
    """The mass that a key stands for, from the end that it was counted from."""
    bits = key if half is None else jnp.where(key > 0, half + 1 - key, half + key)
    return lax.bitcast_convert_type(bits, dtype)


def _masses(a: Float[Array, "rows n"], half: Int[Array, "rows 1"] | None) -> _Masses:
    n = a.shape[-1]
    below = scan.masses_below(a)
    key, above = _bits(lax.stop_gradient(below)), below
    empty = jnp.zeros_like(key[:, :1])
    if half is not None:
        above = scan.masses_above(a)
        from_top = half + 1 - jnp.minimum(_bits(lax.stop_gradient(above)), half)
        key, empty = jnp.where(key <= half, key - half, from_top), -half
    is_filled = key > jnp.concatenate([empty, key[:, :-1]], -1)
    # As cumulative sums, the bins before the first and the last one with mass.
    first, last = (
        jnp.sum(is_before, -1, keepdims=True, dtype=jnp.int32)
        for is_before in (key <= empty, key < key[:, -1:])
    )
    return _Masses(
        below,
        above,
        key,
        jnp.minimum(first, n - 1),
        jnp.minimum(last, n - 1),
        scan.previous_set(is_filled),
        scan.next_set(is_filled),
    )


def _facing(U: _Masses, V: _Masses, balanced: bool) -> tuple[_Facing, _Facing]:
    """Where each breakpoint of U stands in V, and each of V in U.

    Of breakpoints that meet, those of V come first.
    """
    n = U.key.shape[-1]
    count_u = scan.count_at_or_below(V.key, U.key)
    count_v = scan.count_below(count_u, U.below.dtype)

    def within(index: Array, B: _Masses) -> Array:
        """Mass is missing at the last position; balanced, none is missing."""
        return jnp.clip(index, B.first, B.last if balanced else n - 1)

    def end(index: Array, A: _Masses, B: _Masses) -> Array:
        """The piece that ends at both totals meets the last bin with mass."""
        if balanced:
            return index
        top, total = lax.stop_gradient((A.below, B.below[:, -1:]))
        is_end = (top >= total) & (top <= total * (1 + _slack(top))) & (total > 0)
        return jnp.where(is_end, B.last, index)

    right = within(count_u, V)
    met = end(right, U, V)
    meets = (count_u > 0) & (scan.take(V.key, count_u - 1) == U.key)
    left = jnp.where(meets, scan.take(V.previous_filled, count_u - 1), met)
    at_u = _Facing(count_u, count_u, met, jnp.maximum(left, V.first), right)

    left = end(within(count_v, U), V, U)
    meets = (count_v < n) & (scan.take(U.key, count_v) == V.key)
    after = jnp.where(meets, scan.take(U.next_filled, count_v), count_v)
    right = after
    if not balanced:
        # Above both totals all is missing.
        top, total = lax.stop_gradient((V.below, U.below[:, -1:]))
        right = jnp.where(top >= total, n, after)
    return at_u, _Facing(count_v, after, left, left, within(right, U))
