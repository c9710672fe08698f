"""The magnitude of complex spectra, to a power."""

from typing import ClassVar

import equinox as eqx

from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._safe import FloorMode, floored_power, magnitude_power


class Magnitude(AbstractScale):
    r"""$|X|^p$, or with a floor $\max(|X|^2, \epsilon)^{p/2}$, see `Spectrogram`."""

    scope: ClassVar[Scope] = "value"
    power: float = eqx.field(static=True)
    floor: float = eqx.field(static=True)
    floor_mode: FloorMode = eqx.field(static=True)

    def apply(self, data: Spectra) -> Spectra:
        if self.floor > 0:
            floor, mode = self.floor, self.floor_mode
            return data.map(lambda X: floored_power(X, self.power, floor, mode))
        return data.map(lambda X: magnitude_power(X, self.power))
