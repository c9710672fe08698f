"""The projects that recipes reproduce, as functions of signals (batch, time).

Made and called under the default dtype of their comparison, so that in float64 their
windows and tables are made in float64, too. Several of these packages pin a PyTorch of
their own; they are installed without what they ask for,

    pip install --no-deps acids-rave asteroid audiocraft deepfilternet denoiser \\
        descript-audiotools einops flamo vocos

and of that, modules without content take the place here.
"""

import contextlib
import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.resources
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from packages import with_torchaudio

# What the packages import and the losses do not use.
_ABSENT = {
    *("GPUtil", "argbind", "av", "cached_conv", "encodec", "ffmpy", "flashy"),
    *("flatten_dict", "gin", "huggingface_hub", "julius", "libdf", "lmdb", "loguru"),
    "markdown2",
    *("omegaconf", "pyfar", "pyloudnorm", "pytorch_lightning", "randomname", "rich"),
    *(
        "soundfile",
        "torch.utils.tensorboard",
        "torch_stoi",
        "tqdm",
        "xformers",
        "IPython",
    ),
}


class _Anything(type):
    """The type of classes that have classes of any name."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {"__init__": lambda self, *_, **__: None})


class _Empty(types.ModuleType):
    """A module that has a class of any name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name: str) -> Any:
        return getattr(_Anything("Empty", (), {}), name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname.partition(".")[0] not in _ABSENT:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@contextlib.contextmanager
def _empty_modules() -> Iterator[None]:
    before, finder = set(sys.modules), _Finder()
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if isinstance(sys.modules[name], _Empty):
                del sys.modules[name]


@functools.cache
def module(name: str, alone: bool = False) -> Any:
    """Import a module, if `alone` without running the packages that it is in.

    **Raises:** `ImportError` if its package is not installed.
    """
    with_torchaudio()
    sys.modules.setdefault("importlib_resources", importlib.resources)  # its successor
    tensorboard = "torch.utils.tensorboard"  # which is there without what it needs
    sys.modules.setdefault(tensorboard, _Empty(tensorboard))
    first, *rest = name.split(".")
    if first not in sys.modules and importlib.util.find_spec(first) is None:
        raise ImportError(f"{first} is not installed")
    if alone and first not in sys.modules:
        found: Any = importlib.util.find_spec(first)
        sys.modules[first] = _bare(first, list(found.submodule_search_locations))
    for part in rest[:-1] if alone else ():
        path = [f"{p}/{part}" for p in sys.modules[first].__path__]
        first = f"{first}.{part}"
        sys.modules.setdefault(first, _bare(first, path))
    with _empty_modules():
        return importlib.import_module(name)


def _bare(name: str, path: list[str]) -> types.ModuleType:
    """A package whose own code is not run."""
    package = types.ModuleType(name)
    package.__path__ = path
    return package


def auraloss(name: str, *args: Any, **options: Any) -> Callable[..., Any]:
    """A loss of auraloss, of one channel or of those that there are."""
    import librosa
    import torch

    freq, mel = module("auraloss.freq"), librosa.filters.mel
    is_double = torch.get_default_dtype() == torch.float64
    if is_double:
        librosa.filters.mel = functools.partial(mel, dtype=np.float64)
    try:
        loss = getattr(freq, name)(*args, **options)
    finally:
        librosa.filters.mel = mel
    return lambda x, y: loss(*(s if s.ndim == 3 else s[:, None] for s in (x, y)))


def auraloss_drawn(sizes: Sequence[tuple[Any, ...]]) -> Callable[..., Any]:
    """The mean of the resolutions that auraloss's random loss has drawn."""
    losses = [auraloss("STFTLoss", *size) for size in sizes]
    return lambda x, y: sum(loss(x, y) for loss in losses) / len(losses)


def asteroid() -> Callable[..., Any]:
    spectral = module("asteroid.losses.multi_scale_spectral", alone=True)
    import torch

    loss = spectral.SingleSrcMultiScaleSpectral().to(torch.get_default_dtype())
    return lambda x, y: loss(x, y).mean()


def audiocraft_mrstft() -> Callable[..., Any]:
    loss = module("audiocraft.losses.stftloss", alone=True).MRSTFTLoss()
    return lambda x, y: loss(x[:, None], y[:, None])[0]


def audiocraft_mel(sample_rate: int) -> Callable[..., Any]:
    """Without the package's modules of networks, whose padding the loss uses."""
    with_torchaudio()
    conv = module("audiocraft.modules.conv", alone=True)
    sys.modules["audiocraft.modules"].pad_for_conv1d = conv.pad_for_conv1d  # type: ignore
    losses = module("audiocraft.losses.specloss", alone=True)
    return losses.MultiScaleMelSpectrogramLoss(sample_rate)


def denoiser(factor_sc: float, factor_mag: float) -> Callable[..., Any]:
    """With the result of `torch.stft` that there was when it was written."""
    import torch

    class Torch:
        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

        def stft(self, *args: Any) -> Any:
            return torch.view_as_real(torch.stft(*args, return_complex=True))

    losses = module("denoiser.stft_loss", alone=True)
    losses.torch = Torch()
    loss = losses.MultiResolutionSTFTLoss(factor_sc=factor_sc, factor_mag=factor_mag)
    return lambda x, y: sum(loss(x, y))


def audiotools(name: str, sample_rate: int, **options: Any) -> Callable[..., Any]:
    import torch

    spectral, core = module("audiotools.metrics.spectral"), module("audiotools.core")
    loss = getattr(spectral, name)(**options)
    cls, dtype = core.AudioSignal, torch.get_default_dtype()
    window, mel = cls.get_window, cls.get_mel_filters

    class Signal(cls):
        """With tables of the comparison's dtype."""

        @staticmethod
        @functools.cache
        def get_window(*args: Any) -> Any:
            if dtype == torch.float32:
                return window(*args)
            from scipy.signal import get_window

            return torch.tensor(get_window(*args[:2]))

        @staticmethod
        @functools.cache
        def get_mel_filters(**sizes: Any) -> Any:
            if dtype == torch.float32:
                return mel(**sizes)
            import librosa

            return librosa.filters.mel(**sizes, dtype=np.float64)

    def signal(x: Any) -> Any:
        made = Signal(x[:, None], sample_rate)
        made.audio_data = x[:, None]  # which it makes float32
        return made

    return lambda x, y: loss(signal(x), signal(y))


def rave() -> Callable[..., Any]:
    core = module("rave.core", alone=True)
    scales = (2048, 1024, 512, 256, 128)
    loss = core.AudioDistanceV1(
        lambda: core.MultiScaleSTFT(scales, 44100, magnitude=True), 1e-7
    )
    return lambda x, y: loss(y[:, None], x[:, None])["spectral_distance"]


def _of_dft(stft: Any, **sizes: Any) -> Any:
    return stft(**{**sizes, "freq_scale": "no"})


def flamo() -> Callable[..., Any]:
    """With the bins of the DFT in place of its own, which lie elsewhere."""
    features = module("nnAudio.features")
    for name in ("flamo.optimize.utils", "flamo.processor.dsp"):
        sys.modules.setdefault(name, _Empty(name))
    losses = module("flamo.optimize.loss", alone=True)
    if not isinstance(features.stft.STFT, functools.partial):
        features.stft.STFT = functools.partial(_of_dft, features.stft.STFT)
    loss = losses.mss_loss()
    return lambda x, y: loss(x[..., None], y[..., None])


def flamo_decay(name: str, **options: Any) -> Callable[..., Any]:
    """A loss of energy decay of flamo, which has channels last."""
    for other in ("flamo.optimize.utils", "flamo.processor.dsp"):
        sys.modules.setdefault(other, _Empty(other))
    loss = getattr(module("flamo.optimize.loss", alone=True), name)(**options)
    return lambda x, y: loss(x[..., None], y[..., None])


def pmsqe(sample_rate: int) -> Callable[..., Any]:
    """asteroid's, of power spectra by an FFT."""
    import torch

    dtype, n = torch.get_default_dtype(), sample_rate * 32 // 1000
    pmsqe = module("asteroid.losses.pmsqe", alone=True)
    loss = pmsqe.SingleSrcPMSQE(sample_rate=sample_rate).to(dtype)
    window = torch.sqrt(torch.hann_window(n))

    def of(x: Any, y: Any) -> Any:
        spectra = (torch.fft.rfft(s.unfold(-1, n, n // 2) * window) for s in (x, y))
        return loss(*(X.real**2 + X.imag**2 for X in spectra)).mean()

    return of


def sot(name: str) -> Callable[..., Any]:
    """sot-loss, whose tables are rounded to float32, with those of the dtype."""
    import torch
    from scipy.signal import get_window

    loss = getattr(module("sot.losses"), name)()
    for part in loss.modules():
        transform = getattr(part, "transform_module", None)
        if transform is not None:
            n = transform.win_length
            dtype = torch.get_default_dtype()
            transform.window = torch.tensor(get_window("flattop", n), dtype=dtype)
            ends = torch.tensor(np.linspace(0, 1, n // 2 + 1), dtype=dtype)
            part.bin_positions = ends
    return loss


def l1_snr(name: str) -> Callable[..., Any]:
    import torch

    loss = getattr(module("torch_l1_snr"), name)("loss")
    return loss.to(torch.get_default_dtype())


def log_wmse(sample_rate: int) -> Callable[..., Any]:
    """Of one channel and one source, which is its own mixture."""
    loss = module("torch_log_wmse").LogWMSELoss(sample_rate=sample_rate)
    return lambda x, y: loss(y[:, None], x[:, None, None], y[:, None, None])


def cel() -> Callable[..., Any]:
    import torch

    return module("cels").paper_loss("cel").to(torch.get_default_dtype())


def vocos() -> Callable[..., Any]:
    """Vocos's mel loss; its bands, in float32 there, in the default dtype."""
    import torch
    from recipes_numpy import htk

    loss = module("vocos.loss").MelSpecReconstructionLoss()
    if torch.get_default_dtype() == torch.float64:
        matrix = htk(24000, 1024, 100, 0.0, None)
        loss.mel_spec.mel_scale.fb = torch.tensor(matrix.T)
    return loss


def deepfilternet() -> Callable[..., Any]:
    """DeepFilterNet's loss, with the configuration of its third model."""
    # Gone since torchaudio 2.1, and a module that needs loguru.
    for name in ("torchaudio.backend", "torchaudio.backend.common", "df.logger"):
        sys.modules.setdefault(name, _Empty(name))
    loss = module("df.loss", alone=True).MultiResSpecLoss
    return loss([256, 512, 1024, 2048], 0.3, 500, 500)


def stable_audio(sizes: Sequence[Sequence[int]], sample_rate: int) -> Any:
    """stable-audio-tools' stereo loss of one example, put together of auraloss's."""
    import torch

    from korvax_eqx import AWeightingFilter

    freq = module("auraloss.freq")
    weighted = {"perceptual_weighting": True, "sample_rate": sample_rate}
    both = freq.SumAndDifferenceSTFTLoss(*sizes, **weighted)
    each = freq.MultiResolutionSTFTLoss(*sizes, **weighted)
    if torch.get_default_dtype() == torch.float64:  # made in single precision there
        taps = torch.tensor(AWeightingFilter(sample_rate).taps)[None, None]
        for part in (*both.modules(), *each.modules()):
            if isinstance(part, freq.STFTLoss):
                part.prefilter.fir.weight.data = taps

    def loss(x: Any, y: Any) -> Any:
        x, y = y, x  # the target first, as there
        channels = [each(x[:, i : i + 1], y[:, i : i + 1]) for i in range(2)]
        return both(x, y) + sum(channels) / 2

    return loss
