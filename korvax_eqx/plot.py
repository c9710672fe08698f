"""Pictures of spectrograms, differences and losses, with matplotlib.

Each function takes the data first and `ax=` as a keyword (`None`: the current axes, as
in `matplotlib.pyplot`), passes further keyword arguments to the drawing method of
matplotlib, and returns the Axes. Legends are placed below the axes;
`plt.subplots(layout="constrained")` makes room for them. matplotlib is installed by the
extra `korvax_eqx[plot]`.
"""

from ._plot._curves import profile as profile
from ._plot._curves import terms as terms
from ._plot._spectrogram import difference as difference
from ._plot._spectrogram import spectrogram as spectrogram
from ._plot._surface import surface as surface
