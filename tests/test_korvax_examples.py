"""The documented examples of `korvax.loss.time_frequency_loss`, run as they are."""

import functools
import inspect
import re
import textwrap
from typing import Any

import jax
import jax.numpy as jnp
import korvax
import numpy as np
import pytest
from oracle import SINGLE, SLACK, assert_close, noise, relative_error, standard

import korvax_eqx

EXAMPLES = ["a_weighted_stft_loss", "combined_lin_sot_loss", "my_mrstft_loss"]


def example(name: str, module: Any) -> Any:
    """The documentation's own code, with `korvax` standing for `module`."""
    doc = inspect.getdoc(korvax.loss.time_frequency_loss)
    assert doc is not None
    blocks = re.findall(r"```python\n(.*?)```", doc, flags=re.DOTALL)
    assert len(blocks) == len(EXAMPLES)
    (code,) = (block for block in blocks if name in block)
    names = {"korvax": module, "functools": functools}
    exec(textwrap.dedent(code), names)
    return names[name]


@functools.cache
def signals() -> tuple[jax.Array, jax.Array]:
    """One signal each: a batch would share the `top_db` of the function."""
    rng = np.random.default_rng(0)
    t = np.arange(1500) / 16000
    tones = np.sin(2 * np.pi * np.asarray([[440.0], [700.0]]) * t)
    x, y = tones + 0.1 * rng.standard_normal(tones.shape)
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


@functools.cache
def reference(name: str, dtype: str = "float64") -> Any:
    """korvax, on the same numbers."""
    loss = standard(example(name, korvax))
    with jax.enable_x64(dtype == "float64"):
        x, y = (jnp.asarray(a, dtype) for a in signals())
        return jax.jit(jax.value_and_grad(loss, (0, 1)))(x, y)


def assert_as_close_as_korvax(actual: Any, name: str) -> None:
    """Close to korvax in float64; if not, about as close as korvax in float32."""
    leaves = jax.tree.leaves(reference(name))
    for k, (a, d) in enumerate(zip(jax.tree.leaves(actual), leaves, strict=True)):
        error, tolerance = relative_error(a, d), SINGLE
        if error > tolerance:
            rounded = jax.tree.leaves(reference(name, "float32"))[k]
            tolerance = SLACK * relative_error(rounded, d)
        assert error <= tolerance, (error, tolerance)


@pytest.mark.parametrize("mode", ["jit", pytest.param("eager", marks=pytest.mark.long)])
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs_unchanged(name, mode):
    both = jax.value_and_grad(example(name, korvax_eqx), (0, 1))
    value, grads = (jax.jit(both) if mode == "jit" else both)(*signals())
    assert value.dtype == jnp.float32
    assert_as_close_as_korvax((value, grads), name)
    assert_close(example(name, korvax_eqx)(*signals()), reference(name)[0])


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs_on_a_batch(name):
    """The decibel functions take `top_db` over the whole array, as korvax's do."""
    rng = np.random.default_rng(1)
    x, y = noise(rng, 2, 1, 600), noise(rng, 2, 1, 600)
    # Far apart in level: 80 dB below the louder one cuts the other one off.
    x, y = (a * np.asarray([1.0, 1e-4])[:, None, None] for a in (x, y))
    with jax.enable_x64(True):
        x, y = jnp.asarray(x), jnp.asarray(y)
        desired = jax.jit(jax.value_and_grad(standard(example(name, korvax)), (0, 1)))
        actual = jax.jit(jax.value_and_grad(example(name, korvax_eqx), (0, 1)))
        assert_close(actual(x, y), desired(x, y), 1e-9)


def test_decibel_classes_differ_from_the_functions_only_in_a_batch():
    """A class takes `top_db` for each spectrogram: no example changes another."""
    rng = np.random.default_rng(2)
    x = noise(rng, 2, 600) * np.asarray([[1.0], [1e-4]])
    y = noise(rng, 2, 600) * np.asarray([[1.0], [1e-4]])
    x, y = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    transform = korvax_eqx.Spectrogram(64, 32, power=1)
    loss = korvax_eqx.ElementwiseLoss()
    scale = korvax_eqx.AmplitudeToDB(top_db=30.0)
    function = functools.partial(korvax_eqx.amplitude_to_db, top_db=30.0)
    by_class = korvax_eqx.TimeFrequencyLoss(transform, loss, scale)
    by_function = korvax_eqx.TimeFrequencyLoss(transform, loss, function)
    assert_close(by_class(x[0], y[0]), by_function(x[0], y[0]))
    each = jnp.stack([by_function(x[k], y[k]) for k in range(2)])
    assert_close(by_class(x, y), jnp.mean(each))
    assert abs(float(by_function(x, y)) / float(by_class(x, y)) - 1) > 0.01
