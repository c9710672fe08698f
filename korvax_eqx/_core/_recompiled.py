"""Notice losses that are compiled again for every new value of a Python number."""

import re
from typing import Any

import jax
from jax.core import Tracer

from korvax_eqx._static import has_plain_callables
from korvax_eqx._warnings import warn_recompiled

_FLOAT = re.compile(r"-?\d+(?:\.\d*(?:e[+-]?\d+)?|e[+-]?\d+)")
# Comparing a few settings also compiles a few times; a schedule keeps compiling.
_MOST = 8


class _Run:
    """Programs compiled one after another that differ in one number."""

    text: tuple[Any, ...] = ()
    numbers: tuple[str, ...] = ()
    places: tuple[int, ...] = ()
    length: int = 0


_run = _Run()


def notice_compiled(owner: str, loss: Any, x: Any) -> None:
    """Warn if the last programs all differ in the same number of the loss.

    Called when a loss is traced, which takes a hundred times as long as this check.
    """
    if not isinstance(x, Tracer):
        return  # Nothing is compiled.
    written = str(jax.tree.structure(loss))
    text = (*_FLOAT.split(written), x.shape, x.dtype)
    numbers = tuple(_FLOAT.findall(written))
    if text != _run.text:
        if has_plain_callables((loss,)):
            return  # By the user, or not at all.
        _run.text, _run.numbers, _run.places, _run.length = text, numbers, (), 0
        return
    pairs = enumerate(zip(_run.numbers, numbers, strict=True))
    places = tuple(i for i, (before, after) in pairs if before != after)
    if not places:
        return  # The same loss under another transformation.
    is_longer = len(places) == 1 and places == _run.places
    _run.length = _run.length + 1 if is_longer else 1
    if _run.length == _MOST:
        before, after = (n[places[0]] for n in (_run.numbers, numbers))
        warn_recompiled(owner, _MOST, before, after)
    _run.numbers, _run.places = numbers, places
