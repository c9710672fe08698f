"""`GradientBalancer`, against audiocraft's formula in NumPy, and in training."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from on_devices import checks_of, outcomes
from promotion import usual_promotion
from registry import signals

import korvax_eqx as ke

WEIGHTS = {"stft": 1.0, "wave": 0.25, "sdr": 2.0}
LOSS = ke.SumLoss(
    {
        "stft": ke.MRSTFTLoss((64,), (256,)),
        "wave": ke.WaveformLoss(),
        "sdr": ke.SNRLoss(),
    }
)


def original(
    steps: list[dict[str, np.ndarray]],
    weights: dict[str, float],
    total_norm: float = 1.0,
    decay: float = 0.999,
    eps: float = 1e-12,
    per_item: bool = True,
) -> tuple[list[np.ndarray], dict[str, float]]:
    """audiocraft's `Balancer.backward`, with `flashy.averager`, in float64."""
    total = dict.fromkeys(weights, 0.0)
    fix = dict.fromkeys(weights, 0.0)
    results, means = [], {}
    for gradients in steps:
        for name, g in gradients.items():
            norm = np.linalg.norm(g)
            if per_item:
                norm = np.mean([np.linalg.norm(item) for item in g])
            total[name] = decay * total[name] + norm
            fix[name] = decay * fix[name] + 1
        means = {name: total[name] / fix[name] for name in weights}
        ratios = {name: w / sum(weights.values()) for name, w in weights.items()}
        results.append(
            sum(
                gradients[name] * ratios[name] * total_norm / (eps + means[name])
                for name in weights
            )
        )
    return results, means


def random_steps(n: int, shape: tuple[int, ...]) -> list[dict[str, np.ndarray]]:
    """Gradients of very different sizes, which change by orders of magnitude."""
    rng = np.random.default_rng(0)
    sizes = {"stft": 3e2, "wave": 1e-5, "sdr": 1.0}
    return [
        {
            name: size * 10 ** rng.uniform(-1, 1) * rng.standard_normal(shape)
            for name, size in sizes.items()
        }
        for _ in range(n)
    ]


@pytest.mark.parametrize("options", [{}, {"decay": 0.9, "total_norm": 3.0},
                                     {"per_item": False}, {"decay": 1.0, "eps": 0.1},
                                     {"decay": 0.0}], ids=str)  # fmt: skip
def test_is_the_original_for_100_steps(options: dict[str, Any]) -> None:
    steps = random_steps(100, (4, 2, 50))
    expected, means = original(steps, WEIGHTS, **options)
    balancer = ke.GradientBalancer(WEIGHTS, **options)
    for dtype, rtol in ((jnp.float64, 1e-12), (jnp.float32, 1e-6)):
        with jax.enable_x64(dtype == jnp.float64):
            given = {n: np.stack([s[n] for s in steps]) for n in WEIGHTS}
            arrays = {n: jnp.asarray(g, dtype) for n, g in given.items()}

            def step(state: Any, gradients: Any) -> Any:
                balanced, state = balancer.update(gradients, state)
                return state, balanced

            state, got = jax.jit(
                lambda a: jax.lax.scan(step, balancer.init(a["sdr"].dtype), a)
            )(arrays)
            scale = np.max(np.abs(expected), axis=(1, 2, 3), keepdims=True)
            assert np.max(np.abs(got - np.stack(expected)) / scale) < 2 * rtol
            for name, mean in means.items():
                np.testing.assert_allclose(state.norms[name], mean, rtol=10 * rtol)


def test_gradients_of_parts_are_those_of_each_loss() -> None:
    x, y = signals(3)
    weighted = ke.SumLoss(
        LOSS.losses,
        {"stft": 7.0, "wave": 0.0, "sdr": jnp.array(0.5)},
        {"m": ke.ESRLoss()},
    )
    lengths = jnp.array([1500, 900, 0])
    for keywords in ({}, {"lengths": lengths}):
        terms, gradients = weighted.part_gradients(x, y, **keywords)
        assert list(gradients) == ["stft", "sdr"]
        _, desired = weighted.with_terms(x, y, **keywords)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), terms, desired
        )
        for name, gradient in gradients.items():
            loss = LOSS.losses[name]
            expected = jax.grad(lambda x, loss=loss: loss(x, y, **keywords))(x)  # noqa: B023
            peak = np.max(np.abs(expected))
            np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6 * peak)
    bound = LOSS.bind(y).part_gradients(x)[1]
    plain = LOSS.part_gradients(x, y)[1]
    for name in plain:
        np.testing.assert_allclose(bound[name], plain[name], rtol=1e-3, atol=1e-7)
    assert list(ke.MRSTFTLoss((64, 32), (256, 128)).part_gradients(x, y)[1]) == [
        "256",
        "128",
    ]
    with pytest.raises(ValueError, match="shape"):
        LOSS.part_gradients(x, y[:2])


def test_weights_are_shares() -> None:
    """After a step, each part has its share of the norm, whatever its units."""
    x, y = signals(4)
    for factor in (1.0, 1e-12, 1e12):
        scaled = ke.SumLoss({n: factor * loss for n, loss in LOSS.losses.items()})
        gradients = scaled.part_gradients(x, y)[1]
        for name, share in {
            "stft": 1 / 3.25,
            "wave": 0.25 / 3.25,
            "sdr": 2 / 3.25,
        }.items():
            alone = {
                n: g if n == name else jnp.zeros_like(g) for n, g in gradients.items()
            }
            balancer = ke.GradientBalancer(WEIGHTS, eps=1e-30)
            balanced, _ = balancer.update(alone, balancer.init())
            norm = np.mean(np.linalg.norm(np.asarray(balanced, np.float64), axis=-1))
            np.testing.assert_allclose(norm, share, rtol=1e-5)


def test_no_weight_is_no_gradient() -> None:
    """Of arrays, which a schedule may bring to 0; numbers are refused."""
    weights = {name: jnp.array(0.0) for name in WEIGHTS}
    balancer = ke.GradientBalancer(weights)
    gradients = {n: jnp.ones((2, 50)) for n in WEIGHTS}
    balanced, state = balancer.update(gradients, balancer.init())
    np.testing.assert_array_equal(balanced, jnp.zeros((2, 50)))
    assert np.all(np.isfinite(state.sums))


def test_items_of_length_0_do_not_count() -> None:
    gradients = {
        n: jnp.asarray(g, jnp.float32)
        for n, g in random_steps(1, (3, 2, 50))[0].items()
    }
    balancer = ke.GradientBalancer(WEIGHTS)
    expected, state = balancer.update(
        {n: g[:2] for n, g in gradients.items()}, balancer.init()
    )
    padded = {n: g.at[2].set(0) for n, g in gradients.items()}
    lengths = jnp.array([[50, 20], [0, 30], [0, 0]])
    got, other = balancer.update(padded, balancer.init(), lengths=lengths)
    np.testing.assert_allclose(got[:2], expected, rtol=1e-6)
    np.testing.assert_allclose(other.sums, state.sums, rtol=1e-6)
    assert not np.any(got[2])


def test_silence_and_what_is_not_finite() -> None:
    balancer = ke.GradientBalancer(WEIGHTS)
    zeros = dict.fromkeys(WEIGHTS, jnp.zeros((2, 8)))
    balanced, state = balancer.update(zeros, balancer.init())
    assert not np.any(balanced) and not any(state.norms.values())
    ones = {n: g + 1 for n, g in zeros.items()}
    _, state = balancer.update(ones, state)
    bad = {**ones, "wave": jnp.full((2, 8), jnp.nan)}
    balanced, after = balancer.update(bad, state)
    assert np.all(np.isnan(balanced))
    assert float(after.norms["wave"]) == float(state.norms["wave"])
    assert np.all(np.isfinite(list(after.norms.values())))


def test_parts_leave_out_the_signals_that_the_loss_leaves_out() -> None:
    """Those too short for one of the parts: the gradients add up to the loss's."""
    frames = ke.Spectrogram(256, 64, center=False)
    parts = {"stft": ke.TimeFrequencyLoss(frames, ke.ElementwiseLoss())}
    parts["wave"] = ke.WaveformLoss("L2")
    loss = ke.SumLoss(parts, monitor={"sdr": ke.SISDRLoss()})
    x, y = jax.random.normal(jax.random.key(0), (2, 3, 1000))
    lengths = jnp.array([1000, 200, 700])
    terms, gradients = loss.part_gradients(x, y, lengths=lengths)
    assert not np.any(gradients["wave"][1])
    value, expected = loss.with_terms(x, y, lengths=lengths)
    for name, unweighted in expected.parts.unweighted.items():
        got = terms.parts.unweighted[name]
        np.testing.assert_allclose(got, unweighted, rtol=1e-6)
    gradient = jax.grad(lambda x: loss(x, y, lengths=lengths))(x)
    total = sum(gradients.values())
    np.testing.assert_allclose(total, gradient, rtol=1e-5, atol=1e-8)


def test_gradients_through_an_update_are_finite() -> None:
    """Also where the gradient of a part is 0, as it is for equal signals."""
    loss = ke.SumLoss(
        {"stft": ke.MRSTFTLoss((32,), (64,)), "wave": ke.WaveformLoss("L2")}
    )
    balancer = ke.GradientBalancer(dict.fromkeys(loss.losses, 1.0))
    x, y = jax.random.normal(jax.random.key(0), (2, 3, 400))

    def size(x: Any) -> Any:
        _, gradients = loss.part_gradients(x, y)
        return jnp.sum(balancer.update(gradients, balancer.init())[0] ** 2)

    for signal in (x, y):
        assert np.all(np.isfinite(jax.grad(size)(signal)))


@pytest.mark.parametrize("size", [0.0, 1e-7, 1.0])
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_halves_of_any_size(dtype: Any, size: float) -> None:
    """A scale for a small gradient may be too large for float16: 0 times it is 0."""
    g = jax.random.normal(jax.random.key(0), (4, 1000)).astype(dtype)
    small = (size * g.astype(jnp.float32)).astype(dtype)
    balancer = ke.GradientBalancer({"a": 1.0, "b": 1.0})
    got, _ = balancer.update({"a": g, "b": small}, balancer.init())
    assert got.dtype == dtype
    wide = {"a": g.astype(jnp.float32), "b": small.astype(jnp.float32)}
    expected, _ = balancer.update(wide, balancer.init())
    rtol = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(got.astype(jnp.float32), expected, rtol=rtol, atol=1e-6)


def test_learns_with_weights_that_change_and_is_saved(tmp_path: Any) -> None:
    """A step with `jax.vjp` and optax, whose state is saved and goes on equally."""
    y, _ = signals(4)
    balancer = ke.GradientBalancer({**WEIGHTS, "wave": jnp.array(0.25)})
    optimiser = optax.adam(0.02)
    effect = ke.FIRFilter([0.1, -0.3, 0.8])
    model = ke.FIRFilter(jnp.array([0.0, 0.0, 1.0]))

    @eqx.filter_jit
    def step(model: Any, opt_state: Any, state: Any, balancer: Any) -> Any:
        z, pull_back = jax.vjp(lambda model: model(y), model)
        terms, gradients = LOSS.part_gradients(z, effect(y))
        balanced, state = balancer.update(gradients, state)
        (of_model,) = pull_back(balanced)
        with usual_promotion():
            updates, opt_state = optimiser.update(of_model, opt_state)
        return eqx.apply_updates(model, updates), opt_state, state, terms

    run = model, optimiser.init(model), balancer.init()
    first = terms = None
    for _ in range(60):
        *run, terms = step(*run, balancer)
        first = terms if first is None else first
    assert terms is not None and first is not None
    assert terms.parts.unweighted["wave"] < 0.2 * first.parts.unweighted["wave"]
    path = tmp_path / "state.eqx"
    eqx.tree_serialise_leaves(path, run)
    like = [model, optimiser.init(model), balancer.init()]
    loaded = eqx.tree_deserialise_leaves(path, like)
    more, again = step(*run, balancer), step(*loaded, balancer)
    assert eqx.tree_equal(more, again)
    changed = eqx.tree_at(lambda b: b.weights["wave"], balancer, jnp.array(9.0))
    assert not eqx.tree_equal(step(*run, changed)[0], more[0])


def test_configuration() -> None:
    balancer = ke.GradientBalancer({"b": 1, "a": 0.5}, 2.0, decay=0.9)
    assert jax.tree.leaves(balancer) == [] and list(balancer.weights) == ["b", "a"]
    assert ke.from_config(ke.to_config(balancer)) == balancer
    learnable = ke.GradientBalancer({"b": jnp.array(1.0), "a": 0.5})
    assert jax.tree.leaves(learnable) == [1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({},), "weights.*mapping"),
        (([1.0],), "weights.*mapping"),
        (({"a": -1.0},), "weights.*not negative"),
        (({"a": 0.0},), "weights.*a positive number"),
        (({"1": 1.0, 1: 2.0},), "weights.*names that are strings"),
        (({"a": 1.0}, 0.0), "total_norm.*positive"),
        (({"a": 1.0}, 1.0, 1.5), "decay.*from 0 to 1"),
        (({"a": 1.0}, 1.0, 0.9, 0.0), "eps.*positive"),
        (({"a": 1.0}, 1.0, 0.9, 1.0, 2), "per_item"),
    ],
)
def test_refuses(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ke.GradientBalancer(*arguments)


def test_refuses_other_gradients() -> None:
    balancer = ke.GradientBalancer(WEIGHTS)
    ones = dict.fromkeys(WEIGHTS, jnp.ones(8))
    state = balancer.init()
    with pytest.raises(ValueError, match="one array for each of the weights"):
        balancer.update({"stft": jnp.ones(8)}, state)
    with pytest.raises(ValueError, match="one shape"):
        balancer.update({**ones, "sdr": jnp.ones(7)}, state)
    with pytest.raises(ValueError, match="the same weights"):
        balancer.update(ones, ke.GradientBalancer({"a": 1.0}).init())


ONES = dict.fromkeys(WEIGHTS, jnp.ones((2, 3, 8)))
KIND = "hold one JAX or NumPy array of real floats for each weight. Got "


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"gradients": dict.fromkeys(WEIGHTS, jnp.ones((2, 8), jnp.int32))},
            "(gradients=...)` must " + KIND + "an array int32[2, 8]. They",
        ),
        (
            {"gradients": dict.fromkeys(WEIGHTS, jnp.ones((2, 8), jnp.complex64))},
            "(gradients=...)` must " + KIND + "an array complex64[2, 8]. They",
        ),
        (
            {"gradients": dict.fromkeys(WEIGHTS, (jnp.ones(2), jnp.ones(2)))},
            "(gradients=...)` must " + KIND + "(Array(",
        ),
        (
            {"state": None},
            "(state=...)` must be what `init` or the last `update` returned. Got None.",
        ),
        ({"lengths": jnp.ones(2, int)}, "(lengths=...)` must have, or broadcast to, "),
        ({"lengths": jnp.ones((2, 3))}, "(lengths=...)` must hold integers, numbers "),
    ],
    ids=str,
)
def test_refuses_what_is_no_update(changed: dict[str, Any], message: str) -> None:
    balancer = ke.GradientBalancer(WEIGHTS)
    given = {"gradients": ONES, "state": balancer.init(), "lengths": None, **changed}
    with pytest.raises(ValueError) as raised:
        balancer.update(given["gradients"], given["state"], lengths=given["lengths"])
    assert str(raised.value).startswith("`GradientBalancer.update" + message)


@pytest.mark.parametrize("dtype", [int, jnp.complex64, "single float"], ids=str)
def test_refuses_averages_that_are_no_floats(dtype: Any) -> None:
    with pytest.raises(
        ValueError, match=r"init\(dtype=...\)` must be a float dtype. G"
    ):
        ke.GradientBalancer(WEIGHTS).init(dtype)


@pytest.mark.long
@pytest.mark.parametrize("name", checks_of("balanced.py"))
def test_eight_devices(name: str) -> None:
    failure = outcomes("balanced.py")[name]
    assert failure is None, failure


def test_the_gradient_of_a_weight():
    """Of two shares w / (w + v) and v / (w + v) of gradients of norm 1."""
    a, b = np.arange(1.0, 5.0), np.array([2.0, -1.0, 0.5, 3.0])
    v, w = 0.5, 0.7

    def first(weight):
        balancer = ke.GradientBalancer({"a": weight, "b": v}, per_item=False)
        gradients = {"a": jnp.asarray(a, jnp.float32), "b": jnp.asarray(b, jnp.float32)}
        return balancer.update(gradients, balancer.init())[0][0]

    expected = a[0] / np.linalg.norm(a) - b[0] / np.linalg.norm(b)
    expected *= v / (v + w) ** 2
    np.testing.assert_allclose(jax.grad(first)(jnp.array(w)), expected, rtol=1e-5)
