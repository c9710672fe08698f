"""Laws that hold for every class of the package, tested over the registry."""

import inspect
import pkgutil
from importlib import import_module

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import (
    ALL,
    COMPOSITES,
    SCALES,
    SPECTRAL_LOSSES,
    TRANSFORMS,
    signals,
)

import korvax_eqx as ke

BASES = (
    ke.AbstractTransform,
    ke.AbstractScale,
    ke.AbstractSpectralLoss,
    ke.AbstractLoss,
)


def close(a, b, rtol=1e-5):
    """Compare by the largest entry: single bins of a spectrum may cancel."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape and a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.max(np.abs(b)))


def package_modules():
    names = [m.name for m in pkgutil.walk_packages(ke.__path__, "korvax_eqx.")]
    return [import_module(name) for name in names if not name.endswith("__main__")]


def package_classes():
    classes = {
        value
        for module in package_modules()
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, eqx.Module)
        and value.__module__.startswith("korvax_eqx")
    }
    return sorted(classes, key=lambda c: c.__qualname__)


def test_every_public_class_is_in_the_registry():
    public = {
        value
        for value in vars(ke).values()
        if inspect.isclass(value) and issubclass(value, BASES) and value not in BASES
    }
    assert public == {type(case.make()) for case in ALL}


@pytest.mark.parametrize("cls", package_classes(), ids=lambda c: c.__name__)
def test_abstract_or_final(cls):
    """Bases have abstract methods only; nothing derives from a final class."""
    is_abstract = inspect.isabstract(cls)
    assert is_abstract == cls.__name__.startswith("Abstract")
    for base in cls.__mro__[1:]:
        if base.__module__.startswith("korvax_eqx"):
            assert inspect.isabstract(base)
    if is_abstract:
        own = {name for name, v in vars(cls).items() if inspect.isfunction(v)}
        assert {n for n in own if not n.startswith("__")} <= cls.__abstractmethods__


@pytest.mark.parametrize("case", ALL, ids=repr)
def test_no_leaves(case):
    assert jax.tree.leaves(case.make()) == []


@pytest.mark.parametrize("case", ALL, ids=repr)
def test_equal_instances_are_equal_and_compile_once(case):
    first, second = case.make(), case.make()
    assert first is not second
    assert first == second and hash(first) == hash(second)
    assert jax.tree.structure(first) == jax.tree.structure(second)
    count = 0

    @jax.jit
    def traced(module, x):
        nonlocal count
        count += 1
        return x

    traced(first, 1.0)
    traced(second, 1.0)
    assert count == 1


def test_different_configurations_are_not_equal():
    """Each case of one class differs from the others of that class."""
    for case in ALL:
        for other in ALL:
            if case is not other and type(case.make()) is type(other.make()):
                assert case.make() != other.make(), (case, other)


def _spectra(*lead):
    x, y = signals(*lead)
    S = ke.Spectrogram(n_fft=256, hop_length=100)
    return S(x), S(y)


@pytest.mark.parametrize("case", [*TRANSFORMS, *SCALES], ids=repr)
def test_map_jit_and_vmap_agree_with_eager(case):
    module = case.make()
    x = signals(2, 3)[0] if case in TRANSFORMS else _spectra(2, 3)[0]
    eager = module(x)
    close(jax.jit(module)(x), eager)
    close(eqx.filter_jit(module)(x), eager)
    looped = jnp.stack([jnp.stack([module(b) for b in a]) for a in x])
    close(eager, looped)
    close(jax.vmap(jax.vmap(module))(x), looped)


@pytest.mark.parametrize("case", [*SPECTRAL_LOSSES, *COMPOSITES], ids=repr)
def test_loss_is_a_mean_over_leading_axes(case):
    loss = case.make()
    x, y = signals(2, 3) if case in COMPOSITES else _spectra(2, 3)
    value = loss(x, y)
    assert value.shape == () and value.dtype == jnp.float32
    assert value > 0
    close(jax.jit(loss)(x, y), value)
    each = jax.vmap(jax.vmap(loss))(x, y)
    assert each.shape == (2, 3)
    looped = jnp.stack(
        [jnp.stack([loss(x[i, j], y[i, j]) for j in range(3)]) for i in range(2)]
    )
    close(each, looped)
    close(value, jnp.mean(looped))


@pytest.mark.parametrize("case", COMPOSITES, ids=repr)
def test_gradients_agree_with_finite_differences(case):
    """Value, reverse mode, forward mode and second order, in float64."""
    with jax.enable_x64(True):
        loss = case.make()
        x, y = signals(2, dtype=jnp.float64)
        t = jax.random.normal(jax.random.key(7), x.shape, x.dtype)
        value, gradient = jax.value_and_grad(loss)(x, y)
        tangent = jnp.sum(gradient * t)
        # Richardson: the error of a central difference is of second order.
        central = [
            (loss(x + h * t, y) - loss(x - h * t, y)) / (2 * h) for h in (2e-7, 1e-7)
        ]
        estimate = (4 * central[1] - central[0]) / 3
        # Losses with kinks (L1, transport) have their sign changes within the step.
        np.testing.assert_allclose(tangent, estimate, rtol=2e-5)
        forward_value, forward = jax.jvp(lambda x: loss(x, y), (x,), (t,))
        np.testing.assert_allclose(forward_value, value, rtol=1e-12)
        np.testing.assert_allclose(forward, tangent, rtol=1e-9)
        jitted = jax.jit(jax.grad(loss))(x, y)
        close(jitted, gradient, 1e-9)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("case", COMPOSITES, ids=repr)
def test_result_is_float32_and_gradient_has_the_dtype_of_the_signal(case, dtype):
    loss = case.make()
    x, y = signals(2, dtype=dtype)
    value, gradient = jax.value_and_grad(loss)(x, y)
    assert value.dtype == jnp.float32
    assert gradient.dtype == dtype and gradient.shape == x.shape
    wide = jax.grad(loss)(x.astype(jnp.float32), y.astype(jnp.float32))
    close(gradient, wide.astype(dtype))


@pytest.mark.parametrize("case", COMPOSITES, ids=repr)
def test_nan_is_never_hidden(case):
    x, y = signals(3)
    loss = case.make()
    assert jnp.isnan(loss(x.at[1, 700].set(jnp.nan), y))
    assert jnp.isnan(loss(x, y.at[1, 700].set(jnp.nan)))
    each = jax.vmap(loss)(x.at[1, 700].set(jnp.nan), y)
    assert jnp.isnan(each).tolist() == [False, True, False]


@pytest.mark.parametrize("case", COMPOSITES, ids=repr)
def test_a_model_that_holds_a_loss(case):
    """Plain and filtered transformations go through a model with a loss in a field."""

    class Model(eqx.Module):
        gain: jax.Array
        loss: eqx.Module

        def __call__(self, x, y):
            return self.loss(self.gain * x, y)  # pyright: ignore[reportCallIssue]

    x, y = signals(2)
    model = Model(jnp.asarray(0.7), case.make())
    plain = jax.jit(jax.grad(lambda m: m(x, y)))(model)
    filtered = eqx.filter_jit(eqx.filter_grad(lambda m: m(x, y)))(model)
    direct = jnp.sum(jax.grad(case.make())(0.7 * x, y) * x)
    close(plain.gain, direct)
    close(filtered.gain, direct)
    assert len(jax.tree.leaves(model)) == 1
