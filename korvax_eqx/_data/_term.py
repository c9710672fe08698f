"""What a loss is made of: terms."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from korvax_eqx._static import static_or_leaf


class Term(eqx.Module):
    """One term of a loss: a path that both signals take, and a loss at its end.

    **Attributes:**

    - `path`: steps, from signals to what the loss compares: `AbstractSignalMap`s, an
        `AbstractTransform`, `AbstractScale`s; empty for a loss in the time domain.
    - `loss`: an `AbstractSpectralLoss` or an `AbstractWaveformLoss`.
    - `weight`: a number, or a scalar JAX array. A term whose weight is the number 0 is
        left out.
    - `name`: what it is called in a log. Names that come more than once are numbered.
    - `gate`: whether the term counts in this call; `None` if it always does. What is
        not needed is not computed.
    - `piece_size`: how many signals to evaluate at a time: a number, `None` for all, or
        `"auto"`.
    - `target`: what the path has made of the target already, for a bound loss.
    - `inside`: terms that `loss` joins: it gets both signals at the end of the path of
        each, and returns a value for each. Their weighted sum is the value of the term.
    """

    path: tuple[Any, ...]
    loss: Any
    weight: Any = eqx.field(converter=static_or_leaf, default=1.0)
    name: str = eqx.field(static=True, default="")
    gate: Bool[Array, ""] | None = None
    piece_size: Any = eqx.field(static=True, default="auto")
    target: Any = None
    inside: tuple["Term", ...] = ()

    @property
    def labels(self) -> list[str]:
        """What it is called in a log: a name for each of the terms inside, if any."""
        if len(self.inside) == 1 and self.name or not self.inside:
            return [self.name]
        names = [term.name for term in self.inside]
        return [f"{self.name}/{name}" for name in names] if self.name else names

    def part_of(self, name: str, weight: Any = 1.0) -> "Term":
        """Return the term as part of a sum: under a name, times a weight."""
        full = f"{name}/{self.name}" if self.name else name
        return self._with(name=full, weight=_product(weight, self.weight))

    def after(self, *steps: Any) -> "Term":
        """Return the term with steps before its path."""
        return self._with(path=(*steps, *self.path))

    def gated(self, gate: Bool[Array, ""]) -> "Term":
        """Return the term, which counts where `gate` is true, too."""
        return self._with(gate=gate if self.gate is None else self.gate & gate)

    def called(self, name: str) -> "Term":
        """Return the term under another name."""
        return self._with(name=name)

    def against(self, target: Any) -> "Term":
        """Return the term with a target that took its path already."""
        return self._with(target=target)

    def _with(self, **fields: Any) -> "Term":
        names = ("path", "loss", "weight", "name", "gate", "piece_size", "target")
        own = {name: getattr(self, name) for name in (*names, "inside")}
        return Term(**{**own, **fields})


def _product(a: Any, b: Any) -> Any:
    """The product of two weights: numbers stay numbers."""
    if isinstance(a, jax.Array) and isinstance(b, jax.Array):
        dtype = max(a.dtype, b.dtype, key=lambda dtype: dtype.itemsize)
        return a.astype(dtype) * b.astype(dtype)
    if isinstance(a, jax.Array) or isinstance(b, jax.Array):
        array, number = (a, b) if isinstance(a, jax.Array) else (b, a)
        return array * jnp.asarray(float(number), array.dtype)
    return float(a) * float(b)


def is_off(weight: Any) -> bool:
    """Whether a term of this weight is left out: a number that is 0."""
    return not isinstance(weight, jax.Array) and weight == 0
