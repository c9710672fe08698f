"""Values and gradients are finite wherever the signals are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from registry import BATCHES, COMPOSITES, LEVELS, N_SAMPLES, SAMPLE_RATE, signals


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


def _alternating() -> jax.Array:
    """A tone at half the sample rate: all of it is in the last bin."""
    return jnp.where(jnp.arange(N_SAMPLES) % 2 == 0, 0.5, -0.5)


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
    "alternating": _alternating,
}


@functools.cache
def value_and_grads(case):
    return jax.jit(jax.vmap(jax.value_and_grad(case.callable(), argnums=(0, 1))))


def representable(*arrays) -> bool:
    """Whether float32 can hold the numbers, with room for the sums they come from."""
    largest = max(np.max(np.abs(a)) for a in arrays)
    return largest < np.finfo(np.float32).max / N_SAMPLES**2


@functools.cache
def at_all_pairs(case):
    """Every pair of signals, and values and gradients in float64 and in float32."""
    pairs = [(a, b) for a in SIGNALS for b in SIGNALS]
    x = case.channels(jnp.stack([SIGNALS[a]() for a, _ in pairs]))
    y = case.channels(jnp.stack([SIGNALS[b]() for _, b in pairs]))
    with jax.enable_x64(True):
        wide = value_and_grads(case)(x.astype(jnp.float64), y.astype(jnp.float64))
        wide = jax.tree.map(np.asarray, wide)
    return pairs, wide, jax.tree.map(np.asarray, value_and_grads(case)(x, y))


@pytest.mark.parametrize("case", [*COMPOSITES, *LEVELS], ids=repr)
def test_finite_for_all_pairs(case):
    """In float64 always; in float32 wherever it can hold the result.

    What it cannot hold: squares of powers of signals of 1e15, also where they cancel,
    and such powers divided by the mass of silence.
    """
    pairs, wide, narrow = at_all_pairs(case)
    squares = repr(case) == "TimeFrequencyLoss-Power-2"
    n_narrow = 0
    for i, pair in enumerate(pairs):
        (v, g), (v32, g32) = jax.tree.map(lambda a, i=i: a[i], (wide, narrow))
        assert np.isfinite(v) and (v >= 0 or case in LEVELS), pair
        assert all(np.all(np.isfinite(one)) for one in g), pair
        if representable(v, *g) and not (squares and "huge" in pair):
            n_narrow += 1
            assert np.isfinite(v32), pair
            assert all(np.all(np.isfinite(one)) for one in g32), pair
    # At most the pairs with the huge signal are left out, and in sums of ratios those
    # of a loud signal and silence.
    n_loud = len({*SIGNALS} - {"silence", "tiny", "huge"})
    assert n_narrow >= (len(SIGNALS) - 1) ** 2 - n_loud


# Equal signals give the logarithm of 1 and an epsilon.
@pytest.mark.parametrize(
    "case", [case for case in COMPOSITES if case.name != "LogCoshLoss"], ids=repr
)
def test_equal_signals_have_the_value_0(case):
    """Not where XLA does not optimise: it may round equal numbers in two ways then."""
    pairs, *both = at_all_pairs(case)
    for i, (a, b) in enumerate(pairs):
        if a == b:
            (v, g), (v32, g32) = jax.tree.map(lambda a, i=i: a[i], tuple(both))
            assert v == 0 and not np.any(g[0]), a
            if np.isfinite(v32):
                assert v32 == 0 and not np.any(g32[0]), a


@pytest.mark.parametrize("case", [*COMPOSITES, *LEVELS], ids=repr)
def test_finite_for_sines(case):
    """A few bins of a plain sine cancel exactly: 399 frequencies and one known case."""
    frequencies = np.r_[161.3, np.geomspace(40, 4000, 399)]
    x = jax.vmap(sine)(jnp.asarray(frequencies, jnp.float32))
    y = jnp.broadcast_to(sine(440.0), x.shape)
    value, gradients = value_and_grads(case)(case.channels(x), case.channels(y))
    finite = jnp.isfinite(value)
    for g in gradients:
        finite &= jnp.all(jnp.isfinite(g), axis=tuple(range(1, g.ndim)))
    assert jnp.all(finite), frequencies[~np.asarray(finite)]


# -600 dB to 600 dB.
SCALES = [1e-30, 1e-20, 1e-10, 1e-3, 1.0, 1e5, 1e10]
SCALES += [1e14, 1e16, 1e17, 1e18, 1e19, 1e20, 1e25, 1e30]


@pytest.mark.parametrize("case", [*COMPOSITES, *LEVELS, *BATCHES], ids=repr)
def test_right_at_every_scale_or_not_a_number(case):
    """Squares leave float32 from 1e19 on: the value is right then, or it is no number.

    At the other end they are 0: a signal counts as silence there, or as nearly silent.
    """
    loss = jax.value_and_grad(case.callable(), argnums=(0, 1))

    @jax.jit
    def at_all_scales(x, y):
        return jax.lax.map(lambda pair: loss(*pair), (x, y))

    scales = np.array([0.0, *SCALES], np.float32)
    x, y = case.signals(2)
    x, y = (jnp.stack([s * scale for scale in scales]) for s in (x, y))
    got = jax.tree.map(np.asarray, at_all_scales(x, y))
    with jax.enable_x64(True):
        wide = at_all_scales(x.astype(jnp.float64), y.astype(jnp.float64))
        wide = jax.tree.map(np.asarray, wide)
    silent = wide[0][0]
    for i, scale in enumerate(scales[1:], 1):
        (v32, g32), (v, g) = jax.tree.map(lambda a, i=i: a[i], (got, wide))
        if not np.isfinite(v32):
            assert scale > 1 and v32 != -np.inf, scale
            # A gradient of zeros would say that nothing is left to be done.
            is_zero = not any(np.any(one) for one in g32)
            assert not is_zero, scale
            continue
        least, most = sorted((v, silent if scale < 1e-4 else v))
        slack = 1e-3 * abs(v) + 1e-6
        assert least - slack <= v32 <= most + slack, (scale, v32, v)
        # Beyond these, the derivative by a power may underflow.
        if 0.1 < scale < 1e11:
            for one, expected in zip(g32, g, strict=True):
                norm = np.linalg.norm(expected)
                assert np.linalg.norm(one - expected) <= 0.01 * norm, scale


@pytest.mark.parametrize("case", [*COMPOSITES, *LEVELS, *BATCHES], ids=repr)
def test_an_infinite_sample_is_no_perfect_score(case):
    """Neither of the target nor of both: the value is infinite or NaN."""
    x, y = case.signals(2)
    loss = jax.jit(case.callable())
    at = (1, ..., 700)
    target = loss(x, y.at[at].set(jnp.inf))
    both = loss(x.at[at].set(jnp.inf), y.at[at].set(jnp.inf))
    assert not np.isfinite(target) and target != -np.inf
    assert np.isnan(both)


samples = st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, 1.0, -1.0, 1e-30])
waves = hnp.arrays(np.float32, N_SAMPLES, elements=samples, fill=samples)


@pytest.mark.parametrize("case", COMPOSITES[:4], ids=repr)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(x=waves, y=waves)
def test_finite_for_anything(case, x, y):
    value, gradients = value_and_grads(case)(jnp.asarray(x)[None], jnp.asarray(y)[None])
    assert jnp.all(jnp.isfinite(value))
    assert all(jnp.all(jnp.isfinite(g)) for g in gradients)
