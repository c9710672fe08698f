"""The losses: classes, functions and the types of their parts."""

from ._composites._consistency import ConsistencyLoss as ConsistencyLoss
from ._composites._mapped import MappedLoss as MappedLoss
from ._composites._mixture_invariant import (
    MixtureInvariantLoss as MixtureInvariantLoss,
)
from ._composites._mrstft import MRSTFTLoss as MRSTFTLoss
from ._composites._mrstft import mrstft_loss as mrstft_loss
from ._composites._multi_resolution import MultiResolutionLoss as MultiResolutionLoss
from ._composites._permutation_invariant import (
    PermutationInvariantLoss as PermutationInvariantLoss,
)
from ._composites._pitch_transport import PitchTransportLoss as PitchTransportLoss
from ._composites._prediction import PredictionLoss as PredictionLoss
from ._composites._random_subset import RandomSubsetLoss as RandomSubsetLoss
from ._composites._smooth_mrstft import SmoothMRSTFTLoss as SmoothMRSTFTLoss
from ._composites._smooth_mrstft import smooth_mrstft_loss as smooth_mrstft_loss
from ._composites._sum import SumLoss as SumLoss
from ._composites._time_frequency import TimeFrequencyLoss as TimeFrequencyLoss
from ._composites._time_frequency import time_frequency_loss as time_frequency_loss
from ._core._loss import BoundLoss as BoundLoss
from ._losses._cumulative_energy import CumulativeEnergyLoss as CumulativeEnergyLoss
from ._losses._elementwise import ElementwiseLoss as ElementwiseLoss
from ._losses._elementwise import elementwise_loss as elementwise_loss
from ._losses._gompsnr import GOMPSNRLoss as GOMPSNRLoss
from ._losses._norm import NormLoss as NormLoss
from ._losses._phase import PhaseLoss as PhaseLoss
from ._losses._pmsqe import PMSQELoss as PMSQELoss
from ._losses._relative import BatchRelativeLoss as BatchRelativeLoss
from ._losses._relative import RelativeLoss as RelativeLoss
from ._losses._spectral_convergence import (
    BatchSpectralConvergenceLoss as BatchSpectralConvergenceLoss,
)
from ._losses._spectral_convergence import (
    SpectralConvergenceLoss as SpectralConvergenceLoss,
)
from ._losses._spectral_convergence import (
    spectral_convergence_loss as spectral_convergence_loss,
)
from ._losses._spectral_l1_snr import SpectralL1SNRLoss as SpectralL1SNRLoss
from ._losses._spectral_level import SpectralLevelLoss as SpectralLevelLoss
from ._losses._transport import (
    SpectralOptimalTransportLoss as SpectralOptimalTransportLoss,
)
from ._losses._transport import (
    spectral_optimal_transport_loss as spectral_optimal_transport_loss,
)
from ._time_domain._dc import DCLoss as DCLoss
from ._time_domain._energy_decay import EnergyDecayLoss as EnergyDecayLoss
from ._time_domain._esr import ESRLoss as ESRLoss
from ._time_domain._l1_snr import L1SNRLoss as L1SNRLoss
from ._time_domain._level import LevelLoss as LevelLoss
from ._time_domain._log_cosh import LogCoshLoss as LogCoshLoss
from ._time_domain._log_wmse import LogWMSELoss as LogWMSELoss
from ._time_domain._loudness_ratio import LoudnessRatioLoss as LoudnessRatioLoss
from ._time_domain._sd_sdr import SDSDRLoss as SDSDRLoss
from ._time_domain._si_sdr import SISDRLoss as SISDRLoss
from ._time_domain._snr import SNRLoss as SNRLoss
from ._time_domain._stoi import STOILoss as STOILoss
from ._time_domain._waveform import WaveformLoss as WaveformLoss
from ._time_domain._wsdr import WSDRLoss as WSDRLoss
from ._types import LossFn as LossFn
from ._types import ScaleFn as ScaleFn
from ._types import TransformFn as TransformFn
