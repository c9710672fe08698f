"""Cutting long rows into overlapping segments with a fixed number of frames."""

import dataclasses
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array, lax

from korvax_eqx._data import Framing
from korvax_eqx._numerics._frames import padded
from korvax_eqx._numerics._padding import extended

from ._functions import Arrays
from ._varying import varying_like

Kind = Literal["signal", "frames"]


@runtime_checkable
class PieceFunction(Protocol):
    """A hashable function of a piece, whose rows lie along one leading axis.

    It returns arrays with that axis, and arrays that are sums over it.
    """

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]: ...


class SegmentFunction(PieceFunction, Protocol):
    """A piece function of segments of signals."""

    def padding(self, before: int, after: int) -> "SegmentFunction":
        """Return the function for the first or last segment, which it pads."""
        ...


@dataclasses.dataclass(frozen=True)
class Segments:
    """A function of segments, and how its inputs and outputs are cut.

    **Arguments:**

    - `fn`: takes and returns arrays along samples, `(rows, n_samples)`, or frames,
        `(rows, ..., n_frames)`. The outputs for a whole signal are made from those for
        its segments: frames are concatenated, overlapping samples and sums added up.
    - `framing`: where the frames lie.
    - `n_frames`: number of frames of a row.
    - `samples`: approximate number of samples of a segment.
    - `row_kinds`, `output_kinds`: whether each array of `fn` lies along samples
        (`"signal"`) or frames.
    """

    fn: SegmentFunction
    framing: Framing
    n_frames: int
    samples: int
    row_kinds: tuple[Kind, ...] = ("signal",)
    output_kinds: tuple[Kind, ...] = ("frames",)

    @property
    def cuts(self) -> bool:
        """Whether rows are cut.

        Never into fewer than four segments, nor into segments of only a few frames: the
        last one might contain nothing but padding.
        """
        if not self.framing.is_local:
            return False
        n_each = self.frames_at_once
        return n_each >= 8 and self.n_frames >= 4 * n_each

    @property
    def frames_at_once(self) -> int:
        framing = self.framing
        # The overlap of two segments is computed twice, so it must be short.
        least = 8 * max(framing.frame_length, framing.left, framing.right)
        samples = max(self.samples, least)
        return -(-samples // framing.hop_length)


_Carry = tuple[Arrays, Arrays]


def in_segments(
    segments: Segments, shared: Arrays, rows: Arrays, carry: _Carry | None = None
) -> _Carry:
    """Apply a function to the segments of all rows, one after another.

    Frames are written in place. Samples and sums are added to those in `carry`, or to
    zeros. The first and the last segment are padded, so each is a separate program.
    """
    n_rows, n_samples = rows[0].shape
    n_each = segments.frames_at_once
    n_inner = segments.n_frames // n_each - 1
    cuts = _Cuts(segments, n_samples, n_each, n_inner)
    row_indices = jnp.arange(n_rows, dtype=jnp.int32)

    def at_start(carry: _Carry, row: Array) -> tuple[_Carry, None]:
        return cuts.first.added(carry, shared, rows, row, _int(0), _int(0)), None

    def inside(carry: _Carry, index: Array) -> tuple[_Carry, None]:
        row, place = index // n_inner, cuts.place(index % n_inner)
        return cuts.inner.added(carry, shared, rows, row, *place), None

    def at_end(carry: _Carry, row: Array) -> tuple[_Carry, None]:
        return cuts.end.added(carry, shared, rows, row, *cuts.place(n_inner)), None

    if carry is None:
        carry = cuts.first.empty(shared, rows)
    carry, _ = lax.scan(at_start, carry, row_indices)
    indices = jnp.arange(n_rows * n_inner, dtype=jnp.int32)
    carry, _ = lax.scan(inside, carry, indices)
    carry, _ = lax.scan(at_end, carry, row_indices)
    return carry


class _Cuts:
    """The segments of a row: `n_inner` of `n_each` frames, and one at each end."""

    def __init__(
        self, segments: Segments, n_samples: int, n_each: int, n_inner: int
    ) -> None:
        framing, n_frames = segments.framing, segments.n_frames
        before = framing.left
        # The two ends share the remaining frames.
        n_first = (n_frames - n_inner * n_each) // 2
        last = n_first + n_inner * n_each
        stop = framing.samples(n_frames) - before
        n_given = min(stop, n_samples) - (last * framing.hop_length - before)
        after = max(0, stop - n_samples)
        n_start = framing.samples(n_first) - before
        self.first = _Segment(segments, n_first, n_start, before, 0)
        self.inner = _Segment(segments, n_each, framing.samples(n_each), 0, 0)
        self.end = _Segment(segments, n_frames - last, n_given, 0, after)

    def place(self, index: Any) -> tuple[Array, Array]:
        """Return the first frame and sample of an inner segment, or of the last one."""
        framing = self.inner.segments.framing
        frame = self.first.n_frames + _int(index) * self.inner.n_frames
        return frame, frame * framing.hop_length - framing.left


@dataclasses.dataclass(frozen=True)
class _Segment:
    """Segments of one shape: their frames, their samples, and the padding at ends."""

    segments: Segments
    n_frames: int
    n_samples: int
    before: int
    after: int

    def empty(self, shared: Arrays, rows: Arrays) -> _Carry:
        """Zeros for the results of all rows, and for the sums."""
        place = _int(0), _int(0), _int(0)
        outputs, sums = jax.eval_shape(self.results, shared, rows, *place)
        zero = zero_like(rows[0])
        n_rows, n_samples = rows[0].shape
        buffers = [
            filled(zero, (n_rows, n_samples), kind.dtype)
            if along == "signal"
            else filled(
                zero, (n_rows, *kind.shape[1:-1], self.segments.n_frames), kind.dtype
            )
            for kind, along in zip(outputs, self.segments.output_kinds, strict=True)
        ]
        return tuple(buffers), tuple(filled(zero, s.shape, s.dtype) for s in sums)

    def added(
        self,
        carry: _Carry,
        shared: Arrays,
        rows: Arrays,
        row: Array,
        frame: Array,
        sample: Array,
    ) -> _Carry:
        """Write the results of one segment, or add them to what is there."""
        outputs, sums = carry
        parts, more = self.results(shared, rows, row, frame, sample)
        written = []
        kinds = self.segments.output_kinds
        for output, part, kind in zip(outputs, parts, kinds, strict=True):
            place = _place(output, kind, row, frame, sample)
            if kind == "signal":
                part = part + lax.dynamic_slice(output, place, part.shape)
            written.append(lax.dynamic_update_slice(output, part, place))
        return tuple(written), tuple(a + b for a, b in zip(sums, more, strict=True))

    def results(
        self, shared: Arrays, rows: Arrays, row: Array, frame: Array, sample: Array
    ) -> tuple[Arrays, Arrays]:
        pieces = []
        for array, kind in zip(rows, self.segments.row_kinds, strict=True):
            n = self.n_samples if kind == "signal" else self.n_frames
            place = _place(array, kind, row, frame, sample)
            size = (1, *array.shape[1:-1], n)
            pieces.append(lax.dynamic_slice(array, place, size))
        fn = self.segments.fn.padding(self.before, self.after)
        return fn(shared, tuple(pieces))


def _place(
    array: Array, kind: Kind, row: Array, frame: Array, sample: Array
) -> tuple[Array, ...]:
    last = sample if kind == "signal" else frame
    return (row, *[_int(0)] * (array.ndim - 2), last)


def _int(value: Any) -> Array:
    return jnp.asarray(value, jnp.int32)


def zero_like(x: Array) -> Array:
    """A scalar zero of the dtype of `x`, on the same devices."""
    zero = jnp.zeros_like(x[(slice(0, 1),) * x.ndim]).reshape(())
    return varying_like(zero, x)


def filled(value: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    return jnp.broadcast_to(value.astype(dtype), shape)


def padded_at_ends(x: Array, framing: Framing, before: int, after: int) -> Array:
    """Return the first or last segment with the padding that the transform adds."""
    if before + after == 0:
        return x
    by_mode = min(after, framing.right)
    x = extended(x, None, before, by_mode, framing.pad_mode)
    return padded(x, 0, after - by_mode)
