"""The real FFT of frames."""

from typing import Any

import jax
from jax import Array

from .._platform import EAGER, target
from ._dft import real_dft, real_dft_transpose
from ._dft_products import real_dft_by_products


def rfft(frames: Array, n: int) -> Array:
    """`jnp.fft.rfft(frames)` for frames of `n` samples, shape `(*lead, n)`.

    JAX takes a complex FFT for the transpose of a real one, which takes twice as long
    as the inverse real FFT here. (`linear_call` has no rule for `jax.vmap`: where
    operations run one by one it is JAX's own.)
    """
    if frames.shape[-1] != n:
        raise ValueError(f"Expected frames of {n} samples. Got shape {frames.shape}.")
    if target() is EAGER:
        return jax.numpy.fft.rfft(frames)
    if target().dft == "products":
        return real_dft_by_products(frames)

    def forward(_: tuple[()], x: Any) -> Any:
        return real_dft(x)

    def transpose(_: tuple[()], cotangent: Any) -> Any:
        return real_dft_transpose(cotangent, n)

    return jax.custom_derivatives.linear_call(forward, transpose, (), frames)
