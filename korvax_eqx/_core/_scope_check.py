"""A test of whether a part declares the right `scope`."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from korvax_eqx._data import Signals, Spectra
from korvax_eqx._engine._walk import main_array

from ._loss import AbstractWaveformLoss
from ._losses import AbstractBatchLoss, AbstractSpectralLoss
from ._steps import AbstractScale, AbstractSignalMap, AbstractTransform

# A part may depend on the level, e.g. through a threshold.
_LEVELS = (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3)
_KINDS = (
    AbstractSignalMap
    | AbstractTransform
    | AbstractScale
    | AbstractSpectralLoss
    | AbstractBatchLoss
    | AbstractWaveformLoss
)

_Pairs = Iterator[tuple[Array, Array, str]]


def check_scope(
    part: Any, *arrays: Inexact[Array | np.ndarray, "..."], rtol: float = 1e-4
) -> None:
    """Test a part of your own on examples: its `scope`, and its support of lengths.

    At several levels, a padded signal must give the result of the unpadded one, and
    values, frames, segments or signals that are independent according to `scope` must
    give the same results on their own.

    **Arguments:**

    - `part`: a signal map, a transform, a scale or a loss of a class of your own.
    - `arrays`: its input: signals `(*channels, n_samples)`, spectra `(*channels,
        n_bins, n_frames)`, or two of them for a loss. Examples of your own data make
        the best test.
    - `rtol`: largest difference allowed, relative to the largest value.

    **Raises:** `ValueError` if results differ, or if the part is of an unknown kind.
    """
    if not isinstance(part, _KINDS):
        raise ValueError(
            "`check_scope(part)` must be a signal map, a transform, a scale or a loss "
            f"on spectra or signals. Got {part!r}."
        )
    is_spectral = isinstance(
        part, AbstractScale | AbstractSpectralLoss | AbstractBatchLoss
    )
    for level in _LEVELS:
        data: list[Any] = []
        for array in map(jnp.asarray, arrays):
            array = array * jnp.asarray(level, array.dtype)
            spectra = Spectra(jnp.swapaxes(array, -1, -2)) if is_spectral else None
            data.append(spectra or Signals(array))
        pairs = (*_lengths(part, data), *_scopes(part, data), *_rows(part, data))
        for got, expected, what in pairs:
            scale = np.max(np.abs(expected), initial=0.0)
            if got.shape != expected.shape or not np.allclose(
                got, expected, rtol=0, atol=rtol * scale, equal_nan=True
            ):
                raise ValueError(
                    f"`{type(part).__name__}` does not behave as its `scope` declares, "
                    f"{part.scope!r}: with the arrays times {level:g}, {what}."
                )


def _results(part: Any, data: list[Any]) -> list[Array]:
    """Return the results of a part, with zeros in frames beyond the end."""
    if isinstance(part, AbstractBatchLoss):
        return list(part.sums(*data))
    if isinstance(part, AbstractSpectralLoss | AbstractWaveformLoss):
        return [jnp.asarray(part.values(*data))]
    out = part.apply(*data)
    return [main_array(out.cut() if isinstance(out, Spectra) else out)]


def _lengths(part: Any, data: list[Any]) -> _Pairs:
    """Yield the results for padded data, and for the same data cut."""
    array = main_array(data[0])
    is_spectral = isinstance(data[0], Spectra)
    axis, n_own = (-2, 2) if is_spectral else (-1, 1)
    size = array.shape[axis]
    n_rows = array.ndim - n_own
    makes_spectra = isinstance(part, AbstractTransform | AbstractScale)
    for n in {size * 3 // 5, size * 4 // 5} - {0}:
        lengths = jnp.full(array.shape[:n_rows], n, jnp.int32)
        padded, alone = [], []
        for one in data:
            own = main_array(one)
            kept = jax.lax.slice_in_dim(own, 0, n, axis=own.ndim + axis)
            widths = [(0, 0)] * own.ndim
            widths[axis] = (0, size - n)
            filled = jnp.pad(kept, widths)
            kind = Spectra if is_spectral else Signals
            padded.append(kind(filled, lengths))
            alone.append(kind(kept))
        for got, expected in zip(
            _results(part, padded), _results(part, alone), strict=True
        ):
            if got.ndim > n_rows:  # not a loss: drop samples or frames beyond the end
                along = got.ndim - (2 if makes_spectra else 1)
                got = jax.lax.slice_in_dim(got, 0, expected.shape[along], axis=along)
            yield got, expected, "padded signals give another result than unpadded ones"


def _scopes(part: Any, data: list[Any]) -> _Pairs:
    """Yield the results for pieces of the data, and for all of it."""
    if part.scope not in ("value", "frame") or not isinstance(data[0], Spectra):
        return
    n_frames = data[0].S.shape[-2]
    if isinstance(part, AbstractScale):
        (spectra,) = data
        each = [
            part.apply(Spectra(spectra.S[..., i : i + 1, :])).S for i in range(n_frames)
        ]
        together = part.apply(spectra).S
        alone = jnp.concatenate(each, -2)
        yield alone, together, "a frame gives another result on its own"
        if part.scope == "value":
            values = spectra.S.reshape(-1, 1, 1)
            alone = part.apply(Spectra(values)).S.reshape(spectra.S.shape)
            yield alone, together, "a value gives another result on its own"
        return
    cut = n_frames // 3
    halves = [
        [Spectra(d.S[..., some, :], None, n_frames) for d in data]
        for some in (slice(0, cut), slice(cut, None))
    ]
    pairs = zip(*(_results(part, half) for half in halves), strict=True)
    for (first, second), whole in zip(pairs, _results(part, data), strict=True):
        yield first + second, whole, "segments do not add up to the whole"


def _rows(part: Any, data: list[Any]) -> _Pairs:
    """Yield the results for single signals, and for the same signals in a batch."""
    if part.scope == "batch" or isinstance(part, AbstractBatchLoss):
        return
    kind = type(data[0])
    n_own = (2 if kind is Spectra else 1) + (part.scope == "channels")
    batches = []
    for array in map(main_array, data):
        rows = array.reshape(-1, *array.shape[max(array.ndim - n_own, 0) :])
        batches.append(jnp.concatenate([rows, rows * jnp.asarray(3, rows.dtype)]))
    together = _results(part, [kind(batch) for batch in batches])
    for i in (0, len(batches[0]) - 1):
        alone = _results(part, [kind(batch[i : i + 1]) for batch in batches])
        for got, whole in zip(alone, together, strict=True):
            yield got, whole[i : i + 1], "a signal gives another result in a batch"
