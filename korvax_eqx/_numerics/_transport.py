"""Optimal transport between two spectra on the same sorted positions."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Int, Shaped

# Measured on CPU at 1025 bins: cumulative sums by blocks of 32 take a quarter of
# the time of `jnp.cumsum`; one comparison with 16 pivots replaces four steps of the
# binary search in the time of one; and above some 300 000 masses at a time the
# temporary buffers near malloc's 32 MB, above which page faults double the time.
_BLOCK = 32
_PIVOT_BITS = 4
_PIECE = 300_000
# Totals that agree within this many units of rounding are one total. Otherwise
# rounding decides whether the end of a spectrum counts as missing mass.
_TOTAL_ULPS = 16


def wasserstein_1d(
    u: Float[Array, "*batch n_bins"],
    v: Float[Array, "*batch n_bins"],
    positions: Float[Array | np.ndarray, " n_bins"],
    p: float | int,
    quantile_lowpass: bool = False,
) -> Float[Array, "*batch"]:
    r"""Cost of moving the masses `u` onto the masses `v`, `W_p^p`, without sorting.

    With `U`, `V` the cumulative masses, `Qu`, `Qv` their quantile functions and
    `x` the positions,

        W_p^p = \int |Qu(q) - Qv(q)|^p dq,    0 <= q <= max(U_n, V_n).

    Quantile functions are steps, so the integral is a sum of pieces. Each breakpoint
    ends one: `U_i` the piece of length `U_i - max(U_(i-1), V_(j-1))` and of cost
    `|x_i - x_j|^p`, with `x_j = Qv(U_i)`; each `V_j` likewise. No piece is negative,
    nothing cancels, and equal spectra give exactly zero. For `p = 1` the integral
    along the other axis, `\sum_k |U_k - V_k| (x_(k+1) - x_k)`, needs no quantiles.

    The derivative moves one breakpoint between the pieces at its two sides,

        dW/dU_k = |x_k - Qv(U_k)|^p - |x_(k+1) - Qv(U_k)|^p,

    and `dW/du` is the reversed cumulative sum of it. `W` is piecewise linear in `u`
    and `v`. Derivatives of any order and mode, mixed ones with `positions` included,
    are exact wherever they exist, and finite elsewhere: zero where `W = 0`.

    Quantiles beyond the lighter total lie at the last position, so missing mass
    counts as mass of the last bin. Totals that differ by rounding count as equal.

    Arguments:
        u: masses, non-negative, of any total, bins along the last axis.
        v: the other masses, of the same shape.
        positions: where the bins lie, ascending.
        p: the order, at least 1.
        quantile_lowpass: drop every piece that ends above the quantile 1.

    Reference:
        F. Santambrogio, *Optimal Transport for Applied Mathematicians*,
        Proposition 2.17. Birkhäuser, 2015.
    """
    x = jnp.asarray(positions)
    if p == 1 and not quantile_lowpass:
        return _with_slopes(*_order_one(u, v, x), (u, v, x))
    n = x.size
    rows = u.reshape(-1, n), v.reshape(-1, n)
    n_rows = rows[0].shape[0]
    n_pieces = max(-(-u.size // _PIECE), 1)
    even = (k for k in range(n_pieces, 2 * n_pieces) if n_rows % k == 0)
    n_pieces = next(even, n_pieces)

    def solve(rows: tuple[Array, Array]) -> tuple[Array, ...]:
        return _any_order(*rows, x, _power(p), quantile_lowpass)

    if n_pieces == 1:
        solved = solve(rows)
    else:
        pieces = [_pad(a, -n_rows % n_pieces, 0).reshape(n_pieces, -1, n) for a in rows]
        solved = lax.map(solve, tuple(pieces))
        solved = [a.reshape(-1, *a.shape[2:])[:n_rows] for a in solved]
    W, *slopes = (a.reshape(*u.shape[:-1], *a.shape[1:]) for a in solved)
    return _with_slopes(W, *slopes, (u, v, x))


def _any_order(
    u: Float[Array, "rows n"],
    v: Float[Array, "rows n"],
    x: Float[Array, " n"],
    cost: Callable[[Array], Array],
    quantile_lowpass: bool,
) -> tuple[Array, Array, Array, Array]:
    """`W_p^p` of each row, and its slopes to `u`, `v` and `x`."""
    n = x.size
    same = jnp.all(u == v, -1)
    # Empty bins at the last position change nothing and fill the last block.
    u, v = (_pad(a, -n % _BLOCK, 1) for a in (u, v))
    x = jnp.pad(x, (0, -n % _BLOCK), mode="edge")
    U, V = _prefix_sum(lax.stop_gradient(u)), _prefix_sum(lax.stop_gradient(v))
    count_u = _count_at_or_below(V, U)
    count_v = _count_below(count_u, U.dtype)
    at_u = _facing_bin(U, V, count_u)
    at_v = _facing_bin(V, U, count_v)
    # A total of 1 that rounding has moved is not above 1.
    limit = 1 + _slack(x)

    def lengths(A: Array, B: Array, count: Array) -> Array:
        # What was summed in blocks may decrease by a rounding: never count that.
        # Not by `maximum`, which would halve the derivative at bins without mass.
        start = jnp.maximum(_shift(A, 1), _take(B, count - 1, 0))
        length = jnp.where(A < start, 0, A - start)
        return jnp.where(A > limit, 0, length) if quantile_lowpass else length

    def slope(A: Array, B: Array, count: Array, at: Array) -> Array:
        y = _look_up(x, at)
        below, above = cost(x - y), cost(_shift(x, -1, x[-1]) - y)
        if quantile_lowpass:
            end = jnp.minimum(_shift(A, -1, jnp.inf), _take(B, count, jnp.inf))
            below = jnp.where(A > limit, 0, below)
            above = jnp.where((A > limit) | (end > limit), 0, above)
        # Where both leave one bin at once the slopes to the two sides are opposite;
        # their mean keeps nearly equal spectra from drifting.
        meet = (A == B) & (A > 0) & (A < B[:, -1:])
        return _prefix_sum(jnp.where(meet, 0, below - above), reverse=True)[:, :n]

    def pull(a: Array, b: Array, count: Array, at: Array) -> Array:
        d = x - _look_up(x, at)
        _, rise = jax.jvp(cost, (d,), (jnp.ones_like(d),))
        force = lengths(_prefix_sum(a), _prefix_sum(b), count) * rise
        force = force - _scatter_add(at, force)
        # The bins of the padding are the last bin.
        return force[:, :n].at[:, -1].add(jnp.sum(force[:, n:], -1))

    fixed = lax.stop_gradient(x)
    moved_u = lengths(U, V, count_u) * cost(fixed - _look_up(fixed, at_u))
    moved_v = lengths(V, U, count_v) * cost(fixed - _look_up(fixed, at_v))
    return (
        # Exactly zero on any device, however it rounds its sums.
        jnp.where(same, 0, jnp.sum(moved_u + moved_v, -1)),
        slope(U, V, count_u, at_u),
        slope(V, U, count_v, at_v),
        pull(u, v, count_u, at_u) + pull(v, u, count_v, at_v),
    )


def _order_one(
    u: Float[Array, "*batch n"], v: Float[Array, "*batch n"], x: Float[Array, " n"]
) -> tuple[Array, Array, Array, Array]:
    """`W_1` and its slopes: `sum_k |U_k - V_k| (x_(k+1) - x_k)`."""
    n = x.size
    # Summing the difference costs half of summing both, and is more accurate.
    D = _prefix_sum(_pad(u - v, -n % _BLOCK, u.ndim - 1))[..., :n]
    width = _shift(x, -1, x[-1]) - x
    sign = jnp.sign(lax.stop_gradient(D))
    W = jnp.sum(lax.stop_gradient(sign * D * width), -1)
    G = _pad(sign * width, -n % _BLOCK, u.ndim - 1)
    G = _prefix_sum(G, reverse=True)[..., :n]
    gap = jnp.where(jnp.arange(n) < n - 1, sign * D, 0)
    return W, G, -G, _shift(gap, 1) - gap


@jax.custom_jvp
def _with_slopes(
    W: Float[Array, "*batch"],
    slope_u: Float[Array, "*batch n"],
    slope_v: Float[Array, "*batch n"],
    slope_x: Float[Array, "*batch n"],
    variables: tuple[Array, Array, Array],
) -> Float[Array, "*batch"]:
    """`W`, whose derivatives to the `variables` are the slopes given.

    The slopes are ordinary arrays: differentiating them gives the higher derivatives.
    """
    return W


def _with_slopes_jvp(
    primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Array, Array]:
    W, *slopes, _ = primals
    out = jnp.zeros_like(W)
    # Zero at the minimum. NaN is passed on: a finite derivative would hide it.
    filler = jnp.where(jnp.isnan(W), W, 0)[..., None]
    is_regular = (W > 0)[..., None]
    for slope, tangent in zip(slopes, tangents[-1], strict=True):
        if not isinstance(tangent, SymbolicZero):
            out += jnp.sum(jnp.where(is_regular, slope, filler) * tangent, -1)
    return _with_slopes(*primals), out


_with_slopes.defjvp(_with_slopes_jvp, symbolic_zeros=True)


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


def _pad(a: Array, n: int, axis: int) -> Array:
    widths = [(0, 0)] * a.ndim
    widths[axis] = (0, n)
    return jnp.pad(a, widths)


def _shift(a: Array, by: int, fill: Any = 0) -> Array:
    """Elements moved by +1 or -1 along the last axis."""
    end = jnp.broadcast_to(jnp.asarray(fill, a.dtype), a[..., :1].shape)
    parts = [end, a[..., :-1]] if by > 0 else [a[..., 1:], end]
    return jnp.concatenate(parts, -1)


def _look_up(a: Shaped[Array, " n"], index: Array) -> Array:
    return a.at[index].get(mode="promise_in_bounds")


def _take(a: Array, index: Array, fill: float | int) -> Array:
    """`a[index]` in each row, and `fill` beyond either end."""
    n = a.shape[-1]
    inside = jnp.clip(index, 0, n - 1)
    value = jnp.take_along_axis(a, inside, -1, mode="promise_in_bounds")
    return jnp.where(index == inside, value, fill)


def _prefix_sum(
    a: Float[Array, "*batch n"], reverse: bool = False
) -> Float[Array, "*batch n"]:
    """Cumulative sum along the last axis, a whole number of blocks, by products."""
    blocks = a.reshape(*a.shape[:-1], -1, _BLOCK)

    def sums(b: Array, k: int) -> Array:
        ones = jnp.ones((b.shape[-1],) * 2, a.dtype)
        triangle = jnp.tril(ones, -k) if reverse else jnp.triu(ones, k)
        # The highest precision: accelerators round the factors otherwise.
        return jnp.matmul(b, triangle, precision=lax.Precision.HIGHEST)

    within = sums(blocks, 0)
    before = sums(within[..., 0 if reverse else -1], 1)
    return (within + before[..., None]).reshape(a.shape)


def _count_at_or_below(
    a: Float[Array, "rows n"], q: Float[Array, "rows m"]
) -> Int[Array, "rows m"]:
    """How many elements of the ascending `a` are at or below each `q`."""
    n = a.shape[-1]
    n_steps = max(n.bit_length() - _PIVOT_BITS - 1, 0)
    pivots = a[:, (1 << n_steps) - 1 :: 1 << n_steps]
    passed = pivots[:, None, :] <= q[:, :, None]
    start = jnp.sum(passed, -1, dtype=jnp.int32) << n_steps

    # A loop, because XLA fuses unrolled steps and then repeats their work.
    def step(k: Array, count: Array) -> Array:
        larger = count + (jnp.int32(1 << n_steps >> 1) >> k)
        value = _take(a, larger - 1, jnp.nan)  # Not passed, even by infinity.
        return jnp.where(value <= q, larger, count)

    return lax.fori_loop(jnp.int32(0), jnp.int32(n_steps), step, start)


def _count_below(count: Int[Array, "rows n"], dtype: jnp.dtype) -> Int[Array, "rows n"]:
    """The same counts seen from the other side: `U_i < V_j` unless `V_j <= U_i`."""
    # In floating point, exact below 2^24, for the fast cumulative sum.
    histogram = _scatter_add(count, jnp.ones(count.shape, dtype))
    return _prefix_sum(histogram).astype(jnp.int32)


def _scatter_add(
    index: Int[Array, "rows n"], values: Float[Array, "rows n"]
) -> Float[Array, "rows n"]:
    """Each row's `values` added up by their `index` in `0..n`; `n` is dropped."""
    n_rows, n = index.shape
    flat = index + jnp.arange(n_rows, dtype=jnp.int32)[:, None] * (n + 1)
    out = jnp.zeros(n_rows * (n + 1), values.dtype)
    out = out.at[flat.reshape(-1)].add(values.reshape(-1), mode="promise_in_bounds")
    return out.reshape(n_rows, n + 1)[:, :n]


def _facing_bin(
    A: Float[Array, "rows n"], B: Float[Array, "rows n"], count: Array
) -> Int[Array, "rows n"]:
    """The bin that holds the quantile function of `B` at each breakpoint of `A`."""
    total = B[:, -1:]
    edges = jnp.concatenate(
        [jnp.zeros_like(total), jnp.nextafter(total, jnp.zeros_like(total))], -1
    )
    # At 0 the first bin with mass, not the first bin; at the total the last one.
    edges = _count_at_or_below(B, edges)
    ends = (A >= total) & (A <= total * (1 + _slack(A))) & (total > 0)
    index = jnp.where(ends, edges[:, 1:], jnp.maximum(count, edges[:, :1]))
    return jnp.minimum(index, B.shape[-1] - 1)
