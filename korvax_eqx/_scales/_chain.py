"""Scales one after the other."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Array, Inexact, Int

from korvax_eqx._base import AbstractResizingScale, Count
from korvax_eqx._checks import refuse
from korvax_eqx._scales._frames import frames_left, is_framewise, scaled_frames
from korvax_eqx._scope import Scope
from korvax_eqx._static import as_module, items_of


class Chain(AbstractResizingScale):
    """Applies several scales in the order given: the first one sees the spectrum.

    `Chain((MelScale(sr=16000, n_fft=1024), Log()))` is a log-mel spectrum.
    """

    scales: tuple[Any, ...]

    def __init__(self, scales: Sequence[Callable[..., Any]]) -> None:
        """**Arguments:**

        - `scales`: at least one callable from spectra to spectra; a `Chain` is one too.

        **Raises:** `ValueError` if there is none, or if one is not callable.
        """
        items = items_of(scales)
        if not items or not all(map(callable, items)):
            rule = "be a non-empty sequence of scales, i.e. callables"
            remedy = "For one, write `Chain((scale,))`; for none, `Identity()`."
            refuse("Chain", "scales", rule, scales, remedy)
        self.scales = tuple(map(as_module, items))

    def n_frames(self, n_frames: Count) -> Count:
        for scale in self.scales:
            n_frames = frames_left(scale, n_frames)
        return n_frames

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "frame" if all(map(is_framewise, self.scales)) else "signal"

    def frames(
        self,
        S: Inexact[Array, "*rows n_frames n_bins"],
        n_frames: Int[Array, "*rows"] | None = None,
    ) -> Inexact[Array, "*rows n_frames_out n_bins_out"]:
        for scale in self.scales:
            S = scaled_frames(scale, S, n_frames)
            n_frames = frames_left(scale, n_frames)
        return S
