"""Several scales in a row."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Array, Int

from korvax_eqx._checks import refuse
from korvax_eqx._core._plain import as_scale
from korvax_eqx._core._steps import (
    AbstractScale,
    AbstractStep,
    Scope,
    applied,
    widest,
)
from korvax_eqx._data import Spectra
from korvax_eqx._engine._plan import path_of
from korvax_eqx._static import as_module, items_of


class Chain(AbstractScale):
    """Applies several scales in the order given, starting with the first.

    `Chain((MelScale(sr=16000, n_fft=1024), Log()))` is a log-mel spectrum.
    """

    scales: tuple[Any, ...]

    def __init__(self, scales: Sequence[Callable[..., Any]]) -> None:
        """**Arguments:**

        - `scales`: one or more callables from spectra to spectra. A `Chain` may hold
            another.

        **Raises:** `ValueError` if the list is empty, or an entry is not callable.
        """
        items = items_of(scales)
        if not items or not all(map(callable, items)):
            rule = "be a non-empty sequence of scales, i.e. callables"
            remedy = "For one, write `Chain((scale,))`; for none, `Identity()`."
            refuse("Chain", "scales", rule, scales, remedy)
        self.scales = tuple(map(as_module, items))

    @property
    def path(self) -> tuple[AbstractStep, ...]:
        return tuple(step for scale in self.scales for step in path_of(as_scale(scale)))

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        return widest(self.path)

    def frames_left(self, n_frames: Int[Array, "*rows"]) -> Int[Array, "*rows"]:
        for scale in self.scales:
            n_frames = as_scale(scale).frames_left(n_frames)
        return n_frames

    def apply(self, data: Spectra) -> Spectra:
        return applied(self.path, data)
