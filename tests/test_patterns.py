"""Patterns of the pages: what a few lines around a loss do, against plain formulas."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Bool
from promotion import usual_promotion
from registry import signals

import korvax_eqx as ke

LENGTHS = np.array([1500, 900, 400])
MEL = ke.MelSpectrogram(8000, 256, n_mels=20, hop_length=100, power=1)
LOSS = ke.TimeFrequencyLoss(MEL, ke.ElementwiseLoss(), ke.Log(eps=1e-3))


@pytest.fixture(autouse=True)
def float64() -> Any:
    with jax.enable_x64(True), usual_promotion():
        yield


def pair(*lead: int) -> tuple[Array, Array]:
    return signals(*lead, dtype=jnp.float64)


def differences(x: Array, y: Array) -> np.ndarray:
    """The differences of log-mel spectrograms, `(..., n_mels, n_frames)`."""
    S_x, S_y = (np.log(np.asarray(MEL(s)) + 1e-3) for s in (x, y))
    return np.abs(S_x - S_y)


def test_weighted_by_length() -> None:
    x, y = pair(3)
    lengths = jnp.asarray(LENGTHS)
    value = jnp.average(jax.vmap(LOSS)(x, y, lengths=lengths), weights=lengths)
    alone = [np.mean(differences(x[i, :n], y[i, :n])) for i, n in enumerate(LENGTHS)]
    expected = np.sum(LENGTHS * alone) / np.sum(LENGTHS)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_frames_counted_over_the_batch() -> None:
    """As masked codecs do: the sum over all valid frames, divided by their number."""
    x, y = pair(3)
    lengths = jnp.asarray(LENGTHS)
    n_frames = MEL.n_frames(lengths)
    value = jnp.average(jax.vmap(LOSS)(x, y, lengths=lengths), weights=n_frames)
    frames = [differences(x[i, :n], y[i, :n]) for i, n in enumerate(LENGTHS)]
    expected = np.mean(np.concatenate(frames, axis=-1))
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_sum_and_count_over_a_data_set() -> None:
    """What accumulators of metrics (clu, metrax) hold: a sum and a count."""

    @jax.jit
    def evaluated(x: Array, y: Array, lengths: Array) -> tuple[Array, Array]:
        values = jax.vmap(LOSS)(x, y, lengths=lengths)
        return jnp.sum(values * lengths), jnp.sum(lengths)

    x, y = pair(4)
    lengths = jnp.array([1500, 900, 400, 0])  # the last fills up the batch
    total, count = 0.0, 0
    for i in (0, 2):
        part = evaluated(x[i : i + 2], y[i : i + 2], lengths[i : i + 2])
        total, count = total + part[0], count + part[1]
    expected = sum(
        n * np.mean(differences(x[i, :n], y[i, :n])) for i, n in enumerate(LENGTHS)
    )
    np.testing.assert_allclose(total / count, expected / 2800, rtol=1e-12)


def test_a_mask_over_samples() -> None:
    """What is masked is taken from the target: no difference, and no gradient."""
    x, y = pair(3)
    mask = jax.random.bernoulli(jax.random.key(0), 0.7, x.shape)

    def masked(x: Array) -> Array:
        share = jnp.mean(mask, dtype=x.dtype)
        return ke.WaveformLoss()(jnp.where(mask, x, y), y) / share

    value, gradient = jax.value_and_grad(masked)(x)
    at = np.asarray(mask)
    expected = np.mean(np.abs(np.asarray(x - y))[at])
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    desired = np.where(at, np.sign(x - y), 0) / np.sum(at)
    np.testing.assert_allclose(gradient, desired, rtol=1e-12)


class MaskFrames(ke.AbstractScale):
    """Frames that do not count are zero in both spectra."""

    mask: Bool[Array, " n_frames"]

    def apply(self, data: ke.Spectra) -> ke.Spectra:
        return data.map(lambda S: jnp.where(self.mask[:, None], S, 0))


def test_a_mask_over_frames() -> None:
    x, y = pair(3)
    mask = jax.random.bernoulli(jax.random.key(0), 0.6, (3, MEL.n_frames(1500)))

    def masked(x: Array, y: Array, mask: Array) -> Array:
        scale = ke.Chain((ke.Log(eps=1e-3), MaskFrames(mask)))
        loss = ke.TimeFrequencyLoss(MEL, ke.ElementwiseLoss(), scale)
        return loss(x, y) / jnp.mean(mask)

    each, gradient = jax.vmap(jax.value_and_grad(masked))(x, y, mask)
    at = np.asarray(mask)[:, None]
    expected = [
        np.mean(d[:, m]) for d, m in zip(differences(x, y), at[:, 0], strict=True)
    ]
    np.testing.assert_allclose(each, expected, rtol=1e-12)
    assert np.all(np.isfinite(gradient)) and np.any(gradient)
    # Over the batch: by how many frames count.
    value = jnp.average(each, weights=jnp.sum(mask, axis=-1))
    over_batch = np.sum(differences(x, y) * at) / (20 * np.sum(at))
    np.testing.assert_allclose(value, over_batch, rtol=1e-12)


def test_channels_last() -> None:
    x, y = pair(3, 2)
    last = [jnp.moveaxis(s, -2, -1) for s in (x, y)]
    value = jax.vmap(LOSS, in_axes=-1)(*last).mean()
    np.testing.assert_allclose(value, LOSS(x, y), rtol=1e-12)
    gradient = jax.grad(lambda x: jax.vmap(LOSS, in_axes=-1)(x, last[1]).mean())(
        last[0]
    )
    desired = jnp.moveaxis(jax.grad(LOSS)(x, y), -2, -1)
    np.testing.assert_allclose(gradient, desired, rtol=1e-9, atol=1e-15)


def test_a_loss_with_learned_weights_in_flax_nnx() -> None:
    nnx = pytest.importorskip("flax.nnx")
    x, y = signals(2)

    class Model(nnx.Module):
        def __init__(self) -> None:
            loss = ke.SumLoss([ke.WaveformLoss(), ke.SNRLoss()], jnp.array([1.0, 0.1]))
            self.gain = nnx.Param(jnp.array(2.0))
            self.loss = nnx.data(
                jax.tree.map(nnx.Param, loss)
            )  # its leaves are learned
            self.fixed = ke.MRSTFTLoss((64,), (256,))  # without leaves: as it is

    def objective(model: Any) -> Array:
        loss = nnx.as_pure(model.loss)
        return loss(model.gain * x, y) + model.fixed(model.gain * x, y)

    gradients = nnx.grad(objective)(Model())
    expected = [ke.WaveformLoss()(2 * x, y), ke.SNRLoss()(2 * x, y)]
    np.testing.assert_allclose(gradients.loss.weights[...], expected, rtol=1e-5)
    assert gradients.gain[...] != 0


def test_the_worst_examples_left_out() -> None:
    """By a quantile over the batch, which carries no gradient."""
    x, y = pair(5)
    loss = ke.WaveformLoss("L2")

    def trimmed(x: Array) -> Array:
        each = jax.vmap(loss)(x, y)
        return jnp.mean(jnp.where(each < jnp.quantile(each, 0.75), each, 0.0))

    value, gradient = jax.value_and_grad(trimmed)(x)
    each = np.mean(np.square(np.asarray(x - y)), axis=-1)
    kept = each < np.quantile(each, 0.75)
    assert 0 < np.sum(kept) < 5
    np.testing.assert_allclose(value, np.sum(each[kept]) / 5, rtol=1e-12)
    slope = 2 * np.asarray(x - y) / x.size * kept[:, None]
    np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-15)
