"""The losses: classes, functions and the types of their parts."""

from collections.abc import Callable

from jaxtyping import Array, Float, Inexact

from ._composites._bound import BoundLoss as BoundLoss
from ._composites._mrstft import MRSTFTLoss as MRSTFTLoss
from ._composites._mrstft import mrstft_loss as mrstft_loss
from ._composites._pitch_transport import PitchTransportLoss as PitchTransportLoss
from ._composites._smooth_mrstft import SmoothMRSTFTLoss as SmoothMRSTFTLoss
from ._composites._smooth_mrstft import smooth_mrstft_loss as smooth_mrstft_loss
from ._composites._time_frequency import TimeFrequencyLoss as TimeFrequencyLoss
from ._composites._time_frequency import time_frequency_loss as time_frequency_loss
from ._losses._elementwise import ElementwiseLoss as ElementwiseLoss
from ._losses._elementwise import elementwise_loss as elementwise_loss
from ._losses._spectral_convergence import (
    SpectralConvergenceLoss as SpectralConvergenceLoss,
)
from ._losses._spectral_convergence import (
    spectral_convergence_loss as spectral_convergence_loss,
)
from ._losses._transport import (
    SpectralOptimalTransportLoss as SpectralOptimalTransportLoss,
)
from ._losses._transport import (
    spectral_optimal_transport_loss as spectral_optimal_transport_loss,
)

TransformFn = Callable[
    [Float[Array, "*channels n_samples"]], Inexact[Array, "*channels n_bins n_frames"]
]
ScaleFn = Callable[
    [Inexact[Array, "*channels n_bins_in n_frames"]],
    Inexact[Array, "*channels n_bins_out n_frames"],
]
LossFn = Callable[
    [
        Inexact[Array, "*channels n_bins n_frames"],
        Inexact[Array, "*channels n_bins n_frames"],
    ],
    Float[Array, ""],
]
