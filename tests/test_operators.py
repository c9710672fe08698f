"""Operators of losses: `a + 0.5 * b` is a `SumLoss`."""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import COMPOSITES, signals

import korvax_eqx as ke

STFT = ke.MRSTFTLoss((64,), (256,))
WAVE = ke.WaveformLoss()
SDR = ke.SISDRLoss()
X, Y = signals(2)


def some_function(x: Any, y: Any) -> Any:
    return jnp.mean((x - y) ** 4)


EQUAL: dict[str, tuple[Any, ke.SumLoss]] = {
    "added": (STFT + WAVE, ke.SumLoss([STFT, WAVE])),
    "weighted": (STFT + 0.5 * WAVE, ke.SumLoss([STFT, WAVE], [1, 0.5])),
    "weighted right": (WAVE * 2 + STFT, ke.SumLoss([WAVE, STFT], [2, 1])),
    "subtracted": (STFT - WAVE, ke.SumLoss([STFT, WAVE], [1, -1])),
    "divided": (STFT / 4, ke.SumLoss([STFT], [0.25])),
    "negated": (-SDR, ke.SumLoss([SDR], [-1])),
    "sum()": (sum([STFT, WAVE, SDR]), ke.SumLoss([STFT, WAVE, SDR])),
    "flat": ((STFT + WAVE) + (SDR + WAVE), ke.SumLoss([STFT, WAVE, SDR, WAVE])),
    "distributed": (
        0.5 * (STFT - 2.0 * WAVE) / 2,
        ke.SumLoss([STFT, WAVE], [0.25, -0.5]),
    ),
    "names": (
        ke.SumLoss({"a": STFT, "b": WAVE}, [1.0, 3.0]) + 2.0 * SDR,
        ke.SumLoss(
            {"a": STFT, "b": WAVE, "sisdr": SDR}, {"a": 1.0, "b": 3.0, "sisdr": 2.0}
        ),
    ),
    "equal names": (
        ke.SumLoss({"a": STFT}) + ke.SumLoss({"a": WAVE}),
        ke.SumLoss({"a#1": STFT, "a#2": WAVE}),
    ),
    "monitored": (
        0.5 * ke.SumLoss([STFT], monitor={"wave": WAVE}) + SDR,
        ke.SumLoss([STFT, SDR], [0.5, 1], monitor={"wave": WAVE}),
    ),
    "monitored by one name": (
        ke.SumLoss([STFT], monitor=[SDR]) + SDR,
        ke.SumLoss({"mrstft": STFT, "sisdr#1": SDR}, monitor={"sisdr#2": SDR}),
    ),
    "function": (some_function + STFT, ke.SumLoss([some_function, STFT])),
    "function subtracted": (
        some_function - STFT,
        ke.SumLoss([some_function, STFT], [1, -1]),
    ),
    "NumPy": (np.float32(0.5) * STFT, ke.SumLoss([STFT], [0.5])),
}


@pytest.mark.parametrize("name", EQUAL)
def test_is_the_sum_that_one_would_write(name: str) -> None:
    made, written = EQUAL[name]
    assert made == written and repr(made) == repr(written)
    assert jax.tree.leaves(made) == []
    if "function" not in name:
        assert ke.from_config(ke.to_config(made)) == made


def test_of_one_loss() -> None:
    assert +STFT is STFT and sum([STFT]) is STFT


def test_value_gradient_and_names() -> None:
    loss = 2.0 * STFT - 0.5 * (WAVE + SDR) / 2
    expected = lambda x: 2 * STFT(x, Y) - 0.25 * WAVE(x, Y) - 0.25 * SDR(x, Y)  # noqa: E731
    value, gradient = jax.value_and_grad(loss)(X, Y)
    np.testing.assert_allclose(value, expected(X), rtol=1e-6)
    desired = jax.grad(expected)(X)
    np.testing.assert_allclose(gradient, desired, rtol=1e-4, atol=1e-9)
    terms = loss.with_terms(X, Y)[1]
    assert list(terms.parts) == ["mrstft", "waveform", "sisdr"]


def test_jax_arrays_stay_leaves() -> None:
    weight = jnp.array(0.5)
    loss = (STFT + weight * WAVE) * 2.0
    assert loss.weights["mrstft"] == 2.0 and jax.tree.leaves(loss) == [1.0]
    of_weight = jax.grad(lambda w: (STFT + WAVE * w)(X, Y))(weight)
    np.testing.assert_allclose(of_weight, WAVE(X, Y), rtol=1e-6)
    assert jax.tree.leaves(weight * STFT + WAVE / jnp.array(4.0)) == [0.5, 0.25]
    learned = ke.SumLoss([STFT, WAVE], jnp.array([1.0, 3.0])) + SDR
    assert jax.tree.leaves(learned) == [1.0, 3.0] and learned.weights["sisdr"] == 1.0
    np.testing.assert_allclose(
        learned(X, Y), STFT(X, Y) + 3 * WAVE(X, Y) + SDR(X, Y), rtol=1e-6
    )


def test_weights_of_another_precision_than_the_signals() -> None:
    with jax.enable_x64(True):
        weight = jnp.array(0.5, jnp.float64)
        loss = STFT + weight * WAVE
        value, gradient = jax.value_and_grad(lambda loss: loss(X, Y))(loss)
        of_weight = gradient.weights["waveform"]
        assert value.dtype == jnp.float32 and of_weight.dtype == jnp.float64
        np.testing.assert_allclose(of_weight, WAVE(X, Y), rtol=1e-6)


@pytest.mark.parametrize("case", COMPOSITES, ids=repr)
def test_every_loss_has_them(case: Any) -> None:
    loss = case.make()
    x, y = case.signals(2)
    value = (0.5 * loss + WAVE)(x, y, **case.keywords)
    if case.draws:  # another draw
        assert np.isfinite(value)
        return
    expected = 0.5 * loss(x, y) + WAVE(x, y)
    np.testing.assert_allclose(value, expected, rtol=2e-6)
    bound = 0.5 * loss.bind(y) + WAVE.bind(y)
    np.testing.assert_allclose(bound(x), expected, rtol=2e-6)


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: STFT + 1, TypeError, "unsupported"),
    (lambda: 1 + STFT, TypeError, "unsupported"),
    (lambda: 0.0 + STFT, TypeError, "unsupported"),
    (lambda: STFT - 1, TypeError, "unsupported"),
    (lambda: STFT * WAVE, TypeError, "unsupported"),
    (lambda: STFT / WAVE, TypeError, "unsupported"),
    (lambda: operator.truediv(2, STFT), TypeError, "unsupported"),
    (lambda: STFT * True, TypeError, "unsupported"),
    (lambda: STFT * "2", TypeError, "can.t multiply"),
    (lambda: STFT * 1j, TypeError, "unsupported"),
    (lambda: STFT * np.ones(2), TypeError, "ufuncs"),
    (lambda: operator.pow(STFT, 2), TypeError, "unsupported"),
    (lambda: STFT / 0, ZeroDivisionError, "zero"),
    (lambda: STFT * jnp.ones(2), ValueError, "weights.*must be a real floating scalar"),
    (lambda: STFT * float("nan"), ValueError, "weights.*finite"),
    (lambda: STFT + ke.WaveformLoss, ValueError, r"WaveformLoss\(\.\.\.\)"),
    (lambda: STFT + ke.STFT(64), ValueError, "a loss on signals"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refuses(number: int) -> None:
    make, kind, message = REFUSED[number]
    with pytest.raises(kind, match=message):
        make()


def test_in_place() -> None:
    loss = STFT
    loss = operator.iadd(loss, WAVE)
    assert loss == ke.SumLoss([STFT, WAVE])
