"""The losses that the command knows by name, including recipes, and saved losses."""

import dataclasses
import inspect
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import equinox as eqx

from korvax_eqx import recipes
from korvax_eqx._cli._error import CommandError, check_file
from korvax_eqx._composites._mapped import MappedLoss
from korvax_eqx._composites._mrstft import MRSTFTLoss
from korvax_eqx._composites._pitch_transport import PitchTransportLoss
from korvax_eqx._composites._smooth_mrstft import SmoothMRSTFTLoss
from korvax_eqx._composites._time_frequency import TimeFrequencyLoss
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._losses._spectral_convergence import SpectralConvergenceLoss
from korvax_eqx._maps._channel_mix import ChannelMix
from korvax_eqx._maps._mid_side import MidSide
from korvax_eqx._maps._resample import Resample
from korvax_eqx._names import did_you_mean
from korvax_eqx._saving._error import LoadError
from korvax_eqx._saving._file import load as load_loss
from korvax_eqx._scales._decibel import PowerToDB
from korvax_eqx._time_domain._si_sdr import SISDRLoss
from korvax_eqx._time_domain._snr import SNRLoss
from korvax_eqx._transforms._mel_spectrogram import MelSpectrogram
from korvax_eqx._transforms._spectrogram import Spectrogram

DESCRIPTIONS = {
    "mrstft": "recipes.mrstft(): multi-resolution STFT, log_eps 1e-2 (recommended)",
    "korvax": "MRSTFTLoss(): multi-resolution STFT, log_eps 1e-7 as in korvax",
    "smooth": "SmoothMRSTFTLoss(): multi-resolution STFT that is smooth in pitch",
    "pitch": "PitchTransportLoss(): how far energy moves in frequency, as part of sr/2",
    "mel": "mean absolute difference in dB of 80 mel bands, floor at -80 dB re 1",
    "convergence": "spectral convergence of magnitudes: their relative error",
    "si_sdr": "scale-invariant signal-to-distortion ratio in dB: higher is better",
    "snr": "signal-to-noise ratio in dB: higher is better",
}


def frame_length(sr: float) -> int:
    """Return the power of two that is nearest to 46 ms: 2048 at 44.1 and 48 kHz."""
    return 2 ** max(4, round(math.log2(0.046 * sr)))


def _pitch(sr: float) -> PitchTransportLoss:
    n_fft = frame_length(sr)
    return PitchTransportLoss(n_fft, n_fft // 8)


def _mel(sr: float) -> TimeFrequencyLoss:
    n_fft = frame_length(sr)
    transform = MelSpectrogram(sr, n_fft, n_mels=80, hop_length=n_fft // 4)
    # No `top_db`: a floor below each signal's own maximum would hide gains.
    scale = PowerToDB(amin=1e-8, top_db=None)
    return TimeFrequencyLoss(transform, ElementwiseLoss("L1"), scale)


def _convergence(sr: float) -> TimeFrequencyLoss:
    n_fft = frame_length(sr)
    transform = Spectrogram(n_fft, n_fft // 4, power=1.0)
    return TimeFrequencyLoss(transform, SpectralConvergenceLoss())


_BUILDERS: dict[str, Callable[[float], AbstractLoss]] = {
    "mrstft": lambda sr: recipes.mrstft(),
    "korvax": lambda sr: MRSTFTLoss(),
    "smooth": lambda sr: SmoothMRSTFTLoss(),
    "pitch": _pitch,
    "mel": _mel,
    "convergence": _convergence,
    "si_sdr": lambda sr: -SISDRLoss(),
    "snr": lambda sr: -SNRLoss(),
}


# Names of the first argument of recipes that take a sample rate.
_RATES = ("sample_rate", "sampling_rate", "sr", "fs")


def builders() -> dict[str, Callable[[float], AbstractLoss]]:
    """Return functions from a sample rate to a loss, by the name of the loss."""
    return {**_BUILDERS, **{n: _at_rate(r) for n, r in _recipes().items()}}


def named(name: str) -> Callable[[float], AbstractLoss] | None:
    """Return the function from a sample rate to a loss known by name.

    Recipes can also be given by their Python names: `recipes.dac_mel`.
    """
    return builders().get(name) or builders().get(name.removeprefix("recipes."))


def descriptions() -> dict[str, str]:
    """Return one line for each loss that is known by name."""
    recipe_lines = {
        name: (inspect.getdoc(recipe) or "").partition("\n")[0]
        for name, recipe in _recipes().items()
    }
    return {**DESCRIPTIONS, **recipe_lines}


def _recipes() -> dict[str, Callable[..., AbstractLoss]]:
    """The recipes by name."""
    return {
        name: value
        for name, value in sorted(vars(recipes).items())
        if inspect.isfunction(value) and not name.startswith("_")
    }


def _at_rate(recipe: Callable[..., AbstractLoss]) -> Callable[[float], AbstractLoss]:
    first = next(iter(inspect.signature(recipe).parameters), "")
    return recipe if first in _RATES else lambda sr: recipe()


def get_loss(
    name_or_path: str,
) -> tuple[Callable[[float], AbstractLoss], float | None]:
    """Return the function from a sample rate to the loss, and the rate that it needs.

    The rate is `None` for losses known by name, which can be made for any rate.
    """
    build = named(name_or_path)
    if build is not None:
        return build, None
    if not os.path.exists(name_or_path):
        names = ", ".join(_BUILDERS)
        guess = did_you_mean(name_or_path, builders()).rstrip()
        raise CommandError(
            f"--loss {name_or_path}: neither a name ({names}, or a recipe: see --list) "
            f"nor a file that exists. {guess}".rstrip()
        )
    loss = load(name_or_path)
    if not isinstance(loss, AbstractLoss):
        raise CommandError(
            f"--loss {name_or_path}: holds a {type(loss).__name__}, which does not "
            "compare signals. Save a loss on signals, e.g. a MRSTFTLoss or "
            "TimeFrequencyLoss."
        )
    rates = set(_rates(loss))
    if len(rates) > 1:
        listed = ", ".join(f"{rate:g}" for rate in sorted(rates))
        raise CommandError(
            f"--loss {name_or_path}: its parts are made for different sample rates: "
            f"{listed} Hz."
        )
    return lambda sr: loss, rates.pop() if rates else None


def load(path: str) -> Any:
    """Load a saved file. Errors are raised as `CommandError`."""
    check_file(path)
    try:
        return load_loss(path)
    except LoadError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}.") from error


def n_channels(loss: Any) -> set[int]:
    """Return how many channels the files must have, for losses that mix them."""
    if isinstance(loss, MappedLoss) and isinstance(loss.map_fn, MidSide):
        return {2}
    if isinstance(loss, MappedLoss) and isinstance(loss.map_fn, ChannelMix):
        return {loss.map_fn.matrix.shape[-1]}
    return {n for part in _held(loss) for n in n_channels(part)}


def _rates(part: Any) -> Iterator[float]:
    """Yield every sample rate that is configured for what a module is called with."""
    if isinstance(part, MappedLoss) and isinstance(part.map_fn, Resample):
        yield float(part.map_fn.sr)
        return
    sr = getattr(part, "sr", None)
    if isinstance(part, eqx.Module) and isinstance(sr, int | float):
        yield float(sr)
    for held in _held(part):
        yield from _rates(held)


def _held(part: Any) -> list[Any]:
    """Return what a module, a sequence or a mapping holds."""
    if isinstance(part, eqx.Module):
        return [getattr(part, f.name, None) for f in dataclasses.fields(part)]
    if isinstance(part, Mapping):
        return list(part.values())
    return list(part) if isinstance(part, tuple | list) else []
