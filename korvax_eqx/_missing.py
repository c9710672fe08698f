"""The error for attributes that the package does not have, with a remedy."""

import sys
from typing import Any

from korvax_eqx._names import did_you_mean

_MODULES = "Its functions are here at the top level, as `korvax_eqx.{}`."
_UNITS = "It is one line: `{}`."
# korvax 0.3.0 has these as well.
_KORVAX = {
    "convert": _MODULES.format("hz_to_mel"),
    "transforms": _MODULES.format("stft"),
    "midi_to_hz": _UNITS.format("440 * 2 ** ((midi - 69) / 12)"),
    "hz_to_midi": _UNITS.format("69 + 12 * jnp.log2(hz / 440)"),
    "cents_to_hz": _UNITS.format("hz * 2 ** (cents / 1200)"),
    "hz_to_cents": _UNITS.format("1200 * jnp.log2(hz / reference)"),
    "griffin_lim": "",
    "resample": "Use korvax's own, or as a part of a loss `Resample(sr, sr_out)`.",
    "util": "",
    "pitch": "",
    "filter": "",
}


def attribute(name: str) -> Any:
    """The `__getattr__` of the package: raise an error that says what to use."""
    message = f"module 'korvax_eqx' has no attribute {name!r}."
    if name in _KORVAX:
        remedy = _KORVAX[name] or f"Use korvax's own, `import korvax; korvax.{name}`."
        message += f" From korvax, it has only the losses and their parts. {remedy}"
    elif not name.startswith("_"):
        public = [n for n in vars(sys.modules["korvax_eqx"]) if not n.startswith("_")]
        message += f" {did_you_mean(name, public)}".rstrip()
    raise AttributeError(message)
