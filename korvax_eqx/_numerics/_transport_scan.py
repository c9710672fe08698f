"""Cumulative sums and searches along rows, as fast as XLA lets them be on CPU.

Measured at 1025 bins: cumulative sums by blocks of 32 take a quarter of the time of
`jnp.cumsum`, and one comparison with 16 pivots replaces four steps of a binary search
in the time of one.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num, Shaped

BLOCK = 32
_PIVOT_BITS = 4


def pad(a: Array, n: int, axis: int = -1) -> Array:
    """Append `n` zeros."""
    widths = [(0, 0)] * a.ndim
    widths[axis] = (0, n)
    return jnp.pad(a, widths)


def shift(a: Array, by: int, fill: Any = 0) -> Array:
    """Elements moved by +1 or -1 along the last axis."""
    end = jnp.broadcast_to(jnp.asarray(fill, a.dtype), a[..., :1].shape)
    parts = [end, a[..., :-1]] if by > 0 else [a[..., 1:], end]
    return jnp.concatenate(parts, -1)


def look_up(a: Shaped[Array, " n"], index: Int[Array, "*m"]) -> Shaped[Array, "*m"]:
    """`a[index]` of one row for all."""
    return a.at[index].get(mode="promise_in_bounds")


def take(
    a: Shaped[Array, "rows n"], index: Int[Array, "rows m"]
) -> Shaped[Array, "rows m"]:
    """`a[index]` in each row; an index beyond an end is that of the end."""
    index = jnp.clip(index, 0, a.shape[-1] - 1)
    return jnp.take_along_axis(a, index, -1, mode="promise_in_bounds")


def prefix_sum(
    a: Float[Array, "*batch n"], reverse: bool = False
) -> Float[Array, "*batch n"]:
    """Cumulative sum along the last axis, a whole number of blocks, by products."""
    blocks = a.reshape(*a.shape[:-1], -1, BLOCK)

    def sums(b: Array, k: int) -> Array:
        ones = jnp.ones((b.shape[-1],) * 2, a.dtype)
        return _matmul(b, jnp.tril(ones, -k) if reverse else jnp.triu(ones, k))

    within = sums(blocks, 0)
    before = sums(within[..., 0 if reverse else -1], 1)
    return (within + before[..., None]).reshape(a.shape)


def masses_below(a: Float[Array, "rows n"]) -> Float[Array, "rows n"]:
    """Cumulative sum of masses, which never falls: not by a rounding.

    Within a block each sum is rounded as the one before was, and then added to.
    """
    blocks = a.reshape(a.shape[0], -1, BLOCK)
    within = _matmul(blocks, jnp.triu(jnp.ones((BLOCK, BLOCK), a.dtype)))
    total = within[..., -1]
    start = _matmul(total, jnp.triu(jnp.ones((total.shape[-1],) * 2, a.dtype), 1))
    # No block starts below the end of one before. That moves it by a rounding, which
    # has no derivative.
    ends = lax.cummax(lax.stop_gradient(start + total), axis=1)
    start += lax.stop_gradient(shift(ends, 1) - start)
    return (within + start[..., None]).reshape(a.shape)


def masses_above(a: Float[Array, "rows n"]) -> Float[Array, "rows n"]:
    """The sum of the masses after each, which never rises."""
    # Summed from the end: sums that start elsewhere are not rounded alike.
    return shift(masses_below(a[..., ::-1])[..., ::-1], -1)


def sum_around(
    a: Float[Array, "rows n"], at: Int[Array, "rows 1"], base: Float[Array, "rows 1"]
) -> Float[Array, "rows n"]:
    """What falls by `a` from element to element and is `base` at the index `at`.

    Summed away from there, so that it is most accurate around it.
    """
    blocks = a.reshape(a.shape[0], -1, BLOCK)
    within = _matmul(blocks, jnp.tril(jnp.ones((BLOCK, BLOCK), a.dtype)))
    total = within[..., 0]
    rest = take(within.reshape(a.shape), at)
    block, own = jnp.arange(total.shape[-1], dtype=jnp.int32), at // BLOCK
    ones = jnp.ones((block.size, block.size), a.dtype)
    before = _matmul(jnp.where(block < own, total, 0), jnp.tril(ones, -1))
    beyond = _matmul(jnp.where(block > own, total, 0), jnp.triu(ones))
    carry = jnp.where(block < own, before + take(total, own), -beyond) - rest + base
    return (within + carry[..., None]).reshape(a.shape)


def _matmul(a: Array, b: Array) -> Array:
    # The highest precision: accelerators round the factors otherwise.
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
    """The same counts seen from the other side: `U_i < V_j` unless `V_j <= U_i`."""
    # In floating point, exact below 2^24, for the fast cumulative sum.
    histogram = scatter_add(count, jnp.ones(count.shape, dtype))
    return prefix_sum(histogram).astype(jnp.int32)


def scatter_add(
    index: Int[Array, "rows n"], values: Float[Array, "rows n"]
) -> Float[Array, "rows n"]:
    """Each row's `values` added up by their `index` in `0..n`; `n` is dropped."""
    n_rows, n = index.shape
    flat = index + jnp.arange(n_rows, dtype=jnp.int32)[:, None] * (n + 1)
    out = jnp.zeros(n_rows * (n + 1), values.dtype)
    out = out.at[flat.reshape(-1)].add(values.reshape(-1), mode="promise_in_bounds")
    return out.reshape(n_rows, n + 1)[:, :n]


def previous_set(flags: Bool[Array, "rows n"]) -> Int[Array, "rows n"]:
    """Of each element the last set one up to it; -1 where there is none."""
    word, position, first = _words(flags)
    masked = word & (jnp.uint32(0xFFFFFFFF) >> (jnp.uint32(BLOCK - 1) - position))
    last = jnp.where(word != 0, first + _highest(word), -1)
    before = shift(lax.cummax(last[..., 0], axis=1), 1, -1)[..., None]
    found = jnp.where(masked != 0, first + _highest(masked), before)
    return found.reshape(flags.shape)


def next_set(flags: Bool[Array, "rows n"]) -> Int[Array, "rows n"]:
    """Of each element the first set one after it; `n` where there is none."""
    n = flags.shape[-1]
    word, position, first = _words(flags)
    # Shifted in two steps: all 32 at once is not defined.
    masked = word & ((jnp.uint32(0xFFFFFFFE)) << position)
    lowest = jnp.where(word != 0, first + _lowest(word), n)
    after = shift(lax.cummin(lowest[..., 0], axis=1, reverse=True), -1, n)[..., None]
    found = jnp.where(masked != 0, first + _lowest(masked), after)
    return found.reshape(flags.shape)


def _words(flags: Bool[Array, "rows n"]) -> tuple[Array, Array, Array]:
    """The flags of each block as bits, the bits' numbers, the blocks' first indices."""
    blocks = flags.reshape(flags.shape[0], -1, BLOCK)
    position = jnp.arange(BLOCK, dtype=jnp.uint32)
    bits = blocks.astype(jnp.uint32) << position
    word = jnp.sum(bits, -1, keepdims=True, dtype=jnp.uint32)
    first = BLOCK * jnp.arange(blocks.shape[1], dtype=jnp.int32)[:, None]
    return word, position, first


def _highest(word: Array) -> Array:
    return BLOCK - 1 - lax.clz(word).astype(jnp.int32)


def _lowest(word: Array) -> Array:
    below = (word & (~word + jnp.uint32(1))) - jnp.uint32(1)
    return lax.population_count(below).astype(jnp.int32)
