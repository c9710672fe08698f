"""Testing what a part of the user's declares of itself."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from korvax_eqx._base import (
    AbstractFramesScale,
    AbstractScale,
    AbstractSpectralLoss,
    AbstractTransform,
)
from korvax_eqx._maps._base import AbstractSignalMap
from korvax_eqx._scope import scope_of

# A part may depend on the level, e.g. by a threshold.
_LEVELS = (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3)


def check_scope(
    part: Any, *arrays: Inexact[Array | np.ndarray, "..."], rtol: float = 1e-4
) -> None:
    """Test on examples, at several levels, whether a part is what its `scope` says.

    **Arguments:**

    - `part`: a signal map, a transform, a scale or a loss on spectra, of a class of
        your own with a `__call__`.
    - `arrays`: what it is called with: signals `(*channels, n_samples)`, spectra
        `(*channels, n_bins, n_frames)`, or two of them for a loss. With examples of
        your data the test says most.
    - `rtol`: how large a difference is, relative to the largest value.

    **Raises:** `ValueError` if the results differ from what the scope promises, or if
        the part is of another kind.
    """
    kinds = AbstractSignalMap | AbstractTransform | AbstractScale | AbstractSpectralLoss
    if not isinstance(part, kinds):
        raise ValueError(
            "`check_scope(part)` must be a signal map, a transform, a scale or a loss "
            f"on spectra. Got {part!r}."
        )
    is_told = isinstance(part, AbstractFramesScale)
    scope = scope_of(part, "frames" if is_told else "__call__")
    for level in _LEVELS:
        scaled = [jnp.asarray(a) * jnp.asarray(level, a.dtype) for a in arrays]
        for got, expected in _pairs(part, scope, scaled):
            scale = np.max(np.abs(expected), initial=0.0)
            if got.shape != expected.shape or not np.allclose(
                got, expected, rtol=0, atol=rtol * scale, equal_nan=True
            ):
                raise ValueError(
                    f"`{type(part).__name__}` is not what its `scope`, {scope!r}, "
                    f"says: with the arrays times {level:g} a part of them gives "
                    "another result alone."
                )


def _pairs(part: Any, scope: str, arrays: list[Array]) -> list[tuple[Any, Any]]:
    """Return what is to be equal."""
    is_local = scope in ("value", "frame", "channels")
    if isinstance(part, AbstractSignalMap | AbstractTransform):
        (x,) = arrays
        return [_of_padded(part, x, x.shape[-1] * k // 5) for k in (3, 4) if is_local]
    if isinstance(part, AbstractScale):
        (S,) = arrays
        frames = [part(S[..., i : i + 1]) for i in range(S.shape[-1] * is_local)]
        pairs = [(jnp.concatenate(frames, axis=-1), part(S))] if frames else []
        if scope == "value":
            values = jax.vmap(part)(S.reshape(-1, 1, 1)).reshape(S.shape)
            pairs.append((values, part(S)))
        return [tuple(map(np.asarray, pair)) for pair in pairs]
    S_x, S_y = arrays
    n = S_x.shape[-1] * is_local
    each = [part(S_x[..., i : i + 1], S_y[..., i : i + 1]) for i in range(n)]
    return [(np.mean(each), np.asarray(part(S_x, S_y)))] if each else []


def _of_padded(part: Any, x: Array, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what becomes of a signal cut and followed by zeros, and of it alone."""
    alone = np.asarray(part(x[..., :n]))
    padded = np.asarray(part(x.at[..., n:].set(0)))
    return padded[..., : alone.shape[-1]], alone
