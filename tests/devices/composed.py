"""Sums, padded batches, examples one by one and long signals on eight devices.

Run by `test_sharding.py` in a process of its own, as `checks.py` is by its
test: `python composed.py 1 0` prints the outcomes of all cases.
"""

import dataclasses
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from checks import KINDS, agree, collectives, compiled, make_mesh, put, spec_of
from jax import Array
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import korvax_eqx as ke
from korvax_eqx import _platform
from korvax_eqx._engine import _long

SHAPE = (16, 2, 1500)
X, Y = 0.3 * np.random.default_rng(0).standard_normal((2, *SHAPE))
LENGTHS = np.arange(16)[:, None] * 90 + 150
LENGTHS[3] = 0
WEIGHTS = np.linspace(0.5, 2, 16)


def stft() -> ke.MRSTFTLoss:
    return ke.MRSTFTLoss((32, 50), (128, 100), log_eps=1e-3)


def spectral(*parts: Any) -> ke.TimeFrequencyLoss:
    return ke.TimeFrequencyLoss(ke.Spectrogram(128, 32), *parts)


EVERYTHING = ke.SumLoss(
    {
        "stft": stft(),
        "decibels": spectral(ke.ElementwiseLoss(), ke.PowerToDB()),
        "wave": ke.WaveformLoss(),
        "sdr": ke.SISDRLoss(),
        "sides": ke.MappedLoss(ke.MidSide(), stft()),
        "sources": ke.PermutationInvariantLoss(
            ke.SumLoss({"stft": stft(), "sdr": ke.SISDRLoss()})
        ),
        "loudness": ke.MappedLoss(ke.KWeightingFilter(16000), ke.WaveformLoss("L2")),
        "batch": spectral(ke.BatchSpectralConvergenceLoss()),
    }
)
BY_ROWS = ke.SumLoss(
    {name: loss for name, loss in EVERYTHING.losses.items() if name != "batch"}
)
SUBSET = ke.RandomSubsetLoss([stft(), ke.WaveformLoss(), ke.SISDRLoss()], 2)
MIXTURES = ke.MixtureInvariantLoss(ke.SumLoss({"stft": stft(), "sdr": ke.SISDRLoss()}))
# Of signals that are cut in segments, once `short_pieces` has made them long.
SHORT = ke.MRSTFTLoss((4, 5), (16, 12), log_eps=1e-3)
LONG_BY_ROWS = ke.SumLoss(
    {
        "stft": SHORT,
        "sides": ke.MappedLoss(ke.MidSide(), SHORT),
        "sdr": ke.SISDRLoss(),
        "mean": ke.TimeFrequencyLoss(ke.Spectrogram(16, 4), ke.ElementwiseLoss("L2")),
    }
)
LONG = ke.SumLoss(
    {
        **LONG_BY_ROWS.losses,
        "batch": ke.TimeFrequencyLoss(ke.Spectrogram(16, 4), ke.BatchRelativeLoss()),
    }
)


def short_pieces() -> None:
    """Pieces of a few samples, so that the signals here are long."""
    _platform.PLATFORMS["cpu"] = dataclasses.replace(
        _platform.PLATFORMS["cpu"],
        samples=128,
        dense_samples=128,
        signal_samples=128,
        transform_samples=128,
    )
    jax.clear_caches()


def counted(calls: list[Any]) -> Any:
    """Count how often something is evaluated in segments."""
    in_segments = _long.in_segments

    def recorded(*args: Any) -> Any:
        calls.append(args)
        return in_segments(*args)

    return mock.patch.object(_long, "in_segments", recorded)


def combined(terms: dict[str, Array]) -> Array:
    return sum((i * v for i, v in enumerate(terms.values(), 1)), jnp.zeros(()))


def example_values(x: Array, y: Array, lengths: Array) -> Array:
    values = jax.vmap(EVERYTHING)(x, y)
    return jnp.mean(values * jnp.asarray(WEIGHTS))


CASES: dict[str, Callable[[Array, Array, Array], Array]] = {
    "sum": lambda x, y, n: EVERYTHING(x, y),
    "lengths": lambda x, y, n: EVERYTHING(x, y, lengths=n),
    "examples": example_values,
    "terms": lambda x, y, n: combined(EVERYTHING.with_terms(x, y, lengths=n)[1]),
    "parts": lambda x, y, n: combined(EVERYTHING.parts(x, y)),
    "bound": lambda x, y, n: EVERYTHING.bind(y, lengths=n)(x),
    "subset": lambda x, y, n: SUBSET(x, y, key=jax.random.key(2)),
    "mixtures": lambda x, y, n: MIXTURES(x, y, lengths=n),
    "transform": lambda x, y, n: jnp.mean(ke.Spectrogram(128, 32)(x) ** 2),
    "long": lambda x, y, n: LONG(x, y),
    "long examples": lambda x, y, n: jnp.mean(jax.vmap(LONG)(x, y) ** 2),
}


def check(name: str, kind: AxisType) -> None:
    """Value and gradient are those of one device, and no signal moves."""
    if name.startswith("long"):
        short_pieces()
    fn = jax.value_and_grad(CASES[name])
    expected = jax.jit(fn)(X, Y, LENGTHS)
    mesh = make_mesh(kind)
    arrays = [put(a, mesh, ("data", "model")) for a in (X, Y, LENGTHS)]
    calls: list[Any] = []
    with jax.set_mesh(mesh), counted(calls):
        run = compiled(fn, *arrays)
        assert bool(calls) == name.startswith("long")
        value, gradient = run(*arrays)
    agree((value, gradient), expected, 1e-10)
    assert spec_of(gradient) == (("data", "model"), None, None)
    found = collectives(run)
    assert found, "a mean that nothing is communicated for"
    # Numbers of terms and of examples, but no signal of a device.
    assert all(n < 64 for _, n in found), found


# Means over rows, taken apart by a user's own `shard_map`.
MAPPED: dict[str, Callable[[Array, Array, Array], Array]] = {
    "mapped": lambda x, y, n: BY_ROWS(x, y),
    "mapped lengths": lambda x, y, n: BY_ROWS(x, y, lengths=jnp.maximum(n, 300)),
    "mapped examples": lambda x, y, n: jnp.mean(jax.vmap(BY_ROWS)(x, y) ** 2),
    "mapped terms": lambda x, y, n: combined(BY_ROWS.with_terms(x, y)[1]),
    "long mapped": lambda x, y, n: LONG_BY_ROWS(x, y),
}


def check_mapped(name: str, kind: AxisType) -> None:
    """The mean over devices of what each makes of its rows is that of all."""
    if name.startswith("long"):
        short_pieces()
    expected = jax.jit(jax.value_and_grad(MAPPED[name]))(X, Y, LENGTHS)
    mesh, axes = make_mesh(kind), ("data", "model")

    def mean(x: Array, y: Array, n: Array) -> Array:
        return jax.lax.pmean(MAPPED[name](x, y, n), axes)

    spec = P(axes)
    mapped = jax.shard_map(mean, mesh=mesh, in_specs=(spec,) * 3, out_specs=P())
    arrays = [put(a, mesh, axes) for a in (X, Y, LENGTHS)]
    calls: list[Any] = []
    with counted(calls):
        got = jax.jit(jax.value_and_grad(mapped))(*arrays)
    assert bool(calls) == name.startswith("long")
    agree(got, expected, 1e-10)


def main() -> None:
    """Run every so many of the checks, from one on: `composed.py STEP FIRST`."""
    step, first = map(int, sys.argv[1:])
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    assert jax.device_count() == 8
    outcomes: dict[str, str | None] = {}
    checks = [*((name, check) for name in CASES)]
    checks += ((name, check_mapped) for name in MAPPED)
    # Those of long signals last: they change what is long.
    checks.sort(key=lambda pair: pair[0].startswith("long"))
    chosen = [(*pair, kind) for pair in checks for kind in KINDS][first % step :: step]
    for name, run, kind in chosen:
        try:
            run(name, kind)
            outcomes[f"{name}, {kind.name}"] = None
        except Exception:
            outcomes[f"{name}, {kind.name}"] = traceback.format_exc()
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
