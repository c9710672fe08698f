"""The magnitude of complex spectra, to a power."""

from typing import ClassVar

import equinox as eqx

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._safe import FloorMode, floored_power, magnitude_power
from korvax_eqx._platform import target

_OWNER = "Magnitude"


class Magnitude(AbstractScale):
    r"""Magnitude of complex spectra to a power: $|X|^p$, the last step of a
    `Spectrogram`.

    The derivative at 0 is defined as 0. With a floor, the value is $\max(|X|^2,
    \epsilon)^{p/2}$, or $(|X|^2 + \epsilon)^{p/2}$ with `floor_mode="add"`.

    `TimeFrequencyLoss(STFT(), losses, [Magnitude(), RealImaginary()])` compares both
    magnitudes and complex values, with one transform.
    """

    scope: ClassVar[Scope] = "value"
    power: float = eqx.field(static=True)
    floor: float = eqx.field(static=True)
    floor_mode: FloorMode = eqx.field(static=True)

    def __init__(
        self,
        power: float = 1.0,
        floor: float = 0.0,
        floor_mode: FloorMode = "clip",
    ) -> None:
        """**Arguments:**

        - `power`: the exponent $p > 0$; 1 gives magnitudes, 2 powers.
        - `floor`: the smallest power $|X|^2$, at least 0.
        - `floor_mode`: `"clip"` raises smaller powers to the floor, with derivative 0;
            `"add"` adds the floor to all powers.

        **Raises:** `ValueError` for a value outside these ranges.
        """
        self.power = checks.positive(_OWNER, "power", power)
        self.floor = checks.non_negative(_OWNER, "floor", floor)
        modes = ("clip", "add")
        self.floor_mode = checks.one_of(_OWNER, "floor_mode", floor_mode, modes)

    def apply(self, data: Spectra) -> Spectra:
        if self.floor > 0:
            S = floored_power(data.S, self.power, self.floor, self.floor_mode)
        else:
            S = magnitude_power(data.S, self.power)
        is_root = self.power not in (1, 2)
        return data.holding(S, data.S if is_root and target().keeps_source else None)
