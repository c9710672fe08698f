"""Row calls under automatic sharding, where XLA decides who holds which rows.

XLA does not split an FFT along its batch: it gathers the whole batch on every device.
`custom_partitioning` makes a row call one opaque operation that is told to keep its
rows where they are. Measured on 8 devices, a multi-resolution STFT loss and its
gradient then compile to one scalar all-reduce.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax
from jax.experimental.custom_partitioning import (
    ArrayMapping,
    SdyShardingRule,
    custom_partitioning,
)
from jax.sharding import Mesh, NamedSharding

from ._rows import Arrays, LeadAxes, Placement, RowCall, lead_axes, shared_levels


@runtime_checkable
class _Shaped(Protocol):
    @property
    def shape(self) -> Sequence[int]: ...


def partitioned_rows(
    call: RowCall, shared: Arrays, rows: Arrays
) -> tuple[Arrays, Arrays]:
    """`call(shared, rows)`, with the rows left on the devices that hold them."""
    return _partitioned(call)(shared, rows)


# One for each call, and not `static_argnums`: with those, JAX keeps the arrays that it
# traces with, and `jax.checking_leaks` raises.
@functools.lru_cache(maxsize=4096)
def _partitioned(call: RowCall) -> custom_partitioning:
    def run(shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        # `custom_partitioning` refuses a function that closes over arrays (tables,
        # say); inside a `jit` of their own they are constants of that.
        return jax.jit(call)(shared, rows)

    partitioned = custom_partitioning(run)
    partitioned.def_partition(
        functools.partial(_partition, call),
        infer_sharding_from_operands=functools.partial(_infer, call),
        sharding_rule=functools.partial(_sharding_rule, call),
    )
    return partitioned


def _partition(
    call: RowCall, mesh: Mesh, operands: tuple[Any, Any], results: tuple[Any, Any]
) -> tuple[Mesh, Placement, Any, Any]:
    placement = _choose(call, mesh, operands, results)
    result_shardings = _result_shardings(placement, mesh)
    rows = NamedSharding(mesh, placement.row_spec())
    shared = placement.shared_specs()
    operand_shardings = (
        tuple(NamedSharding(mesh, spec) for spec in shared),
        (rows,) * len(operands[1]),
    )
    return mesh, placement, result_shardings, operand_shardings


def _infer(
    call: RowCall, mesh: Mesh, operands: tuple[Any, Any], results: tuple[Any, Any]
) -> Any:
    """How the outputs are sharded: asked by GSPMD, the partitioner before Shardy."""
    del results
    return _result_shardings(_choose(call, mesh, operands, ((), ())), mesh)


def _result_shardings(placement: Placement, mesh: Mesh) -> Any:
    rows = NamedSharding(mesh, placement.row_spec())
    summed = NamedSharding(mesh, placement.summed_spec())
    call = placement.call
    return (rows,) * call.n_row_outputs, (summed,) * call.n_summed_outputs


def _choose(
    call: RowCall, mesh: Mesh, operands: tuple[Any, Any], results: tuple[Any, Any]
) -> Placement:
    """Follow the first row operand that is sharded, else the first row output."""
    rows = operands[1]
    n_lead = len(rows[0].shape) - 1
    lead: LeadAxes = ((),) * n_lead
    for array in (*rows, *results[0]):
        if isinstance(array.sharding, NamedSharding):
            lead = lead_axes(array.sharding.spec, n_lead)
        if any(lead):
            break
    if call.n_summed_outputs:
        # XLA pads a batch that its devices do not divide. A padded row's outputs are
        # cut off again, but nothing takes it out of a sum.
        sizes = rows[0].shape
        lead = tuple(
            _even(names, size, mesh) for names, size in zip(lead, sizes, strict=False)
        )
    return Placement(call, lead)


def _even(names: tuple[str, ...], size: int, mesh: Mesh) -> tuple[str, ...]:
    """The longest beginning of `names` whose devices divide `size`."""
    while size % math.prod(mesh.shape[name] for name in names):
        names = names[:-1]
    return names


def _sharding_rule(
    call: RowCall,
    mesh: Mesh,
    operands: Sequence[_Shaped],
    results: Sequence[_Shaped],
) -> SdyShardingRule:
    """Which axes of the operands and results are the same, as Shardy asks for it.

    Leading axes are common to all rows and row outputs. Every other axis gets a name
    of its own, which keeps shardings from spreading along it.
    """
    del mesh
    n_lead = len(operands[call.n_shared].shape) - 1
    row_axes = tuple(range(n_lead))
    summed_axes = row_axes[: len(call.levels)]
    axes = [
        *(shared_levels(call, which) for which in range(call.n_shared)),
        *[row_axes] * (len(operands) - call.n_shared),
        *[row_axes] * call.n_row_outputs,
        *[summed_axes] * call.n_summed_outputs,
    ]
    arrays = enumerate(zip((*operands, *results), axes, strict=True))
    mappings = tuple(_mapping(which, *array) for which, array in arrays)
    return SdyShardingRule(mappings[: len(operands)], mappings[len(operands) :])


def _mapping(which: int, array: _Shaped, leading: Sequence[int]) -> ArrayMapping:
    common = [f"lead{axis}" for axis in leading]
    own = [f"own{which}_{axis}" for axis in range(len(leading), len(array.shape))]
    return ArrayMapping(*common, *own)
