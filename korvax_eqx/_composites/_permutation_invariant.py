"""A loss of sources that come in any order."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._data import Term
from korvax_eqx._keys import check_key
from korvax_eqx._static import Fixed

from ._arguments import part
from ._matching import Matching, pairwise_terms
from ._source_order import order_of


class PermutationInvariantLoss(AbstractLoss):
    r"""A loss of several sources, matched to the targets in the order of least loss.

    $$L(x, y) = \min_\pi \frac1n \sum_j \ell(x_{\pi(j)}, y_j)$$

    for each mixture, and then the mean over mixtures. Signals have the shape
    `(*batch, n_sources, n_samples)`. Of each source all is computed once, its spectra
    too; only their comparison at the end is one of all pairs. The order carries no
    gradient. Up to 6 sources all orders are tried; for more, optax must be installed,
    whose Hungarian algorithm finds the best one.

    Also known as permutation-invariant training (PIT), with sources of an utterance in
    one order throughout. See Yu et al. (2017), "Permutation invariant training of deep
    models for speaker-independent multi-talker speech separation", and Kolbæk et al.
    (2017). Equals asteroid's `PITLossWrapper(loss, pit_from="pw_mtx")`.

    Terms are called as those of the loss. Of each mixture all spectra are in memory
    together, while the loss alone needs those of a few transforms at a time. Within a
    padded batch, signals that are too short for what is monitored inside count as 0 in
    what is reported of it.
    """

    loss: Any

    def __init__(self, loss: Callable[..., Any]):
        """**Arguments:**

        - `loss`: any loss on signals that is a mean over them. A function is called
            with one estimate and one target, of shape `(n_samples,)` each.

        **Raises:** `ValueError` for anything else. A call raises it for a loss that
        mixes channels or the signals of a batch, and for one with a target.
        """
        self.loss = part("PermutationInvariantLoss", "loss", loss, AbstractLoss)

    @property
    def has_parts(self) -> bool:
        return isinstance(self.loss, AbstractLoss) and self.loss.has_parts

    def terms(self, *, key: PRNGKeyArray | None = None) -> tuple[Term, ...]:
        inside = pairwise_terms("PermutationInvariantLoss", self.loss, key)
        sizes = {term.piece_size for term in inside}
        size = sizes.pop() if len(sizes) == 1 else "auto"
        if not inside:
            return ()
        return (Term((), Matching(), piece_size=size, inside=inside),)

    def assignment(
        self,
        x: Float[Array, "*batch n_sources n_samples"],
        y: Float[Array, "*batch n_sources n_samples"],
        *,
        lengths: Int[ArrayLike, "..."] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Int[Array, "*batch n_sources"]:
        """Return the number of the estimate that belongs to each target.

        `jnp.take_along_axis(x, loss.assignment(x, y)[..., None], axis=-2)` are the
        estimates in the order of the targets. The arguments are those of a call.
        """
        name = "PermutationInvariantLoss"
        checks.signal_type(name, "x", x)
        checks.signal_type(name, "y", y)
        check_key(name, key)
        lengths = checks.lengths(name, lengths, x)
        return order_of(self.terms(key=key), Fixed(name), x, y, lengths)
