"""Elementwise, norm and relative losses and their batch-wide forms."""

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

RNG = np.random.default_rng(2)
X, Y = RNG.uniform(0, 2, (2, 3, 5, 7))
BOTH = (-2, -1)


def norm(d, dim=BOTH):
    return torch.linalg.vector_norm(d, dim=dim)


# The loss, and the formula for spectra of shape (rows, n_bins, n_frames).
ROWWISE = {
    "sum L1": (
        ke.ElementwiseLoss(reduction="sum"),
        lambda x, y: (x - y).abs().sum(BOTH).mean(),
    ),
    "sum L2": (
        ke.ElementwiseLoss("L2", reduction="sum"),
        lambda x, y: ((x - y) ** 2).sum(BOTH).mean(),
    ),
    "norm": (ke.NormLoss(), lambda x, y: norm(x - y).mean()),
    "root mean square": (
        ke.NormLoss(reduction="mean"),
        lambda x, y: ((x - y) ** 2).mean(BOTH).sqrt().mean(),
    ),
    "flamo": (
        ke.NormLoss(reduction="numel"),
        lambda x, y: (norm(x - y) / x[0].numel()).mean(),
    ),
    "norm of a frame": (
        ke.NormLoss(over="frame"),
        lambda x, y: norm(x - y, -2).mean(),
    ),
    "log-spectral distance": (
        ke.NormLoss(over="frame", reduction="mean"),
        lambda x, y: ((x - y) ** 2).mean(-2).sqrt().mean(),
    ),
    "relative": (
        ke.RelativeLoss(eps=0.0),
        lambda x, y: (((x - y) ** 2).mean(BOTH) / (y**2).mean(BOTH)).mean(),
    ),
    "relative L1": (
        ke.RelativeLoss("L1", 0.25),
        lambda x, y: ((x - y).abs().mean(BOTH) / (y.mean(BOTH) + 0.25)).mean(),
    ),
    "convergence": (
        ke.SpectralConvergenceLoss(eps=0.0),
        lambda x, y: (norm(x - y) / norm(y)).mean(),
    ),
    "convergence with epsilon": (
        ke.SpectralConvergenceLoss(eps=0.5),
        lambda x, y: (norm(x - y) / (norm(y) + 0.5)).mean(),
    ),
}
BATCH = {
    "auraloss": (
        ke.BatchSpectralConvergenceLoss(eps=0.0),
        lambda x, y: norm(x - y, None) / norm(y, None),
    ),
    "RAVE": (
        ke.BatchRelativeLoss(eps=0.0),
        lambda x, y: ((x - y) ** 2).mean() / (y**2).mean(),
    ),
    "L1": (
        ke.BatchRelativeLoss("L1", 0.25),
        lambda x, y: (x - y).abs().sum() / (y.sum() + 3 * 0.25),
    ),
}
ALL = {**ROWWISE, **BATCH}


@pytest.mark.parametrize("name", ALL)
def test_loss_is_the_formula(name):
    loss, naive = ALL[name]
    assert_equals_torch(loss, naive, X, Y)


@pytest.mark.parametrize("name", ALL)
def test_frames_beyond_the_end_do_not_count(name):
    loss, _ = ALL[name]
    spectra = [np.swapaxes(S, -1, -2) for S in (X, Y)]
    if name in ROWWISE:
        assert_padding_does_not_count(of_arrays(loss.values), spectra, (7, 4, 1))
        return
    for i in range(loss.n_sums):
        each = lambda *args, i=i: of_arrays(loss.sums)(*args)[i]  # noqa: E731
        assert_padding_does_not_count(each, spectra, (7, 4, 1))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", ALL)
def test_finite_at_silence_at_equal_spectra_and_where_a_bin_cancels(name, dtype):
    loss, _ = ALL[name]
    zero, one_bin = np.zeros_like(X), X.copy()
    one_bin[:, 2] = 0.0
    pairs = [(X, X), (zero, zero), (zero, Y), (X, zero), (one_bin, Y), (X, one_bin)]
    # Further apart the quotient itself, or its gradient, is out of range.
    far = 1e15 if dtype == jnp.float64 else 1e5
    for x, y in [*pairs, (1e-22 * X, 1e-22 * Y), (far * X, Y / far)]:
        value, grads = value_and_grads(loss, (x, y), dtype)
        assert np.isfinite(value) and value >= 0
        assert all(np.all(np.isfinite(g)) for g in grads)
        if x is y:
            assert value == 0 and not np.any(grads[0])


def test_loud_targets_keep_their_gradient_in_single_precision():
    """The square of a norm of 1e25 is out of range."""
    loss = ke.SpectralConvergenceLoss()
    _, (_, gradient) = value_and_grads(loss, (1e25 * X, 1e25 * Y), jnp.float32)
    _, (_, expected) = value_and_grads(loss, (1e25 * X, 1e25 * Y), jnp.float64)
    close(gradient, expected, 1e-5)


@pytest.mark.parametrize("name", BATCH)
def test_signals_of_a_batch_are_mixed(name):
    """Also through a transform, in pieces, with lengths, and as a term by name."""
    loss, naive = BATCH[name]
    lengths = (900, 500, 700)
    with jax.enable_x64(True):
        x, y = (jnp.asarray(RNG.standard_normal((3, 900))) for _ in range(2))
        transform = ke.Spectrogram(128, 50)
        whole = ke.TimeFrequencyLoss(transform, loss, piece_size=1)

        def elements(s, ends):
            spectra = [np.asarray(transform(s[i, :n])) for i, n in enumerate(ends)]
            return torch.tensor(np.concatenate([S.ravel() for S in spectra]))

        for value, ends in (
            (whole(x, y), (900, 900, 900)),
            (whole(x, y, lengths=jnp.asarray(lengths)), lengths),
        ):
            close(value, naive(elements(x, ends), elements(y, ends)).numpy(), 1e-12)
        total, terms = whole.with_terms(x, y)
        assert len(terms) == 1
        close(total, sum(terms.values()), 1e-14)


@pytest.mark.cheap
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ke.ElementwiseLoss(reduction="none"), r"`ElementwiseLoss\(reduction="),
        (lambda: ke.NormLoss(over="bin"), r"`NormLoss\(over=...\)` must be one of"),
        (lambda: ke.NormLoss(reduction="max"), r"`NormLoss\(reduction=...\)` must be"),
        (lambda: ke.RelativeLoss("L3"), r"`RelativeLoss\(metric=...\)` must be one"),
        (lambda: ke.RelativeLoss(eps=-1), r"`RelativeLoss\(eps=...\)` must be non-neg"),
        (
            lambda: ke.BatchRelativeLoss(eps="0"),
            r"`BatchRelativeLoss\(eps=...\)` must be a finite real number",
        ),
        (
            lambda: ke.SpectralConvergenceLoss(eps=-1.0),
            r"`SpectralConvergenceLoss\(eps=...\)` must be non-negative. Got -1.0",
        ),
        (
            lambda: ke.BatchSpectralConvergenceLoss(eps=-1.0),
            r"`BatchSpectralConvergenceLoss\(eps=...\)` must be non-negative",
        ),
    ],
)
def test_refused(make, message):
    with refused(message):
        make()


@pytest.mark.parametrize(
    "loss", [ke.BatchRelativeLoss, ke.BatchSpectralConvergenceLoss]
)
@pytest.mark.parametrize("level", [1e-8, 1e-12, 1e-15])
def test_a_quotient_by_next_to_nothing_has_the_slope_of_its_numerator(loss, level):
    """The infinite slope to the denominator is of the target, not of the estimate."""
    rng = np.random.default_rng(0)
    x, y = (jnp.asarray(rng.standard_normal((2, 500)), jnp.float32) for _ in "xy")
    composite = ke.TimeFrequencyLoss(ke.Spectrogram(64, 16, power=1), loss(eps=0.0))
    value, slope = jax.value_and_grad(composite)(x, level * y)
    with jax.enable_x64(True):
        x, y = (jnp.asarray(a, jnp.float64) for a in (x, y))
        expected = jax.value_and_grad(composite)(x, level * y)
        expected = jax.tree.map(np.asarray, expected)
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    atol = 1e-5 * np.max(np.abs(expected[1]))
    np.testing.assert_allclose(slope, expected[1], rtol=0, atol=atol)


class _RootMeanSquare(ke.AbstractBatchLoss):
    """A function of one mean over the batch."""

    @property
    def n_sums(self):
        return 1

    def sums(self, x, y):
        return (x.holding(jnp.square(x.S - y.S)).mean(),)

    def finish(self, means):
        return jnp.sqrt(means[0])


def test_a_loss_of_a_batch_may_have_one_sum():
    spectrogram = ke.Spectrogram(64, 16, power=1.0)
    loss = ke.TimeFrequencyLoss(spectrogram, _RootMeanSquare())
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, y = (jnp.asarray(rng.standard_normal((3, 500))) for _ in "xy")

        def plain(x):
            return jnp.sqrt(jnp.mean(jnp.square(spectrogram(x) - spectrogram(y))))

        value, gradient = jax.value_and_grad(loss)(x, y)
        expected, slope = jax.value_and_grad(plain)(x)
        close(value, expected, 1e-12)
        close(gradient, slope, 1e-12)
        close(loss(x, y), expected, 1e-12)
        ((_, term),) = loss.with_terms(x, y)[1].items()
        close(term, expected, 1e-12)


ERRORS = [
    ke.ElementwiseLoss(),
    ke.ElementwiseLoss("L2"),
    ke.RelativeLoss("L1"),
    ke.BatchRelativeLoss("L1"),
    ke.BatchRelativeLoss("L2"),
    ke.SpectralConvergenceLoss(),
    ke.BatchSpectralConvergenceLoss(),
]


@pytest.mark.parametrize("loss", ERRORS, ids=repr)
def test_equal_signals_are_equal_in_every_piece(loss):
    # 33 signals are evaluated in pieces and a rest: joined with the products that the
    # spectra end in, differences had one rounding there and were not zero.
    compare = ke.TimeFrequencyLoss(ke.Spectrogram(256, 64, power=1.0), loss)
    x = jnp.asarray(np.random.default_rng(5).normal(size=(33, 9001)), jnp.float32)
    value, grads = jax.jit(jax.value_and_grad(compare, (0, 1)))(x, x + 0)
    assert value == jax.jit(compare)(x, x + 0) == 0
    assert not any(g.any() for g in grads)


@pytest.mark.parametrize("loss", ERRORS, ids=repr)
def test_spectra_out_of_range_are_not_equal(loss):
    compare = ke.TimeFrequencyLoss(ke.Spectrogram(256, 64, power=2.0), loss)
    x, y = np.random.default_rng(6).normal(size=(2, 3, 1000)) * 1e30
    assert not jnp.isfinite(compare(x.astype(np.float32), y.astype(np.float32)))
