"""`istft` with the names and arguments of korvax and librosa."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from korvax_eqx import _checks as checks
from korvax_eqx import _warnings
from korvax_eqx._transforms._stft import STFT


@checks.owned_by("istft", S="x")
def istft(
    x: Complex[Array, "*channels n_bins n_frames"],
    /,
    n_fft: int | None = None,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = "hann",
    center: bool = True,
    length: int | None = None,
) -> Float[Array, "*channels n_samples"]:
    """Apply `STFT.inverse` to `x`; `n_fft=None` is `2 * (n_bins - 1)`."""
    checks.spectrum_type("STFT.inverse", x)
    checks.spectrum("STFT.inverse", "S", x)
    if n_fft is None:
        n_fft = max(1, 2 * (jnp.shape(x)[-2] - 1))
    with _warnings.remade("STFT"):
        transform = STFT(n_fft, hop_length, win_length, window, center)
    return transform.inverse(x, length)
