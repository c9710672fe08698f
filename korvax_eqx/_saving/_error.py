"""The error that loading raises, and how its messages name a place."""


class LoadError(ValueError):
    """Raised for a file or config that cannot be loaded.

    `load` and `from_config` raise it for damaged, truncated, foreign, newer or
    malicious files, for unknown classes, and for unknown, missing or invalid arguments.
    The message says what is wrong and where. A loss is never partially loaded.
    """


def place(where: str) -> str:
    """Return the name of a place for a message: `loss_fn[1].positions`."""
    return f"`{where}`" if where else "the outermost entry"


def join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
