"""What one number of a part's output depends on, as its class declares it."""

from typing import Any, Literal, NoReturn, TypeAlias, get_args

from korvax_eqx._names import name_of

Scope: TypeAlias = Literal["value", "frame", "signal", "channels", "batch"]


def scope_of(part: Any, method: str) -> Scope:
    """Return the scope of a part whose results come from a method.

    That of a class does not hold for one derived from it with another method in place
    of its own, unless that declares it again: it is "signal" then.

    **Raises:** `ValueError` if it is no scope.
    """
    scope = part.scope
    if scope not in get_args(Scope):
        rule = ", ".join(map(repr, get_args(Scope)))
        name = name_of(part)
        raise ValueError(f"`{name}.scope` must be one of {rule}. Got {scope!r}.")
    return scope if _is_kept(type(part), method) else "signal"


def _is_kept(cls: type, method: str) -> bool:
    """Whether the scope was declared with the method, or for all that define it."""
    bases = cls.__mro__
    declared = next(i for i, base in enumerate(bases) if "scope" in vars(base))
    defined = [
        i
        for i, base in enumerate(bases)
        if method in vars(base)
        and method not in getattr(base, "__abstractmethods__", ())
    ]
    return defined[0] >= declared or len(defined) == 1


def refuse_padding(part: Any, promise: str, remedy: str) -> NoReturn:
    """Raise the error for `lengths` and a part that may see beyond a signal's end."""
    raise ValueError(
        f"`lengths` cannot be combined with `{name_of(part)}`, whose `scope` is "
        f'{part.scope!r}: it may depend on the padding. Declare `scope = "frame"` in '
        f"the class if {promise}, which `korvax_eqx.check_scope` tests, or {remedy}."
    )


def told_by(base: str) -> str:
    """Return the remedy of a base that is told where signals end."""
    return f"derive it from `{base}`, which is told where signals end"
