"""Wrong arguments of recipes are refused by the names that recipes have for them."""

import inspect
import re

import pytest

from korvax_eqx import recipes

REFUSED = [
    ("auraloss_stft", {"fft_size": 0}, "fft_size"),
    ("auraloss_stft", {"hop_size": -1}, "hop_size"),
    ("auraloss_stft", {"win_length": 2048}, "win_length"),
    ("auraloss_stft", {"window": "no such window"}, "window"),
    ("auraloss_stft", {"eps": 0.0}, "eps"),
    ("auraloss_stft", {"scale": "chroma"}, "scale"),
    ("auraloss_stft", {"scale": "mel", "n_bins": 20}, "sample_rate"),
    ("auraloss_stft", {"scale": "mel", "sample_rate": 16000}, "n_bins"),
    ("auraloss_stft", {"scale": "mel", "sample_rate": 8000, "n_bins": 0}, "n_bins"),
    ("auraloss_stft", {"scale": "mel", "sample_rate": -1, "n_bins": 9}, "sample_rate"),
    ("auraloss_stft", {"perceptual_weighting": True}, "sample_rate"),
    (
        "auraloss_stft",
        {"perceptual_weighting": True, "sample_rate": 0},
        "sample_rate",
    ),
    ("auraloss_stft", {"perceptual_weighting": 1}, "perceptual_weighting"),
    ("auraloss_stft", {"mag_distance": "L3"}, "mag_distance"),
    ("auraloss_stft", {"log_fac": 0.0}, "log_fac"),
    ("auraloss_stft", {"log_eps": -1.0}, "log_eps"),
    ("auraloss_stft", {"w_sc": "1"}, "w_sc"),
    ("auraloss_stft", {"w_phs": None}, "w_phs"),
    ("auraloss_mrstft", {"fft_sizes": ()}, "fft_sizes"),
    ("auraloss_mrstft", {"hop_sizes": (1, 2)}, "hop_sizes"),
    ("auraloss_mrstft", {"win_lengths": (600, 1200, 0)}, "win_lengths"),
    ("auraloss_mrstft", {"win_lengths": (600, 1200, 513)}, "win_lengths"),
    ("auraloss_mrstft", {"w_log_mag": float("nan")}, "w_log_mag"),
    ("auraloss_mel", {"sample_rate": 0}, "sample_rate"),
    ("auraloss_mel", {"sample_rate": None}, "sample_rate"),
    ("auraloss_mel", {"sample_rate": 44100, "n_mels": 1.5}, "n_mels"),
    ("auraloss_mel", {"sample_rate": 44100, "hop_size": 0}, "hop_size"),
    ("auraloss_sum_difference", {"w_diff": "x"}, "w_diff"),
    ("auraloss_sum_difference", {"fft_sizes": (1024,)}, "hop_sizes"),
    ("auraloss_random", {"resolutions": 17}, "resolutions"),
    ("auraloss_random", {"min_fft_size": 24}, "min_fft_size"),
    ("auraloss_random", {"max_fft_size": 16}, "max_fft_size"),
    ("auraloss_random", {"windows": ()}, "windows"),
    ("auraloss_random", {"min_hop_size": 0}, "min_hop_size"),
    ("auraloss_random", {"n_bank": 0}, "n_bank"),
    ("auraloss_random", {"max_hop_size": 0.05}, "max_hop_size"),
    ("auraloss_random", {"windows": ("no",)}, "windows"),
    ("auraloss_random", {"seed": -1}, "seed"),
    ("auraloss_random", {"scale": "mel", "sample_rate": 16000}, "n_mels"),
    ("parallel_wavegan", {"fft_sizes": 1024}, "fft_sizes"),
    ("parallel_wavegan", {"win_lengths": (600, 1200, 1024)}, "win_lengths"),
    ("parallel_wavegan", {"window": 3 + 1j}, "window"),
    ("denoiser", {"factor_sc": [1.0]}, "factor_sc"),
    ("parallel_wavegan_mel", {"fs": 0}, "fs"),
    ("parallel_wavegan_mel", {"num_mels": 0}, "num_mels"),
    ("parallel_wavegan_mel", {"fft_size": 0}, "fft_size"),
    ("parallel_wavegan_mel", {"fmin": 9000, "fmax": 8000}, "fmin"),
    ("parallel_wavegan_mel", {"log_base": 1.0}, "log_base"),
    ("parallel_wavegan_mel", {"normalized": "window"}, "normalized"),
    ("parallel_wavegan_mel", {"eps": 0}, "eps"),
    ("hifigan_mel", {"sampling_rate": "22k"}, "sampling_rate"),
    ("hifigan_mel", {"sampling_rate": 22050, "win_size": 2048}, "win_size"),
    ("hifigan_mel", {"sampling_rate": 22050, "hop_size": 0}, "hop_size"),
    ("hifigan_mel", {"sampling_rate": 22050, "num_mels": 0}, "num_mels"),
    ("audiocraft_mrstft", {"n_ffts": (512,)}, "hop_lengths"),
    ("audiocraft_mrstft", {"hop_lengths": (120, 240, 0)}, "hop_lengths"),
    ("audiocraft_mrstft", {"epsilon": 0}, "epsilon"),
    ("audiocraft_mrstft", {"normalized": 1}, "normalized"),
    ("encodec_mel", {"sample_rate": 0}, "sample_rate"),
    ("encodec_mel", {"sample_rate": 24000, "range_start": 1}, "range_start"),
    ("encodec_mel", {"sample_rate": 24000, "range_end": 6}, "range_end"),
    ("encodec_mel", {"sample_rate": 24000, "f_min": -1}, "f_min"),
    ("encodec_mel", {"sample_rate": 24000, "f_max": 0}, "f_max"),
    ("encodec_mel", {"sample_rate": 24000, "floor_level": 0}, "floor_level"),
    ("encodec_mel", {"sample_rate": 24000, "alphas": None}, "alphas"),
    ("vocos", {"sample_rate": 0}, "sample_rate"),
    ("vocos", {"n_mels": 0}, "n_mels"),
    ("vocos", {"hop_length": 0.5}, "hop_length"),
    ("bigvgan", {"sampling_rate": -1}, "sampling_rate"),
    ("bigvgan", {"sampling_rate": 44100, "mag_weight": "1"}, "mag_weight"),
    ("bigvgan", {"sampling_rate": 44100, "mel_fmax": (1e3,)}, "mel_fmax"),
    ("bigvgan", {"sampling_rate": 44100, "window_lengths": (3,)}, "window_lengths"),
    ("stable_audio", {"sample_rate": None}, "sample_rate"),
    ("stable_audio", {"sample_rate": 44100, "hop_sizes": (8,)}, "hop_sizes"),
    ("stable_audio", {"sample_rate": 44100, "eps": 0}, "eps"),
    ("stable_audio", {"sample_rate": 44100, "w_diff": "x"}, "w_diff"),
    ("stable_audio", {"sample_rate": 44100, "mag_distance": 1}, "mag_distance"),
    (
        "stable_audio",
        {"sample_rate": 44100, "perceptual_weighting": 1},
        "perceptual_weighting",
    ),
    ("nemo_codec", {"sample_rate": "44100"}, "sample_rate"),
    ("nemo_codec", {"sample_rate": 44100, "loss_resolutions": 3}, "loss_resolutions"),
    (
        "nemo_codec",
        {"sample_rate": 44100, "loss_resolutions": [(64, 16)]},
        "loss_resolutions",
    ),
    (
        "nemo_codec",
        {"sample_rate": 44100, "loss_resolutions": [(64, 40, 64)]},
        "loss_resolutions",
    ),
    ("nemo_codec", {"sample_rate": 44100, "mel_loss_dims": (5,)}, "mel_loss_dims"),
    (
        "nemo_codec",
        {"sample_rate": 44100, "mel_loss_log_guard": 0},
        "mel_loss_log_guard",
    ),
    ("nemo_codec", {"sample_rate": 44100, "stft_loss_scale": ""}, "stft_loss_scale"),
    ("gtcrn", {"n_fft": 0}, "n_fft"),
    ("gtcrn", {"w_sisnr": None}, "w_sisnr"),
    ("deepfilternet", {"n_ffts": (2,)}, "n_ffts"),
    ("deepfilternet", {"gamma": 0}, "gamma"),
    ("deepfilternet", {"factor": "1"}, "factor"),
    ("deepfilternet", {"f_complex": [1.0]}, "f_complex"),
    ("apnet2", {"num_mels": 0}, "num_mels"),
    ("apnet2", {"win_size": 2048}, "win_size"),
    ("freev", {"meloss": 0}, "meloss"),
    ("freev", {"w_phase": "1"}, "w_phase"),
    ("ddsp", {"fft_sizes": (3,)}, "fft_sizes"),
    ("ddsp", {"loss_type": "COSINE"}, "loss_type"),
    ("ddsp", {"mag_weight": "1"}, "mag_weight"),
    ("ddsp", {"loudness_weight": "1"}, "loudness_weight"),
    ("audiotools_stft", {"window_lengths": (2, 512)}, "window_lengths"),
    ("audiotools_stft", {"clamp_eps": 0}, "clamp_eps"),
    ("audiotools_stft", {"pow": 0}, "pow"),
    ("audiotools_stft", {"window_type": "average"}, "window_type"),
    ("audiotools_mel", {"sample_rate": -1}, "sample_rate"),
    ("audiotools_mel", {"sample_rate": 44100, "n_mels": (80,)}, "n_mels"),
    ("audiotools_mel", {"sample_rate": 44100, "n_mels": (80, 0)}, "n_mels"),
    ("audiotools_mel", {"sample_rate": 44100, "mel_fmin": (0.0,)}, "mel_fmin"),
    ("audiotools_mel", {"sample_rate": 44100, "mel_fmax": (0, 1)}, "mel_fmax"),
    ("dac_mel", {"sample_rate": 44100, "mag_weight": "0"}, "mag_weight"),
    ("dac_mel", {"sample_rate": 44100, "window_lengths": (32,)}, "n_mels"),
    ("rave", {"scales": (2,)}, "scales"),
    ("rave", {"log_epsilon": 0}, "log_epsilon"),
    ("rave", {"normalized": 0}, "normalized"),
    ("rave", {"n_bands": 1}, "n_bands"),
    ("rave", {"n_bands": 2**20}, "n_bands"),
    ("rave", {"n_bands": 4, "attenuation": 10}, "attenuation"),
    ("mp_senet", {"n_fft": 0}, "n_fft"),
    ("mp_senet", {"hop_size": 0}, "hop_size"),
    ("mp_senet", {"win_size": 500}, "win_size"),
    ("mp_senet", {"compress_factor": 0}, "compress_factor"),
    ("mb_melgan", {"fft_sizes": (0, 1, 2)}, "fft_sizes"),
    ("mb_melgan", {"subband_fft_sizes": (0, 1, 2)}, "subband_fft_sizes"),
    ("mb_melgan", {"subband_win_lengths": (9,)}, "subband_win_lengths"),
    ("mb_melgan", {"subbands": 0}, "subbands"),
    ("mb_melgan", {"taps": 61}, "taps"),
    ("mb_melgan", {"cutoff_ratio": 1.0}, "cutoff_ratio"),
    ("mb_melgan", {"beta": -1.0}, "beta"),
    ("sound_matching", {"sample_rate": 999.0}, "sample_rate"),
    ("sound_matching", {"sample_rate": 1e7}, "sample_rate"),
    ("asteroid", {"n_filters": (63,), "windows_size": (32,)}, "hops_size"),
    (
        "asteroid",
        {"n_filters": (63,), "windows_size": (32,), "hops_size": (8,)},
        "n_filters",
    ),
    (
        "asteroid",
        {"n_filters": (64,), "windows_size": (65,), "hops_size": (8,)},
        "windows_size",
    ),
    ("asteroid", {"alpha": "1"}, "alpha"),
]


@pytest.mark.parametrize("name, arguments, argument", REFUSED)
def test_wrong_arguments_are_refused_by_their_names(name, arguments, argument):
    with pytest.raises(ValueError) as refusal:
        getattr(recipes, name)(**arguments)
    pattern = rf"`{name}\({argument}=\.\.\.\)` must .+\. Got .+\."
    assert re.match(pattern, str(refusal.value), re.DOTALL), refusal.value


RECIPES = {n: f for n, f in vars(recipes).items() if inspect.isfunction(f)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", RECIPES)
def test_no_value_of_any_argument_fails_in_another_way(name):
    """It is taken, or refused by the name of an argument of the recipe."""
    parameters = inspect.signature(RECIPES[name]).parameters.values()
    named = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    rate = {p.name: 44100 for p in named if p.default is p.empty}
    names, refused = "|".join(p.name for p in named), 0
    for parameter in named:
        for value in (object(), -1.5, "bad", (), [None], 10**20):
            try:
                RECIPES[name](**{**rate, parameter.name: value})
            except ValueError as error:
                pattern = rf"`{name}\(({names})=\.\.\.\)` must .+"
                assert re.match(pattern, str(error), re.DOTALL), (value, str(error))
                refused += 1
    assert refused > len(named)


@pytest.mark.filterwarnings("error")
def test_arguments_of_the_projects_do_not_warn():
    """Empty bands and long hops are theirs; those of the user's own are not hidden."""
    recipes.encodec_mel(24000)
    recipes.dac_mel(44100)
    recipes.audiotools_mel(44100)
    recipes.auraloss_random()
    with pytest.warns(UserWarning, match="`hop_length`"):
        recipes.auraloss_stft(512, 600, 512)
    with pytest.warns(UserWarning, match="`fmax`"):
        recipes.hifigan_mel(16000, num_mels=20, fmax=9000.0)
