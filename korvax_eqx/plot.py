"""Pictures of spectrograms, of differences and of losses, with matplotlib.

Data come first. Every function draws on the axes `ax=`, by its name (`None`: on the
current ones, as `matplotlib.pyplot` does), passes further keyword arguments to the
method of matplotlib that draws, and returns the axes. Legends are below the axes;
`plt.subplots(layout="constrained")` makes room for them and for labels everywhere.
matplotlib is the extra `korvax_eqx[plot]`.
"""

from ._plot._curves import profile as profile
from ._plot._curves import terms as terms
from ._plot._spectrogram import difference as difference
from ._plot._spectrogram import spectrogram as spectrogram
from ._plot._surface import surface as surface
