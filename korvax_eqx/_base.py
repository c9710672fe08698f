"""The four kinds of object, as bases to extend.

A class that derives from one of these promises to treat every index of the leading
axes on its own (a loss: to return the mean over them). The evaluation engine relies
on it to cut the batch into pieces and to leave it sharded over devices. A callable
that cannot promise this, e.g. one that normalises over the batch, is given as any
other callable: it is then evaluated whole.
"""

from abc import abstractmethod

import equinox as eqx
from jaxtyping import Array, Float, Inexact


class AbstractTransform(eqx.Module):
    """Signals to spectra."""

    @abstractmethod
    def __call__(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Inexact[Array, "*channels n_bins n_frames"]:
        """Transform every signal of `x` on its own."""


class AbstractScale(eqx.Module):
    """Spectra to spectra: a change of magnitude, of bins or of both."""

    @abstractmethod
    def __call__(
        self, S: Inexact[Array, "*channels n_bins n_frames"]
    ) -> Inexact[Array, "*channels n_bins_out n_frames"]:
        """Scale every spectrum of `S` on its own."""


class AbstractSpectralLoss(eqx.Module):
    """Two spectra to one number, averaged over the leading axes."""

    @abstractmethod
    def __call__(
        self,
        S_x: Inexact[Array, "*channels n_bins n_frames"],
        S_y: Inexact[Array, "*channels n_bins n_frames"],
    ) -> Float[Array, ""]:
        """Compare the estimate `S_x` with the target `S_y`."""


class AbstractLoss(eqx.Module):
    """Two signals to one number, averaged over the leading axes."""

    @abstractmethod
    def __call__(
        self,
        x: Float[Array, "*channels n_samples"],
        y: Float[Array, "*channels n_samples"],
    ) -> Float[Array, ""]:
        """Compare the estimate `x` with the target `y`."""
