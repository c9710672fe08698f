"""The one error of reading, and how messages name a place."""


class LoadError(ValueError):
    """A file or a config that cannot become a loss. Nothing of it is kept.

    Raised by `load` and `from_config` for everything that can be wrong with what they
    read: damaged, cut off, foreign, newer or malicious files, unknown classes,
    unknown, missing or refused arguments. The message says what and where.
    """


def place(where: str) -> str:
    """Return the name of a place for a message: `loss_fn[1].positions`."""
    return f"`{where}`" if where else "the outermost entry"


def join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
