"""The other libraries, brought to the same configuration as ours."""

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np


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
    # It imports torchaudio for a transform that is not used here, and torchaudio has
    # no build beside this PyTorch.
    sys.modules.setdefault("torchaudio", types.ModuleType("torchaudio"))
    import torch
    from sot.losses import Wasserstein1DLoss

    loss = Wasserstein1DLoss(transform=None, p=p)
    positions = torch.arange(n_bins) / n_bins

    def call(S_x: Any, S_y: Any) -> Any:
        frames = S_x.permute(0, 2, 1), S_y.permute(0, 2, 1)
        return loss.loss(*frames, positions, positions).mean()

    return call
