"""Compare every recipe with the project that it reproduces, and print a table.

    python tests/benchmarks/recipes.py            writes the table into RECIPES.md
    python tests/benchmarks/recipes.py --quick    small signals; prints, and checks

Value and gradient are compared in float64, relative to the largest entry. Times are of
this process's CPU, medians of calls in turn; PyTorch runs eagerly. Memory is what XLA's
analysis says of ours. What is not installed is named below the table.

Both run on one thread: the CPU time of several counts those that spin and wait.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false "
    "intra_op_parallelism_threads=1"
)

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

ROOT = Path(__file__).parent
sys.path[:0] = [str(ROOT), str(ROOT.parent)]

from measure import temporary_bytes  # noqa: E402
from opponents import (  # noqa: E402
    auraloss_recipe,
    cels_paper,
    log_wmse_loss,
    sot_recipe,
    torch_l1_snr,
    torch_value_and_grad,
)

from korvax_eqx import recipes  # noqa: E402

SR = 44100
TABLE = ROOT / "RECIPES.md"
MARKS = "<!-- table -->", "<!-- end of table -->"
# What a value may differ by: what is in float32 in the originals.
LIMIT = 1e-6

# Recipe: how to make ours, the original's package, and how to make the original.
CASES: dict[str, tuple[Callable[[], Any], str, Callable[[], Callable[..., Any]]]] = {
    "sot": (recipes.sot, "sot-loss", lambda: sot_recipe("Wasserstein1DLoss")),
    "sot_multiresolution": (
        recipes.sot_multiresolution,
        "sot-loss",
        lambda: sot_recipe("MultiResolutionSOTLoss"),
    ),
    "l1snr_db": (
        recipes.l1snr_db,
        "torch-l1-snr",
        lambda: torch_l1_snr("L1SNRDBLoss"),
    ),
    "l1snr_db_stft": (
        recipes.l1snr_db_stft,
        "torch-l1-snr",
        lambda: torch_l1_snr("STFTL1SNRDBLoss"),
    ),
    "l1snr_db_multi": (
        recipes.l1snr_db_multi,
        "torch-l1-snr",
        lambda: torch_l1_snr("MultiL1SNRDBLoss"),
    ),
    "log_wmse": (
        lambda: recipes.log_wmse(SR),
        "torch-log-wmse",
        lambda: log_wmse_loss(SR),
    ),
    "cel": (recipes.cel, "cels-audio", cels_paper),
    "auraloss_stft": (
        recipes.auraloss_stft,
        "auraloss",
        lambda: auraloss_recipe("STFTLoss"),
    ),
    "auraloss_mrstft": (
        recipes.auraloss_mrstft,
        "auraloss",
        lambda: auraloss_recipe("MultiResolutionSTFTLoss"),
    ),
    "auraloss_mel": (
        lambda: recipes.auraloss_mel(SR),
        "auraloss",
        lambda: auraloss_recipe("MelSTFTLoss", SR),
    ),
}


def relative(actual: Any, desired: Any) -> float:
    actual, desired = np.asarray(actual), np.asarray(desired)
    return float(np.max(np.abs(actual - desired)) / np.max(np.abs(desired)))


def differences(ours: Any, theirs: Any, x: np.ndarray, y: np.ndarray) -> list[float]:
    """Return the relative differences of value and gradient, in float64."""
    import torch

    estimate = torch.tensor(x, requires_grad=True)
    value = theirs(estimate, torch.tensor(y))
    (gradient,) = torch.autograd.grad(value, estimate)
    with jax.enable_x64(True):
        own = jax.jit(jax.value_and_grad(ours))(jnp.asarray(x), jnp.asarray(y))
        own = jax.tree.map(np.asarray, own)
    pairs = zip(own, (value.detach(), gradient), strict=True)
    return [relative(a, b.numpy()) for a, b in pairs]


def cpu_seconds(calls: list[Callable[[], Any]], rounds: int) -> list[float]:
    """Return the median CPU time of each call, made in turn."""
    times: list[list[float]] = [[] for _ in calls]
    for round_ in range(rounds + 1):
        for call, own in zip(calls, times, strict=True):
            jax.block_until_ready(call())  # gives back what the other has left
            start = time.process_time()
            jax.block_until_ready(call())
            if round_:
                own.append(time.process_time() - start)
    return [statistics.median(own) for own in times]


def row(name: str, x: np.ndarray, y: np.ndarray, rounds: int) -> tuple[str, float]:
    """Return a row of the table, and the relative difference of the values."""
    make, original, make_original = CASES[name]
    ours: Any = make()
    theirs: Any = make_original()
    value, gradient = differences(ours, theirs.double(), x, y)
    narrow = [a.astype(np.float32) for a in (x, y)]
    theirs = theirs.float()
    ratios = []
    for is_gradient in (False, True):
        fn = jax.jit(jax.value_and_grad(ours) if is_gradient else ours)
        own = [jnp.asarray(a) for a in narrow]
        calls = [
            lambda fn=fn, own=own: fn(*own),
            torch_value_and_grad(theirs, *narrow, gradient=is_gradient),
        ]
        mine, other = cpu_seconds(calls, rounds)
        ratios.append(f"{other / mine:.1f}x")
    arrays = [jnp.asarray(a) for a in narrow]
    memory = temporary_bytes(jax.value_and_grad(ours), *arrays) / 1e6
    differing = f"{value:.0e} | {gradient:.0e}"
    line = f"| `{name}` | {original} | {differing} | {' | '.join(ratios)} "
    return f"{line}| {memory:.1f} MB |", value


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small signals")
    parser.add_argument("--rounds", type=int, help="rounds of calls")
    parser.add_argument("--shape", type=int, nargs=2, help="of the signals")
    options = parser.parse_args()
    shape = tuple(options.shape or ((2, 8192) if options.quick else (8, 44100)))
    rounds = options.rounds or (1 if options.quick else 7)
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(shape).astype(np.float32) * 0.1 for _ in "xy")
    lines, skipped, wrong = [], [], []
    for name, (_, original, _) in CASES.items():
        try:
            line, value = row(name, x.astype(float), y.astype(float), rounds)
        except ImportError as error:
            skipped.append(f"{name}: {original} cannot be imported, {error}")
            continue
        lines.append(line)
        print(line, flush=True)
        if value > LIMIT:
            wrong.append(f"{name}: the values differ by {value:.1e}")
    table = "\n".join(
        [
            "| recipe | original | value | gradient | speed of value | of gradient | "
            "memory |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
            *lines,
            "",
            f"Signals of shape {shape}, JAX {jax.__version__} on CPU against PyTorch, "
            "CPU time of the original over ours.",
            *(f"\nNot compared: {line}." for line in skipped),
        ]
    )
    if options.quick:
        print(table)
    else:
        write(table)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def write(table: str) -> None:
    """Put the table between its marks."""
    text = TABLE.read_text("utf-8")
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    TABLE.write_text(f"{before}{MARKS[0]}\n\n{table}\n\n{MARKS[1]}{after}", "utf-8")


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    sys.exit(main())
