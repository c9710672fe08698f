"""The cumulative-energy loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import (
    assert_equals_torch,
    assert_padding_does_not_count,
    close,
    of_arrays,
    refused,
    torch,
    value_and_grads,
)

import korvax_eqx as ke

RNG = np.random.default_rng(4)
X, Y = RNG.uniform(0, 2, (2, 3, 5, 7)) ** 2
EIGHT = "right_up right_down left_up left_down up down right left".split()


def cumulative(S, direction):
    """Sums by products with triangles: all bins below or above, all frames before."""
    n_bins, n_frames = S.shape[-2:]
    words = direction.split("_")
    up = torch.tril(torch.ones(n_bins, n_bins, dtype=S.dtype))
    right = torch.triu(torch.ones(n_frames, n_frames, dtype=S.dtype))
    for word, matrix in (("up", up), ("down", up.T)):
        S = matrix @ S if word in words else S
    for word, matrix in (("right", right), ("left", right.T)):
        S = S @ matrix if word in words else S
    return S


def naive(directions, eps):
    def loss(x, y):
        energy = y.sum((-2, -1), keepdim=True)
        values = []
        for direction in directions:
            phi = [
                (cumulative(S, direction) / energy).clamp(min=eps).sqrt()
                for S in (x, y)
            ]
            values.append(((phi[0] - phi[1]) ** 2).mean((-2, -1)).sqrt())
        return torch.stack(values).mean()

    return loss


@pytest.mark.parametrize("directions", [EIGHT[:4], *[[d] for d in EIGHT], EIGHT[2:6]])
def test_loss_is_the_formula(directions):
    loss = ke.CumulativeEnergyLoss(directions, eps=0.05)
    assert_equals_torch(loss, naive(directions, 0.05), X, Y)


def test_defaults():
    loss = ke.CumulativeEnergyLoss()
    assert_equals_torch(loss, naive(EIGHT[:4], 1e-12), X, Y)


def test_loss_is_that_of_the_package():
    """Values and gradients for the estimate; the package gives none for the target."""
    cels = pytest.importorskip("cels")
    x, y = RNG.standard_normal((2, 2, 6000)) * 0.1
    theirs = cels.paper_loss("cel").double()
    tensor = torch.tensor(x, requires_grad=True)
    expected = theirs(tensor, torch.tensor(y))
    (gradient,) = torch.autograd.grad(expected, tensor)
    ours = ke.TimeFrequencyLoss(
        ke.Spectrogram(1024, 256, center=False), ke.CumulativeEnergyLoss()
    )
    for dtype, tolerance in ((jnp.float64, 1e-10), (jnp.float32, 1e-5)):
        value, grads = value_and_grads(ours, (x, y), dtype)
        close(value, expected.detach().numpy(), tolerance)
        # Sums over all bins and frames end in 1e5 times what they begin with.
        close(grads[0], gradient.numpy(), tolerance)


def test_frames_beyond_the_end_do_not_count():
    spectra = [np.swapaxes(S, -1, -2) for S in (X, Y)]
    loss = ke.CumulativeEnergyLoss(EIGHT)
    assert_padding_does_not_count(of_arrays(loss.values), spectra, (7, 4, 1))


def test_a_silent_target_compares_energies_as_they_are():
    loss = ke.CumulativeEnergyLoss(["right_up"])
    with jax.enable_x64(True):
        actual = loss(jnp.asarray(X), jnp.zeros(X.shape))
    sums = np.cumsum(np.cumsum(X, -1), -2)
    expected = np.mean(np.sqrt(np.mean((np.sqrt(sums) - 1e-6) ** 2, (-2, -1))))
    close(actual, expected, 1e-10)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_finite_at_silence_at_equal_spectra_and_where_a_bin_cancels(dtype):
    loss = ke.CumulativeEnergyLoss(EIGHT)
    zero, one_bin = np.zeros_like(X), X.copy()
    one_bin[:, :2] = 0.0
    pairs = [(X, X), (zero, zero), (zero, Y), (X, zero), (one_bin, Y), (X, one_bin)]
    # Further apart the gradient itself, value over energy, is out of range.
    far = 1e30 if dtype == jnp.float64 else 1e10
    for x, y in [*pairs, (1e-30 * X, 1e-30 * Y), (far * X, Y / far)]:
        value, grads = value_and_grads(loss, (x, y), dtype)
        assert np.isfinite(value) and value >= 0
        assert all(np.all(np.isfinite(g)) for g in grads)
        if x is y:
            assert value == 0 and not np.any(grads[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ke.CumulativeEnergyLoss([]), r"\(directions=...\)` must be a non-em"),
        (lambda: ke.CumulativeEnergyLoss("up"), r"\(directions=...\)` must be a non-e"),
        (lambda: ke.CumulativeEnergyLoss(["up", "up"]), r"all different"),
        (lambda: ke.CumulativeEnergyLoss(["over"]), r"must be one of 'right_up'"),
        (lambda: ke.CumulativeEnergyLoss(eps=0.0), r"\(eps=...\)` must be positive"),
        (
            lambda: ke.CumulativeEnergyLoss()(*[jnp.ones((2, 3), jnp.complex64)] * 2),
            r"must be a real spectrogram",
        ),
    ],
)
def test_refused(call, message):
    with refused(message):
        call()
