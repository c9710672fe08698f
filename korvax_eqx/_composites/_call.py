"""Calling a composite: checks, compilation, and what is evaluated in which way."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from korvax_eqx import _checks as checks
from korvax_eqx._engine._branches import Branch, is_rowwise
from korvax_eqx._engine._evaluate import evaluate
from korvax_eqx._engine._pieces import PieceSize

Terms = dict[str, Float[Array, ""]]


@runtime_checkable
class Composite(Protocol):
    """What the functions below need of a loss."""

    @property
    def piece_size(self) -> PieceSize: ...

    def branches(self) -> tuple[Branch, ...]: ...


def check_piece_size(owner: str, piece_size: Any) -> PieceSize:
    """Check the argument `piece_size` that all composites share."""
    if piece_size is None or piece_size == "auto":
        return piece_size
    if isinstance(piece_size, str):
        rule = "be 'auto', a positive number of signals or None"
        checks.refuse(owner, "piece_size", rule, piece_size)
    return checks.positive_int(owner, "piece_size", piece_size)


def compiled(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of modules and arrays.

    `jax.jit` where every leaf is an array, as in the library's own classes: its
    dispatch is several times faster. `eqx.filter_jit` for the other trees that users
    build, e.g. with functions as leaves.
    """
    plain, filtered = jax.jit(fn), eqx.filter_jit(fn)

    def call(*args: Any) -> Any:
        is_plain = all(map(eqx.is_array, jax.tree.leaves(args)))
        return (plain if is_plain else filtered)(*args)

    return call


def compare(loss: Composite, x: Any, y: Any) -> tuple[Float[Array, ""], Terms]:
    """Return the loss of two signals and its weighted terms by name."""
    _check_types(loss, x, y)
    return _compare_compiled(loss, x, y)


def compare_total(loss: Composite, x: Any, y: Any) -> Float[Array, ""]:
    """Return the loss of two signals."""
    _check_types(loss, x, y)
    return _compare_total_compiled(loss, x, y)


def _check_types(loss: Composite, x: Any, y: Any) -> None:
    # Before `jax.jit`, which would convert lists or refuse in words of its own.
    owner = type(loss).__name__
    checks.signal_type(owner, "x", x)
    checks.signal_type(owner, "y", y)


def _compare(loss: Composite, x: Any, y: Any) -> tuple[Float[Array, ""], Terms]:
    owner = type(loss).__name__
    x, y = checks.signal(owner, "x", x), checks.signal(owner, "y", y)
    checks.pair(owner, x, y)
    dtype = checks.wider(x.dtype, y.dtype)
    x, y = x.astype(dtype), y.astype(dtype)
    branches = loss.branches()
    rowwise = tuple(branch for branch in branches if is_rowwise(branch))
    whole = tuple(branch for branch in branches if not is_rowwise(branch))
    total, terms = jnp.zeros((), dtype), {}
    if rowwise:
        total, values = evaluate(rowwise, x, (y,), _targets, loss.piece_size)
        terms = dict(zip(term_names(rowwise), values, strict=True))
    for branch in whole:
        values = branch.compare_whole(x, branch.targets(y))
        total, more = add_whole(total, branch, values)
        terms.update(more)
    return total, in_order(terms, branches)


def in_order(terms: Terms, branches: tuple[Branch, ...]) -> Terms:
    """Return the terms as the loss lists them: JAX sorts the keys of plain dicts."""
    return OrderedDict((name, terms[name]) for name in term_names(branches))


_compare_compiled = compiled(_compare)
_compare_total_compiled = compiled(lambda loss, x, y: _compare(loss, x, y)[0])


def _targets(
    branches: tuple[Branch, ...], rest: tuple[Array, ...]
) -> list[tuple[Inexact[Array, "rows _ _"], ...]]:
    return [branch.row_spectra(rest[0]) for branch in branches]


def term_names(branches: tuple[Branch, ...]) -> list[str]:
    return [term.name for branch in branches for term in branch.terms]


def add_whole(
    total: Float[Array, ""], branch: Branch, values: list[Float[Array, ""]]
) -> tuple[Float[Array, ""], Terms]:
    """Add a branch that was evaluated whole; its terms carry no gradient."""
    names = term_names((branch,))
    terms = dict(zip(names, map(jax.lax.stop_gradient, values), strict=True))
    return sum(values, total), terms
