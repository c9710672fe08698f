"""The terms of a loss, for logging."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.tree_util import DictKey, GetAttrKey

from korvax_eqx._static import NamedParts


class Terms(dict[str, Any]):
    """The weighted terms of a loss by name, which add up to it.

    A dictionary of scalars, made by `loss.with_terms`, that is also a pytree: it goes
    through `jax.jit`, `jax.vmap` and `jax.lax.scan`, and keeps its order. Everything
    in it was computed in the same pass as the loss:

    - `terms.unweighted`: the terms without any weight, e.g. an SI-SDR in dB;
    - `terms.parts`: one entry for each part of a `SumLoss`, or for each resolution of a
        multi-resolution loss; for other losses, the terms themselves;
    - `terms.parts.unweighted`: the value that each part would return if called on its
        own, i.e. with the weights inside it, but without its weight in the sum.

    A term that is only monitored (`SumLoss(..., monitor=...)`) is 0 here; its value is
    in `unweighted`.

    **Arguments:**

    - `weighted`: the terms by name.
    - `unweighted`: the same without weights.
    - `parts`: the terms of the parts; `None` if they are the same.
    """

    unweighted: Mapping[str, Any]
    _parts: "Terms | None"

    def __init__(
        self,
        weighted: Mapping[str, Any],
        unweighted: Mapping[str, Any],
        parts: "Terms | None" = None,
    ) -> None:
        dict.__init__(self, weighted)
        self.unweighted = NamedParts(unweighted)
        self._parts = parts

    @property
    def parts(self) -> "Terms":
        """The terms by part."""
        return self if self._parts is None else self._parts

    def __reduce__(self) -> Any:
        return Terms, (dict(self), self.unweighted, self._parts)


def _flatten_with_keys(terms: Terms) -> tuple[Any, Any]:
    own = [(DictKey(name), value) for name, value in terms.items()]
    others = [
        (GetAttrKey("unweighted"), terms.unweighted),
        (GetAttrKey("parts"), terms._parts),
    ]
    return [*own, *others], tuple(terms)


def _unflatten(names: tuple[str, ...], children: Any) -> Terms:
    *values, unweighted, parts = children
    terms = Terms(dict(zip(names, values, strict=True)), {}, parts)
    terms.unweighted = unweighted  # not converted: JAX may put any object into a tree
    return terms


jax.tree_util.register_pytree_with_keys(Terms, _flatten_with_keys, _unflatten)
