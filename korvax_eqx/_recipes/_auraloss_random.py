"""The random-resolution loss of auraloss."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from korvax_eqx import _checks as checks
from korvax_eqx._composites._random_subset import RandomSubsetLoss
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._engine._plan import unique_names
from korvax_eqx._warnings import without_warnings

from ._auraloss import auraloss_stft
from ._parts import (
    numbers_of,
)

WINDOWS = (
    "hann_window",
    "bartlett_window",
    "blackman_window",
    "hamming_window",
    "kaiser_window",
)


def auraloss_random(
    resolutions: int = 3,
    min_fft_size: int = 16,
    max_fft_size: int = 32768,
    min_hop_size: float = 0.1,
    max_hop_size: float = 1.0,
    windows: Sequence[Any] = WINDOWS,
    *,
    n_bank: int = 16,
    seed: int = 0,
    n_mels: int | None = None,
    **options: Any,
) -> AbstractLoss:
    """auraloss's `RandomResolutionSTFTLoss`: the mean over a few random resolutions.

    Each call uses its `key` to draw `resolutions` entries of a bank. auraloss draws
    from all sizes at every call, which would make JAX recompile every time, and may
    draw the same one twice. Here the bank of `n_bank` `auraloss_stft` is drawn once, by
    the same rules. As in auraloss, FFT sizes are powers of 2 from the smallest to
    *half* the largest, hops are a uniform random fraction of them, and windows are as
    long, half as long or a quarter as long. So a hop can be longer than its window.
    Each draw has the value that auraloss gives for the same sizes; source, conventions
    and measured differences are those of `auraloss_stft`. Signals must be longer than
    half the largest FFT in the bank.

    **Arguments:**

    - `resolutions`: number of resolutions drawn per call.
    - `min_fft_size`, `max_fft_size`: powers of 2, samples.
    - `min_hop_size`, `max_hop_size`: fractions of the FFT size.
    - `windows`: windows to draw from, each as in `auraloss_stft`.
    - `n_bank`: number of resolutions in the bank. All of them are compiled.
    - `seed`: seed for drawing the bank.
    - `n_mels`: with `scale="mel"`, the number of bands.
    - all others: as in `auraloss_stft`.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "auraloss_random"
    with (
        checks.owned_by(
            owner,
            n_draws="resolutions",
            n_bins="n_mels",
            hop_size="max_hop_size",
            window="windows",
        ),
        without_warnings(),  # of hops that are longer than windows
    ):
        least = _log2(owner, "min_fft_size", min_fft_size)
        most = _log2(owner, "max_fft_size", max_fft_size)
        if most <= least:
            rule = f"be above min_fft_size = {min_fft_size}"
            checks.refuse(owner, "max_fft_size", rule, max_fft_size)
        low = checks.positive(owner, "min_hop_size", min_hop_size)
        high = checks.positive(owner, "max_hop_size", max_hop_size)
        if high < low:
            rule = f"be at least min_hop_size = {min_hop_size}"
            checks.refuse(owner, "max_hop_size", rule, max_hop_size)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            checks.refuse(owner, "seed", "be a non-negative integer", seed)
        choices = numbers_of(owner, "windows", windows)
        n_bank = checks.positive_int(owner, "n_bank", n_bank)
        rng = np.random.default_rng(seed)
        names, bank = [], []
        for _ in range(n_bank):
            n_fft = 2 ** int(rng.integers(least, most))
            hop = max(1, int(n_fft * (low + rng.random() * (high - low))))
            win_length = int(n_fft * rng.choice([1.0, 0.5, 0.25]))
            window = choices[int(rng.integers(len(choices)))]
            names.append(f"{n_fft}-{hop}-{win_length}-{window}".replace("/", "-"))
            bank.append(
                auraloss_stft(n_fft, hop, win_length, window, n_bins=n_mels, **options)
            )
        losses = dict(zip(unique_names(names), bank, strict=True))
        return RandomSubsetLoss(losses, resolutions, [1 / n_bank] * n_bank)


def _log2(owner: str, argument: str, size: Any) -> int:
    size = checks.positive_int(owner, argument, size)
    if size & (size - 1):
        checks.refuse(owner, argument, "be a power of 2", size)
    return int(math.log2(size))
