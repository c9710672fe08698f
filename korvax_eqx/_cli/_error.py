"""Errors caused by files or arguments, shown as a message without traceback."""

import os


class CommandError(Exception):
    """An error for the user; the command ends with exit code 2."""


def check_file(path: str) -> None:
    """Raise for anything but a regular file: reading a pipe might block forever."""
    if not os.path.exists(path):
        raise CommandError(f"{path}: no such file.")
    if os.path.isdir(path):
        raise CommandError(f"{path}: is a directory, not a file.")
    if not os.path.isfile(path):
        raise CommandError(
            f"{path}: is a pipe or a device, not a file. Write it to a file first."
        )
