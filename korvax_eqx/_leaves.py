"""Checks of the values of learnable arrays, where these are known."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from korvax_eqx import _checks as checks


def positive_leaf(owner: str, argument: str, value: Any) -> Any:
    """Check a JAX scalar that must be positive, as far as its value is known.

    Inside a transformation the value is unknown, and the user must ensure this.
    """
    checks.floating_array(owner, argument, value, ndim=0)
    # So that NaN is refused too.
    if is_known(value) and not 0 < np.asarray(value, np.float64) < np.inf:
        rule = "be positive" if jnp.isfinite(value) else "be a finite positive number"
        checks.refuse(owner, argument, rule, float(value))
    return value


def is_known(value: Any) -> bool:
    """Whether the values of an array are known, i.e. it is not being traced."""
    return not isinstance(value, Tracer | jax.ShapeDtypeStruct)
