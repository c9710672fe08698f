"""What goes wrong because of files or arguments: a message, no traceback."""

import os


class CommandError(Exception):
    """An error for the user; the command ends with exit code 2."""


def check_file(path: str) -> None:
    """Refuse what is no file on a disk: a pipe would be waited for, maybe for ever."""
    if not os.path.exists(path):
        raise CommandError(f"{path}: no such file.")
    if os.path.isdir(path):
        raise CommandError(f"{path}: is a directory, not a file.")
    if not os.path.isfile(path):
        raise CommandError(
            f"{path}: is a pipe or a device, not a file. Write it to a file first."
        )
