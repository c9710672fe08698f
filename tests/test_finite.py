"""Values and gradients are finite wherever the signals are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from registry import COMPOSITES, LEVELS, N_SAMPLES, SAMPLE_RATE, signals


def sine(frequency: float) -> jax.Array:
    time = jnp.arange(N_SAMPLES, dtype=jnp.float32) / SAMPLE_RATE
    return jnp.sin(2 * jnp.pi * frequency * time)


def _noise() -> jax.Array:
    return signals()[0]


def _fade() -> jax.Array:
    """A fade-out to silence as a 16-bit file holds it: exact zeros at the end."""
    tone = sine(440.0) * jnp.linspace(1.0, 0.0, N_SAMPLES) ** 4
    return jnp.round(tone * 32767) / 32768


def _click() -> jax.Array:
    return jnp.zeros(N_SAMPLES).at[N_SAMPLES // 2].set(1.0)


def _half_silent() -> jax.Array:
    return _noise().at[: N_SAMPLES // 2].set(0.0)


SIGNALS = {
    "noise": _noise,
    "silence": lambda: jnp.zeros(N_SAMPLES),
    "half-silent": _half_silent,
    "tiny": lambda: _noise() * 1e-20,
    "huge": lambda: _noise() * 1e15,
    "sine-161.3": lambda: sine(161.3),
    "click": _click,
    "constant": lambda: jnp.full(N_SAMPLES, 0.5),
    "fade-16-bit": _fade,
}


@functools.cache
def value_and_grads(case):
    return jax.jit(jax.vmap(jax.value_and_grad(case.callable(), argnums=(0, 1))))


def representable(*arrays) -> bool:
    """Whether float32 can hold the numbers, with room for the sums they come from."""
    largest = max(np.max(np.abs(a)) for a in arrays)
    return largest < np.finfo(np.float32).max / N_SAMPLES**2


@pytest.mark.parametrize("case", [*COMPOSITES, *LEVELS], ids=repr)
def test_finite_for_all_pairs(case):
    """In float64 always; in float32 wherever it can hold the result.

    What it cannot hold: squares of powers of signals of 1e15, and such powers divided
    by the mass of silence.
    """
    pairs = [(a, b) for a in SIGNALS for b in SIGNALS]
    x = case.channels(jnp.stack([SIGNALS[a]() for a, _ in pairs]))
    y = case.channels(jnp.stack([SIGNALS[b]() for _, b in pairs]))
    with jax.enable_x64(True):
        wide = value_and_grads(case)(x.astype(jnp.float64), y.astype(jnp.float64))
        wide = jax.tree.map(np.asarray, wide)
    narrow = jax.tree.map(np.asarray, value_and_grads(case)(x, y))
    n_narrow = 0
    for i, pair in enumerate(pairs):
        (v, g), (v32, g32) = jax.tree.map(lambda a, i=i: a[i], (wide, narrow))
        assert np.isfinite(v) and (v >= 0 or case in LEVELS), pair
        assert all(np.all(np.isfinite(one)) for one in g), pair
        if representable(v, *g):
            n_narrow += 1
            assert np.isfinite(v32), pair
            assert all(np.all(np.isfinite(one)) for one in g32), pair
        if pair[0] == pair[1] and np.isfinite(v32) and case not in LEVELS:
            assert v == 0 and v32 == 0, pair
            assert not np.any(g[0]) and not np.any(g32[0]), pair
    # At most the pairs with the huge signal are left out, and in sums of ratios a few
    # more, of a loud signal and silence.
    assert n_narrow >= (len(SIGNALS) - 1) ** 2 - 5


@pytest.mark.parametrize("case", [*COMPOSITES, *LEVELS], ids=repr)
def test_finite_for_sines(case):
    """A few bins of a plain sine cancel exactly: 400 frequencies and one known case."""
    frequencies = np.r_[161.3, np.geomspace(40, 4000, 400)]
    x = jax.vmap(sine)(jnp.asarray(frequencies, jnp.float32))
    y = jnp.broadcast_to(sine(440.0), x.shape)
    value, gradients = value_and_grads(case)(case.channels(x), case.channels(y))
    finite = jnp.isfinite(value)
    for g in gradients:
        finite &= jnp.all(jnp.isfinite(g), axis=tuple(range(1, g.ndim)))
    assert jnp.all(finite), frequencies[~np.asarray(finite)]


samples = st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, 1.0, -1.0, 1e-30])
waves = hnp.arrays(np.float32, N_SAMPLES, elements=samples, fill=samples)


@pytest.mark.parametrize("case", COMPOSITES[:4], ids=repr)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(x=waves, y=waves)
def test_finite_for_anything(case, x, y):
    value, gradients = value_and_grads(case)(jnp.asarray(x)[None], jnp.asarray(y)[None])
    assert jnp.all(jnp.isfinite(value))
    assert all(jnp.all(jnp.isfinite(g)) for g in gradients)
