"""Recipes of codecs, vocoders and enhancement: formulas, originals, edges."""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recipes_numpy_speech as originals
from packages import SINGLE, assert_agrees, package
from test_recipes_formulas import EDGES, compiled, signals

import korvax_eqx as ke
from korvax_eqx import recipes

SMALL = ((64, 16, 48), (256, 100, 256))
STEREO = {"fft_sizes": (256, 64), "hop_sizes": (64, 10), "win_lengths": (256, 48)}
TAPS = ke.AWeightingFilter(44100).taps
CASES = {
    "vocos": (lambda: recipes.vocos(), originals.vocos),
    "vocos-small": (
        lambda: recipes.vocos(8000, 256, 100, 30),
        lambda x, y: originals.vocos(x, y, 8000, 256, 100, 30),
    ),
    "bigvgan": (
        lambda: recipes.bigvgan(44100),
        lambda x, y: originals.bigvgan(
            x, y, 44100, [n for n, *_ in originals.CODEC_SIZES], originals.CODEC_MELS
        ),
    ),
    "bigvgan-weights": (
        lambda: recipes.bigvgan(
            22050, (20, 10), (512, 256), mag_weight=0.5, log_weight=0.25
        ),
        lambda x, y: originals.bigvgan(x, y, 22050, (512, 256), (20, 10), 0.75),
    ),
    "stable_audio": (
        lambda: recipes.stable_audio(44100),
        lambda x, y: originals.stable_audio(x, y, TAPS),
    ),
    "stable_audio-plain": (
        lambda: recipes.stable_audio(
            44100,
            **STEREO,
            w_sum=0.5,
            w_diff=2.0,
            w_lin_mag=0.3,
            perceptual_weighting=False,
        ),
        lambda x, y: originals.stable_audio(
            x, y, [1.0], list(zip(*STEREO.values(), strict=True)), (0.5, 2.0), 0.3
        ),
    ),
    "nemo_codec": (
        lambda: recipes.nemo_codec(44100),
        lambda x, y: originals.nemo_codec(x, y, 44100),
    ),
    "nemo_codec-all": (
        lambda: recipes.nemo_codec(
            16000,
            SMALL,
            (10, 40),
            mel_loss_l1_scale=1.0,
            mel_loss_l2_scale=2.0,
            stft_loss_scale=0.5,
            time_domain_loss_scale=0.1,
            mel_loss_log_guard=1e-5,
            stft_loss_log_guard=0.1,
        ),
        lambda x, y: originals.nemo_codec(
            x, y, 16000, SMALL, (10, 40), (1.0, 2.0, 0.5, 0.1), (1e-5, 0.1)
        ),
    ),
    "gtcrn": (lambda: recipes.gtcrn(), originals.gtcrn),
    "deepfilternet": (lambda: recipes.deepfilternet(), originals.deepfilternet),
    "deepfilternet-plain": (
        lambda: recipes.deepfilternet((512, 300), 1, 1.0, None),
        lambda x, y: originals.deepfilternet(x, y, (512, 300), 1, 1.0, (0.0, 0.0)),
    ),
    "deepfilternet-factors": (
        lambda: recipes.deepfilternet((512, 256), 0.6, 2.0, [0.5, 3.0]),
        lambda x, y: originals.deepfilternet(x, y, (512, 256), 0.6, 2.0, (0.5, 3.0)),
    ),
    "apnet2": (lambda: recipes.apnet2(), originals.apnet2),
    "freev": (lambda: recipes.freev(), originals.freev),
    "freev-bands": (
        lambda: recipes.freev(16000, meloss=7000.0, w_amplitude=1.0, w_mel=2.0),
        lambda x, y: originals.apnet2(
            x, y, 16000, 0.0, (1.0, 100.0, 20.0, 2.0), 7000.0
        ),
    ),
}


def pair(name, batch):
    return signals(batch, 2 if name.startswith("stable_audio") else 1)


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_recipe_equals_its_formula(name):
    """Values of a batch in both precisions; gradients along one direction.

    And finite where the formula has no gradient, or none that is finite.
    """
    make, formula = CASES[name]
    x, y = pair(name, 2)
    both = compiled(make)
    with jax.enable_x64(True):
        value, gradients = both(jnp.asarray(x), jnp.asarray(y))
        np.testing.assert_allclose(value, formula(x, y), rtol=1e-10)
    gradients = [np.asarray(g) for g in gradients]
    rng = np.random.default_rng(1)
    v, w = (0.1 * rng.standard_normal(s.shape) for s in (x, y))
    slope = np.sum(gradients[0] * v) + np.sum(gradients[1] * w)

    def along(h):
        ahead, behind = formula(x + h * v, y + h * w), formula(x - h * v, y - h * w)
        return (ahead - behind) / (2 * h)

    estimate = (4 * along(1e-7) - along(2e-7)) / 3
    size = np.hypot(*map(np.linalg.norm, gradients)) * 0.1
    np.testing.assert_allclose(slope, estimate, rtol=0, atol=1e-5 * size)
    x, y = (s.astype(np.float32) for s in (x, y))
    value, gradients = both(jnp.asarray(x), jnp.asarray(y))
    assert {value.dtype, *(g.dtype for g in gradients)} == {np.dtype(np.float32)}
    expected = formula(x.astype(np.float64), y.astype(np.float64))
    np.testing.assert_allclose(value, expected, rtol=2e-6)
    for edge, make in EDGES.items():
        x, y = (jnp.asarray(np.stack([s, s]), jnp.float32) for s in make())
        if name.startswith("stable_audio"):  # so that the difference is silence
            x, y = jnp.stack([x, x], -2), jnp.stack([y, y], -2)
        value, gradients = both(x, y)
        assert np.isfinite(value), edge
        assert all(np.all(np.isfinite(g)) for g in gradients), edge
        if edge in ("silence", "equal") and name != "gtcrn":
            assert value == 0 and not np.any(gradients[0]), edge


def test_stable_audio_is_auraloss_put_together():
    """Of one example, with x and y exchanged: one ratio is that of the batch, then."""
    x, y = (jnp.asarray(s, jnp.float32) for s in signals(1, 2))
    sizes = [list(column) for column in zip(*originals.STEREO_SIZES, strict=True)]
    weighted = {"perceptual_weighting": True, "sample_rate": 44100}
    both = recipes.auraloss_sum_difference(*sizes, **weighted)
    each = recipes.auraloss_mrstft(*sizes, **weighted)
    channels = [each(y[:, i], x[:, i]) for i in range(2)]
    together = both(y, x) + sum(channels) / 2
    np.testing.assert_allclose(recipes.stable_audio(44100)(x, y), together, rtol=1e-6)


def test_stable_audio_is_auraloss():
    """As the project puts it together, in float32 on both sides."""
    freq, torch = package("auraloss.freq"), package("torch")
    sizes = [list(column) for column in zip(*originals.STEREO_SIZES, strict=True)]
    weighted = {"perceptual_weighting": True, "sample_rate": 44100}
    both = freq.SumAndDifferenceSTFTLoss(*sizes, **weighted)
    each = freq.MultiResolutionSTFTLoss(*sizes, **weighted)
    x, y = (s.astype(np.float32) for s in signals(1, 2))
    a, b = torch.tensor(y), torch.tensor(x)  # the target first
    channels = [each(a[:, i : i + 1], b[:, i : i + 1]) for i in range(2)]
    theirs = float(both(a, b) + sum(channels) / 2)
    ours = float(recipes.stable_audio(44100)(jnp.asarray(x), jnp.asarray(y)))
    np.testing.assert_allclose(ours, theirs, rtol=SINGLE)


def stand_in(name, **members):
    """Put a module of nothing in the place of one that an original only imports."""
    module = types.ModuleType(name)
    module.__getattr__ = lambda member: type(member, (), {})
    vars(module).update(members)
    sys.modules.setdefault(name, module)
    return module


def test_equals_vocos():
    torch = package("torch")
    for name in ("huggingface_hub", "encodec"):
        try:
            __import__(name)
        except ImportError:
            stand_in(name)
    vocos = package("vocos.loss")

    def theirs(x, y):
        loss = vocos.MelSpecReconstructionLoss(24000, 512, 128, 40).to(x.dtype)
        if x.dtype == torch.float64:  # made in single precision there
            window = torch.hann_window(512, dtype=torch.float64)
            loss.mel_spec.spectrogram.window = window
            matrix = originals.htk(24000, 512, 40, 0.0, None)
            loss.mel_spec.mel_scale.fb = torch.tensor(matrix.T)
        return loss(x, y)

    assert_agrees(recipes.vocos(24000, 512, 128, 40), theirs, *signals(2, 1))


@pytest.mark.parametrize(
    "options", [(0.3, 500, 500), (1, 2.0, None), (0.6, 1.0, [0.5, 3.0])], ids=str
)
def test_equals_deepfilternet(options):
    torch = package("torch")
    df = package("df.loss") if "df" in sys.modules else None
    if df is None:
        spec = pytest.importorskip("importlib.util").find_spec("df")
        if spec is None:
            pytest.skip("DeepFilterNet is not installed")
        # Its own `__init__` needs a part of torchaudio that no version has any more.
        stand_in("df", __path__=list(spec.submodule_search_locations))
        for name in ("libdf", "df.io"):
            stand_in(name)
        df = package("df.loss")

    def theirs(x, y):
        loss = df.MultiResSpecLoss([512, 256], *options)
        for stft in loss.stfts.values():
            stft.w = torch.hann_window(stft.n_fft, dtype=x.dtype)
        return loss(x, y)

    ours = recipes.deepfilternet((512, 256), *options)
    assert_agrees(ours, theirs, *signals(2, 1), double=1e-9, gradient=1e-8)
