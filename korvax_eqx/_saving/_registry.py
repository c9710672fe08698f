"""Which class a name in a file stands for. A name never imports anything."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import equinox as eqx

from korvax_eqx._composites._bound import BoundLoss
from korvax_eqx._composites._mrstft import MRSTFTLoss
from korvax_eqx._composites._pitch_transport import PitchTransportLoss
from korvax_eqx._composites._smooth_mrstft import SmoothMRSTFTLoss
from korvax_eqx._composites._time_frequency import TimeFrequencyLoss
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._losses._spectral_convergence import SpectralConvergenceLoss
from korvax_eqx._losses._transport import SpectralOptimalTransportLoss
from korvax_eqx._scales._chain import Chain
from korvax_eqx._scales._decibel import AmplitudeToDB, PowerToDB
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._log import Log
from korvax_eqx._scales._mel import MelScale
from korvax_eqx._scales._weighting import (
    AWeighting,
    BWeighting,
    CWeighting,
    DWeighting,
)
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
        "CQT": CQT,
        "CWeighting": CWeighting,
        "Chain": Chain,
        "DWeighting": DWeighting,
        "ElementwiseLoss": ElementwiseLoss,
        "Identity": Identity,
        "Log": Log,
        "MFCC": MFCC,
        "MRSTFTLoss": MRSTFTLoss,
        "MelScale": MelScale,
        "MelSpectrogram": MelSpectrogram,
        "PowerToDB": PowerToDB,
        "STFT": STFT,
        "PitchTransportLoss": PitchTransportLoss,
        "SmoothMRSTFTLoss": SmoothMRSTFTLoss,
        "SpectralConvergenceLoss": SpectralConvergenceLoss,
        "SpectralOptimalTransportLoss": SpectralOptimalTransportLoss,
        "Spectrogram": Spectrogram,
        "TimeFrequencyLoss": TimeFrequencyLoss,
        "VQT": VQT,
    }
)

# Classes of the package that are not saved, and what to do instead.
NOT_SAVED: Mapping[type[eqx.Module], str] = MappingProxyType(
    {BoundLoss: "It holds the data of its target: save the loss and bind it again."}
)


def is_own(cls: type[Any]) -> bool:
    """Whether `cls` is a class of the package that can be saved."""
    return CLASSES.get(cls.__name__) is cls


def with_custom(custom: Iterable[Any]) -> dict[str, type[eqx.Module]]:
    """Return the classes by name, the user's included.

    **Raises:** `ValueError` for something that is no class of modules, and for two
    classes of one name.
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
        whose = "of korvax_eqx" if name in CLASSES else "too"
        raise ValueError(
            f"Two classes are called `{name}`: {cls.__module__}.{cls.__qualname__}, "
            f"and another {whose}. Names stand for classes in a file: rename one."
        )
