"""Every public class with a function that makes it. The laws are tested for all.

A new class is one line here.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import korvax_eqx as ke
from korvax_eqx import recipes

SAMPLE_RATE = 8000
N_SAMPLES = 1500
SIZES = {"n_fft": 256, "hop_length": 100}


@dataclasses.dataclass(frozen=True)
class Case:
    """How to make an object, a new but equal one each time, and how to call it.

    `n_channels` is the number of channels that an object needs if it mixes them.
    `draws` is true for a loss that needs a key.
    """

    name: str
    make: Callable[[], Any]
    n_channels: int | None = None
    draws: bool = False

    def __repr__(self) -> str:
        return self.name

    @property
    def keywords(self) -> dict[str, Any]:
        """Further arguments of a call: a constant key for losses that draw."""
        return {"key": jax.random.key(3)} if self.draws else {}

    def callable(self) -> Callable[..., Any]:
        """A new object, as a function of signals alone."""
        made = self.make()
        return functools.partial(made, **self.keywords) if self.draws else made

    def channels(self, x: jax.Array) -> jax.Array:
        """Signals as an example for this case, with channels if it needs them.

        The first two channels are equal, so that their difference is silence.
        """
        if self.n_channels is None:
            return x
        return jnp.repeat(x[..., None, :], self.n_channels, -2)

    def signals(
        self, *lead: int, seed: int = 0, dtype: Any = jnp.float32
    ) -> tuple[jax.Array, jax.Array]:
        """A pair of noise signals for a call, with `lead` examples."""
        shape = lead if self.n_channels is None else (*lead, self.n_channels)
        return signals(*shape, seed=seed, dtype=dtype)


MAPS = [
    Case("FIRFilter", lambda: ke.FIRFilter([0.5, -0.2, 0.1])),
    Case("PreEmphasis", lambda: ke.PreEmphasis()),
    Case("AWeightingFilter", lambda: ke.AWeightingFilter(SAMPLE_RATE, 51)),
    Case("KWeightingFilter", lambda: ke.KWeightingFilter(SAMPLE_RATE)),
    Case("MidSide", lambda: ke.MidSide(), n_channels=2),
    Case("PQMF", lambda: ke.PQMF(4)),
    Case("PQMF-delay", lambda: ke.PQMF(3, 40, 0.2, delay=1)),
    Case("Resample", lambda: ke.Resample(8000, 3000)),
    Case("Resample-up", lambda: ke.Resample(8000, 11025, n_zeros=5, beta=8.0)),
    Case("ChannelMix", lambda: ke.ChannelMix([[0.5, 0.3, 0.2]]), n_channels=3),
    # With another factor, the gradient is not that of the value: see `test_maps`.
    Case("GradientScale", lambda: ke.GradientScale(1.0)),
]
TRANSFORMS = [
    Case("STFT", lambda: ke.STFT(**SIZES)),
    Case("Spectrogram", lambda: ke.Spectrogram(**SIZES)),
    Case("Spectrogram-magnitude", lambda: ke.Spectrogram(**SIZES, power=1)),
    Case("Spectrogram-root", lambda: ke.Spectrogram(**SIZES, power=0.5)),
    Case("Spectrogram-valid", lambda: ke.Spectrogram(**SIZES, center=False)),
    Case("Spectrogram-reflect", lambda: ke.Spectrogram(**SIZES, pad_mode="reflect")),
    Case("MelSpectrogram", lambda: ke.MelSpectrogram(SAMPLE_RATE, n_mels=20, **SIZES)),
    Case("MFCC", lambda: ke.MFCC(SAMPLE_RATE, n_mfcc=8, n_mels=20, **SIZES)),
    Case("Chroma", lambda: ke.Chroma(SAMPLE_RATE, **SIZES)),
    Case("CQT", lambda: ke.CQT(SAMPLE_RATE, fmin=500.0, n_bins=24, hop_length=100)),
    Case(
        "VQT",
        lambda: ke.VQT(SAMPLE_RATE, fmin=500.0, n_bins=24, gamma=20.0, hop_length=100),
    ),
]
SCALES = [
    Case("Identity", lambda: ke.Identity()),
    Case("Log", lambda: ke.Log()),
    Case("Log-clip", lambda: ke.Log(2.0, 1e-5, base=10, floor_mode="clip")),
    Case("Log-replace", lambda: ke.Log(eps=1e-5, base=2, floor_mode="replace")),
    Case("Power", lambda: ke.Power(0.3)),
    Case("Power-2", lambda: ke.Power(2)),
    Case("Power-clip", lambda: ke.Power(0.5, 1e-8, floor_mode="clip")),
    Case("OneSidedPower", lambda: ke.OneSidedPower(0.5)),
    Case("Difference", lambda: ke.Difference()),
    Case("Difference-frequency", lambda: ke.Difference("frequency")),
    Case("CumulativeSum", lambda: ke.CumulativeSum()),
    Case("CumulativeSum-time", lambda: ke.CumulativeSum("time", reverse=True)),
    Case("MeanOverBins", lambda: ke.MeanOverBins()),
    Case("AmplitudeToDB", lambda: ke.AmplitudeToDB()),
    Case("PowerToDB", lambda: ke.PowerToDB()),
    Case("MelScale", lambda: ke.MelScale(SAMPLE_RATE, 256, n_mels=20)),
    Case("AWeighting", lambda: ke.AWeighting(sr=SAMPLE_RATE, n_fft=256)),
    Case("BWeighting", lambda: ke.BWeighting(sr=SAMPLE_RATE, n_fft=256)),
    Case("CWeighting", lambda: ke.CWeighting(sr=SAMPLE_RATE, n_fft=256)),
    Case("DWeighting", lambda: ke.DWeighting(sr=SAMPLE_RATE, n_fft=256)),
    Case("SpectralCentroid", lambda: ke.SpectralCentroid(sr=SAMPLE_RATE, n_fft=256)),
    Case("SpectralRolloff", lambda: ke.SpectralRolloff(sr=SAMPLE_RATE, n_fft=256)),
    Case("SpectralFlatness", lambda: ke.SpectralFlatness()),
    Case("Chain", lambda: ke.Chain((ke.MelScale(SAMPLE_RATE, 256), ke.Log()))),
]
SPECTRAL_LOSSES = [
    Case("ElementwiseLoss-L1", lambda: ke.ElementwiseLoss()),
    Case("ElementwiseLoss-L2", lambda: ke.ElementwiseLoss("L2")),
    Case("ElementwiseLoss-sum", lambda: ke.ElementwiseLoss(reduction="sum")),
    Case("ElementwiseLoss-under", lambda: ke.ElementwiseLoss("L2", factor_under=2.0)),
    Case("ElementwiseLoss-over", lambda: ke.ElementwiseLoss(factor_over=0.5)),
    Case("NormLoss", lambda: ke.NormLoss()),
    Case("NormLoss-frame", lambda: ke.NormLoss(over="frame", reduction="mean")),
    Case("RelativeLoss", lambda: ke.RelativeLoss()),
    Case("RelativeLoss-L1", lambda: ke.RelativeLoss("L1", 0.0)),
    Case("SpectralConvergenceLoss", lambda: ke.SpectralConvergenceLoss()),
    Case(
        "SpectralConvergenceLoss-estimate",
        lambda: ke.SpectralConvergenceLoss(reference="estimate"),
    ),
    Case("CumulativeEnergyLoss", lambda: ke.CumulativeEnergyLoss()),
    Case("PMSQELoss", lambda: ke.PMSQELoss(SAMPLE_RATE, "hann")),
    Case("Transport", lambda: ke.SpectralOptimalTransportLoss()),
    Case("Transport-p1", lambda: ke.SpectralOptimalTransportLoss(p=1)),
    Case("Transport-p1.5", lambda: ke.SpectralOptimalTransportLoss(p=1.5)),
    Case(
        "Transport-unbalanced",
        lambda: ke.SpectralOptimalTransportLoss(balanced=False, quantile_lowpass=True),
    ),
    Case("Transport-raw", lambda: ke.SpectralOptimalTransportLoss(normalize=False)),
    Case("Transport-time", lambda: ke.SpectralOptimalTransportLoss(axis="time")),
    Case(
        "Transport-time-linear",
        lambda: ke.SpectralOptimalTransportLoss("linear", p=1, axis="time"),
    ),
]
# Scales and losses of complex spectra.
COMPLEX_SCALES = [
    Case("RealImaginary", lambda: ke.RealImaginary()),
    Case("Magnitude", lambda: ke.Magnitude()),
    Case("Magnitude-floor", lambda: ke.Magnitude(1.0, 1e-6, floor_mode="add")),
    Case("PowerCompression", lambda: ke.PowerCompression()),
    Case("PowerCompression-clip", lambda: ke.PowerCompression(0.5, 1e-6)),
    Case("PowerCompression-add", lambda: ke.PowerCompression(0.3, 1e-12, "add")),
]
COMPLEX_LOSSES = [
    Case("PhaseLoss", lambda: ke.PhaseLoss()),
    Case("PhaseLoss-raw", lambda: ke.PhaseLoss("L2", wrap=False)),
    Case(
        "PhaseLoss-frequency",
        lambda: ke.PhaseLoss(quantity="instantaneous_frequency", weighting="magnitude"),
    ),
    Case("PhaseLoss-delay", lambda: ke.PhaseLoss(quantity="group_delay")),
    Case(
        "PhaseLoss-delay-first",
        lambda: ke.PhaseLoss(quantity="group_delay", prepend=True),
    ),
    Case(
        "PhaseLoss-frequency-first",
        lambda: ke.PhaseLoss(
            quantity="instantaneous_frequency", weighting="magnitude", prepend=True
        ),
    ),
    # Negative for nearly equal spectra.
    Case("GOMPSNRLoss", lambda: ke.GOMPSNRLoss()),
]
# Losses that are not means over signals.
BATCH_LOSSES = [
    Case("BatchSpectralConvergenceLoss", lambda: ke.BatchSpectralConvergenceLoss()),
    Case("BatchRelativeLoss", lambda: ke.BatchRelativeLoss(eps=0.0)),
]
# Losses that may be negative, and whose minimum need not be at equal spectra.
LEVEL_LOSSES = [
    Case("SpectralL1SNRLoss", lambda: ke.SpectralL1SNRLoss()),
    Case("SpectralLevelLoss", lambda: ke.SpectralLevelLoss(delta_lambda=0.0)),
]


def _combined() -> ke.TimeFrequencyLoss:
    return ke.TimeFrequencyLoss(
        ke.Spectrogram(**SIZES),
        [ke.SpectralOptimalTransportLoss(), ke.ElementwiseLoss()],
        [ke.Identity(), ke.PowerToDB()],
        weights=[1.0, 0.1],
    )


def _small() -> ke.TimeFrequencyLoss:
    return ke.TimeFrequencyLoss(ke.Spectrogram(**SIZES), ke.ElementwiseLoss("L2"))


def _named() -> dict[str, ke.AbstractLoss]:
    """Parts, two of which share a transform, not in alphabetical order."""
    return {
        "stft": ke.MRSTFTLoss((64, 100), (128, 256)),
        "magnitude": _small(),
        "pitch": ke.PitchTransportLoss(256, 100),
    }


def _of_sources() -> ke.PermutationInvariantLoss:
    losses = {"stft": ke.MRSTFTLoss((64,), (256,)), "wave": ke.WaveformLoss()}
    return ke.PermutationInvariantLoss(ke.SumLoss(losses, [0.5, 2.0]))


def _nested() -> ke.SumLoss:
    inner = ke.SumLoss([_small(), ke.MRSTFTLoss((64,), (256,), w_sc=0.5)], [2.0, 0.5])
    mapped = ke.MappedLoss(ke.PreEmphasis(), inner)
    return ke.SumLoss({"raw": inner, "emphasised": mapped}, {"emphasised": 3, "raw": 1})


COMPOSITES = [
    Case("MRSTFTLoss", lambda: ke.MRSTFTLoss((64, 100), (256, 512))),
    Case("MRSTFTLoss-L2", lambda: ke.MRSTFTLoss((64,), (256,), power=2, lin_dist="L2")),
    Case("MRSTFTLoss-sc", lambda: ke.MRSTFTLoss((64,), (256,), w_lin=0, w_sc=0.5)),
    Case("SmoothMRSTFTLoss", lambda: ke.SmoothMRSTFTLoss()),
    Case(
        "SmoothMRSTFTLoss-two",
        lambda: ke.SmoothMRSTFTLoss(hop_lengths=(63, 128), win_lengths=(127, 257)),
    ),
    Case("PitchTransportLoss", lambda: ke.PitchTransportLoss(256, 100)),
    Case("WaveformLoss", lambda: ke.WaveformLoss()),
    Case("WaveformLoss-L2", lambda: ke.WaveformLoss("L2")),
    Case("ESRLoss", lambda: ke.ESRLoss()),
    Case("DCLoss", lambda: ke.DCLoss()),
    Case("LogCoshLoss", lambda: ke.LogCoshLoss()),
    Case("EnergyDecayLoss", lambda: ke.EnergyDecayLoss()),
    Case(
        "EnergyDecayLoss-relative",
        lambda: ke.EnergyDecayLoss("L1", relative=True, normalize=True),
    ),
    Case("TimeFrequencyLoss", _combined),
    Case(
        "MultiResolutionLoss",
        lambda: ke.MultiResolutionLoss(
            [ke.Spectrogram(**SIZES), ke.MelSpectrogram(SAMPLE_RATE, **SIZES)],
            [ke.SpectralConvergenceLoss(), ke.ElementwiseLoss("L2")],
            [ke.Identity(), ke.Log()],
            resolution_weights=[2.0, 1.0],
        ),
    ),
    Case("PermutationInvariantLoss", _of_sources, n_channels=2),
    Case("SumLoss", lambda: ke.SumLoss([_small(), ke.PitchTransportLoss(256, 100)])),
    Case("SumLoss-weights", lambda: ke.SumLoss(_named(), [0.5, 0, 2.0])),
    Case("SumLoss-nested", _nested),
    Case(
        "SumLoss-monitor",
        lambda: ke.SumLoss(
            {"small": _small()},
            monitor={"wave": ke.WaveformLoss(), "stft": ke.MRSTFTLoss((64,), (256,))},
        ),
    ),
    Case("RandomSubsetLoss", lambda: ke.RandomSubsetLoss(_named(), 2), draws=True),
    Case(
        "SumLoss-draws",
        lambda: ke.SumLoss([ke.RandomSubsetLoss(_named()), _small()]),
        draws=True,
    ),
    *(
        Case(
            f"MappedLoss-{case.name}",
            lambda make=case.make: ke.MappedLoss(make(), _small()),
            n_channels=case.n_channels,
        )
        for case in MAPS
    ),
    *(
        Case(
            f"TimeFrequencyLoss-{case.name}",
            lambda make=case.make: ke.TimeFrequencyLoss(
                ke.Spectrogram(**SIZES), make()
            ),
        )
        for case in SPECTRAL_LOSSES
    ),
    *(
        Case(
            f"TimeFrequencyLoss-{case.name}",
            lambda make=case.make: ke.TimeFrequencyLoss(make(), ke.ElementwiseLoss()),
        )
        for case in TRANSFORMS
        if case.name != "Spectrogram"  # is one of those above
    ),
    *(
        Case(
            f"TimeFrequencyLoss-{case.name}",
            lambda make=case.make: ke.TimeFrequencyLoss(
                ke.Spectrogram(**SIZES), ke.ElementwiseLoss("L2"), make()
            ),
        )
        for case in SCALES
        if case.name != "Identity"  # is one of those above
    ),
    *(
        Case(
            f"TimeFrequencyLoss-{case.name}",
            lambda make=case.make: ke.TimeFrequencyLoss(
                ke.STFT(**SIZES), ke.ElementwiseLoss(), make()
            ),
        )
        for case in COMPLEX_SCALES
    ),
    *(
        Case(
            f"TimeFrequencyLoss-{case.name}",
            lambda make=case.make: ke.TimeFrequencyLoss(ke.STFT(**SIZES), make()),
        )
        for case in COMPLEX_LOSSES
        if case.name != "GOMPSNRLoss"
    ),
]
# Losses on signals that may be negative, and are not 0 for equal signals.
LEVELS = [
    Case("LevelLoss", lambda: ke.LevelLoss(delta_lambda=0.0)),
    Case("LogWMSELoss", lambda: ke.LogWMSELoss([0.5, -1.0, 0.5])),
    Case("SNRLoss", lambda: ke.SNRLoss()),
    Case("SISDRLoss", lambda: ke.SISDRLoss()),
    Case("SDSDRLoss", lambda: ke.SDSDRLoss()),
    Case("SNRLoss-both", lambda: ke.SNRLoss(eps_mode="both")),
    Case("SISDRLoss-both", lambda: ke.SISDRLoss(False, 1e-7, eps_mode="both")),
    Case("SISDRLoss-relative", lambda: ke.SISDRLoss(eps_mode="relative")),
    Case("SDSDRLoss-relative", lambda: ke.SDSDRLoss(eps_mode="relative")),
    Case("SNRLoss-limited", lambda: ke.SNRLoss(max_db=30.0)),
    Case("SISDRLoss-limited", lambda: ke.SISDRLoss(eps_mode="relative", max_db=20.0)),
    Case("SDSDRLoss-limited", lambda: ke.SDSDRLoss(eps_mode="both", max_db=20.0)),
    Case(
        "SNRLoss-mixture",
        lambda: ke.SNRLoss(max_db=30.0, mixture="sum", silent_max_db=20.0),
        n_channels=2,
    ),
    Case(
        "SISDRLoss-mixture",
        lambda: ke.SISDRLoss(eps_mode="relative", max_db=30.0, mixture="last"),
        n_channels=2,
    ),
    Case("WSDRLoss", lambda: ke.WSDRLoss(), n_channels=2),
    Case("LoudnessRatioLoss", lambda: ke.LoudnessRatioLoss(3400, 2, 0.4, 0.8)),
    Case("L1SNRLoss", lambda: ke.L1SNRLoss()),
    Case("STOILoss", lambda: ke.STOILoss(10000, n_frames=6)),
    Case("STOILoss-extended", lambda: ke.STOILoss(8000, True, n_frames=6)),
    Case(
        "PermutationInvariantLoss-SISDR",
        lambda: ke.PermutationInvariantLoss(ke.SISDRLoss()),
        n_channels=3,
    ),
    *(
        Case(
            f"TimeFrequencyLoss-{case.name}",
            lambda make=case.make: ke.TimeFrequencyLoss(
                ke.Spectrogram(**SIZES, power=1), make()
            ),
        )
        for case in LEVEL_LOSSES
    ),
    *(
        Case(
            f"TimeFrequencyLoss-GOMPSNRLoss-{distance}",
            lambda distance=distance: ke.TimeFrequencyLoss(
                ke.STFT(**SIZES), ke.GOMPSNRLoss(distance)
            ),
        )
        for distance in ("linear", "cosine")
    ),
]
# Losses that compare two signals at a time.
PAIRWISE = [
    case
    for case in [*COMPOSITES, *LEVELS]
    if case.n_channels is None and case.name != "SmoothMRSTFTLoss"
]
# Losses on signals with a term that is not a mean over signals.
BATCHES = [
    *(
        Case(
            f"TimeFrequencyLoss-{case.name}",
            lambda make=case.make: ke.TimeFrequencyLoss(
                ke.Spectrogram(**SIZES), [ke.ElementwiseLoss(), make()]
            ),
        )
        for case in BATCH_LOSSES
    ),
    Case(
        "SumLoss-batch",
        lambda: ke.SumLoss(
            {
                "batch": ke.TimeFrequencyLoss(
                    ke.Spectrogram(**SIZES, power=1), ke.BatchSpectralConvergenceLoss()
                ),
                "wave": ke.WaveformLoss(),
            },
            {"batch": 0.5, "wave": 2.0},
        ),
    ),
]


def _recipe(name: str, *arguments: Any, **keywords: Any) -> Callable[[], Any]:
    return lambda: getattr(recipes, name)(*arguments, **keywords)


_RESOLUTIONS = ((256, 171), (100, 50), (200, 150))
# As small as possible, but still with several resolutions.
_TWO = {"hop_sizes": (60, 100), "win_lengths": (127, 257)}

RECIPES = [
    Case("auraloss_stft", _recipe("auraloss_stft", 256, 100, 200, w_sc=0.0)),
    Case(
        "auraloss_sum_difference",
        _recipe("auraloss_sum_difference", *_RESOLUTIONS, w_sc=0.0, w_lin_mag=0.5),
        n_channels=2,
    ),
    Case(
        "auraloss_random",
        _recipe("auraloss_random", 2, 32, 256, 0.1, 0.25, n_bank=3, w_sc=0.0),
        draws=True,
    ),
    Case(
        "parallel_wavegan_mel",
        _recipe("parallel_wavegan_mel", 8000, 256, 100, num_mels=20, fmax=4000),
    ),
    Case(
        "hifigan_mel",
        _recipe("hifigan_mel", 8000, n_fft=256, hop_size=100, win_size=200, num_mels=9),
    ),
    Case("encodec_mel", _recipe("encodec_mel", 8000, range_end=8, n_mels=20)),
    Case(
        "ddsp",
        _recipe(
            "ddsp",
            (200, 64),
            delta_time_weight=0.5,
            delta_freq_weight=0.5,
            cumsum_freq_weight=0.1,
            logmag_weight=1.0,
        ),
    ),
    Case("audiotools_stft", _recipe("audiotools_stft", (256, 64))),
    Case("audiotools_mel", _recipe("audiotools_mel", 8000, (20, 10), (256, 64))),
    Case("dac_mel", _recipe("dac_mel", 8000, (5, 10), (64, 128))),
    Case("asteroid", _recipe("asteroid", (256, 64), (200, 64), (100, 32))),
    Case("mp_senet", _recipe("mp_senet", 256, 64, 200)),
]
# Recipes that are not means over a batch: `test_recipes_laws` has laws for them.
RECIPES_OF_BATCHES = [
    Case(
        "auraloss_stft",
        _recipe(
            "auraloss_stft",
            256,
            100,
            200,
            w_lin_mag=0.5,
            sample_rate=8000,
            scale="mel",
            n_bins=20,
            perceptual_weighting=True,
        ),
    ),
    Case("auraloss_mrstft", _recipe("auraloss_mrstft", *_RESOLUTIONS)),
    Case("auraloss_mel", _recipe("auraloss_mel", 8000, 256, 100, 256, n_mels=20)),
    Case(
        "auraloss_sum_difference",
        _recipe("auraloss_sum_difference", *_RESOLUTIONS),
        n_channels=2,
    ),
    Case(
        "auraloss_random",
        _recipe("auraloss_random", 2, 32, 256, 0.1, 0.25, n_bank=3),
        draws=True,
    ),
    Case("parallel_wavegan", _recipe("parallel_wavegan", *_RESOLUTIONS)),
    Case("denoiser", _recipe("denoiser", *_RESOLUTIONS)),
    Case("audiocraft_mrstft", _recipe("audiocraft_mrstft", *_RESOLUTIONS)),
    Case("rave", _recipe("rave", (256, 64))),
    Case("rave-bands", _recipe("rave", (256, 64), n_bands=4)),
    Case(
        "mb_melgan",
        _recipe(
            "mb_melgan",
            *_RESOLUTIONS,
            subband_fft_sizes=(64,),
            subband_hop_sizes=(16,),
            subband_win_lengths=(60,),
        ),
    ),
]
# Some of these are in decibels, and so have no minimum of 0, and some are slow.
# `test_recipes_laws` tests the laws that hold for them.
RECIPES = [
    *RECIPES,
    Case("sot", lambda: recipes.sot(fft_size=256)),
    Case(
        "sot_multiresolution",
        lambda: recipes.sot_multiresolution(
            fft_sizes=(256, 128), hop_lengths=(100, 50), balanced=False
        ),
    ),
    Case("sot_paper", lambda: recipes.sot_paper(SAMPLE_RATE, n_fft=256)),
    Case(
        "sot_paper-log",
        lambda: recipes.sot_paper(SAMPLE_RATE, n_fft=256, log_scaled_x=True),
    ),
    Case("smooth_paper", lambda: recipes.smooth_paper(win_lengths=(127, 257))),
    Case("smooth_scrapl", lambda: recipes.smooth_scrapl(fft_sizes=(127, 257), **_TWO)),
    Case(
        "smooth_auraloss",
        lambda: recipes.smooth_auraloss(fft_sizes=(127, 257), **_TWO),
    ),
    Case("mrstft", lambda: recipes.mrstft(full_scale=2)),
    Case("sound_matching", lambda: recipes.sound_matching(SAMPLE_RATE)),
    Case("flamo_mss", lambda: recipes.flamo_mss(nfft=(256, 128))),
    Case("flamo_mss-magenta", lambda: recipes.flamo_mss(nfft=(256,), form="magenta")),
    Case(
        "audiocraft_loudness_ratio",
        _recipe("audiocraft_loudness_ratio", 4000, n_bands=2, segment=0.4),
    ),
    Case("flamo_edc", lambda: recipes.flamo_edc(clip=True)),
    Case("flamo_edr", lambda: recipes.flamo_edr(SAMPLE_RATE, nfft=256)),
    Case("cel", lambda: recipes.cel(n_fft=256)),
    Case("pmsqe", lambda: recipes.pmsqe(SAMPLE_RATE, gain_eq=False)),
    Case("l1snr_db", lambda: recipes.l1snr_db(l1_weight=0.2)),
    Case(
        "l1snr_db_stft",
        lambda: recipes.l1snr_db_stft(
            n_ffts=(256, 128),
            hop_lengths=(64, 32),
            win_lengths=(256, 128),
            use_regularization=True,
        ),
    ),
    Case(
        "l1snr_db_multi",
        lambda: recipes.l1snr_db_multi(
            n_ffts=(256,), hop_lengths=(64,), win_lengths=(256,)
        ),
    ),
    Case("vocos", lambda: recipes.vocos(SAMPLE_RATE, 256, 100, 20)),
    Case(
        "bigvgan",
        lambda: recipes.bigvgan(SAMPLE_RATE, (5, 10), (64, 128), mag_weight=0.5),
    ),
    Case(
        "stable_audio",
        lambda: recipes.stable_audio(SAMPLE_RATE, *_RESOLUTIONS, w_lin_mag=0.5),
        n_channels=2,
    ),
    Case(
        "nemo_codec",
        lambda: recipes.nemo_codec(
            SAMPLE_RATE,
            ((64, 16, 64), (256, 100, 200)),
            (5, 20),
            mel_loss_l2_scale=1.0,
            time_domain_loss_scale=0.1,
        ),
    ),
    # Without its SI-SNR, which is not stationary at equal signals.
    Case("gtcrn", lambda: recipes.gtcrn(256, 128, w_sisnr=0.0)),
    Case("deepfilternet", lambda: recipes.deepfilternet((256, 128))),
    Case(
        "apnet2",
        # With an odd window: spectra of a frame that is symmetric about the first
        # sample are real, and rounding decides for a phase of pi or -pi.
        lambda: recipes.apnet2(
            SAMPLE_RATE, n_fft=256, hop_size=100, win_size=199, num_mels=20
        ),
    ),
    Case(
        "freev",
        lambda: recipes.freev(
            SAMPLE_RATE, n_fft=256, hop_size=64, win_size=256, num_mels=20, w_phase=0
        ),
    ),
    Case("log_wmse", lambda: recipes.log_wmse(SAMPLE_RATE)),
    Case(
        "log_wmse-sum",
        lambda: recipes.log_wmse(SAMPLE_RATE, mixture="sum"),
        n_channels=2,
    ),
    Case(
        "log_wmse-gated",
        lambda: recipes.log_wmse(
            SAMPLE_RATE, bypass_filter=True, error_tolerance_db=-30.0
        ),
    ),
]


def _array(*values: float) -> jax.Array:
    return jnp.array(values)


def _window(n: int = 256) -> jax.Array:
    return jnp.hanning(n + 2)[1:-1]


def _bands() -> jax.Array:
    return jnp.asarray(ke.MelScale(SAMPLE_RATE, 256, n_mels=20).matrix)


def _on_spectra(scale: Any, loss: Any = None, **keywords: Any) -> ke.TimeFrequencyLoss:
    loss = ke.ElementwiseLoss("L2") if loss is None else loss
    spectra = ke.Spectrogram(**SIZES, power=1.0)
    return ke.TimeFrequencyLoss(spectra, loss, scale, **keywords)


def _of_transform(transform: Any, scale: Any = None) -> ke.TimeFrequencyLoss:
    return ke.TimeFrequencyLoss(transform, ke.ElementwiseLoss("L2"), scale)


# Losses with leaves: each field of each class that takes a JAX array, at least once.
LEARNABLE = [
    Case(
        "FIRFilter",
        lambda: ke.MappedLoss(ke.FIRFilter(_array(0.5, -0.2, 0.1)), _small()),
    ),
    Case(
        "PreEmphasis",
        lambda: ke.MappedLoss(ke.PreEmphasis(jnp.array(0.8)), _small()),
    ),
    Case(
        "ChannelMix",
        lambda: ke.MappedLoss(ke.ChannelMix(_array(0.5, 0.3, 0.2)[None]), _small()),
        n_channels=3,
    ),
    Case(
        "PermutationInvariantLoss",
        lambda: ke.PermutationInvariantLoss(
            ke.SumLoss([_small(), ke.WaveformLoss()], _array(0.5, 2.0))
        ),
        n_channels=2,
    ),
    Case(
        "STFT",
        lambda: _of_transform(ke.STFT(**SIZES, window=_window()), ke.RealImaginary()),
    ),
    Case(
        "Spectrogram",
        lambda: _of_transform(
            ke.Spectrogram(**SIZES, window=_window(), normalized=True)
        ),
    ),
    Case(
        "MelSpectrogram",
        lambda: _of_transform(
            ke.MelSpectrogram(
                SAMPLE_RATE, **SIZES, n_mels=20, window=_window(), basis=_bands()
            )
        ),
    ),
    Case(
        "MFCC",
        lambda: _of_transform(
            ke.MFCC(
                SAMPLE_RATE,
                **SIZES,
                n_mfcc=8,
                n_mels=20,
                window=_window(),
                basis=_bands(),
            )
        ),
    ),
    Case(
        "Chroma",
        lambda: _of_transform(ke.Chroma(SAMPLE_RATE, **SIZES, window=_window())),
    ),
    Case(
        "MelScale",
        lambda: _on_spectra(
            ke.MelScale(SAMPLE_RATE, 256, n_mels=20, basis=_bands()),
        ),
    ),
    # Not a difference in dB, from which the reference or the weighting would cancel.
    Case(
        "AmplitudeToDB",
        lambda: _on_spectra(ke.AmplitudeToDB(jnp.array(0.3)), ke.RelativeLoss()),
    ),
    Case(
        "PowerToDB",
        lambda: _on_spectra(ke.PowerToDB(jnp.array(0.3)), ke.RelativeLoss()),
    ),
    *(
        Case(
            scale.__name__,
            lambda scale=scale: _on_spectra(
                ke.Chain((ke.AmplitudeToDB(), scale(jnp.linspace(20.0, 4000.0, 129)))),
                ke.RelativeLoss(),
            ),
        )
        for scale in (ke.AWeighting, ke.BWeighting, ke.CWeighting, ke.DWeighting)
    ),
    Case("Log", lambda: _on_spectra(ke.Log(jnp.array(2.0), jnp.array(0.1)))),
    Case(
        "Log-clip",
        lambda: _on_spectra(ke.Log(jnp.array(2.0), jnp.array(4.0), floor_mode="clip")),
    ),
    Case("MeanOverBins", lambda: _on_spectra(ke.MeanOverBins(jnp.linspace(0, 2, 129)))),
    Case(
        "SpectralCentroid",
        lambda: _on_spectra(ke.SpectralCentroid(jnp.linspace(0.0, 4.0, 129))),
    ),
    Case(
        "SpectralRolloff",
        lambda: _on_spectra(ke.SpectralRolloff(jnp.linspace(0.0, 4.0, 129), 0.5)),
    ),
    Case("Power", lambda: _on_spectra(ke.Power(jnp.array(0.4), 1e-3))),
    Case("LogCoshLoss", lambda: ke.LogCoshLoss(jnp.array(1.5))),
    Case("LogWMSELoss", lambda: ke.LogWMSELoss(_array(0.5, -1.0, 0.5))),
    Case(
        "LogWMSELoss-sum",
        lambda: ke.LogWMSELoss(_array(0.5, -1.0, 0.5, 0.1, 0.3), "sum"),
        n_channels=2,
    ),
    Case(
        "LogWMSELoss-gated",
        lambda: ke.LogWMSELoss(_array(0.5, -1.0, 0.5), threshold_db=-20.0),
    ),
    Case(
        "LogWMSELoss-long",
        lambda: recipes.log_wmse(
            SAMPLE_RATE,
            impulse_response=jnp.cos(jnp.arange(600.0)) ** 3,
            impulse_response_sample_rate=SAMPLE_RATE,
        ),
    ),
    Case(
        "MRSTFTLoss",
        lambda: ke.MRSTFTLoss(
            (64, 100),
            (128, 256),
            window=(_window(128), _window()),
            w_lin=jnp.array(0.5),
            w_log=jnp.array(1.5),
            w_sc=jnp.array(0.7),
            log_fac=jnp.array(2.0),
            log_eps=jnp.array(0.1),
            resolution_weights=_array(1.0, 2.0),
            lin_dist="L2",
            log_dist="L2",
        ),
    ),
    Case(
        "SmoothMRSTFTLoss",
        lambda: ke.SmoothMRSTFTLoss(
            hop_lengths=(63, 128),
            win_lengths=(127, 257),
            window=(_window(127), _window(257)),
            log_fac=jnp.array(2.0),
            log_eps=jnp.array(0.5),
            resolution_weights=_array(1.0, 2.0),
        ),
    ),
    Case(
        "MultiResolutionLoss",
        lambda: ke.MultiResolutionLoss(
            [ke.Spectrogram(**SIZES), ke.MelSpectrogram(SAMPLE_RATE, **SIZES)],
            [ke.SpectralConvergenceLoss(), ke.ElementwiseLoss("L2")],
            [ke.Identity(), ke.Log()],
            weights=_array(0.5, 2.0),
            resolution_weights=_array(2.0, 1.0),
        ),
    ),
    Case(
        "RandomSubsetLoss",
        lambda: ke.RandomSubsetLoss(_named(), 2, weights=_array(0.5, 0.2, 2.0)),
        draws=True,
    ),
    Case(
        "SpectralOptimalTransportLoss",
        lambda: _on_spectra(
            None, ke.SpectralOptimalTransportLoss(jnp.linspace(0.0, 2.0, 129) ** 2)
        ),
    ),
    Case(
        "SumLoss",
        lambda: ke.SumLoss(
            {"stft": ke.MRSTFTLoss((64,), (128,)), "wave": ke.WaveformLoss("L2")},
            {"stft": jnp.array(0.5), "wave": jnp.array(3.0)},
        ),
    ),
    Case(
        "TimeFrequencyLoss",
        lambda: _on_spectra(
            None,
            [ke.ElementwiseLoss(), ke.BatchRelativeLoss()],
            weights=_array(0.5, 2.0),
        ),
    ),
]


def _padded(*modes: str) -> Callable[[], Any]:
    """Both kinds of padding transforms, with several modes."""

    def make() -> ke.MultiResolutionLoss:
        vqt = {"fmin": 500.0, "n_bins": 24, "hop_length": 100}
        transforms: list[Any] = [ke.Spectrogram(**SIZES, pad_mode=m) for m in modes]
        transforms += [ke.VQT(SAMPLE_RATE, **vqt, pad_mode=m) for m in modes]
        return ke.MultiResolutionLoss(transforms, ke.ElementwiseLoss("L2"))

    return make


def _of_transforms(*transforms: Callable[[], Any]) -> Callable[[], Any]:
    def make() -> ke.MultiResolutionLoss:
        made = [transform() for transform in transforms]
        return ke.MultiResolutionLoss(made, ke.ElementwiseLoss("L2"))

    return make


def _of_losses(*losses: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: ke.TimeFrequencyLoss(
        ke.Spectrogram(**SIZES), [loss() for loss in losses]
    )


def _transport(**options: Any) -> Callable[[], Any]:
    return lambda: ke.SpectralOptimalTransportLoss(**options)


# Losses on signals with all options that the cases above do not have. `test_registry`
# fails for an option that no case has.
OPTIONS = [
    Case("padding-samples", _padded("edge", "reflect", "symmetric", "wrap")),
    Case(
        "padding-statistics",
        _padded("linear_ramp", "maximum", "mean", "median", "minimum"),
    ),
    Case(
        "Spectrogram-options",
        _of_transforms(
            lambda: ke.Spectrogram(**SIZES, normalized=True, extra_padding=True),
            lambda: ke.Spectrogram(**SIZES, normalized="window", floor_mode="add"),
            lambda: ke.Spectrogram(**SIZES, normalized="frame_length"),
            lambda: ke.Spectrogram(**SIZES, normalized="sum"),
        ),
    ),
    Case(
        "MFCC-options",
        _of_transforms(
            lambda: ke.MFCC(
                SAMPLE_RATE, n_mels=20, **SIZES, norm="backward", mag_scale="log"
            ),
            lambda: ke.MFCC(
                SAMPLE_RATE, n_mels=20, **SIZES, norm=None, mag_scale="linear"
            ),
        ),
    ),
    Case(
        "Chroma-options",
        _of_transforms(
            lambda: ke.Chroma(SAMPLE_RATE, **SIZES, norm=None),
            lambda: ke.Chroma(SAMPLE_RATE, **SIZES, norm=1),
            lambda: ke.Chroma(SAMPLE_RATE, **SIZES, norm=2),
        ),
    ),
    Case(
        "VQT-options",
        _of_transforms(
            lambda: ke.VQT(
                SAMPLE_RATE, fmin=500.0, n_bins=24, hop_length=100, center=False
            )
        ),
    ),
    Case(
        "spectral-options",
        _of_losses(
            lambda: ke.NormLoss(reduction="numel"),
            lambda: ke.CumulativeEnergyLoss(("up", "down", "right", "left")),
        ),
    ),
    Case(
        "PMSQELoss-options",
        _of_losses(
            lambda: ke.PMSQELoss(SAMPLE_RATE, bark_eq=False),
            lambda: ke.PMSQELoss(SAMPLE_RATE, gain_eq=False, eps=1e-6),
        ),
    ),
    Case("PMSQELoss-16000", lambda: recipes.pmsqe()),
    Case("BatchRelativeLoss-L1", _of_losses(lambda: ke.BatchRelativeLoss("L1"))),
    Case(
        "MeanOverBins-weights",
        lambda: ke.TimeFrequencyLoss(
            ke.Spectrogram(**SIZES),
            ke.ElementwiseLoss(),
            ke.MeanOverBins([0.5 + i for i in range(129)]),
        ),
    ),
    Case(
        "Transport-positions",
        _of_losses(
            _transport(positions="mel", sr=SAMPLE_RATE, htk=True),
            _transport(positions="mel", sr=SAMPLE_RATE, p=1),
            _transport(positions="log", sr=SAMPLE_RATE),
            _transport(positions="linear", root=True),
        ),
    ),
    Case(
        "Transport-options",
        _of_losses(
            _transport(p=1, circular=True),
            _transport(axis="time"),
            _transport(reference="target", balanced=False, weighting="energy"),
            _transport(weighting="active"),
        ),
    ),
    Case("MRSTFTLoss-valid", lambda: ke.MRSTFTLoss((64,), (256,), center=False)),
    Case("FIRFilter-long", lambda: ke.MappedLoss(ke.FIRFilter([0.1] * 600), _small())),
    Case("LogWMSELoss-sum", lambda: ke.LogWMSELoss([0.1] * 600, "sum"), n_channels=2),
    Case("LogWMSELoss-p", lambda: ke.LogWMSELoss([1.0], p=0.5), n_channels=2),
    Case("LogWMSELoss-last", lambda: ke.LogWMSELoss([1.0], "last"), n_channels=3),
    Case(
        "ratios",
        lambda: ke.SumLoss(
            [
                ke.SNRLoss(zero_mean=False, eps_mode="relative"),
                ke.SISDRLoss(zero_mean=False),
                ke.SDSDRLoss(zero_mean=False, eps_mode="both"),
            ]
        ),
    ),
    Case("L1SNRLoss-level", lambda: ke.L1SNRLoss(level=True)),
    Case("EnergyDecayLoss-range", lambda: ke.EnergyDecayLoss(range_db=20.0)),
    Case(
        "LoudnessRatioLoss-options",
        lambda: ke.LoudnessRatioLoss(
            3400,
            1,
            0.5,
            temperature=2.0,
            reduction="mean",
            weighting="torchaudio",
        ),
    ),
    Case(
        "joined",
        lambda: ke.SumLoss(
            [
                ke.L1SNRLoss(joined=True),
                ke.LevelLoss(delta_lambda=0.0, joined=True),
                ke.TimeFrequencyLoss(
                    ke.STFT(**SIZES),
                    [
                        ke.SpectralL1SNRLoss(joined=True),
                        ke.SpectralLevelLoss(delta_lambda=0.0, joined=True),
                    ],
                ),
            ]
        ),
        n_channels=2,
    ),
    Case("WSDRLoss-sum", lambda: ke.WSDRLoss("sum"), n_channels=3),
    Case("WSDRLoss-target", lambda: ke.WSDRLoss("target")),
    Case("SNRLoss-last", lambda: ke.SNRLoss(mixture="last"), n_channels=3),
    Case("SISDRLoss-sum", lambda: ke.SISDRLoss(mixture="sum"), n_channels=3),
    Case(
        "SDSDRLoss-sum",
        lambda: ke.SDSDRLoss(eps_mode="both", mixture="sum"),
        n_channels=3,
    ),
    Case(
        "SDSDRLoss-last",
        lambda: ke.SDSDRLoss(eps_mode="relative", mixture="last"),
        n_channels=3,
    ),
]

ALL = [
    *MAPS,
    *TRANSFORMS,
    *SCALES,
    *COMPLEX_SCALES,
    *SPECTRAL_LOSSES,
    *COMPLEX_LOSSES,
    *BATCH_LOSSES,
    *LEVEL_LOSSES,
    *COMPOSITES,
    *LEVELS,
    *BATCHES,
]


def signals(
    *lead: int, seed: int = 0, dtype: Any = jnp.float32
) -> tuple[jax.Array, jax.Array]:
    """A pair of noise signals of shape `(*lead, N_SAMPLES)`."""
    keys = jax.random.split(jax.random.key(seed))
    x, y = (0.3 * jax.random.normal(key, (*lead, N_SAMPLES)) for key in keys)
    return x.astype(dtype), y.astype(dtype)


def arguments(case: Case) -> tuple[jax.Array, ...]:
    """Two examples of inputs for any object."""
    if case in [*COMPOSITES, *LEVELS, *BATCHES, *OPTIONS]:
        return case.signals(2)
    if case in MAPS or case in TRANSFORMS:
        return case.signals(2)[:1]
    is_complex = case in COMPLEX_SCALES or case in COMPLEX_LOSSES
    transform = ke.STFT(**SIZES) if is_complex else ke.Spectrogram(**SIZES)
    x, y = map(transform, signals(2))
    return (x,) if case in SCALES or case in COMPLEX_SCALES else (x, y)
