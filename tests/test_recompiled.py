"""The warning for losses that are compiled again at every new value of a number."""

import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import korvax_eqx as ke

_X = np.linspace(-1, 1, 64, dtype=np.float32)


_SIZES = itertools.count(100)


@pytest.fixture(autouse=True)
def fresh():
    """Compile something else, which ends the run of programs before a test."""
    x = np.ones(next(_SIZES), np.float32)
    ke.DCLoss()(x, 0.5 * x)


def _losses(n, first=0.5):
    return [ke.SumLoss({"a": ke.WaveformLoss()}, {"a": first + i}) for i in range(n)]


def test_a_schedule_of_a_python_number_warns_once():
    with pytest.warns(
        UserWarning, match=r"`SumLoss`.*8 times.*8\.5 after 7\.5"
    ) as seen:
        for loss in _losses(12):
            loss(_X, 0.5 * _X)
            loss(_X, 0.5 * _X)
    assert len(seen) == 1
    assert seen[0].filename == __file__


def test_a_schedule_inside_a_jitted_step_warns():
    @jax.jit
    def scaled(x, loss):
        return jax.value_and_grad(lambda a: loss(a * x, x))(jnp.array(0.5))

    with pytest.warns(UserWarning, match=r"`SumLoss`.*`jnp\.array\(108\.5\)`"):
        for loss in _losses(9, 100.5):
            scaled(_X, loss)


@pytest.mark.parametrize(
    "losses",
    [
        _losses(8, 200.5),
        [ke.ESRLoss(eps=10.0**-i) for i in (3, 4) * 10],
        [ke.SumLoss([ke.WaveformLoss()], jnp.array([0.5 + i])) for i in range(12)],
        [ke.SumLoss([ke.WaveformLoss()] * 2, [0.5 + i, 9.5 - i]) for i in range(12)],
    ],
    ids=["few", "compiled before", "an array", "two numbers"],
)
def test_others_do_not_warn(losses):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for loss in losses:
            loss(_X, 0.5 * _X)


def test_a_schedule_beside_a_function_warns():
    """A loss that holds a function is in the step, too; it is the user who compiles."""
    kind = ke.TimeFrequencyLoss(ke.Spectrogram(32), lambda a, b: jnp.mean((a - b) ** 2))
    with pytest.warns(UserWarning, match=r"`SumLoss`.*8 times") as seen:
        for loss in _losses(12, 300.5):
            jax.jit(lambda x, y, loss=loss: kind(x, y) + loss(x, y))(_X, 0.5 * _X)
    assert len(seen) == 1


def test_signals_of_other_lengths_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i, loss in enumerate(_losses(12, 300.5)):
            loss(_X[i:], 0.5 * _X[i:])
