"""Optimal transport between two spectra on the same sorted positions."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from korvax_eqx._platform import Platform, target

from ._ranks import along_last
from ._transport_quantiles import any_order
from ._transport_ring import on_a_ring
from ._transport_scan import BLOCK, pad, prefix_sum, shift


def wasserstein_1d(
    u: Float[Array, "*batch n_bins"],
    v: Float[Array, "*batch n_bins"],
    positions: Float[Array | np.ndarray, " n_bins"],
    p: float | int,
    quantile_lowpass: bool = False,
    balanced: bool = False,
) -> Float[Array, "*batch"]:
    r"""Cost of moving the masses `u` to the masses `v`, `W_p^p`, without sorting.

    With `U`, `V` the cumulative masses, `Qu`, `Qv` their quantile functions and
    `x` the positions,

        W_p^p = \int |Qu(q) - Qv(q)|^p dq,    0 <= q <= max(U_n, V_n).

    Quantile functions are step functions, so the integral is a sum of pieces. A piece
    ends at each breakpoint. The piece that ends at `U_i` has the length
    `U_i - max(U_(i-1), V_(j-1))` and the cost `|x_i - x_j|^p`, with `x_j = Qv(U_i)`;
    likewise at each `V_j`. No piece is negative, nothing cancels, and equal spectra
    give exactly zero. For `p = 1` the integral along the other axis,
    `\sum_k |U_k - V_k| (x_(k+1) - x_k)`, needs no quantiles.

    The derivative moves a breakpoint between two neighbouring pieces,

        dW/dU_k = |x_k - Qv(U_k)|^p - |x_(k+1) - Qv(U_k)|^p,

    and `dW/du_i` is the sum of this over `k >= i`. Where breakpoints of `U` and `V`
    coincide, the one-sided derivatives differ; their mean, a subgradient, keeps nearly
    equal spectra from drifting. `W` is piecewise linear in `u` and `v`. Derivatives of
    any order and mode, including mixed ones with `positions`, are exact wherever they
    exist, and finite elsewhere: zero where `W = 0`.

    Quantiles beyond the smaller total lie at the last position, so missing mass counts
    as mass of the last bin. Totals that differ by rounding count as equal.

    Arguments:
        u: masses, non-negative, of any total, bins along the last axis.
        v: the other masses, of the same shape.
        positions: where the bins lie, ascending.
        p: the order, at least 1.
        quantile_lowpass: drop every piece that ends above the quantile 1.
        balanced: the totals are equal up to rounding, so no mass is missing, and
            derivatives are for changes that keep the totals equal. Masses are then
            also summed from the top, so that both tails keep their full relative
            precision: in a cumulative sum from one end, the rounding
            error at the other end may exceed the tail.

    Reference:
        F. Santambrogio, *Optimal Transport for Applied Mathematicians*,
        Proposition 2.17. Birkhäuser, 2015.
    """
    x = jnp.asarray(positions)
    return _wasserstein_1d(u, v, x, p, quantile_lowpass, balanced, target())


# Compiled here, with the functions of the loops inside: an eager loop over a new
# closure would compile at every call.
@partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _wasserstein_1d(
    u: Float[Array, "*batch n_bins"],
    v: Float[Array, "*batch n_bins"],
    x: Float[Array, " n_bins"],
    p: float | int,
    quantile_lowpass: bool,
    balanced: bool,
    platform: Platform,
) -> Float[Array, "*batch"]:
    """`wasserstein_1d`, traced anew for each platform."""
    most = platform.masses
    if p == 1 and not quantile_lowpass and not balanced:
        # This needs so little memory that pieces would not help.
        return _with_slopes(*_order_one(u, v, x, balanced), (u, v, x))
    if p == 1 and not quantile_lowpass:
        solve, most = partial(_order_one, x=x, balanced=balanced), most // 2
    else:
        options = {"quantile_lowpass": quantile_lowpass, "balanced": balanced}
        solve = partial(any_order, x=x, p=p, **options)
    # Padded here, where XLA fuses it with the operation that computes the masses.
    filled = (pad(a, -x.size % BLOCK) for a in (u, v))
    W, *slopes = _in_pieces(solve, most, *filled)
    return _with_slopes(W, *slopes, (u, v, x))


def circular_wasserstein_1d(
    u: Float[Array, "*batch n_bins"],
    v: Float[Array, "*batch n_bins"],
    positions: Float[Array | np.ndarray, " n_bins"],
    period: float | Array,
) -> Float[Array, "*batch"]:
    r"""Cost of moving `u` to `v` around a ring, `W_1`.

    With the cumulative masses `U`, `V` from any point of the ring and the arcs
    `w_k = x_(k+1) - x_k` (the last arc leads back to the first bin),

        W_1 = \min_a \sum_k w_k |U_k - V_k - a|.

    The minimum is at the level median, the median of `U_k - V_k` weighted by the arcs.
    The derivative is `\pm w_k` on either side of it. All derivatives must sum to zero,
    as shifting the level changes nothing, so the arcs at the median get the rest.

    Arguments:
        u: masses, non-negative, bins along the last axis.
        v: the other masses, of the same shape and totals.
        positions: where the bins lie, ascending, within one period.
        period: the length of the ring, in the unit of `positions`.

    Reference:
        J. Rabin, J. Delon, Y. Gousseau, "Transportation distances on the circle",
        *Journal of Mathematical Imaging and Vision* 41, 2011.
    """
    x = jnp.asarray(positions)
    period = jnp.asarray(period, x.dtype)
    return _circular_wasserstein_1d(u, v, x, period, target())


@partial(jax.jit, static_argnums=4)
def _circular_wasserstein_1d(
    u: Float[Array, "*batch n_bins"],
    v: Float[Array, "*batch n_bins"],
    x: Float[Array, " n_bins"],
    period: Float[Array, ""],
    platform: Platform,
) -> Float[Array, "*batch"]:
    """`circular_wasserstein_1d`, traced anew for each platform."""
    del platform
    return _with_slopes(*on_a_ring(u, v, x, period), (u, v, x))


def _in_pieces(solve: Any, most: int, u: Array, v: Array) -> list[Array]:
    """`solve` over all rows, in pieces of about `most` masses."""
    n = u.shape[-1]
    rows = u.reshape(-1, n), v.reshape(-1, n)
    n_rows = rows[0].shape[0]
    n_pieces = 1
    # A symbolic number of rows (`jax.export`) cannot be compared.
    if isinstance(n_rows, int):
        n_pieces = max(-(-n_rows * n // most), 1)
        even = (k for k in range(n_pieces, 2 * n_pieces) if n_rows % k == 0)
        n_pieces = next(even, n_pieces)
    if n_pieces == 1:
        solved = solve(*rows)
    else:
        pieces = [pad(a, -n_rows % n_pieces, 0).reshape(n_pieces, -1, n) for a in rows]
        solved = lax.map(lambda piece: solve(*piece), tuple(pieces))
        solved = [a.reshape(-1, *a.shape[2:])[:n_rows] for a in solved]
    return [a.reshape(*u.shape[:-1], *a.shape[1:]) for a in solved]


def _order_one(
    u: Float[Array, "*batch m"],
    v: Float[Array, "*batch m"],
    x: Float[Array, " n"],
    balanced: bool,
) -> tuple[Array, Array, Array, Array]:
    """`W_1` and its slopes: `sum_k |U_k - V_k| (x_(k+1) - x_k)`.

    `u` and `v` may have more bins than `x`: empty ones, which fill the last block.
    """
    n = x.size
    # Summing the difference costs half of summing both, and is more accurate.
    d = pad(u - v, -u.shape[-1] % BLOCK)
    D = prefix_sum(d)
    if balanced:
        # Rounding is relative to the sum so far: sum from the first bin to the largest
        # difference, and from the last bin beyond it. (0.999: XLA may round `d` twice.)
        size = jnp.abs(lax.stop_gradient(d))
        bins = lax.broadcasted_iota(jnp.int32, d.shape, d.ndim - 1)
        is_largest = size >= 0.999 * jnp.max(size, -1, keepdims=True)
        largest = jnp.min(jnp.where(is_largest, bins, d.shape[-1]), -1, keepdims=True)
        above = prefix_sum(d, reverse=True, own=False)
        D = jnp.where(bins < largest, D, -above)
    # The bins that fill the last block cost memory if all rows are computed at once, so
    # then they are cut off. In pieces, cutting them off would cost time.
    m = d.shape[-1] if balanced else n
    D, x = D[..., :m], jnp.pad(x, (0, m - n), mode="edge")
    width = along_last(shift(x, -1, x[-1]) - x, D)
    sign = jnp.sign(lax.stop_gradient(D))
    W = jnp.sum(lax.stop_gradient(sign * D * width), -1)
    if balanced:
        # Exactly zero for equal spectra, however XLA rounds `u - v`.
        W = jnp.where(jnp.all(u == v, -1), 0, W)
    G = pad(sign * width, -m % BLOCK)
    G = prefix_sum(G, reverse=True)[..., :n]
    is_inner = along_last(jnp.arange(n) < n - 1, D)
    gap = jnp.where(is_inner, (sign * D)[..., :n], 0)
    return W, G, -G, shift(gap, 1) - gap


@jax.custom_jvp
def _with_slopes(
    W: Float[Array, "*batch"],
    slope_u: Float[Array, "*batch n"],
    slope_v: Float[Array, "*batch n"],
    slope_x: Float[Array, "*batch n"],
    variables: tuple[Array, Array, Array],
) -> Float[Array, "*batch"]:
    """`W`, whose derivatives w.r.t. the `variables` are the given slopes.

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
            tangent = along_last(tangent, slope)
            out += jnp.sum(jnp.where(is_regular, slope, filler) * tangent, -1)
    return _with_slopes(*primals), out


_with_slopes.defjvp(_with_slopes_jvp, symbolic_zeros=True)
