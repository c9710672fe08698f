"""Learnable parts: gradients of every leaf, and values that no leaf may have."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import refused
from registry import LEARNABLE, N_SAMPLES

import korvax_eqx as ke

LENGTHS = (N_SAMPLES, 1000)
# What holds other parts, and no arrays itself.
HOLDERS = {"scales", "map_fn", "loss", "losses", "transform_fn", "transform_fns"}
HOLDERS |= {"consistency_scale", "loss_fn", "monitor", "scale_fn", "step_fn"}
# What takes other arguments than signals has tests of its leaves in its own file.
OTHERS = ("GradientBalancer", "PredictionLoss")
# Data: no part of a loss.
DATA = ("BalancerState", "BoundLoss", "Signals", "Spectra", "Term")


def arrays_of(part):
    """Each field of a part and of what it holds that is an array."""
    if isinstance(part, tuple | dict):
        for item in part.values() if isinstance(part, dict) else part:
            yield from arrays_of(item)
    elif isinstance(part, eqx.Module):
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if field.name in HOLDERS:
                yield from arrays_of(value)
            elif any(isinstance(a, jax.Array) for a in jax.tree.leaves(value)):
                yield type(part).__name__, field.name


def test_every_field_that_takes_an_array_has_a_case():
    found = {field for case in LEARNABLE for field in arrays_of(case.make())}
    for name, part in vars(ke).items():
        if not isinstance(part, type) or not issubclass(part, eqx.Module):
            continue
        if not name.startswith("Abstract") and name not in (*DATA, *OTHERS):
            for field in dataclasses.fields(part):
                is_static = field.metadata.get("static", False)
                if not is_static and field.name not in HOLDERS:
                    assert (name, field.name) in found


def ways(case, x, y):
    """Every way to evaluate a loss, as functions of the loss to a number."""
    k = case.keywords
    lengths = jnp.asarray(LENGTHS)
    lengths = lengths if case.n_channels is None else lengths[:, None]

    def each(loss):
        values = jax.vmap(lambda x, y: loss(x, y, **k))(x, y)
        return jnp.dot(values, jnp.array([0.3, 0.9]))

    def terms(loss):
        _, terms = loss.with_terms(x, y, **k)
        return sum(value * (1.0 + i) for i, value in enumerate(terms.values()))

    return {
        "plain": lambda loss: loss(x, y, **k),
        "lengths": lambda loss: loss(x, y, lengths=lengths, **k),
        "vmap": each,
        "bind": lambda loss: loss.bind(y, **k)(x, **k),
        "terms": terms,
    }


@pytest.mark.parametrize("case", LEARNABLE, ids=repr)
def test_the_gradient_of_every_leaf_is_that_of_finite_differences(case):
    with jax.enable_x64(True):
        x, y = case.signals(2, dtype=jnp.float64)
        leaves, treedef = jax.tree.flatten(case.make())
        assert leaves and all(leaf.dtype == jnp.float64 for leaf in leaves)
        functions = ways(case, x, y)

        @jax.jit
        def values(leaves):
            loss = jax.tree.unflatten(treedef, leaves)
            return jnp.stack([way(loss) for way in functions.values()])

        @jax.jit
        def gradients(leaves):
            loss = jax.tree.unflatten(treedef, leaves)
            return [jax.tree.leaves(jax.grad(way)(loss)) for way in functions.values()]

        found = gradients(leaves)
        rng = np.random.default_rng(0)
        for i, leaf in enumerate(leaves):
            t = jnp.asarray(rng.standard_normal(leaf.shape))
            h = 1e-5 * float(jnp.max(jnp.abs(leaf)))

            def moved(step, i=i, t=t):
                return values(
                    [a + step * t if j == i else a for j, a in enumerate(leaves)]
                )

            near = (moved(h / 2) - moved(-h / 2)) / h
            far = (moved(h) - moved(-h)) / (2 * h)
            expected = (4 * near - far) / 3
            for way, gradient, value in zip(functions, found, expected, strict=True):
                slope = float(jnp.sum(gradient[i] * t))
                assert slope != 0, (way, i)
                np.testing.assert_allclose(
                    slope, value, rtol=1e-5, err_msg=f"{way} {i}"
                )


@pytest.mark.parametrize("bad", [0.0, -1e-3, float("nan")])
@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda a: ke.Log(eps=a), r"Log\(eps="),
        (lambda a: ke.Log(a), r"Log\(factor="),
        (lambda a: ke.MRSTFTLoss(log_eps=a), r"MRSTFTLoss\(log_eps="),
        (lambda a: ke.SmoothMRSTFTLoss(log_fac=a), r"SmoothMRSTFTLoss\(log_fac="),
        (lambda a: ke.Power(a), r"Power\(exponent="),
        (lambda a: ke.AmplitudeToDB(a), r"AmplitudeToDB\(ref="),
        (lambda a: ke.PowerToDB(a), r"PowerToDB\(ref="),
        (lambda a: ke.LogCoshLoss(a), r"LogCoshLoss\(a="),
    ],
)
def test_a_leaf_that_must_be_positive_is_refused_where_it_is_known(make, argument, bad):
    with refused(rf"`{argument}...\)` must be (a finite )?positive"):
        make(jnp.array(bad))
    # A traced one is not known.
    jax.jit(lambda a: jax.tree.leaves(make(a)))(jnp.array(bad))


def test_positions_that_descend_are_refused():
    with refused(r"`SpectralOptimalTransportLoss\(positions=...\)` must be ascending"):
        ke.SpectralOptimalTransportLoss(jnp.array([0.0, 2.0, 1.0]))
