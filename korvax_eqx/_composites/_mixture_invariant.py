"""A loss of sources that are known by mixtures of them alone."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from korvax_eqx import _checks as checks
from korvax_eqx._compile import compiled
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._data import Term, Terms
from korvax_eqx._engine._devices import rows_together
from korvax_eqx._keys import check_key
from korvax_eqx._numerics._padding import cut_off
from korvax_eqx._repr import constructor_call
from korvax_eqx._tree import constant

from ._arguments import AbstractOutermost, part
from ._matching import pairwise_terms

_OWNER = "MixtureInvariantLoss"
# All assignments are tried: 16 sources to 2 mixtures, 8 sources to 4.
_MOST_TRIED = 2**16


class MixtureInvariantLoss(AbstractOutermost):
    r"""A loss of mixtures for sources, each in the mixture with the least loss.

    $$L(x, y) = \min_a \frac1M \sum_{m=1}^M \ell\Big(\sum_{i: a_i = m} x_i, y_m\Big)$$

    over all $M^N$ ways to assign $N$ sources to $M$ mixtures, for each example, and
    then the mean over examples. A network gets the sum of the mixtures, which are
    recordings of several sources each, and separates it: no sources are needed to train
    it. A mixture may get no source, and counts as silent then.

    ```python
    loss = MixtureInvariantLoss(SNRLoss(max_db=30.0))
    # Shapes (*batch, n_sources, n_samples) and (*batch, n_mixtures, n_samples).
    value = loss(x, y)
    ```

    The sums of all $2^N$ subsets of the sources are compared with each mixture, one
    subset after another, so that memory does not grow with their number. The assignment
    carries no gradient; the loss of the sums that it makes is evaluated once more, with
    gradient. Terms are those of the loss.

    Estimates and targets differ in shape, so this is no part of a `SumLoss`, a
    `MappedLoss` or another composite: they stand inside, `MixtureInvariantLoss(a + b)`.
    `bind` is not offered.

    Also known as mixture-invariant training (MixIT). See Wisdom et al. (2020),
    "Unsupervised sound separation using mixture invariant training". For 2 mixtures it
    equals asteroid's `MixITLossWrapper(loss, generalized=True)`, for a loss that is a
    mean over mixtures (asteroid-team/asteroid at 92c8d83a, `losses/mixit_wrapper.py`).
    """

    loss: Any
    called_with: ClassVar[str] = "sources and mixtures, of two shapes"  # pyright: ignore
    remedy: ClassVar[str] = (  # pyright: ignore
        "Put other losses inside: `MixtureInvariantLoss(a + b)`."
    )

    def __init__(self, loss: Callable[..., Any]) -> None:
        """**Arguments:**

        - `loss`: as of a `PermutationInvariantLoss`: any loss on signals that is a mean
            over them. A function is called with one sum of estimates and one mixture,
            of shape `(n_samples,)` each.

        **Raises:** `ValueError` for anything else. A call raises it for a loss that
        mixes channels or the signals of a batch, and for one with a target.
        """
        self.loss = part(_OWNER, "loss", loss, AbstractLoss)

    def __call__(
        self,
        x: Float[Array, "*batch n_sources n_samples"],
        y: Float[Array, "*batch n_mixtures n_samples"],
        *,
        lengths: Int[ArrayLike, "..."] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, ""]:
        """Return the mean over the leading axes.

        **Arguments:**

        - `x`: estimated sources.
        - `y`: at least two mixtures of an example.
        - `lengths`: for a padded batch, the number of samples of each mixture: integers
            of the shape `(*batch, n_mixtures)`, or broadcasting to it, e.g.
            `lengths[:, None]`. An example ends with its longest mixture, and the others
            are silent up to there. Otherwise as for losses on signals.
        - `key`: as for losses on signals.

        **Raises:** `ValueError` for signals of other shapes, and for more than 65536
        ways to assign the sources.
        """
        return self.with_terms(x, y, lengths=lengths, key=key)[0]

    def with_terms(
        self,
        x: Float[Array, "*batch n_sources n_samples"],
        y: Float[Array, "*batch n_mixtures n_samples"],
        *,
        lengths: Int[ArrayLike, "..."] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> tuple[Float[Array, ""], Terms]:
        """Return the loss and its weighted terms by name, which add up to it."""
        return _evaluated(self.loss, *_checked(x, y, lengths, key))

    def assignment(
        self,
        x: Float[Array, "*batch n_sources n_samples"],
        y: Float[Array, "*batch n_mixtures n_samples"],
        *,
        lengths: Int[ArrayLike, "..."] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Int[Array, "*batch n_sources"]:
        """Return the number of the mixture that each source is assigned to.

        Of equally good assignments it is the first in lexicographic order. The
        arguments are those of a call.
        """
        return _assigned(self.loss, *_checked(x, y, lengths, key))

    def __repr__(self) -> str:
        return constructor_call(self)


class _OfSums(AbstractLoss):
    """A loss of sums of sources, each with its mixture."""

    loss: Any

    @property
    def has_parts(self) -> bool:
        return isinstance(self.loss, AbstractLoss) and self.loss.has_parts

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        return pairwise_terms(_OWNER, self.loss, key)


def _checked(x: Any, y: Any, lengths: Any, key: Any) -> tuple[Any, Any, Any, Any]:
    checks.signal_type(_OWNER, "x", x)
    checks.signal_type(_OWNER, "y", y)
    check_key(_OWNER, key)
    return x, y, checks.lengths(_OWNER, lengths, y), key


@compiled
def _evaluated(
    loss: Any, x: Any, y: Any, lengths: Any, key: Any
) -> tuple[Float[Array, ""], Terms]:
    with jax.named_scope(f"korvax_eqx.{_OWNER}"), checks.owned_by(_OWNER):
        x, y, lengths = _prepared(x, y, lengths)
        numbers = _least(loss, x, y, lengths, key)
        own = [numbers == m for m in range(y.shape[-2])]
        sums = _summed(jnp.stack(own, axis=-2), x)
        return _OfSums(loss).with_terms(sums, y, lengths=lengths, key=key)


@compiled
def _assigned(
    loss: Any, x: Any, y: Any, lengths: Any, key: Any
) -> Int[Array, "*batch n_sources"]:
    with jax.named_scope(f"korvax_eqx.{_OWNER}"), checks.owned_by(_OWNER):
        return _least(loss, *_prepared(x, y, lengths), key)


def _prepared(
    x: Any, y: Any, lengths: Any
) -> tuple[
    Float[Array, "*batch n_sources n_samples"],
    Float[Array, "*batch n_mixtures n_samples"],
    Int[Array, "*batch n_mixtures"] | None,
]:
    """Return signals of one dtype, and lengths that are the same for an example."""
    x, y = checks.signal(_OWNER, "x", x), checks.signal(_OWNER, "y", y)
    is_right = min(x.ndim, y.ndim) >= 2 and x.shape[:-2] == y.shape[:-2]
    if not is_right or x.shape[-1] != y.shape[-1] or y.shape[-2] < 2:
        raise ValueError(
            f"`{_OWNER}`: estimates must have the shape (*batch, n_sources, n_samples) "
            "and targets (*batch, n_mixtures, n_samples), with at least 2 mixtures. "
            f"Got {x.shape} and {y.shape}."
        )
    if y.shape[-2] ** x.shape[-2] > _MOST_TRIED:
        raise ValueError(
            f"`{_OWNER}`: there must be at most {_MOST_TRIED} ways to assign the "
            f"sources, all of which are tried. Got {x.shape[-2]} sources and "
            f"{y.shape[-2]} mixtures, {y.shape[-2]}**{x.shape[-2]} ways. Estimate "
            "fewer sources."
        )
    dtype = checks.wider(x.dtype, y.dtype)
    # Sources and mixtures of an example are on one device.
    (x, y), _, _ = rows_together((x.astype(dtype), y.astype(dtype)), 2)
    if lengths is None:
        return x, y, None
    longest = jnp.max(lengths, axis=-1, keepdims=True)
    return x, cut_off(y, lengths), jnp.broadcast_to(longest, lengths.shape)


def _least(
    loss: Any, x: Array, y: Array, lengths: Any, key: Any
) -> Int[Array, "*batch n_sources"]:
    """Return the number of the mixture of each source that make the loss least."""
    loss, x, y = constant((_OfSums(loss), x, y))
    n_sources, n_mixtures = x.shape[-2], y.shape[-2]

    def of_subset(is_in: Array) -> Array:
        is_in = is_in.reshape(*(1,) * (x.ndim - 1), n_sources)
        total = jnp.broadcast_to(_summed(is_in, x), y.shape)

        def one(x: Array, y: Array, length: Array | None) -> Array:
            return loss(x, y, lengths=length, key=key)

        fn: Callable[..., Any] = one
        for _ in y.shape[:-1]:
            fn = jax.vmap(fn)
        return fn(total, y, lengths)

    # In binary, the first source is the highest digit; and to base M, too.
    bits, places = (b ** np.arange(n_sources)[::-1] for b in (2, n_mixtures))
    subsets = np.arange(2**n_sources)[:, None] // bits % 2 == 1
    digits = np.arange(n_mixtures**n_sources)[:, None] // places % n_mixtures
    costs = jax.lax.map(of_subset, jnp.asarray(subsets))
    total = jnp.zeros((), y.dtype)
    for m in range(n_mixtures):
        total = total + costs[(digits == m) @ bits, ..., m]
    best = jnp.argmin(total, axis=0).astype(jnp.int32)
    return jnp.stack([best // int(p) % n_mixtures for p in places], axis=-1)


def _summed(
    is_in: Bool[Array, "*batch n_sums n_sources"],
    x: Float[Array, "*batch n_sources n_samples"],
) -> Float[Array, "*batch n_sums n_samples"]:
    """Return sums of those sources that are in each."""
    total = jnp.zeros((), x.dtype)
    for i in range(x.shape[-2]):
        own = jnp.where(
            is_in[..., i, None], x[..., i : i + 1, :], jnp.zeros_like(total)
        )
        total = total + own
    return total
