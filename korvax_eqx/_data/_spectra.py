"""Spectra, and which of their frames are valid."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from korvax_eqx._numerics._padding import cut_off


class Spectra(eqx.Module):
    """Spectra of one batch, bins along the last axis, as an FFT leaves them.

    **Attributes:**

    - `S`: shape `(*rows, n_frames, n_bins)`. A loss gets zeros in the frames that are
        not valid; before, anything finite may be there.
    - `n_frames`: how many frames of each are valid, shape `(*rows,)`; `None` for all.
    - `n_whole`: of a segment of a long signal, how many frames the whole signal has.
        Means are then parts of the mean over the whole, which add up to it.
    - `order`: numbers that are in the order of those of `S`, for the signs of
        differences, where a platform likes that better.
    """

    S: Inexact[Array, "*rows n_frames n_bins"]
    n_frames: Int[Array, "*rows"] | None = None
    n_whole: int | None = eqx.field(static=True, default=None)
    order: Float[Array, "*rows n_frames n_bins"] | None = None

    @property
    def count(self) -> float | Float[Array, "*rows"]:
        """How many values of each count, to divide by: those of a frame at least."""
        n_frames, n_bins = self.S.shape[-2:]
        if self.n_whole is not None:
            return float(self.n_whole * n_bins)
        if self.n_frames is None:
            return float(n_frames * n_bins)
        # Floats: the number may be beyond the range of 32-bit integers.
        n = jnp.maximum(self.n_frames, 1).astype(jnp.finfo(self.S.dtype).dtype)
        return n * n_bins

    def map(self, fn: Callable[[Array], Array]) -> "Spectra":
        """Return `fn(S)`, which has the same frames."""
        return Spectra(fn(self.S), self.n_frames, self.n_whole)

    def holding(
        self,
        S: Inexact[Array, "*rows n_frames n_bins"],
        order: Float[Array, "*rows n_frames n_bins"] | None = None,
    ) -> "Spectra":
        """Return other values of the same frames."""
        return Spectra(S, self.n_frames, self.n_whole, order)

    def per_frame(self, fn: Callable[[Array], Array]) -> "Spectra":
        """Return `fn(S)`, which has one value for each frame, as spectra of one bin."""
        return self.map(lambda S: fn(S)[..., None])

    def cut(self) -> "Spectra":
        """Return the spectra with zeros in the frames that are not valid."""
        if self.n_frames is None:
            return self
        S, order = cut_off(self.S, self.n_frames), self.order
        order = None if order is None else cut_off(order, self.n_frames)
        return Spectra(S, self.n_frames, self.n_whole, order)

    def sum(self) -> Float[Array, "*rows"]:
        """Return the sum over the bins and the valid frames of each spectrum."""
        return jnp.sum(self.cut().S, axis=(-2, -1))

    def mean(self) -> Float[Array, "*rows"]:
        """Return the mean over the bins and the valid frames of each spectrum.

        Without any valid frame it is 0.
        """
        if self.n_frames is None and self.n_whole is None:
            return jnp.mean(self.S, axis=(-2, -1))
        return self.sum() / self.count
