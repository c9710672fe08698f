"""Losses of sources for mixtures of them: against all assignments, one by one."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import relative_error
from packages import assert_agrees, asteroid
from registry import BATCHES, PAIRWISE, SIZES

import korvax_eqx as ke

SMALL = ke.SumLoss(
    {"stft": ke.MRSTFTLoss((64,), (256,)), "sdr": ke.SISDRLoss()},
    {"stft": 1.0, "sdr": 0.1},
)


def mixtures(
    *shape: int, n: int, seed: int = 0, n_samples: int = 1500
) -> tuple[np.ndarray, np.ndarray]:
    """`n` sources, and mixtures of them with noise, of the shape given."""
    rng = np.random.default_rng(seed)
    x = 0.3 * rng.standard_normal((*shape[:-1], n, n_samples))
    numbers = rng.integers(0, shape[-1], (*shape[:-1], n))
    noise = 0.1 * rng.standard_normal((*shape, n_samples))
    return x, summed(x, numbers, shape[-1]) + noise


def summed(x: np.ndarray, numbers: Any, n_mixtures: int) -> np.ndarray:
    """The sum of the sources of each mixture."""
    own = numbers[..., None, :] == np.arange(n_mixtures)[:, None]
    return own.astype(x.dtype) @ x


def tried(loss: Any, x: np.ndarray, y: np.ndarray) -> tuple[Any, Any, np.ndarray]:
    """Value, gradient and numbers of the best of all assignments, one at a time."""
    pair, best = jax.jit(loss), []
    for sources, targets in zip(x, y, strict=True):
        costs = {}
        for numbers in itertools.product(range(len(targets)), repeat=len(sources)):
            sums = summed(sources, np.array(numbers), len(targets))
            each = [pair(*p) for p in zip(sums, targets, strict=True)]
            costs[numbers] = np.mean(each)
        best.append(min(costs, key=lambda numbers: costs[numbers]))
    own = np.array(best)[..., None, :] == np.arange(y.shape[-2])[:, None]

    def value(x: Any) -> Any:
        return loss(jnp.asarray(own, x.dtype) @ x, y)

    return *jax.jit(jax.value_and_grad(value))(jnp.asarray(x)), np.array(best)


@pytest.mark.parametrize(("n", "n_mixtures"), [(4, 2), (3, 3), (1, 2)])
def test_equals_the_formula(n: int, n_mixtures: int) -> None:
    """That of the ratio, in NumPy; gradients by central differences."""

    def formula(x: np.ndarray) -> tuple[float, list[tuple[int, ...]]]:
        total, best = 0.0, []
        for sources, targets in zip(x, y, strict=True):
            costs = {}
            for numbers in itertools.product(range(n_mixtures), repeat=n):
                error = targets - summed(sources, np.array(numbers), n_mixtures)
                ratios = np.sum(error**2, -1) / np.sum(targets**2, -1)
                costs[numbers] = np.mean(10 * np.log10(ratios))
            best.append(min(costs, key=lambda numbers: costs[numbers]))
            total += costs[best[-1]] / len(x)
        return total, best

    loss = ke.MixtureInvariantLoss(ke.SNRLoss(zero_mean=False, eps=0.0))
    with jax.enable_x64(True):
        x, y = mixtures(3, n_mixtures, n=n, n_samples=60)
        value, best = formula(x)
        own, gradient = jax.value_and_grad(loss)(jnp.asarray(x), jnp.asarray(y))
        assert relative_error(own, value) < 1e-12
        np.testing.assert_array_equal(loss.assignment(x, y), best)
        step = 1e-5 * np.random.default_rng(1).standard_normal(x.shape)
        slope = formula(x + step)[0] - formula(x - step)[0]
        assert relative_error(2 * np.sum(np.asarray(gradient) * step), slope) < 1e-7


@pytest.mark.parametrize("case", PAIRWISE, ids=repr)
def test_any_loss_of_the_library(case: Any) -> None:
    """Value, gradient and assignment of three sources in two mixtures."""
    with jax.enable_x64(True):
        x, y = mixtures(2, 2, n=3)
        value, gradient, best = tried(case.callable(), x, y)
        mixit = ke.MixtureInvariantLoss(case.make())
        own = jax.value_and_grad(lambda x: mixit(x, y, **case.keywords))(jnp.asarray(x))
        assert relative_error(own[0], value) < 1e-10
        assert relative_error(own[1], gradient) < 1e-10
        found = mixit.assignment(x, y, **case.keywords)
        assert found.dtype == jnp.int32
        np.testing.assert_array_equal(found, best)


@pytest.mark.parametrize("n", [2, 4])
def test_equals_asteroid(n: int) -> None:
    theirs = asteroid("mixit_wrapper").MixITLossWrapper(asteroid("mse").multisrc_mse)
    ours = ke.MixtureInvariantLoss(ke.WaveformLoss("L2"))
    x, y = mixtures(4, 2, n=n, seed=n)
    assert_agrees(ours, theirs, x, y, double=1e-12)
    import torch

    _, sums = theirs(torch.tensor(x), torch.tensor(y), return_est=True)
    own = summed(x, np.asarray(ours.assignment(x, y)), 2)
    np.testing.assert_allclose(own, sums.numpy(), rtol=0, atol=1e-12)


def test_the_first_of_equal_assignments_is_taken() -> None:
    x, y = mixtures(2, n=1)
    both = np.concatenate([x, x])  # two equal sources, of one mixture each
    loss = ke.MixtureInvariantLoss(ke.WaveformLoss())
    targets = np.stack([x[0], x[0]])
    np.testing.assert_array_equal(loss.assignment(both, targets), [0, 1])
    assert loss(both, targets) == 0
    gradient = jax.grad(loss)(jnp.asarray(both), jnp.asarray(targets))
    assert np.all(np.isfinite(gradient))


def test_silence_and_what_is_no_number() -> None:
    x, y = mixtures(2, 2, n=3)
    mixit = ke.MixtureInvariantLoss(SMALL)
    x[0], y[0] = 0, 0
    gradient = jax.grad(mixit)(jnp.asarray(x), jnp.asarray(y))
    assert np.all(np.isfinite(gradient)) and np.any(gradient)
    x[0, 1, 3] = np.nan
    each = jax.vmap(mixit)(x, y)
    assert np.isnan(each[0]) and np.isfinite(each[1])


def test_terms_and_examples() -> None:
    mixit = ke.MixtureInvariantLoss(SMALL)
    with jax.enable_x64(True):
        x, y = mixtures(3, 2, n=3)
        sums = summed(x, np.asarray(mixit.assignment(x, y)), 2)
        value, terms = SMALL.with_terms(sums, y)
        own, found = jax.jit(mixit.with_terms)(x, y)
        assert list(found) == list(terms)
        assert relative_error(own, value) < 1e-12
        assert relative_error(list(found.values()), list(terms.values())) < 1e-12
        assert list(found.parts) == ["stft", "sdr"]
        each = [mixit(*pair) for pair in zip(x, y, strict=True)]
        assert relative_error(jax.vmap(mixit)(x, y), each) < 1e-12
        assert relative_error(mixit(x[None], y[None]), value) < 1e-12


def test_padded_batches() -> None:
    """Also of signals too short for a frame, which do not count."""
    valid = ke.TimeFrequencyLoss(
        ke.Spectrogram(**SIZES, center=False), ke.ElementwiseLoss()
    )
    mixit = ke.MixtureInvariantLoss(ke.SumLoss([valid, ke.SISDRLoss()], [1.0, 0.1]))
    with jax.enable_x64(True):
        x, y = mixtures(4, 2, n=3)
        lengths = np.array([[1500, 900], [0, 0], [100, 100], [700, 700]])
        fn = jax.value_and_grad(lambda x: mixit(x, y, lengths=lengths))
        value, gradient = fn(jnp.asarray(x))
        y[0, 1, 900:] = 0  # silent from there to the end of the longer mixture
        alone = [mixit(x[i, :, :n], y[i, :, :n]) for i, n in ((0, 1500), (3, 700))]
        assert relative_error(value, np.mean(alone)) < 1e-12
        assert not np.any(gradient[1:3]) and not np.any(gradient[3, :, 700:])
        found = mixit.assignment(x, y, lengths=lengths)
        last = mixit.assignment(x[3, :, :700], y[3, :, :700])
        np.testing.assert_array_equal(found[3], last)


def test_learnable_weights_decide_too() -> None:
    stft, wave = ke.MRSTFTLoss((64,), (256,)), ke.WaveformLoss("L2")
    with jax.enable_x64(True):
        x, y = mixtures(3, 2, n=2)

        def value(weights: Any) -> Any:
            return ke.MixtureInvariantLoss(ke.SumLoss([stft, wave], weights))(x, y)

        gradient = jax.grad(value)(jnp.array([0.3, 2.0]))
        fixed = ke.MixtureInvariantLoss(ke.SumLoss([stft, wave], [0.3, 2.0]))
        terms = fixed.with_terms(x, y)[1].parts.unweighted
        np.testing.assert_allclose(gradient, list(terms.values()), rtol=1e-12)


def test_a_function_is_called_with_one_pair() -> None:
    def fn(x: Any, y: Any) -> Any:
        assert x.shape == y.shape == (1500,)
        return jnp.max(jnp.abs(x - y))

    x, y = mixtures(3, 2, n=2)
    value, gradient, best = tried(
        lambda x, y: jnp.mean(jnp.max(jnp.abs(x - y), -1)), x, y
    )
    mixit = ke.MixtureInvariantLoss(fn)
    own = jax.value_and_grad(mixit)(jnp.asarray(x, jnp.float32), jnp.asarray(y))
    assert relative_error(own[0], value) < 1e-6
    assert relative_error(own[1], gradient) < 1e-6
    np.testing.assert_array_equal(mixit.assignment(x, y), best)
    with pytest.raises(ValueError, match="a function does not see where signals end"):
        mixit(x, y, lengths=np.full((3, 1), 900))


def test_memory_does_not_grow_with_the_number_of_sums() -> None:
    mixit = ke.MixtureInvariantLoss(SMALL)

    def memory(n: int) -> int:
        x, y = (jax.ShapeDtypeStruct((8, m, 30_000), jnp.float32) for m in (n, 2))
        compiled = jax.jit(jax.value_and_grad(mixit)).lower(x, y).compile()
        analysis = compiled.memory_analysis()
        assert analysis is not None
        return analysis.temp_size_in_bytes

    # Of 8 and of 64 sums, which would take 54 MB more. Three more estimates are held,
    # with their gradients.
    assert memory(6) - memory(3) < 3 * (8 * 3 * 30_000 * 4)


X, Y = np.ones((2, 3, 100)), np.ones((2, 2, 100))
SHAPES = r"estimates must have the shape \(\*batch, n_sources, n_samples\) and targets"


@pytest.mark.parametrize(
    ("x", "y"),
    [(X[0, 0], Y), (X, Y[0]), (X, Y[:1]), (X, Y[..., :-1]), (X, Y[:, :1])],
)
def test_shapes_that_do_not_belong_together(x: np.ndarray, y: np.ndarray) -> None:
    mixit = ke.MixtureInvariantLoss(ke.WaveformLoss())
    for call in (mixit, mixit.assignment, mixit.with_terms):
        with pytest.raises(ValueError, match=SHAPES):
            call(x, y)


def test_too_many_assignments() -> None:
    mixit = ke.MixtureInvariantLoss(ke.WaveformLoss())
    with pytest.raises(ValueError, match=r"at most 65536 ways .* 2 mixtures, 2\*\*17"):
        mixit(np.ones((17, 100)), Y[0])


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (ke.MappedLoss(ke.MidSide(), ke.WaveformLoss()), "`MidSide` mixes the axis"),
        (ke.PermutationInvariantLoss(ke.WaveformLoss()), "it orders sources itself"),
        (BATCHES[0].make(), "mixes the signals of a batch"),
        (ke.WaveformLoss().bind(jnp.ones(100)), "it has its target already"),
    ],
)
def test_what_does_not_compare_two_signals_at_a_time(loss: Any, message: str) -> None:
    mixit = ke.MixtureInvariantLoss(loss)
    rule = r"`MixtureInvariantLoss\(loss=...\)` must compare two signals at a time"
    for call in (mixit, mixit.assignment):
        with pytest.raises(ValueError, match=f"{rule}.*{message}"):
            call(X, Y)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            ke.MixtureInvariantLoss(ke.WaveformLoss()),
            "called with sources and mixtures, of two shapes. Put other losses inside",
        ),
        (
            ke.PredictionLoss(ke.MappedLoss(ke.PQMF(), ke.WaveformLoss())),
            "called with a prediction and a signal",
        ),
        (ke.ConsistencyLoss(ke.STFT(64)), "called with spectra alone"),
    ],
)
def test_what_is_no_part_of_other_losses(loss: Any, message: str) -> None:
    wave = ke.WaveformLoss()
    for make in (
        lambda: wave + loss,
        lambda: loss + wave,
        lambda: ke.SumLoss([wave], monitor={"own": loss}),
        lambda: ke.MappedLoss(ke.PreEmphasis(), loss),
        lambda: ke.PermutationInvariantLoss(loss),
        lambda: ke.MixtureInvariantLoss(loss),
    ):
        with pytest.raises(ValueError, match=f"must be a loss on signals.*{message}"):
            make()
