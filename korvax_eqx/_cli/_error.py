"""What goes wrong because of files or arguments: a message, no traceback."""


class CommandError(Exception):
    """An error for the user; the command ends with exit code 2."""
