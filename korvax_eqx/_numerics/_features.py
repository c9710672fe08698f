"""Features of spectra: one number for each frame.

Frames whose values add up to less than 1e-29 in float32 (a billion times the smallest
normal number) count as silent, because derivatives divide by that sum.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ._cumulative import cumulative
from ._ranks import along_last
from ._ratio import quotient

Frames = Float[Array, "*rows n_frames n_bins"]
Values = Float[Array, "*rows n_frames"]


def centroid(S: Frames, frequencies: Float[Array, " n_bins"]) -> Values:
    r"""Return $\sum_k f_k S_k / \sum_k S_k$, and 0 for silent frames."""
    total, is_silent = _totals(S)
    # Shares first: the sum of products overflows earlier than the total.
    shares = quotient(S, total[..., None])
    moment = jnp.sum(shares * along_last(frequencies, S), axis=-1)
    return jnp.where(is_silent, 0, moment)


def rolloff(S: Frames, frequencies: Float[Array, " n_bins"], fraction: float) -> Values:
    r"""Return the frequency below which a fraction of the sum over bins lies.

    With the cumulative sum $C_k$, and the first bin $k$ with $C_k \ge t = p\,C_{n-1}$,
    it is $f_k - (f_k - f_{k-1})(C_k - t)/S_k$, $f_0$ for $k = 0$, 0 for silent frames.
    """
    _, is_silent = _totals(S)
    C = cumulative(S, S.ndim - 1)
    # From the same sums: a total added up in another order might never be reached.
    level = fraction * lax.slice_in_dim(C, S.shape[-1] - 1, None, axis=-1)
    # Counted, not searched for, so that rounding cannot give two crossings, or none.
    k = jnp.sum(C < level, axis=-1, keepdims=True, dtype=jnp.int32)
    is_there = lax.broadcasted_iota(jnp.int32, S.shape, S.ndim - 1) == k

    def at_crossing(values: Array) -> Values:
        return jnp.sum(jnp.where(is_there, values, 0), axis=-1)

    steps = jnp.diff(frequencies, prepend=frequencies[:1])
    here = at_crossing(S)
    here = jnp.where(is_silent | (here <= 0), 1, here)
    excess = quotient(at_crossing(C - level), here)
    excess = jnp.where(excess > 1, 1, excess)  # if a bin is below rounding errors
    highest, step = (at_crossing(along_last(v, S)) for v in (frequencies, steps))
    return jnp.where(is_silent, 0, highest - step * excess)


def flatness(S: Frames, amin: float) -> Values:
    r"""Return the geometric mean over the arithmetic mean of $\max(S, a)$."""
    floor = jnp.asarray(max(amin, float(jnp.finfo(S.dtype).tiny)), S.dtype)
    S = jnp.where(S < floor, floor, S)  # not a maximum, so that a NaN stays one
    geometric = jnp.exp(jnp.mean(jnp.log(S), axis=-1))
    return quotient(geometric, jnp.mean(S, axis=-1))


def _totals(S: Frames) -> tuple[Values, Array]:
    """Return the sum over bins, with 1 for silent frames, and which are silent."""
    total = jnp.sum(S, axis=-1)
    is_silent = total < float(jnp.finfo(S.dtype).tiny) * 2**30
    return jnp.where(is_silent, 1, total), is_silent
