"""Evaluating a transform or a signal map on its own."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from korvax_eqx._data import Framing, Signals, Spectra
from korvax_eqx._platform import PLATFORMS, target
from korvax_eqx._static import has_plain_callables
from korvax_eqx._tree import Skeleton, take_arrays

from ._call import call_rows
from ._devices import whole_samples
from ._functions import Arrays, Kinds, RowFunction
from ._loop import pieces_of
from ._plan import framing_of_step, path_of
from ._segments import Segments, padded_at_ends
from ._walk import step_on

_LOCAL = ("value", "frame")
# The shortest signal, in samples, that any platform cuts into segments.
_LONG = 4 * min(platform.transform_samples for platform in PLATFORMS.values())


@dataclasses.dataclass(frozen=True)
class RowPath(RowFunction):
    """Apply a path to signals; spectra have the public order of axes.

    With a `framing`, rows are segments of long signals: the first step does not pad,
    and the first and last segment are padded by `before` and `after` samples.
    """

    skeleton: Skeleton
    is_spectral: bool
    framing: Framing | None = None
    before: int = 0
    after: int = 0

    @functools.cached_property
    def is_pure(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not has_plain_callables(self.skeleton.leafless())

    def rows_at_once(self, n_rows: Any, n_samples: int) -> int:
        return pieces_of(n_rows, n_samples, target().transform_samples)

    def kinds(self, shared: Kinds, rows: Kinds) -> tuple[Kinds, Kinds]:
        (x,) = rows
        out = jax.eval_shape(self._one, shared, jax.ShapeDtypeStruct(x.shape, x.dtype))
        return (jax.ShapeDtypeStruct(out.shape, out.dtype),), ()

    def _one(self, shared: Arrays, x: Array) -> Array:
        return self(shared, (x[None],))[0][0][0]

    def __call__(
        self, shared: Arrays, rows: Arrays, is_all: bool = False
    ) -> tuple[Arrays, Arrays]:
        (x,) = rows
        path = self.skeleton.filled(shared)
        if self.framing is not None:
            x = padded_at_ends(x, self.framing, self.before, self.after)
            path = (path[0].unpadded(), *path[1:])
        data: Any = Signals(x)
        for step in path:
            data = step_on(step, data)
        if not self.is_spectral:
            return (data.x,), ()
        # Transposed here, while the piece is in the cache.
        return (jnp.swapaxes(data.S, -1, -2),), ()

    def padding(self, before: int, after: int) -> "RowPath":
        return dataclasses.replace(self, before=before, after=after)

    def segments(self, n_samples: int) -> Segments | None:
        path = self.skeleton.leafless()
        framing = framing_of_step(path[0])
        if framing is None or n_samples < 4 * target().transform_samples:
            return None
        if not all(step.scope in _LOCAL for step in path[1:]):
            return None
        inside = dataclasses.replace(self, framing=framing)
        n_frames = int(path[0].n_frames(n_samples))
        samples = target().transform_samples
        segments = Segments(inside, framing, n_frames, samples)
        return segments if segments.cuts else None


def spectra_of(
    step: Any, x: Float[Array, "*channels n_samples"]
) -> Inexact[Array, "*channels n_bins n_frames"]:
    """Return the spectra of signals, evaluated in pieces of the batch."""
    return _along(path_of(step), x, True)


@dataclasses.dataclass(frozen=True)
class RowInverse(RowFunction):
    """Invert spectra, given as flat rows of real and of imaginary parts."""

    skeleton: Skeleton
    n_bins: int
    n_frames: int
    length: int

    def rows_at_once(self, n_rows: Any, n_samples: int) -> int:
        return pieces_of(n_rows, self.length, target().transform_samples)

    def kinds(self, shared: Kinds, rows: Kinds) -> tuple[Kinds, Kinds]:
        return (jax.ShapeDtypeStruct((self.length,), rows[0].dtype),), ()

    def __call__(
        self, shared: Arrays, rows: Arrays, is_all: bool = False
    ) -> tuple[Arrays, Arrays]:
        re, im = (r.reshape(-1, self.n_bins, self.n_frames) for r in rows)
        S = jnp.swapaxes(jax.lax.complex(re, im), -1, -2)
        return (self.skeleton.filled(shared).inverted(S, self.length),), ()


def inverse_of(
    step: Any, S: Inexact[Array, "*channels n_bins n_frames"], length: int
) -> Float[Array, "*channels n_samples"]:
    """Return the signals of spectra, evaluated in pieces of the batch."""
    skeleton, shared = take_arrays(step)
    *lead, n_bins, n_frames = S.shape
    fn = RowInverse(skeleton, n_bins, n_frames, length)
    S = whole_samples(S, 2)
    rows = tuple(p.reshape(*lead, n_bins * n_frames) for p in (S.real, S.imag))
    (y,), _ = call_rows(fn, shared, rows)
    return y


def signals_of(
    step: Any, x: Float[Array, "*channels n_samples"]
) -> Float[Array, "*channels_out n_samples_out"]:
    """Return the mapped signals, evaluated in pieces of the batch."""
    if step.scope in ("channels", "batch"):
        return step_on(step, Signals(x)).x  # pyright: ignore
    return _along(path_of(step), x, False)


def _along(path: tuple[Any, ...], x: Array, is_spectral: bool) -> Array:
    n, n_samples = len(path), x.shape[-1]
    if isinstance(n_samples, int) and n_samples >= _LONG:
        # Steps that need all frames are applied below, so that the rest can be cut.
        scopes = [step.scope for step in path[1:]]
        n = 1 + next((i for i, s in enumerate(scopes) if s not in _LOCAL), n - 1)
    skeleton, shared = take_arrays(path[:n])
    fn = RowPath(skeleton, is_spectral)
    if skeleton.is_hashable:
        (out,), _ = call_rows(fn, shared, (whole_samples(x),))
    else:  # it holds an unhashable user object
        (out,), _ = fn(shared, (x,))
    if n == len(path):
        return out
    data: Any = Spectra(jnp.swapaxes(out, -1, -2))
    for step in path[n:]:
        data = step_on(step, data)
    return jnp.swapaxes(data.S, -1, -2)
