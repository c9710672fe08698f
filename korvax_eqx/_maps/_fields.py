"""Tables held by signal maps: configuration, or learnable."""

from typing import Any

import jax
import numpy as np

from korvax_eqx import _checks as checks
from korvax_eqx._static import static_or_leaf


def table_or_leaf(owner: str, argument: str, value: Any, ndim: int) -> Any:
    """Check that a table has `ndim` non-empty axes; keep a JAX array as a leaf.

    Anything else becomes configuration, in float64.
    """
    if not isinstance(value, jax.Array):
        value = _float64(owner, argument, value, ndim)
    checks.floating_array(owner, argument, value, ndim)
    if value.size == 0:
        checks.refuse(owner, argument, "not be empty", value)
    return static_or_leaf(value)


def _float64(owner: str, argument: str, value: Any, ndim: int) -> np.ndarray:
    axes = "1 axis" if ndim == 1 else f"{ndim} axes"
    rule = f"be an array or a nested sequence of real numbers with {axes}"
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        checks.refuse(owner, argument, rule, value)
    if array.dtype.kind not in "fiu":
        checks.refuse(owner, argument, rule, value)
    return array.astype(np.float64)
