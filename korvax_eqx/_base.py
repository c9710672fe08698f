"""The kinds of parts of a loss, as bases to extend.

A class that derives from one of these promises to treat every index of the leading
axes on its own (a loss: to return the mean over them). The evaluation relies on it to
cut the batch into pieces and to leave it sharded over devices. A callable that cannot
promise this is given as any other callable: it is then evaluated whole.

For signals of unequal lengths in one batch the evaluation also has to know what a
part does with frames beyond the end: the `AbstractFrames...` bases are told how many
are valid, others declare `scope`.
"""

import dataclasses
from abc import abstractmethod
from typing import Any, ClassVar, TypeGuard

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from korvax_eqx import _checks as checks
from korvax_eqx._axes import Axes
from korvax_eqx._compile import compiled
from korvax_eqx._names import still_says
from korvax_eqx._numerics._padding import padded_at_ends
from korvax_eqx._repr import constructor_call
from korvax_eqx._scope import Scope
from korvax_eqx._sharding._devices import keep_rows_sharded, whole_samples
from korvax_eqx._sharding._pieces import limit_of
from korvax_eqx._sharding._piecewise import piecewise
from korvax_eqx._sharding._segments import Framing, Segments
from korvax_eqx._static import has_plain_callables
from korvax_eqx._tree import Arrays, Method, Skeleton, take_arrays

Count = int | Int[Array, "*rows"]


class AbstractTransform(eqx.Module):
    """Signals to spectra.

    `scope = "frame"`: zeros after a signal do not change its frames.
    """

    scope: ClassVar[Scope] = "signal"

    @abstractmethod
    def __call__(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Inexact[Array, "*channels n_bins n_frames"]:
        """Transform every signal of `x` on its own."""

    def __repr__(self) -> str:
        return constructor_call(self)


class AbstractFramesTransform(AbstractTransform):
    """Signals to spectra, frame by frame, of signals that may end early."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What the terms of this transform are called in a log, e.g. the FFT size."""

    @property
    @abstractmethod
    def axes(self) -> Axes:
        """Where bins and frames lie, for plots."""

    @abstractmethod
    def n_frames(self, n_samples: Count) -> Count:
        """Return the number of frames of signals of `n_samples` samples."""

    @abstractmethod
    def frames(
        self,
        x: Float[Array, "*rows n_samples"],
        n_samples: Int[Array, "*rows"] | None = None,
    ) -> Inexact[Array, "*rows n_frames n_bins"]:
        """Return the frames of `x`, bins along the last axis.

        **Arguments:**

        - `x`: signals, zero beyond their ends.
        - `n_samples`: their lengths; `None` if all are as long as the array. The first
            `n_frames(n_samples)` frames are those of the signals cut to their lengths.
        """

    def __call__(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Inexact[Array, "*channels n_bins n_frames"]:
        """Transform every signal of `x` on its own.

        **Raises:** `ValueError` for a signal that is not real floating point, or too
        short for one frame where frames are not centred.
        """
        checks.signal_type(type(self).__name__, "x", x)
        return _transformed(self, x)


class AbstractLocalTransform(AbstractFramesTransform):
    """A transform whose frames each see the samples of one frame alone.

    A long signal may be cut in overlapping segments.
    """

    @abstractmethod
    def framing(self) -> tuple[Framing, AbstractFramesTransform]:
        """Return where the frames lie, and the transform of signals padded already.

        The arrays of both are the same ones, in the same order.
        """


class AbstractStagedTransform(AbstractLocalTransform):
    """A transform with a linear part that is as small as its spectra.

    Only that part is evaluated in pieces. Its gradient does not need its values, so
    that they are made but once.
    """

    @property
    @abstractmethod
    def linear_part(self) -> AbstractLocalTransform | None:
        """The part, which `frames` evaluates; `None` if the transform is linear."""


@compiled
def _transformed(
    transform: AbstractFramesTransform, x: Float[Array, "*channels n_samples"]
) -> Inexact[Array, "*channels n_bins n_frames"]:
    name = type(transform).__name__
    with jax.named_scope(f"korvax_eqx.{name}"):
        x = whole_samples(checks.signal(name, "x", x))
        return _transformed_in_pieces(transform, x)


# Samples of a piece of the batch: of 1, 2, 4 and 8 signals of 44100 samples, pieces of
# 4 were fastest on CPU. On accelerators a piece must keep the device busy.
_SAMPLES = {"cpu": 180_000, "gpu": 2**22, "tpu": 2**22}


@dataclasses.dataclass(frozen=True)
class _Transformed:
    """A transform of a piece of the signals, as a hashable function.

    With a framing it is that of segments of long signals: the transform pads nothing
    itself, and a segment at an end is padded by so many samples before and after.
    """

    skeleton: Skeleton
    framing: Framing | None = None
    before: int = 0
    after: int = 0

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]:
        (x,) = rows
        transform = self.skeleton.filled(shared)
        if self.framing is not None:
            x = padded_at_ends(x, self.framing, self.before, self.after)
        # Turned while the piece is in the cache, and not all spectra at the end.
        return (jnp.swapaxes(transform.frames(x), -1, -2),), ()

    def padding(self, before: int, after: int) -> "_Transformed":
        return dataclasses.replace(self, before=before, after=after)


def _transformed_in_pieces(
    transform: AbstractFramesTransform, x: Float[Array, "*channels n_samples"]
) -> Inexact[Array, "*channels n_bins n_frames"]:
    skeleton, shared = take_arrays(transform)
    if (
        x.size == 0
        or not skeleton.is_hashable
        or has_plain_callables(transform)
        or (isinstance(transform, AbstractStagedTransform) and transform.linear_part)
    ):
        return jnp.swapaxes(transform.frames(x), -1, -2)
    segments = _segments(transform, x.shape[-1])
    (S,) = piecewise(_Transformed(skeleton), shared, (x,), _SAMPLES, segments)
    return S


def _segments(transform: AbstractFramesTransform, n_samples: int) -> Segments | None:
    """Return how to cut signals that are much longer than a piece."""
    if not is_local(transform) or not is_long(n_samples):
        return None
    framing, inside = transform.framing()
    skeleton, _ = take_arrays(inside)
    n_frames = int(transform.n_frames(n_samples))
    return Segments(_Transformed(skeleton, framing), framing, n_frames)


def is_local(transform: Any) -> TypeGuard[AbstractLocalTransform]:
    """Whether a long signal may be cut for a transform."""
    is_one = isinstance(transform, AbstractLocalTransform)
    return is_one and still_says(transform, "framing", "frames", "n_frames")


def is_long(n_samples: int) -> bool:
    """Whether a signal alone is several pieces."""
    return isinstance(n_samples, int) and n_samples >= 4 * limit_of(_SAMPLES)


def frames_in_pieces(
    transform: AbstractLocalTransform, x: Float[Array, "*rows n_samples"]
) -> Inexact[Array, "*rows n_frames n_bins"]:
    """`transform.frames(x)`, so that memory is that of the frames."""
    return jnp.swapaxes(_transformed_in_pieces(transform, x), -1, -2)


class AbstractScale(eqx.Module):
    """Spectra to spectra: a change of magnitude, of bins or of both.

    `scope = "frame"`: each frame is scaled on its own, `"value"`: each value.
    """

    scope: ClassVar[Scope] = "signal"

    @abstractmethod
    def __call__(
        self, S: Inexact[Array, "*channels n_bins n_frames"]
    ) -> Inexact[Array, "*channels n_bins_out n_frames_out"]:
        """Scale every spectrum of `S` on its own."""

    def __repr__(self) -> str:
        return constructor_call(self)


class AbstractElementwiseScale(AbstractScale):
    """A scale of each value on its own: the order of bins and frames is no matter."""

    scope: ClassVar[Scope] = "value"


class AbstractFramesScale(AbstractScale):
    """A scale of frames, of spectra that may end early."""

    @abstractmethod
    def frames(
        self,
        S: Inexact[Array, "*rows n_frames n_bins"],
        n_frames: Int[Array, "*rows"] | None = None,
    ) -> Inexact[Array, "*rows n_frames_out n_bins_out"]:
        """Return the scaled frames of `S`, bins along the last axis.

        **Arguments:**

        - `S`: spectra.
        - `n_frames`: how many frames of each are valid; `None` for all. The others may
            hold anything finite, before and after.
        """

    def __call__(
        self, S: Inexact[Array, "*channels n_bins n_frames"]
    ) -> Inexact[Array, "*channels n_bins_out n_frames_out"]:
        """Scale every spectrum of `S` on its own.

        **Raises:** `ValueError` for anything but spectra of the bins expected.
        """
        S = checks.scale_input(type(self).__name__, S, takes_complex=True)
        return _scaled(self, S)


class AbstractResizingScale(AbstractFramesScale):
    """A scale of frames that returns more or fewer frames than it is given."""

    @abstractmethod
    def n_frames(self, n_frames: Count) -> Count:
        """Return the number of frames of what spectra of `n_frames` frames become."""


@compiled
def _scaled(
    scale: AbstractFramesScale, S: Inexact[Array, "*channels n_bins n_frames"]
) -> Inexact[Array, "*channels n_bins_out n_frames_out"]:
    with jax.named_scope(f"korvax_eqx.{type(scale).__name__}"):
        return jnp.swapaxes(scale.frames(jnp.swapaxes(S, -1, -2)), -1, -2)


class AbstractSpectralLoss(eqx.Module):
    """Two spectra to one number, averaged over the leading axes.

    `scope = "frame"`: the number is a mean of numbers of one frame each.
    """

    scope: ClassVar[Scope] = "signal"

    @abstractmethod
    def __call__(
        self,
        S_x: Inexact[Array, "*channels n_bins n_frames"],
        S_y: Inexact[Array, "*channels n_bins n_frames"],
    ) -> Float[Array, ""]:
        """Compare the estimate `S_x` with the target `S_y`."""

    def __repr__(self) -> str:
        return constructor_call(self)


class AbstractFramesLoss(AbstractSpectralLoss):
    """Two spectra, which may end early, to one number.

    One that is the mean or the sum of numbers that belong to one frame each may say so,
    a property `over_frames` of `"mean"` or `"sum"`, so that a long signal may be cut.
    One that needs more than one frame says how many, a property `least_frames`: shorter
    signals of a padded batch are then left out.
    """

    @abstractmethod
    def values(
        self,
        S_x: Inexact[Array, "*rows n_frames n_bins"],
        S_y: Inexact[Array, "*rows n_frames n_bins"],
        n_frames: Int[Array, "*rows"] | None = None,
    ) -> Float[Array, "*rows"]:
        """Return the loss of each row, bins along the last axis.

        **Arguments:**

        - `S_x`, `S_y`: spectra of the estimate and the target.
        - `n_frames`: how many frames of each are valid; `None` for all. The others are
            zero in both.
        """

    def __call__(
        self,
        S_x: Inexact[Array, "*channels n_bins n_frames"],
        S_y: Inexact[Array, "*channels n_bins n_frames"],
    ) -> Float[Array, ""]:
        """Return the mean over the leading axes.

        **Raises:** `ValueError` if the shapes differ or have less than two axes.
        """
        name = type(self).__name__
        checks.pair(name, S_x, S_y)
        checks.spectrum(name, "S_x", S_x)
        return _compared(self, S_x, S_y)


class AbstractBatchLoss(AbstractSpectralLoss):
    """Two spectra to one number that is no mean over the leading axes.

    `over_frames` is what its values are of numbers of one frame each, as in
    `AbstractFramesLoss`.

    It is a function of means: every row has some values of its own, and the loss is
    made of their means over all rows. It mixes the examples of a batch, so that
    `jax.vmap` and cutting a batch in two change it.
    """

    scope: ClassVar[Scope] = "batch"

    @property
    @abstractmethod
    def n_sums(self) -> int:
        """How many values a row has."""

    @abstractmethod
    def sums(
        self,
        S_x: Inexact[Array, "*rows n_frames n_bins"],
        S_y: Inexact[Array, "*rows n_frames n_bins"],
        n_frames: Int[Array, "*rows"] | None = None,
    ) -> tuple[Float[Array, "*rows"], ...]:
        """Return what is averaged over rows; the arguments are those of `values`."""

    @abstractmethod
    def finish(self, means: tuple[Float[Array, ""], ...]) -> Float[Array, ""]:
        """Return the loss, given the means over rows of what `sums` returned."""

    def __call__(
        self,
        S_x: Inexact[Array, "*channels n_bins n_frames"],
        S_y: Inexact[Array, "*channels n_bins n_frames"],
    ) -> Float[Array, ""]:
        """Compare all spectra together.

        **Raises:** `ValueError` if the shapes differ or have less than two axes.
        """
        name = type(self).__name__
        checks.pair(name, S_x, S_y)
        checks.spectrum(name, "S_x", S_x)
        return _compared(self, S_x, S_y)


@compiled
def _compared(
    loss: AbstractFramesLoss | AbstractBatchLoss,
    S_x: Inexact[Array, "*channels n_bins n_frames"],
    S_y: Inexact[Array, "*channels n_bins n_frames"],
) -> Float[Array, ""]:
    with jax.named_scope(f"korvax_eqx.{type(loss).__name__}"):
        rows = jnp.swapaxes(S_x, -1, -2), jnp.swapaxes(S_y, -1, -2)
        is_of_batch = isinstance(loss, AbstractBatchLoss)
        skeleton, shared = take_arrays(loss)
        method = Method(skeleton, "sums" if is_of_batch else "values")
        columns = keep_rows_sharded(method, shared, rows, n_whole=2)
        means = jax.tree.map(jnp.mean, columns)
        return loss.finish(means) if is_of_batch else means
