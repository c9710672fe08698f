"""Objects added to `saving_kept` after version 0.1.0: more classes, and recipes.

The file of a recipe holds the loss that the recipe returned when the file was written.
If a recipe changes, its entry must make the old loss from its parts.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

import korvax_eqx as ke
from korvax_eqx import recipes

SR = 8000
FRAMES: dict[str, Any] = {"n_fft": 64, "hop_length": 20}
SMALL: dict[str, Any] = {
    "fft_sizes": (64, 128),
    "hop_sizes": (16, 40),
    "win_lengths": (48, 128),
}
N_FFTS: dict[str, Any] = {
    "n_ffts": (64, 128),
    "hop_lengths": (16, 40),
    "win_lengths": (48, 128),
}


def weights(n: int) -> Any:
    return jnp.asarray(np.arange(1, n + 1, dtype=np.float32) / n)


def small(loss: Any, **options: Any) -> ke.TimeFrequencyLoss:
    return ke.TimeFrequencyLoss(ke.Spectrogram(**FRAMES), loss, **options)


def parts() -> dict[str, ke.AbstractLoss]:
    return {"time": ke.WaveformLoss(), "spectra": small(ke.ElementwiseLoss("L2"))}


PARTS: dict[str, tuple[Callable[[], Any], float]] = {
    "FIRFilter": (lambda: ke.FIRFilter([0.5, -0.25, 0.125]), 0.2342831),
    "FIRFilter-learnable": (lambda: ke.FIRFilter(weights(5)), 1.771909),
    "PreEmphasis": (lambda: ke.PreEmphasis(0.9), 0.2267923),
    "AWeightingFilter": (lambda: ke.AWeightingFilter(SR, 51), 0.3816961),
    "KWeightingFilter": (lambda: ke.KWeightingFilter(48000), 0.9650634),
    "MidSide": (lambda: ke.MidSide(), 0.7461506),
    "PQMF": (lambda: ke.PQMF(4), 0.2048219),
    "Resample": (lambda: ke.Resample(SR, 3000, n_zeros=6, beta=4.0), 0.6425977),
    "ChannelMix": (lambda: ke.ChannelMix([[0.5, 0.25]]), 0.479528),
    "ChannelMix-learnable": (
        lambda: ke.ChannelMix(weights(4).reshape(2, 2)),
        0.7991412,
    ),
    "GradientBalancer": (
        lambda: ke.GradientBalancer({"a": 1.0, "b": 0.5}, 2.0, 0.9, per_item=False),
        0.02801557,
    ),
    "GradientScale": (lambda: ke.GradientScale(0.5), 0.6443587),
    "Chroma": (lambda: ke.Chroma(SR, 512, hop_length=100), 0.1766922),
    "Spectrogram-framing": (
        lambda: ke.Spectrogram(
            64,
            16,
            power=1.0,
            pad_mode="reflect",
            padding="same",
            extra_padding=True,
            normalized="window",
            floor=1e-7,
            floor_mode="add",
        ),
        0.2784072,
    ),
    "Log-base": (lambda: ke.Log(2.0, 1e-5, base=10.0, floor_mode="replace"), 1.366582),
    # Written when `floor_mode="clip"` was called `floor="clamp"`.
    "Log-clamp": (lambda: ke.Log(2.0, 3.0, base=10.0, floor_mode="clip"), 0.6797966),
    "Power-clamp": (lambda: ke.Power(0.5, 0.75, floor_mode="clip"), 1.862791),
    "Power": (lambda: ke.Power(0.3), 0.8272136),
    "Power-learnable": (lambda: ke.Power(jnp.array(0.5), 1e-3), 1.354429),
    "OneSidedPower": (lambda: ke.OneSidedPower(0.5), 12.05426),
    "Difference": (lambda: ke.Difference("frequency"), 15.64466),
    "CumulativeSum": (lambda: ke.CumulativeSum("time", reverse=True), 615.695),
    "MeanOverBins": (lambda: ke.MeanOverBins(), 12.05752),
    "MeanOverBins-learnable": (lambda: ke.MeanOverBins(weights(33)), 1.673642),
    "SpectralCentroid": (lambda: ke.SpectralCentroid(sr=SR, n_fft=64), 447.1733),
    "SpectralCentroid-learnable": (lambda: ke.SpectralCentroid(weights(33)), 0.1387087),
    "SpectralRolloff": (lambda: ke.SpectralRolloff(sr=SR, n_fft=64), 452.1465),
    "SpectralRolloff-learnable": (
        lambda: ke.SpectralRolloff(weights(33), 0.5),
        0.1117913,
    ),
    "SpectralFlatness": (lambda: ke.SpectralFlatness(1e-6), 0.007895456),
    "RealImaginary": (lambda: ke.RealImaginary(), 0.7322482),
    "Magnitude": (lambda: ke.Magnitude(0.5, 1e-3, "add"), 0.7927597),
    "PowerCompression": (lambda: ke.PowerCompression(0.5, 1e-3, "add"), 0.7806054),
    "ElementwiseLoss-under": (
        lambda: ke.ElementwiseLoss("L2", factor_under=2.0, factor_over=0.5),
        11.14751,
    ),
    "SpectralConvergenceLoss-estimate": (
        lambda: ke.SpectralConvergenceLoss(1e-6, reference="estimate"),
        0.05116972,
    ),
    "PhaseLoss-first": (
        lambda: ke.PhaseLoss(quantity="group_delay", prepend=True),
        0.04575052,
    ),
    "ConsistencyLoss": (
        lambda: ke.ConsistencyLoss(ke.STFT(64, 20), scale_fn=ke.Magnitude(0.3)),
        0.03894528,
    ),
    "PredictionLoss": (
        lambda: ke.PredictionLoss(
            ke.TimeFrequencyLoss(ke.STFT(64, 20), ke.ElementwiseLoss()),
            consistency=0.1,
            consistency_scale=ke.Magnitude(0.3),
        ),
        2.560907,
    ),
    "MixtureInvariantLoss": (
        lambda: ke.MixtureInvariantLoss(ke.SNRLoss(max_db=30.0)),
        -15.0706692,
    ),
    "ElementwiseLoss-sum": (
        lambda: ke.ElementwiseLoss("L1", reduction="sum"),
        2504.705,
    ),
    "NormLoss": (lambda: ke.NormLoss(over="frame", reduction="mean"), 2.352901),
    "RelativeLoss": (lambda: ke.RelativeLoss("L1", 1e-3), 0.05903109),
    "BatchRelativeLoss": (lambda: ke.BatchRelativeLoss(eps=0.0), 0.002600764),
    "BatchSpectralConvergenceLoss": (
        lambda: ke.BatchSpectralConvergenceLoss(),
        0.05099768,
    ),
    "SpectralOptimalTransportLoss-floor": (
        lambda: ke.SpectralOptimalTransportLoss(
            reference="target", floor=1e-7, balanced=False, quantile_lowpass=True
        ),
        0.01935517,
    ),
    "CumulativeEnergyLoss": (
        lambda: ke.CumulativeEnergyLoss(("up", "left_down"), 1e-6),
        0.01928303,
    ),
    "PhaseLoss": (
        lambda: ke.PhaseLoss("L2", wrap=False, weighting="magnitude"),
        0.02916236,
    ),
    "GOMPSNRLoss": (lambda: ke.GOMPSNRLoss("cosine", 1e-6), -19.2827),
    "SpectralL1SNRLoss": (lambda: ke.SpectralL1SNRLoss(), -12.28385),
    "SpectralLevelLoss": (lambda: ke.SpectralLevelLoss(lmin=-50.0), 0.003097193),
    "PMSQELoss": (
        lambda: ke.PMSQELoss(8000, ("tukey", 0.5), bark_eq=False, eps=1e-8),
        0.0232514888,
    ),
    "STOILoss": (lambda: ke.STOILoss(2000, True, n_frames=9), -0.99242502),
    "WaveformLoss": (lambda: ke.WaveformLoss("L2"), 0.005834951),
    "ESRLoss": (lambda: ke.ESRLoss(), 0.01056249),
    "DCLoss": (lambda: ke.DCLoss(1e-6), 4.498596e-07),
    "LogCoshLoss": (lambda: ke.LogCoshLoss(2.0), 0.005793035),
    "SNRLoss": (lambda: ke.SNRLoss(), -19.76305),
    "SISDRLoss": (lambda: ke.SISDRLoss(zero_mean=False), -19.91637),
    "SDSDRLoss": (lambda: ke.SDSDRLoss(), -19.48366),
    "L1SNRLoss": (lambda: ke.L1SNRLoss(level=True), -9.849045),
    "LevelLoss": (lambda: ke.LevelLoss(lmin=-50.0), 0.02458622),
    "SNRLoss-limited": (
        lambda: ke.SNRLoss(max_db=30.0, mixture="sum", silent_max_db=20.0),
        -19.3700943,
    ),
    "SISDRLoss-limited": (
        lambda: ke.SISDRLoss(max_db=30.0, mixture="last"),
        -19.5707664,
    ),
    "SDSDRLoss-limited": (lambda: ke.SDSDRLoss(max_db=30.0), -19.1141682),
    "LoudnessRatioLoss": (
        lambda: ke.LoudnessRatioLoss(4000, 2, temperature=2.0, eps=1e-6),
        -9.55121613,
    ),
    "WSDRLoss": (lambda: ke.WSDRLoss("sum", eps=1e-6), -0.994824052),
    "EnergyDecayLoss": (
        lambda: ke.EnergyDecayLoss("L1", relative=True, range_db=30.0, amin=1e-9),
        0.00907804631,
    ),
    "LogWMSELoss-p": (lambda: ke.LogWMSELoss([0.5, -1.0, 0.5], p=0.5), -8.95881653),
    "LogWMSELoss": (
        lambda: ke.LogWMSELoss([0.5, -1.0, 0.5], "sum", threshold_db=-40),
        -12.6954,
    ),
    "MultiResolutionLoss": (
        lambda: ke.MultiResolutionLoss(
            [ke.Spectrogram(**FRAMES), ke.MelSpectrogram(SR, **FRAMES, n_mels=8)],
            [ke.SpectralConvergenceLoss(), ke.ElementwiseLoss()],
            [ke.Identity(), ke.Log()],
            resolution_weights=[2.0, 1.0],
            names=("sc", "log"),
        ),
        1.00987,
    ),
    "SumLoss": (lambda: ke.SumLoss(parts(), {"spectra": 2, "time": 0.5}), 11.25972),
    "SumLoss-learnable": (
        lambda: ke.SumLoss(list(parts().values()), weights(2)),
        5.646448,
    ),
    # This config has losses as pairs; those above have dictionaries, as before 0.3.
    "SumLoss-pairs": (lambda: ke.SumLoss(parts(), weights(2)), 5.646448),
    "MappedLoss": (lambda: ke.MappedLoss(ke.MidSide(), ke.SumLoss(parts())), 25.4087),
    "PermutationInvariantLoss": (
        lambda: ke.PermutationInvariantLoss(ke.SumLoss(parts())),
        5.6796217,
    ),
    "RandomSubsetLoss": (
        lambda: ke.RandomSubsetLoss(parts(), 1, [1.0, 0.5]),
        0.1326976,
    ),
}

RECIPES: dict[str, tuple[Callable[[], Any], float]] = {
    "auraloss_stft": (
        lambda: recipes.auraloss_stft(256, 64, 200, w_lin_mag=0.5),
        0.598925963,
    ),
    "auraloss_mrstft": (lambda: recipes.auraloss_mrstft(), 0.482785645),
    "auraloss_mel": (lambda: recipes.auraloss_mel(44100), 0.302740078),
    "auraloss_sum_difference": (
        lambda: recipes.auraloss_sum_difference(**SMALL),
        0.570317353,
    ),
    "auraloss_random": (
        lambda: recipes.auraloss_random(2, 16, 512, n_bank=4),
        0.436790701,
    ),
    "parallel_wavegan": (lambda: recipes.parallel_wavegan(), 0.482210949),
    "parallel_wavegan_mel": (lambda: recipes.parallel_wavegan_mel(), 0.110619096),
    "hifigan_mel": (lambda: recipes.hifigan_mel(22050), 0.276816766),
    "denoiser": (lambda: recipes.denoiser(), 0.0482210949),
    "audiocraft_mrstft": (lambda: recipes.audiocraft_mrstft(), 0.0482208509),
    "encodec_mel": (lambda: recipes.encodec_mel(24000), 130.927864),
    "ddsp": (lambda: recipes.ddsp(logmag_weight=1.0, loudness_weight=0.1), 3.52187803),
    "ddsp-rounded": (lambda: recipes.ddsp((64,), loudness_weight=0.1), 0.216477171),
    "audiotools_stft": (lambda: recipes.audiotools_stft(), 1.34363585),
    "audiotools_mel": (lambda: recipes.audiotools_mel(44100), 0.413111903),
    "dac_mel": (lambda: recipes.dac_mel(44100), 0.700032446),
    "mrstft": (lambda: recipes.mrstft(), 0.552547804),
    "sound_matching": (lambda: recipes.sound_matching(8000), 0.058686016),
    "rave": (lambda: recipes.rave(), 1.94106369),
    "rave-bands": (lambda: recipes.rave((256, 64), n_bands=4), 1.50383397),
    "mb_melgan": (lambda: recipes.mb_melgan(), 0.477931056),
    "mp_senet": (lambda: recipes.mp_senet(), 0.05398616496),
    "asteroid": (
        lambda: recipes.asteroid((64, 512), (48, 300), (16, 75), alpha=0.5),
        1881.84945,
    ),
    "sot": (lambda: recipes.sot(), 0.00509694789),
    "sot_multiresolution": (lambda: recipes.sot_multiresolution(), 0.0149900813),
    "sot_paper": (lambda: recipes.sot_paper(16000, log_scaled_x=True), 0.00596249545),
    "smooth_paper": (lambda: recipes.smooth_paper(), 180.426797),
    "smooth_scrapl": (lambda: recipes.smooth_scrapl(), 32.8349021),
    "smooth_auraloss": (lambda: recipes.smooth_auraloss(), 0.0146431201),
    "flamo_mss": (
        lambda: recipes.flamo_mss(nfft=(64, 128), form="yamamoto"),
        0.901718996,
    ),
    "cel": (lambda: recipes.cel(), 0.0293666001),
    "audiocraft_loudness_ratio": (
        lambda: recipes.audiocraft_loudness_ratio(8000, n_bands=3),
        -1.59092088,
    ),
    "flamo_edc": (lambda: recipes.flamo_edc(clip=True), 0.06308146093),
    "flamo_edr": (lambda: recipes.flamo_edr(8000, nfft=256), 0.1705036451),
    "pmsqe": (lambda: recipes.pmsqe(8000, gain_eq=False), 0.008773157793663241),
    "l1snr_db": (lambda: recipes.l1snr_db(l1_weight=0.1), -8.29914246),
    "l1snr_db_stft": (
        lambda: recipes.l1snr_db_stft(**N_FFTS, use_regularization=True),
        -16.8862772,
    ),
    "l1snr_db_multi": (lambda: recipes.l1snr_db_multi(**N_FFTS), -13.3688769),
    "vocos": (lambda: recipes.vocos(), 0.279447388),
    "bigvgan": (lambda: recipes.bigvgan(44100, mag_weight=0.5), 1.05004867),
    "stable_audio": (lambda: recipes.stable_audio(44100), 1.04088167),
    "nemo_codec": (
        lambda: recipes.nemo_codec(44100, mel_loss_l2_scale=1.0),
        2.05049797,
    ),
    "gtcrn": (lambda: recipes.gtcrn(), -0.980433611),
    "deepfilternet": (lambda: recipes.deepfilternet(), 4.93312379),
    "apnet2": (lambda: recipes.apnet2(), 65.582709),
    "freev": (lambda: recipes.freev(16000, meloss=7000.0), 65.7802475),
    "log_wmse": (lambda: recipes.log_wmse(16000, mixture="sum"), -21.3665932),
    "log_wmse-rounded": (lambda: recipes.log_wmse(8000, mixture="sum"), -23.3297683),
}
