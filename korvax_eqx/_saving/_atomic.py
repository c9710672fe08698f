"""Writing a file at once or not at all."""

import os
import secrets
import stat
from pathlib import Path


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Make `content` the content of the file: interrupted, it keeps the old one.

    The new file is written beside the old one, flushed to the disk and renamed over
    it. It has the permissions of the old one, or the usual ones of a new file. A link
    is followed.
    """
    target = Path(os.path.realpath(os.fspath(path)))
    if target.exists() and not target.is_file():
        raise ValueError(f"Cannot save to {str(path)!r}: it is no regular file.")
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(target.parent)


def _flush_folder(folder: Path) -> None:
    """Make the renaming last too, where the system can do that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
