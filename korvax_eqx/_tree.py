"""Taking the arrays out of a pytree, so that the rest can be static."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
from jax import Array

Arrays = tuple[Array, ...]


@dataclasses.dataclass(frozen=True)
class _Hole:
    """A placeholder for an array that was taken out of a tree."""


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """A pytree without its arrays: hashable, so that it can be static."""

    leaves: tuple[Any, ...]
    treedef: Any

    @property
    def is_hashable(self) -> bool:
        """Whether this is hashable; a user's tree may hold unhashable objects."""
        try:
            hash(self)
        except TypeError:
            return False
        return True

    def filled(self, arrays: Arrays) -> Any:
        rest = iter(arrays)
        leaves = [next(rest) if isinstance(v, _Hole) else v for v in self.leaves]
        return jax.tree.unflatten(self.treedef, leaves)

    def leafless(self) -> Any:
        """Return the tree with holes in place of its arrays."""
        return jax.tree.unflatten(self.treedef, self.leaves)


def take_arrays(tree: Any) -> tuple[Skeleton, Arrays]:
    """Split a pytree into its structure and its arrays."""
    leaves, treedef = jax.tree.flatten(tree)
    static = tuple(_Hole() if eqx.is_array(leaf) else leaf for leaf in leaves)
    arrays = tuple(leaf for leaf in leaves if eqx.is_array(leaf))
    return Skeleton(static, treedef), arrays


def constant(tree: Any) -> Any:
    """Return a pytree whose arrays carry no gradient."""
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.lax.stop_gradient(arrays), rest)


def hash_of(module: eqx.Module, name: str) -> int:
    """Return the hash of a module.

    **Raises:** `TypeError` that says what to do, for a module that holds arrays.
    """
    of_fields: Any = eqx.Module.__hash__
    try:
        return of_fields(module)
    except TypeError:
        raise TypeError(
            f"`{name}` cannot be hashed, which `jax.jit` needs: it holds arrays. Use "
            "`eqx.filter_jit`, or pass it as an argument: `jax.jit(lambda loss, x, y: "
            "loss(x, y))`."
        ) from None


def unchecked(module: Any, **fields: Any) -> Any:
    """Return a module with new values of some fields, which are not checked."""
    return part_of(module, type(module), **fields)


def part_of(module: Any, cls: type[Any], **fields: Any) -> Any:
    """Make a module of class `cls` with the fields of `module`, which were checked.

    `fields` adds fields, or replaces their values.
    """
    names = [field.name for field in dataclasses.fields(cls)]
    own = {n: getattr(module, n) for n in names if n not in fields}
    return made(cls, **own, **fields)


def made(cls: type[Any], **fields: Any) -> Any:
    """Make a module from fields that were checked already, without warnings."""
    module = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(module, name, value)
    return module
