"""Padded batches: masking signals beyond their ends, and extending them there."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, Int

from ._ranks import along_last

# The modes of `jax.numpy.pad` in which every padded sample is a copy of one in the
# signal. Other modes depend on statistics of the signal, or ramp.
INDEXED_MODES = ("edge", "reflect", "symmetric", "wrap")


def is_within(
    size: int, lengths: Int[Array, "*rows"], n_trailing: int = 0
) -> Bool[Array, "..."]:
    """Return whether each of `size` positions lies before the end of each row.

    The result has `n_trailing` further axes of size 1.
    """
    ends = lengths[..., None]
    within = along_last(lax.iota(lengths.dtype, size), ends) < ends
    return within.reshape(*within.shape, *(1,) * n_trailing)


def cut_off(
    x: Inexact[Array, "..."], lengths: Int[Array, "*rows"] | None
) -> Inexact[Array, "..."]:
    """Return `x` with zeros beyond each row's length, whatever was there."""
    if lengths is None:
        return x
    within = is_within(x.shape[lengths.ndim], lengths, x.ndim - lengths.ndim - 1)
    return jnp.where(within, x, jnp.zeros((), x.dtype))


def least_to_reflect(left: int, right: int, mode: str) -> int:
    """Return how many samples a signal must have to be padded; 0 if any number will do.

    As in PyTorch, a reflection must be shorter than the signal: NumPy and JAX would
    reflect it back and forth. Other modes take signals of any length.
    """
    widest = max(left, right)
    return widest + 1 if mode == "reflect" and widest > 0 else 0


def extended(
    x: Float[Array, "*rows n_samples"],
    lengths: Int[Array, "*rows"] | None,
    left: int,
    right: int,
    mode: str,
) -> Float[Array, "*rows n_padded"]:
    """Return `x` with `left` and `right` samples before its start and after its end.

    **Arguments:**

    - `x`: signals, zero beyond their ends.
    - `lengths`: where they end; `None` if all end with the array.
    - `left`, `right`: numbers of samples to add.
    - `mode`: a mode of `jax.numpy.pad`; with lengths one of `INDEXED_MODES`, or
        `"constant"`.

    **Raises:** `ValueError` for lengths with another mode, and for arrays that are too
    short to be padded by reflection.
    """
    least = least_to_reflect(left, right, mode)
    if isinstance(x.shape[-1], int) and x.shape[-1] < least:
        raise ValueError(
            f"The signal is too short to be reflected: {least} samples are needed, "
            f"{x.shape[-1]} were given. Pad the signal, use another `pad_mode`, or "
            "choose shorter frames."
        )
    if lengths is None:
        widths = [(0, 0)] * (x.ndim - 1) + [(left, right)]
        return jnp.pad(x, widths, mode=mode)
    none = [(0, 0, 0)] * (x.ndim - 1)
    zero = jnp.zeros((), x.dtype)
    if mode == "constant":
        return lax.pad(x, zero, [*none, (left, right, 0)])
    if mode not in INDEXED_MODES:
        raise ValueError(
            f"`lengths` cannot be combined with `pad_mode={mode!r}`: its padding "
            "depends on statistics of the signal. Use one of 'constant', "
            + ", ".join(map(repr, INDEXED_MODES))
            + "."
        )
    lengths = jnp.broadcast_to(lengths, x.shape[:-1])
    before = _padded_samples(x, lengths, lax.iota(lengths.dtype, left) - left, mode)
    ends = lengths[..., None]
    after = ends + along_last(lax.iota(lengths.dtype, right), ends)
    after = _padded_samples(x, lengths, after, mode)
    # Beyond the ends there are zeros; the padding is written where each signal ends.
    padded = lax.pad(x, zero, [*none, (0, right, 0)])
    padded = _written(padded, after, lengths)
    return jnp.concatenate([before, padded], axis=-1)


def _padded_samples(
    x: Float[Array, "*rows n_samples"],
    lengths: Int[Array, "*rows"],
    index: Int[Array, "... n"],
    mode: str,
) -> Float[Array, "*rows n"]:
    """Return the padded samples at positions before 0, or from the length on."""
    n = jnp.maximum(lengths, 1)[..., None]
    index = along_last(index, n)
    if mode == "edge":
        source = jnp.clip(index, 0, n - 1)
    elif mode == "wrap":
        source = jnp.mod(index, n)
    elif mode == "symmetric":
        turn = jnp.mod(index, 2 * n)
        source = jnp.minimum(turn, 2 * n - 1 - turn)
    else:
        turn = jnp.mod(index, jnp.maximum(2 * (n - 1), 1))
        source = jnp.minimum(turn, 2 * (n - 1) - turn)
    source = jnp.broadcast_to(source, (*x.shape[:-1], index.shape[-1]))
    return jnp.take_along_axis(x, source, axis=-1, mode="promise_in_bounds")


def _written(x: Array, values: Array, starts: Array) -> Array:
    """Write a slice into each row, at its own start."""

    def write(x: Any, values: Any, start: Any) -> Any:
        return lax.dynamic_update_slice(x, values, (start,))

    for _ in range(starts.ndim):
        write = jax.vmap(write)
    return write(x, values, starts)
