"""Timing opponents against each other, and reading memory from XLA."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of one call: the median and the quartiles around it."""

    median: float
    low: float
    high: float


def interleaved(
    contestants: dict[str, Callable[[], Any]], rounds: int
) -> dict[str, Timing]:
    """Time everybody in turn, `rounds` times after a first round that is not counted.

    The machine's speed drifts, so only what was measured in the same rounds compares.
    Each timed call follows one of the same contestant that is not timed: otherwise it
    would pay for pages that the one before gives back, and for PyTorch's threads,
    which spin for a while after their work (measured: up to 1.5 times as long).
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for i in range(rounds + 1):
        for name, call in contestants.items():
            jax.block_until_ready(call())
            start = time.perf_counter()
            jax.block_until_ready(call())
            if i > 0:
                times[name].append(time.perf_counter() - start)
    return {name: _timing(t) for name, t in times.items()}


def _timing(times: list[float]) -> Timing:
    if len(times) < 2:
        return Timing(times[0], times[0], times[0])
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return Timing(median, low, high)


def first_call(call: Callable[[], Any]) -> float:
    """Seconds of a first call, tracing and compilation included."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def temporary_bytes(fn: Callable[..., Any], *args: Any) -> int:
    """Bytes of temporary memory of the compiled function, from XLA: exact."""
    analysis = jax.jit(fn).lower(*args).compile().memory_analysis()
    if analysis is None:
        raise RuntimeError("XLA gave no memory analysis for this program.")
    return analysis.temp_size_in_bytes


def compile_seconds(fn: Callable[..., Any], *args: Any) -> float:
    """Seconds to trace and compile `fn` from nothing."""
    jax.clear_caches()
    start = time.perf_counter()
    jax.jit(fn).lower(*args).compile()
    return time.perf_counter() - start
