"""JAX's usual promotion, for code outside the package."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def usual_promotion() -> Iterator[None]:
    """Promote dtypes and ranks as JAX does by default."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
