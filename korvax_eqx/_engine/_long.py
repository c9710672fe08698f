"""Comparing signals much longer than a piece, one segment at a time."""

import dataclasses
from typing import Any

from jax import Array

from korvax_eqx._data import Framing, Signals, Spectra
from korvax_eqx._platform import target

from ._functions import Arrays
from ._plan import Branch, framing_of_step
from ._segments import Kind, Segments, in_segments, padded_at_ends
from ._walk import compared, main_array, step_on

_LOCAL = ("value", "frame")


def framing_of(branch: Branch) -> Framing | None:
    """Return the framing of a branch if its signals may be cut, otherwise `None`.

    They may be cut if its terms are sums over frames, each frame depends only on its
    own samples, and no target is bound, of which the spectra are there already.
    """
    framing = framing_of_step(branch.step)
    if framing is None or not framing.is_local:
        return None
    steps = branch.all_steps()[1:]
    ends = branch.all_ends()
    if any(end.slot is not None for end in ends):
        return None
    parts = (*steps, *(end.loss for end in ends))
    return framing if all(part.scope in _LOCAL for part in parts) else None


@dataclasses.dataclass(frozen=True, eq=False)
class LongPart:
    """Some terms of one long signal, or of its channels, in segments.

    The signal has `n_samples` samples, after the maps before it.
    """

    piece: Any
    place: tuple[int, ...]
    numbers: tuple[int, ...]
    n_channels: int
    n_samples: int
    before: int = 0
    after: int = 0

    @property
    def branch(self) -> Branch:
        return self.piece.fn.tree.at(self.place)

    def padding(self, before: int, after: int) -> "LongPart":
        return dataclasses.replace(self, before=before, after=after)

    def __call__(self, shared: Arrays, rows: Arrays) -> tuple[Any, Any]:
        """Return what a segment adds to the gradients of signals, and to the sums."""
        piece = self.piece
        columns, grads = piece.differentiated(self._columns, rows, ((), (), ()))
        sums = [c for n in self.numbers for c in columns[n]]
        return grads[1], (*sums, *grads[0])

    def _columns(
        self, shared: Arrays, signals: Arrays, kept: Arrays
    ) -> dict[int, tuple[Array, ...]]:
        del kept
        branch = self.piece.fn.skeleton.filled(shared).at(self.place)
        framing = branch.step.framing()
        inside = branch.step.unpadded()
        whole = int(branch.step.n_frames(self.n_samples))
        data = []
        for x in signals:
            x = padded_at_ends(x, framing, self.before, self.after)
            spectra = step_on(inside, Signals(x))
            data.append(Spectra(main_array(spectra), None, whole))
        rest = Branch(None, branch.branches, branch.ends)
        found = compared(rest, data[0], data[1], ())
        return {n: tuple(map(self._column, found[n])) for n in self.numbers}

    def _column(self, values: Array) -> Array:
        return values.reshape(1).astype(self.piece.zero.dtype) / self.n_channels

    def evaluated(
        self, segments: Segments, signals: Arrays, grads: Any
    ) -> tuple[dict[int, tuple[Array, ...]], Any]:
        """Evaluate all segments, and add their gradients to `grads`."""
        piece, sizes = self.piece, self.piece.fn.sizes
        own = grads if grads[0] or grads[1] else piece._no_grads(signals)
        n_columns = sum(sizes[n] for n in self.numbers)
        zeros = (piece.zero,) * n_columns
        rows = tuple(s.reshape(-1, s.shape[-1]) for s in signals)
        outputs = tuple(g.reshape(-1, g.shape[-1]) for g in own[1])
        carry = outputs, (*zeros, *own[0])
        of_rows, sums = in_segments(segments, piece.shared, rows, carry)
        values, columns = iter(sums[:n_columns]), {}
        for n in self.numbers:
            columns[n] = tuple(next(values) for _ in range(sizes[n]))
        shaped = zip(of_rows, own[1], strict=True)
        of_signals = tuple(g.reshape(o.shape) for g, o in shaped)
        return columns, (tuple(sums[n_columns:]), of_signals, own[2])


def segments_of(part: LongPart) -> Segments | None:
    """Return how to cut the signal; `None` if it is not cut."""
    framing = framing_of(part.branch) if isinstance(part.n_samples, int) else None
    if framing is None:
        return None
    n_frames = int(part.branch.step.n_frames(part.n_samples))
    along: tuple[Kind, ...] = ("signal", "signal")
    own: tuple[Kind, ...] = ("signal",) * len(part.piece.wrt_signals)
    samples = target().samples
    segments = Segments(part, framing, n_frames, samples, along, own)
    return segments if segments.cuts else None
