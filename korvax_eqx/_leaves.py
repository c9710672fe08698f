"""Checks of what a learnable array holds, as far as that is known."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from korvax_eqx import _checks as checks


def positive_leaf(owner: str, argument: str, value: Any) -> Any:
    """Check a JAX scalar that must be positive, as far as its value is known.

    Within a transformation it is not: what it holds then is the user's to keep.
    """
    checks.floating_array(owner, argument, value, ndim=0)
    # Not `<=`, which NaN would pass.
    if is_known(value) and not np.asarray(value, np.float64) > 0:
        rule = "be positive" if jnp.isfinite(value) else "be a finite positive number"
        checks.refuse(owner, argument, rule, float(value))
    return value


def is_known(value: Any) -> bool:
    """Whether the numbers of an array can be looked at: not while it is traced."""
    return not isinstance(value, Tracer | jax.ShapeDtypeStruct)
