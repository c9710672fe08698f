"""Values and gradients hang on no rounding: those of another compiler are as good."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import (
    BATCH_LOSSES,
    COMPLEX_LOSSES,
    COMPLEX_SCALES,
    COMPOSITES,
    LEVEL_LOSSES,
    LEVELS,
    SAMPLE_RATE,
    SCALES,
    SIZES,
    SPECTRAL_LOSSES,
    TRANSFORMS,
)
from rounding import rounded_anew

import korvax_eqx as ke

N = 1100  # STOI needs 1025


def _tones():
    """Of 8 bits; some bins cancel exactly."""
    time = np.arange(N) / SAMPLE_RATE
    return np.round(100 * np.sin(2 * np.pi * np.outer([500, 1000], time))) / 128


def _clicks():
    """Spectra of equal magnitudes: every bin is the largest."""
    return np.where(np.arange(N) == 300, np.ones((2, 1)), 0)


NOISE, OTHER = 0.3 * np.random.default_rng(1).standard_normal((2, 2, N))
PAIRS = [(NOISE, OTHER), (NOISE, NOISE), (0 * NOISE, NOISE), (_clicks(), _tones())]
ON_SPECTRA = [*SPECTRAL_LOSSES, *COMPLEX_LOSSES, *LEVEL_LOSSES, *BATCH_LOSSES]
IN_TIME = [
    case
    for case in [*COMPOSITES, *LEVELS]
    if isinstance(case.make(), ke.AbstractWaveformLoss)
]


def function_of(case):
    """A number of two signals, made by an object of any kind and nothing around it."""
    part = case.make()
    if case in IN_TIME:
        return lambda x, y: jnp.sum(part.values(ke.Signals(x), ke.Signals(y)))
    if case in TRANSFORMS:
        return lambda x, y: jnp.sum(jnp.abs(part.apply(ke.Signals(x)).S))
    is_complex = case in COMPLEX_SCALES or case in COMPLEX_LOSSES
    transform = ke.STFT(**SIZES) if is_complex else ke.Spectrogram(**SIZES)

    def spectra(x):
        return jnp.swapaxes(transform.apply(ke.Signals(x)).S, -1, -2)

    if case in ON_SPECTRA:
        return lambda x, y: part(spectra(x), spectra(y))

    def power(x, y):
        scaled = part(spectra(x))
        return jnp.mean(jnp.real(scaled * jnp.conj(scaled)))

    return power


ALL = [*TRANSFORMS, *SCALES, *COMPLEX_SCALES, *ON_SPECTRA, *IN_TIME]


@pytest.mark.parametrize("case", ALL, ids=repr)
def test_another_rounding_leaves_values_and_gradients_finite(case):
    both = jax.value_and_grad(function_of(case), argnums=(0, 1))
    for x, y in PAIRS:
        x, y = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
        got = rounded_anew(both, x, y)
        assert all(np.all(np.isfinite(one)) for one in got)


def test_what_compares_for_equality_is_found():
    """JAX's own derivative of a maximum, for one."""
    x = jnp.asarray(NOISE, jnp.float32)
    (slope,) = rounded_anew(jax.grad(lambda x: jnp.max(jnp.exp(x))), x)
    assert not np.all(np.isfinite(slope))
