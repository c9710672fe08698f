"""Losses of sources in any order: against all permutations one by one, and others."""

import itertools
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import relative_error
from packages import assert_agrees, asteroid, package
from registry import BATCHES, PAIRWISE, SIZES
from scipy.optimize import linear_sum_assignment

import korvax_eqx as ke
from korvax_eqx._numerics._assignment import MOST_TRIED, least_cost


def sources(
    *shape: int, seed: int = 0, n_samples: int = 1500
) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and estimates that are like them in another order."""
    rng = np.random.default_rng(seed)
    y = 0.3 * rng.standard_normal((*shape, n_samples))
    order = np.argsort(rng.standard_normal(shape), axis=-1)
    noise = 0.3 * rng.standard_normal(y.shape)
    return np.take_along_axis(y, order[..., None], -2) + noise, y


def costs_of(loss: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The loss of each estimate and each target, one pair after another."""
    n = x.shape[-2]
    pair = jax.jit(loss)
    each = [
        [[pair(x[b, i], y[b, j]) for j in range(n)] for i in range(n)]
        for b in range(len(x))
    ]
    return np.array(each, np.float64)


def expected(loss: Any, x: np.ndarray, y: np.ndarray) -> tuple[Any, Any, np.ndarray]:
    """Value, gradient and order, with the permutations of SciPy."""
    order = np.stack([linear_sum_assignment(c.T)[1] for c in costs_of(loss, x, y)])

    def reordered(x: Any) -> Any:
        return loss(jnp.take_along_axis(x, order[..., None], -2), y)

    value, gradient = jax.jit(jax.value_and_grad(reordered))(jnp.asarray(x))
    return value, gradient, order


@pytest.mark.parametrize("case", PAIRWISE, ids=repr)
def test_any_loss_of_the_library(case: Any) -> None:
    """Value, gradient and order of three sources."""
    with jax.enable_x64(True):
        x, y = sources(2, 3)
        loss = case.callable()
        pit = ke.PermutationInvariantLoss(case.make())
        value, gradient, order = expected(loss, x, y)
        fn = jax.value_and_grad(lambda x: pit(x, y, **case.keywords))
        own = jax.jit(fn)(jnp.asarray(x))
        assert relative_error(own[0], value) < 1e-10
        assert relative_error(own[1], gradient) < 1e-10
        found = pit.assignment(jnp.asarray(x), jnp.asarray(y), **case.keywords)
        assert found.dtype == jnp.int32
        # Of differences of levels several orders cost the same.
        costs, targets = costs_of(loss, x, y), np.arange(3)
        for own, all_costs, best in zip(np.asarray(found), costs, order, strict=True):
            assert sorted(own) == [0, 1, 2]
            least = np.sum(all_costs[best, targets])
            assert relative_error(np.sum(all_costs[own, targets]), least) < 1e-10


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8])
def test_numbers_of_sources(n: int) -> None:
    loss = ke.SumLoss(
        {"stft": ke.MRSTFTLoss((64, 100), (256, 512)), "sdr": ke.SISDRLoss()},
        {"stft": 1.0, "sdr": 0.1},
    )
    with jax.enable_x64(True):
        x, y = sources(2, n)
        pit = ke.PermutationInvariantLoss(loss)
        value, gradient, order = expected(loss, x, y)
        own = jax.jit(jax.value_and_grad(pit))(jnp.asarray(x), jnp.asarray(y))
        assert relative_error(own[0], value) < 1e-12
        assert relative_error(own[1], gradient) < 1e-12
        np.testing.assert_array_equal(pit.assignment(x, y), order)


def test_permutations_are_scipys() -> None:
    """10 000 random matrices: the same rows; with ties, the same cost."""
    rng = np.random.default_rng(0)
    n_ties = 0
    for n, has_ties in itertools.product(range(2, 9), (False, True)):
        shape = (10_000 // 14 + 1, n, n)
        costs = rng.standard_normal(shape)
        if has_ties:
            costs = np.round(costs)
        found = np.asarray(least_cost(jnp.asarray(costs, jnp.float32)))
        for matrix, rows in zip(costs, found, strict=True):
            best, columns = linear_sum_assignment(matrix)
            right = np.argsort(columns)
            assert sorted(rows) == list(range(n))
            if has_ties:
                cost = matrix[rows, range(n)].sum()
                assert cost == matrix[best, columns].sum()
                n_ties += not np.array_equal(rows, right)
            else:
                np.testing.assert_array_equal(rows, right)
    assert n_ties > 100  # there are several best ones, and SciPy takes another


def test_the_first_of_equal_permutations_is_taken() -> None:
    rng = np.random.default_rng(1)
    costs = np.round(rng.standard_normal((50, 4, 4)))
    for matrix, rows in zip(costs, least_cost(jnp.asarray(costs)), strict=True):
        permutations = list(itertools.permutations(range(4)))
        sums = [matrix[list(p), range(4)].sum() for p in permutations]
        assert tuple(np.asarray(rows)) == permutations[int(np.argmin(sums))]


def test_what_is_monitored_inside_changes_nothing() -> None:
    """Neither where a signal is too short for it, nor where nothing else is left."""
    x, y = sources(3, 2)
    wave, order = ke.WaveformLoss(), [[0, 1]] * 3
    frames = ke.TimeFrequencyLoss(
        ke.STFT(1024, center=False), ke.ElementwiseLoss(), ke.Magnitude()
    )
    plain = ke.PermutationInvariantLoss(ke.SumLoss({"wave": wave}))
    pit = ke.PermutationInvariantLoss(
        ke.SumLoss({"wave": wave}, monitor={"frames": frames})
    )
    lengths = jnp.array([[1500, 1500], [100, 100], [1500, 1100]])
    with jax.enable_x64(True):
        x, y = jnp.asarray(x), jnp.asarray(y)

        def both(loss: Any) -> Any:
            return jax.value_and_grad(lambda x: loss(x, y, lengths=lengths))(x)

        jax.tree.map(np.testing.assert_array_equal, both(pit), both(plain))
        assert np.all(np.any(both(pit)[1], axis=-1))
        own = plain.assignment(x, y, lengths=lengths)
        np.testing.assert_array_equal(pit.assignment(x, y, lengths=lengths), own)
        # Nothing that is compared: sources stay as they are.
        nothing = ke.SumLoss({"wave": wave}, [0.0], monitor={"frames": frames})
        for loss in (nothing, ke.SumLoss({"wave": wave}, [0.0])):
            pit = ke.PermutationInvariantLoss(loss)
            assert pit(x, y) == 0
            np.testing.assert_array_equal(pit.assignment(x, y), order)
        value, terms = ke.PermutationInvariantLoss(nothing).with_terms(x, y)
        assert value == 0
        np.testing.assert_allclose(terms.unweighted["frames"], frames(x, y), rtol=1e-12)


def test_costs_that_are_no_numbers() -> None:
    """Any permutation, and the search ends."""
    for n in (3, MOST_TRIED + 1):
        costs = np.full((2, n, n), np.nan)
        costs[1, 1:, 1:] = 1.0
        costs[1, 0, 0] = np.inf
        for rows in np.asarray(least_cost(jnp.asarray(costs))):
            assert sorted(rows) == list(range(n))
    x, y = sources(2, 3)
    x[0, 1, 3] = np.nan
    pit = ke.PermutationInvariantLoss(ke.WaveformLoss())
    assert np.isnan(pit(x, y))
    assert np.isfinite(pit(x[1:], y[1:]))


@pytest.mark.parametrize("size", [1.0, 1e-12, 1e30])
def test_no_pair_of_infinite_cost_is_made(size: float) -> None:
    """Also not if it makes all others cheaper."""
    n = MOST_TRIED + 1
    costs = size * np.random.default_rng(3).standard_normal((20, n, n))
    right = np.argsort(np.random.default_rng(4).random((20, n)), axis=-1)
    is_right = right[..., None] == np.arange(n)
    costs = np.where(np.tril(np.ones((n, n))) > 0, costs, np.inf)
    # One pair in each column and row stays, the dearest.
    costs = np.where(is_right, 5 * size, costs)
    found = np.asarray(least_cost(jnp.asarray(costs, jnp.float32)))
    for matrix, rows in zip(costs, found, strict=True):
        assert np.all(np.isfinite(matrix[rows, range(n)]))
        best = matrix[linear_sum_assignment(matrix)].sum()
        np.testing.assert_allclose(matrix[rows, range(n)].sum(), best, rtol=1e-5)

    def forbidding(u: Any, v: Any) -> Any:
        return jnp.where(jnp.abs(u[0] - v[0]) < 0.5, 1.0 + u[0], jnp.inf)

    x = jnp.broadcast_to(jnp.arange(float(n))[:, None], (n, 12))
    pit = ke.PermutationInvariantLoss(forbidding)
    assert pit(x, x) == 4.0
    np.testing.assert_array_equal(pit.assignment(x, x), range(n))


def test_more_sources_need_optax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optax.assignment", None)
    pit = ke.PermutationInvariantLoss(ke.WaveformLoss("L2"))
    assert np.isfinite(pit(*sources(6)))
    with pytest.raises(ValueError, match="need optax. Got 7 sources"):
        pit(*sources(7))


# ------------------------------------------------------------------------- other code


@pytest.mark.parametrize("n", [2, 3])
def test_equals_asteroid(n: int) -> None:
    theirs = asteroid("pit_wrapper").PITLossWrapper(
        asteroid("mse").pairwise_mse, pit_from="pw_mtx"
    )
    ours = ke.PermutationInvariantLoss(ke.WaveformLoss("L2"))
    x, y = sources(4, n, seed=n)
    assert_agrees(ours, theirs, x, y, double=1e-12)
    import torch

    pair = (torch.tensor(x), torch.tensor(y))
    reordered = theirs(*pair, return_est=True)[1].numpy()
    order = np.asarray(ours.assignment(x, y))
    np.testing.assert_array_equal(
        np.take_along_axis(x, order[..., None], -2), reordered
    )


@pytest.mark.parametrize("n", [2, 4])
def test_equals_torchmetrics(n: int) -> None:
    audio = package("torchmetrics.functional.audio")
    import torch

    def theirs(x: Any, y: Any) -> Any:
        metric = audio.scale_invariant_signal_distortion_ratio
        best, _ = audio.permutation_invariant_training(x, y, metric, eval_func="max")
        return -best.mean()

    eps = float(np.finfo(np.float64).eps)
    loss = ke.SISDRLoss(zero_mean=False, eps=eps, eps_mode="both")
    ours = ke.PermutationInvariantLoss(loss)
    x, y = sources(4, n, seed=n)
    # Values of both signs, whose mean is near 0: in single precision by their size.
    assert_agrees(ours, theirs, x, y, double=1e-12, single=1e-4)
    metric = audio.scale_invariant_signal_distortion_ratio
    pair = (torch.tensor(x), torch.tensor(y))
    _, order = audio.permutation_invariant_training(*pair, metric, eval_func="max")
    np.testing.assert_array_equal(ours.assignment(x, y), order.numpy())


# ------------------------------------------------------------------------ in the house


def test_terms_and_parts_inside_of_a_sum() -> None:
    inner = ke.SumLoss(
        {"stft": ke.MRSTFTLoss((64, 100), (256, 512)), "sdr": ke.SISDRLoss()},
        {"stft": 2.0, "sdr": 0.1},
    )
    pit = ke.PermutationInvariantLoss(inner)
    with jax.enable_x64(True):
        x, y = sources(3, 2)
        order = np.asarray(pit.assignment(x, y))[..., None]
        value, terms = inner.with_terms(np.take_along_axis(x, order, -2), y)
        own, found = pit.with_terms(x, y)
        assert list(found) == list(terms)
        for name, term in terms.items():
            assert relative_error(found[name], term) < 1e-12
        assert relative_error(own, value) < 1e-12
        assert list(pit.parts(x, y)) == ["stft", "sdr"]

        wave = ke.PermutationInvariantLoss(ke.WaveformLoss())
        losses = {"pit": pit, "wave": wave, "plain": ke.WaveformLoss()}
        both = ke.SumLoss(losses, [0.5, 3.0, 1.0])
        own, found = both.with_terms(x, y)
        names = [f"pit/{name}" for name in terms]
        assert list(found) == [*names, "wave", "plain"]
        each = [0.5 * value, 3 * wave(x, y), ke.WaveformLoss()(x, y)]
        assert relative_error(own, sum(each)) < 1e-12
        assert relative_error(sum(found.values()), own) < 1e-12
        parts = both.parts(x, y)
        assert list(parts) == ["pit", "wave", "plain"]
        for part, one in zip(parts.values(), each, strict=True):
            assert relative_error(part, one) < 1e-12


def test_padded_batches() -> None:
    """Also of signals too short for a frame, which do not count."""
    valid = ke.TimeFrequencyLoss(
        ke.Spectrogram(**SIZES, center=False), ke.ElementwiseLoss()
    )
    pit = ke.PermutationInvariantLoss(ke.SumLoss([valid, ke.SISDRLoss()], [1.0, 0.1]))
    with jax.enable_x64(True):
        x, y = sources(4, 2)
        lengths = np.array([1500, 0, 100, 700])
        value = pit(x, y, lengths=lengths[:, None])
        alone = [pit(x[i, :, :n], y[i, :, :n]) for i, n in ((0, 1500), (3, 700))]
        assert relative_error(value, np.mean(alone)) < 1e-12
        orders = pit.assignment(x, y, lengths=lengths[:, None])
        last = pit.assignment(x[3, :, :700], y[3, :, :700])
        np.testing.assert_array_equal(orders[3], last)


def test_the_map_before_and_the_sources_inside() -> None:
    inner = ke.MRSTFTLoss((64,), (256,))
    with jax.enable_x64(True):
        x, y = sources(2, 3)
        emphasis = ke.PreEmphasis()
        before = ke.MappedLoss(emphasis, ke.PermutationInvariantLoss(inner))
        inside = ke.PermutationInvariantLoss(ke.MappedLoss(emphasis, inner))
        one = jax.value_and_grad(before)(jnp.asarray(x), jnp.asarray(y))
        other = jax.value_and_grad(inside)(jnp.asarray(x), jnp.asarray(y))
        assert relative_error(one[0], other[0]) < 1e-12
        assert relative_error(one[1], other[1]) < 1e-12


def test_learnable_weights_decide_too() -> None:
    """And have the gradient of the terms that they weigh, at the best order."""
    stft, wave = ke.MRSTFTLoss((64,), (256,)), ke.WaveformLoss("L2")
    with jax.enable_x64(True):
        x, y = sources(3, 2)

        def value(weights: Any) -> Any:
            return ke.PermutationInvariantLoss(ke.SumLoss([stft, wave], weights))(x, y)

        weights = jnp.array([0.3, 2.0])
        gradient = jax.grad(value)(weights)
        numbers = ke.SumLoss([stft, wave], [0.3, 2.0])
        fixed = ke.PermutationInvariantLoss(numbers)
        assert relative_error(value(weights), fixed(x, y)) < 1e-12
        terms = list(fixed.parts(x, y).values())
        unweighted = [terms[0] / 0.3, terms[1] / 2.0]
        np.testing.assert_allclose(gradient, unweighted, rtol=1e-12)


def test_a_function_is_called_with_one_pair() -> None:
    def fn(x: Any, y: Any) -> Any:
        assert x.shape == y.shape == (1500,)
        return jnp.max(jnp.abs(x - y))

    pit = ke.PermutationInvariantLoss(fn)
    x, y = sources(4, 3)
    value, gradient, order = expected(
        lambda x, y: jnp.mean(jnp.max(jnp.abs(x - y), -1)), x, y
    )
    own = jax.value_and_grad(pit)(jnp.asarray(x, jnp.float32), jnp.asarray(y))
    assert relative_error(own[0], value) < 1e-6
    assert relative_error(own[1], gradient) < 1e-6
    np.testing.assert_array_equal(pit.assignment(x, y), order)
    with pytest.raises(ValueError, match="a function does not see where signals end"):
        pit(x, y, lengths=np.full((4, 1), 900))
    with pytest.raises(ValueError, match=r"must return a scalar. Got the shape \(1500"):
        ke.PermutationInvariantLoss(lambda x, y: x - y)(x, y)


class Recorded(ke.AbstractTransform):
    """A spectrogram that records what it is given."""

    shapes: Any

    def apply(self, data: ke.Signals) -> ke.Spectra:
        self.shapes.append(data.x.shape)
        return ke.Spectra(jnp.reshape(data.x, (*data.x.shape[:-1], -1, 50)))


class Shapes(list[tuple[int, ...]]):
    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return id(self)


def test_each_source_is_transformed_once() -> None:
    jax.tree_util.register_static(Shapes)
    shapes = Shapes()
    loss = ke.TimeFrequencyLoss(Recorded(shapes), [ke.ElementwiseLoss("L2")] * 2)
    pit = ke.PermutationInvariantLoss(loss)
    x, y = (jnp.asarray(s, jnp.float32) for s in sources(2, 4))
    jax.jit(jax.value_and_grad(pit)).lower(x, y)
    # Estimates and targets, each time that the loss is traced.
    assert shapes and len(shapes) % 2 == 0
    assert {shape[-2:] for shape in shapes} == {(4, 1500)}
    assert {len(shape) for shape in shapes} == {3}


def test_memory_does_not_grow_with_the_batch() -> None:
    """No more than that of the loss inside: by one copy of the gradient."""
    inner = ke.TimeFrequencyLoss(ke.Spectrogram(256), ke.ElementwiseLoss())
    pit = ke.PermutationInvariantLoss(inner)

    def memory(loss: Any, n: int) -> int:
        x = jax.ShapeDtypeStruct((n, 2, 60_000), jnp.float32)
        compiled = jax.jit(jax.value_and_grad(loss)).lower(x, x).compile()
        analysis = compiled.memory_analysis()
        assert analysis is not None
        return analysis.temp_size_in_bytes

    growth = memory(pit, 64) - memory(pit, 8)
    assert growth <= 1.01 * (memory(inner, 64) - memory(inner, 8))
    assert growth <= 1.01 * 56 * 2 * 60_000 * 4


BOUND = ke.WaveformLoss().bind(jnp.ones(100))
REFUSED: dict[str, tuple[Any, str]] = {
    "channels": (
        ke.MappedLoss(ke.MidSide(), ke.WaveformLoss()),
        "`MidSide` mixes the axis of sources",
    ),
    "twice": (
        ke.PermutationInvariantLoss(ke.WaveformLoss()),
        "it orders sources itself",
    ),
    "batch": (
        BATCHES[0].make(),
        "mixes the signals of a batch",
    ),
    "function": (
        ke.TimeFrequencyLoss(ke.Spectrogram(**SIZES), abs),
        "`abs` is a function that sees the whole batch",
    ),
    "bound": (BOUND, "it has its target already, which `bind` was given"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_compare_two_signals_at_a_time(name: str) -> None:
    loss, message = REFUSED[name]
    x, y = sources(2, 3)
    pit = ke.PermutationInvariantLoss(loss)
    for call in (pit, pit.assignment):
        with pytest.raises(ValueError, match="must compare two signals at a time"):
            call(x, y)
        with pytest.raises(ValueError, match=message):
            call(x, y)


def test_signals_need_an_axis_of_sources() -> None:
    pit = ke.PermutationInvariantLoss(ke.WaveformLoss())
    x, y = sources(2)
    for call in (pit, pit.assignment):
        with pytest.raises(ValueError, match="n_samples"):
            call(x[0], y[0])
    with pytest.raises(ValueError, match="must have the same shape"):
        pit.assignment(x, y[:1])


def test_nothing_is_zero() -> None:
    pit = ke.PermutationInvariantLoss(ke.SumLoss([ke.WaveformLoss()], [0.0]))
    assert pit(*sources(2)) == 0
