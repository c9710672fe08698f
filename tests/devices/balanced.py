"""Terms for a log and balanced gradients on eight devices.

Run by `test_balancer.py` in a process of its own.
"""

import json
import re
import traceback
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import korvax_eqx as ke

X, Y = 0.3 * np.random.default_rng(0).standard_normal((2, 16, 1, 1500))
LENGTHS = np.arange(16)[:, None] * 90
LOSS = ke.SumLoss(
    {
        "stft": ke.MRSTFTLoss((64,), (256,)),
        "wave": ke.WaveformLoss(),
        "sdr": ke.SNRLoss(),
    },
    {"stft": 1.0, "wave": 10.0, "sdr": 0.1},
    {"esr": ke.ESRLoss(), "large": ke.MRSTFTLoss((128,), (512,))},
)
BALANCER = ke.GradientBalancer({"stft": 1.0, "wave": 0.25, "sdr": 2.0})


def step(state: Any, x: Any, y: Any, lengths: Any) -> Any:
    terms, gradients = LOSS.part_gradients(x, y, lengths=lengths)
    balanced, state = BALANCER.update(gradients, state, lengths=lengths)
    return balanced, state, terms


def agree(kind: AxisType, lengths: Any) -> None:
    state = BALANCER.init(jnp.float64)
    expected = jax.jit(step)(state, X, Y, lengths)
    mesh = jax.make_mesh((8,), ("data",), (kind,))
    sharding = NamedSharding(mesh, P("data"))
    arrays = jax.device_put((X, Y, lengths), sharding)
    with jax.sharding.set_mesh(mesh):
        compiled = jax.jit(step).lower(state, *arrays).compile()
        got = compiled(state, *arrays)
    assert got[0].sharding.is_equivalent_to(sharding, 3)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13),
        got,
        expected,
    )
    names = re.findall(r"= .*? (all-\w+|collective-\w+)\(", compiled.as_text())
    # With lengths the number of signals comes first, which gradients are divided by.
    expected_names = ["all-reduce"] * (1 if lengths is None else 2)
    assert names == expected_names, names
    both = jax.jit(jax.value_and_grad(LOSS.with_terms, has_aux=True))
    expected = both(X, Y)
    with jax.sharding.set_mesh(mesh):
        compiled = both.lower(*arrays[:2]).compile()
        got = compiled(*arrays[:2])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13),
        got,
        expected,
    )
    names = re.findall(r"= .*? (all-\w+|collective-\w+)\(", compiled.as_text())
    assert names == ["all-reduce"], names


def check_automatic_axes() -> None:
    agree(AxisType.Auto, None)


def check_explicit_axes_with_lengths() -> None:
    agree(AxisType.Explicit, LENGTHS)


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    assert jax.device_count() == 8
    results: dict[str, str | None] = {}
    for check in (check_automatic_axes, check_explicit_axes_with_lengths):
        try:
            check()
            results[check.__name__] = None
        except Exception:
            results[check.__name__] = traceback.format_exc()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
