"""The variable-Q transform against korvax, librosa and the sum that defines it."""

import contextlib
import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import korvax
import librosa
import numpy as np
import promotion
import pytest

from korvax_eqx._numerics import _vqt
from korvax_eqx._numerics._vqt import vqt_coefficients
from korvax_eqx._tables._cqt_kernels import (
    VQTArguments,
    VQTKernels,
    _vqt_kernels,
    check_vqt,
    vqt_kernels,
)


@contextlib.contextmanager
def precision(dtype: str) -> Iterator[None]:
    with jax.enable_x64(dtype == "float64"), jax.numpy_dtype_promotion("strict"):
        yield


def coefficients(x: Any, kernels: VQTKernels, *args: Any) -> Any:
    real, imag = vqt_coefficients(x, kernels, *args)
    return jax.lax.complex(real, imag)


def close(actual: Any, expected: Any, tolerance: float) -> None:
    """Compare relative to the largest absolute value of `expected`."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.all(np.isfinite(actual))
    largest = np.max(np.abs(expected))
    assert largest > 0
    assert np.max(np.abs(actual - expected)) <= tolerance * largest


# --------------------------------------------------------------- against korvax
# korvax compiles several programs for each length of a kernel and each norm, so these
# repeat (four geometries with few norms), and all else is drawn for each of the cases.
GEOMETRIES: tuple[dict[str, Any], ...] = (
    dict(sr=4000.0, fmin=200.0, n_bins=4, bins_per_octave=6, filter_scale=0.7),
    dict(sr=8000.0, fmin=310.0, n_bins=6, bins_per_octave=4),
    dict(sr=8000.0, fmin=300.0, n_bins=4, bins_per_octave=7, gamma=21.0),
    dict(sr=4000.0, fmin=180.0, fmax=700.0, bins_per_octave=2),
)
NORMS = ((1, 1), (2, math.inf), (1, 0.5), (1, 0))
WINDOWS = ("hann", "hamming", 8.6, ("tukey", 0.3), "blackmanharris", ("gaussian", 30.0))


def korvax_case(seed: int) -> tuple[dict[str, Any], int, bool, str, tuple[int, ...]]:
    rng = np.random.default_rng(seed)
    arguments = dict(
        GEOMETRIES[seed % len(GEOMETRIES)],
        norm_kernels=NORMS[seed % len(NORMS)][rng.integers(2)],
        window=WINDOWS[rng.integers(len(WINDOWS))],
        normalization_type=("librosa", "convolutional", "wrap")[rng.integers(3)],
    )
    hop = int((7, 32, 50, 64, 127, 300, 1000)[rng.integers(7)])
    center = bool(rng.integers(4))
    pad_mode = ("constant", "reflect", "edge", "wrap")[rng.integers(4)]
    lead = ((), (2,), (2, 1))[seed % 3]
    return arguments, hop, center, pad_mode, lead


def korvax_vqt(
    x: Any, arguments: dict[str, Any], hop: int, center: bool, pad_mode: str
) -> Any:
    """Apply korvax, which takes one signal, over the leading axes."""
    fn = functools.partial(
        korvax.vqt,
        power=None,
        hop_length=hop,
        center=center,
        # Its `pad_center` takes a dictionary of that name once more.
        pad_kwargs={"pad_kwargs": {"mode": pad_mode}},
        **arguments,
    )
    with promotion.usual_promotion():
        flat = jax.vmap(fn)(x.reshape(-1, x.shape[-1]))
    return flat.reshape(*x.shape[:-1], *flat.shape[-2:])


def check_against_korvax(seed: int, dtype: str, tolerance: float) -> None:
    arguments, hop, center, pad_mode, lead = korvax_case(seed)
    rng = np.random.default_rng(seed)
    with precision(dtype):
        kernels = vqt_kernels(**arguments)
        n_samples = kernels.frame_length + int(rng.integers(0, 900))
        x = jnp.asarray(rng.standard_normal((*lead, n_samples)), dtype)

        def value(fn: Any, x: Any) -> tuple[Any, Any]:
            C = fn(x)
            # A weight a coefficient: an error in one cannot hide in the sum.
            weights = np.random.default_rng(1).standard_normal(C.shape)
            power = C.real * C.real + C.imag * C.imag
            return jnp.sum(jnp.asarray(weights, dtype) * power), C

        # Hardly optimised: compiling is nearly all of the time.
        compiled = functools.partial(
            jax.jit, compiler_options={"xla_backend_optimization_level": 0}
        )
        results = [
            compiled(jax.value_and_grad(functools.partial(value, fn), has_aux=True))(x)
            for fn in (
                lambda x: coefficients(x, kernels, hop, center, pad_mode),
                lambda x: korvax_vqt(x, arguments, hop, center, pad_mode),
            )
        ]
        ((loss, C), gradient), ((korvax_loss, korvax_C), korvax_gradient) = results
        assert loss.dtype == gradient.dtype == x.dtype
        close(C, korvax_C, tolerance)
        close(gradient, korvax_gradient, tolerance)
        if dtype == "float64":
            close(loss, korvax_loss, tolerance)


@pytest.mark.parametrize("seed", range(50))
def test_korvax_double(seed: int) -> None:
    check_against_korvax(seed, "float64", 1e-9)


@pytest.mark.parametrize("seed", range(51, 75, 4))
def test_korvax_single(seed: int) -> None:
    # Sums of up to 1000 products in float32 on both sides, and korvax also computes
    # its frequencies and phases in float32. Relative to the largest coefficient, as a
    # small one is the difference of large products.
    check_against_korvax(seed, "float32", 1e-5)


def test_korvax_cqt() -> None:
    with precision("float64"):
        x = jnp.asarray(np.random.default_rng(0).standard_normal(2000))
        options: dict[str, Any] = dict(GEOMETRIES[3])
        with promotion.usual_promotion():
            expected = korvax.cqt(x, hop_length=100, **options)
        C = coefficients(x, vqt_kernels(**options), 100)
        close(jnp.abs(C) ** 2, expected, 1e-9)


# ------------------------------------------------ against the sum that defines it
def naive(x: Any, kernels: VQTKernels, hop: int, center: bool, pad_mode: Any) -> Any:
    """Frames of the common length times kernels of the common length."""
    half = kernels.frame_length // 2
    if center:
        ends = [(0, 0)] * (x.ndim - 1) + [(half, half)]
        x = np.pad(x, ends, mode=pad_mode)
    frames = np.lib.stride_tricks.sliding_window_view(x, kernels.frame_length, -1)
    return np.conj(kernels.basis) @ np.swapaxes(frames[..., ::hop, :], -1, -2)


@pytest.mark.parametrize(
    ("hop", "center"),
    [
        *itertools.product((1, 16, 100, 160, 512, 700, 2048, 5000), (True,)),
        *itertools.product((3, 128, 512, 1111), (False,)),
    ],
)
def test_any_hop(hop: int, center: bool) -> None:
    """Hops of a fraction of a block, of one block and of several pieces."""
    kernels = vqt_kernels(4000.0, 40.0, n_bins=30, bins_per_octave=6, filter_scale=2)
    assert kernels.lengths[0] > 3 * 512 and kernels.lengths[-1] < 100
    x = np.random.default_rng(hop).standard_normal((2, kernels.frame_length + 333))
    with precision("float64"):
        C = coefficients(jnp.asarray(x), kernels, hop, center)
        close(C, naive(x, kernels, hop, center, "constant"), 1e-12)


def test_very_long_kernels() -> None:
    """Kernels of more than the most blocks get longer blocks, in tiers of their own."""
    kernels = vqt_kernels(8000.0, 10.0, n_bins=50, bins_per_octave=6, filter_scale=6)
    hop = 400
    tiers = _vqt._tiers(kernels, hop)
    assert len(tiers) > 1 and sum(tier.n_bins for tier in tiers) == 50
    x = np.random.default_rng(0).standard_normal(9000)
    with precision("float64"):
        C = coefficients(jnp.asarray(x), kernels, hop)
        close(C, naive(x, kernels, hop, True, "constant"), 1e-12)


@pytest.mark.parametrize("n_samples", [1, 5, 99, 100, 101])
def test_short_signals(n_samples: int) -> None:
    kernels = vqt_kernels(4000.0, 200.0, n_bins=6)
    x = np.random.default_rng(0).standard_normal(n_samples)
    with precision("float64"):
        C = coefficients(jnp.asarray(x), kernels, 100)
        assert C.shape == (6, 1 + n_samples // 100)
        close(C, naive(x, kernels, 100, True, "constant"), 1e-12)


def test_kernel_of_one_sample() -> None:
    kernels = vqt_kernels(4000.0, 1900.0, n_bins=1, bins_per_octave=1, filter_scale=0.3)
    assert kernels.lengths.tolist() == [1] and kernels.frame_length == 2
    x = np.random.default_rng(0).standard_normal(50)
    with precision("float64"):
        C = coefficients(jnp.asarray(x), kernels, 10)
        close(C, naive(x, kernels, 10, True, "constant"), 1e-12)


# ---------------------------------------------------------------- against librosa
@pytest.mark.parametrize(("gamma", "tolerance"), [(0.0, 6e-3), (12.0, 2.5e-2)])
def test_librosa(gamma: float, tolerance: float) -> None:
    """Magnitudes, away from the ends, relative to the largest.

    librosa's alpha is another one (see the docstring), which `ratio` undoes. What is
    left: windows of fractional length, and the lower of the two octaves at half the
    sample rate, through a resampler. Measured: 0.3 % and 1.6 %; without `ratio`, 2 %.
    """
    sr, hop = 22050, 128
    options: dict[str, Any] = dict(fmin=220.0, n_bins=24, bins_per_octave=12)
    t = np.arange(2 * sr) / sr
    tones = np.array([[233.0], [300.0], [700.0]])
    x = np.sum(np.sin(2 * np.pi * tones * t) / [[1], [2], [3]], axis=0)
    r = 2 ** (1 / 12)
    ratio = (r**2 - 1) / (r**2 + 1) / (r - 1)
    changed: dict[str, Any] = options | dict(gamma=gamma * ratio, filter_scale=ratio)
    expected = librosa.vqt(x, sr=sr, hop_length=hop, sparsity=0.0, **changed)
    kernels = vqt_kernels(float(sr), gamma=gamma, **options)
    with precision("float64"):
        C = coefficients(jnp.asarray(x), kernels, hop)
    close(np.abs(C)[:, 40:-40], np.abs(expected)[:, 40:-40], tolerance)


# --------------------------------------------------------------------- derivatives
@pytest.fixture(scope="module")
def small() -> VQTKernels:
    return vqt_kernels(4000.0, 300.0, n_bins=8, bins_per_octave=4)


def test_second_order(small: VQTKernels) -> None:
    with precision("float64"):
        rng = np.random.default_rng(0)
        x, v = jnp.asarray(rng.standard_normal((2, 150)))

        def loss(x: Any) -> Any:
            real, imag = vqt_coefficients(x, small, 40)
            return jnp.sum(jnp.sqrt(real * real + imag * imag + 0.1))

        gradient = jax.grad(loss)
        forward_over_reverse = jax.jvp(gradient, (x,), (v,))[1]
        reverse_over_reverse = jax.grad(lambda x: jnp.vdot(gradient(x), v))(x)
        step = 1e-5
        difference = (gradient(x + step * v) - gradient(x - step * v)) / (2 * step)
        close(forward_over_reverse, difference, 1e-7)
        close(reverse_over_reverse, forward_over_reverse, 1e-12)
        close(jax.hessian(loss)(x) @ v, forward_over_reverse, 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_jvp_is_the_transform_and_vjp_its_adjoint(
    dtype: str, small: VQTKernels
) -> None:
    tolerance = {"float32": 1e-6, "float64": 1e-13}[dtype]
    with precision(dtype):
        rng = np.random.default_rng(0)
        x, v = jnp.asarray(rng.standard_normal((2, 3, 400)), dtype)
        fn = functools.partial(vqt_coefficients, kernels=small, hop_length=33)
        y, pullback = jax.vjp(fn, x)
        tangent = jax.jvp(fn, (x,), (v,))[1]
        for actual, expected in zip(tangent, fn(v), strict=True):
            close(actual, expected, tolerance)
        cotangent = tuple(
            jnp.asarray(rng.standard_normal(part.shape), dtype) for part in y
        )
        products = [a * b for a, b in zip(cotangent, fn(v), strict=True)]
        inner = sum(jnp.sum(product) for product in products)
        scale = sum(jnp.sum(jnp.abs(product)) for product in products)
        difference = jnp.sum(pullback(cotangent)[0] * v) - inner
        assert abs(float(difference)) <= 10 * tolerance * float(scale)


def test_silence(small: VQTKernels) -> None:
    def loss(x: Any) -> Any:
        real, imag = vqt_coefficients(x, small, 40)
        return jnp.sum(real * real + imag * imag)

    value, gradient = jax.value_and_grad(loss)(jnp.zeros((2, 300)))
    assert value == 0 and not np.any(np.asarray(gradient))


# ------------------------------------------------------------------ transformations
@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_batching_is_a_loop(pad_mode: str, small: VQTKernels) -> None:
    with precision("float64"):
        x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 3, 500)))

        def fn(x: Any) -> Any:
            return coefficients(x, small, 64, True, pad_mode)

        together = fn(x)
        close(jax.vmap(jax.vmap(fn))(x), together, 1e-13)
        close(jax.vmap(fn, in_axes=1, out_axes=1)(x), together, 1e-13)
        for i, j in itertools.product(range(2), range(3)):
            close(fn(x[i, j]), together[i, j], 1e-13)


def test_compiled_once_for_equal_tables(small: VQTKernels) -> None:
    n_traces = 0

    @functools.partial(jax.jit, static_argnums=1)
    def fn(x: Any, kernels: VQTKernels) -> Any:
        nonlocal n_traces
        n_traces += 1
        return coefficients(x, kernels, 64)

    x = jnp.asarray(np.random.default_rng(0).standard_normal(500), jnp.float32)
    again = vqt_kernels(4000, 300, n_bins=8, bins_per_octave=4)
    for kernels in (small, again):
        close(fn(x, kernels), coefficients(x, small, 64), 1e-6)
    assert n_traces == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_single(dtype: str, small: VQTKernels) -> None:
    x = jnp.asarray(np.random.default_rng(0).standard_normal(500), dtype)
    with precision("float32"):
        real, imag = vqt_coefficients(x, small, 64)
        expected = vqt_coefficients(x.astype(jnp.float32), small, 64)
        assert real.dtype == imag.dtype == jnp.float32
        close(real, expected[0], 0.0)
        gradient = jax.grad(lambda x: jnp.sum(vqt_coefficients(x, small, 64)[0]))(x)
        assert gradient.dtype == x.dtype


# --------------------------------------------------------------------------- tables
def test_tables_are_shared_and_read_only() -> None:
    kernels = vqt_kernels(4000.0, 200.0, n_bins=6, window=("tukey", 0.5))
    assert vqt_kernels(4000, 200, n_bins=6, window=("tukey", 0.5)) is kernels
    assert vqt_kernels(4000, 200, n_bins=7, window=("tukey", 0.5)) is not kernels
    for name in ("frequencies", "lengths", "starts", "basis"):
        assert not getattr(kernels, name).flags.writeable
    assert not any(kernel.flags.writeable for kernel in kernels.kernels)
    assert kernels.lengths.dtype == kernels.starts.dtype == np.int64


def test_fewer_multiplications_than_one_common_length() -> None:
    """The default transform multiplies less than a quarter of what korvax does."""
    kernels = vqt_kernels(22050.0)
    for hop in (256, 441, 512, 1024):
        tiers = _vqt._tiers(kernels, hop)
        blocks = sum(p.weights.size for tier in tiers for p in tier.pieces)
        assert blocks < 2 * kernels.basis.size / 4.5


DEFAULTS = VQTArguments(
    4000.0, 200.0, None, 6, 0.0, 12, 1.0, 1, "hann", "librosa"
)._asdict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(n_bins=90), "n_bins=...)` must keep all bins at or below the Nyquist"),
        (dict(fmax=3000.0), "Use an `fmax` of at most 2000.0 Hz"),
        (dict(fmin=2500.0), "Use an `fmin` of at most 2000.0 Hz"),
        (dict(fmax=100.0), "fmax=...)` must be above fmin = 200.0 Hz"),
        (dict(n_bins=None), "Say how many bins, or give `fmax`"),
        (dict(n_bins=0), "n_bins=...)` must be a positive integer. Got 0"),
        (dict(sr=0), "sr=...)` must be positive. Got 0"),
        (dict(gamma=-30.0), "gamma=...)` must leave every kernel"),
        (dict(norm_kernels=-1), "norm_kernels=...)` must be a positive order"),
        (dict(normalization_type="none"), "must be one of 'librosa'"),
        (dict(window="no_such"), "window=...)` must be a window"),
        (dict(window=["hann"]), "window=...)` must be a window"),
        (dict(filter_scale=math.nan), "filter_scale=...)` must be a finite real"),
    ],
)
def test_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as info:
        # Not through `vqt_kernels`, whose types the tests' hook checks first.
        checked = check_vqt("VQT", **{**DEFAULTS, **arguments})
        _vqt_kernels(checked, "VQT")
    assert message in str(info.value)


def test_the_most_bins_named_are_accepted() -> None:
    with pytest.raises(ValueError, match="Use at most n_bins=40,"):
        vqt_kernels(4000.0, 200.0, n_bins=41)
    assert vqt_kernels(4000.0, 200.0, n_bins=40).frequencies[-1] <= 2000
    # A bin at the Nyquist frequency itself is not above it.
    assert vqt_kernels(4000.0, 250.0, n_bins=37).frequencies[-1] == 2000


def test_too_short_without_padding(small: VQTKernels) -> None:
    x = jnp.zeros(small.frame_length - 1)
    with pytest.raises(ValueError, match=f"at least {small.frame_length} samples"):
        vqt_coefficients(x, small, 64, center=False)
    real, _ = vqt_coefficients(jnp.zeros(small.frame_length), small, 64, False)
    assert real.shape == (8, 1)
