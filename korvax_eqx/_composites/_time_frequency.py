"""A weighted sum of losses on one transform of two signals."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractLoss
from korvax_eqx._engine._branches import Branch, Term, unique_names
from korvax_eqx._engine._pieces import PieceSize
from korvax_eqx._scales._identity import Identity
from korvax_eqx._static import (
    FrozenArray,
    Function,
    PartialFunction,
    Static,
    as_module,
    parameter,
)

from ._bound import BoundLoss
from ._call import Terms, check_piece_size, compare, compare_total


class TimeFrequencyLoss(AbstractLoss):
    r"""Weighted sum of losses on one time-frequency transform of two signals.

    $$L(x, y) = \sum_i w_i\, \ell_i(s_i(T(x)), s_i(T(y)))$$

    with the transform $T$, the losses $\ell_i$, the scales $s_i$ and the weights
    $w_i$. Any callable of the right type is accepted for each of them. The library's
    classes (and those derived from its bases) are evaluated in pieces and across
    devices; a plain function is evaluated on the whole batch at once.
    """

    transform_fn: Any
    loss_fn: tuple[Any, ...]
    scale_fn: tuple[Any, ...]
    weights: Array | Static
    piece_size: PieceSize = eqx.field(static=True)

    def __init__(
        self,
        transform_fn: Callable[..., Any],
        loss_fn: Callable[..., Any] | Sequence[Callable[..., Any]],
        scale_fn: Callable[..., Any] | Sequence[Callable[..., Any]] | None = None,
        weights: Any = None,
        *,
        piece_size: PieceSize = "auto",
    ):
        """**Arguments:**

        - `transform_fn`: signals to spectra, e.g. `Spectrogram()`.
        - `loss_fn`: one loss on two spectra, or a sequence of them.
        - `scale_fn`: the scale that is applied to both spectra before each loss, or
            one for all; `None` for none.
        - `weights`: a number for each loss; `None` weighs each by 1 / (number of
            losses). Numbers and NumPy arrays are configuration, and a term of weight
            0 is not computed. A JAX array of shape `(n_losses,)` is a leaf: it can be
            learned, or annealed without compiling again.
        - `piece_size`: how many signals are evaluated at a time: `"auto"` for about
            90000 samples on CPU (what fits the cache) and 4 million on GPU and TPU,
            a number, or `None` for all at once. It changes memory and speed only.

        **Raises:** `ValueError` if something is not callable, or if the numbers of
        losses, scales and weights disagree.
        """
        owner = "TimeFrequencyLoss"
        if not callable(transform_fn):
            checks.refuse(owner, "transform_fn", "be callable", transform_fn)
        losses = _sequence(owner, "loss_fn", loss_fn)
        scales = (Identity(),) * len(losses)
        if scale_fn is not None:
            scales = _sequence(owner, "scale_fn", scale_fn)
        if len(losses) == 1:
            losses *= len(scales)
        if len(scales) == 1:
            scales *= len(losses)
        if len(losses) != len(scales):
            rule = f"be one scale, or one for each of the {len(losses)} losses"
            checks.refuse(owner, "scale_fn", rule, f"{len(scales)} scales")
        self.transform_fn = as_module(transform_fn)
        self.loss_fn = tuple(map(as_module, losses))
        self.scale_fn = tuple(map(as_module, scales))
        self.weights = _weights(owner, weights, len(losses))
        self.piece_size = check_piece_size(owner, piece_size)

    @property
    def term_weights(self) -> tuple[float, ...] | Float[Array, " n_losses"]:
        """The weights in use, one for each loss."""
        if isinstance(self.weights, Static):
            n_losses = len(self.loss_fn)
            value = self.weights.value
            return (1 / n_losses,) * n_losses if value is None else value
        return self.weights

    def branches(self) -> tuple[Branch, ...]:
        """What is computed, for the evaluation engine."""
        terms = tuple(self._terms())
        return (Branch(self.transform_fn, terms),) if terms else ()

    def _terms(self) -> list[Term]:
        weights = [parameter(w) for w in self.term_weights]
        pairs = list(zip(self.loss_fn, self.scale_fn, strict=True))
        names = unique_names([_term_name(loss, scale) for loss, scale in pairs])
        return [
            Term(scale, loss, weight, 1.0, name)
            for (loss, scale), weight, name in zip(pairs, weights, names, strict=True)
            if not (isinstance(weight, Static) and weight.value == 0)
        ]

    @jax.named_scope("korvax_eqx.TimeFrequencyLoss")
    def __call__(
        self,
        x: Float[Array, "*channels n_samples"],
        y: Float[Array, "*channels n_samples"],
    ) -> Float[Array, ""]:
        """Return the loss of the estimate `x` for the target `y`.

        **Raises:** `ValueError` for signals of different shapes, or not real floats.
        """
        return compare_total(self, x, y)

    def with_terms(
        self,
        x: Float[Array, "*channels n_samples"],
        y: Float[Array, "*channels n_samples"],
    ) -> tuple[Float[Array, ""], Terms]:
        """Return the loss and its weighted terms by name, which carry no gradient."""
        return compare(self, x, y)

    def bind(self, y: Float[Array, "*channels n_samples"]) -> BoundLoss:
        """Return the loss of `x` alone, with all about the target computed once."""
        return BoundLoss(self, y)


def _sequence(owner: str, argument: str, value: Any) -> tuple[Any, ...]:
    items = (value,) if callable(value) else value
    is_sequence = isinstance(items, list | tuple) and len(items) > 0
    if not is_sequence or not all(map(callable, items)):
        checks.refuse(owner, argument, "be callable, or a sequence of callables", value)
    return tuple(items)


def _weights(owner: str, weights: Any, n_losses: int) -> Array | Static:
    rule = f"have one number for each of the {n_losses} losses"
    if isinstance(weights, Static | FrozenArray):
        weights = weights.value
    if weights is None:
        return Static(None)
    if isinstance(weights, list | tuple) and any(map(checks.is_learnable, weights)):
        weights = jnp.stack([jnp.asarray(w) for w in weights])
    if isinstance(weights, jax.Array):
        checks.floating_array(owner, "weights", weights, ndim=1)
    elif isinstance(weights, np.ndarray):
        weights = weights.tolist()
    if not isinstance(weights, list | tuple | jax.Array) or len(weights) != n_losses:
        checks.refuse(owner, "weights", rule, weights)
    if isinstance(weights, jax.Array):
        return weights
    return Static(tuple(checks.real(owner, "weights", w) for w in weights))


def _term_name(loss: Any, scale: Any) -> str:
    parts = [] if isinstance(scale, Identity) else [_name(scale)]
    return "/".join([*parts, _name(loss).removesuffix("_loss")])


def _name(part: Any) -> str:
    """Return a name for a log: `SpectralConvergenceLoss` is `spectral_convergence`."""
    if isinstance(part, Function | PartialFunction):
        fn = part.fn
        if isinstance(fn, Function):
            fn = fn.fn
        name = getattr(fn, "__name__", type(fn).__name__)
        return "function" if name == "<lambda>" else name
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(part).__name__)
    return words.lower()


def time_frequency_loss(
    x: Float[Array, "*channels n_samples"],
    y: Float[Array, "*channels n_samples"],
    /,
    transform_fn: Callable[..., Any],
    loss_fn: Callable[..., Any] | Sequence[Callable[..., Any]],
    scale_fn: Callable[..., Any] | Sequence[Callable[..., Any]] | None = None,
    weights: Any = None,
) -> Float[Array, ""]:
    """Apply `TimeFrequencyLoss`.

    A function or `lambda` that is made anew for every call is compiled anew for every
    call: define it once outside, or call this inside a function of your own under
    `jax.jit`.
    """
    return TimeFrequencyLoss(transform_fn, loss_fn, scale_fn, weights)(x, y)
