"""The arguments that composite losses share: parts, weights and names."""

from collections.abc import Sequence
from types import FunctionType
from typing import Any, Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._core._losses import AbstractBatchLoss, AbstractSpectralLoss
from korvax_eqx._core._steps import (
    AbstractScale,
    AbstractSignalMap,
    AbstractTransform,
)
from korvax_eqx._engine._plan import unique_names
from korvax_eqx._losses._cumulative_energy import CumulativeEnergyLoss
from korvax_eqx._names import name_of, snake_name
from korvax_eqx._scales._identity import Identity
from korvax_eqx._static import StaticTuple, as_module, items_of
from korvax_eqx._tree import hash_of

# The values that a user may pass: a number of signals, or all.
PieceSize: TypeAlias = int | Literal["auto"] | None

SpectralLoss = (AbstractSpectralLoss, AbstractBatchLoss)
_KINDS: tuple[tuple[Any, str], ...] = (
    (AbstractTransform, "a transform, from signals to spectra"),
    (AbstractScale, "a scale, from spectra to spectra"),
    (SpectralLoss, "a loss on spectra"),
    (AbstractLoss, "a loss on signals"),
    (AbstractSignalMap, "a signal map"),
)


class AbstractOutermost(eqx.Module):
    """A loss that is no part of others, as it compares no two signals of one shape.

    Its class says what it is called with, and what to do instead.
    """

    called_with: eqx.AbstractClassVar[str]
    remedy: eqx.AbstractClassVar[str]

    def __hash__(self) -> int:
        return hash_of(self, type(self).__name__)


def check_piece_size(owner: str, piece_size: Any) -> PieceSize:
    """Check the argument `piece_size` that all composites share."""
    if piece_size is None or piece_size == "auto":
        return piece_size
    if isinstance(piece_size, str):
        rule = "be 'auto', a positive number of signals or None"
        checks.refuse(owner, "piece_size", rule, piece_size)
    return checks.positive_int(owner, "piece_size", piece_size)


def part(owner: str, argument: str, value: Any, base: Any) -> Any:
    """Check a part: an instance of `base` or another callable. Return it as a module.

    **Raises:** `ValueError` for a class instead of an instance, and for a part of the
    wrong kind, e.g. a loss on signals instead of a loss on spectra.
    """
    expected = next(what for kind, what in _KINDS if kind is base)
    if not callable(value):
        checks.refuse(owner, argument, "be callable", value)
    if isinstance(value, type):
        remedy = f"Make an instance: `{value.__name__}(...)`."
        rule = "be an object, not a class"
        checks.refuse(owner, argument, rule, name_of(value), remedy)
    is_function = isinstance(value, FunctionType)
    if is_function and "korvax_eqx._recipes" in str(value.__module__):
        rule, remedy = "be a loss, not a recipe", f"Call it: `{value.__name__}(...)`."
        checks.refuse(owner, argument, rule, name_of(value), remedy)
    if isinstance(value, AbstractOutermost):
        remedy = f"That is called with {value.called_with}. {value.remedy}"
        checks.refuse(owner, argument, f"be {expected}", name_of(value), remedy)
    for kind, what in _KINDS:
        if isinstance(value, kind) and not isinstance(value, base):
            rule = f"be {expected}"
            checks.refuse(owner, argument, rule, f"`{name_of(value)}`, {what}")
    return as_module(value)


def parts(owner: str, argument: str, value: Any, base: Any) -> tuple[Any, ...]:
    """Check one part or a non-empty sequence of them."""
    items = (value,) if callable(value) else items_of(value)
    if not items or not all(map(callable, items)):
        checks.refuse(owner, argument, "be callable, or a sequence of callables", value)
    return tuple(part(owner, argument, item, base) for item in items)


def losses_and_scales(
    owner: str, loss_fn: Any, scale_fn: Any
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return equally many losses and scales."""
    losses = parts(owner, "loss_fn", loss_fn, SpectralLoss)
    scales = (Identity(),) * len(losses)
    if scale_fn is not None:
        scales = parts(owner, "scale_fn", scale_fn, AbstractScale)
    if len(losses) == 1:
        losses *= len(scales)
    if len(scales) == 1:
        scales *= len(losses)
    if len(losses) != len(scales):
        rule = f"be one scale, or one for each of the {len(losses)} losses"
        checks.refuse(owner, "scale_fn", rule, f"{len(scales)} scales")
    for loss, scale in zip(losses, scales, strict=True):
        if isinstance(loss, CumulativeEnergyLoss):
            loss.check_scale(owner, scale)
    return losses, scales


def weights_of(
    owner: str, weights: Any, n: int, argument: str = "weights", what: str = "losses"
) -> Any:
    """Check weights: `None`, numbers (configuration) or a JAX array (a leaf)."""
    rule = f"have one number for each of the {n} {what}"
    if weights is None:
        return None
    if isinstance(weights, np.ndarray):
        weights = weights.tolist()
    if not isinstance(weights, jax.Array):
        items = items_of(weights)
        if items is not None and any(map(checks.is_leaf, items)):
            weights = jnp.stack([jnp.asarray(w) for w in items])
        elif items is None or len(items) != n:
            checks.refuse(owner, argument, rule, weights)
        else:
            return StaticTuple(checks.real(owner, argument, w) for w in items)
    checks.floating_array(owner, argument, weights, ndim=1)
    if len(weights) != n:
        checks.refuse(owner, argument, rule, weights)
    return weights


def names_of(owner: str, names: Any, n: int, what: str) -> tuple[str, ...] | None:
    """Check names for logging: `None`, or one for each."""
    if names is None:
        return None
    items = (names,) if isinstance(names, str) else items_of(names)
    is_right = items is not None and len(items) == n and len(set(items)) == n
    if not is_right or not all(isinstance(i, str) and i for i in items or ()):
        rule = f"have one name for each of the {n} {what}, all different"
        checks.refuse(owner, "names", rule, names)
    assert items is not None
    return tuple(str(item) for item in items)


def term_names(
    losses: Sequence[Any], scales: Sequence[Any], names: Sequence[str] | None
) -> list[str]:
    """Return the names of terms: the given ones, or those made of scale and loss."""
    if names is not None:
        return list(names)
    pairs = zip(losses, scales, strict=True)
    return unique_names([_term_name(loss, scale) for loss, scale in pairs])


def _term_name(loss: Any, scale: Any) -> str:
    names = [] if isinstance(scale, Identity) else [snake_name(scale)]
    return "/".join([*names, snake_name(loss)])
