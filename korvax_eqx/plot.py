"""Pictures of spectrograms, of differences and of losses, with matplotlib.

Every function takes the axes to draw on (`ax=None`: the current ones, as
`matplotlib.pyplot` does), passes further keyword arguments to the matplotlib method
that draws, and returns the axes. matplotlib is the extra `korvax_eqx[plot]`.
"""

from ._plot._curves import profile as profile
from ._plot._curves import terms as terms
from ._plot._spectrogram import difference as difference
from ._plot._spectrogram import spectrogram as spectrogram
from ._plot._surface import surface as surface
