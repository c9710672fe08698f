"""Losses on complex spectra: phases, real and imaginary parts."""

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

RNG = np.random.default_rng(3)
# Real and imaginary parts of the estimate and of the target.
PARTS = RNG.standard_normal((4, 3, 5, 7))


def of_parts(fn):
    """`fn` of two complex spectra as a function of their parts, all real."""

    def call(a, b, c, d, *rest):
        spectra = (a, b), (c, d)
        if isinstance(a, jax.Array | np.ndarray):
            return fn(*(jax.lax.complex(*parts) for parts in spectra), *rest)
        return fn(*(torch.complex(*parts) for parts in spectra))

    return call


def unwrapped(d):
    return d - 2 * torch.pi * torch.round(d / (2 * torch.pi))


def plain(d, *_):
    return d


def naive_phase(metric, step, wrap, is_weighted):
    def loss(x, y):
        d, weights = step(torch.angle(x)) - step(torch.angle(y)), y.abs()
        if step is time:
            weights = torch.minimum(weights[..., 1:], weights[..., :-1])
        if step is frequency:
            weights = torch.minimum(weights[..., 1:, :], weights[..., :-1, :])
        d = wrap(d).abs() ** (1 if metric == "L1" else 2)
        if not is_weighted:
            return d.mean()
        return ((weights * d).sum((-2, -1)) / weights.sum((-2, -1))).mean()

    return loss


def time(d):
    return torch.diff(d, dim=-1)


def frequency(d):
    return torch.diff(d, dim=-2)


STEPS = {"phase": plain, "instantaneous_frequency": time, "group_delay": frequency}
CASES = {
    (metric, quantity, wrap, weighting): ke.PhaseLoss(
        metric, quantity=quantity, wrap=wrap, weighting=weighting
    )
    for metric, quantity, wrap, weighting in [
        ("L1", "phase", True, "uniform"),
        ("L2", "phase", False, "uniform"),  # auraloss
        ("L2", "phase", True, "magnitude"),
        ("L1", "instantaneous_frequency", True, "uniform"),
        ("L2", "instantaneous_frequency", True, "magnitude"),
        ("L1", "group_delay", True, "magnitude"),
        ("L2", "group_delay", False, "uniform"),
    ]
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_phase_loss_is_the_formula(case):
    metric, quantity, wrap, weighting = case
    naive = naive_phase(
        metric,
        STEPS[quantity],
        unwrapped if wrap else plain,
        weighting == "magnitude",
    )
    assert_equals_torch(of_parts(CASES[case]), of_parts(naive), *PARTS)


def ratio_db(d, y, eps):
    error, reference = d.abs().mean((-2, -1)) + eps, y.abs().mean((-2, -1)) + eps
    return (10 * torch.log10(error / reference)).mean()


def naive_l1_snr(x, y):
    d = x - y
    return ratio_db(d.real, y.real, 1e-3) + ratio_db(d.imag, y.imag, 1e-3)


def naive_gompsnr(distance):
    """As the metric of the authors: a convolution takes the differences of phases."""

    def loss(x, y):
        kernels = torch.zeros(9, 1, 3, 3, dtype=torch.float64)
        kernels[:, 0, 1, 1] = 1
        for k, (i, j) in enumerate((i, j) for i in range(3) for j in range(3)):
            kernels[k, 0, i, j] -= float((i, j) != (1, 1))
        A, B = (torch.sqrt(s.abs() ** 2 + 1e-8)[:, None] for s in (x, y))
        turned = (torch.angle(x) - torch.angle(y))[:, None]
        turned = torch.nn.functional.conv2d(turned, kernels, padding=1)
        if distance == "cosine":
            part = -2 * torch.cos(turned)
        else:
            part = 2 * unwrapped(turned).abs() / torch.pi - 2
        energy = (A**2 + B**2 + A * B * part).sum((2, 3)).mean(1) + 1e-8
        return -(10 * torch.log10((y.abs() ** 2).sum((1, 2)) / energy)).mean()

    return loss


OTHERS = {
    "GOMPSNR": (ke.GOMPSNRLoss(), naive_gompsnr("linear")),
    "OMPSNR": (ke.GOMPSNRLoss("cosine"), naive_gompsnr("cosine")),
    "L1 SNR": (ke.SpectralL1SNRLoss(), naive_l1_snr),
    "real and imaginary": (
        lambda x, y: ke.ElementwiseLoss()(ke.RealImaginary()(x), ke.RealImaginary()(y)),
        lambda x, y: ((x - y).real.abs().mean() + (x - y).imag.abs().mean()) / 2,
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_loss_on_complex_spectra_is_the_formula(name):
    ours, naive = OTHERS[name]
    assert_equals_torch(of_parts(ours), of_parts(naive), *PARTS)


def test_l1_snr_of_real_spectra():
    x, y = PARTS[:2]
    naive = lambda x, y: ratio_db(x - y, y, 0.5)  # noqa: E731
    assert_equals_torch(ke.SpectralL1SNRLoss(0.5), naive, x, y)


LOSSES = [*CASES.values(), ke.SpectralL1SNRLoss(), ke.GOMPSNRLoss()]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_frames_beyond_the_end_do_not_count(loss):
    parts = [np.swapaxes(part, -1, -2) for part in PARTS]
    assert_padding_does_not_count(of_parts(of_arrays(loss.values)), parts, (7, 4, 2))


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_equal_signals_have_no_gradient(loss):
    """Exactly, as it is compiled: near its best value a ratio has a large one."""
    loss = ke.TimeFrequencyLoss(ke.STFT(1024, 256), loss)
    x = 0.1 * jax.random.normal(jax.random.key(1), (16000,))
    assert not np.any(jax.jit(jax.grad(loss))(x, x))


@pytest.mark.parametrize("loss", CASES.values(), ids=repr)
def test_signals_of_unequal_lengths(loss):
    """Value and gradient of a padded batch are those of its signals."""
    loss = ke.TimeFrequencyLoss(ke.STFT(64, 25), loss)
    lengths = (400, 230)
    with jax.enable_x64(True):
        x, y = (jnp.asarray(RNG.standard_normal((2, 400))) for _ in range(2))
        both = jax.jit(jax.value_and_grad(loss))
        value, gradient = both(x, y, lengths=jnp.asarray(lengths))
        alone = [both(x[i, :n], y[i, :n]) for i, n in enumerate(lengths)]
        close(value, np.mean([v for v, _ in alone]), 1e-12)
        for i, n in enumerate(lengths):
            # The phase of a bin that nearly cancels turns with the last bit.
            close(2 * gradient[i, :n], alone[i][1], 1e-9)
            assert not np.any(gradient[i, n:])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_finite_at_silence_at_equal_spectra_and_where_a_bin_is_zero(loss, dtype):
    x, y = PARTS[:2], PARTS[2:]
    zero, one_bin = np.zeros_like(x), x.copy()
    one_bin[:, :, 2] = 0.0
    pairs = [(x, x), (zero, zero), (zero, y), (x, zero), (one_bin, y), (x, one_bin)]
    fn = of_parts(loss)
    for a, b in [*pairs, (1e-22 * x, 1e-22 * y), (1e15 * x, 1e-15 * y)]:
        value, grads = value_and_grads(fn, (*a, *b), dtype)
        assert np.isfinite(value)
        assert all(np.all(np.isfinite(g)) for g in grads)
        if a is b and isinstance(loss, ke.PhaseLoss):
            assert value == 0 and not np.any(grads[:2])


def test_zeros_have_no_sign():
    """The phase of a negative bin is pi, whichever zero its imaginary part is."""
    x = np.array([[complex(-1.0, 0.0), complex(0.0, 0.0), 1.0]])
    y = np.array([[complex(-1.0, -0.0), complex(-0.0, -0.0), 1.0]])
    loss = ke.PhaseLoss(wrap=False)
    assert loss(jnp.asarray(x, jnp.complex64), jnp.asarray(y, jnp.complex64)) == 0
    # A turn off: pi and -pi are one phase.
    near = np.array([[-1.0 + 1e-3j]])
    across = jnp.asarray(near, jnp.complex64), jnp.asarray(near.conj(), jnp.complex64)
    close(ke.PhaseLoss()(*across), 2 * np.arctan(1e-3), 1e-3)
    close(ke.PhaseLoss(wrap=False)(*across), 2 * np.pi - 2e-3, 1e-5)


def test_silent_target_weighs_nothing():
    x, y = jnp.asarray(PARTS[0] + 1j * PARTS[1], jnp.complex64), jnp.zeros((3, 5, 7))
    assert ke.PhaseLoss(weighting="magnitude")(x, y.astype(jnp.complex64)) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ke.PhaseLoss("L3"), r"`PhaseLoss\(metric=...\)` must be one of"),
        (lambda: ke.PhaseLoss(quantity="delay"), r"`PhaseLoss\(quantity=...\)` must"),
        (lambda: ke.PhaseLoss(wrap=1), r"`PhaseLoss\(wrap=...\)` must be True or"),
        (lambda: ke.PhaseLoss(weighting=None), r"`PhaseLoss\(weighting=...\)` must"),
        (lambda: ke.GOMPSNRLoss("L1"), r"`GOMPSNRLoss\(distance=...\)` must be"),
        (lambda: ke.GOMPSNRLoss(eps=0), r"`GOMPSNRLoss\(eps=...\)` must be"),
        (lambda: ke.SpectralL1SNRLoss(0), r"`SpectralL1SNRLoss\(eps=...\)` must be"),
        (
            lambda: ke.PhaseLoss()(jnp.ones((3, 4)), jnp.ones((3, 4))),
            r"`PhaseLoss`: `S_x` must be a complex spectrum. Got an array float32",
        ),
        (
            lambda: ke.PhaseLoss(quantity="group_delay")(
                jnp.ones((1, 4), jnp.complex64), jnp.ones((1, 4), jnp.complex64)
            ),
            r"least two bins. Got the shape \(1, 4\)",
        ),
    ],
)
def test_refused(call, message):
    with refused(message):
        call()
