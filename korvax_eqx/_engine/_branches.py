"""What a composite loss computes, in the form in which the engine evaluates it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from korvax_eqx._base import AbstractScale, AbstractSpectralLoss, AbstractTransform
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._losses._spectral_convergence import SpectralConvergenceLoss
from korvax_eqx._scales._chain import Chain
from korvax_eqx._scales._decibel import AmplitudeToDB, PowerToDB
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._log import Log
from korvax_eqx._static import Function, PartialFunction, Static


class Term(eqx.Module):
    """One comparison: `factor * weight * loss(scale(S_x), scale(S_y))`."""

    scale: Any
    loss: Any
    weight: Array | Static
    factor: float = eqx.field(static=True)
    name: str = eqx.field(static=True)

    @property
    def is_orderless(self) -> bool:
        """Whether bins and frames may be exchanged without changing the value."""
        return _is_orderless(self.scale) and _is_orderless(self.loss)

    def weigh(self, value: Float[Array, "*rows"]) -> Float[Array, "*rows"]:
        if isinstance(self.weight, Static):
            return value * float(self.weight.value * self.factor)
        return value * (self.weight * self.factor).astype(value.dtype)


class Branch(eqx.Module):
    """A transform of both signals, and the terms that compare the results."""

    transform: Any
    terms: tuple[Term, ...]

    def row_spectra(
        self, x: Float[Array, "rows n_samples"]
    ) -> tuple[Inexact[Array, "rows _ _"], ...]:
        """Return the scaled spectra of every term, in the order it is computed in.

        Frames come out of an FFT with the bins along the last axis, and XLA does copy
        them for the public order (n_bins, n_frames). Terms to which the order makes
        no difference are spared that: it took a third of their time.
        """
        # Undoes the last step of the transform: XLA drops the two.
        S = jnp.swapaxes(self.transform(x), -1, -2)
        return tuple(
            t.scale(S if t.is_orderless else jnp.swapaxes(S, -1, -2))
            for t in self.terms
        )

    def targets(
        self, y: Float[Array, "*channels n_samples"]
    ) -> tuple[Inexact[Array, "*channels n_bins n_frames"], ...]:
        """Return, for every term, the side that does not depend on the estimate."""
        S = self.transform(y)
        return tuple(term.scale(S) for term in self.terms)

    def compare_rows(
        self,
        x: Float[Array, "rows n_samples"],
        targets: Sequence[Inexact[Array, "rows _ _"]],
    ) -> list[Float[Array, " rows"]]:
        """Return the weighted value of every term for each row on its own.

        The targets are as `row_spectra` returns them.
        """
        triples = zip(self.terms, self.row_spectra(x), targets, strict=True)
        return [t.weigh(jax.vmap(t.loss)(S, target)) for t, S, target in triples]

    def compare_whole(
        self,
        x: Float[Array, "*channels n_samples"],
        targets: Sequence[Inexact[Array, "*channels n_bins n_frames"]],
    ) -> list[Float[Array, ""]]:
        """Return the weighted value of every term for all of `x` together."""
        S = self.transform(x)
        pairs = zip(self.terms, targets, strict=True)
        values = [t.weigh(jnp.asarray(t.loss(t.scale(S), y))) for t, y in pairs]
        for term, value in zip(self.terms, values, strict=True):
            if value.shape != ():
                raise ValueError(
                    f"The loss of the term {term.name!r} must return a scalar. Got "
                    f"the shape {value.shape}. Average over the axes that are left."
                )
        return values


_ORDERLESS = (
    Identity,
    Log,
    AmplitudeToDB,
    PowerToDB,
    ElementwiseLoss,
    SpectralConvergenceLoss,
)


def _is_orderless(part: Any) -> bool:
    if isinstance(part, Chain):
        return all(map(_is_orderless, part.scales))
    return isinstance(part, _ORDERLESS)


def is_rowwise(branch: Branch) -> bool:
    """Whether every part promises to treat the leading axes index by index.

    The library's classes and those derived from its bases do; any other callable
    might mix them, so it must see all rows at once.
    """

    return (
        _keeps_rows(branch.transform, AbstractTransform)
        and all(_keeps_rows(term.scale, AbstractScale) for term in branch.terms)
        and all(_keeps_rows(term.loss, AbstractSpectralLoss) for term in branch.terms)
    )


def _keeps_rows(part: Any, base: type) -> bool:
    if isinstance(part, Chain):
        return all(_keeps_rows(scale, AbstractScale) for scale in part.scales)

    def is_plain(node: Any) -> bool:
        return isinstance(node, Function | PartialFunction)

    nodes = jax.tree.leaves(part, is_leaf=is_plain)
    return isinstance(part, base) and not any(map(is_plain, nodes))


def unique_names(names: Sequence[str]) -> list[str]:
    """Number the names that come more than once: `a`, `b`, `a` is `a#1`, `b`, `a#2`."""
    total, seen, result = Counter(names), Counter(), []
    for name in names:
        seen[name] += 1
        result.append(f"{name}#{seen[name]}" if total[name] > 1 else name)
    return result
