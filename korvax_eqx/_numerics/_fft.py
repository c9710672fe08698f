"""The real FFT of frames, and its inverse."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Complex, Float

from .._platform import EAGER, target
from ._dft_products import LARGEST_MATRIX, real_dft_by_products
from ._ranks import along_last

# FFT libraries have code for prime factors up to 11 or 13, and are fast for some more.
_LARGEST_EASY_PRIME = 31


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
    if target().dft == "products" or _is_multiplied(n):
        return real_dft_by_products(frames)

    def forward(_: tuple[()], x: Any) -> Any:
        return lax.fft(x, lax.FftType.RFFT, (n,))

    def transpose(_: tuple[()], cotangent: Any) -> Any:
        return _transposed(cotangent, n)

    return jax.custom_derivatives.linear_call(forward, transpose, (), frames)


def _is_multiplied(n: int) -> bool:
    """Whether frames of size `n` are multiplied by matrices on CPU.

    For sizes with large prime factors, such as those of the smooth multi-resolution
    loss, FFT libraries compute a convolution by complex FFTs of more than twice the
    size, for every real frame. Products take 0.73 of that loss's time.
    """
    return target().dft == "cpu" and n <= LARGEST_MATRIX and smooth_part(n) < n


def smooth_part(n: int) -> int:
    """Return `n` without its large prime factors."""
    part, rest = 1, n
    for factor in range(2, _LARGEST_EASY_PRIME + 1):
        while rest % factor == 0:
            part, rest = part * factor, rest // factor
    return part


def _transposed(
    cotangent: Complex[Array, "*frames n_bins"], n: int
) -> Float[Array, "*frames n"]:
    r"""Return $x_j = \mathrm{Re} \sum_k c_k e^{-2\pi i jk/n}$ by an inverse FFT.

    It counts every bin twice, for itself and for its mirror image, except the first
    and, for even n, the last.
    """
    re, im = lax.real(cotangent), lax.imag(cotangent)
    scale = jnp.asarray(n / bin_counts(n), re.dtype)
    scale = lax.broadcast_in_dim(scale, re.shape, (re.ndim - 1,))
    half = lax.complex(lax.mul(scale, re), lax.neg(lax.mul(scale, im)))
    return lax.fft(half, lax.FftType.IRFFT, (n,))


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
