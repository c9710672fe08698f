"""The result of the command `compare`."""

import dataclasses

import numpy as np

from korvax_eqx._cli._align import Pair
from korvax_eqx._cli._audio import Signal
from korvax_eqx._core._loss import AbstractLoss


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of a comparison.

    **Attributes:**

    - `loss_name`, `loss`: the name that the user gave, and the loss.
    - `reference`, `estimate`: the files as they were opened.
    - `pair`: the signals as they were compared.
    - `n_blocks`: how many blocks were evaluated.
    - `channels`: for each channel the loss and its terms, means over the blocks.
    - `warnings`: doubts about the result.
    - `picture`: the file of the picture, or `None`.
    """

    loss_name: str
    loss: AbstractLoss
    reference: Signal
    estimate: Signal
    pair: Pair
    n_blocks: int
    channels: list[tuple[float, dict[str, float]]]
    warnings: list[str]
    picture: str | None

    @property
    def value(self) -> float:
        """The loss: the mean over the channels."""
        return float(np.mean([value for value, _ in self.channels]))

    @property
    def terms(self) -> dict[str, float]:
        """The weighted terms, means over the channels."""
        names = self.channels[0][1]
        return {
            name: float(np.mean([terms[name] for _, terms in self.channels]))
            for name in names
        }
