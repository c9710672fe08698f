"""Checking keys for losses that draw at random."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from korvax_eqx import _checks as checks


def check_key(owner: str, value: Any) -> None:
    """Check the key of a call: one key of `jax.random`, or `None`."""
    if value is None:
        return
    is_array = isinstance(value, jax.Array | np.ndarray)
    is_typed = is_array and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    if is_typed and value.ndim == 0:
        return
    is_raw = is_array and not is_typed and value.dtype == np.uint32
    if is_raw and value.shape in ((2,), (4,)):  # `PRNGKey`, "threefry2x32" or "rbg"
        return
    remedy = "Make one with `jax.random.key(0)`."
    if is_typed or (is_raw and value.ndim > 1):
        remedy = "Pass one of them, `key[0]`; for one draw per example, use `jax.vmap`."
    checks.refuse(owner, "key", "be one key of `jax.random`", value, remedy)
