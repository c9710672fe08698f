"""Draws of losses of every kind: the value is that of what was drawn."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import korvax_eqx as ke

X, Y = jax.random.normal(jax.random.key(0), (2, 3, 2, 1500))
SPECTROGRAM = ke.Spectrogram(64, 32)


class OfTheBatch(ke.AbstractScale):
    """A scale that sees everything."""

    scope = "batch"

    def apply(self, data: ke.Spectra) -> ke.Spectra:
        return data.map(lambda S: S / jnp.max(S))


def spectral(*parts: Any) -> ke.TimeFrequencyLoss:
    return ke.TimeFrequencyLoss(SPECTROGRAM, *parts)


def squares(x: Any, y: Any) -> Any:
    return jnp.mean((x - y) ** 2)


# One of each way in which terms are evaluated.
PARTS: dict[str, Any] = {
    "rows": spectral(ke.ElementwiseLoss()),
    "wave": ke.WaveformLoss("L2"),
    "channels": ke.MappedLoss(ke.MidSide(), ke.ESRLoss()),
    "batch loss": spectral(ke.BatchSpectralConvergenceLoss()),
    "sources": ke.PermutationInvariantLoss(ke.SISDRLoss()),
    "function": squares,
    "function of spectra": spectral(squares),
    "function as scale": spectral(ke.ElementwiseLoss(), jnp.log1p),
    "function as map": ke.MappedLoss(jnp.tanh, ke.WaveformLoss()),
    "function as transform": ke.TimeFrequencyLoss(
        lambda x: x.reshape(*x.shape[:-1], -1, 50), ke.ElementwiseLoss()
    ),
    "function of pairs": ke.PermutationInvariantLoss(squares),
    "scope of the batch": spectral(ke.ElementwiseLoss(), OfTheBatch()),
    "sum": ke.SumLoss([squares, ke.WaveformLoss()], [2.0, -0.5]),
}


def value_and_gradient(loss: Any, **keywords: Any) -> Any:
    return jax.value_and_grad(lambda x: loss(x, Y, **keywords))(X)


def relative_error(got: Any, expected: Any) -> float:
    scale = np.max(np.abs(expected))
    return float(np.max(np.abs(np.asarray(got) - expected)) / scale)


@pytest.mark.parametrize("name", PARTS)
def test_only_what_is_drawn_counts(name: str) -> None:
    other = spectral(ke.ElementwiseLoss("L2"))
    drawn = ke.RandomSubsetLoss({"one": PARTS[name], "other": other})
    expected = [value_and_gradient(ke.SumLoss([p])) for p in (PARTS[name], other)]
    seen = set()
    for seed in range(8):
        key = jax.random.key(seed)
        terms = drawn.with_terms(X, Y, key=key)[1].parts
        which = int(terms["one"] == 0)
        assert terms["one" if which else "other"] == 0
        if which in seen:
            continue
        seen.add(which)
        value, gradient = value_and_gradient(drawn, key=key)
        assert relative_error(value, 2 * expected[which][0]) < 1e-5
        assert relative_error(gradient, 2 * expected[which][1]) < 1e-4
    assert seen == {0, 1}


def test_of_a_prediction() -> None:
    stft = ke.STFT(64, 32)
    own = ke.TimeFrequencyLoss(stft, ke.ElementwiseLoss("L2"))
    drawn = ke.RandomSubsetLoss({"own": own, "function": squares})
    loss, S = ke.PredictionLoss(drawn, stft), stft(X)
    for seed in range(4):
        value, terms = loss.with_terms(S, Y, key=jax.random.key(seed))
        part = max(terms.values(), key=float)
        np.testing.assert_allclose(value, part, rtol=1e-6)
