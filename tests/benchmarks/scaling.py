"""What a device computes, moves and holds when a batch is cut over several of them.

    python tests/benchmarks/scaling.py            the table of the README, some minutes
    python tests/benchmarks/scaling.py --quick    small sizes, to see that it runs

For value and gradient of `MRSTFTLoss()` and of korvax's `mrstft_loss`, on 1, 2, 4 and 8
devices that the CPU pretends to be. All numbers are XLA's own, of the program compiled
for one of the devices; nothing is run or timed. They are exact and the same on every
machine, but other backends compile other programs.

XLA counts the body of a loop once, so FLOPs and bytes accessed are those of our
evaluation in one piece (`piece_size=None`), which takes the same steps without a loop.
Memory and communication are those of the default, in pieces.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
BYTES = {"pred": 1, "s32": 4, "u32": 4, "f32": 4, "f64": 8, "s64": 8, "c64": 8}
KINDS = "all-gather|all-to-all|all-reduce|collective-permute|reduce-scatter"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="8 x 2048 samples")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    shape = (8, 2048) if options.quick else (32, 44100)
    if options.worker:
        print(json.dumps(measure(options.devices[0], shape)))
        return
    results = {n: in_a_process(n, options.quick) for n in options.devices}
    print(table(results, shape))


def in_a_process(n_devices: int, is_quick: bool) -> dict[str, Any]:
    """Measure in a process of its own: JAX fixes the devices when it starts."""
    quick = ["--quick"] if is_quick else []
    flag = f"--xla_force_host_platform_device_count={n_devices}"
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    process = subprocess.run(
        [sys.executable, __file__, "--worker", "--devices", str(n_devices), *quick],
        env={
            **os.environ,
            "XLA_FLAGS": flag,
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(process.stdout.splitlines()[-1])


def measure(n_devices: int, shape: tuple[int, int]) -> dict[str, Any]:
    """Return XLA's numbers for one of the devices, by name of the library."""
    import jax
    import korvax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    import korvax_eqx as ke

    if jax.device_count() != n_devices:
        raise RuntimeError(f"{jax.device_count()} devices instead of {n_devices}.")
    mesh = jax.make_mesh((n_devices,), ("data",), axis_types=(AxisType.Auto,))
    cut = NamedSharding(mesh, PartitionSpec("data"))
    x = jax.ShapeDtypeStruct(shape, "float32", sharding=cut)

    def compiled(loss: Callable[..., Any]) -> Any:
        return jax.jit(jax.value_and_grad(loss)).lower(x, x).compile()

    default, whole = compiled(ke.MRSTFTLoss()), compiled(ke.MRSTFTLoss(piece_size=None))
    korvax_loss = compiled(korvax.loss.mrstft_loss)
    return {
        "korvax_eqx": numbers(of_work=whole, of_memory=default),
        "korvax": numbers(of_work=korvax_loss, of_memory=korvax_loss),
    }


def numbers(of_work: Any, of_memory: Any) -> dict[str, float]:
    cost = of_work.cost_analysis()
    count, size = communicated(of_memory.as_text())
    return {
        "flops": cost["flops"],
        "accessed": cost["bytes accessed"],
        "temporary": of_memory.memory_analysis().temp_size_in_bytes,
        "collectives": count,
        "communicated": size,
    }


def communicated(program: str) -> tuple[int, int]:
    """Return how many collectives a compiled program has, and the bytes they make."""
    results = re.findall(rf"= (.*?) (?:{KINDS})(?:-start)?\(", program)
    arrays = [re.findall(r"(\w+\d+)\[([\d,]*)\]", result) for result in results]
    size = sum(
        BYTES[dtype] * math.prod(int(n) for n in sizes.split(",") if n)
        for result in arrays
        for dtype, sizes in result
    )
    return len(results), size


def table(results: dict[int, dict[str, Any]], shape: tuple[int, int]) -> str:
    """Return a table in Markdown: all numbers are per device."""
    lines = [
        f"Value and gradient, batch {shape[0]} of {shape[1]} samples, float32; all "
        "numbers per device.",
        "",
        "| devices | library | GFLOP | GB accessed | MB temporary | collectives |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for n_devices, libraries in results.items():
        for name, row in libraries.items():
            cells = [
                str(n_devices),
                name,
                f"{row['flops'] / 1e9:.3g}",
                f"{row['accessed'] / 1e9:.3g}",
                f"{row['temporary'] / 1e6:.4g}",
                f"{row['collectives']:.0f} ({_bytes(row['communicated'])})",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _bytes(size: float) -> str:
    return f"{size:.0f} B" if size < 1e4 else f"{size / 1e6:.4g} MB"


if __name__ == "__main__":
    main()
