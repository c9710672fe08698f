"""Recipes against the formulas of their originals, written out in NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recipes_numpy as originals

import korvax_eqx as ke
from korvax_eqx import recipes

N_SAMPLES = 3001
SUB_BANDS = ((384, 683, 171), (30, 60, 10), (150, 300, 60))
SHORT = {"fft_sizes": (256, 171), "hop_sizes": (64, 10), "win_lengths": (200, 60)}
ROWS = tuple(zip(*SHORT.values(), strict=True))
ALL_OF_DDSP = {
    "mag_weight": 1.0,
    "delta_time_weight": 0.9,
    "delta_freq_weight": 0.8,
    "cumsum_freq_weight": 0.01,
    "logmag_weight": 0.7,
    "loudness_weight": 0.05,
}
DAC_MELS = (5, 10, 20, 40, 80, 160, 320)
DAC_WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)


def a_weighted(function, **arguments):
    """The formula for signals that are A-weighted before."""
    taps = ke.AWeightingFilter(8000).taps

    def filtered(signals):
        return np.stack([np.convolve(s, taps, "same") for s in signals])

    return lambda x, y: function(filtered(x), filtered(y), **arguments)


def summed(x, y):
    """Two channels, in the first axis but one."""
    total, difference = (
        originals.auraloss(*(s[:, 0] + sign * s[:, 1] for s in (x, y)))
        for sign in (1, -1)
    )
    return (total + 0.5 * difference) / 2


CASES = {
    "auraloss_stft": (
        lambda: recipes.auraloss_stft(),
        lambda x, y: originals.auraloss(x, y, [(1024, 256, 1024)]),
    ),
    "auraloss_stft-phase": (
        lambda: recipes.auraloss_stft(w_sc=0, w_log_mag=0.0, w_phs=0.3),
        lambda x, y: originals.auraloss(x, y, [(1024, 256, 1024)], (0, 0, 0, 0.3)),
    ),
    "auraloss_mrstft": (lambda: recipes.auraloss_mrstft(), originals.auraloss),
    "auraloss_mrstft-all": (
        lambda: recipes.auraloss_mrstft(
            **SHORT,
            window="kaiser_window",
            w_sc=0.4,
            w_log_mag=0.3,
            w_lin_mag=0.2,
            w_phs=0.1,
            eps=1e-4,
            mag_distance="L2",
            log_fac=10.0,
            log_eps=0.5,
            perceptual_weighting=True,
            sample_rate=8000,
            scale="mel",
            n_bins=40,
        ),
        a_weighted(
            originals.auraloss,
            sizes=ROWS,
            weights=(0.4, 0.3, 0.2, 0.1),
            window=("kaiser", 12.0),
            mel=(8000, 40),
            eps=1e-4,
            distance=originals.l2,
            log_fac=10.0,
            log_eps=0.5,
        ),
    ),
    "auraloss_mel": (
        lambda: recipes.auraloss_mel(22050, n_mels=64, hop_size=200),
        lambda x, y: originals.auraloss(x, y, [(1024, 200, 1024)], mel=(22050, 64)),
    ),
    "auraloss_sum_difference": (
        lambda: recipes.auraloss_sum_difference(w_diff=0.5),
        summed,
    ),
    "parallel_wavegan": (
        lambda: recipes.parallel_wavegan(),
        originals.parallel_wavegan,
    ),
    "parallel_wavegan-sub-bands": (
        lambda: recipes.parallel_wavegan(*SUB_BANDS),
        lambda x, y: originals.parallel_wavegan(
            x, y, list(zip(*SUB_BANDS, strict=True))
        ),
    ),
    "denoiser": (
        lambda: recipes.denoiser(factor_sc=0.5),
        lambda x, y: originals.parallel_wavegan(x, y, factors=(0.5, 0.1)),
    ),
    "parallel_wavegan_mel": (
        lambda: recipes.parallel_wavegan_mel(),
        originals.parallel_wavegan_mel,
    ),
    "hifigan_mel": (lambda: recipes.hifigan_mel(22050), originals.hifigan_mel),
    "audiocraft_mrstft": (
        lambda: recipes.audiocraft_mrstft(),
        originals.audiocraft_mrstft,
    ),
    "audiocraft_mrstft-normalized": (
        lambda: recipes.audiocraft_mrstft(
            factor_sc=0.5, factor_mag=0.5, normalized=True
        ),
        lambda x, y: originals.audiocraft_mrstft(x, y, (0.5, 0.5), True),
    ),
    "encodec_mel": (lambda: recipes.encodec_mel(24000), originals.encodec_mel),
    "encodec_mel-configured": (
        lambda: recipes.encodec_mel(24000, f_min=64, normalized=True, alphas=False),
        lambda x, y: originals.encodec_mel(x, y, 24000, 64, True, False),
    ),
    "ddsp": (lambda: recipes.ddsp(), lambda x, y: originals.ddsp(x, y, mag_weight=1)),
    "ddsp-all": (
        lambda: recipes.ddsp((512, 300), **ALL_OF_DDSP),
        lambda x, y: originals.ddsp(x, y, (512, 300), **ALL_OF_DDSP),
    ),
    "ddsp-L2": (
        lambda: recipes.ddsp((512, 64), loss_type="L2", loudness_weight=0.1),
        lambda x, y: originals.ddsp(
            x, y, (512, 64), originals.l2, mag_weight=1, loudness_weight=0.1
        ),
    ),
    "audiotools_stft": (lambda: recipes.audiotools_stft(), originals.audiotools),
    "audiotools_mel": (
        lambda: recipes.audiotools_mel(44100),
        lambda x, y: originals.audiotools(x, y, mels=(150, 80)),
    ),
    "dac_mel": (
        lambda: recipes.dac_mel(44100),
        lambda x, y: originals.audiotools(x, y, DAC_WINDOWS, DAC_MELS, 0.0, 1.0),
    ),
    "rave": (lambda: recipes.rave(), originals.rave),
    "rave-discrete": (
        lambda: recipes.rave((512, 128), log_epsilon=1.0),
        lambda x, y: originals.rave(x, y, (512, 128), 1.0),
    ),
    "rave-bands": (
        lambda: recipes.rave((256, 64), n_bands=16),
        lambda x, y: originals.rave_objective(x, y, (256, 64)),
    ),
    "rave-bands-attenuation": (
        lambda: recipes.rave((512, 128), n_bands=4, attenuation=80),
        lambda x, y: originals.rave_objective(x, y, (512, 128), 4, 80),
    ),
    "mb_melgan": (lambda: recipes.mb_melgan(), originals.mb_melgan),
    "mb_melgan-others": (
        lambda: recipes.mb_melgan(
            *SHORT.values(),
            subband_fft_sizes=(171, 64),
            subband_hop_sizes=(10, 20),
            subband_win_lengths=(60, 64),
            subbands=3,
            taps=40,
            cutoff_ratio=0.2,
            beta=7.0,
        ),
        lambda x, y: originals.mb_melgan(
            x,
            y,
            ROWS,
            ((171, 10, 60), (64, 20, 64)),
            3,
            taps=40,
            cutoff_ratio=0.2,
            beta=7.0,
        ),
    ),
    "mp_senet": (lambda: recipes.mp_senet(), originals.mp_senet),
    "mp_senet-other": (
        lambda: recipes.mp_senet(256, 64, 200, 0.5),
        lambda x, y: originals.mp_senet(x, y, (256, 64, 200), 0.5),
    ),
    "sound_matching": (
        lambda: recipes.sound_matching(8000),
        lambda x, y: originals.sound_matching(x, y, 8000),
    ),
    "asteroid": (lambda: recipes.asteroid(), originals.asteroid),
    "asteroid-short-windows": (
        lambda: recipes.asteroid((64, 512), (48, 300), (16, 75), alpha=0.3),
        lambda x, y: originals.asteroid(x, y, [(64, 48, 16), (512, 300, 75)], 0.3),
    ),
}
# These add an epsilon to the norm of the batch, ours to the root of the mean over it.
BATCH_OF_ONE = {"audiocraft_mrstft", "audiocraft_mrstft-normalized"}


def signals(batch, n_channels, seed=0):
    """Decaying tones, and noise of another level in each example."""
    rng = np.random.default_rng(seed)
    t = np.arange(N_SAMPLES) / 22050
    shape = (batch, N_SAMPLES) if n_channels == 1 else (batch, n_channels, N_SAMPLES)
    level = 0.3 / (1 + np.arange(batch).reshape(-1, *(1,) * (len(shape) - 1)))
    tones = [np.sin(2 * np.pi * f * t) * np.exp(-5 * t) for f in (440, 452)]
    return [level * tone + 0.05 * rng.standard_normal(shape) for tone in tones]


# Reflected about its beginning a signal has real spectra: those that are negative have
# the phase pi or -pi, as rounding has it. Silence has none.
WITH_PHASES = {"auraloss_stft-phase", "auraloss_mrstft-all"}


def pair(name, batch):
    x, y = signals(batch, 2 if "sum_difference" in name else 1)
    if name in WITH_PHASES:
        x[..., :700], y[..., :700] = 0, 0
    return x, y


def compiled(make):
    """Value and gradients; optimising would take most of the time of a test."""
    both = jax.value_and_grad(make(), argnums=(0, 1))
    return jax.jit(both, compiler_options={"xla_backend_optimization_level": 0})


@pytest.mark.parametrize("name", CASES)
def test_recipe_equals_its_formula(name):
    """Values of a batch; its gradients along one direction."""
    make, formula = CASES[name]
    with jax.enable_x64(True):
        x, y = pair(name, 1 if name in BATCH_OF_ONE else 2)
        value, gradients = compiled(make)(jnp.asarray(x), jnp.asarray(y))
        np.testing.assert_allclose(value, formula(x, y), rtol=1e-10)
        rng = np.random.default_rng(1)
        v, w = (np.where(s == 0, 0, 0.1 * rng.standard_normal(s.shape)) for s in (x, y))
        slope = np.sum(gradients[0] * v) + np.sum(gradients[1] * w)

        def along(h):
            ahead, behind = formula(x + h * v, y + h * w), formula(x - h * v, y - h * w)
            return (ahead - behind) / (2 * h)

        # Richardson: the error of a central difference is of second order. Within the
        # steps some of the distances have a kink. The measure is the slope of a random
        # direction, as that of this one may happen to be small.
        estimate = (4 * along(1e-7) - along(2e-7)) / 3
        size = np.hypot(*map(np.linalg.norm, gradients)) * 0.1
        np.testing.assert_allclose(slope, estimate, rtol=0, atol=1e-5 * size)


@pytest.mark.parametrize("name", sorted(BATCH_OF_ONE))
def test_epsilon_of_audiocraft_for_a_batch(name):
    """It is, for B signals, multiplied by the root of B."""
    normalized = "normalized" in name
    factors = (0.5, 0.5) if normalized else (0.1, 0.1)
    with jax.enable_x64(True):
        loss = CASES[name][0]()
        x, y = pair(name, 4)
        for scale in (1.0, 1e-9):
            logs = originals.audiocraft_mrstft(
                scale * x, scale * y, (0.0, factors[1]), normalized
            )
            ratio = originals.audiocraft_mrstft(
                scale * x,
                scale * y,
                (factors[0], 0.0),
                normalized,
                2 * originals.EPS32,
            )
            value = loss(jnp.asarray(scale * x), jnp.asarray(scale * y))
            np.testing.assert_allclose(value, logs + ratio, rtol=1e-10)


def _cancelled():
    """A sine on which a bin of every FFT cancels exactly, and another tone."""
    t = np.arange(N_SAMPLES)
    return np.sin(2 * np.pi * t / 32), np.sin(2 * np.pi * t / 31)


EDGES = {
    "silence": lambda: (np.zeros(N_SAMPLES), np.zeros(N_SAMPLES)),
    "silent target": lambda: (signals(1, 1)[0][0], np.zeros(N_SAMPLES)),
    "silent estimate": lambda: (np.zeros(N_SAMPLES), signals(1, 1)[0][0]),
    "equal": lambda: (signals(1, 1)[0][0],) * 2,
    "cancelled bins": _cancelled,
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", CASES)
def test_values_in_each_precision_and_at_the_edges(name, dtype):
    """As the formula has them, and finite with finite gradients where it has none."""
    make_loss, formula = CASES[name]
    with jax.enable_x64(dtype == jnp.float64):
        both = compiled(make_loss)
        x, y = (s.astype(dtype) for s in pair(name, 1))
        value, gradients = both(jnp.asarray(x), jnp.asarray(y))
        assert {value.dtype, *(g.dtype for g in gradients)} == {np.dtype(dtype)}
        expected = formula(x.astype(np.float64), y.astype(np.float64))
        rtol = 1e-6 if dtype == jnp.float32 else 1e-10
        np.testing.assert_allclose(value, expected, rtol=rtol)
        for edge, make in EDGES.items():
            x, y = (jnp.asarray(s[None], dtype) for s in make())
            if "sum_difference" in name:  # so that the difference is silence
                x, y = jnp.stack([x, x], -2), jnp.stack([y, y], -2)
            value, gradients = both(x, y)
            assert np.isfinite(value), edge
            assert all(np.all(np.isfinite(g)) for g in gradients), edge
            if edge in ("silence", "equal"):
                assert value == 0 and not np.any(gradients[0]), edge


def test_random_resolutions_are_drawn_by_the_rules():
    loss = recipes.auraloss_random(2, 32, 512, 0.2, 0.5, n_bank=40, seed=3)
    assert loss == recipes.auraloss_random(2, 32, 512, 0.2, 0.5, n_bank=40, seed=3)
    assert loss != recipes.auraloss_random(2, 32, 512, 0.2, 0.5, n_bank=40, seed=4)
    transforms = [part.transform_fn for part in loss.losses.values()]
    assert len(transforms) == 40 and loss.n_draws == 2
    assert {t.n_fft for t in transforms} == {32, 64, 128, 256}
    assert {t.n_fft // t.win_length for t in transforms} == {1, 2, 4}
    assert {t.window for t in transforms} == {
        "hann",
        "bartlett",
        "blackman",
        "hamming",
        ("kaiser", 12.0),
    }
    fractions = [t.hop_length / t.n_fft for t in transforms]
    assert 0.15 < min(fractions) < 0.3 and 0.4 < max(fractions) <= 0.5


def test_random_resolutions_are_means_of_the_drawn():
    """A draw has the value of the mean of the losses drawn, different ones."""
    loss = recipes.auraloss_random(2, 32, 256, n_bank=5)
    with jax.enable_x64(True):
        x, y = (jnp.asarray(s) for s in signals(2, 1))
        each = np.asarray([part(x, y) for part in loss.losses.values()])
        pairs = {(i, j) for i in range(5) for j in range(5) if i < j}
        means = np.asarray([(each[i] + each[j]) / 2 for i, j in pairs])
        drawn = []
        for seed in range(12):
            value, terms = loss.with_terms(x, y, key=jax.random.key(seed))
            np.testing.assert_allclose(sum(terms.values()), value, rtol=1e-12)
            distances = np.abs(means / value - 1)
            assert np.min(distances) < 1e-12
            drawn.append(int(np.argmin(distances)))
        assert len(set(drawn)) > 3


def test_a_batch_has_one_convergence():
    """Its value is another than the mean over its examples, whose own it has alone."""
    x, y = (jnp.asarray(s, jnp.float32) for s in signals(3, 1))
    for loss in (
        recipes.auraloss_mrstft(w_log_mag=0.0),
        recipes.rave((512,)),
    ):
        each = jax.vmap(loss)(x, y)
        np.testing.assert_allclose(each[1], loss(x[1], y[1]), rtol=1e-5)
        assert abs(loss(x, y) / jnp.mean(each) - 1) > 1e-3


def test_weights_may_be_learned():
    weight = jnp.asarray(0.5)
    loss = recipes.auraloss_mrstft(**SHORT, w_sc=weight, w_lin_mag=0.2)
    assert len(jax.tree.leaves(loss)) == 1
    same = recipes.auraloss_mrstft(**SHORT, w_sc=0.5, w_lin_mag=0.2)
    x, y = (jnp.asarray(s, jnp.float32) for s in signals(2, 1))
    np.testing.assert_allclose(loss(x, y), same(x, y), rtol=1e-6)


def test_mrstft_is_the_recommended_setting_at_every_full_scale():
    """Signals and constant scaled together: only the linear terms grow."""
    assert recipes.mrstft() == ke.MRSTFTLoss(log_eps=1e-2)
    x, y = 0.1 * jax.random.normal(jax.random.key(0), (2, 2, N_SAMPLES))
    terms = recipes.mrstft().with_terms(x, y)[1]
    loud = recipes.mrstft(full_scale=2**15).with_terms(2**15 * x, 2**15 * y)[1]
    assert terms.keys() == loud.keys() and len(terms) == 12
    for name, value in terms.items():
        factor = 2**15 if name.endswith("/lin") else 1
        np.testing.assert_allclose(loud[name], factor * value, rtol=1e-5)
