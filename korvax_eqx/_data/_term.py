"""Terms: a loss is a weighted sum of them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from korvax_eqx._static import static_or_leaf


class Term(eqx.Module):
    """One term of a loss: a path that both signals take, and the loss at its end.

    **Attributes:**

    - `path`: steps, from signals to what the loss compares: `AbstractSignalMap`s, an
        `AbstractTransform`, `AbstractScale`s; empty for a loss in the time domain.
    - `loss`: an `AbstractSpectralLoss` or an `AbstractWaveformLoss`.
    - `weight`: a number, or a scalar JAX array. A term whose weight is the number 0 is
        left out, unless it is monitored.
    - `name`: name for logging. Repeated names are numbered.
    - `gate`: whether the term counts in this call; `None`: always. Terms that do not
        count are not computed.
    - `piece_size`: number of signals evaluated at a time; `None`: all; or `"auto"`.
    - `target`: for a bound loss, the target after the path.
    - `weight_in_part`: the weight within the part that the term belongs to, so that
        the part can be logged on its own.
    - `is_monitored`: whether the term is only reported, and adds nothing to the loss
        and its gradient.
    - `inside`: terms that `loss` joins. It gets estimate and target at the end of each
        one's path, and returns a value for each. The weighted sum of these values is
        the value of this term.
    """

    path: tuple[Any, ...]
    loss: Any
    weight: Any = eqx.field(converter=static_or_leaf, default=1.0)
    name: str = eqx.field(static=True, default="")
    gate: Bool[Array, ""] | None = None
    piece_size: Any = eqx.field(static=True, default="auto")
    target: Any = None
    weight_in_part: Any = eqx.field(converter=static_or_leaf, default=1.0)
    is_monitored: bool = eqx.field(static=True, default=False)
    inside: tuple["Term", ...] = ()

    @property
    def logged(self) -> tuple["Term", ...]:
        """What is logged: the term itself, or each of the terms inside."""
        if not self.inside:
            return (self,)
        alone = len(self.inside) == 1 and self.name != ""
        return tuple(
            term._with(
                name="/".join(filter(None, (self.name, "" if alone else term.name))),
                weight=product(self.weight, term.weight),
                weight_in_part=product(self.weight_in_part, term.weight_in_part),
                is_monitored=self.is_monitored or term.is_monitored,
            )
            for term in self.inside
        )

    def part_of(self, name: str, weight: Any = 1.0) -> "Term":
        """Return the term as part of a sum, its name prefixed and its weight scaled."""
        full = f"{name}/{self.name}" if self.name else name
        return self._with(
            name=full,
            weight=product(weight, self.weight),
            weight_in_part=self._counting_weight,
            inside=tuple(
                term._with(weight_in_part=term._counting_weight) for term in self.inside
            ),
        )

    @property
    def _counting_weight(self) -> Any:
        """The weight; 0 for a term that is only monitored, which adds nothing."""
        return 0.0 if self.is_monitored else self.weight

    def part_alone(self) -> "Term":
        """Return the term with only its weight within its part."""
        return self._with(weight=self.weight_in_part)

    def monitored(self) -> "Term":
        """Return the term as one that is only reported."""
        return self._with(is_monitored=True)

    def after(self, *steps: Any) -> "Term":
        """Return the term with steps before its path."""
        return self._with(path=(*steps, *self.path))

    def with_path(self, path: Sequence[Any]) -> "Term":
        """Return the term with another path."""
        return self._with(path=tuple(path))

    def gated(self, gate: Bool[Array, ""]) -> "Term":
        """Return the term, which then counts only if `gate` is true too."""
        return self._with(gate=gate if self.gate is None else self.gate & gate)

    def called(self, name: str) -> "Term":
        """Return the term under another name."""
        return self._with(name=name)

    def against(self, target: Any) -> "Term":
        """Return the term with a bound target, to which the path was applied."""
        return self._with(target=target)

    def _with(self, **fields: Any) -> "Term":
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Term(**{**own, **fields})


def product(a: Any, b: Any) -> Any:
    """The product of two weights: numbers stay numbers."""
    if isinstance(a, jax.Array) and isinstance(b, jax.Array):
        dtype = max(a.dtype, b.dtype, key=lambda dtype: dtype.itemsize)
        return a.astype(dtype) * b.astype(dtype)
    if isinstance(a, jax.Array) or isinstance(b, jax.Array):
        array, number = (a, b) if isinstance(a, jax.Array) else (b, a)
        return array * jnp.asarray(float(number), array.dtype)
    return float(a) * float(b)


def is_off(weight: Any) -> bool:
    """Whether a weight is the number 0, so that its term is left out."""
    return not isinstance(weight, jax.Array) and weight == 0
