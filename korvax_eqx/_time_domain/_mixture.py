"""The mixture that sources are part of: a third signal beside estimate and target.

One convention for all losses that need it. Sources are in the axis before the samples,
shape `(*batch, n_sources, n_samples)`, and the mixture comes with the targets: it is
their sum, or the last entry of that axis, or each target is its own mixture.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Signals

Mixture = Literal["target", "sum", "last"]
MIXTURES: tuple[Mixture, ...] = ("target", "sum", "last")


def checked_mixture(owner: str, mixture: Any) -> Mixture:
    """Return the argument `mixture` of a class.

    **Raises:** `ValueError` for another value.
    """
    return checks.one_of(owner, "mixture", mixture, MIXTURES)


def mixture_scope(mixture: Mixture) -> Scope:
    """Return the scope of a loss with this mixture."""
    return "signal" if mixture == "target" else "channels"


def with_mixture(
    owner: str, mixture: Mixture, x: Signals, y: Signals
) -> tuple[Signals, Signals, Signals]:
    """Return estimates, targets and the mixture, which carries no gradient.

    A mixture of several sources has one entry in the axis before the samples.

    **Raises:** `ValueError` for `"last"` if there are no sources beside the mixture.
    """
    u = y
    if mixture == "sum":
        u = Signals(jnp.sum(y.x, axis=-2, keepdims=True), _first(y.n_samples))
    elif mixture == "last":
        if y.x.shape[-2] < 2:
            raise ValueError(
                f'`{owner}(mixture="last")`: signals must have at least two entries '
                "in the axis before the samples, the sources and then the mixture. Got "
                f"the shape {y.x.shape[1:]}."
            )
        n = y.n_samples
        own, last = (None, None) if n is None else (n[..., :-1], n[..., -1:])
        u = Signals(y.x[..., -1:, :], last)
        x, y = Signals(x.x[..., :-1, :], own), Signals(y.x[..., :-1, :], own)
    return x, y, Signals(jax.lax.stop_gradient(u.x), u.n_samples)


def over_sources(
    values: Float[Array, "*rows"], mixture: Mixture
) -> Float[Array, "*recordings"]:
    """Return the mean over the sources of each recording, if they have a mixture."""
    return values if mixture == "target" else jnp.mean(values, axis=-1)


def _first(n_samples: Int[Array, "*rows channels"] | None) -> Any:
    """Return the length of each recording, with an axis for channels."""
    return None if n_samples is None else n_samples[..., :1]
