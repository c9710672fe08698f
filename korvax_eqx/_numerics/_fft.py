"""The real FFT of frames, and its inverse."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Complex, Float

from .._platform import EAGER, target
from ._dft import real_dft, real_dft_transpose
from ._dft_products import real_dft_by_products
from ._ranks import along_last


def rfft(frames: Array, n: int) -> Array:
    """`jnp.fft.rfft(frames)` for frames of `n` samples, shape `(*lead, n)`.

    JAX transposes a real FFT to a complex one, which takes twice as long as the inverse
    real FFT used here. JAX's own FFT is used where operations run one by one, as
    `linear_call` has no rule for `jax.vmap`, and under `jax.checking_leaks`, as from
    JAX 0.12 every `linear_call` keeps its tracers.
    """
    if frames.shape[-1] != n:
        raise ValueError(f"Expected frames of {n} samples. Got shape {frames.shape}.")
    is_checked = jax.config.jax_check_tracer_leaks  # pyright: ignore
    if target() is EAGER or is_checked:
        return jax.numpy.fft.rfft(frames)
    if target().dft == "products":
        return real_dft_by_products(frames)

    def forward(_: tuple[()], x: Any) -> Any:
        return real_dft(x)

    def transpose(_: tuple[()], cotangent: Any) -> Any:
        return real_dft_transpose(cotangent, n)

    return jax.custom_derivatives.linear_call(forward, transpose, (), frames)


def irfft(
    spectra: Complex[Array, "*frames n_bins"], n: int
) -> Float[Array, "*frames n"]:
    """Return `jnp.fft.irfft(spectra, n)`, on the devices that hold the spectra.

    This is the transpose of `rfft`, with weights: bins that stand for two bins of the
    complex FFT count twice.
    """
    counts = jnp.asarray(bin_counts(n) / n, spectra.dtype)
    spectra = jnp.conj(spectra) * along_last(counts, spectra)
    frames = jax.ShapeDtypeStruct((*spectra.shape[:-1], n), spectra.real.dtype)
    transpose = jax.linear_transpose(lambda frames: rfft(frames, n), frames)
    (y,) = transpose(spectra)
    return y


def bin_counts(n: int) -> Float[np.ndarray, " n_bins"]:
    """Return how many of the n bins of a complex FFT each bin stands for."""
    counts = np.full(n // 2 + 1, 2.0)
    counts[0] = 1
    if n % 2 == 0:
        counts[-1] = 1
    return counts
