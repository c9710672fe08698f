r"""Audio losses for JAX, as Equinox modules: compose once, use anywhere.

Signal maps:

    AWeightingFilter: A-weighting as a filter with `n_taps` symmetric taps, for signals
        sampled at `sr`
    ChannelMix: Linear combinations of channels: $y_i = \sum_j M_{ij} x_j$
    FIRFilter: FIR filter; the output is as long as the input
    GradientScale: Returns signals as they are; their gradient is multiplied by a number
    KWeightingFilter: K-weighting: the filter of loudness meters in ITU-R BS.1770 (EBU R
        128)
    MidSide: Sum and difference of two channels: `(left + right, left - right)`
    PQMF: Sub-bands: a pseudo-quadrature-mirror filter bank, critically sampled
    PreEmphasis: Raises high frequencies: $y_n = x_n - c\,x_{n-1}$, where $x_{-1} = 0$
    Resample: Signals at another sample rate, by a polyphase filter

Transforms:

    Chroma: Chromagram $C |X|^p$: the energy of each pitch class, summed over octaves
    CQT: Constant-Q transform: logarithmically spaced bins of constant relative width
    MelSpectrogram: Mel spectrogram $M |X|^p$: a `Spectrogram` followed by a `MelScale`
    MFCC: Mel-frequency cepstral coefficients: $L\,D\,s(M |X|^p)$
    Spectrogram: Spectrogram $|X|^p$ of the short-time Fourier transform $X$
    STFT: Short-time Fourier transform: the complex spectra of windowed frames
    VQT: Variable-Q transform: logarithmically spaced bins of variable bandwidth

Scales:

    AmplitudeToDB: Amplitudes in decibels: `20 log10(max(amin, |S|) / max(amin, |ref|))`
    AWeighting: Adds the A-weighting of each bin to a spectrum in dB: `S + A(f)`
    BWeighting: Adds the B-weighting of each bin to a spectrum in dB: `S + B(f)`
    Chain: Applies several scales in the order given, starting with the first
    CumulativeSum: Cumulative sum over bins, or over frames
    CWeighting: Adds the C-weighting of each bin to a spectrum in dB: `S + C(f)`
    Difference: Difference to the previous frame, or to the bin below
    DWeighting: Adds the D-weighting of each bin to a spectrum in dB: `S + D(f)`
    Identity: Returns spectra unchanged, also complex ones
    Log: The logarithm $\log_b(\mathrm{floor}(\mathrm{factor} \cdot S))$
    Magnitude: Magnitude of complex spectra to a power: $|X|^p$, the last step of a
        `Spectrogram`
    MeanOverBins: Mean over bins, one value per frame: $\frac1n \sum_k w_k S_k$
    MelScale: FFT bins summed into mel bands with triangular weights: `mel = M S`
    OneSidedPower: Powers of a one-sided spectrum; bins between 0 Hz and half the rate
        count twice
    Power: A power of each value: $S^p$, or $(S + \epsilon)^p$, or $\max(S, \epsilon)^p$
    PowerCompression: Complex spectra with compressed magnitudes, $A^p e^{j\varphi}$,
        phases kept
    PowerToDB: Powers in decibels: `10 log10(max(amin, S) / max(amin, ref))`
    RealImaginary: The real parts of all bins, followed by the imaginary parts: twice
        the bins
    SpectralCentroid: The centre of mass of each frame in Hz, $\sum_k f_k S_k / \sum_k
        S_k$
    SpectralFlatness: The geometric mean over the arithmetic mean of each frame's bins
    SpectralRolloff: The frequency in Hz below which a part of each frame's sum lies

Losses on spectra:

    BatchRelativeLoss: Sum of $|S_x - S_y|^p$ over a batch divided by that of $|S_y|^p$
    BatchSpectralConvergenceLoss: Spectral convergence $\|S_y - S_x\|_F / (\|S_y\|_F +
        \epsilon)$ of a batch
    CumulativeEnergyLoss: Root mean square of $\varphi(C_x) - \varphi(C_y)$, averaged
        over directions
    ElementwiseLoss: Mean over all elements of $|S_x - S_y|$ (L1) or $|S_x - S_y|^2$
        (L2)
    GOMPSNRLoss: Negated signal-to-noise ratio of complex spectra with other phase
        distances, dB
    NormLoss: Frobenius norm of the difference, $\|S_x - S_y\|_F$, of a signal or of a
        frame
    PhaseLoss: Mean of $|w(\varphi_x - \varphi_y)|$ (L1) or its square (L2) of complex
        spectra
    PMSQELoss: Perceptual metric for speech quality evaluation (PMSQE), after PESQ
    RelativeLoss: Mean of $|S_x - S_y|^p$ divided by the mean of $|S_y|^p$, for each
        signal
    SpectralConvergenceLoss: Spectral convergence $\|S_y - S_x\|_F / (\|S_y\|_F +
        \epsilon)$
    SpectralL1SNRLoss: Mean absolute error over mean absolute target of spectra, in dB
    SpectralLevelLoss: Penalty for a wrong level of spectra: $\lambda |L_x - L_y|$ in dB
    SpectralOptimalTransportLoss: Optimal transport between the spectra of each frame,
        along frequency

Losses on signals:

    ConsistencyLoss: STFT consistency $L(S, \mathrm{STFT}(\mathrm{STFT}^{-1}(S)))$ of
        spectra
    DCLoss: Squared offset over power, $m^2 / (\frac1n \sum y^2 + \epsilon)$
    EnergyDecayLoss: Mean of $(D_x - D_y)^2$ (L2) or $|D_x - D_y|$ (L1) of decay curves,
        in dB
    ESRLoss: Error-to-signal ratio $\sum (y - x)^2 / (\sum y^2 + \epsilon)$ of each
        signal
    L1SNRLoss: Mean absolute error over mean absolute target, in dB
    LevelLoss: Penalty for a wrong level of each signal: $\lambda |L_x - L_y|$ in dB
    LogCoshLoss: Mean over samples of $\ln(\cosh(a (x - y)) + \epsilon)/a$
    LogWMSELoss: Log of the mean squared filtered error, relative to the filtered power
        of a mixture
    LoudnessRatioLoss: Loudness of the error over the target's, in dB, mainly in the
        loudest parts
    MappedLoss: A loss after a signal map: $L(m(x), m(y))$
    MixtureInvariantLoss: A loss of mixtures for sources, each in the mixture with the
        least loss
    MRSTFTLoss: Multi-resolution STFT loss (also: multi-scale spectral loss)
    MultiResolutionLoss: Weighted sum of losses on spectra over several transforms
    PermutationInvariantLoss: A loss of several sources, matched to the targets in the
        order of least loss
    PitchTransportLoss: Spectral optimal transport on power spectra of valid frames
    PredictionLoss: A loss on signals, given a prediction of their spectra or of their
        sub-bands
    RandomSubsetLoss: A random subset of losses, drawn with `key`; the expectation is
        their weighted sum
    SDSDRLoss: Negated scale-dependent signal-to-distortion ratio of each signal, in dB
    SISDRLoss: Negated scale-invariant signal-to-distortion ratio of each signal, in dB
    SmoothMRSTFTLoss: Multi-resolution STFT loss of Schwär and Müller, which is smooth
        in pitch
    SNRLoss: Negated signal-to-noise ratio of each signal, in dB
    STOILoss: Negated short-time objective intelligibility of speech, plain or extended
    SumLoss: Weighted sum of losses on signals: $L(x, y) = \sum_i w_i L_i(x, y)$
    TimeFrequencyLoss: Weighted sum of losses on one time-frequency transform of both
        signals
    WaveformLoss: Mean over samples of $|x - y|$ (L1) or $(x - y)^2$ (L2)
    WSDRLoss: Negated cosine similarities of a source and of the rest, weighted by
        energy

Training with several losses:

    BalancerState: What a `GradientBalancer` has seen: a pytree, to be saved with the
        training
    GradientBalancer: Scales the gradients of losses so that each has its share of their
        sum

Bases to extend:

    AbstractBatchLoss: Two spectra to one number that is not a mean over the leading
        axes
    AbstractFramesTransform: A transform that knows where its frames and bins lie, like
        all of the library's
    AbstractLoss: Two signals to one number, averaged over the leading axes
    AbstractScale: Spectra to spectra: a change of magnitude, of bins, of frames
    AbstractSignalMap: Signals to signals, before a transform or a loss
    AbstractSpectralLoss: Two spectra to one number, averaged over the leading axes
    AbstractTransform: Signals to spectra
    AbstractWaveformLoss: Base of losses in the time domain, which are means over
        signals

What flows through a loss, and what it is made of:

    Framing: Position of frames: frame t begins at sample `t * hop_length - left`
    Signals: A batch of signals, which may be padded
    Spectra: A batch of spectra with bins along the last axis, as an FFT returns them
    Term: One term of a loss: a path that both signals take, and the loss at its end
    Terms: The weighted terms of a loss by name, which add up to it

Functions:

    A_weighting: Return the A-weighting curve (IEC 61672-1) in dB
    amplitude_to_db: Convert amplitudes to decibels: `20 log10(max(amin, |S|) /
        max(amin, |ref|))`
    B_weighting: Return the B-weighting curve (IEC 651) in dB
    C_weighting: Return the C-weighting curve (IEC 61672-1) in dB
    cepstral_coefficients: Return the first `n_cc` cepstral coefficients of a
        spectrogram
    check_scope: Test a part of your own on examples: its `scope`, and its support of
        lengths
    cqt: Apply `CQT` to `x`; `pad_kwargs` are arguments of `jax.numpy.pad`
    cqt_frequencies: Return the frequencies of constant-Q bins: `fmin 2^((k + tuning) /
        B)`
    D_weighting: Return the D-weighting curve (IEC 537) in dB
    db_to_amplitude: Convert decibels to amplitudes: `ref 10^(S_db / 20)`
    db_to_power: Convert decibels to powers: `ref 10^(S_db / 10)`
    fft_frequencies: Return the frequencies of the FFT bins: `k sr / n_fft`
    from_config: Return the loss described by a config that `to_config` or a user wrote
    hz_to_mel: Convert frequencies to the mel scale
    istft: Apply `STFT.inverse` to `x`; `n_fft=None` is `2 * (n_bins - 1)`
    load: Load an object that `save` wrote
    mel_filterbank: Return a bank of triangular filters, evenly spaced on the mel scale
    mel_frequencies: Return frequencies that are evenly spaced in mels, both ends
        included
    mel_spectrogram: Apply `spectrogram` to `x`, then `to_mel_scale`, with their
        arguments
    mel_to_hz: Convert mels to frequencies: the inverse of `hz_to_mel`
    mfcc: Apply `mel_spectrogram` to `x`, then `cepstral_coefficients`
    power_to_db: Convert powers to decibels: `10 log10(max(amin, S) / max(amin, |ref|))`
    save: Save a loss to a file: its configuration and its parameters
    spectrogram: Apply `Spectrogram` to `x`; `pad_kwargs` are arguments of
        `jax.numpy.pad`
    stft: Apply `STFT` to `x`; `pad_kwargs` are arguments of `jax.numpy.pad`
    to_config: Return the class and the constructor arguments of a loss as plain values
    to_mel_scale: Sum FFT bins into mel bands: `MelScale` with these arguments, applied
        to `S`
    vqt: Apply `VQT` to `x`; `pad_kwargs` are arguments of `jax.numpy.pad`

Modules:

    loss: The losses: classes, functions and the types of their parts
    plot: Pictures of spectrograms, differences and losses, with matplotlib
    recipes: The field's losses, each under the name of the project that it reproduces
"""

from typing import TYPE_CHECKING

from . import loss as loss
from . import plot as plot
from . import recipes as recipes
from ._composites._balancer import BalancerState as BalancerState
from ._composites._balancer import GradientBalancer as GradientBalancer
from ._core._loss import AbstractLoss as AbstractLoss
from ._core._loss import AbstractWaveformLoss as AbstractWaveformLoss
from ._core._losses import AbstractBatchLoss as AbstractBatchLoss
from ._core._losses import AbstractSpectralLoss as AbstractSpectralLoss
from ._core._scope_check import check_scope as check_scope
from ._core._steps import AbstractFramesTransform as AbstractFramesTransform
from ._core._steps import AbstractScale as AbstractScale
from ._core._steps import AbstractSignalMap as AbstractSignalMap
from ._core._steps import AbstractTransform as AbstractTransform
from ._data import Framing as Framing
from ._data import Signals as Signals
from ._data import Spectra as Spectra
from ._data import Term as Term
from ._data import Terms as Terms
from ._maps._a_weighting import AWeightingFilter as AWeightingFilter
from ._maps._channel_mix import ChannelMix as ChannelMix
from ._maps._fir import FIRFilter as FIRFilter
from ._maps._gradient_scale import GradientScale as GradientScale
from ._maps._k_weighting import KWeightingFilter as KWeightingFilter
from ._maps._mid_side import MidSide as MidSide
from ._maps._pqmf import PQMF as PQMF
from ._maps._pre_emphasis import PreEmphasis as PreEmphasis
from ._maps._resample import Resample as Resample
from ._saving._config import from_config as from_config
from ._saving._config import to_config as to_config
from ._saving._error import LoadError as LoadError
from ._saving._file import load as load
from ._saving._file import save as save
from ._scales._chain import Chain as Chain
from ._scales._cumulative_sum import CumulativeSum as CumulativeSum
from ._scales._decibel import AmplitudeToDB as AmplitudeToDB
from ._scales._decibel import PowerToDB as PowerToDB
from ._scales._decibel import amplitude_to_db as amplitude_to_db
from ._scales._decibel import db_to_amplitude as db_to_amplitude
from ._scales._decibel import db_to_power as db_to_power
from ._scales._decibel import power_to_db as power_to_db
from ._scales._difference import Difference as Difference
from ._scales._features import SpectralCentroid as SpectralCentroid
from ._scales._features import SpectralFlatness as SpectralFlatness
from ._scales._features import SpectralRolloff as SpectralRolloff
from ._scales._identity import Identity as Identity
from ._scales._log import Log as Log
from ._scales._magnitude import Magnitude as Magnitude
from ._scales._mean_over_bins import MeanOverBins as MeanOverBins
from ._scales._mel import MelScale as MelScale
from ._scales._mel import to_mel_scale as to_mel_scale
from ._scales._one_sided_power import OneSidedPower as OneSidedPower
from ._scales._power import Power as Power
from ._scales._power_compression import PowerCompression as PowerCompression
from ._scales._real_imaginary import RealImaginary as RealImaginary
from ._scales._weighting import AWeighting as AWeighting
from ._scales._weighting import BWeighting as BWeighting
from ._scales._weighting import CWeighting as CWeighting
from ._scales._weighting import DWeighting as DWeighting
from ._tables._frequencies import cqt_frequencies as cqt_frequencies
from ._tables._frequencies import fft_frequencies as fft_frequencies
from ._tables._frequencies import hz_to_mel as hz_to_mel
from ._tables._frequencies import mel_frequencies as mel_frequencies
from ._tables._frequencies import mel_to_hz as mel_to_hz
from ._tables._mel import mel_filterbank as mel_filterbank
from ._tables._weighting import A_weighting as A_weighting
from ._tables._weighting import B_weighting as B_weighting
from ._tables._weighting import C_weighting as C_weighting
from ._tables._weighting import D_weighting as D_weighting
from ._transforms._chroma import Chroma as Chroma
from ._transforms._cqt import CQT as CQT
from ._transforms._cqt import cqt as cqt
from ._transforms._istft import istft as istft
from ._transforms._mel_spectrogram import MelSpectrogram as MelSpectrogram
from ._transforms._mel_spectrogram import mel_spectrogram as mel_spectrogram
from ._transforms._mfcc import MFCC as MFCC
from ._transforms._mfcc import cepstral_coefficients as cepstral_coefficients
from ._transforms._mfcc import mfcc as mfcc
from ._transforms._spectrogram import Spectrogram as Spectrogram
from ._transforms._spectrogram import spectrogram as spectrogram
from ._transforms._stft import STFT as STFT
from ._transforms._stft import stft as stft
from ._transforms._vqt import VQT as VQT
from ._transforms._vqt import vqt as vqt
from ._version import __version__ as __version__
from .loss import BatchRelativeLoss as BatchRelativeLoss
from .loss import BatchSpectralConvergenceLoss as BatchSpectralConvergenceLoss
from .loss import BoundLoss as BoundLoss
from .loss import ConsistencyLoss as ConsistencyLoss
from .loss import CumulativeEnergyLoss as CumulativeEnergyLoss
from .loss import DCLoss as DCLoss
from .loss import ElementwiseLoss as ElementwiseLoss
from .loss import EnergyDecayLoss as EnergyDecayLoss
from .loss import ESRLoss as ESRLoss
from .loss import GOMPSNRLoss as GOMPSNRLoss
from .loss import L1SNRLoss as L1SNRLoss
from .loss import LevelLoss as LevelLoss
from .loss import LogCoshLoss as LogCoshLoss
from .loss import LogWMSELoss as LogWMSELoss
from .loss import LoudnessRatioLoss as LoudnessRatioLoss
from .loss import MappedLoss as MappedLoss
from .loss import MixtureInvariantLoss as MixtureInvariantLoss
from .loss import MRSTFTLoss as MRSTFTLoss
from .loss import MultiResolutionLoss as MultiResolutionLoss
from .loss import NormLoss as NormLoss
from .loss import PermutationInvariantLoss as PermutationInvariantLoss
from .loss import PhaseLoss as PhaseLoss
from .loss import PitchTransportLoss as PitchTransportLoss
from .loss import PMSQELoss as PMSQELoss
from .loss import PredictionLoss as PredictionLoss
from .loss import RandomSubsetLoss as RandomSubsetLoss
from .loss import RelativeLoss as RelativeLoss
from .loss import SDSDRLoss as SDSDRLoss
from .loss import SISDRLoss as SISDRLoss
from .loss import SmoothMRSTFTLoss as SmoothMRSTFTLoss
from .loss import SNRLoss as SNRLoss
from .loss import SpectralConvergenceLoss as SpectralConvergenceLoss
from .loss import SpectralL1SNRLoss as SpectralL1SNRLoss
from .loss import SpectralLevelLoss as SpectralLevelLoss
from .loss import SpectralOptimalTransportLoss as SpectralOptimalTransportLoss
from .loss import STOILoss as STOILoss
from .loss import SumLoss as SumLoss
from .loss import TimeFrequencyLoss as TimeFrequencyLoss
from .loss import WaveformLoss as WaveformLoss
from .loss import WSDRLoss as WSDRLoss

if not TYPE_CHECKING:  # a type checker would take any name for one of the package
    from ._missing import attribute as __getattr__  # noqa: F401
