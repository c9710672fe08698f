"""Evaluating a function of rows on however many devices hold the rows."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_batching import custom_vmap
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from ._partition import partitioned_rows
from ._rows import (
    Arrays,
    Placement,
    RowCall,
    RowFunction,
    explicit_lead,
    lead_axes,
    partition_spec,
)


def is_disabled() -> bool:
    """Whether `jax.disable_jit` is in force: nothing is partitioned then."""
    return bool(vars(type(jax.config))["jax_disable_jit"].__get__(jax.config))


def map_rows(
    fn: RowFunction,
    shared: Arrays,
    rows: Arrays,
    *,
    n_row_outputs: int,
    n_summed_outputs: int = 0,
    folds_vmap: bool = False,
) -> tuple[Arrays, Arrays]:
    """`fn(shared, rows)`, each device computing the rows that it holds.

    **Arguments:**

    - `fn`: a hashable function `fn(shared, rows) -> (row_outputs, summed_outputs)`,
        two tuples of arrays. A row output has shape `(*lead, ...)` and its entry at
        a leading index depends on the rows at that index alone; a summed output is
        a sum over all leading indices. It is called with any number of leading axes.
    - `shared`: arrays that every row needs, of any shape: windows, weights.
    - `rows`: arrays of shape `(*lead, n)` with the same `lead`.
    - `n_row_outputs`, `n_summed_outputs`: how many `fn` returns of each.
    - `folds_vmap`: whether an axis mapped by `jax.vmap` becomes one more leading axis
        on one device too. On several it always does.

    There are no derivative rules: the caller has rules of its own, in which `fn`
    returns derivatives.
    """
    call = RowCall(fn, len(shared), n_row_outputs, n_summed_outputs)
    if is_disabled():
        # Op by op nothing is partitioned, and there is no compiled call to fold into.
        return call(shared, rows)
    if jax.device_count() == 1 and not folds_vmap:
        return call(shared, rows)
    return _batched(call, shared, rows)


def place_rows(call: RowCall, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
    """`map_rows` for callers with rules for `jax.vmap` of their own.

    Rows may have axes of their own after the leading ones, but the first row has one.
    """
    if is_disabled() or jax.device_count() == 1:
        return call(shared, rows)
    return _placed(call, shared, rows)


def keep_sharded(fn: Callable[..., Array], x: Array, *shared: Array) -> Array:
    """`fn(x, *shared)`, each device computing its share of `x` under explicit axes.

    For a whole transform that reshapes its leading axes, or otherwise does what
    explicit sharding refuses of a sharded axis. `fn` is hashable, maps shape
    `(*lead, n)` to `(*lead, ...)`, is differentiated as usual, and is called as it is
    where no leading axis is explicitly sharded.
    """
    return keep_rows_sharded(_OfOneRow(fn), shared, (x,))


@dataclasses.dataclass(frozen=True)
class _OfOneRow:
    fn: Callable[..., Array]

    def __call__(self, shared: Arrays, rows: Arrays) -> Array:
        return self.fn(*rows, *shared)


def keep_rows_sharded(
    fn: Callable[[Arrays, Arrays], Any],
    shared: Arrays,
    rows: Arrays,
    n_whole: int = 1,
) -> Any:
    """`fn(shared, rows)`, each device computing its share of `rows`.

    As `keep_sharded`, of several rows with the same leading axes, for any tree of
    arrays with these leading axes. The last `n_whole` axes of the rows are not cut.
    """
    rows = tuple(whole_samples(row, n_whole) for row in rows)
    if not any(explicit_lead(*rows)):
        return fn(shared, rows)
    return _manual(fn, shared, rows)


# Compiled, as an eager `shard_map` over some of the mesh axes fails in JAX 0.10.
@functools.partial(jax.jit, static_argnums=0)
def _manual(fn: Callable[[Arrays, Arrays], Any], shared: Arrays, rows: Arrays) -> Any:
    lead = explicit_lead(*rows)
    n_cut = max(i for i, names in enumerate(lead) if names) + 1
    spec = partition_spec(lead[:n_cut])
    shardings = [jax.typeof(row).sharding for row in rows]
    mesh = next(sharding.mesh for sharding in shardings if any(sharding.spec))
    rows = tuple(jax.sharding.reshard(r, NamedSharding(mesh, spec)) for r in rows)
    return jax.shard_map(
        fn,
        mesh=mesh,
        in_specs=(PartitionSpec(), spec),
        out_specs=spec,
        # Only these: over an axis that cuts nothing, the gradient would be summed.
        axis_names={name for names in lead for name in names},
        check_vma=False,
    )(shared, rows)


def whole_samples(x: Array, n_axes: int = 1) -> Array:
    """`x` with its last axes on one device, if its type says that they are not.

    All of its axes under `jax.disable_jit`, where each operation runs alone.
    """
    sharding = jax.typeof(x).sharding
    axes = lead_axes(sharding.spec, x.ndim)
    n_kept = 0 if is_disabled() else max(0, x.ndim - n_axes)
    if not any(axes[n_kept:]):
        return x
    spec = partition_spec(axes[:n_kept])
    return jax.sharding.reshard(x, NamedSharding(sharding.mesh, spec))


@functools.partial(jax.jit, static_argnums=0)
def _batched(call: RowCall, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
    """`_placed` with a rule for `vmap`; compiled, as eager FFTs gather their rows."""

    @custom_vmap
    def run(shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        return _placed(call, shared, rows)

    @run.def_vmap
    def vmap_rule(
        size: int,
        is_mapped: Sequence[Sequence[bool]],
        shared: Arrays,
        rows: Arrays,
    ) -> tuple[tuple[Arrays, Arrays], tuple[tuple[bool, ...], tuple[bool, ...]]]:
        shared_mapped, rows_mapped = is_mapped
        rows = tuple(map(_with_axis, rows, rows_mapped))
        if jax.device_count() > 1:
            lead = jnp.broadcast_shapes((size,), *(row.shape[:1] for row in rows))
            rows = tuple(jnp.broadcast_to(r, (*lead, *r.shape[1:])) for r in rows)
        outputs = _batched(with_level(call, tuple(shared_mapped)), shared, rows)
        return outputs, jax.tree.map(lambda _: True, outputs)

    return run(shared, rows)


def equally_varying(arrays: Arrays) -> Arrays:
    """The arrays, each varying over all manual mesh axes that one of them varies over.

    In a user's `shard_map` JAX sums the gradient of what does not vary over devices.
    Cast before a derivative rule, a replicated window is summed outside of that rule;
    otherwise inside it as well, and its gradient comes out too large.
    """
    names = frozenset[str]().union(*map(_varies_over, arrays))
    return tuple(_varying(array, names) for array in arrays)


def varying_like(array: Array, other: Array) -> Array:
    """`array`, varying over the manual mesh axes that `other` varies over."""
    return _varying(array, _varies_over(other))


def _varies_over(array: Array) -> frozenset[str]:
    aval: Any = jax.typeof(array)
    kinds = getattr(aval, "manual_axis_type", None)
    return aval.vma if kinds is None else kinds.varying  # JAX 0.8: `vma`


def _varying(array: Array, names: frozenset[str]) -> Array:
    missing = tuple(names - _varies_over(array))
    if not missing:
        return array
    cast = vars(jax.lax).get("pcast")
    if cast is None:  # JAX 0.8
        return vars(jax.lax)["pvary"](array, missing)
    return cast(array, missing, to="varying")


def with_level(call: RowCall, shared_mapped: tuple[bool, ...]) -> RowCall:
    """The call that takes rows with one more leading axis, made by `vmap`."""
    is_plain = not (call.levels or call.n_summed_outputs or any(shared_mapped))
    # Then a mapped axis is one more leading axis, and nothing distinguishes them.
    levels = () if is_plain else (shared_mapped, *call.levels)
    return dataclasses.replace(call, levels=levels)


def _with_axis(row: Array, is_mapped: bool) -> Array:
    """The row with the mapped axis in front: of size 1 if it is the same for all."""
    return row if is_mapped else row[None]


def _placed(call: RowCall, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
    shardings = [jax.typeof(array).sharding for array in (*rows, *shared)]
    sharded = next((s for s in shardings if any(s.spec)), None)
    if sharded is not None:
        return _explicit(call, sharded.mesh, shared, rows)
    if not _may_be_cut_by_xla() or rows[0].ndim == 1:
        return call(shared, rows)
    # Broken on TPUs, https://github.com/jax-ml/jax/issues/38196: there XLA gathers.
    if jax.default_backend() == "tpu":
        return call(shared, rows)
    return partitioned_rows(call, shared, rows)


def _may_be_cut_by_xla() -> bool:
    """Not where all sharding is in the types, nor in a user's own `shard_map`."""
    mesh = jax.sharding.get_abstract_mesh()
    is_explicit = not mesh.empty and AxisType.Auto not in mesh.axis_types
    return not (is_explicit or mesh.manual_axes)


def _explicit(
    call: RowCall, mesh: AbstractMesh, shared: Arrays, rows: Arrays
) -> tuple[Arrays, Arrays]:
    """Under explicit sharding the types say where the rows are."""
    placement = Placement(call, explicit_lead(*rows))
    row_spec = placement.row_spec()
    specs = (placement.shared_specs(), (row_spec,) * len(rows))
    shared, rows = jax.tree.map(
        lambda array, spec: jax.sharding.reshard(array, NamedSharding(mesh, spec)),
        (shared, rows),
        specs,
    )
    if not any(placement.lead):
        return call(shared, rows)
    return jax.shard_map(
        placement,
        mesh=mesh,
        in_specs=specs,
        out_specs=(row_spec, placement.summed_spec()),
        # Not all of the mesh: inside `vmap` the mapped axis is there no more.
        axis_names={name for names in placement.lead for name in names},
        # A row function may start its loops from zeros, which are the same on all
        # devices, and accumulate rows, which are not: the check refuses that.
        check_vma=False,
    )(shared, rows)
