"""A composite loss bound to its target."""

import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._engine._branches import Branch, is_rowwise
from korvax_eqx._engine._evaluate import evaluate
from korvax_eqx._engine._pieces import PieceSize

from ._call import Composite, Terms, add_whole, compiled, in_order, term_names


class BoundLoss(eqx.Module):
    """A loss of the estimate alone, made by `bind` from a loss and a target.

    Everything about the target is computed once, when it is bound: its spectra are
    array leaves of this module. They are data, not parameters: keep them out of an
    optimiser (`eqx.partition`), or bind inside the function that is differentiated.
    """

    _branches: tuple[Branch, ...]
    _targets: tuple[tuple[Array, ...], ...]
    _shape: tuple[int, ...] = eqx.field(static=True)
    _dtype: Any = eqx.field(static=True)
    _name: str = eqx.field(static=True)
    piece_size: PieceSize = eqx.field(static=True)

    def __init__(self, loss: Composite, y: Float[Array, "*channels n_samples"]):
        owner = type(loss).__name__
        checks.signal_type(owner, "y", y)
        self._branches = loss.branches()
        self._targets = _spectra(loss, y)
        self._shape = jnp.shape(y)
        self._dtype = checks.signal(owner, "y", y).dtype
        self._name = owner
        self.piece_size = loss.piece_size

    @jax.named_scope("korvax_eqx.BoundLoss")
    def __call__(self, x: Float[Array, "*channels n_samples"]) -> Float[Array, ""]:
        """Return the loss of `x`, a signal of the target's shape.

        **Raises:** `ValueError` for a signal of another shape or kind.
        """
        checks.signal_type(self._name, "x", x)
        return _compare_bound_total(self, x)

    def with_terms(
        self, x: Float[Array, "*channels n_samples"]
    ) -> tuple[Float[Array, ""], Terms]:
        """Return the loss and its weighted terms by name, which carry no gradient."""
        checks.signal_type(self._name, "x", x)
        return _compare_bound_compiled(self, x)


@compiled
def _spectra(loss: Composite, y: Any) -> tuple[tuple[Array, ...], ...]:
    """Return the targets of all terms, flat as the engine's rows."""
    y = checks.signal(type(loss).__name__, "y", y)
    return tuple(map(functools.partial(_branch_spectra, y), loss.branches()))


def _branch_spectra(
    y: Float[Array, "*channels n_samples"], branch: Branch
) -> tuple[Array, ...]:
    if not is_rowwise(branch):
        return branch.targets(y)
    return tuple(S.reshape(*y.shape[:-1], -1) for S in branch.row_spectra(y))


@dataclasses.dataclass(frozen=True)
class _Unpack:
    """The engine's flat rows back to the targets of each branch's terms."""

    shapes: tuple[tuple[tuple[int, ...], ...], ...]

    def __call__(
        self, branches: tuple[Branch, ...], rest: tuple[Array, ...]
    ) -> list[tuple[Array, ...]]:
        rows = iter(rest)
        return [
            tuple(next(rows).reshape(-1, *shape) for shape in shapes)
            for shapes in self.shapes
        ]


def _compare_bound(bound: Any, x: Any) -> tuple[Float[Array, ""], Terms]:
    x = checks.signal(bound._name, "x", x)
    if x.shape != bound._shape:
        checks.pair(bound._name, x, jax.ShapeDtypeStruct(bound._shape, bound._dtype))
    x = x.astype(checks.wider(x.dtype, bound._dtype))
    targets = jax.tree.map(lambda S: S.astype(_of_kind(S, x.dtype)), bound._targets)
    pairs = list(zip(bound._branches, targets, strict=True))
    rowwise = [(b, t) for b, t in pairs if is_rowwise(b)]
    total, terms = jnp.zeros((), x.dtype), {}
    if rowwise:
        branches = tuple(branch for branch, _ in rowwise)
        shapes = tuple(_spectrum_shapes(branch, x) for branch in branches)
        rest = tuple(target for _, targets in rowwise for target in targets)
        total, values = evaluate(branches, x, rest, _Unpack(shapes), bound.piece_size)
        terms = dict(zip(term_names(branches), values, strict=True))
    for branch, targets in pairs:
        if not is_rowwise(branch):
            values = branch.compare_whole(x, targets)
            total, more = add_whole(total, branch, values)
            terms.update(more)
    return total, in_order(terms, bound._branches)


def _of_kind(S: Array, dtype: Any) -> Any:
    """The dtype of spectra like `S`, real or complex, of signals of `dtype`."""
    if not jnp.iscomplexobj(S):
        return dtype
    return jnp.complex64 if dtype == jnp.float32 else jnp.complex128


_compare_bound_compiled = compiled(_compare_bound)
_compare_bound_total = compiled(lambda bound, x: _compare_bound(bound, x)[0])


def _spectrum_shapes(branch: Branch, x: Array) -> tuple[tuple[int, ...], ...]:
    """Return the shape of every term's target, for one signal."""
    one = jax.ShapeDtypeStruct((1, x.shape[-1]), x.dtype)
    spectra = jax.eval_shape(branch.row_spectra, one)
    return tuple(S.shape[1:] for S in spectra)
