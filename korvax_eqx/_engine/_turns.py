"""Which parts of a loss are evaluated together, and which one after another."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._functions import Arrays

Columns = dict[int, tuple[Array, ...]]
Grads = tuple[Arrays, Arrays, Arrays]


@dataclasses.dataclass(frozen=True)
class Part:
    """Terms that are evaluated together. `run` adds to the gradients it is given.

    `n_values` is how many values its spectra have; `None` if that is not known.
    """

    numbers: list[int]
    gate: Array | None
    n_values: float | None
    run: Callable[[Arrays, Grads], tuple[Columns, Grads]]

    def skipped(
        self, zero: Array, sizes: dict[int, int], grads: Grads
    ) -> tuple[Columns, Grads]:
        return {n: (zero,) * sizes[n] for n in self.numbers}, grads


def n_values_of(step: Any, signals: Arrays) -> float | None:
    """Return how many values the spectra of the signals have, if it is known."""
    framing = step.framing()
    if framing is None:
        return None
    n_samples = sum(signal.size for signal in signals)
    return n_samples * framing.frame_length / framing.hop_length


def in_turns(parts: Sequence[Part], most: int) -> list[Part]:
    """Join parts whose spectra have at most `most` values together.

    Parts with a gate, and those of unknown size, stay alone.
    """
    turns: list[Part] = []
    for part in parts:
        last = turns[-1] if turns else None
        if last is None or not _fit(last, part, most):
            turns.append(part)
        else:
            turns[-1] = _joined(last, part)
    return turns


def _fit(a: Part, b: Part, most: int) -> bool:
    if a.gate is not None or b.gate is not None:
        return False
    if a.n_values is None or b.n_values is None:
        return False
    return a.n_values + b.n_values <= most


def _joined(a: Part, b: Part) -> Part:
    def run(signals: Arrays, grads: Grads) -> tuple[Columns, Grads]:
        first, grads = a.run(signals, grads)
        second, grads = b.run(signals, grads)
        return {**first, **second}, grads

    n_values: Any = (a.n_values or 0) + (b.n_values or 0)
    return Part([*a.numbers, *b.numbers], None, n_values, run)


def always_true(number: Array) -> Array:
    """True for any number, NaN included, in a form that XLA does not simplify."""
    kind = jnp.dtype(f"int{8 * number.dtype.itemsize}")
    return (jax.lax.bitcast_convert_type(number, kind) | 1) != 0
