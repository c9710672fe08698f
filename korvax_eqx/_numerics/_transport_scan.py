"""Cumulative sums and searches along rows, which XLA makes fast on CPU.

At 1025 bins, cumulative sums by blocks of 32 take a quarter of the time of
`jnp.cumsum`. One comparison with 16 pivots replaces four steps of a binary search, and
takes as long as one step.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num, Shaped

from korvax_eqx._platform import target

BLOCK = 32
_PIVOT_BITS = 4


def pad(a: Array, n: int, axis: int = -1) -> Array:
    """Append `n` zeros."""
    widths = [(0, 0)] * a.ndim
    widths[axis] = (0, n)
    return jnp.pad(a, widths)


def shift(a: Array, by: int, fill: Any = 0) -> Array:
    """Return `a` shifted by +1 or -1 along the last axis."""
    end = jnp.broadcast_to(jnp.asarray(fill, a.dtype), a[..., :1].shape)
    parts = [end, a[..., :-1]] if by > 0 else [a[..., 1:], end]
    return jnp.concatenate(parts, -1)


def look_up(a: Shaped[Array, " n"], index: Int[Array, "*m"]) -> Shaped[Array, "*m"]:
    """`a[index]` for a vector `a`."""
    numbers = lax.GatherDimensionNumbers((), (0,), (0,))
    # Not with `a.at`, which spends time on handling negative indices.
    return lax.gather(a, index[..., None], numbers, (1,), mode="promise_in_bounds")


def take(
    a: Shaped[Array, "rows n"], index: Int[Array, "rows m"]
) -> Shaped[Array, "rows m"]:
    """`a[index]` in each row, with indices clipped to the valid range."""
    n_rows, n = a.shape
    first = n * jnp.arange(n_rows, dtype=jnp.int32)[:, None]
    return look_up(a.reshape(-1), first + jnp.clip(index, 0, n - 1))


def stored(a: Shaped[Array, "rows n"]) -> Shaped[Array, "rows n"]:
    """`a`, written to memory once.

    XLA repeats cheap operations in all loops that read their result, and these loops
    then do not vectorise, which doubles the time. It does not repeat a scatter.
    """
    rows = jnp.arange(a.shape[0], dtype=jnp.int32)
    options = {"mode": "promise_in_bounds", "unique_indices": True}
    return jnp.zeros_like(a).at[rows].set(a, indices_are_sorted=True, **options)


def prefix_sum(
    a: Float[Array, "*batch n"], reverse: bool = False, own: bool = True
) -> Float[Array, "*batch n"]:
    """Cumulative sum along the last axis, whose length is a multiple of `BLOCK`.

    With `reverse` it runs from the end. Without `own`, the element itself is left out.
    """
    if not target().sums_in_blocks:
        whole = lax.cumsum(a, a.ndim - 1, reverse)
        return whole if own else shift(whole, -1 if reverse else 1)
    blocks = a.reshape(*a.shape[:-1], -1, BLOCK)

    def sums(b: Array, k: int) -> Array:
        ones = jnp.ones((b.shape[-1],) * 2, a.dtype)
        return _matmul(b, jnp.tril(ones, -k) if reverse else jnp.triu(ones, k))

    within = sums(blocks, 0 if own else 1)
    total = within[..., 0 if reverse else -1]
    if not own:
        total += blocks[..., 0 if reverse else -1]
    return (within + sums(total, 1)[..., None]).reshape(a.shape)


def masses(a: Float[Array, "rows n"]) -> tuple[Array, Array, Array]:
    """The mass up to and including each element, the mass beyond it, and the total.

    Along a row, the first never decreases and the second never increases, not even by
    rounding, and both are constant where there is no mass. Within a block this holds if
    a product rounds all columns alike: then adding mass never makes a sum smaller.
    """
    blocks = a.reshape(a.shape[0], -1, BLOCK)
    ones = jnp.ones((BLOCK, BLOCK), a.dtype)
    within = _matmul(blocks, jnp.triu(ones)), _matmul(blocks, jnp.tril(ones, -1))
    total = within[0][..., -1]
    ones = jnp.ones((total.shape[-1],) * 2, a.dtype)

    def sums(within: Array, before: Array, ends: Array) -> Array:
        exact = within + _matmul(total, before)[..., None]
        # A block must end where the next one starts, however both are rounded. This
        # corrects a rounding error, and has no derivative.
        end = _matmul(total, ends)[..., None]
        met = jnp.where((within == total[..., None]) | (exact > end), end, exact)
        return (exact + lax.stop_gradient(met - exact)).reshape(a.shape)

    below = sums(within[0], jnp.triu(ones, 1), jnp.triu(ones))
    above = sums(within[1], jnp.tril(ones, -1), jnp.tril(ones))
    return below, above, jnp.sum(total, -1, keepdims=True)


def sum_around(
    a: Float[Array, "rows n"], at: Int[Array, "rows 1"], base: Float[Array, "rows 1"]
) -> Float[Array, "rows n"]:
    """A sequence that decreases by `a` at each element, and is `base` at index `at`.

    It is summed from `at` outwards, so that it is most accurate there.
    """
    blocks = a.reshape(a.shape[0], -1, BLOCK)
    within = _matmul(blocks, jnp.tril(jnp.ones((BLOCK, BLOCK), a.dtype)))
    total = within[..., 0]
    rest = take(within.reshape(a.shape), at)
    block, own = jnp.arange(total.shape[-1], dtype=jnp.int32)[None], at // BLOCK
    ones = jnp.ones((block.size, block.size), a.dtype)
    before = _matmul(jnp.where(block < own, total, 0), jnp.tril(ones, -1))
    beyond = _matmul(jnp.where(block > own, total, 0), jnp.triu(ones))
    carry = jnp.where(block < own, before + take(total, own), -beyond) - rest + base
    return (within + carry[..., None]).reshape(a.shape)


def _matmul(a: Array, b: Array) -> Array:
    # Without the highest precision, accelerators round the factors.
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def count_at_or_below(
    a: Num[Array, "rows n"], q: Num[Array, "rows m"]
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
        passed = (take(a, larger - 1) <= q) & (larger <= n)
        return jnp.where(passed, larger, count)

    return lax.fori_loop(jnp.int32(0), jnp.int32(n_steps), step, start)


def count_below(count: Int[Array, "rows n"], dtype: jnp.dtype) -> Int[Array, "rows n"]:
    """The counts for the other spectrum: `U_i < V_j` unless `V_j <= U_i`."""
    # In floating point, which is exact below 2^24, to use the fast cumulative sum.
    histogram = scatter_add(count, jnp.ones(count.shape, dtype))
    return prefix_sum(histogram).astype(jnp.int32)


def scatter_add(
    index: Int[Array, "rows n"], values: Float[Array, "rows n"]
) -> Float[Array, "rows n"]:
    """Add up the `values` of each row by `index`, 0 to n; those at n are dropped."""
    n_rows, n = index.shape
    flat = index + jnp.arange(n_rows, dtype=jnp.int32)[:, None] * (n + 1)
    out = jnp.zeros(n_rows * (n + 1), values.dtype)
    out = out.at[flat.reshape(-1)].add(values.reshape(-1), mode="promise_in_bounds")
    return out.reshape(n_rows, n + 1)[:, :n]


def count_set(flags: Bool[Array, "rows n"]) -> Int[Array, "rows 1"]:
    """How many flags are set; the set ones must come first."""
    # Whole blocks are counted by their last flag, then one block flag by flag.
    ends = flags[:, BLOCK - 1 :: BLOCK]
    n_blocks = jnp.sum(ends, -1, keepdims=True, dtype=jnp.int32)
    at = jnp.minimum(n_blocks, ends.shape[-1] - 1)[..., None]
    blocks = flags.reshape(flags.shape[0], -1, BLOCK)
    block = jnp.take_along_axis(blocks, at, 1, mode="promise_in_bounds")
    within = jnp.sum(block, -1, dtype=jnp.int32)
    return jnp.where(
        n_blocks < ends.shape[-1], BLOCK * n_blocks + within, BLOCK * n_blocks
    )


def previous_set(flags: Bool[Array, "rows n"]) -> Int[Array, "rows n"]:
    """The index of the last set flag up to each element; -1 if there is none."""
    n = flags.shape[-1]
    if n <= BLOCK:
        return jnp.maximum(_leading(flags, reverse=False), -1)
    blocks = pad(flags, -n % BLOCK).reshape(flags.shape[0], -1, BLOCK)
    within = _leading(blocks, reverse=False)
    first = _block_starts(within.shape[1])
    ends = first + within[..., -1]
    block = shift(previous_set(within[..., -1] >= 0), 1, -1)
    before = jnp.where(block >= 0, take(ends, block), -1)[..., None]
    found = jnp.where(within >= 0, first[..., None] + within, before)
    return found.reshape(flags.shape[0], -1)[:, :n]


def next_set(flags: Bool[Array, "rows n"]) -> Int[Array, "rows n"]:
    """The index of the first set flag after each element; `n` if there is none."""
    n = flags.shape[-1]
    if n <= BLOCK:
        return jnp.minimum(_leading(flags, reverse=True), n)
    blocks = pad(flags, -n % BLOCK).reshape(flags.shape[0], -1, BLOCK)
    within = _leading(blocks, reverse=True)
    first = _block_starts(within.shape[1])
    starts = jnp.where(blocks[..., 0], 0, within[..., 0])
    block = next_set(starts < BLOCK)
    after = take(first + starts, block)
    after = jnp.where(block < first.size, after, n)[..., None]
    found = jnp.where(within < BLOCK, first[..., None] + within, after)
    return found.reshape(flags.shape[0], -1)[:, :n]


def _block_starts(n_blocks: int) -> Int[Array, "1 n_blocks"]:
    """Where the blocks of each row begin."""
    return BLOCK * jnp.arange(n_blocks, dtype=jnp.int32)[None]


def _leading(flags: Bool[Array, "*batch n"], reverse: bool) -> Int[Array, "*batch n"]:
    """`previous_set`, or `next_set` with `reverse`, of at most `BLOCK` flags.

    The result is below -1 or above `n` if there is none. Each flag has four times the
    weight of the one before, so the exponent of a sum tells the largest flag in it.
    """
    n = flags.shape[-1]
    # 1.25 * 4^k plus lower weights has the same exponent however the sum is rounded.
    weights = np.ldexp(np.float32(1.25), 2 * np.arange(n))[:, None]
    triangle = np.triu(np.ones((n, n), np.float32))
    if reverse:
        weights, triangle = weights[::-1], np.tril(np.ones((n, n), np.float32), -1)
    sums = _matmul(flags.astype(jnp.float32), jnp.asarray(weights * triangle))
    digit = (lax.bitcast_convert_type(sums, jnp.int32) >> 24) - 63
    return n - 1 - digit if reverse else digit
