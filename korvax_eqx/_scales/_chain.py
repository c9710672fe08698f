"""Scales one after the other."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import Array, Inexact

from korvax_eqx._base import AbstractScale
from korvax_eqx._checks import refuse
from korvax_eqx._static import as_module


class Chain(AbstractScale):
    """Applies several scales in the order given: the first one sees the spectrum.

    `Chain((MelScale(sr=16000, n_fft=1024), Log()))` is a log-mel spectrum.
    """

    scales: tuple[Any, ...]

    def __init__(self, scales: Sequence[Callable[..., Any]]) -> None:
        """**Arguments:**

        - `scales`: at least one callable from spectra to spectra; a `Chain` is one too.

        **Raises:** `ValueError` if there is none, or if one is not callable.
        """
        is_sequence = isinstance(scales, Sequence) and not isinstance(scales, str)
        if not is_sequence or not scales or not all(map(callable, scales)):
            rule = "be a non-empty sequence of scales, i.e. callables"
            remedy = "For one, write `Chain((scale,))`; for none, `Identity()`."
            refuse("Chain", "scales", rule, scales, remedy)
        self.scales = tuple(map(as_module, scales))

    @jax.named_scope("korvax_eqx.Chain")
    def __call__(
        self, S: Inexact[Array, "*channels n_bins n_frames"]
    ) -> Inexact[Array, "*channels n_bins_out n_frames_out"]:
        """**Arguments:** `S`, what the first scale takes.

        **Returns:** what the last one returns.
        """
        for scale in self.scales:
            S = scale(S)
        return S
