"""PMSQE against NumPy in float64, and against asteroid."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from intelligibility_numpy import pmsqe
from oracle import relative_error
from packages import assert_agrees, package

import korvax_eqx as ke
from korvax_eqx import recipes
from korvax_eqx._tables._bark import bark_bands

RATES = pytest.mark.parametrize("sr", [16000, 8000])


@functools.cache
def speech_like(sr, seed=0, snr_db=10.0, seconds=0.8):
    """A modulated noise of low frequencies as the target, and the same in noise."""
    rng = np.random.default_rng(seed)
    n = int(seconds * sr)
    envelope = np.clip(np.sin(14 * np.arange(n) / sr + seed), 0, None) ** 2
    y = envelope * np.convolve(rng.standard_normal(n), [1, 0.9, 0.5, 0.2], "same")
    noise = np.std(y) * 10 ** (-snr_db / 20)
    return 0.3 * (y + noise * rng.standard_normal(n)), y


@pytest.mark.parametrize(
    "options", [{}, {"bark_eq": False}, {"gain_eq": False}], ids=str
)
@RATES
def test_equals_numpy(sr, options):
    x, y = speech_like(sr)
    expected = pmsqe(x, y, sr, **options)
    loss = recipes.pmsqe(sr, **options)
    with jax.enable_x64(True):
        assert relative_error(loss(jnp.asarray(x), jnp.asarray(y)), expected) <= 1e-10
    single = loss(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    assert relative_error(single, expected) <= 1e-6


def of_asteroid(sr):
    """Its loss, with its tables in float64; asteroid itself imports other packages."""
    spec = importlib.util.find_spec("asteroid")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("asteroid is not installed")
    path = f"{spec.submodule_search_locations[0]}/losses/pmsqe.py"
    module_spec = importlib.util.spec_from_file_location("pmsqe_of_asteroid", path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    loss = module.SingleSrcPMSQE(sample_rate=sr).double()
    table = bark_bands(sr)
    tables = {
        "abs_thresh_power": table.thresholds,
        "width_of_band_bark": table.widths,
        "modified_zwicker_power": table.exponents,
        "bark_matrix": table.matrix / loss.Sp,
        "mask_sll": table.level * (loss.nbins + 2) / loss.nbins**2 * 2,
    }
    for name, exact in tables.items():
        parameter = getattr(loss, name)
        np.testing.assert_allclose(parameter.numpy(), exact, rtol=1e-6)
        parameter.data = parameter.new_tensor(exact)
    loss.sqrt_total_width = loss.width_of_band_bark.sum().sqrt()
    return loss


@RATES
def test_equals_asteroid(sr):
    """Value and gradient; the tables to single precision, which it keeps them in."""
    torch = package("torch")
    loss, n = of_asteroid(sr), sr * 32 // 1000
    window = torch.sqrt(torch.hann_window(n, dtype=torch.float64))

    def theirs(x, y):
        spectra = (torch.fft.rfft(s.unfold(-1, n, n // 2) * window) for s in (x, y))
        return loss(*(X.real**2 + X.imag**2 for X in spectra)).mean()

    pairs = [speech_like(sr, seed) for seed in (1, 2)]
    x, y = (np.array(signals) for signals in zip(*pairs, strict=True))
    assert_agrees(recipes.pmsqe(sr), theirs, x, y, 1e-9, 1e-6, gradient=1e-8)


def test_tables_are_those_of_torch_pesq():
    package("torch")
    spec = importlib.util.find_spec("torch_pesq")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("torch-pesq is not installed")
    lines = []
    for name in ("bark", "loudness"):
        with open(f"{spec.submodule_search_locations[0]}/{name}.py") as file:
            lines.append(file.read())
    tables: dict[str, list[float]] = {}
    for text in lines:
        for part in text.split("# fmt: off")[1].split("# fmt: on")[0].split("\n\n"):
            exec(part, tables)
    table = bark_bands(16000)
    n_bins = tables["nr_of_hz_bands_per_bark_band_16k"]
    assert np.count_nonzero(table.matrix, axis=0).tolist() == n_bins
    factors = tables["pow_dens_correction_factor_16k"]
    np.testing.assert_allclose(table.matrix.max(0), 6.910853e-6 * np.array(factors))
    np.testing.assert_array_equal(table.thresholds, tables["abs_thresh_power_16k"])
    np.testing.assert_array_equal(table.widths, tables["width_of_band_bark_16k"])
    centres = np.array(tables["centre_of_band_bark_16k"])
    steep = np.clip(6 / (centres + 2), 1, 2) ** 0.15
    np.testing.assert_allclose(table.exponents, 0.23 * steep, rtol=1e-15)


@RATES
def test_tables_fit_together(sr):
    """Bands follow one another; a band's centre lies in its middle; 8 kHz is half."""
    table = bark_bands(sr)
    bands = [np.flatnonzero(column) for column in table.matrix.T]
    n_bins = np.concatenate(bands)
    assert n_bins.tolist() == list(range(len(n_bins))) and len(n_bins) <= sr // 62
    middles = np.cumsum(table.widths) - table.widths / 2
    steep = 0.23 * np.clip(6 / (middles + 2), 1, 2) ** 0.15
    np.testing.assert_allclose(table.exponents, steep, rtol=1e-6)
    # A band has the power of its width in Hz, at about 100 Hz a Bark, or more.
    power = table.matrix.sum(0) / table.matrix[0, 0] * table.widths * 100
    assert np.all(np.diff(power[8:]) > 0) and table.level.sum() == 92.9


def test_more_noise_is_worse():
    loss = recipes.pmsqe()
    pairs = [speech_like(16000, 4, snr) for snr in (np.inf, 30, 20, 10, 0)]
    x, y = (jnp.asarray(np.array(s), jnp.float32) for s in zip(*pairs, strict=True))
    values = np.asarray(jax.vmap(loss)(x, y))
    assert values[0] < 1e-3 and np.all(np.diff(values) > 0.05)


def test_levels_make_no_difference_and_silence_is_finite():
    x, y = (jnp.asarray(s, jnp.float32) for s in speech_like(16000))
    both = jax.jit(jax.value_and_grad(recipes.pmsqe()))
    value, _ = both(x, y)
    for gain_x, gain_y in ((1e-10, 1e-3), (1e10, 30.0)):
        np.testing.assert_allclose(both(gain_x * x, gain_y * y)[0], value, rtol=1e-4)
    silent = jnp.zeros_like(x)
    for pair in ((silent, y), (x, silent)):
        own, gradient = both(*pair)
        assert own > 0.3 and np.all(np.isfinite(gradient))
    assert both(silent, silent)[0] < 1e-3
    assert ke.PMSQELoss()(*jnp.zeros((2, 257, 5))) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ke.PMSQELoss(44100), r"`PMSQELoss\(sr=...\)` must be one of 16000, "),
        (lambda: recipes.pmsqe(48000), r"`pmsqe\(sample_rate=...\)` must be one of "),
        (lambda: ke.PMSQELoss(window="hat"), r"`PMSQELoss\(window=...\)` must be a w"),
        (lambda: ke.PMSQELoss(window=None), r"`PMSQELoss\(window=...\)` must be a wi"),
        (lambda: ke.PMSQELoss(bark_eq=1), r"`PMSQELoss\(bark_eq=...\)` must be True"),
        (lambda: ke.PMSQELoss(gain_eq=1), r"`PMSQELoss\(gain_eq=...\)` must be True"),
        (lambda: ke.PMSQELoss(eps=-1), r"`PMSQELoss\(eps=...\)` must be non-negative"),
        (
            lambda: ke.PMSQELoss(8000)(*jnp.ones((2, 257, 4))),
            r"`PMSQELoss\(sr=8000\)`: spectra must have 129 bins.* Got 257",
        ),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
