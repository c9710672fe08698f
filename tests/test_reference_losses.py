"""Every loss function against korvax: value and gradients, in float64 and float32."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import korvax
import numpy as np
import pytest
from oracle import (
    assert_close,
    assert_same,
    assert_same_for_all,
    cycle,
    lead,
    noise,
    pick,
    standard,
)

import korvax_eqx as ke

N_CONFIGURATIONS = 50
configurations = pytest.mark.parametrize("index", range(N_CONFIGURATIONS))


def spectra(rng: np.random.Generator, *shape: int) -> list[np.ndarray]:
    """Two positive spectra of random levels, exact in float32."""
    level = 10.0 ** rng.uniform(-2, 2, (2, *[1] * len(shape)))
    S = level * (rng.gamma(0.7, size=(2, *shape)) + 1e-3)
    return list(S.astype(np.float32).astype(np.float64))


# ------------------------------------------------------------- losses on spectra


@configurations
def test_elementwise_loss_equals_korvax(index):
    rng = np.random.default_rng(index)
    metric, is_complex = cycle(index, ("L1", "L2"), (False, False, True))
    shape = tuple(rng.integers(1, 9, index % 5).tolist())
    S_x, S_y = rng.standard_normal((2, *shape)).astype(np.float32).astype(float)
    if is_complex and metric == "L1":  # for L2 see below
        S_x = S_x + 1j * S_x[..., ::-1] if shape else S_x + 2j
        S_y = S_y - 0.5j * S_x.imag
    print(metric, shape, S_x.dtype)
    options = {} if metric == "L1" and index % 4 == 0 else {"metric": metric}
    assert_same(
        lambda x, y: ke.loss.elementwise_loss(x, y, **options),
        lambda x, y: korvax.loss.elementwise_loss(x, y, **options),
        S_x,
        S_y,
    )


def test_elementwise_loss_of_complex_spectra_is_real():
    """korvax returns the complex mean of squares, no "mean squared error"."""
    S_x, S_y = jnp.asarray([[1.0 + 2j, 3j]]), jnp.asarray([[0.5 - 1j, 1 + 1j]])
    differences = np.asarray([0.5 + 3j, -1 + 2j])
    wrong = standard(korvax.loss.elementwise_loss)(S_x, S_y, metric="L2")
    assert_close(wrong, np.mean(differences**2))
    assert abs(wrong.imag) > 0.1
    actual = ke.loss.elementwise_loss(S_x, S_y, metric="L2")
    assert_close(actual, np.mean(np.abs(differences) ** 2))


@configurations
def test_spectral_convergence_loss_equals_korvax(index):
    rng = np.random.default_rng(100 + index)
    shape = (*lead(index), *rng.integers(1, 40, 2).tolist())
    S_x, S_y = spectra(rng, *shape)
    if index % 7 == 3:
        S_y *= 2.0**-30  # where the machine epsilon in the denominator counts
    if index % 7 == 5 and len(shape) > 2:
        S_y[0] = 0.0
    if index % 5 == 4:
        S_x, S_y = S_x * 1j**1 + S_y, S_y + 2j * S_x
    print(shape, S_x.dtype)
    assert_same(
        ke.loss.spectral_convergence_loss,
        korvax.loss.spectral_convergence_loss,
        S_x.astype(np.complex64 if np.iscomplexobj(S_x) else np.float32),
        S_y.astype(np.complex64 if np.iscomplexobj(S_y) else np.float32),
    )


SOT_OPTIONS = ((1, 2, 1.5, 3), (True, False), (True, False), (False, True))


# In turn through all 32 combinations of order, normalisation, balance and low-pass.
@configurations
def test_spectral_optimal_transport_loss_equals_korvax(index):
    rng = np.random.default_rng(200 + index)
    p, normalize, balanced, quantile_lowpass = cycle(index, *SOT_OPTIONS)
    n_bins, n_frames = int(rng.integers(2, 50)), int(rng.integers(1, 5))
    S_x, S_y = spectra(rng, *lead(index // 2), n_bins, n_frames)
    if not normalize:
        # Totals on both sides of the quantile 1.
        S_x, S_y = (S * (1.2 / np.median(S.sum(-2))) for S in (S_x, S_y))
        S_x, S_y = (S.astype(np.float32).astype(float) for S in (S_x, S_y))
    options = {
        "p": p,
        "normalize": normalize,
        "balanced": balanced,
        "quantile_lowpass": quantile_lowpass,
    }
    kind = ("default", "numpy", "learnable")[(index + index // 32) % 3]
    positions = np.sort(10.0 ** rng.uniform(1, 4, n_bins))
    positions = positions.astype(np.float32).astype(float)
    print(options, kind, S_x.shape)
    ours = functools.partial(ke.loss.spectral_optimal_transport_loss, **options)
    theirs = functools.partial(korvax.loss.spectral_optimal_transport_loss, **options)
    if kind == "default":
        assert_same(ours, theirs, S_x, S_y)
    elif kind == "numpy":
        assert_same(
            lambda x, y: ours(x, y, positions=positions),
            lambda x, y: theirs(x, y, positions=jnp.asarray(positions, x.dtype)),
            S_x,
            S_y,
        )
    else:
        assert_same(ours, theirs, S_x, S_y, positions, wrt=[0, 1, 2])


def test_spectral_optimal_transport_options_matter():
    """No test above passes by ignoring an option."""
    rng = np.random.default_rng(300)
    S_x, S_y = (jnp.asarray(S / np.mean(S.sum(0))) for S in spectra(rng, 20, 6))
    changes = [
        {},
        {"p": 1},
        {"normalize": False},
        {"balanced": False},
        {"normalize": False, "balanced": False},
        {"normalize": False, "balanced": False, "quantile_lowpass": True},
        {"positions": np.linspace(0, 2, 20)},
    ]
    loss = ke.loss.spectral_optimal_transport_loss
    values = jax.jit(lambda x, y: [loss(x, 1.7 * y, **change) for change in changes])
    assert len({round(float(v), 5) for v in values(S_x, S_y)}) == len(changes)


# ------------------------------------------------------------ losses on signals

SHAPES = ["hann", "hamming", "flattop", "boxcar", ("kaiser", 6.0), 4.0, "array"]


def mrstft_arguments(index: int) -> tuple[dict[str, Any], list[np.ndarray]]:
    rng = np.random.default_rng(400 + index)
    n_resolutions = 2 if index % 5 == 0 else 1
    wins = rng.integers(8, 200, n_resolutions).tolist()
    hops = [int(rng.integers(max(1, win // 8), win + 3)) for win in wins]
    lin_dist, log_dist, is_longer = cycle(index, ("L1", "L2"), ("L1", "L2"), (0, 1, 0))
    w_lin, w_log = pick(rng, [(1.0, 1.0), (0.3, 2.0), (0.0, 1.0), (1.0, 0), (-1, 0.5)])
    options = {
        "hop_lengths": pick(rng, [tuple, list])(hops),
        "win_lengths": pick(rng, [tuple, list])(wins),
        "window": pick(rng, SHAPES),
        "w_lin": w_lin,
        "w_log": w_log,
        "lin_dist": lin_dist,
        "log_dist": log_dist,
        "log_fac": pick(rng, [1.0, 1, 10.0, 0.2]),
        "log_eps": pick(rng, [1e-7, 1e-3, 1, 1e-2]),
        "power": pick(rng, [1, 2, 1.0, 0.5, 1.5, 2.0]),
    }
    if is_longer:
        options["fft_sizes"] = [win + int(rng.integers(0, 60)) for win in wins]
    if options["window"] == "array":
        options["window"] = "hann"
        if n_resolutions == 1:
            options["window"] = rng.uniform(0.1, 1.0, wins[0])
    # Shorter than a window, or not a multiple of anything.
    n_samples = int(
        rng.integers(1, min(wins)) if index % 6 == 5 else pick(rng, LENGTHS)
    )
    shape = (*lead(index), n_samples)
    return options, [noise(rng, *shape), noise(rng, *shape)]


LENGTHS = [200, 211, 359, 500]


@configurations
def test_mrstft_loss_equals_korvax(index):
    options, signals = mrstft_arguments(index)
    print(options, signals[0].shape)
    assert_same(
        lambda x, y: ke.loss.mrstft_loss(x, y, **options),
        lambda x, y: korvax.loss.mrstft_loss(x, y, **options),
        *signals,
    )


def test_mrstft_loss_by_position():
    """The arguments come in the same order."""
    rng = np.random.default_rng(500)
    x, y = noise(rng, 2, 300), noise(rng, 2, 300)
    arguments = (
        (20, 31),
        (64, 50),
        (65, 90),
        "hamming",
        0.7,
        0.2,
        "L2",
        "L1",
        3.0,
        0.01,
        1.5,
    )
    assert_same(
        lambda x, y: ke.loss.mrstft_loss(x, y, *arguments),
        lambda x, y: korvax.loss.mrstft_loss(x, y, *arguments),
        x,
        y,
    )


def test_mrstft_loss_has_the_defaults_of_korvax():
    rng = np.random.default_rng(501)
    x, y = noise(rng, 2, 700), noise(rng, 2, 700)
    assert_same(ke.loss.mrstft_loss, korvax.loss.mrstft_loss, x, y)


def smooth_signals(index: int, *shape: int) -> list[np.ndarray]:
    """Noise; a sine and noise; a fading signal; nearly equal signals."""
    rng = np.random.default_rng(600 + index)
    x, y = noise(rng, *shape), noise(rng, *shape)
    t = np.arange(shape[-1])
    if index % 4 == 1:
        x = np.sin(0.01 * index * t) * np.ones(shape) + 1e-3 * x
    if index % 4 == 2:
        x[..., shape[-1] // 2 :] *= 1e-6
    if index % 4 == 3:
        y = x + 1e-2 * y
    return [a.astype(np.float32).astype(float) for a in (x, y)]


@pytest.mark.parametrize("shape", [(1201,), (2, 60), (2, 3, 431)])
def test_smooth_mrstft_loss_equals_korvax(shape):
    """It has no options: three shapes, many signals, so that little is compiled."""
    cases = [smooth_signals(index, *shape) for index in range(20)]
    assert_same_for_all(
        ke.loss.smooth_mrstft_loss, korvax.loss.smooth_mrstft_loss, cases
    )


# Each part as a function of both libraries, and as a class.
TRANSFORMS: dict[str, Any] = {
    "spectrogram": (
        lambda lib, sizes: functools.partial(lib.spectrogram, power=1, **sizes),
        lambda sizes: ke.Spectrogram(**sizes, power=1),
    ),
    "power": (
        lambda lib, sizes: lambda x: lib.spectrogram(x, **sizes),
        lambda sizes: ke.Spectrogram(**sizes),
    ),
    "complex": (
        lambda lib, sizes: functools.partial(lib.stft, **sizes),
        lambda sizes: ke.STFT(**sizes),
    ),
}
LOSSES: dict[str, Any] = {
    "L1": (lambda lib: lib.loss.elementwise_loss, ke.ElementwiseLoss),
    "L2": (
        lambda lib: functools.partial(lib.loss.elementwise_loss, metric="L2"),
        lambda: ke.ElementwiseLoss("L2"),
    ),
    "convergence": (
        lambda lib: lib.loss.spectral_convergence_loss,
        ke.SpectralConvergenceLoss,
    ),
    "transport": (
        lambda lib: lib.loss.spectral_optimal_transport_loss,
        ke.SpectralOptimalTransportLoss,
    ),
    "transport 1": (
        lambda lib: functools.partial(
            lib.loss.spectral_optimal_transport_loss, p=1, normalize=False
        ),
        lambda: ke.SpectralOptimalTransportLoss(p=1, normalize=False),
    ),
    "lambda": (
        lambda lib: lambda S_x, S_y: jnp.mean(jnp.abs(S_x - S_y) ** 3),
        lambda: lambda S_x, S_y: jnp.mean(jnp.abs(S_x - S_y) ** 3),
    ),
}
SCALES: dict[str, Any] = {
    "none": (lambda lib: lambda S: S, ke.Identity),
    "log": (
        lambda lib: lambda S: jnp.log(2.0 * S + 1e-2),
        lambda: ke.Log(2.0, 1e-2),
    ),
    "dB": (
        lambda lib: functools.partial(lib.power_to_db, top_db=None),
        lambda: ke.PowerToDB(top_db=None),
    ),
    "amplitude": (
        lambda lib: functools.partial(lib.amplitude_to_db, ref=0.5, top_db=None),
        lambda: ke.AmplitudeToDB(0.5, top_db=None),
    ),
}
WEIGHTS: list[Any] = [None, list, tuple, np.asarray, jnp.asarray]


@configurations
def test_time_frequency_loss_equals_korvax(index):
    """Each part is a class or a function, a partial, a lambda, at random."""
    rng = np.random.default_rng(700 + index)
    n_fft = int(rng.integers(24, 150))
    sizes = {"n_fft": n_fft, "hop_length": int(rng.integers(n_fft // 5, n_fft))}
    if index % 3 == 0:
        sizes["win_length"] = n_fft - int(rng.integers(10))
    transform = pick(rng, list(TRANSFORMS))
    n_terms = 3 if index % 10 == 9 else 1 + (index // 3) % 2
    losses = [pick(rng, list(LOSSES)) for _ in range(n_terms)]
    scales = [pick(rng, list(SCALES)) for _ in range(n_terms)]
    if transform == "complex":
        losses = [pick(rng, ["L1", "convergence", "lambda"]) for _ in losses]
        scales = ["none" for _ in scales]
    # Transport takes masses, which decibels and logarithms are not.
    scales = [
        "none" if "transport" in loss else scale
        for loss, scale in zip(losses, scales, strict=True)
    ]
    weights = pick(rng, WEIGHTS)
    if weights is not None:
        numbers = rng.uniform(-1, 2, n_terms).astype(np.float32)
        numbers[index % n_terms] *= index % 4 > 0 or n_terms == 1  # some are 0
        # Made in the dtype of the signals, where it is an array.
        weights = functools.partial(weights, numbers.tolist())
    are_classes = (rng.random(1 + 2 * n_terms) < 0.5).tolist()
    # A single loss and scale may come without a list, or without any scale.
    is_single = n_terms == 1 and bool(index % 2)
    is_bare = set(scales) == {"none"} and bool(index % 2)
    shape = (*lead(index), pick(rng, LENGTHS))
    print(sizes, transform, losses, scales, weights, are_classes, shape)

    def parts(lib: Any) -> tuple[Any, Any, Any, Any]:
        is_class = iter(are_classes if lib is ke else [False] * len(are_classes))
        function, make = TRANSFORMS[transform]
        transform_fn = make(sizes) if next(is_class) else function(lib, sizes)

        def made(names: list[str], table: dict[str, Any]) -> Any:
            pairs = [table[name] for name in names]
            items = [m() if next(is_class) else f(lib) for f, m in pairs]
            return items[0] if is_single else items

        loss_fn, scale_fn = made(losses, LOSSES), made(scales, SCALES)
        return (
            transform_fn,
            loss_fn,
            None if is_bare else scale_fn,
            weights and weights(),
        )

    assert_same(
        lambda x, y: ke.loss.time_frequency_loss(x, y, *parts(ke)),
        lambda x, y: korvax.loss.time_frequency_loss(x, y, *parts(korvax)),
        noise(rng, *shape),
        noise(rng, *shape),
    )


def test_time_frequency_loss_checks_the_number_of_scales_and_weights():
    x = jnp.ones(300)
    for scale_fn, weights in [([ke.Log()] * 3, None), (None, [1.0])]:
        with pytest.raises(ValueError, match=r"`time_frequency_loss\("):
            ke.loss.time_frequency_loss(
                x, x, ke.Spectrogram(64), [ke.ElementwiseLoss()] * 2, scale_fn, weights
            )
