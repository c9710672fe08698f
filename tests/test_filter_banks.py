"""Sub-bands against their formula, resampling against SciPy, and other maps that
change the length or the number of signals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recipes_numpy as originals
import scipy.signal
from oracle import assert_close

import korvax_eqx as ke
from korvax_eqx._numerics._filter_bank import filter_bank

RNG = np.random.default_rng(0)
BANKS = [(4, 62, 0.142, 9.0), (16, 376, 0.034, 10.0), (3, 30, 0.2, 5.0), (1, 6, 0.9, 0)]


@pytest.mark.parametrize(
    ("n", "step", "left", "n_periods"),
    [(700, 1, 3, 700), (700, 7, 11, 100), (20, 3, 40, 7), (500, 5, -9, 90)],
)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 200)])
def test_periodic_filters_are_their_formula(n, step, left, n_periods, shape):
    x, taps = RNG.standard_normal((2, n)), RNG.standard_normal(shape)
    z = np.pad(x, [(0, 0), (1000, 1000)])
    expected = np.zeros((2, n_periods, shape[0]))
    for t in range(n_periods):
        start = 1000 + t * step - left
        expected[:, t] = z[:, start : start + shape[1]] @ taps.T
    with jax.enable_x64(True):
        found = filter_bank(jnp.asarray(x), taps, step, left, n_periods)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("n_samples", [1600, 1003])
@pytest.mark.parametrize("bank", BANKS, ids=str)
def test_bands_and_their_synthesis_are_the_formulas(bank, n_samples):
    n_bands, taps, cutoff, beta = bank
    prototype = {"taps": taps, "cutoff_ratio": cutoff, "beta": beta}
    x = RNG.standard_normal((2, n_samples))
    with jax.enable_x64(True):
        pqmf = ke.PQMF(*bank)
        bands = pqmf(jnp.asarray(x))
        assert bands.shape == (2, n_bands, n_samples // n_bands)
        expected = originals.pqmf(x, n_bands, **prototype)
        np.testing.assert_allclose(bands, expected, atol=1e-14)
        back = originals.pqmf_synthesis(expected, **prototype)
        np.testing.assert_allclose(pqmf.inverse(bands), back, atol=1e-14)
        cut, longer = pqmf.inverse(bands, 900), pqmf.inverse(bands, n_samples + 9)
    np.testing.assert_allclose(cut, back[:, :900], atol=1e-14)
    assert longer.shape == (2, n_samples + 9) and not np.any(longer[:, back.shape[1] :])


@pytest.mark.parametrize(("delay", "least"), [(0, 63.0), (1, 63.0), (31, 63.0)])
def test_bands_make_the_signal(delay, least):
    """The reconstruction that the docstring states, in dB, in the middle of noise."""
    x = np.random.default_rng(0).standard_normal(20000)
    pqmf = ke.PQMF(delay=delay)
    with jax.enable_x64(True):
        errors = (np.asarray(pqmf.inverse(pqmf(jnp.asarray(x)))) - x)[100:-100]
    assert least < -20 * np.log10(np.std(errors)) < least + 1.5


def test_delayed_bands_are_those_of_a_delayed_signal():
    x = RNG.standard_normal(1000)
    with jax.enable_x64(True):
        late = ke.PQMF(delay=3)(jnp.asarray(x))
        expected = ke.PQMF()(jnp.asarray(np.r_[0.0, 0.0, 0.0, x]))
    np.testing.assert_allclose(late, expected[:, :250], atol=1e-14)


def test_raves_bands():
    loss = ke.recipes.rave((64,), n_bands=16)
    bank = loss.losses["multiband"].map_fn
    x = RNG.standard_normal((2, 3200))
    expected = originals.rave_bands(x)
    expected[..., 1::2, ::2] *= -1  # which the loss does not see
    with jax.enable_x64(True):
        found = bank(jnp.asarray(x))
    np.testing.assert_allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n_bands": 0}, r"`PQMF\(n_bands=...\)` must be a positive integer"),
        ({"n_taps": 61}, r"`PQMF\(n_taps=...\)` must be even. Got 61. Use 62."),
        ({"n_taps": 2**22}, r"`PQMF\(n_taps=...\)` must be small enough"),
        ({"cutoff": 1.0}, r"`PQMF\(cutoff=...\)` must be between 0 and 1"),
        ({"beta": -1}, r"`PQMF\(beta=...\)` must be non-negative"),
        (
            {"beta": 900.0},
            r"`PQMF\(beta=...\)` must give a table of finite numbers. G",
        ),
        ({"delay": 32}, r"`PQMF\(delay=...\)` must be at most n_taps // 2 = 31"),
        ({"delay": -1}, r"`PQMF\(delay=...\)` must be a non-negative integer"),
        ({"delay": True}, r"`PQMF\(delay=...\)` must be a non-negative integer"),
    ],
)
def test_arguments_that_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        ke.PQMF(**arguments)


def test_signals_and_bands_that_are_refused():
    with pytest.raises(ValueError, match="too short for 4 bands: 4 samples are needed"):
        ke.PQMF()(jnp.zeros(3))
    with pytest.raises(ValueError, match=r"`bands` must have the shape .* 4 bands"):
        ke.PQMF().inverse(jnp.zeros((2, 3, 90)))
    with pytest.raises(ValueError, match=r"`PQMF.inverse\(length=...\)` must be a pos"):
        ke.PQMF().inverse(jnp.zeros((4, 90)), 0)


def test_bands_of_a_few_samples():
    pqmf = ke.PQMF()
    for n in (1, 3):
        bands = jnp.asarray(RNG.standard_normal((4, n)), jnp.float32)
        longer = pqmf.inverse(jnp.pad(bands, ((0, 0), (0, 20))), 4 * n)
        np.testing.assert_allclose(pqmf.inverse(bands), longer, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"with 4 bands. Got \(90, 4\)"):
        pqmf.inverse(jnp.zeros((90, 4)))


@pytest.mark.parametrize(
    ("sr", "sr_out"),
    [(44100, 16000), (16000, 44100), (48000, 16000), (8000, 16000), (1, 3), (7, 5)],
)
def test_resampling_is_scipys(sr, sr_out):
    x = RNG.standard_normal((2, 3, 1001))
    with jax.enable_x64(True):
        found = ke.Resample(sr, sr_out)(jnp.asarray(x))
        expected = scipy.signal.resample_poly(x, sr_out, sr, axis=-1)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        most = max(sr, sr_out) // np.gcd(sr, sr_out)
        window = ("kaiser", 9.0)
        taps = scipy.signal.firwin(2 * 4 * most + 1, 1 / most, window=window)
        expected = scipy.signal.resample_poly(x, sr_out, sr, axis=-1, window=taps)
        found = ke.Resample(sr, sr_out, n_zeros=4, beta=9.0)(jnp.asarray(x))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_resampled_signals_that_are_padded():
    """Each is resampled as if it were alone, and its length is rounded up."""
    inner = ke.TimeFrequencyLoss(ke.Spectrogram(32, 8), ke.ElementwiseLoss())
    loss = ke.MappedLoss(ke.Resample(8000, 3000), inner)
    lengths = np.array([300, 211, 0, 100])
    with jax.enable_x64(True):
        x, y = (jnp.asarray(RNG.standard_normal((4, 300))) for _ in "xy")
        value, slope = jax.value_and_grad(loss)(x, y, lengths=lengths)
        alone = []
        for i in (0, 1, 3):
            a, b = (
                scipy.signal.resample_poly(s[i, : lengths[i]], 3000, 8000)
                for s in (x, y)
            )
            alone.append(inner(jnp.asarray(a), jnp.asarray(b)))
        np.testing.assert_allclose(value, np.mean(alone), rtol=1e-12)
        beyond = np.arange(300) >= lengths[:, None]
        assert not np.any(np.asarray(slope)[beyond])


def test_whole_rates_may_be_floats():
    assert ke.Resample(44100.0, np.float32(16000)) == ke.Resample(44100, 16000)
    assert ke.STOILoss(16000.0) == ke.STOILoss(16000)


def test_one_rate_changes_nothing():
    x = jnp.asarray(RNG.standard_normal(50), jnp.float32)
    np.testing.assert_array_equal(ke.Resample(8000, 8000)(x), x)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"sr": 0}, r"`Resample\(sr=...\)` must be a positive integer"),
        ({"sr_out": 0.5}, r"`Resample\(sr_out=...\)` must be a positive integer"),
        ({"n_zeros": -1}, r"`Resample\(n_zeros=...\)` must be a positive integer"),
        ({"beta": -0.5}, r"`Resample\(beta=...\)` must be non-negative"),
        ({"sr_out": 16000.5}, r"`Resample\(sr_out=...\)` must be a positive integer"),
        (
            {"beta": 800.0},
            r"`Resample\(beta=...\)` must give a table of finite numbers.",
        ),
        (
            {"sr_out": 44101},
            r"`Resample\(sr=...\)` must make, with the other rate, a table of at most "
            "16777216 values. Got 44100. From 44100 to 44101 Hz, 44101/44100 in lowest",
        ),
    ],
)
def test_rates_that_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        ke.Resample(**{"sr": 44100, "sr_out": 16000, **arguments})


# ------------------------------------------------ maps that change what signals are


class Halved(ke.AbstractSignalMap):
    """Every other sample, and the negated signal as a second one."""

    declares: bool = True

    def samples_left(self, n_samples):
        return n_samples // 2 if self.declares else n_samples

    def apply(self, data):
        x = jnp.stack([data.x, -data.x], axis=-2)
        x = x[..., : 2 * (x.shape[-1] // 2) : 2]
        n = data.n_samples
        if n is not None:
            n = jnp.broadcast_to((n // 2)[..., None], x.shape[:-1])
        return ke.Signals(x, n)


SMALL = {
    "wave": ke.WaveformLoss("L2"),
    "stft": ke.TimeFrequencyLoss(ke.Spectrogram(64, 20), ke.ElementwiseLoss()),
    "ratio": ke.SISDRLoss(),
}


def halved(x):
    x = x[..., : 2 * (x.shape[-1] // 2) : 2]
    return jnp.stack([x, -x], axis=-2)


@pytest.mark.long
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_a_map_of_a_users_changes_length_and_number(lead):
    """In a sum with losses of the signals themselves, and of mixed channels."""
    x, y = (jnp.asarray(RNG.standard_normal((*lead, 401)), jnp.float32) for _ in "xy")
    inner = ke.SumLoss(SMALL)
    parts = {"mapped": ke.MappedLoss(Halved(), inner), "plain": inner}
    if len(lead) == 2:
        parts["mixed"] = ke.MappedLoss(ke.ChannelMix(np.eye(3)[::-1]), inner)
        twice = ke.MappedLoss(ke.ChannelMix(np.eye(3)), ke.MappedLoss(Halved(), inner))
        parts["twice"] = twice
    loss = ke.SumLoss(parts)
    expected = inner(halved(x), halved(y)) * (2 if len(lead) == 2 else 1)
    expected += inner(x, y) * (2 if len(lead) == 2 else 1)
    value, gradient = jax.value_and_grad(loss)(x, y)
    assert_close(value, expected, 1e-5)
    assert_close(loss.bind(y)(x), value, 1e-5)

    def by_hand(x):
        total = inner(halved(x), halved(y)) + inner(x, y)
        return total * (2 if len(lead) == 2 else 1)

    assert_close(gradient, jax.grad(by_hand)(x), 1e-5)
    if lead == (3,):
        lengths = np.array([401, 0, 302])
        n = [401, 302]
        cut = [loss(x[i, :k], y[i, :k]) for i, k in zip((0, 2), n, strict=True)]
        assert_close(loss(x, y, lengths=lengths), sum(cut) / 2, 1e-5)
        bound = loss.bind(y, lengths=lengths)
        assert_close(bound(x), sum(cut) / 2, 1e-5)
        assert_close(jnp.mean(jax.vmap(loss)(x, y)), value, 1e-5)


def test_signals_that_a_map_leaves_nothing_of_do_not_count():
    loss = ke.MappedLoss(Halved(), ke.WaveformLoss())
    x, y = jnp.ones((2, 100)), jnp.zeros((2, 100))
    assert loss(x, y.at[1].set(5.0), lengths=np.array([100, 1])) == 1.0


def test_a_map_that_does_not_say_how_long_signals_are_is_refused():
    with pytest.raises(ValueError, match="its `samples_left` says, 100 for 100. Got"):
        ke.MappedLoss(Halved(False), ke.WaveformLoss())(*jnp.ones((2, 2, 100)))


def test_a_function_changes_length_and_number():
    x, y = (jnp.asarray(RNG.standard_normal((3, 400)), jnp.float32) for _ in "xy")
    loss = ke.MappedLoss(halved, ke.SumLoss(SMALL))
    assert_close(loss(x, y), ke.SumLoss(SMALL)(halved(x), halved(y)), 1e-5)
    with pytest.raises(ValueError, match="must return `Signals` with the leading axes"):
        ke.MappedLoss(lambda x: jnp.mean(x, -1), ke.WaveformLoss())(x, y)
