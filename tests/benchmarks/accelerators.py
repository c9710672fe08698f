"""What XLA makes of a loss for a GPU or TPU, without one: its program, counted.

    python tests/benchmarks/accelerators.py            # an H200
    python tests/benchmarks/accelerators.py --tpu      # a TPU v5e
    python tests/benchmarks/accelerators.py mrstft mel # some rows
    python tests/benchmarks/accelerators.py --check    # fail where a row costs more

Nothing is run. The CUDA plugin is given a description of the device, and libtpu a
topology; what they compile is counted: launches (kernels, FFTs, and the scaling that
follows each inverse FFT), bytes read and written by them for each sample of the batch,
waits of the host (conditionals and loops) and temporary memory. These numbers are exact
and repeat; the time of the compilation does not. The model time is that of the bytes at
4.8 TB/s, 2.5 us a launch and 15 us a wait: a model, not a measurement.

Beside each loss stands the plain formula, as one would write it in ten lines of
`jax.numpy` (`plain.py`). Needs a plugin of the version of jax, without what it depends
on: `pip install --no-deps jax-cuda13-plugin==V jax-cuda13-pjrt==V`, or `libtpu`.
"""

import argparse
import dataclasses
import math
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_gpu_autotune_level=0"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.update(
    TPU_SKIP_MDS_QUERY="1",
    ALLOW_MULTIPLE_LIBTPU_LOAD="1",
    TPU_WORKER_HOSTNAMES="localhost",
    TPU_ACCELERATOR_TYPE="v5litepod-4",
)

import jax
import jax.numpy as jnp
import numpy as np
import plain
from jax.experimental.topologies import get_topology_desc
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

import korvax_eqx as ke

N_DEVICES = 8
H200 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 151397597184 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 } registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 }
runtime_version { major: 12 minor: 8 patch: 0 }
device_description_str: "NVIDIA H200"
"""
# What a launch, a wait and a byte take in the model, in seconds.
LAUNCH, WAIT, BYTE = 2.5e-6, 15e-6, 1 / 4.8e12
# By how much a row may exceed the plain formula in a check.
MOST = 1.05

SIZES = {"f32": 4, "c64": 8, "pred": 1, "s32": 4, "u32": 4, "f64": 8, "c128": 16}
SIZES |= {"bf16": 2, "s8": 1, "u8": 1, "s64": 8, "u64": 8}
KERNELS = {
    "broadcast",
    "concatenate",
    "convolution",
    "copy",
    "custom-call",
    "dot",
    "dynamic-update-slice",
    "fft",
    "fusion",
    "gather",
    "pad",
    "reduce",
    "scatter",
    "sort",
    "transpose",
}
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute")


def n_bytes(kind: str) -> int:
    """Return how many bytes a type of XLA's takes, e.g. `(f32[2,3], c64[4])`."""
    arrays = re.findall(rf"\b({'|'.join(SIZES)})\[([0-9,]*)\]", kind)
    return sum(
        SIZES[dtype] * math.prod(int(n) for n in shape.split(",") if n)
        for dtype, shape in arrays
    )


def computations(text: str) -> dict[str, list[tuple[str, str, str, str]]]:
    """Return the operations of each computation: name, type, operation and the rest."""
    found: dict[str, list[tuple[str, str, str, str]]] = {}
    name = ""
    for line in text.splitlines():
        head = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if head:
            name = "ENTRY" if head[1] else head[2]
            found[name] = []
            continue
        pattern = r"\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$"
        operation = re.match(pattern, line)
        if name and operation:
            kind = operation.groups()
            found[name].append((kind[0], kind[1], kind[2], kind[3]))
    return found


def counted(text: str) -> Counter[str]:
    """Return launches, bytes, waits and what is communicated of a compiled program.

    Loops count by their trips, conditionals by their most expensive branch.
    """
    found = computations(text)

    def walk(name: str, times: int, seen: Counter[str]) -> Counter[str]:
        operations = found.get(name, [])
        kinds = {op[0]: op[1] for op in operations}
        sources = {op[0]: op[2] for op in operations}
        for _, kind, what, rest in operations:
            if what == "while":
                trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', rest)
                body = re.search(r"body=%?([\w.\-]+)", rest)
                n = int(trips[1]) if trips else 1
                seen["waits"] += times * n
                walk(body[1] if body else "", times * n, seen)
            elif what == "conditional":
                seen["waits"] += times
                pattern = r"(?:true_computation|false_computation)=%?([\w.\-]+)"
                names = re.findall(pattern, rest)
                listed = re.search(r"branch_computations=\{(.*?)\}", rest)
                names += re.findall(r"%?([\w.\-]+)", listed[1]) if listed else []
                branches = [walk(branch, times, Counter()) for branch in names]
                seen.update(max(branches, key=lambda one: one["bytes"]))
            elif what in ("call", "async-start"):
                pattern = r"(?:to_apply|calls|called_computations)=\{?%?([\w.\-]+)"
                for inner in re.findall(pattern, rest):
                    walk(inner, times, seen)
            elif what.removesuffix("-start") in COLLECTIVES:
                seen["collectives"] += times
                seen["moved"] += times * n_bytes(kind)
            elif what in KERNELS:
                names = re.findall(r"%([\w.\-]+)", rest.split("), ")[0])
                read = [
                    kinds[name]
                    for name in names
                    if sources.get(name, "constant") not in ("constant", "tuple")
                ]
                seen["launches"] += times
                seen["bytes"] += times * (n_bytes(kind) + sum(map(n_bytes, read)))
                if re.search("fft_type=I?R?FFT", rest) and "fft_type=I" in rest:
                    # XLA scales by a call of its own.
                    seen["launches"] += times
                    seen["bytes"] += times * 2 * n_bytes(kind)
        return seen

    return walk("ENTRY", 1, Counter())


@dataclasses.dataclass(frozen=True)
class Row:
    """A loss, the plain formula, and the shape of the signals."""

    ours: Callable[..., Any]
    plain: Callable[..., Any] | None
    shape: tuple[int, ...] = (32, 44100)
    # What is differentiated: a function of both signals.
    of: Callable[[Callable[..., Any]], Callable[..., Any]] = jax.value_and_grad
    n_devices: int = 1


def rows() -> dict[str, Row]:
    """Return the rows by name."""
    mel = ke.TimeFrequencyLoss(
        ke.MelSpectrogram(22050, 1024, 80, hop_length=256, power=1),
        ke.ElementwiseLoss(),
        ke.Log(eps=1e-5),
    )
    mrstft = ke.MRSTFTLoss()
    total = ke.SumLoss(
        {"stft": mrstft, "mel": mel, "wave": ke.WaveformLoss(), "sdr": ke.SISDRLoss()}
    )
    mfcc = ke.TimeFrequencyLoss(
        ke.MFCC(22050, 1024, 20, n_mels=80), ke.ElementwiseLoss()
    )
    cqt = ke.TimeFrequencyLoss(ke.CQT(22050, fmin=65.4), ke.ElementwiseLoss())
    compressed = ke.TimeFrequencyLoss(
        ke.STFT(512, 128),
        ke.ElementwiseLoss("L2"),
        [ke.PowerCompression(0.3, 1e-12), ke.Magnitude(0.3, 1e-12)],
    )
    lengths = np.linspace(30000, 44100, 32).astype(np.int32)

    def padded(x: Any, y: Any) -> Any:
        return mrstft(x, y, lengths=lengths)

    def each(loss: Callable[..., Any]) -> Callable[..., Any]:
        weights = jnp.arange(32.0)
        return lambda x, y: jnp.dot(weights, jax.vmap(loss)(x, y))

    def of_pairs(loss: Callable[..., Any]) -> Callable[..., Any]:
        return jax.vmap(jax.vmap(loss, (None, 0)), (0, None))

    return {
        "mrstft": Row(mrstft, plain.mrstft),
        "smooth": Row(ke.SmoothMRSTFTLoss(), plain.smooth),
        "auraloss": Row(ke.recipes.auraloss_mrstft(), plain.auraloss),
        "mel": Row(mel, plain.log_mel),
        "dac": Row(ke.recipes.dac_mel(44100), plain.dac),
        "sum": Row(total, plain.total),
        "pitch": Row(ke.PitchTransportLoss(), plain.pitch),
        "mfcc": Row(mfcc, plain.mfcc),
        "cqt": Row(cqt, plain.cqt),
        "wave": Row(ke.WaveformLoss(), plain.wave),
        "sisdr": Row(ke.SISDRLoss(), plain.si_sdr),
        "esr": Row(ke.ESRLoss(), plain.esr),
        "snr": Row(ke.SNRLoss(max_db=30.0), plain.snr),
        "compressed": Row(compressed, plain.compressed),
        "bands": Row(ke.MappedLoss(ke.PQMF(), mrstft), plain.bands),
        "sources": Row(
            ke.PermutationInvariantLoss(mrstft), plain.sources, (16, 2, 44100)
        ),
        "lengths": Row(padded, lambda x, y: plain.mrstft(x, y, lengths=lengths)),
        "vmap": Row(each(mrstft), each(plain.mrstft)),
        "pairs": Row(mrstft, plain.mrstft, (16, 16000), of=of_pairs),
        "bind": Row(_bound(mrstft), _bound_plain(plain.mrstft)),
        "batch of 512": Row(mrstft, plain.mrstft, (512, 44100)),
        "8 devices": Row(mrstft, None, (64, 44100), n_devices=N_DEVICES),
    }


def _bound(loss: Any) -> Callable[..., Any]:
    """A loss whose target was bound before: its spectra are arguments."""
    y = jnp.zeros((32, 44100))
    bound = jax.eval_shape(lambda y: loss.bind(y), y)
    leaves, tree = jax.tree.flatten(bound)

    def of_spectra(x: Any, *spectra: Any) -> Any:
        return jax.tree.unflatten(tree, spectra)(x)

    of_spectra.arguments = [leaf.shape for leaf in leaves]  # pyright: ignore
    return of_spectra


def _bound_plain(fn: Any) -> Callable[..., Any]:
    y = jnp.zeros((32, 44100))
    spectra = jax.eval_shape(plain.magnitudes, y)

    def of_spectra(x: Any, *spectra: Any) -> Any:
        return fn(x, None, spectra=spectra)

    of_spectra.arguments = [s.shape for s in spectra]  # pyright: ignore
    return of_spectra


def device(is_tpu: bool, n: int = 1) -> Any:
    if is_tpu:
        return get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices[:n]
    topology = get_topology_desc(
        "h200", platform="cuda", target_config=H200, topology=f"1x1x{n}"
    )
    return topology.devices[:n]


def cost(row: Row, fn: Callable[..., Any], is_tpu: bool) -> dict[str, float]:
    """Return what the compiled value and gradient of `fn` costs."""
    devices = device(is_tpu, row.n_devices)
    shapes = [row.shape, *getattr(fn, "arguments", [row.shape])]
    sharding: Any = SingleDeviceSharding(devices[0])
    if row.n_devices > 1:
        sharding = NamedSharding(Mesh(np.array(devices), "b"), PartitionSpec("b"))
    args = [jax.ShapeDtypeStruct(s, jnp.float32, sharding=sharding) for s in shapes]
    start = time.perf_counter()
    compiled = jax.jit(row.of(fn)).lower(*args).compile()
    seconds = time.perf_counter() - start
    text, memory = compiled.as_text(), compiled.memory_analysis()
    n = math.prod(row.shape) / row.n_devices
    result = {"temp MB": memory.temp_size_in_bytes / 1e6, "compile s": seconds}
    if is_tpu:
        analysis = compiled.cost_analysis() or {}
        cycles = re.findall(r'"estimated_cycles":"(\d+)"', text)
        result["M cycles"] = sum(map(int, cycles)) / 1e6
        result["GB"] = analysis.get("bytes accessed", 0) / 1e9
        return result
    count = counted(text)
    model = BYTE * count["bytes"] + LAUNCH * count["launches"] + WAIT * count["waits"]
    return {
        "launches": count["launches"],
        "waits": count["waits"],
        "B/sample": count["bytes"] / n,
        **result,
        "collectives": count["collectives"],
        "moved B": count["moved"],
        "model ms": 1e3 * model,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="names of rows; all by default")
    parser.add_argument("--tpu", action="store_true", help="a TPU v5e, not an H200")
    parser.add_argument("--check", action="store_true", help="fail where ours is more")
    arguments = parser.parse_args()
    failures, header = [], None
    for name, row in rows().items():
        if arguments.rows and name not in arguments.rows:
            continue
        ours = cost(row, row.ours, arguments.tpu)
        if header is None:
            header = list(ours)
            print(f"| loss | who | {' | '.join(header)} |")
            print("| --- | --- |" + " ---: |" * len(header))
        costs = {"ours": ours}
        if row.plain is not None:
            costs["plain"] = cost(row, row.plain, arguments.tpu)
        for who, one in costs.items():
            cells = [f"{one[key]:.4g}" for key in header]
            print(f"| {name} | {who} | {' | '.join(cells)} |", flush=True)
        if "plain" in costs and not arguments.tpu:
            for key in ("launches", "waits", "B/sample"):
                most = MOST * costs["plain"][key]
                if ours[key] > most:
                    got = f"{ours[key]:.4g}, at most {most:.4g}"
                    failures.append(f"{name}: {key} {got}")
    for failure in failures:
        print(failure, file=sys.stderr)
    if arguments.check and failures:
        sys.exit(1)


if __name__ == "__main__":
    main()
