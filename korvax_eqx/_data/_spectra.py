"""Spectra, and which of their frames are valid."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from korvax_eqx._numerics._padding import cut_off


class Spectra(eqx.Module):
    """A batch of spectra with bins along the last axis, as an FFT returns them.

    **Attributes:**

    - `S`: shape `(*rows, n_frames, n_bins)`. In a loss, frames beyond the end of a
        signal are zero; before the loss they may hold anything finite.
    - `n_frames`: number of valid frames per spectrum, shape `(*rows,)`; `None`: all.
    - `n_whole`: for a segment of a long signal, the number of frames of the whole
        signal. The means of the segments then add up to the mean of the whole.
    - `source`: what `S` was computed from, number by number: `S` is equal where it is
        equal and, if it is real, increases with it. Some platforms compare these.
    """

    S: Inexact[Array, "*rows n_frames n_bins"]
    n_frames: Int[Array, "*rows"] | None = None
    n_whole: int | None = eqx.field(static=True, default=None)
    source: Inexact[Array, "*rows n_frames n_bins"] | None = None

    @property
    def count(self) -> float | Float[Array, "*rows"]:
        """Number of valid values of each spectrum, at least one frame, to divide by."""
        n_frames, n_bins = self.S.shape[-2:]
        if self.n_whole is not None:
            return float(self.n_whole * n_bins)
        if self.n_frames is None:
            return float(n_frames * n_bins)
        # As floats: the number may overflow 32-bit integers.
        n = jnp.maximum(self.n_frames, 1).astype(jnp.finfo(self.S.dtype).dtype)
        return n * n_bins

    def map(self, fn: Callable[[Array], Array]) -> "Spectra":
        """Return `fn(S)` with the same valid frames."""
        return Spectra(fn(self.S), self.n_frames, self.n_whole)

    def holding(
        self,
        S: Inexact[Array, "*rows n_frames n_bins"],
        source: Inexact[Array, "*rows n_frames n_bins"] | None = None,
    ) -> "Spectra":
        """Return other values with the same valid frames."""
        return Spectra(S, self.n_frames, self.n_whole, source)

    def per_frame(self, fn: Callable[[Array], Array]) -> "Spectra":
        """Return `fn(S)`, which has one value per frame, as spectra with one bin."""
        return self.map(lambda S: fn(S)[..., None])

    def cut(self) -> "Spectra":
        """Return the spectra with zeros in the frames beyond the end."""
        if self.n_frames is None:
            return self
        S, source = cut_off(self.S, self.n_frames), self.source
        source = None if source is None else cut_off(source, self.n_frames)
        return Spectra(S, self.n_frames, self.n_whole, source)

    def sum(self) -> Float[Array, "*rows"]:
        """Return the sum over the bins and the valid frames of each spectrum."""
        return jnp.sum(self.cut().S, axis=(-2, -1))

    def mean(self) -> Float[Array, "*rows"]:
        """Return the mean over the bins and the valid frames of each spectrum.

        It is 0 if there is no valid frame.
        """
        if self.n_frames is None and self.n_whole is None:
            return jnp.mean(self.S, axis=(-2, -1))
        return self.sum() / self.count
