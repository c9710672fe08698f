"""Cutting long rows into overlapping segments of so many frames each."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array, lax

from ._pieces import limit_of
from ._rows import Arrays

# The modes of `jax.numpy.pad` in which what is padded at an end depends on the samples
# next to it alone.
_LOCAL_MODES = ("constant", "edge", "reflect", "symmetric")

Kind = Literal["signal", "frames"]


@runtime_checkable
class PieceFunction(Protocol):
    """A hashable function of a piece, with one leading axis for its rows.

    Returns arrays with that axis, and arrays that are sums over it.
    """

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Arrays, Arrays]: ...


class SegmentFunction(PieceFunction, Protocol):
    """A piece function of segments of signals."""

    def padding(self, before: int, after: int) -> "SegmentFunction":
        """Return the function for a segment at an end, which is padded there."""
        ...


@dataclasses.dataclass(frozen=True)
class Framing:
    """Where the frames of a transform lie: t begins at sample `t * hop_length - left`.

    **Arguments:**

    - `hop_length`, `frame_length`: samples.
    - `left`, `right`: how many samples are padded at most; zeros follow after those
        on the right.
    - `pad_mode`: how to pad, a mode of `jax.numpy.pad`.
    """

    hop_length: int
    frame_length: int
    left: int
    right: int
    pad_mode: str

    @property
    def is_local(self) -> bool:
        return self.pad_mode in _LOCAL_MODES

    def samples(self, n_frames: int) -> int:
        """Return how many samples so many frames see."""
        return (n_frames - 1) * self.hop_length + self.frame_length


@dataclasses.dataclass(frozen=True)
class Segments:
    """A function of segments, and how segments and what is made of them are cut.

    **Arguments:**

    - `fn`: takes and returns arrays that lie along a signal, `(rows, n_samples)`, or
        along its frames, `(rows, ..., n_frames)`. What it makes of a whole signal are
        the frames of its segments side by side, or the sums of what they make.
    - `framing`: where the frames lie.
    - `n_frames`: how many frames a row has.
    - `row_kinds`, `output_kinds`: along what its arrays lie.
    """

    fn: SegmentFunction
    framing: Framing
    n_frames: int
    row_kinds: tuple[Kind, ...] = ("signal",)
    output_kinds: tuple[Kind, ...] = ("frames",)

    def cuts(self, n_samples: Any, limits: Mapping[str, int]) -> bool:
        """Whether rows of so many samples are cut: not for less than four segments."""
        if not isinstance(n_samples, int) or not self.framing.is_local:
            return False
        return self.n_frames >= 4 * self.frames_at_once(limits)

    def frames_at_once(self, limits: Mapping[str, int]) -> int:
        framing = self.framing
        # The overlap of two segments is computed twice: it must not be much.
        least = 8 * max(framing.frame_length, framing.left, framing.right)
        samples = max(limit_of(limits), least)
        return -(-samples // framing.hop_length)


def in_segments(
    segments: Segments, shared: Arrays, rows: Arrays, limits: Mapping[str, int]
) -> tuple[Arrays, Arrays]:
    """Apply a function to the segments of all rows, one after another.

    Outputs are written, or added up, in place. The segments at both ends, which are
    padded, are programs of their own.
    """
    framing, n_frames = segments.framing, segments.n_frames
    n_rows, n_samples = rows[0].shape
    n_each = segments.frames_at_once(limits)
    # The ends share what is left, one to two segments.
    n_inner = n_frames // n_each - 1
    n_first = (n_frames - n_inner * n_each) // 2
    last = n_first + n_inner * n_each
    before = framing.left
    inner_start = n_first * framing.hop_length - before
    last_start = last * framing.hop_length - before
    stop = framing.samples(n_frames) - before
    first = _Segment(segments, n_first, framing.samples(n_first) - before, before, 0)
    inner = _Segment(segments, n_each, framing.samples(n_each), 0, 0)
    end = _Segment(
        segments,
        n_frames - last,
        min(stop, n_samples) - last_start,
        0,
        max(0, stop - n_samples),
    )
    row_indices = jnp.arange(n_rows, dtype=jnp.int32)
    carry = first.empty(shared, rows)

    def at_start(carry: _Carry, row: Array) -> tuple[_Carry, None]:
        return first.added(carry, shared, rows, row, _int(0), _int(0)), None

    def inside(carry: _Carry, index: Array) -> tuple[_Carry, None]:
        row, i = index // n_inner, index % n_inner
        frame = n_first + i * n_each
        sample = inner_start + i * (n_each * framing.hop_length)
        return inner.added(carry, shared, rows, row, frame, sample), None

    def at_end(carry: _Carry, row: Array) -> tuple[_Carry, None]:
        place = _int(last), _int(last_start)
        return end.added(carry, shared, rows, row, *place), None

    carry, _ = lax.scan(at_start, carry, row_indices)
    indices = jnp.arange(n_rows * n_inner, dtype=jnp.int32)
    carry, _ = lax.scan(inside, carry, indices)
    carry, _ = lax.scan(at_end, carry, row_indices)
    return carry


_Carry = tuple[Arrays, Arrays]


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
        outputs, sums = jax.eval_shape(self._results, shared, rows, *place)
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
        parts, more = self._results(shared, rows, row, frame, sample)
        written = []
        kinds = self.segments.output_kinds
        for output, part, kind in zip(outputs, parts, kinds, strict=True):
            place = _place(output, kind, row, frame, sample)
            if kind == "signal":
                part = part + lax.dynamic_slice(output, place, part.shape)
            written.append(lax.dynamic_update_slice(output, part, place))
        return tuple(written), tuple(a + b for a, b in zip(sums, more, strict=True))

    def _results(
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


def _int(value: int) -> Array:
    return jnp.asarray(value, jnp.int32)


def zero_like(x: Array) -> Array:
    """A zero that is where `x` is."""
    return jnp.zeros_like(x[(slice(0, 1),) * x.ndim]).reshape(())


def filled(value: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    return jnp.broadcast_to(value.astype(dtype), shape)
