"""Signals to signals: what may come before a transform or a loss."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from korvax_eqx._repr import constructor_call
from korvax_eqx._scope import Scope


class AbstractSignalMap(eqx.Module):
    """Signals to signals of the same length.

    A class that derives from it promises to map every signal, i.e. every index of the
    leading axes, on its own, and to keep the number of samples. One that combines
    channels derives from `AbstractChannelMap` instead.

    With `scope = "frame"` a class promises that what follows a signal does not change
    it: a signal followed by zeros becomes the same, so that it obeys `lengths`.
    """

    scope: ClassVar[Scope] = "signal"

    @abstractmethod
    def __call__(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Float[Array, "*channels n_samples"]:
        """Map every signal of `x`."""

    def __repr__(self) -> str:
        return constructor_call(self)


class AbstractChannelMap(AbstractSignalMap):
    """Signals of several channels to signals of several, maybe other, channels.

    Channels are the axis before the samples: `(*batch, n_channels, n_samples)` becomes
    `(*batch, n_channels_out, n_samples)`. What is mapped on its own, then, is every
    index of the axes before the channels. Each sample is mixed on its own.
    """

    scope: ClassVar[Scope] = "channels"
