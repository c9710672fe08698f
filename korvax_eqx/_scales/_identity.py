"""No change."""

from typing import ClassVar

from korvax_eqx._core._steps import AbstractScale, AbstractStep, Scope
from korvax_eqx._data import Spectra


class Identity(AbstractScale):
    """Returns spectra unchanged, also complex ones."""

    scope: ClassVar[Scope] = "value"

    @property
    def path(self) -> tuple[AbstractStep, ...]:
        return ()

    def apply(self, data: Spectra) -> Spectra:
        return data
