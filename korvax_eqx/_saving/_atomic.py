"""Writing a file completely or not at all."""

import os
import secrets
import stat
from pathlib import Path


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace the content of a file. If interrupted, the file keeps its old content.

    The new file is written next to the old one, flushed to disk, and renamed to replace
    it. It gets the permissions of the old file, or the default ones if there is none.
    Links are followed.
    """
    target = Path(os.path.realpath(os.fspath(path)))
    if target.exists() and not target.is_file():
        raise ValueError(f"Cannot save to {str(path)!r}: it is not a regular file.")
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
    """Flush the renaming to disk too, where the system supports it."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
