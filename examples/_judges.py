"""Objective measures of quality, from optional packages.

pip install pesq pystoi visqol-python zimtohrli
"""

import dataclasses
import importlib
from collections.abc import Callable

import numpy as np
import soxr
from _excerpts import SR
from jaxtyping import Float

Signal = Float[np.ndarray, " n_samples"]


@dataclasses.dataclass(frozen=True)
class Judge:
    """Rates `y` against the reference `x`, more is better."""

    name: str
    rate: Callable[[Signal, Signal], float]
    of_speech_only: bool


def _pesq() -> Judge:
    pesq = importlib.import_module("pesq")

    def rate(x: Signal, y: Signal) -> float:
        return pesq.pesq(16_000, _at_16_khz(x), _at_16_khz(y), "wb")

    return Judge("PESQ", rate, of_speech_only=True)


def _stoi() -> Judge:
    pystoi = importlib.import_module("pystoi")

    def rate(x: Signal, y: Signal) -> float:
        return pystoi.stoi(_at_16_khz(x), _at_16_khz(y), 16_000)

    return Judge("STOI", rate, of_speech_only=True)


def _visqol() -> Judge:
    visqol = importlib.import_module("visqol")

    api = visqol.VisqolApi()
    api.create(mode="audio")

    def rate(x: Signal, y: Signal) -> float:
        x, y = x.astype(float), y.astype(float)
        return api.measure_from_arrays(x, y, SR).moslqo

    return Judge("ViSQOL", rate, of_speech_only=False)


def _zimtohrli() -> Judge:
    zimtohrli = importlib.import_module("zimtohrli")

    return Judge("Zimtohrli", zimtohrli.mos_from_signals, of_speech_only=False)


def _at_16_khz(x: Signal) -> Signal:
    return soxr.resample(x, SR, 16_000)


def judges() -> tuple[list[Judge], list[str]]:
    """Return the judges that are installed, and the names of the others."""
    found, missing = [], []
    makers = {
        "pesq": _pesq,
        "pystoi": _stoi,
        "visqol-python": _visqol,
        "zimtohrli": _zimtohrli,
    }
    for package, make in makers.items():
        try:
            found.append(make())
        except ImportError:
            missing.append(package)
    return found, missing
