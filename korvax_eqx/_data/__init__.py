"""What flows through a loss, signals and their spectra, and what a loss is made of."""

from ._framing import Framing as Framing
from ._signals import Signals as Signals
from ._spectra import Spectra as Spectra
from ._term import Term as Term
from ._terms import Terms as Terms
