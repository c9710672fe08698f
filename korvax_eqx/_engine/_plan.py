"""Merging the paths of terms into a tree, so that common first steps run once."""

import functools
import operator
from collections import Counter
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax

from korvax_eqx._data._term import Term, is_off


class End(eqx.Module):
    """Where the path of a term ends.

    **Attributes:**

    - `loss`, `weight`, `gate`: as in `Term`.
    - `piece_size`: as in `Term`.
    - `is_monitored`: as in `Term`.
    - `number`: index of the term.
    - `slot`: index of the kept target to compare with; `None` if the target is not
        bound, so that the path is applied to it too.
    - `inside`: for a loss that joins terms (`Term.inside`), the tree of these terms.
    """

    loss: Any
    weight: Any
    gate: Any
    piece_size: Any = eqx.field(static=True)
    is_monitored: bool = eqx.field(static=True)
    number: int = eqx.field(static=True)
    slot: int | None = eqx.field(static=True)
    inside: "Branch | None" = None

    @property
    def joined_ends(self) -> "list[End]":
        """The ends of the terms that the loss joins, in the order of the terms."""
        return [] if self.inside is None else self.inside.all_ends()

    @property
    def n_columns(self) -> int:
        """Number of columns, i.e. values per row."""
        if self.inside is not None:
            return len(self.joined_ends)
        return self.loss.n_sums if self.loss.is_of_batch else 1


class Branch(eqx.Module):
    """A step, and the branches and ends that follow it. The root has no step."""

    step: Any
    branches: tuple["Branch", ...]
    ends: tuple[End, ...]

    def all_ends(self) -> list[End]:
        """Return the ends on this branch and below it, in the order of the terms."""
        ends: list[End] = []
        rest: list[Branch] = [self]
        while rest:
            branch = rest.pop()
            ends.extend(branch.ends)
            rest.extend(branch.branches)
        return sorted(ends, key=operator.attrgetter("number"))

    def all_steps(self) -> list[Any]:
        own = [] if self.step is None else [self.step]
        joined = [end.inside for end in self.ends if end.inside is not None]
        return own + [s for b in (*self.branches, *joined) for s in b.all_steps()]

    def at(self, address: tuple[int, ...]) -> "Branch":
        return self.branches[address[0]].at(address[1:]) if address else self


class _Growing:
    def __init__(self, step: Any) -> None:
        self.step, self.branches, self.ends = step, [], []

    def branch(self, step: Any) -> "_Growing":
        for branch in self.branches:
            if is_equal(branch.step, step):
                return branch
        self.branches.append(_Growing(step))
        return self.branches[-1]

    def done(self) -> Branch:
        branches = tuple(branch.done() for branch in self.branches)
        return Branch(self.step, branches, tuple(self.ends))


def active(terms: Sequence[Term]) -> list[Term]:
    """Return the terms to evaluate, with unique names."""
    some = [term for term in terms if term.is_monitored or not is_off(term.weight)]
    return with_unique_names(some)


def with_unique_names(terms: Sequence[Term]) -> list[Term]:
    """Return the terms with repeated names numbered."""
    names = unique_names([term.name for term in terms])
    pairs = zip(terms, names, strict=True)
    return [t if t.name == n else t.called(n) for t, n in pairs]


def tree_of(terms: Sequence[tuple[int, Term]], kept: list[Any] | None = None) -> Branch:
    """Return the tree of numbered terms; append their bound targets to `kept`."""
    root = _Growing(None)
    for number, term in terms:
        place = root
        for step in steps_of(term):
            place = place.branch(step)
        slot = None
        if term.target is not None and kept is not None:
            slot = _place_of(term.target, kept)
        own = term.loss, term.weight, term.gate, term.piece_size, term.is_monitored
        inside = tree_of(list(enumerate(term.inside))) if term.inside else None
        place.ends.append(End(*own, number, slot, inside))
    return root.done()


def steps_of(term: Term) -> list[Any]:
    """Return the path of a term, with composed steps replaced by their parts."""
    return [part for step in term.path for part in path_of(step)]


def path_of(step: Any) -> tuple[Any, ...]:
    """Return the parts of a step: itself, if a subclass changed what it does."""
    return (step,) if _is_changed(type(step), "path") else step.path


def framing_of_step(step: Any) -> Any:
    """Return where a step says that frames lie, unless a subclass changed it."""
    return None if _is_changed(type(step), "framing") else step.framing()


@functools.cache
def _is_changed(cls: type[Any], name: str) -> bool:
    """Whether `apply` is defined in a subclass of the class that defines `name`."""
    places = (
        next(i for i, base in enumerate(cls.__mro__) if attribute in vars(base))
        for attribute in ("apply", name)
    )
    return operator.lt(*places)


def parts_of(term: Term) -> list[Any]:
    """Return the steps and the loss of a term, and those of the terms inside it."""
    inner = [part for other in term.inside for part in parts_of(other)]
    return [*steps_of(term), term.loss, *inner]


def _place_of(target: Any, kept: list[Any]) -> int:
    for place, other in enumerate(kept):
        if other is target:
            return place
    kept.append(target)
    return len(kept) - 1


def unique_names(names: Sequence[str]) -> list[str]:
    """Number repeated names: `a`, `b`, `a` becomes `a#1`, `b`, `a#2`.

    A number is skipped if the numbered name is already taken.
    """
    total, seen, result = Counter(names), Counter(), []
    taken = {name for name, n in total.items() if n == 1}
    for name in names:
        if total[name] == 1:
            result.append(name)
            continue
        while True:
            seen[name] += 1
            if (numbered := f"{name}#{seen[name]}") not in taken:
                break
        result.append(numbered)
    return result


def is_equal(one: Any, other: Any) -> bool:
    """Whether two parts have equal configurations and hold the same arrays."""
    if one is other:
        return True
    leaves, structure = jax.tree.flatten(one)
    others, other_structure = jax.tree.flatten(other)
    return (
        structure == other_structure
        and len(leaves) == len(others)
        and all(a is b for a, b in zip(leaves, others, strict=True))
    )
