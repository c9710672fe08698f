"""Rows stay on the devices that hold them.

Under explicit sharding the types say where rows are: `shard_map`. Under automatic
sharding XLA decides, and up to JAX 0.11 it gathered every frame on every device before
an FFT: `custom_partitioning` makes a call one opaque operation that is told to keep its
rows where they are. The only communication is the sum of the sums.
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

    Under `jax.disable_jit` JAX puts constants, which are on no mesh, on one device
    otherwise, and then raises.
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

    `None` if there is nothing to do: `shared` and `rows` are the types of the arrays.
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
    """Not where all sharding is in the types, nor in a user's own `shard_map`."""
    mesh = jax.sharding.get_abstract_mesh()
    is_explicit = not mesh.empty and AxisType.Auto not in mesh.axis_types
    return not (is_explicit or mesh.manual_axes)


@dataclasses.dataclass(frozen=True)
class _Placement:
    """A call with its leading axes cut over mesh axes: one device's share."""

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
        """Of every row and row output; the axes after the leading ones stay whole."""
        return _spec(self.lead)

    def sum_spec(self) -> PartitionSpec:
        return _spec(self.lead[: len(self.call.levels)])

    def shared_specs(self) -> tuple[PartitionSpec, ...]:
        return tuple(
            _spec([self.lead[i] for i in _levels_of(self.call, which)])
            for which in range(self.call.n_shared)
        )


def _levels_of(call: Any, which: int) -> tuple[int, ...]:
    """The leading axes of the rows that a shared array has as well."""
    return tuple(i for i, mapped in enumerate(call.levels) if mapped[which])


def aligned(call: Any, arrays: Sequence[Array]) -> Arrays:
    """Return a call's arrays with rows that have all leading axes, and are cut alike.

    XLA would pad a row that is the same for all others where these are cut. What is cut
    in another way than its type says is moved here, so that JAX moves its cotangent
    back.
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
        mesh = placed.mesh  # not compiled: the devices themselves
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
        # Not all of the mesh: inside `vmap` the mapped axis is there no more.
        axis_names={name for names in placement.lead for name in names},
        # A row function may start its loops from zeros, which are the same on all
        # devices, and accumulate rows, which are not: the check refuses that.
        check_vma=False,
    )(shared, rows)
    return [*outputs, *sums]


# One for each call, and not `static_argnums`: with those, JAX keeps the arrays that it
# traces with, and `jax.checking_leaks` raises.
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
    """How the outputs are sharded: asked by GSPMD, the partitioner before Shardy."""
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
        # XLA pads a batch that its devices do not divide. A padded row's outputs are
        # cut off again, but nothing takes it out of a sum.
        sizes = rows[0].shape
        lead = tuple(
            _even(names, size, mesh) for names, size in zip(lead, sizes, strict=False)
        )
    return _Placement(call, lead)


def _even(names: tuple[str, ...], size: int, mesh: Mesh) -> tuple[str, ...]:
    """The longest beginning of `names` whose devices divide `size`."""
    while size % math.prod(mesh.shape[name] for name in names):
        names = names[:-1]
    return names


def _sharding_rule(
    call: Any, mesh: Mesh, operands: Sequence[_Shaped], results: Sequence[_Shaped]
) -> SdyShardingRule:
    """Which axes of the operands and results are the same, as Shardy asks for it.

    Leading axes are common to all rows and row outputs. Every other axis gets a name
    of its own, which keeps shardings from spreading along it.
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
    """The mesh axes in the types of `rows`: of the first that is cut, if any is.

    Only explicit mesh axes appear in types, `()` stands for all others.
    """
    n_lead = rows[0].ndim - 1
    found = (_lead_axes(jax.typeof(row).sharding.spec, n_lead) for row in rows)
    return next((lead for lead in found if any(lead)), ((),) * n_lead)


def keep_rows(fn: Callable[..., Any], rows: Arrays, n_whole: int) -> Any:
    """`fn(*rows)` of leading axes that are sharded explicitly, where they are.

    For functions that are differentiated as usual. The last `n_whole` axes are not cut.
    """
    rows = tuple(whole_samples(row, n_whole) for row in rows)
    lead = _explicit_lead(*rows)
    if not any(lead):
        return fn(*rows)
    n_cut = max(i for i, names in enumerate(lead) if names) + 1
    spec = _spec(lead[:n_cut])
    shardings = [jax.typeof(row).sharding for row in rows]
    mesh = next(sharding.mesh for sharding in shardings if any(sharding.spec))
    rows = tuple(jax.sharding.reshard(r, NamedSharding(mesh, spec)) for r in rows)
    names = {name for names in lead for name in names}
    run = jax.shard_map(
        fn, mesh=mesh, in_specs=spec, out_specs=spec, axis_names=names, check_vma=False
    )
    return run(*rows)


def whole_samples(x: Array, n_axes: int = 1) -> Array:
    """`x` with its last axes on one device, if its type says that they are not.

    All of its axes under `jax.disable_jit`, where each operation runs alone.
    """
    sharding = jax.typeof(x).sharding
    axes = _lead_axes(sharding.spec, x.ndim)
    n_kept = 0 if is_disabled() else max(0, x.ndim - n_axes)
    if not any(axes[n_kept:]):
        return x
    spec = _spec(axes[:n_kept])
    return jax.sharding.reshard(x, NamedSharding(sharding.mesh, spec))
