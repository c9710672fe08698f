"""The other libraries, brought to the same configuration as ours."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import get_window


def torch_value_and_grad(
    loss: Callable[..., Any], x: np.ndarray, y: np.ndarray, gradient: bool
) -> Callable[[], Any]:
    """Return a call that evaluates a PyTorch loss, with its gradient if asked for."""
    import torch

    x_torch = torch.tensor(x, requires_grad=gradient)
    y_torch = torch.tensor(y)

    def call() -> float:
        if not gradient:
            with torch.no_grad():
                return float(loss(x_torch, y_torch))
        x_torch.grad = None
        value = loss(x_torch, y_torch)
        value.backward()
        return float(value.detach())

    return call


def auraloss_mrstft(w_sc: float = 0.0) -> Callable[..., Any]:
    """auraloss with our default resolutions and terms, and a convergence term."""
    from auraloss.freq import MultiResolutionSTFTLoss

    sizes = [64, 128, 256, 512, 1024, 2048]
    return MultiResolutionSTFTLoss(
        fft_sizes=sizes,
        hop_sizes=[n // 2 for n in sizes],
        win_lengths=sizes,
        w_sc=w_sc,
        w_log_mag=1.0,
        w_lin_mag=1.0,
    )


def auraloss_mel(sr: int) -> Callable[..., Any]:
    """auraloss's mel STFT loss: logarithmic L1 on 128 mel bands."""
    from auraloss.freq import MelSTFTLoss

    return MelSTFTLoss(
        sr, 2048, 512, 2048, n_mels=128, w_sc=0.0, w_log_mag=1.0, w_lin_mag=0.0
    )


def sot_loss(p: int, n_bins: int) -> Callable[..., Any]:
    """sot-loss's transport between two spectrograms of shape (batch, bins, frames)."""
    import torch

    loss = _module("sot.losses").Wasserstein1DLoss(transform=None, p=p)
    positions = torch.arange(n_bins) / n_bins

    def call(S_x: Any, S_y: Any) -> Any:
        frames = S_x.permute(0, 2, 1), S_y.permute(0, 2, 1)
        return loss.loss(*frames, positions, positions).mean()

    return call


def _module(name: str) -> Any:
    """Import a module that may need torchaudio's Python functions.

    **Raises:** `ImportError` if the package is not installed.
    """
    sys.path.append(str(Path(__file__).parents[1] / "helpers"))
    from packages import with_torchaudio

    with_torchaudio()
    return importlib.import_module(name)


def sot_recipe(name: str) -> Any:
    """sot-loss's classes by default, in the dtype that they are brought to."""
    loss = getattr(_module("sot.losses"), name)()
    for part in loss.modules():
        transform = getattr(part, "transform_module", None)
        if transform is not None:  # their tables are rounded to float32
            n = transform.win_length
            window = get_window("flattop", n)
            transform.window = torch_table(window)
            part.bin_positions = torch_table(np.linspace(0, 1, n // 2 + 1))
    return loss


def torch_table(values: np.ndarray) -> Any:
    import torch

    return torch.tensor(values)


def torch_l1_snr(name: str) -> Any:
    """torch-l1-snr's losses of signals (batch, time)."""
    return getattr(_module("torch_l1_snr"), name)("loss")


def log_wmse_loss(sr: int) -> Any:
    """torch-log-wmse of one channel and one source, which is its own mixture."""
    import torch

    module = _module("torch_log_wmse")

    class Single(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loss = module.LogWMSELoss(sample_rate=sr)

        def forward(self, x: Any, y: Any) -> Any:
            return self.loss(y[:, None], x[:, None, None], y[:, None, None])

    return Single()


def cels_paper() -> Any:
    """cels-audio's loss in the configuration of its paper."""
    return _module("cels").paper_loss("cel")


def auraloss_recipe(name: str, *args: Any) -> Any:
    """auraloss's losses by default, of signals (batch, time)."""
    import torch

    module = _module("auraloss.freq")

    class Single(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loss = getattr(module, name)(*args)

        def forward(self, x: Any, y: Any) -> Any:
            for part in self.loss.modules():  # plain tensors, which `double` leaves
                window = getattr(part, "window", None)
                if window is not None and window.dtype != x.dtype:
                    part.window = torch.hann_window(len(window), dtype=x.dtype)
                if getattr(part, "fb", None) is not None:
                    part.fb = part.fb.to(x.dtype)
            return self.loss(x[:, None], y[:, None])

    return Single()


def specux_transforms(sizes: list[int], sr: int | None) -> Callable[[np.ndarray], Any]:
    """specux's magnitude spectrograms, or its mel spectrograms of 80 bands."""
    import torch
    from specux import transforms

    made: list[Callable[..., Any]] = [
        transforms.Spectrogram(n, hop_length=n // 4, power=1.0)
        if sr is None
        else transforms.MelSpectrogram(sr, n_fft=n, n_mels=80, hop_length=n // 4)
        for n in sizes
    ]

    def prepared(x: np.ndarray) -> Callable[[], Any]:
        x_torch = torch.tensor(x)

        def call() -> Any:
            with torch.no_grad():
                return [transform(x_torch) for transform in made]

        return call

    return prepared


def torch_transforms(
    sizes: list[int], mel: np.ndarray | None, x: np.ndarray, gradient: bool
) -> Callable[[], Any]:
    """`torch.stft` of all sizes, or the sum of squares with its gradient."""
    import torch

    windows = {n: torch.hann_window(n) for n in sizes}
    matrix = None if mel is None else torch.tensor(np.asarray(mel, np.float32))
    x_torch = torch.tensor(x, requires_grad=gradient)

    def spectra() -> list[Any]:
        result = []
        for n in sizes:
            X = torch.stft(
                x_torch,
                n,
                n // 4,
                window=windows[n],
                pad_mode="constant",
                return_complex=True,
            )
            S = X.abs()
            result.append(S if matrix is None else matrix @ S**2)
        return result

    def call() -> Any:
        if not gradient:
            with torch.no_grad():
                return spectra()
        x_torch.grad = None
        sum((S**2).sum() for S in spectra()).backward()
        return x_torch.grad

    return call
