"""A function of the rows of a batch, and where its arrays live on a device mesh."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import jax
from jax import Array
from jax.sharding import PartitionSpec

Arrays: TypeAlias = tuple[Array, ...]
RowFunction: TypeAlias = Callable[[Arrays, Arrays], tuple[Arrays, Arrays]]
# The mesh axes over which each leading axis is sharded: () for "not sharded".
LeadAxes: TypeAlias = tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class RowCall:
    """A row function together with what a partitioner must know about it.

    **Arguments:**

    - `fn`: `fn(shared, rows) -> (row_outputs, summed_outputs)`.
    - `n_shared`, `n_row_outputs`, `n_summed_outputs`: the lengths of those tuples.
    - `levels`: one entry for each leading axis, outermost first, over which sums are
        *not* taken because `jax.vmap` made it a batch of independent calls. Each
        entry says which of the shared arrays have that axis too.
    """

    fn: RowFunction
    n_shared: int
    n_row_outputs: int
    n_summed_outputs: int
    levels: tuple[tuple[bool, ...], ...] = ()

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        fn = self.fn
        for mapped in reversed(self.levels):
            fn = functools.partial(_one_by_one, fn, mapped)
        row_outputs, summed_outputs = fn(shared, rows)
        found = (len(row_outputs), len(summed_outputs))
        declared = (self.n_row_outputs, self.n_summed_outputs)
        if found != declared:
            raise ValueError(
                "A row function must return as many row and summed outputs as "
                f"declared, {declared}. Got {found}."
            )
        return tuple(row_outputs), tuple(summed_outputs)


def _one_by_one(
    fn: RowFunction, is_mapped: tuple[bool, ...], shared: Arrays, rows: Arrays
) -> tuple[Arrays, Arrays]:
    """Apply `fn` to each entry of the leading axis in turn.

    One after the other and not all at once: each is a call of its own, which may be as
    large as a batch.
    """
    sizes = [s.shape[0] for s, mapped in zip(shared, is_mapped, strict=True) if mapped]
    size = max([*sizes, *(row.shape[0] for row in rows)])
    moving = tuple(s for s, mapped in zip(shared, is_mapped, strict=True) if mapped)
    own_rows = tuple(row for row in rows if row.shape[0] == size)

    def one(entry: tuple[Arrays, Arrays]) -> tuple[Arrays, Arrays]:
        some_shared, some_rows = map(iter, entry)
        pairs = zip(shared, is_mapped, strict=True)
        all_shared = tuple(next(some_shared) if m else s for s, m in pairs)
        all_rows = tuple(
            next(some_rows) if row.shape[0] == size else row[0] for row in rows
        )
        return fn(all_shared, all_rows)

    return jax.lax.map(one, (moving, own_rows))


@dataclasses.dataclass(frozen=True)
class Placement:
    """A row call with its leading axes cut over mesh axes: one device's share.

    Calling it computes that share: rows are independent, so the only communication
    is the sum of the summed outputs, over the mesh axes that cut summed-over axes.
    """

    call: RowCall
    lead: LeadAxes

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        row_outputs, summed_outputs = self.call(shared, rows)
        mesh_axes = self._summed_mesh_axes()
        if mesh_axes and summed_outputs:
            summed_outputs = jax.lax.psum(summed_outputs, mesh_axes)
        return row_outputs, summed_outputs

    def _summed_mesh_axes(self) -> tuple[str, ...]:
        n_levels = len(self.call.levels)
        return tuple(name for names in self.lead[n_levels:] for name in names)

    def row_spec(self) -> PartitionSpec:
        """Of every row and row output; the axes after the leading ones stay whole."""
        return partition_spec(self.lead)

    def summed_spec(self) -> PartitionSpec:
        return partition_spec(self.lead[: len(self.call.levels)])

    def shared_specs(self) -> tuple[PartitionSpec, ...]:
        return tuple(
            partition_spec([self.lead[i] for i in shared_levels(self.call, which)])
            for which in range(self.call.n_shared)
        )


def shared_levels(call: RowCall, which: int) -> tuple[int, ...]:
    """The leading axes of the rows that shared array number `which` has as well."""
    return tuple(i for i, mapped in enumerate(call.levels) if mapped[which])


def partition_spec(axes: Sequence[tuple[str, ...]]) -> PartitionSpec:
    return PartitionSpec(*(names or None for names in axes))


def lead_axes(spec: Iterable[object], n_lead: int) -> LeadAxes:
    """The leading part of a partition spec, every entry as a tuple of names."""
    entries = [*spec, *[None] * n_lead][:n_lead]
    return tuple(_names(entry) for entry in entries)


def _names(entry: object) -> tuple[str, ...]:
    if isinstance(entry, str):
        return (entry,)
    # Anything else, None and `PartitionSpec.UNCONSTRAINED`, is "not sharded".
    return tuple(entry) if isinstance(entry, tuple) else ()


def explicit_lead(*rows: Array) -> LeadAxes:
    """The mesh axes in the types of `rows`: of the first that is cut, if any is.

    Only explicit mesh axes appear in types, `()` stands for all others.
    """
    n_lead = rows[0].ndim - 1
    found = (lead_axes(jax.typeof(row).sharding.spec, n_lead) for row in rows)
    return next((lead for lead in found if any(lead)), ((),) * n_lead)
