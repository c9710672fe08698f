"""Laws that hold for every class of the package, tested over the registry."""

import inspect
import itertools
import pkgutil
from importlib import import_module

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import (
    ALL,
    COMPLEX_LOSSES,
    COMPLEX_SCALES,
    COMPOSITES,
    LEVEL_LOSSES,
    LEVELS,
    MAPS,
    N_SAMPLES,
    SCALES,
    SIZES,
    SPECTRAL_LOSSES,
    TRANSFORMS,
    arguments,
    signals,
)

import korvax_eqx as ke


def close(a, b, rtol=1e-5):
    """Compare by the largest entry: single bins of a spectrum may cancel."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape and a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.max(np.abs(b)))


def package_modules():
    """All but the command line, which needs more than the losses to be imported."""
    names = [m.name for m in pkgutil.walk_packages(ke.__path__, "korvax_eqx.")]
    losses = [n for n in names if not n.startswith("korvax_eqx._cli")]
    return [import_module(n) for n in losses if not n.endswith("__main__")]


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


class _Plain(eqx.Module):
    """A module of nothing but what every module has."""


def own_members(cls):
    """What a class defines itself, without what every module gets when it is made."""
    added = {*vars(_Plain), "__annotations__", "__init__", "__check_init__"}
    return {name for name in vars(cls) if name not in added}


def is_abstract(cls, name):
    return name in getattr(cls, "__abstractmethods__", ())


def bases_of_package(cls):
    return [b for b in cls.__mro__[1:] if b.__module__.startswith("korvax_eqx")]


@pytest.mark.cheap
@pytest.mark.parametrize("cls", package_classes(), ids=lambda c: c.__name__)
def test_abstract_or_final(cls):
    """A class is abstract, and called so, or final: nothing derives from it."""
    is_base = cls.__name__.removeprefix("_").startswith("Abstract")
    assert is_base == (inspect.isabstract(cls) or bool(_abstract_fields(cls)))
    for base in bases_of_package(cls):
        assert base.__name__.removeprefix("_").startswith("Abstract")


def _abstract_fields(cls):
    return getattr(cls, "__abstractvars__", frozenset()) | getattr(
        cls, "__abstractclassvars__", frozenset()
    )


# What a class declares of itself, with a default in its base.
DECLARED = {
    "base_name",
    "check",
    "frames_left",
    "framing",
    "has_parts",
    "is_of_batch",
    "least_frames",
    "least_samples",
    "path",
    "samples_left",
    "scope",
    "values_per_sample",
}


@pytest.mark.cheap
@pytest.mark.parametrize("cls", package_classes(), ids=lambda c: c.__name__)
def test_nothing_concrete_is_overridden(cls):
    """What a base implements holds for all that derive from it."""
    bases = bases_of_package(cls)
    for base in bases:
        concrete = {n for n in own_members(base) if not is_abstract(base, n)}
        concrete -= DECLARED
        if cls.__name__ == "BoundLoss":  # `bind` makes it: no constructor call does
            concrete.discard("__repr__")
        overridden = concrete & own_members(cls)
        assert not overridden, f"{cls.__name__} overrides {base.__name__}: {overridden}"


@pytest.mark.cheap
@pytest.mark.parametrize("case", ALL, ids=repr)
def test_no_leaves(case):
    assert jax.tree.leaves(case.make()) == []


@pytest.mark.cheap
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
    made = [(case, case.make()) for case in ALL]
    for (case, one), (other, two) in itertools.combinations(made, 2):
        assert type(one) is not type(two) or one != two, (case, other)


def _six(case):
    """What the object takes, with leading axes (2, 3)."""
    found = arguments(case)
    if case in [*MAPS, *TRANSFORMS] or found[0].shape[-1] == N_SAMPLES:
        return case.signals(2, 3)[: len(found)]
    transform = ke.STFT if jnp.iscomplexobj(found[0]) else ke.Spectrogram
    return [transform(**SIZES)(s) for s in signals(2, 3)][: len(found)]


MAPPINGS = [*MAPS, *TRANSFORMS, *SCALES, *COMPLEX_SCALES]


@pytest.mark.parametrize("case", MAPPINGS, ids=repr)
def test_map_jit_and_vmap_agree_with_eager(case):
    module = case.make()
    (x,) = _six(case)
    eager = module(x)
    close(jax.jit(module)(x), eager)
    close(eqx.filter_jit(module)(x), eager)
    looped = jnp.stack([jnp.stack([module(b) for b in a]) for a in x])
    close(eager, looped)
    close(jax.vmap(jax.vmap(module))(x), looped)


ON_SPECTRA = [*SPECTRAL_LOSSES, *COMPLEX_LOSSES, *LEVEL_LOSSES]
ON_SIGNALS = [*COMPOSITES, *LEVELS]


@pytest.mark.parametrize("case", [*ON_SPECTRA, *ON_SIGNALS], ids=repr)
def test_loss_is_a_mean_over_leading_axes(case):
    loss = case.callable()
    x, y = _six(case)
    value = loss(x, y)
    assert value.shape == () and value.dtype == jnp.float32
    assert value > 0 or case in [*LEVEL_LOSSES, *LEVELS]
    close(jax.jit(loss)(x, y), value)
    each = jax.vmap(jax.vmap(loss))(x, y)
    assert each.shape == (2, 3)
    looped = jnp.stack(
        [jnp.stack([loss(x[i, j], y[i, j]) for j in range(3)]) for i in range(2)]
    )
    close(each, looped)
    # Values of ratios have either sign: their mean may cancel.
    atol = 1e-5 * np.max(np.abs(looped))
    np.testing.assert_allclose(value, np.mean(looped), rtol=0, atol=atol)


@pytest.mark.parametrize("case", ON_SIGNALS, ids=repr)
def test_gradients_agree_with_finite_differences(case):
    """Value, reverse mode, forward mode and second order, in float64."""
    with jax.enable_x64(True):
        loss = case.callable()
        x, y = case.signals(2, dtype=jnp.float64)
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


@pytest.mark.parametrize("case", ON_SIGNALS, ids=repr)
def test_result_is_float32_and_gradient_has_the_dtype_of_the_signal(case):
    both = jax.value_and_grad(case.callable())
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        x, y = case.signals(2, dtype=dtype)
        value, gradient = both(x, y)
        assert value.dtype == jnp.float32
        assert gradient.dtype == dtype and gradient.shape == x.shape
        # In float32, which is compiled once.
        _, wide = both(x.astype(jnp.float32), y.astype(jnp.float32))
        close(gradient, wide.astype(dtype))


@pytest.mark.parametrize("case", ON_SIGNALS, ids=repr)
def test_nan_is_never_hidden(case):
    x, y = case.signals(3)
    both = jax.jit(jax.vmap(jax.value_and_grad(case.callable(), argnums=(0, 1))))
    finite_gradients = both(x, y)[1]
    # In the middle, and where a batch and a signal begin and end.
    # Frames wholly inside of a signal leave out what is left over at its end, decays of
    # energy the last samples.
    shorter = ("valid", "PitchTransport", "EnergyDecay")
    is_whole = any(word in case.name for word in shorter)
    last = 1450 if is_whole else N_SAMPLES - 1
    for signal, sample in ((1, 700), (0, 0), (2, last)):
        for pair in (
            (x.at[signal, ..., sample].set(jnp.nan), y),
            (x, y.at[signal, ..., sample].set(jnp.nan)),
        ):
            assert jnp.isnan(case.callable()(*pair))
            each, gradients = both(*pair)
            assert jnp.isnan(each).tolist() == [i == signal for i in range(3)]
            others = np.arange(3) != signal
            for got, expected in zip(gradients, finite_gradients, strict=True):
                close(got[others], expected[others])


@pytest.mark.parametrize("case", ON_SIGNALS, ids=repr)
def test_a_model_that_holds_a_loss(case):
    """Plain and filtered transformations go through a model with a loss in a field."""

    class Model(eqx.Module):
        gain: jax.Array
        loss: eqx.Module

        def __call__(self, x, y):
            return self.loss(self.gain * x, y, **case.keywords)  # pyright: ignore[reportCallIssue]

    x, y = case.signals(2)
    model = Model(jnp.asarray(0.7), case.make())
    plain = jax.jit(jax.grad(lambda m: m(x, y)))(model)
    filtered = eqx.filter_jit(eqx.filter_grad(lambda m: m(x, y)))(model)
    direct = jnp.sum(jax.grad(case.callable())(0.7 * x, y) * x)
    # A loss that does not see the level has no gradient but rounding.
    scale = 1e-5 * jnp.sum(jnp.abs(jax.grad(case.callable())(0.7 * x, y) * x))
    assert jnp.abs(plain.gain - direct) <= scale
    assert jnp.abs(filtered.gain - direct) <= scale
    assert len(jax.tree.leaves(model)) == 1
