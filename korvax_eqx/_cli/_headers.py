"""Reading audio files to their end, even if their headers do not tell the length.

Programs that write to a pipe cannot go back to the header. A WAV or AU file then
declares 0 bytes of data. An MP3 file of variable bit rate lacks the first frame that
holds the number of frames, and libsndfile guesses the number from the frames it sees.
"""

import contextlib
import io
import os
import re
import struct
from collections.abc import Iterator
from typing import Any

# Largest number of bytes that are read at a time to find chunks, tags and frames.
_MOST_HEAD = 2**20
_UNKNOWN = b"\xff" * 4

# Bit rates of layer III in kbit/s: of MPEG 1, and of MPEG 2 and 2.5.
_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
# Sample rates in Hz, by the two bits of the version.
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


class _Spliced(io.RawIOBase):
    """A file whose beginning is replaced: `head`, then the bytes from `at` on."""

    def __init__(self, file: Any, head: bytes, at: int):
        self._file, self._head, self._at = file, head, at
        self._size = len(head) + max(0, file.seek(0, os.SEEK_END) - at)
        self._place = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}
        self._place = max(0, start[whence] + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        n_wanted = len(memoryview(buffer))
        data = self._head[self._place : self._place + n_wanted]
        if len(data) < n_wanted:
            at = self._place + len(data) - len(self._head) + self._at
            self._file.seek(at)
            data += self._file.read(n_wanted - len(data))
        memoryview(buffer)[: len(data)] = data
        self._place += len(data)
        return len(data)


@contextlib.contextmanager
def complete(path: str) -> Iterator[Any]:
    """Yield what soundfile can open: the name of a file, or the file with a corrected
    header.
    """
    with open(path, "rb") as file:
        spliced = _sized_wav(file) or _sized_au(file) or _counted_mp3(file)
        # As bytes: not every file name is valid text.
        yield os.fsencode(path) if spliced is None else _Spliced(file, *spliced)


def _read(file: Any, at: int, n_bytes: int) -> bytes:
    file.seek(at)
    return file.read(n_bytes)


def _sized_wav(file: Any) -> tuple[bytes, int] | None:
    """Return a header with unknown size for a WAV file that declares 0 bytes of data,
    and where the data start; `None` for other files."""
    head = _read(file, 0, _MOST_HEAD)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    at = 12
    while at + 8 <= len(head):
        name, (size,) = head[at : at + 4], struct.unpack_from("<I", head, at + 4)
        if name == b"data":
            is_empty = size == 0 and not _is_chunks(file, at + 8)
            return (head[: at + 4] + _UNKNOWN, at + 8) if is_empty else None
        at += 8 + size + size % 2
    return None


def _is_chunks(file: Any, at: int) -> bool:
    """Whether only further chunks follow, as in a WAV file without samples."""
    end = file.seek(0, os.SEEK_END)
    while at < end:
        head = _read(file, at, 8)
        if len(head) < 8 or not head[:4].isalnum():
            return False
        (size,) = struct.unpack_from("<I", head, 4)
        at += 8 + size + size % 2
    return at <= end + 1


def _sized_au(file: Any) -> tuple[bytes, int] | None:
    """Return the same as `_sized_wav`, for an AU file."""
    head = _read(file, 0, 12)
    is_empty = head[:4] == b".snd" and head[8:] == bytes(4)
    return (head[:8] + _UNKNOWN, 12) if is_empty else None


def _counted_mp3(file: Any) -> tuple[bytes, int] | None:
    """Return a first frame for an MP3 file, with the number of frames, and where the
    others start; `None` for other files.

    If files were concatenated, such a frame may be there already but only count the
    frames of the first file. It is kept if as many frames follow as it says.
    """
    start = 0
    tag = _read(file, 0, 10)
    if tag[:3] == b"ID3" and len(tag) == 10:
        sizes = [
            (byte & 127) << shift
            for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True)
        ]
        start = 10 + sum(sizes)
    first = _read(file, start, 1024)
    length = _frame_length(first)
    if length is None:
        return None
    n_frames = _count_frames(file, start, first)
    if any(name in first[:64] for name in (b"Xing", b"Info", b"VBRI")):
        start, n_frames = start + length, n_frames - 1
        said = re.match(rb".{,64}?(?:Xing|Info)...[\1\3\5\7-\x0f](.{4})", first, re.S)
        if said and n_frames <= 1.01 * int.from_bytes(said[1]) + 2:
            return None
    return _counting_frames(first[:4], n_frames), start


def _frame_length(header: bytes) -> int | None:
    """Return the size of a frame of layer III in bytes, `None` if none begins here."""
    if len(header) < 4 or header[0] != 255 or header[1] & 0xE6 != 0xE2:
        return None
    version, rate = header[1] >> 3 & 3, header[2] >> 2 & 3
    kbits = header[2] >> 4
    if version == 1 or rate == 3 or kbits in (0, 15):
        return None
    table, slots = (_KBITS_1, 144000) if version == 3 else (_KBITS_2, 72000)
    return slots * table[kbits] // _RATES[version][rate] + (header[2] >> 1 & 1)


def _count_frames(file: Any, at: int, first: bytes) -> int:
    """Return the number of complete frames of the same kind as the first."""
    end = file.seek(0, os.SEEK_END)
    n_frames, data, begin, is_sure = 0, b"", at, True
    kinds = re.escape(bytes([first[1] & 254, first[1] | 1]))
    akin = re.compile(b"\xff[" + kinds + b"]", re.S)
    while at + 4 <= end:
        if at + 4 > begin + len(data):
            data, begin = _read(file, at, _MOST_HEAD), at
        header = data[at - begin : at - begin + 4]
        is_akin = (header[1] ^ first[1]) < 2 and not (header[2] ^ first[2]) & 0x0C
        length = _frame_length(header) if is_akin else None
        if length and not is_sure:
            is_sure = _frame_length(_read(file, at + length, 4)) is not None
        if length and is_sure and at + length <= end:
            n_frames, at = n_frames + 1, at + length
        else:  # a tag, or damage: continue where two frames follow each other
            following = akin.search(data, at - begin + 1)
            last = max(at + 1, begin + len(data) - 1)
            at, is_sure = begin + following.start() if following else last, False
    return n_frames


def _counting_frames(header: bytes, n_frames: int) -> bytes:
    """Return a frame that holds the number of frames after it, and a silent frame.

    Decoders cut 529 samples, their own delay, if there is such a frame, and otherwise
    nothing. To keep all samples, they are told to cut just the silent frame.
    """
    # Without checksum, and with a bit rate that makes the frame large enough.
    own = bytes([255, header[1] | 1, (header[2] & 0x0C) | 0x90, header[3]])
    is_mono, is_first = header[3] >> 6 == 3, header[1] >> 3 & 3 == 3
    n_side = (17 if is_mono else 32) if is_first else (9 if is_mono else 17)
    silent = own + bytes(n_side)
    n_cut = (1152 if is_first else 576) - 529
    count = struct.pack(">4sII", b"Xing", 1, n_frames + 1)
    tag = b"LAME".ljust(21, b"\0") + struct.pack(">I", n_cut << 12)[1:]
    length = _frame_length(own)
    assert length is not None
    return (silent + count + tag).ljust(length, b"\0") + silent.ljust(length, b"\0")
