"""Signals and spectra, which flow through a loss, and the terms that a loss consists
of."""

from ._framing import Framing as Framing
from ._signals import Signals as Signals
from ._spectra import Spectra as Spectra
from ._term import Term as Term
from ._terms import Terms as Terms
