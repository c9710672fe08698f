"""The evaluation engine: value and gradient of a composite loss in one pass.

A loss is a scalar, so its gradient is one array of the signal's shape. Each piece of
the batch computes its value and, if anything is differentiated, its gradient at once;
spectra live as long as their piece. The derivative rule then is an inner product with
the stored gradient. It is a JVP rule written in JAX, so that forward mode, reverse
mode and higher derivatives follow from it.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from ._branches import Branch
from ._devices import equally_varying, map_rows
from ._pieces import PieceSize, in_pieces, rows_in_piece
from ._rows import Arrays, explicit_lead


@dataclasses.dataclass(frozen=True)
class _Hole:
    """Stands where an array was taken out of a tree."""


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """A pytree without its arrays: hashable, so that it can be static."""

    leaves: tuple[Any, ...]
    treedef: Any

    def filled(self, arrays: Arrays) -> Any:
        rest = iter(arrays)
        leaves = [next(rest) if isinstance(v, _Hole) else v for v in self.leaves]
        return jax.tree.unflatten(self.treedef, leaves)


def take_arrays(tree: Any) -> tuple[Skeleton, Arrays]:
    """Split a pytree into its structure and its arrays."""
    leaves, treedef = jax.tree.flatten(tree)
    static = tuple(_Hole() if eqx.is_array(leaf) else leaf for leaf in leaves)
    arrays = tuple(leaf for leaf in leaves if eqx.is_array(leaf))
    return Skeleton(static, treedef), arrays


@dataclasses.dataclass(frozen=True)
class RowTerms:
    """Rows to their weighted terms and, if asked for, their gradients.

    **Arguments:**

    - `skeleton`: the branches without their arrays; the arrays come as `shared`.
    - `unpack`: the rows after the first to the terms' targets.
    - `piece_size`: see `rows_in_piece`.
    - `wrt_shared`, `wrt_rows`: which arrays to differentiate for.
    """

    skeleton: Skeleton
    unpack: Callable[[tuple[Branch, ...], Arrays], list[Any]]
    piece_size: PieceSize
    wrt_shared: tuple[int, ...] = ()
    wrt_rows: tuple[int, ...] = ()

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        lead = rows[0].shape[:-1]
        flat = tuple(row.reshape(-1, row.shape[-1]) for row in rows)
        n_rows, n_samples = flat[0].shape
        size = rows_in_piece(n_rows, n_samples, self.piece_size)
        piece = functools.partial(self._piece, shared)
        n_terms = sum(len(b.terms) for b in self.skeleton.filled(shared))
        terms = jnp.broadcast_to(jnp.zeros_like(rows[0])[..., :1], (*lead, n_terms))
        like_outputs = (terms, *(rows[i] for i in self.wrt_rows))
        like_sums = tuple(shared[i] for i in self.wrt_shared)
        return in_pieces(piece, flat, size, like_outputs, like_sums)

    def _piece(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        if not (self.wrt_shared or self.wrt_rows):
            return (self._terms(shared, rows),), ()

        def total(
            some_shared: Arrays, some_rows: Arrays
        ) -> tuple[Float[Array, ""], Float[Array, "rows terms"]]:
            terms = self._terms(
                _replace(shared, self.wrt_shared, some_shared),
                _replace(rows, self.wrt_rows, some_rows),
            )
            return jnp.sum(terms), terms

        some_shared = tuple(shared[i] for i in self.wrt_shared)
        some_rows = tuple(rows[i] for i in self.wrt_rows)
        gradient = jax.grad(total, argnums=(0, 1), has_aux=True)
        (shared_grads, row_grads), terms = gradient(some_shared, some_rows)
        return (terms, *row_grads), shared_grads

    def _terms(self, shared: Arrays, rows: Arrays) -> Float[Array, "rows terms"]:
        branches = self.skeleton.filled(shared)
        targets = self.unpack(branches, rows[1:])
        pairs = zip(branches, targets, strict=True)
        values = [v for branch, t in pairs for v in branch.compare_rows(rows[0], t)]
        return jnp.stack(values, axis=-1)


def _replace(arrays: Arrays, indices: tuple[int, ...], new: Arrays) -> Arrays:
    replaced = list(arrays)
    for index, array in zip(indices, new, strict=True):
        replaced[index] = array
    return tuple(replaced)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def mean_terms(
    fn: RowTerms, shared: Arrays, rows: Arrays
) -> tuple[Float[Array, ""], Float[Array, " terms"]]:
    """Return the loss and its terms, as means over rows; terms carry no gradient."""
    (terms,), _ = _map(fn, shared, rows)
    return _mean(terms)


def _mean(
    terms: Float[Array, "*lead terms"],
) -> tuple[Float[Array, ""], Float[Array, " terms"]]:
    means = jnp.mean(terms, axis=tuple(range(terms.ndim - 1)))
    return jnp.sum(means), means


@functools.partial(mean_terms.defjvp, symbolic_zeros=True)
def _mean_terms_jvp(fn, primals, tangents):
    shared, rows = primals
    shared_tangents, row_tangents = tangents
    fn = dataclasses.replace(
        fn, wrt_shared=_perturbed(shared_tangents), wrt_rows=_perturbed(row_tangents)
    )
    (terms, *row_grads), shared_grads = _map(fn, shared, rows)
    total, means = _mean(terms)
    n_rows = terms.size // terms.shape[-1]
    pairs = [
        *zip(row_grads, (row_tangents[i] for i in fn.wrt_rows), strict=True),
        *zip(shared_grads, (shared_tangents[i] for i in fn.wrt_shared), strict=True),
    ]
    change = sum((jnp.sum(g * t) for g, t in pairs), jnp.zeros((), total.dtype))
    return (total, means), (change / n_rows, jnp.zeros_like(means))


def _perturbed(tangents: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(i for i, t in enumerate(tangents) if not isinstance(t, SymbolicZero))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _map(fn: RowTerms, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
    """Evaluate `fn` where the rows are."""
    return map_rows(
        fn,
        shared,
        rows,
        n_row_outputs=1 + len(fn.wrt_rows),
        n_summed_outputs=len(fn.wrt_shared),
    )


@_map.defjvp
def _map_jvp(fn, primals, tangents):
    # The derivative of the gradient. On several devices `map_rows` has no rules under
    # automatic sharding; the FFTs inside the row function find their devices alone.
    is_explicit = any(explicit_lead(*primals[1]))
    function = _map.fun if is_explicit else RowTerms.__call__
    return jax.jvp(functools.partial(function, fn), primals, tangents)


def evaluate(
    branches: tuple[Branch, ...],
    x: Float[Array, "*channels n_samples"],
    rest: Arrays,
    unpack: Callable[[tuple[Branch, ...], Arrays], list[Any]],
    piece_size: PieceSize,
) -> tuple[Float[Array, ""], Float[Array, " terms"]]:
    """Evaluate branches that treat every row on its own."""
    skeleton, shared = take_arrays(branches)
    arrays = equally_varying((*shared, x, *rest))
    shared, rows = arrays[: len(shared)], arrays[len(shared) :]
    return mean_terms(RowTerms(skeleton, unpack, piece_size), shared, rows)
