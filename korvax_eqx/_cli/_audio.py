"""Audio files as signals that are read in chunks, never as a whole."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import soundfile
import soxr
from jaxtyping import Float

from korvax_eqx._cli._error import CommandError, check_file
from korvax_eqx._cli._headers import complete

Chunk = Float[np.ndarray, "channels samples"]

# Samples of a chunk over all channels, 4 MB: large enough that a call costs little.
_CHUNK = 2**20

# Hz. Only damaged headers have more, and frames of 46 ms would be too large.
_HIGHEST_RATE = 2**24


@dataclasses.dataclass(frozen=True)
class Signal:
    """A signal of known length that is not in memory.

    Every call of `chunks()` starts at the beginning, and yields `n_samples` in total.
    """

    path: str
    sr: int
    n_channels: int
    n_samples: int
    chunks: Callable[[], Iterator[Chunk]]

    @property
    def seconds(self) -> float:
        return self.n_samples / self.sr


def open_signal(path: str, start: float = 0.0, duration: float | None = None) -> Signal:
    """Open a file from `start` for at most `duration` seconds.

    **Raises:** `CommandError` if that is not possible, or if there is no sample.
    """
    with _open(path) as file:
        sr, n_channels, n_total = file.samplerate, file.channels, file.frames
    if n_total == 0:
        raise CommandError(f"{path}: the file has no samples.")
    if n_total >= 2**62:  # libsndfile's "unknown"
        raise CommandError(
            f"{path}: the file does not say how long it is. Write it again with a "
            "complete header, e.g. with `sox in out` or `ffmpeg -i in out`."
        )
    check_rate(path, sr)
    # `min` first, as the product might overflow.
    first = round(min(start, n_total / sr) * sr)
    if first >= n_total:
        raise CommandError(
            f"{path}: has {n_total / sr:.3f} s, so nothing is left from --start "
            f"{start:g} on."
        )
    n_samples = n_total - first
    if duration is not None:
        n_samples = min(n_samples, max(1, round(min(duration, n_total / sr) * sr)))

    def chunks() -> Iterator[Chunk]:
        step = max(1, _CHUNK // n_channels)
        with _open(path) as file:
            _seek(path, file, first)
            done = 0
            while done < n_samples:
                wanted = min(step, n_samples - done)
                yield _read(path, file, first + done, wanted)
                done += wanted

    return Signal(path, sr, n_channels, n_samples, chunks)


def check_rate(source: str, sr: float) -> None:
    """Raise `CommandError` for a sample rate that no recording has."""
    if not 1 <= sr <= _HIGHEST_RATE:
        raise CommandError(
            f"{source}: a sample rate of {sr:g} Hz is out of range, which is 1 to "
            f"{_HIGHEST_RATE} Hz. Is it damaged?"
        )


class _Sequential(soundfile.SoundFile):
    """A file that is only read from beginning to end.

    Soundfile seeks after every read. In an MP3 file, this loses data that frames take
    from previous ones, and with a variable bit rate it ends up at another position.
    """

    def seekable(self) -> bool:
        return False


@contextlib.contextmanager
def _open(path: str) -> Iterator[Any]:
    check_file(path)
    with contextlib.ExitStack() as stack:
        try:
            source = stack.enter_context(complete(path))
            file = stack.enter_context(soundfile.SoundFile(source))
            if file.format == "MP3":
                file = stack.enter_context(_Sequential(source))
        except (soundfile.LibsndfileError, TypeError, OSError) as error:
            # For raw files, which have no header, soundfile raises TypeError.
            reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
            raise CommandError(
                f"{path}: cannot be read as audio: {reason}. Convert it, e.g. to WAV "
                "or FLAC."
            ) from error
        yield file


def _seek(path: str, file: Any, first: int) -> None:
    try:
        if not isinstance(file, _Sequential):
            file.seek(first)
            return
        while first > 0:
            n_read = len(file.read(min(_CHUNK, first), "float32"))
            first -= n_read
            if n_read == 0:
                return  # `_read` will raise
    except soundfile.LibsndfileError as error:
        raise _damaged(path, f"sample {first} cannot be reached") from error


def _read(path: str, file: Any, at: int, wanted: int) -> Chunk:
    """Return the `wanted` samples from `at` on, all of them finite."""
    try:
        data = file.read(wanted, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise _damaged(path, error.error_string.strip().rstrip(".")) from error
    if len(data) < wanted:
        raise _damaged(path, f"it ends after {at + len(data)} samples")
    is_finite = np.isfinite(data).all(axis=1)
    if not is_finite.all():
        index = at + int(np.argmin(is_finite))
        what, remedy = "that are not finite (NaN or infinity)", "Repair the file first."
        if file.subtype == "DOUBLE":
            file.seek(index)
            if np.isfinite(file.read(1)).all():
                what = "beyond the range of 32-bit floats (3.4e38)"
                remedy = "Scale the file first."
        raise CommandError(
            f"{path}: has samples {what}, the first at {index / file.samplerate:.6f} s "
            f"(sample {index}). {remedy}"
        )
    return data.T


def _damaged(path: str, reason: str) -> CommandError:
    return CommandError(
        f"{path}: the file is damaged: {reason}. Compare what comes before with "
        "--duration, or decode it with a program that skips errors."
    )


def mono(signal: Signal) -> Signal:
    """Return the mean of the channels."""
    if signal.n_channels == 1:
        return signal

    def chunks() -> Iterator[Chunk]:
        for chunk in signal.chunks():
            yield chunk.mean(axis=0, keepdims=True, dtype=np.float32)

    return dataclasses.replace(signal, n_channels=1, chunks=chunks)


def resample(signal: Signal, sr: int) -> Signal:
    """Return the signal at another sample rate."""
    if signal.sr == sr:
        return signal
    n_samples = max(1, round(signal.n_samples * sr / signal.sr))

    def converted() -> Iterator[Chunk]:
        stream = soxr.ResampleStream(signal.sr, sr, signal.n_channels, dtype="float32")
        for chunk in signal.chunks():
            yield stream.resample_chunk(np.ascontiguousarray(chunk.T)).T
        nothing = np.zeros((0, signal.n_channels), np.float32)
        yield stream.resample_chunk(nothing, last=True).T

    changes = {"sr": sr, "n_samples": n_samples}
    # soxr may round the number of samples the other way.
    longer = dataclasses.replace(signal, chunks=converted, **changes)
    return dataclasses.replace(longer, chunks=lambda: _exactly(longer, 0, n_samples))


def cut(signal: Signal, skip: int, n_samples: int) -> Signal:
    """Return `n_samples` after the first `skip`, with zeros beyond the end."""
    if (skip, n_samples) == (0, signal.n_samples):
        return signal
    return dataclasses.replace(
        signal, n_samples=n_samples, chunks=lambda: _exactly(signal, skip, n_samples)
    )


def _exactly(signal: Signal, skip: int, n_samples: int) -> Iterator[Chunk]:
    missing = n_samples
    for chunk in signal.chunks():
        n_skipped = min(skip, chunk.shape[1])
        skip -= n_skipped
        chunk = chunk[:, n_skipped : n_skipped + missing]
        missing -= chunk.shape[1]
        if chunk.shape[1]:
            yield chunk
        if missing == 0:
            return
    while missing:
        n_zeros = min(missing, max(1, _CHUNK // signal.n_channels))
        missing -= n_zeros
        yield np.zeros((signal.n_channels, n_zeros), np.float32)


def block_sizes(n_samples: int, size: int) -> list[int]:
    """Return sizes of blocks: `size`, but the last is between 0.5 and 1.5 times it."""
    n_blocks = max(1, (2 * n_samples + size) // (2 * size))
    return [size] * (n_blocks - 1) + [n_samples - size * (n_blocks - 1)]


def blocks(signal: Signal, sizes: list[int]) -> Iterator[Chunk]:
    """Yield the signal in blocks of the given sizes, which sum to its length."""
    chunks = signal.chunks()
    rest = np.zeros((signal.n_channels, 0), np.float32)
    for size in sizes:
        parts, n_found = [rest], rest.shape[1]
        while n_found < size:
            parts.append(next(chunks))
            n_found += parts[-1].shape[1]
        joined = np.concatenate(parts, axis=1)
        yield joined[:, :size]
        rest = joined[:, size:]
