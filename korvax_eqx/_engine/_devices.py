"""Keeping rows on the devices that hold them.

Under explicit sharding the types say where rows are, and `shard_map` keeps them there.
Under automatic sharding XLA decides. Up to JAX 0.11 it gathered every frame on every
device before an FFT, so `custom_partitioning` makes a call one opaque operation whose
rows stay where they are. Devices only communicate to add up their sums.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.custom_partitioning import (
    ArrayMapping,
    SdyShardingRule,
    custom_partitioning,
)
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ._functions import Arrays

# The mesh axes over which each leading axis is sharded: () for "not sharded".
LeadAxes: TypeAlias = tuple[tuple[str, ...], ...]


def is_disabled() -> bool:
    """Whether `jax.disable_jit` is in force: nothing is partitioned then."""
    return bool(jax.config.jax_disable_jit)  # pyright: ignore


@contextlib.contextmanager
def on_mesh_of(arrays: Arrays) -> Iterator[None]:
    """Let operations that run one by one use the explicit mesh of their arrays.

    Otherwise, under `jax.disable_jit`, JAX places constants on a single device, and
    raises when they meet the arrays.
    """
    found = [a.sharding for a in arrays if not jax.typeof(a).sharding.mesh.empty]
    is_there = not jax.sharding.get_abstract_mesh().empty
    if not is_disabled() or is_there or not found:
        yield
        return
    sharding = found[0]
    assert isinstance(sharding, NamedSharding)
    with jax.sharding.set_mesh(sharding.mesh):  # pyright: ignore[reportArgumentType]
        yield


def places(call: Any, shared: Any, rows: Any) -> Callable[..., list[Array]] | None:
    """Return a function of a call's arrays that leaves rows where they are.

    Return `None` if there is nothing to do. `shared` and `rows` are abstract values.
    """
    sharded = [a.sharding for a in (*rows, *shared) if any(a.sharding.spec)]
    if sharded:
        return functools.partial(_explicit, call, sharded[0].mesh)
    if not _may_be_cut_by_xla() or rows[0].ndim == 1:
        return None

    def place(*arrays: Array) -> list[Array]:
        outputs, sums = _partitioned(call)(*call.split(arrays))
        return [*outputs, *sums]

    return place


def works_for(name: str, arrays: Arrays) -> bool:
    """Whether what `places` returns works on a platform.

    Custom partitioning is broken on TPUs: https://github.com/jax-ml/jax/issues/38196
    """
    return name != "tpu" or any(any(jax.typeof(a).sharding.spec) for a in arrays)


def _may_be_cut_by_xla() -> bool:
    """Whether XLA may shard rows: not if all axes are explicit, nor in `shard_map`."""
    mesh = jax.sharding.get_abstract_mesh()
    is_explicit = not mesh.empty and AxisType.Auto not in mesh.axis_types
    return not (is_explicit or mesh.manual_axes)


@dataclasses.dataclass(frozen=True)
class _Placement:
    """One device's share of a call whose leading axes are sharded over mesh axes."""

    call: Any
    lead: LeadAxes

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        names = tuple(n for a in self.lead[len(self.call.levels) :] for n in a)
        call = dataclasses.replace(self.call, is_share=bool(names))
        results = call.local(*shared, *rows)
        n = len(results) - call.n_sums
        outputs, sums = tuple(results[:n]), tuple(results[n:])
        if names and sums:
            sums = jax.lax.psum(sums, names)
        return outputs, sums

    def row_spec(self) -> PartitionSpec:
        """Return the spec of rows and row outputs: only leading axes are sharded."""
        return _spec(self.lead)

    def sum_spec(self) -> PartitionSpec:
        return _spec(self.lead[: len(self.call.levels)])

    def shared_specs(self) -> tuple[PartitionSpec, ...]:
        return tuple(
            _spec([self.lead[i] for i in _levels_of(self.call, which)])
            for which in range(self.call.n_shared)
        )


def _levels_of(call: Any, which: int) -> tuple[int, ...]:
    """Return which leading axes of the rows a shared array has too."""
    return tuple(i for i, mapped in enumerate(call.levels) if mapped[which])


def aligned(call: Any, arrays: Sequence[Array]) -> Arrays:
    """Return a call's arrays, rows broadcast to all leading axes and sharded alike.

    Without the broadcast, XLA would pad an axis of size 1 that is sharded in other
    rows. Resharding happens here, outside the primitive, so that JAX reshards the
    cotangents back.
    """
    shared, rows = call.split(arrays)
    lead = call.lead(arrays)
    rows = tuple(jnp.broadcast_to(r, (*lead, *r.shape[len(lead) :])) for r in rows)
    if not any(any(jax.typeof(a).sharding.spec) for a in (*shared, *rows)):
        return *shared, *rows
    placement = _Placement(call, _explicit_lead(*rows))
    specs = *placement.shared_specs(), *[placement.row_spec()] * len(rows)
    meshes = (jax.typeof(a).sharding.mesh for a in (*shared, *rows))
    mesh = next(mesh for mesh in meshes if not mesh.empty)
    return tuple(
        _resharded(a, mesh, spec)
        for a, spec in zip((*shared, *rows), specs, strict=True)
    )


def _resharded(array: Array, mesh: Any, spec: PartitionSpec) -> Array:
    own = jax.typeof(array).sharding
    padded = [*spec, *[None] * (array.ndim - len(spec))]
    if not own.mesh.empty and [*own.spec] == padded:
        return array
    placed = getattr(array, "sharding", None)
    if isinstance(placed, NamedSharding):
        mesh = placed.mesh  # outside `jit`: a mesh of concrete devices
    return jax.sharding.reshard(array, NamedSharding(mesh, spec))


def _explicit(call: Any, mesh: Any, *arrays: Array) -> list[Array]:
    shared, rows = call.split(arrays)
    placement = _Placement(call, _explicit_lead(*rows))
    if not any(placement.lead):
        return call.local(*shared, *rows)
    row_spec = placement.row_spec()
    outputs, sums = jax.shard_map(
        placement,
        mesh=mesh,
        in_specs=(placement.shared_specs(), (row_spec,) * len(rows)),
        out_specs=(row_spec, placement.sum_spec()),
        # Not the whole mesh: inside `vmap` the mapped mesh axis is gone.
        axis_names={name for names in placement.lead for name in names},
        # A row function may start a loop from zeros, which are replicated, and
        # accumulate rows, which vary over devices. The check would reject that.
        check_vma=False,
    )(shared, rows)
    return [*outputs, *sums]


# One function for each call: with `static_argnums`, JAX would keep tracers alive, and
# `jax.checking_leaks` would raise.
@functools.lru_cache(maxsize=4096)
def _partitioned(call: Any) -> custom_partitioning:
    def run(shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        results = call.local(*shared, *rows)
        n = len(results) - call.n_sums
        return tuple(results[:n]), tuple(results[n:])

    partitioned = custom_partitioning(run)
    partitioned.def_partition(
        functools.partial(_partition, call),
        infer_sharding_from_operands=functools.partial(_infer, call),
        sharding_rule=functools.partial(_sharding_rule, call),
    )
    return partitioned


@runtime_checkable
class _Shaped(Protocol):
    @property
    def shape(self) -> Sequence[int]: ...


def _partition(
    call: Any, mesh: Mesh, operands: tuple[Any, Any], results: tuple[Any, Any]
) -> tuple[Mesh, _Placement, Any, Any]:
    placement = _choose(call, mesh, operands, results)
    rows = NamedSharding(mesh, placement.row_spec())
    shared = tuple(NamedSharding(mesh, spec) for spec in placement.shared_specs())
    shardings = _result_shardings(placement, mesh, results)
    return mesh, placement, shardings, (shared, (rows,) * len(operands[1]))


def _infer(
    call: Any, mesh: Mesh, operands: tuple[Any, Any], results: tuple[Any, Any]
) -> Any:
    """Tell GSPMD, the partitioner before Shardy, how the outputs are sharded."""
    return _result_shardings(_choose(call, mesh, operands, ((), ())), mesh, results)


def _result_shardings(placement: _Placement, mesh: Mesh, results: Any) -> Any:
    rows = NamedSharding(mesh, placement.row_spec())
    summed = NamedSharding(mesh, placement.sum_spec())
    return (rows,) * len(results[0]), (summed,) * len(results[1])


def _choose(
    call: Any, mesh: Mesh, operands: tuple[Any, Any], results: tuple[Any, Any]
) -> _Placement:
    """Follow the first row operand that is sharded, else the first row output."""
    rows = operands[1]
    n_lead = len(rows[0].shape) - 1
    lead: LeadAxes = ((),) * n_lead
    for array in (*rows, *results[0]):
        if isinstance(array.sharding, NamedSharding):
            lead = _lead_axes(array.sharding.spec, n_lead)
        if any(lead):
            break
    if call.n_sums:
        # XLA pads a batch that does not divide evenly over the devices. It drops the
        # outputs of padded rows, but would add them to a sum.
        sizes = rows[0].shape
        lead = tuple(
            _even(names, size, mesh) for names, size in zip(lead, sizes, strict=False)
        )
    return _Placement(call, lead)


def _even(names: tuple[str, ...], size: int, mesh: Mesh) -> tuple[str, ...]:
    """The longest prefix of `names` whose number of devices divides `size`."""
    while size % math.prod(mesh.shape[name] for name in names):
        names = names[:-1]
    return names


def _sharding_rule(
    call: Any, mesh: Mesh, operands: Sequence[_Shaped], results: Sequence[_Shaped]
) -> SdyShardingRule:
    """Tell Shardy which axes of the operands and results correspond.

    Leading axes are common to all rows and row outputs. Every other axis gets a unique
    name, so that no sharding propagates along it.
    """
    del mesh
    row_axes = tuple(range(len(operands[call.n_shared].shape) - 1))
    sum_axes = row_axes[: len(call.levels)]
    axes = [
        *(_levels_of(call, which) for which in range(call.n_shared)),
        *[row_axes] * (len(operands) - call.n_shared),
        *[row_axes] * (len(results) - call.n_sums),
        *[sum_axes] * call.n_sums,
    ]
    arrays = enumerate(zip((*operands, *results), axes, strict=True))
    mappings = tuple(_mapping(which, *array) for which, array in arrays)
    return SdyShardingRule(mappings[: len(operands)], mappings[len(operands) :])


def _mapping(which: int, array: _Shaped, leading: Sequence[int]) -> ArrayMapping:
    common = [f"lead{axis}" for axis in leading]
    own = [f"own{which}_{axis}" for axis in range(len(leading), len(array.shape))]
    return ArrayMapping(*common, *own)


def _spec(axes: Sequence[tuple[str, ...]]) -> PartitionSpec:
    return PartitionSpec(*(names or None for names in axes))


def _lead_axes(spec: Iterable[object], n_lead: int) -> LeadAxes:
    """The leading part of a partition spec, every entry as a tuple of names."""
    entries = [*spec, *[None] * n_lead][:n_lead]
    return tuple(_names(entry) for entry in entries)


def _names(entry: object) -> tuple[str, ...]:
    if isinstance(entry, str):
        return (entry,)
    # Anything else, None and `PartitionSpec.UNCONSTRAINED`, is "not sharded".
    return tuple(entry) if isinstance(entry, tuple) else ()


def _explicit_lead(*rows: Array) -> LeadAxes:
    """The mesh axes in the type of the first of `rows` that is sharded.

    Types contain explicit mesh axes only; `()` stands for everything else.
    """
    n_lead = rows[0].ndim - 1
    found = (_lead_axes(jax.typeof(row).sharding.spec, n_lead) for row in rows)
    return next((lead for lead in found if any(lead)), ((),) * n_lead)


def keep_rows(fn: Callable[..., Any], rows: Arrays, n_whole: int) -> Any:
    """Return `fn(*rows)`; rows that are sharded explicitly stay on their devices.

    For functions that JAX itself differentiates. The last `n_whole` axes are not
    sharded.
    """
    rows, mesh, spec = rows_together(rows, n_whole)
    if mesh is None:
        return fn(*rows)
    lead = _lead_axes(spec, len(spec))
    names = {name for names in lead for name in names}
    run = jax.shard_map(
        fn, mesh=mesh, in_specs=spec, out_specs=spec, axis_names=names, check_vma=False
    )
    return run(*rows)


def rows_together(rows: Arrays, n_whole: int) -> tuple[Arrays, Any, PartitionSpec]:
    """Return rows with one explicit sharding, its mesh and its spec.

    The last `n_whole` axes are not sharded. The mesh is `None` if nothing is.
    """
    rows = tuple(whole_samples(row, n_whole) for row in rows)
    lead = _explicit_lead(*rows)
    if not any(lead):
        return rows, None, PartitionSpec()
    n_cut = max(i for i, names in enumerate(lead) if names) + 1
    spec = _spec(lead[:n_cut])
    shardings = [jax.typeof(row).sharding for row in rows]
    mesh = next(sharding.mesh for sharding in shardings if any(sharding.spec))
    rows = tuple(jax.sharding.reshard(r, NamedSharding(mesh, spec)) for r in rows)
    return rows, mesh, spec


def whole_samples(x: Array, n_axes: int = 1) -> Array:
    """Return `x` with its last axes unsharded, if its type shards them.

    Under `jax.disable_jit`, where each operation runs alone, no axis is sharded.
    """
    sharding = jax.typeof(x).sharding
    axes = _lead_axes(sharding.spec, x.ndim)
    n_kept = 0 if is_disabled() else max(0, x.ndim - n_axes)
    if not any(axes[n_kept:]):
        return x
    spec = _spec(axes[:n_kept])
    return jax.sharding.reshard(x, NamedSharding(sharding.mesh, spec))
