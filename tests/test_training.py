"""Losses inside models and training loops: what must not train, and what must."""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import promotion
import pytest

import korvax_eqx as ke

N_SAMPLES, N_TAPS, SAMPLE_RATE = 256, 8, 8000
N_FFT, HOP = 64, 24
POSITIONS = np.linspace(0.0, 1.0, N_FFT // 2 + 1) ** 2


@pytest.fixture(autouse=True)
def _optax_mixes_dtypes() -> Iterator[None]:
    with promotion.usual_promotion():
        yield


def signals(*lead: int, seed: int = 0) -> tuple[jax.Array, jax.Array]:
    x, y = 0.3 * np.random.default_rng(seed).standard_normal((2, *lead, N_SAMPLES))
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


def mrstft(**options: Any) -> ke.MRSTFTLoss:
    return ke.MRSTFTLoss((HOP,), (N_FFT,), **{"log_eps": 1e-2, **options})


class Filter(eqx.Module):
    """A model: a short filter, which learns to undo another, and its own losses."""

    taps: jax.Array
    losses: tuple[Any, ...]

    def __init__(self, *losses: Any):
        self.taps = jnp.zeros(N_TAPS).at[0].set(1.0)
        self.losses = losses

    def __call__(self, x: jax.Array) -> jax.Array:
        padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(N_TAPS - 1, 0)])
        delayed = [padded[..., i : i + N_SAMPLES] for i in range(N_TAPS)]
        return sum(tap * d for tap, d in zip(self.taps[::-1], delayed, strict=True))

    def objective(self, x: jax.Array, y: jax.Array) -> jax.Array:
        return sum(loss(self(x), y) for loss in self.losses)


def problem(*lead: int) -> tuple[jax.Array, jax.Array]:
    """Noise, and noise through a filter that `Filter` can be."""
    x, _ = signals(*lead)
    target = eqx.tree_at(lambda m: m.taps, Filter(), jnp.asarray([0.5, -0.4] * 4))
    return x, target(x)


def step_of(
    optimiser: optax.GradientTransformation, objective: Callable[..., jax.Array]
) -> Callable[..., Any]:
    """A step of training for modules of which all leaves are arrays."""

    def step(module: Any, state: Any, *args: Any) -> tuple[Any, Any, jax.Array]:
        value, gradient = jax.value_and_grad(objective)(module, *args)
        updates, state = optimiser.update(gradient, state, module)
        return eqx.apply_updates(module, updates), state, value

    return step


def assert_same_bits(got: Any, expected: Any) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def assert_close(got: Any, expected: Any, tolerance: float = 1e-5) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        scale = np.abs(np.asarray(other)).max()
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * scale)


# ------------------------------------------------------- what you configure is static


def every_table() -> tuple[Any, ...]:
    """Losses with windows, mel matrices, weightings and bin positions as tables."""
    frames = ke.Spectrogram(N_FFT, HOP, window=np.hanning(N_FFT), center=False)
    mel = ke.MelSpectrogram(SAMPLE_RATE, N_FFT, n_mels=8, hop_length=HOP)
    weighting = ke.AWeighting(sr=SAMPLE_RATE, n_fft=N_FFT)
    decibels = ke.Chain((ke.PowerToDB(amin=1e-2), weighting))
    return (
        mrstft(),
        ke.TimeFrequencyLoss(frames, ke.SpectralOptimalTransportLoss(POSITIONS)),
        ke.TimeFrequencyLoss(mel, ke.ElementwiseLoss(), ke.Log(eps=1e-2)),
        ke.TimeFrequencyLoss(frames, ke.ElementwiseLoss(), decibels, [0.05]),
    )


def tables_of(losses: tuple[Any, ...]) -> list[Any]:
    multi, transport, mel, weighted = losses
    return [
        multi.transforms[0].window_values,
        transport.transform_fn.window_values,
        transport.loss_fn[0].bin_positions(N_FFT // 2 + 1),
        mel.transform_fn.mel_scale.matrix,
        weighted.scale_fn[0].scales[1].weighting_db,
    ]


@pytest.mark.parametrize("is_filtered", [True, False], ids=["eqx", "jax"])
def test_weight_decay_does_not_touch_the_tables(is_filtered: bool) -> None:
    x, y = problem()
    model = Filter(*every_table())
    before = [np.array(table) for table in tables_of(model.losses)]
    optimiser = optax.adamw(1e-2, weight_decay=0.1)
    objective = Filter.objective
    if is_filtered:
        state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))

        @eqx.filter_jit
        def step(model: Any, state: Any, x: Any, y: Any) -> Any:
            value, gradient = eqx.filter_value_and_grad(objective)(model, x, y)
            parameters = eqx.filter(model, eqx.is_inexact_array)
            updates, state = optimiser.update(gradient, state, parameters)
            return eqx.apply_updates(model, updates), state, value

    else:
        state = optimiser.init(model)
        step = jax.jit(step_of(optimiser, objective))

    trained, values = model, []
    for _ in range(200):
        trained, state, value = step(trained, state, x, y)
        values.append(float(value))
    assert values[-1] < 0.5 * values[0]
    assert not np.array_equal(trained.taps, model.taps)
    assert trained.losses == model.losses
    assert_same_bits([np.array(t) for t in tables_of(trained.losses)], before)
    assert_same_bits(
        [loss(x, y) for loss in trained.losses], [loss(x, y) for loss in every_table()]
    )
    # Of all that the optimiser keeps, nothing is about the losses.
    shapes = {leaf.shape for leaf in jax.tree.leaves(state)}
    assert shapes == {(), (N_TAPS,)}


@pytest.mark.parametrize("name", ["sgd", "lion", "adafactor"])
def test_optimisers_take_a_model_with_a_loss(name: str) -> None:
    x, y = problem()
    model = Filter(mrstft())
    optimiser = getattr(optax, name)(1e-2)
    state = optimiser.init(model)
    step = jax.jit(step_of(optimiser, Filter.objective))
    trained, _, before = step(model, state, x, y)
    assert trained.losses == model.losses
    assert float(trained.objective(x, y)) < float(before)


# ----------------------------------------------------- what you pass as an array trains


@dataclasses.dataclass(frozen=True)
class Learnable:
    """A loss with one learnable part."""

    name: str
    make: Callable[[], Any]
    part: Callable[[Any], jax.Array]

    def __repr__(self) -> str:
        return self.name


def _mel_basis() -> jax.Array:
    matrix = ke.MelScale(SAMPLE_RATE, N_FFT, n_mels=6).matrix
    return jnp.asarray(matrix / matrix.max(), jnp.float32) + 0.05


def _mel_loss() -> ke.TimeFrequencyLoss:
    scale = ke.MelScale(SAMPLE_RATE, N_FFT, n_mels=6, basis=_mel_basis())
    return ke.TimeFrequencyLoss(ke.Spectrogram(N_FFT, HOP), ke.ElementwiseLoss(), scale)


def _transport_loss() -> ke.TimeFrequencyLoss:
    positions = jnp.arange(N_FFT // 2 + 1) / (N_FFT // 2 + 1)
    return ke.TimeFrequencyLoss(
        ke.Spectrogram(N_FFT, HOP, center=False),
        ke.SpectralOptimalTransportLoss(positions),
    )


def _weighted_loss() -> ke.TimeFrequencyLoss:
    return ke.TimeFrequencyLoss(
        ke.Spectrogram(N_FFT, HOP, power=1),
        ke.ElementwiseLoss(),
        [ke.Identity(), ke.Log(eps=1e-2)],
        weights=jnp.asarray([0.5, 0.5]),
    )


LEARNABLES = [
    Learnable(
        "window",
        lambda: mrstft(window=[jnp.hanning(N_FFT) + 0.1]),
        lambda loss: loss.window[0],
    ),
    Learnable("mel-matrix", _mel_loss, lambda loss: loss.scale_fn[0].basis),
    Learnable("positions", _transport_loss, lambda loss: loss.loss_fn[0].positions),
    Learnable("weights", _weighted_loss, lambda loss: loss.weights),
    Learnable(
        "weight-of-a-term",
        lambda: mrstft(w_log=jnp.asarray(1.0)),
        lambda loss: loss.w_log,
    ),
]


def confusion(loss: Any, x: jax.Array, hiss: jax.Array, shift: jax.Array) -> jax.Array:
    """How near another pitch is, measured by how near the same pitch with hiss is."""
    return loss(hiss, x) / loss(shift, x)


def _sounds() -> tuple[jax.Array, jax.Array, jax.Array]:
    t = np.arange(N_SAMPLES) / SAMPLE_RATE
    noise = 0.05 * np.random.default_rng(0).standard_normal(N_SAMPLES)
    tone, other = np.sin(2 * np.pi * 700 * t), np.sin(2 * np.pi * 950 * t)
    x, hiss, shift = (jnp.asarray(s, jnp.float32) for s in (tone, tone + noise, other))
    return x, hiss, shift


@pytest.mark.parametrize("case", LEARNABLES, ids=repr)
def test_learnable_parts_train(case: Learnable) -> None:
    sounds = _sounds()
    loss = case.make()
    assert [leaf.shape for leaf in jax.tree.leaves(loss)] == [case.part(loss).shape]
    optimiser = optax.adam(3e-3)
    state = optimiser.init(eqx.filter(loss, eqx.is_inexact_array))
    step = jax.jit(step_of(optimiser, confusion))
    trained, first = loss, None
    for _ in range(30):
        trained, state, value = step(trained, state, *sounds)
        first = value if first is None else first
    assert float(confusion(trained, *sounds)) < 0.98 * float(first)
    assert not np.array_equal(case.part(trained), case.part(loss))
    # The optimiser's moments are trees like the loss.
    moments = state[0]
    assert case.part(moments.mu).shape == case.part(loss).shape
    assert np.any(np.asarray(case.part(moments.nu)) > 0)


def test_a_learnable_window_in_a_model_is_decayed_as_any_parameter() -> None:
    """The opposite of the first test: an array is a parameter in every respect."""
    x, y = problem()
    window = jnp.hanning(N_FFT) + 0.1
    model = Filter(mrstft(window=[window]))
    optimiser = optax.adamw(1e-2, weight_decay=0.1)
    state = optimiser.init(model)
    step = jax.jit(step_of(optimiser, lambda model, x, y: model.taps.sum()))
    trained, _, _ = step(model, state, x, y)
    assert_close(trained.losses[0].window[0], window * (1 - 1e-2 * 0.1), 1e-6)


# ------------------------------------------------------------------ loops around losses


def test_annealing_a_weight_does_not_compile_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    x, y = problem()
    optimiser = optax.sgd(1e-2)
    model = Filter()

    def objective(model: Filter, loss: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return loss(model(x), y)

    step = jax.jit(step_of(optimiser, objective))
    state = optimiser.init(model)

    def n_compilations(weight: Any) -> tuple[int, float]:
        loss = mrstft(w_log=weight)
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING):
            _, _, value = step(model, state, loss, x, y)
        messages = [record.getMessage() for record in caplog.records]
        return sum("Finished XLA compilation" in m for m in messages), float(value)

    weights = (1.0, 0.5, 0.0)
    annealed = [n_compilations(jnp.asarray(w)) for w in weights]
    assert [n for n, _ in annealed] == [1, 0, 0]
    # The control: numbers are configuration, and each is a program of its own.
    fixed = [n_compilations(w) for w in weights]
    assert [n for n, _ in fixed] == [1, 1, 1]
    assert_close([value for _, value in annealed], [value for _, value in fixed])


def test_gradient_accumulation() -> None:
    """Two halves of a batch, accumulated, are a step with the whole batch."""
    x, y = problem(4)
    model = Filter(mrstft(window=[jnp.hanning(N_FFT) + 0.1]))
    whole = optax.adam(1e-2)
    step = jax.jit(step_of(whole, Filter.objective))
    expected, _, _ = step(model, whole.init(model), x, y)

    halves = optax.MultiSteps(whole, every_k_schedule=2)
    state = halves.init(model)
    step = jax.jit(step_of(halves.gradient_transformation(), Filter.objective))
    waiting, state, _ = step(model, state, x[:2], y[:2])
    assert_same_bits(waiting, model)
    got, state, _ = step(waiting, state, x[2:], y[2:])
    assert int(state.gradient_step) == 1
    assert_close(got, expected)


def test_apply_if_finite() -> None:
    """A batch with NaN is left out; silence is no such batch."""
    x, y = problem()
    model = Filter(mrstft(window=[jnp.hanning(N_FFT) + 0.1]))
    optimiser = optax.apply_if_finite(optax.sgd(1e-2), max_consecutive_errors=3)
    state = optimiser.init(model)
    step = jax.jit(step_of(optimiser, Filter.objective))

    same, state, value = step(model, state, x.at[0].set(jnp.nan), y)
    assert np.isnan(value) and int(state.total_notfinite) == 1
    assert_same_bits(same, model)
    for silent in (jnp.zeros_like(x), y), (x, jnp.zeros_like(y)), (0 * x, 0 * y):
        model, state, value = step(model, state, *silent)
        assert np.isfinite(value) and bool(state.last_finite)
    assert int(state.total_notfinite) == 1


def test_scan_over_steps() -> None:
    x, y = problem(3)
    model = Filter(mrstft(w_log=jnp.asarray(1.0)))
    optimiser = optax.adam(1e-2)
    step = step_of(optimiser, Filter.objective)

    @jax.jit
    def run(model: Any, state: Any) -> Any:
        def body(carry: Any, pair: Any) -> tuple[Any, jax.Array]:
            model, state, value = step(*carry, *pair)
            return (model, state), value

        return jax.lax.scan(body, (model, state), (x, y))

    state = optimiser.init(model)
    (got, _), values = run(model, state)
    jitted, expected = jax.jit(step), []
    for pair in zip(x, y, strict=True):
        model, state, value = jitted(model, state, *pair)
        expected.append(value)
    assert_close(values, jnp.stack(expected))
    assert_close(got, model)
    assert len(set(np.asarray(values).tolist())) == 3


def test_an_ensemble_of_losses_with_different_windows() -> None:
    x, y = signals(2)
    windows = jnp.stack([jnp.hanning(N_FFT) ** p for p in (0.5, 1.0, 2.0)])
    ensemble = eqx.filter_vmap(lambda window: mrstft(window=[window]))(windows)
    assert [leaf.shape for leaf in jax.tree.leaves(ensemble)] == [windows.shape]

    @eqx.filter_jit
    def values_and_gradients(ensemble: Any, x: jax.Array, y: jax.Array) -> Any:
        one = eqx.filter_value_and_grad(lambda loss, x, y: loss(x, y))
        axes = (eqx.if_array(0), None, None)
        return eqx.filter_vmap(one, in_axes=axes)(ensemble, x, y)

    values, gradients = values_and_gradients(ensemble, x, y)
    assert len(set(np.asarray(values).tolist())) == 3

    @jax.jit
    def alone(window: jax.Array) -> Any:
        return jax.value_and_grad(lambda w: mrstft(window=[w])(x, y))(window)

    expected = [alone(window) for window in windows]
    assert_close(values, jnp.stack([value for value, _ in expected]))
    assert_close(gradients.window[0], jnp.stack([g for _, g in expected]))
    # One step of training moves every member by its own gradient.
    optimiser = optax.sgd(0.1)
    updates, _ = optimiser.update(gradients, optimiser.init(ensemble))
    trained = eqx.apply_updates(ensemble, updates)
    again, _ = values_and_gradients(trained, x, y)
    assert np.all(np.asarray(again) < np.asarray(values))
