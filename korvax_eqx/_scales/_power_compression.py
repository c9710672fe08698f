"""Complex spectra whose magnitudes are compressed by a power."""

from typing import ClassVar

import equinox as eqx

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra
from korvax_eqx._numerics._compression import compressed
from korvax_eqx._numerics._safe import FloorMode
from korvax_eqx._platform import target

_OWNER = "PowerCompression"


class PowerCompression(AbstractScale):
    r"""Complex spectra with compressed magnitudes, $A^p e^{j\varphi}$, phases kept.

    $A = \max(|X|, \sqrt\epsilon)$ with `floor_mode="clip"`. With `floor_mode="add"` the
    floor is that of the gain: $X\,(|X|^2 + \epsilon)^{(p-1)/2}$. The loss of speech
    enhancement is `ElementwiseLoss("L2")` on it and on `Magnitude(p)`: quiet bins then
    count nearly as much as loud ones (Ephrat et al. 2018, "Looking to listen at the
    cocktail party", ACM Trans. Graph. 37(4), with $p = 0.3$). In DeepFilterNet the
    floor is clipped, in GTCRN it is added; CMGAN's `power_compress` has none.

    No angle is computed. The derivative is 0 at 0, and where a magnitude is raised to
    the floor; elsewhere it is at most $\max(1, p)\,|X|^{p-1}$, or with
    `floor_mode="add"` $\max(1, p)\,\epsilon^{(p-1)/2}$ for $p < 1$. Powers $|X|^2$
    below the smallest normal number (1e-38 in float32) count as 0, of phase 0.
    """

    scope: ClassVar[Scope] = "value"
    power: float = eqx.field(static=True)
    floor: float = eqx.field(static=True)
    floor_mode: FloorMode = eqx.field(static=True)

    def __init__(
        self,
        power: float = 0.3,
        floor: float = 0.0,
        floor_mode: FloorMode = "clip",
    ) -> None:
        r"""**Arguments:**

        - `power`: the exponent $p > 0$; below 1 it compresses.
        - `floor`: $\epsilon$, a power $|X|^2$, at least 0.
        - `floor_mode`: `"clip"` raises smaller powers to the floor, with derivative 0;
            `"add"` adds it to the power that the gain is made of.

        **Raises:** `ValueError` for a value out of these ranges.
        """
        self.power = checks.positive(_OWNER, "power", power)
        self.floor = checks.non_negative(_OWNER, "floor", floor)
        modes = ("clip", "add")
        self.floor_mode = checks.one_of(_OWNER, "floor_mode", floor_mode, modes)

    def apply(self, data: Spectra) -> Spectra:
        checks.complex_spectrum(_OWNER, "S", data.S)
        power, floor, mode = self.power, self.floor, self.floor_mode
        S = compressed(data.S, power, floor, mode)
        return data.holding(S, data.S if target().keeps_source else None)
