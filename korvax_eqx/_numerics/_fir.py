"""Finite impulse responses as products of blocks of the signal with a banded matrix.

XLA's convolution of one channel is slow on CPU, and its FFT gathers a batch that is
sharded over devices. Times in ms of the filter, and of the filter with its gradient,
for 101 taps and signals of shape (32, 1, 44100) in float32, on 2 CPU cores:

| how | filter | with gradient |
| --- | --- | --- |
| `lax.conv_general_dilated` | 52 | 77 |
| FFT of the whole signal | 8.2 | 13.4 |
| FFT of overlapping frames of 1024 samples | 7.3 | 15.9 |
| products with blocks of 32 samples | 11.3 | 17.9 |
| products with blocks of 64 samples | 2.1 | 3.6 |
| products with blocks of 128 samples | 3.0 | 6.2 |
| one product, its blocks copied next to one another (128) | 2.6 | 4.3 |

Products take longer with more taps, FFTs hardly do. With the block sizes chosen below,
31 taps take 1.1 and 1.5 ms, 255 take 3.2 and 5.5, 511 take 5.3 and 10. With FFTs of
overlapping frames, 1023 take 6.4 and 14, 8191 take 9 and 19.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from scipy.fft import next_fast_len

from ._fft import bin_counts, irfft, rfft
from ._frames import padded
from ._ranks import along_last
from ._safe import squared_magnitude

# Up to this many taps, shifted copies of the signal are fused into one loop. With more,
# the gradient takes up to ten times as long as with products.
_MOST_SHIFTS = 4
# With more taps, FFTs take less time than products.
_MOST_BLOCK_TAPS = 512
_LEAST_BLOCK = 32
_PART = 64


def correlate(
    x: Float[Array, "*channels n_samples"], taps: Float[Array, " n_taps"]
) -> Float[Array, "*channels n_samples"]:
    r"""Return $y_n = \sum_j h_j x_{n + j - \lfloor L/2 \rfloor}$ for $L$ taps $h$.

    The signal is zero outside its samples. Taps are not reversed. These are the first
    `n_samples` of `torch.nn.functional.conv1d(x, taps, padding=n_taps // 2)`.
    """
    n_taps = taps.shape[0]
    if n_taps <= _MOST_SHIFTS:
        return _by_shifts(x, taps)
    if n_taps <= _MOST_BLOCK_TAPS:
        return _by_blocks(x, taps)
    return _by_ffts(x, taps)


def filtered_energy(
    x: Float[Array, "*channels n_samples"],
    taps: Float[Array | np.ndarray, " n_taps"],
) -> Float[Array, "*channels"]:
    """Return the energy of a filtered signal, including its tails beyond the ends.

    For many taps, Parseval's theorem gives the energy without an inverse FFT.
    """
    n_samples, n_taps = x.shape[-1], taps.shape[0]
    if n_taps <= _MOST_BLOCK_TAPS:
        left = n_taps // 2
        z = padded(x, n_taps - 1 - left, left)
        y = correlate(z, jnp.asarray(taps, x.dtype))
        return jnp.sum(jnp.square(y), axis=-1)
    n: Any = next_fast_len(n_samples + n_taps - 1, real=True)
    counts = bin_counts(n) / n
    if not isinstance(taps, jax.Array):  # constant: once, in double precision
        H = np.fft.rfft(np.asarray(taps, np.float64), n)
        weights = jnp.asarray(counts * (H.real**2 + H.imag**2), x.dtype)
    else:
        H = rfft(padded(taps.astype(x.dtype), 0, n - n_taps), n)
        weights = squared_magnitude(H) * jnp.asarray(counts, x.dtype)
    X = rfft(padded(x, 0, n - n_samples), n)
    energies = squared_magnitude(X) * along_last(weights, X)
    # Summed in parts, as the rounding error of one long sum is several times larger.
    energies = padded(energies, 0, -energies.shape[-1] % _PART)
    parts = energies.reshape(*energies.shape[:-1], -1, _PART)
    return jnp.sum(jnp.sum(parts, axis=-1), axis=-1)


def _by_shifts(
    x: Float[Array, "*channels n_samples"], taps: Float[Array, " n_taps"]
) -> Float[Array, "*channels n_samples"]:
    n_taps, n_samples = taps.shape[0], x.shape[-1]
    left = n_taps // 2
    z = padded(x, left, n_taps - 1 - left)
    shifted = [lax.slice_in_dim(z, j, j + n_samples, axis=-1) for j in range(n_taps)]
    return sum((taps[j] * z for j, z in enumerate(shifted)), jnp.zeros_like(x))


def _by_blocks(
    x: Float[Array, "*channels n_samples"], taps: Float[Array, " n_taps"]
) -> Float[Array, "*channels n_samples"]:
    n_taps, n_samples = taps.shape[0], x.shape[-1]
    # The smallest size that needs three products per block: the fastest, or nearly so.
    size = max(_LEAST_BLOCK, 1 << (-(-n_taps // 2) - 1).bit_length())
    n_slots = -(-(size + n_taps - 1) // size)
    matrix = padded(_banded(taps, size), 0, n_slots * size - (size + n_taps - 1))
    blocks, n_blocks = _blocks(x, size, n_slots, n_taps // 2)
    y = jnp.zeros((), x.dtype)
    for i in range(n_slots):
        slot = lax.slice_in_dim(blocks, i, i + n_blocks, axis=-2)
        part = lax.slice_in_dim(matrix, i * size, (i + 1) * size, axis=-1)
        y = y + jnp.matmul(slot, part.T, precision=lax.Precision.HIGHEST)
    return _joined(y, n_samples)


def _banded(
    taps: Float[Array, " n_taps"], n_rows: int
) -> Float[Array, "n_rows n_columns"]:
    """Return the matrix whose row i holds the taps from column i on.

    The taps and `n_rows` zeros are repeated, and reshaped to rows that are shorter by
    one than this period, so that each row starts one sample later. This needs no
    scatter, and no gather in the gradient.
    """
    n_columns = n_rows + taps.shape[0] - 1
    period = padded(taps, 0, n_rows)
    repeated = jnp.broadcast_to(period, (n_rows, n_columns + 1)).reshape(-1)
    return repeated[: n_rows * n_columns].reshape(n_rows, n_columns)


def _by_ffts(
    x: Float[Array, "*channels n_samples"], taps: Float[Array, " n_taps"]
) -> Float[Array, "*channels n_samples"]:
    """Overlap-save: frames are two blocks, and the first block of outputs is exact."""
    n_taps, n_samples = taps.shape[0], x.shape[-1]
    size = 2 << (n_taps - 1).bit_length()
    blocks, _ = _blocks(x, size, 2, n_taps // 2)
    frames = jnp.concatenate([blocks[..., :-1, :], blocks[..., 1:, :]], axis=-1)
    response = rfft(padded(taps, 0, 2 * size - n_taps), 2 * size)
    X = rfft(frames, 2 * size)
    y = irfft(X * along_last(jnp.conj(response), X), 2 * size)
    return _joined(y[..., :size], n_samples)


def _blocks(
    x: Float[Array, "*channels n_samples"], size: int, n_slots: int, left: int
) -> tuple[Float[Array, "*channels n_blocks_padded size"], int]:
    """Cut a signal, after `left` zeros, into blocks; return how many hold outputs.

    `n_slots - 1` more blocks follow, whose samples the last outputs need.
    """
    n_samples = x.shape[-1]
    n_blocks = -(-n_samples // size)
    n = n_blocks + n_slots - 1
    x = padded(x, left, n * size - n_samples - left)
    return x.reshape(*x.shape[:-1], n, size), n_blocks


def _joined(
    blocks: Float[Array, "*channels n_blocks size"], n_samples: int
) -> Float[Array, "*channels n_samples"]:
    y = blocks.reshape(*blocks.shape[:-2], -1)
    return lax.slice_in_dim(y, 0, n_samples, axis=-1)
