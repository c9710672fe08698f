"""Recipes against the packages that they reproduce, where these are installed.

In double precision the packages' windows and tables are made in double precision too;
what is left is their rounding. Gradients in single precision are those of logarithms of
bins that nearly cancel, for which neither side is right: the measure is the package's
own error.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import torch

from korvax_eqx import AWeightingFilter, recipes

N_SAMPLES, SAMPLE_RATE = 3001, 22050
SIZES = {"fft_sizes": [512, 171], "hop_sizes": [120, 50], "win_lengths": [500, 120]}


def auraloss(name, *arguments, **keywords):
    freq = pytest.importorskip("auraloss.freq")

    def make(dtype):
        loss = getattr(freq, name)(*arguments, **keywords)
        for part in loss.modules():
            if isinstance(part, freq.STFTLoss):
                part.window = part.window.to(dtype)
                if dtype == torch.float64:
                    make_double(part)
        return loss

    def make_double(part):
        window = keywords.get("window", "hann_window")
        part.window = getattr(torch, window)(part.win_length, dtype=torch.float64)
        if part.scale == "mel":
            import librosa

            mel = librosa.filters.mel(
                sr=part.sample_rate,
                n_fft=part.fft_size,
                n_mels=part.n_bins,
                dtype=np.float64,
            )
            part.fb = torch.tensor(mel)[None]
        if part.perceptual_weighting:
            taps = np.array(AWeightingFilter(SAMPLE_RATE).taps)
            part.prefilter.fir.weight.data = torch.tensor(taps)[None, None]

    return make


def asteroid(sizes, alpha):
    """The transform is the package's; the loss, in asteroid itself, is two norms."""
    bank = pytest.importorskip("asteroid_filterbanks")
    transforms = pytest.importorskip("asteroid_filterbanks.transforms")

    def make(dtype):
        encoders = [bank.Encoder(bank.STFTFB(*size)).to(dtype) for size in sizes]

        def loss(x, y):
            total = 0.0
            for encoder in encoders:
                M_x, M_y = (transforms.mag(encoder(s)) for s in (x, y))
                logs = torch.log(M_x + 1e-8) - torch.log(M_y + 1e-8)
                total += (M_x - M_y).abs().sum() + alpha * logs.abs().sum()
            return total / len(x)

        return loss

    return make


MEL = {"w_lin_mag": 0.5, "mag_distance": "L2", "window": "kaiser_window"}
WEIGHTED = {"perceptual_weighting": True, "sample_rate": SAMPLE_RATE}
CASES = {
    "auraloss_stft": (
        lambda: auraloss("STFTLoss"),
        lambda: recipes.auraloss_stft(),
    ),
    "auraloss_stft-all": (
        lambda: auraloss("STFTLoss", scale="mel", n_bins=64, **MEL, **WEIGHTED),
        lambda: recipes.auraloss_stft(scale="mel", n_bins=64, **MEL, **WEIGHTED),
    ),
    "auraloss_mrstft": (
        lambda: auraloss("MultiResolutionSTFTLoss", **SIZES, w_lin_mag=0.3),
        lambda: recipes.auraloss_mrstft(**SIZES, w_lin_mag=0.3),
    ),
    "auraloss_mel": (
        lambda: auraloss("MelSTFTLoss", SAMPLE_RATE, n_mels=64),
        lambda: recipes.auraloss_mel(SAMPLE_RATE, n_mels=64),
    ),
    "auraloss_sum_difference": (
        lambda: auraloss("SumAndDifferenceSTFTLoss", **SIZES, w_diff=0.5),
        lambda: recipes.auraloss_sum_difference(**SIZES, w_diff=0.5),
    ),
    "asteroid": (
        lambda: asteroid([(512, 512, 256), (64, 48, 16)], 0.3),
        lambda: recipes.asteroid((512, 64), (512, 48), (256, 16), alpha=0.3),
    ),
}


def signals(n_channels, batch=3):
    rng = np.random.default_rng(0)
    t = np.arange(N_SAMPLES) / SAMPLE_RATE
    level = np.array([0.3, 0.1, 0.03])[:batch, None, None]
    tones = [np.sin(2 * np.pi * f * t) * np.exp(-5 * t) for f in (440, 452)]
    shape = (batch, n_channels, N_SAMPLES)
    pair = [level * tone + 0.05 * rng.standard_normal(shape) for tone in tones]
    return [s.astype(np.float32) for s in pair]


def original_outcome(make, x, y, dtype):
    x, y = (torch.tensor(s, dtype=dtype, requires_grad=True) for s in (x, y))
    value = make(dtype)(x, y)
    value.backward()
    return float(value.detach()), [s.grad.double().numpy() for s in (x, y)]


def our_outcome(loss, x, y, dtype):
    both = jax.value_and_grad(loss, argnums=(0, 1))
    options = {"xla_backend_optimization_level": 0}
    value, gradients = jax.jit(both, compiler_options=options)(
        jnp.asarray(x, dtype), jnp.asarray(y, dtype)
    )
    return float(value), [np.asarray(g, np.float64) for g in gradients]


def error(a, b):
    return float(np.max(np.abs(a - b)) / np.max(np.abs(b)))


@pytest.mark.filterwarnings("ignore:.*torch:DeprecationWarning")
@pytest.mark.parametrize("name", CASES)
def test_recipe_equals_the_original(name):
    make_original, make_ours = CASES[name]
    original, loss = make_original(), make_ours()
    x, y = signals(2 if "sum_difference" in name else 1)
    value, gradients = original_outcome(original, x, y, torch.float64)
    # asteroid's filters are made in single precision.
    double, single = (1e-6, 1e-6) if name == "asteroid" else (1e-9, 1e-6)
    with jax.enable_x64(True):
        ours, our_gradients = our_outcome(loss, x, y, jnp.float64)
    assert abs(ours / value - 1) < double
    if name != "asteroid":
        for a, b in zip(our_gradients, gradients, strict=True):
            assert error(a, b) < double
    ours, our_gradients32 = our_outcome(loss, x, y, jnp.float32)
    assert abs(ours / value - 1) < single
    _, gradients32 = original_outcome(original, x, y, torch.float32)
    for a, b, exact in zip(our_gradients32, gradients32, our_gradients, strict=True):
        assert error(a, exact) < max(1e-6, 10 * error(b, exact))
