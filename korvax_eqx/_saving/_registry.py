"""The classes that names in a file stand for. A name never imports anything."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import equinox as eqx

from korvax_eqx._composites._balancer import GradientBalancer
from korvax_eqx._composites._consistency import ConsistencyLoss
from korvax_eqx._composites._mapped import MappedLoss
from korvax_eqx._composites._mixture_invariant import MixtureInvariantLoss
from korvax_eqx._composites._mrstft import MRSTFTLoss
from korvax_eqx._composites._multi_resolution import MultiResolutionLoss
from korvax_eqx._composites._permutation_invariant import PermutationInvariantLoss
from korvax_eqx._composites._pitch_transport import PitchTransportLoss
from korvax_eqx._composites._prediction import PredictionLoss
from korvax_eqx._composites._random_subset import RandomSubsetLoss
from korvax_eqx._composites._smooth_mrstft import SmoothMRSTFTLoss
from korvax_eqx._composites._sum import SumLoss
from korvax_eqx._composites._time_frequency import TimeFrequencyLoss
from korvax_eqx._core._loss import BoundLoss
from korvax_eqx._losses._cumulative_energy import CumulativeEnergyLoss
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._losses._gompsnr import GOMPSNRLoss
from korvax_eqx._losses._norm import NormLoss
from korvax_eqx._losses._phase import PhaseLoss
from korvax_eqx._losses._pmsqe import PMSQELoss
from korvax_eqx._losses._relative import BatchRelativeLoss, RelativeLoss
from korvax_eqx._losses._spectral_convergence import (
    BatchSpectralConvergenceLoss,
    SpectralConvergenceLoss,
)
from korvax_eqx._losses._spectral_l1_snr import SpectralL1SNRLoss
from korvax_eqx._losses._spectral_level import SpectralLevelLoss
from korvax_eqx._losses._transport import SpectralOptimalTransportLoss
from korvax_eqx._maps._a_weighting import AWeightingFilter
from korvax_eqx._maps._channel_mix import ChannelMix
from korvax_eqx._maps._fir import FIRFilter
from korvax_eqx._maps._gradient_scale import GradientScale
from korvax_eqx._maps._k_weighting import KWeightingFilter
from korvax_eqx._maps._mid_side import MidSide
from korvax_eqx._maps._pqmf import PQMF
from korvax_eqx._maps._pre_emphasis import PreEmphasis
from korvax_eqx._maps._resample import Resample
from korvax_eqx._scales._chain import Chain
from korvax_eqx._scales._cumulative_sum import CumulativeSum
from korvax_eqx._scales._decibel import AmplitudeToDB, PowerToDB
from korvax_eqx._scales._difference import Difference
from korvax_eqx._scales._features import (
    SpectralCentroid,
    SpectralFlatness,
    SpectralRolloff,
)
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._log import Log
from korvax_eqx._scales._magnitude import Magnitude
from korvax_eqx._scales._mean_over_bins import MeanOverBins
from korvax_eqx._scales._mel import MelScale
from korvax_eqx._scales._one_sided_power import OneSidedPower
from korvax_eqx._scales._power import Power
from korvax_eqx._scales._power_compression import PowerCompression
from korvax_eqx._scales._real_imaginary import RealImaginary
from korvax_eqx._scales._weighting import (
    AWeighting,
    BWeighting,
    CWeighting,
    DWeighting,
)
from korvax_eqx._time_domain._dc import DCLoss
from korvax_eqx._time_domain._energy_decay import EnergyDecayLoss
from korvax_eqx._time_domain._esr import ESRLoss
from korvax_eqx._time_domain._l1_snr import L1SNRLoss
from korvax_eqx._time_domain._level import LevelLoss
from korvax_eqx._time_domain._log_cosh import LogCoshLoss
from korvax_eqx._time_domain._log_wmse import LogWMSELoss
from korvax_eqx._time_domain._loudness_ratio import LoudnessRatioLoss
from korvax_eqx._time_domain._sd_sdr import SDSDRLoss
from korvax_eqx._time_domain._si_sdr import SISDRLoss
from korvax_eqx._time_domain._snr import SNRLoss
from korvax_eqx._time_domain._stoi import STOILoss
from korvax_eqx._time_domain._waveform import WaveformLoss
from korvax_eqx._time_domain._wsdr import WSDRLoss
from korvax_eqx._transforms._chroma import Chroma
from korvax_eqx._transforms._cqt import CQT
from korvax_eqx._transforms._mel_spectrogram import MelSpectrogram
from korvax_eqx._transforms._mfcc import MFCC
from korvax_eqx._transforms._spectrogram import Spectrogram
from korvax_eqx._transforms._stft import STFT
from korvax_eqx._transforms._vqt import VQT

# A name, once released, is kept for ever: files hold it.
CLASSES: Mapping[str, type[eqx.Module]] = MappingProxyType(
    {
        "AWeighting": AWeighting,
        "AmplitudeToDB": AmplitudeToDB,
        "BWeighting": BWeighting,
        "BatchRelativeLoss": BatchRelativeLoss,
        "BatchSpectralConvergenceLoss": BatchSpectralConvergenceLoss,
        "CQT": CQT,
        "CWeighting": CWeighting,
        "Chain": Chain,
        "Chroma": Chroma,
        "ConsistencyLoss": ConsistencyLoss,
        "CumulativeEnergyLoss": CumulativeEnergyLoss,
        "CumulativeSum": CumulativeSum,
        "DWeighting": DWeighting,
        "Difference": Difference,
        "ElementwiseLoss": ElementwiseLoss,
        "GOMPSNRLoss": GOMPSNRLoss,
        "Identity": Identity,
        "Log": Log,
        "MFCC": MFCC,
        "MRSTFTLoss": MRSTFTLoss,
        "Magnitude": Magnitude,
        "MeanOverBins": MeanOverBins,
        "MelScale": MelScale,
        "MelSpectrogram": MelSpectrogram,
        "NormLoss": NormLoss,
        "OneSidedPower": OneSidedPower,
        "PMSQELoss": PMSQELoss,
        "PhaseLoss": PhaseLoss,
        "PitchTransportLoss": PitchTransportLoss,
        "Power": Power,
        "PowerCompression": PowerCompression,
        "PowerToDB": PowerToDB,
        "PredictionLoss": PredictionLoss,
        "RealImaginary": RealImaginary,
        "RelativeLoss": RelativeLoss,
        "STFT": STFT,
        "SmoothMRSTFTLoss": SmoothMRSTFTLoss,
        "SpectralCentroid": SpectralCentroid,
        "SpectralConvergenceLoss": SpectralConvergenceLoss,
        "SpectralFlatness": SpectralFlatness,
        "SpectralL1SNRLoss": SpectralL1SNRLoss,
        "SpectralLevelLoss": SpectralLevelLoss,
        "SpectralOptimalTransportLoss": SpectralOptimalTransportLoss,
        "SpectralRolloff": SpectralRolloff,
        "Spectrogram": Spectrogram,
        "TimeFrequencyLoss": TimeFrequencyLoss,
        "VQT": VQT,
        "WaveformLoss": WaveformLoss,
        "ESRLoss": ESRLoss,
        "DCLoss": DCLoss,
        "LevelLoss": LevelLoss,
        "LogCoshLoss": LogCoshLoss,
        "LogWMSELoss": LogWMSELoss,
        "SNRLoss": SNRLoss,
        "SISDRLoss": SISDRLoss,
        "SDSDRLoss": SDSDRLoss,
        "STOILoss": STOILoss,
        "L1SNRLoss": L1SNRLoss,
        "WSDRLoss": WSDRLoss,
        "LoudnessRatioLoss": LoudnessRatioLoss,
        "EnergyDecayLoss": EnergyDecayLoss,
        "MappedLoss": MappedLoss,
        "MixtureInvariantLoss": MixtureInvariantLoss,
        "MultiResolutionLoss": MultiResolutionLoss,
        "PermutationInvariantLoss": PermutationInvariantLoss,
        "RandomSubsetLoss": RandomSubsetLoss,
        "SumLoss": SumLoss,
        "AWeightingFilter": AWeightingFilter,
        "ChannelMix": ChannelMix,
        "FIRFilter": FIRFilter,
        "GradientScale": GradientScale,
        "GradientBalancer": GradientBalancer,
        "KWeightingFilter": KWeightingFilter,
        "MidSide": MidSide,
        "PQMF": PQMF,
        "Resample": Resample,
        "PreEmphasis": PreEmphasis,
    }
)

# Renamed arguments: by class and old name, the new name and the new names of values.
_RENAMED: Mapping[str, Mapping[str, tuple[str, Mapping[Any, Any]]]] = MappingProxyType(
    {
        "Log": {"floor": ("floor_mode", {"clamp": "clip"})},
        "Power": {"floor": ("floor_mode", {"clamp": "clip"})},
    }
)


def renamed_arguments(name: str, given: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the arguments of a class of the package under their current names."""
    arguments = dict(given)
    for old, (new, values) in _RENAMED.get(name, {}).items():
        if old in arguments and new not in arguments:
            value = arguments.pop(old)
            is_word = isinstance(value, str)
            arguments[new] = values.get(value, value) if is_word else value
    return arguments


# Classes of the package that are not saved, and what to do instead.
NOT_SAVED: Mapping[type[eqx.Module], str] = MappingProxyType(
    {BoundLoss: "It holds the data of its target: save the loss and bind it again."}
)


def is_own(cls: type[Any]) -> bool:
    """Whether `cls` is a class of the package that can be saved."""
    return CLASSES.get(cls.__name__) is cls


def with_custom(custom: Iterable[Any]) -> dict[str, type[eqx.Module]]:
    """Return the classes by name, including the user's.

    **Raises:** `ValueError` for anything but subclasses of `eqx.Module`, and for two
    classes of the same name.
    """
    classes = dict(CLASSES)
    for cls in custom:
        if not isinstance(cls, type) or not issubclass(cls, eqx.Module):
            raise ValueError(
                "`custom` must hold classes derived from `eqx.Module`, e.g. "
                f"`custom=(MyScale,)`. Got {cls!r}."
            )
        add_class(classes, cls)
    return classes


def add_class(classes: dict[str, type[eqx.Module]], cls: type[eqx.Module]) -> None:
    """Add a class under its name, which must be free."""
    name = cls.__name__
    if classes.setdefault(name, cls) is not cls:
        whose = "one of korvax_eqx" if name in CLASSES else "another one of yours"
        raise ValueError(
            f"Two classes are called `{name}`: {cls.__module__}.{cls.__qualname__}, "
            f"and {whose}. Files refer to classes by name: rename one."
        )
