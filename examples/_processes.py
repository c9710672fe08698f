"""A batch on all devices of all processes: arguments, connection, layout."""

import argparse
from typing import Any, NamedTuple

import jax
import numpy as np
from _arguments import address, whole
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--coordinator",
        type=address,
        metavar="HOST:PORT",
        help="of process 0, or 'auto' where the cluster says (default: no other)",
    )
    parser.add_argument("--num-processes", type=whole(1))
    parser.add_argument("--process-id", type=whole(0), help="from 0")
    parser.add_argument(
        "--cpu-devices",
        type=whole(1),
        metavar="N",
        help="pretend that the CPU is N devices",
    )


def check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse arguments that do not belong together."""
    numbers = (arguments.num_processes, arguments.process_id)
    if arguments.coordinator not in (None, "auto") and None in numbers:
        parser.error("--coordinator needs --num-processes and --process-id")
    if arguments.coordinator in (None, "auto") and numbers != (None, None):
        parser.error("--num-processes and --process-id need --coordinator HOST:PORT")
    if None not in numbers and arguments.process_id >= arguments.num_processes:
        parser.error("--process-id must be below --num-processes: they are from 0 on")


def connect(arguments: argparse.Namespace) -> None:
    """Connect all processes, so that each knows all devices; before any computation."""
    if arguments.cpu_devices is not None:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", arguments.cpu_devices)
    if arguments.coordinator == "auto":
        jax.distributed.initialize()
    elif arguments.coordinator is not None:
        jax.distributed.initialize(
            arguments.coordinator, arguments.num_processes, arguments.process_id
        )


class Layout(NamedTuple):
    """Where a batch is, and what is the same everywhere."""

    rows: range  # of the batch, of this process
    cut: NamedSharding
    everywhere: NamedSharding

    def spread(self, local: np.ndarray) -> Any:
        """Make the array of the whole batch of the rows of each process."""
        return jax.make_array_from_process_local_data(self.cut, local)


def layout(batch: int) -> Layout:
    """Cut a batch of this size over all devices."""
    n_devices, n_processes = jax.device_count(), jax.process_count()
    if batch % n_devices:
        raise SystemExit(
            f"The batch of {batch} examples cannot be cut over {n_devices} "
            "devices. Make it a multiple of them."
        )
    mesh = jax.make_mesh((n_devices,), ("data",), axis_types=(AxisType.Auto,))
    share = batch // n_processes
    rows = range(jax.process_index() * share, (jax.process_index() + 1) * share)
    return Layout(rows, NamedSharding(mesh, P("data")), NamedSharding(mesh, P()))


def is_first() -> bool:
    """Whether this process prints and writes."""
    return jax.process_index() == 0


def in_words() -> str:
    return f"{jax.device_count()} devices in {jax.process_count()} processes"
