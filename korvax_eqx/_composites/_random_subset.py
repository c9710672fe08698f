"""A random subset of losses, drawn at every call."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._data import Term
from korvax_eqx._data._term import is_off
from korvax_eqx._keys import check_key

from ._parts import (
    check_losses,
    check_part_weights,
    part_losses,
    part_names,
    part_weights,
    terms_of_part,
)


class RandomSubsetLoss(AbstractLoss):
    r"""A random subset of losses, drawn with `key`; the expectation is their weighted
    sum.

    $$L(x, y) = \frac{K}{n} \sum_{i \in D} w_i L_i(x, y)$$

    with $n$ of all $K$ losses, drawn uniformly without replacement as $D$, so the
    expectation is `SumLoss(losses, weights)`. A call costs only what the drawn losses
    cost, and no draw recompiles. auraloss draws frame sizes at every call, which would
    make JAX recompile every time: draw from a fixed bank of losses instead.

    Terms are named after the losses; those of losses not drawn are 0.
    """

    losses: Any
    weights: Any
    n_draws: int = eqx.field(static=True)

    def __init__(
        self,
        losses: Mapping[str, Callable[..., Any]] | Sequence[Callable[..., Any]],
        n_draws: int = 1,
        weights: Any = None,
    ):
        """**Arguments:**

        - `losses`, `weights`: as in `SumLoss`.
        - `n_draws`: number of losses that a call evaluates.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        owner = "RandomSubsetLoss"
        self.losses = check_losses(owner, losses)
        self.n_draws = checks.positive_int(owner, "n_draws", n_draws)
        if self.n_draws > len(self.losses):
            rule = f"be at most the number of losses, {len(self.losses)}"
            checks.refuse(owner, "n_draws", rule, n_draws)
        self.weights = check_part_weights(owner, weights, self.losses)

    @property
    def has_parts(self) -> bool:
        return True

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        if key is None:
            raise ValueError(
                "`RandomSubsetLoss` draws its losses and needs `key`. Got None. Pass a "
                "key, `loss(x, y, key=key)`, and a new one at every step."
            )
        check_key("RandomSubsetLoss", key)
        n_losses = len(self.losses)
        draw, *keys = jax.random.split(key, n_losses + 1)
        index = jax.random.permutation(draw, n_losses)[: self.n_draws]
        names, losses = part_names(self.losses), part_losses(self.losses)
        weights = part_weights(self.weights, self.losses)
        terms: list[Term] = []
        for i, (loss, name) in enumerate(zip(losses, names, strict=True)):
            factor = Term((), None, weights[i]).part_of("", n_losses / self.n_draws)
            own = terms_of_part(loss, name, factor.weight, keys[i])
            gate = jnp.any(index == i)
            terms += [term.gated(gate) for term in own if not is_off(term.weight)]
        return tuple(terms)
