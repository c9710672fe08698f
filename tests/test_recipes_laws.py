"""Laws of recipes: each is a loss of the library as any other.

Apart from the laws of the classes: a recipe in decibels has no least value of 0, and
some compare a batch as a whole.
"""

import functools
import inspect
import io
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import N_SAMPLES, RECIPES, RECIPES_OF_BATCHES, SAMPLE_RATE

import korvax_eqx as ke
from korvax_eqx import recipes

SHORT = 1033
each = pytest.mark.parametrize("case", RECIPES, ids=repr)
of_batches = pytest.mark.parametrize("case", RECIPES_OF_BATCHES, ids=repr)


def close(a, b, rtol=1e-5):
    """Compare by the largest entry: gradients are large and small by place."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape and a.dtype == b.dtype and np.all(np.isfinite(b))
    np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.max(np.abs(b)))


def functions():
    return {n: f for n, f in vars(recipes).items() if inspect.isfunction(f)}


def test_every_recipe_is_in_the_registry():
    cases = {case.name.split("-")[0] for case in [*RECIPES, *RECIPES_OF_BATCHES]}
    assert cases == set(functions())


@pytest.mark.parametrize("name", functions())
def test_recipes_are_documented_and_return_losses(name):
    """By their defaults; the sample rate is the first argument where it has none."""
    function = functions()[name]
    parameters = list(inspect.signature(function).parameters.values())
    required = [p.name for p in parameters if p.default is p.empty and p.kind < 4]
    assert required in ([], [parameters[0].name])
    if required:
        assert required[0] in ("sample_rate", "sampling_rate")
    loss = function(44100) if required else function()
    assert isinstance(loss, ke.AbstractLoss)
    assert jax.tree.leaves(loss) == []
    keywords = {"key": jax.random.key(0)} if name == "auraloss_random" else {}
    names = [term.name for term in loss.terms(**keywords)]
    assert names and len(set(names)) == len(names)
    doc = inspect.getdoc(function)
    assert doc is not None
    assert "Raises:" in doc or "Arguments, conventions and measured" in doc
    assert "Source" in doc or "measured differences are those" in doc


@pytest.mark.cheap
@pytest.mark.parametrize("case", [*RECIPES, *RECIPES_OF_BATCHES], ids=repr)
def test_made_of_values(case):
    """Equal, hashable, without leaves, printed and saved as they are."""
    made = case.make()
    assert made == case.make() and hash(made) == hash(case.make())
    assert jax.tree.leaves(made) == []
    if case.name not in ("log_wmse", "log_wmse-sum"):  # of too many taps to print
        assert eval(repr(made), {**vars(ke), "np": np}) == made
    file = io.BytesIO()
    ke.save(file, made)
    file.seek(0)
    assert ke.load(file) == made
    assert ke.from_config(ke.to_config(made)) == made


# ------------------------------------------------------------ means over signals


@each
def test_mean_over_signals_with_terms_bound_and_mapped(case):
    loss = case.callable()
    x, y = case.signals(3)
    with_terms = functools.partial(case.make().with_terms, **case.keywords)
    both = jax.jit(jax.value_and_grad(with_terms, has_aux=True))
    (value, terms), gradient = both(x, y)
    close(sum(terms.values()), value)
    one_by_one = jax.vmap(loss)(x, y)
    assert one_by_one.shape == (3,)
    close(value, jnp.mean(one_by_one))
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


# --------------------------------------------------- of a batch as a whole


@of_batches
def test_bound_traced_and_mapped(case):
    """What is bound, compiled, mapped or split into terms has the same values."""
    with jax.enable_x64(True):
        x, y = case.signals(3, dtype=jnp.float64)
        loss, keywords = case.callable(), case.keywords
        value, gradient = jax.value_and_grad(loss)(x, y)
        assert value.shape == () and value > 0
        close(jax.jit(loss)(x, y), value, 1e-12)
        bound = functools.partial(case.make().bind(y, **keywords), **keywords)
        close(bound(x), value, 1e-12)
        close(jax.grad(bound)(x), gradient, 1e-9)
        total, terms = case.make().with_terms(x, y, **keywords)
        close(total, value, 1e-12)
        close(sum(terms.values()), value, 1e-12)
        looped = jnp.stack([loss(x[i], y[i]) for i in range(3)])
        close(jax.vmap(loss)(x, y), looped, 1e-12)
        t = jax.random.normal(jax.random.key(7), x.shape, x.dtype)
        slope = jnp.sum(gradient * t)
        central = [
            (loss(x + h * t, y) - loss(x - h * t, y)) / (2 * h) for h in (2e-7, 1e-7)
        ]
        # L1 distances have kinks within the steps.
        np.testing.assert_allclose(slope, (4 * central[1] - central[0]) / 3, rtol=2e-5)


@of_batches
def test_one_pass_over_pieces(case):
    """A batch of several pieces has the value of one piece: nothing is a mean of them.

    16 signals of three times the length are more than one piece holds.
    """
    with jax.enable_x64(True):
        x, y = (jnp.tile(s, 24) for s in case.signals(6, dtype=jnp.float64))
        x = x * jnp.geomspace(1, 10, 6).reshape(-1, *(1,) * (x.ndim - 1))
        loss = case.callable()
        value, gradient = jax.value_and_grad(loss)(x, y)
        # The same signals once more leave the ratio of their means as it is.
        doubled = jax.value_and_grad(loss)(jnp.repeat(x, 2, 0), jnp.repeat(y, 2, 0))
        if case.name != "audiocraft_mrstft":
            close(doubled[0], value, 1e-12)
            close(2 * doubled[1][::2], gradient, 1e-9)
        else:  # whose epsilon is that of the mean over signals
            close(doubled[0], value, 1e-7)


@pytest.mark.parametrize(
    "case", [c for c in RECIPES_OF_BATCHES if not c.draws], ids=repr
)
def test_padded_batch(case):
    """It is the batch of the unpadded signals, whatever the padding holds."""
    with jax.enable_x64(True):
        x, y = case.signals(3, dtype=jnp.float64)
        loss = case.make()
        lengths = jnp.asarray([SHORT, SHORT, 0])
        if case.n_channels is not None:
            lengths = lengths[:, None]
        expected, gradient = jax.value_and_grad(loss)(
            x[:2, ..., :SHORT], y[:2, ..., :SHORT]
        )
        for filling in (0.0, 7.0, math.nan):
            filled = [s.at[..., SHORT:].set(filling).at[2].set(filling) for s in (x, y)]
            value, grad = jax.value_and_grad(lambda x, y: loss(x, y, lengths=lengths))(
                *filled
            )
            close(value, expected, 1e-12)
            close(grad[:2, ..., :SHORT], gradient, 1e-9)
            assert not np.any(grad[..., SHORT:]) and not np.any(grad[2])
        # Of signals of unequal lengths the ratio is one of sums, the rest is a mean.
        lengths = jnp.asarray([N_SAMPLES, SHORT, 0])
        if case.n_channels is not None:
            lengths = lengths[:, None]
        value = loss(*filled, lengths=lengths)
        assert np.isnan(value)  # the first is filled within its length
        value = loss(x, y, lengths=lengths)
        each = [loss(x[0], y[0]), loss(x[1, ..., :SHORT], y[1, ..., :SHORT])]
        assert min(each) * 0.9 < value < max(each) * 1.1
