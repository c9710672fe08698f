"""What holds for every recipe: it is a loss of the library as any other.

Apart from the laws of the classes: a recipe in decibels has no least value of 0.
"""

import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import N_SAMPLES, RECIPES, SAMPLE_RATE

import korvax_eqx as ke

each = pytest.mark.parametrize("case", RECIPES, ids=repr)


def close(a, b, rtol=1e-5):
    a, b = np.asarray(a), np.asarray(b)
    np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.max(np.abs(b)))


@each
def test_equal_saved_printed_and_without_leaves(case):
    loss = case.make()
    assert isinstance(loss, ke.AbstractLoss)
    assert jax.tree.leaves(loss) == []
    assert loss == case.make() and hash(loss) == hash(case.make())
    file = io.BytesIO()
    ke.save(file, loss)
    file.seek(0)
    assert ke.load(file) == loss
    text = repr(loss)
    if case.name not in ("log_wmse", "log_wmse-sum"):  # of too many taps to print
        assert eval(text, {**vars(ke), "np": np}) == loss


@each
def test_mean_over_signals_with_terms_bound_and_mapped(case):
    loss = case.callable()
    x, y = case.signals(3)
    value, gradient = jax.jit(jax.value_and_grad(loss))(x, y)
    one_by_one = jax.vmap(loss)(x, y)
    assert one_by_one.shape == (3,)
    close(value, jnp.mean(one_by_one))
    total, terms = case.make().with_terms(x, y, **case.keywords)
    close(total, value)
    close(sum(terms.values()), value)
    bound = case.make().bind(y, **case.keywords)
    bound = functools.partial(bound, **case.keywords)
    bound_value, bound_gradient = jax.jit(jax.value_and_grad(bound))(x)
    close(bound_value, value)
    close(bound_gradient, gradient, 1e-4)


@each
def test_lengths_are_those_of_the_signals_cut(case):
    """In float64: what is in decibels may be near 0, and then is all rounding."""
    with jax.enable_x64(True):
        x, y = case.signals(2, dtype=jnp.float64)
        lengths = jnp.asarray([N_SAMPLES, N_SAMPLES - 333])
        if case.n_channels is not None:
            lengths = lengths[:, None]
        padded = case.make()(x, y, lengths=lengths, **case.keywords)
        cut = [
            case.callable()(x[i, ..., :n], y[i, ..., :n])
            for i, n in enumerate(map(int, lengths.ravel()))
        ]
        close(padded, jnp.mean(jnp.stack(cut)), 1e-12)


def sine(frequency):
    at = jnp.arange(N_SAMPLES, dtype=jnp.float32) / SAMPLE_RATE
    return jnp.sin(2 * jnp.pi * frequency * at)


@each
def test_finite_and_never_hides_nan(case):
    """At silence, at equal signals, and where a bin cancels exactly."""
    noise = 0.3 * jax.random.normal(jax.random.key(5), (N_SAMPLES,))
    silence, tone = jnp.zeros(N_SAMPLES), sine(440.0)
    cancelled = sine(SAMPLE_RATE / 8).at[: N_SAMPLES // 2].set(0.0)
    kinds = [noise, silence, tone, cancelled, noise * 1e-12]
    pairs = [(a, b) for a in kinds for b in kinds]
    x, y = (case.channels(jnp.stack(list(s))) for s in zip(*pairs, strict=True))
    grads = jax.vmap(jax.value_and_grad(case.callable(), (0, 1)))
    value, gradients = jax.jit(grads)(x, y)
    assert jnp.all(jnp.isfinite(value))
    assert all(bool(jnp.all(jnp.isfinite(g))) for g in gradients)
    for index, (a, b) in enumerate(pairs):
        if a is b:
            assert not jnp.any(gradients[0][index])
    x, y = case.signals(2)
    loss = case.callable()
    assert jnp.isnan(loss(x.at[1, ..., 700].set(jnp.nan), y))
    assert jnp.isnan(loss(x, y.at[1, ..., 700].set(jnp.nan)))


@pytest.mark.parametrize("cls", [ke.LevelLoss, ke.SpectralLevelLoss, ke.LogWMSELoss])
def test_new_classes_are_saved_by_name(cls):
    loss = cls([1.0, 0.5]) if cls is ke.LogWMSELoss else cls(lmin=-50.0)
    assert ke.from_config(ke.to_config(loss)) == loss
    assert eval(repr(loss), {**vars(ke), "np": np}) == loss
