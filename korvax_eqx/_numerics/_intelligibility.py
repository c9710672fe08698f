"""Short-time objective intelligibility of signals at 10 kHz.

Frames of 256 samples, a hop of 128, FFTs of 512 and 15 third-octave bands from 150 Hz,
as in Taal et al. (2011). Each signal is first divided by its peak, so that squares of
signals of any level are in range; the result does not change. NaN anywhere gives NaN.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from korvax_eqx._tables._third_octave import third_octave_bands

from ._fft import rfft
from ._frames import padded, windowed_frames
from ._padding import is_within
from ._powers import is_negligible, root
from ._ranks import along_last
from ._safe import in_range, reciprocal_or_zero, squared_magnitude

RATE = 10_000
FRAME = 256
HOP = FRAME // 2
_N_FFT = 2 * FRAME
_N_BANDS = 15
_FMIN = 150.0
# Frames more than this many dB below the target's loudest frame are dropped.
_RANGE_DB = 40.0
# Clipping of the estimate's bands: the lowest signal-to-distortion ratio, in dB.
_LEAST_SDR_DB = -15.0

Bands = Float[Array, "*rows n_frames n_bands"]
Segments = Float[Array, "*rows n n_segments n_bands"]


def at_peak_1(x: Float[Array, "*rows n_samples"]) -> Float[Array, "*rows n_samples"]:
    """Return signals divided by their peaks, which are treated as constants.

    For functions that do not depend on the level, the derivative is still right.
    Silence stays silence.
    """
    constant = lax.stop_gradient(x)
    peak = jnp.max(jnp.abs(constant), axis=-1, keepdims=True)
    peak = in_range(jnp.where(is_negligible(peak), 0, peak))
    # XLA's maximum for CPU ignores NaN.
    peak = peak + jnp.sum(0 * constant, axis=-1, keepdims=True)
    return x * reciprocal_or_zero(peak)


def intelligibility(
    x: Float[Array, "*rows n_samples"],
    y: Float[Array, "*rows n_samples"],
    n_samples: Int[Array, "*rows"] | None,
    n: int,
    extended: bool,
) -> Float[Array, "*rows"]:
    """Return STOI or ESTOI of signals at 10 kHz, 0 if too many frames are silent.

    **Arguments:**

    - `x`, `y`: at peak 1. Samples from `n_samples` on must be zero.
    - `n`: number of frames of a segment. Signals must have at least `least_samples(n)`
        samples.
    """
    # A frame that ends with the signal does not count, as in the authors' program.
    shown = x.shape[-1] - 1
    window = jnp.asarray(np.hanning(FRAME + 2)[1:-1], x.dtype)
    frames_x, frames_y = (
        windowed_frames(lax.slice_in_dim(s, 0, shown, axis=-1), window, HOP)
        for s in (x, y)
    )
    is_kept = _is_loud(frames_y, n_samples)
    order = jnp.argsort(~is_kept, axis=-1, stable=True)
    a, b = (_bands(_in_order(f, order), window) for f in (frames_x, frames_y))
    count = jnp.sum(is_kept, axis=-1, dtype=jnp.int32) - n
    values = _of_segments(a, b, n, extended)
    counts = is_within(values.shape[-1], count)
    total = jnp.sum(jnp.where(counts, values, 0), axis=-1)
    # Passes NaN on, also if no frame is kept: `at_peak_1` put it into all samples.
    first = lax.index_in_dim(lax.stop_gradient(x + y), 0, axis=-1, keepdims=False)
    return 0 * first + total / jnp.maximum(count, 1).astype(total.dtype)


def least_samples(n: int) -> int:
    """Return how many samples at 10 kHz a segment of `n` frames needs."""
    return FRAME + n * HOP + 1


def _is_loud(
    frames: Float[Array, "*rows n_frames n"], n_samples: Int[Array, "*rows"] | None
) -> Bool[Array, "*rows n_frames"]:
    """Return which frames are valid and not too far below the loudest."""
    energy = jnp.sum(jnp.square(lax.stop_gradient(frames)), axis=-1)
    most = jnp.max(energy, axis=-1, keepdims=True)
    # Negated, so that frames of NaN are kept.
    is_loud = ~(energy <= most * 10 ** (-_RANGE_DB / 10))
    if n_samples is None:
        return is_loud
    return is_loud & is_within(energy.shape[-1], (n_samples - FRAME + HOP - 1) // HOP)


def _in_order(
    frames: Float[Array, "*rows n_frames n"], order: Int[Array, "*rows n_frames"]
) -> Float[Array, "*rows n_frames n"]:
    """Return frames in another order.

    JAX is told that indices are unique. Otherwise the gradient would be a scatter-add,
    which is slow and not deterministic on GPU.
    """
    n, size = frames.shape[-2:]
    flat = frames.reshape(-1, size)
    first = n * lax.iota(order.dtype, flat.shape[0] // n)[:, None]
    places = (order.reshape(-1, n) + first).reshape(-1)
    taken = flat.at[places].get(unique_indices=True, mode="promise_in_bounds")
    return taken.reshape(frames.shape)


def _bands(
    frames: Float[Array, "*rows n_frames_before n"], window: Float[Array, " n"]
) -> Bands:
    """Return magnitudes of the bands, after overlap-adding and framing again.

    Frames overlap by half: new frame k is made of frames k - 1, k and k + 1.
    """
    early = lax.slice_in_dim(frames, 0, HOP, axis=-1)
    late = lax.slice_in_dim(frames, HOP, FRAME, axis=-1)
    none = [(0, 0, 0)] * (frames.ndim - 2)
    zero = jnp.zeros((), frames.dtype)
    blocks = early + lax.pad(late, zero, [*none, (1, -1, 0), (0, 0, 0)])
    n = blocks.shape[-2] - 1
    halves = [lax.slice_in_dim(blocks, i, i + n, axis=-2) for i in (0, 1)]
    cut = jnp.concatenate(halves, axis=-1)
    cut = padded(cut * along_last(window, cut), 0, _N_FFT - FRAME)
    matrix = third_octave_bands(RATE, _N_FFT, _N_BANDS, _FMIN)
    power = squared_magnitude(rfft(cut, _N_FFT))
    power = jnp.matmul(
        power, jnp.asarray(matrix, power.dtype), precision=lax.Precision.HIGHEST
    )
    # Powers that are 0 up to rounding would have a root with an infinite derivative.
    least = float(jnp.finfo(power.dtype).tiny) ** 0.5
    return root(jnp.where(power < least, 0, power))


def _of_segments(
    x: Bands, y: Bands, n: int, extended: bool
) -> Float[Array, "*rows n_segments"]:
    """Return the intelligibility of every `n` consecutive frames."""
    x, y = _segments(x, n), _segments(y, n)
    if extended:
        x, y = (_normalised(_normalised(s, -3), -1) for s in (x, y))
        return jnp.sum(x * y, axis=(-3, -1)) / n
    gain = _norm(y, -3) * reciprocal_or_zero(_norm(x, -3))
    most = y * (1 + 10 ** (-_LEAST_SDR_DB / 20))
    x = x * gain
    x = jnp.where(x > most, most, x)
    correlation = jnp.sum(_normalised(x, -3) * _normalised(y, -3), axis=-3)
    return jnp.mean(correlation, axis=-1)


def _segments(bands: Bands, n: int) -> Segments:
    n_segments = bands.shape[-2] - n + 1
    shifted = [lax.slice_in_dim(bands, i, i + n_segments, axis=-2) for i in range(n)]
    return jnp.stack(shifted, axis=-3)


def _normalised(x: Segments, axis: int) -> Segments:
    """Return vectors with their mean subtracted, scaled to norm 1.

    For a constant vector, only rounding errors are left. To keep the derivative in
    range, the divisor includes the original norm times the machine epsilon.
    """
    centred = x - jnp.mean(x, axis=axis, keepdims=True)
    eps = float(jnp.finfo(x.dtype).eps)
    return centred * reciprocal_or_zero(_norm(centred, axis) + eps * _norm(x, axis))


def _norm(x: Segments, axis: int) -> Float[Array, "..."]:
    return root(jnp.sum(jnp.square(x), axis=axis, keepdims=True))
