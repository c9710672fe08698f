"""Functions and classes that use a traced array which they do not hold."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import korvax_eqx as ke

X, Y = jax.random.normal(jax.random.key(0), (2, 2, 1000))


def scale_of(weight: Any) -> Any:
    class Scaled(ke.AbstractScale):
        def apply(self, data: ke.Spectra) -> ke.Spectra:
            return data.map(lambda S: weight * S)

    return ke.TimeFrequencyLoss(ke.Spectrogram(64), ke.ElementwiseLoss(), Scaled())


def function_of(weight: Any) -> Callable[..., Any]:
    return lambda x, y: weight * jnp.mean((x - y) ** 2)


# Evaluated in pieces, value and gradient together.
HIDDEN: dict[str, Callable[[Any], Any]] = {
    "sources": lambda w: ke.PermutationInvariantLoss(function_of(w)),
    "mixtures": lambda w: ke.MixtureInvariantLoss(function_of(w)),
    "scale": scale_of,
    "in a sum": lambda w: ke.SumLoss([ke.WaveformLoss(), scale_of(w)]),
}


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize(
    "transform",
    [jax.grad, lambda f: jax.jit(jax.grad(f)), jax.jit, jax.value_and_grad],
    ids=["grad", "compiled grad", "jit", "value and grad"],
)
def test_is_refused_where_the_gradient_would_be_lost(name: str, transform: Any) -> None:
    fn = transform(lambda weight: HIDDEN[name](weight)(X, Y))
    with pytest.raises(ValueError, match=r"hold the array in a field of an `eqx.Modul"):
        fn(2.0)


@pytest.mark.parametrize("name", HIDDEN)
def test_constants_may_be_used(name: str) -> None:
    one, two = (HIDDEN[name](jnp.asarray(weight))(X, Y) for weight in (1.0, 2.0))
    assert float(two) > float(one)
    jax.jit(HIDDEN[name](jnp.asarray(2.0)))(X, Y)


def test_functions_that_see_the_whole_batch_may_use_any_array() -> None:
    def value(weight: Any) -> Any:
        return ke.SumLoss([function_of(weight)])(X, Y)

    np.testing.assert_allclose(jax.jit(jax.grad(value))(2.0), value(1.0), rtol=1e-6)


class Weighted(eqx.Module):
    weight: Any

    def __call__(self, x: Any, y: Any) -> Any:
        return self.weight * jnp.mean((x - y) ** 2)


def test_the_way_out() -> None:
    """A field that holds the array."""

    def value(weight: Any) -> Any:
        return ke.PermutationInvariantLoss(Weighted(weight))(X, Y)

    one = jnp.asarray(1.0)
    np.testing.assert_allclose(jax.jit(jax.grad(value))(one), value(one), rtol=1e-6)
