"""Names of parts in logs and in messages."""

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

import equinox as eqx

from korvax_eqx._static import Function, PartialFunction


class AbstractOfFunction(eqx.Module):
    """A part that wraps a user's function, and has its name."""

    fn: eqx.AbstractVar[Callable[..., Any]]


def name_of(part: Any) -> str:
    """Return the name of a part's class, or of a function."""
    if isinstance(part, AbstractOfFunction):
        return name_of(part.fn)
    if isinstance(part, Function | PartialFunction):
        fn = part.fn
        while isinstance(fn, Function | PartialFunction):
            fn = fn.fn
        return getattr(fn, "__name__", type(fn).__name__)
    if isinstance(part, eqx.Module):
        return type(part).__name__
    return getattr(part, "__name__", type(part).__name__)


def snake_name(part: Any) -> str:
    """Return a name for logs: `spectral_convergence` for `SpectralConvergenceLoss`."""
    name = name_of(part)
    if name == "<lambda>":
        return "function"
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    return name.removesuffix("_loss")


def did_you_mean(name: Any, names: Iterable[str]) -> str:
    """Return a suggestion for a misspelled name, "" if no name is similar.

    A name with the same first word is preferred to one with the same last word: for
    `hop_sizes` it is `hop_lengths`, not `fft_sizes`.
    """
    if not isinstance(name, str):
        return ""
    text = name[:80].rpartition(".")[-1].lower()
    lowered = {known.lower(): known for known in names}
    longer = [known for known in lowered if len(text) > 2 and known.startswith(text)]
    first, _, rest = text.partition("_")
    akin = [known for known in lowered if rest and known.startswith(first + "_")]
    closest = (
        sorted(longer, key=len)
        or difflib.get_close_matches(text, akin, n=1, cutoff=0.5)
        or difflib.get_close_matches(text, lowered, n=1)
    )
    return f"Did you mean `{lowered[closest[0]]}`? " if closest else ""
