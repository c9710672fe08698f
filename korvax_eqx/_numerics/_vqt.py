"""Variable-Q coefficients by blocks of the signal, without overlapping frames.

Correlating with a kernel at every hop is a convolution over blocks. Cut the kernel into
blocks W_j of b samples, and let X[r] be the b samples of the signal around sample
r * hop (b is m times the hop, most often m = 1). Then

    C[t] = sum_j X[t + m j] W_j

All products are one matrix product over the signal's own blocks, Z = X [W_-a ... W_a],
followed by a sum of shifted slices of Z. Shorter kernels have fewer blocks, so that a
frame takes about `2 * sum_k L_k` multiplications, for kernels of lengths L_k. A
convolution with kernels of one common length takes `2 * n_bins * frame_length`: for 84
bins from 32.7 Hz at 22050 Hz that is 6.9 times as many, or 5.4 times as many if lengths
are rounded up to blocks here. Nothing is truncated, and any hop is possible.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from korvax_eqx._tables._cqt_kernels import VQTKernels

# Samples of a block. Shorter blocks make the products, which are read again, larger
# than the signal; longer blocks multiply more zeros. On CPU with 84 bins and 8 signals,
# 1024 is slower at hops of 160 and 512.
_BLOCK = 512
# A block of several hops has at least this fraction of the wanted samples. At hop 160
# and with 8 signals, blocks of 640 are twice as fast as blocks of 320.
_LEAST = 0.75
# Largest number of blocks of a kernel. Longer kernels get longer blocks: every block is
# a slice in the program, and hundreds of slices take seconds to compile.
_MOST_BLOCKS = 24
# Cost of a slice when choosing groups, in columns of the product. It gives 65 blocks in
# 7 groups for the default 84 bins. A lower cost gives fewer columns, which are not
# faster and compile slower.
_SLICE_COST = 1.5


@dataclasses.dataclass(frozen=True, eq=False)
class _Piece:
    """The part `lo:hi` of every block and what is computed from it.

    `weights` has shape `(hi - lo, columns)`. For each group `(first, last, j_lo, j_hi)`
    of bins, and each block j_lo <= j <= j_hi, it holds the real parts and then the
    imaginary parts of the conjugate kernels of bins first to last - 1.
    """

    lo: int
    hi: int
    weights: np.ndarray
    groups: tuple[tuple[int, int, int, int], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class _Tier:
    """Bins that share one block length, `n_stacked` hops."""

    n_bins: int
    n_stacked: int
    pieces: tuple[_Piece, ...]


def vqt_coefficients(
    x: Float[Array, "*channels n_samples"],
    kernels: VQTKernels,
    hop_length: int,
    center: bool = True,
    pad_mode: str = "constant",
) -> tuple[
    Float[Array, "*channels n_bins n_frames"], Float[Array, "*channels n_bins n_frames"]
]:
    """Return the real and the imaginary parts of the coefficients.

        C[k, t] = sum_n x[t * hop_length + starts[k] + n - left] * conj(kernel_k[n])

    It is linear in `x`: derivatives of every order and mode exist everywhere, and a
    gradient is made of the same products and slices. The caller must make the
    derivative of a magnitude of the two parts finite at 0.

    **Arguments:**

    - `x`: signals with any leading axes. float16 and bfloat16 are computed in float32.
    - `kernels`: a table made by `vqt_kernels`.
    - `hop_length`: samples from frame to frame; any positive integer.
    - `center`: whether frame t is centred on sample `t * hop_length`, i.e. whether
        `left = frame_length // 2` samples are padded at both ends. Otherwise frame 0
        starts at sample 0 and only whole frames count.
    - `pad_mode`: how to pad, a mode of `jax.numpy.pad`.

    **Returns:**

    Two arrays with `n_frames = 1 + (n_samples + padding - frame_length) // hop_length`.

    **Raises:**

    `ValueError` for a signal that is shorter than one frame.
    """
    frame_length = kernels.frame_length
    half = frame_length // 2
    if not center and x.shape[-1] < frame_length:
        raise ValueError(
            f"`x` must have at least {frame_length} samples, one frame, for "
            f"`center=False`. Got {x.shape[-1]}. Use `center=True`, a longer signal, a "
            "higher `fmin` or a smaller `filter_scale`."
        )
    if x.shape[-1] == 0:
        raise ValueError(f"`x` must have samples. Got shape {x.shape}.")
    if x.dtype.itemsize < 4:
        x = x.astype(jnp.float32)
    with jax.named_scope("vqt"):
        if center and pad_mode != "constant":
            widths = [(0, 0)] * (x.ndim - 1) + [(half, half)]
            x = jnp.pad(x, widths, mode=pad_mode)
        # Zeros are not padded here: blocks outside the signal contribute nothing.
        has_ends = not center or pad_mode != "constant"
        return _coefficients(x, kernels, hop_length, has_ends)


# Compiled even if the caller is not: otherwise every slice is a program of its own.
@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _coefficients(
    x: Float[Array, "*channels n_samples"],
    kernels: VQTKernels,
    hop: int,
    has_ends: bool,
) -> tuple[
    Float[Array, "*channels n_bins n_frames"], Float[Array, "*channels n_bins n_frames"]
]:
    """Evaluate the frames inside `x` (`has_ends`), or all frames centred in it."""
    missing, middle = 0, 0
    if has_ends:
        missing, middle = kernels.frame_length, kernels.frame_length // 2
    n_frames = 1 + (x.shape[-1] - missing) // hop
    tiers = [
        _tier_coefficients(x, tier, hop, n_frames, middle)
        for tier in _tiers(kernels, hop)
    ]
    both = _concatenate(tiers)
    real, imag = (jnp.swapaxes(both[..., i, :], -1, -2) for i in (0, 1))
    return real, imag


def _tier_coefficients(
    x: Float[Array, "*channels n_samples"],
    tier: _Tier,
    hop: int,
    n_frames: int,
    middle: int,
) -> Float[Array, "*channels n_frames 2 n_bins"]:
    """Evaluate bins of one block length; frame t is centred at t * hop + middle."""
    m = tier.n_stacked
    b = m * hop
    groups = [group for piece in tier.pieces for group in piece.groups]
    # The blocks that frames need, then which of them overlap the signal.
    need_first = m * min(group[2] for group in groups)
    need_last = n_frames - 1 + m * max(group[3] for group in groups)
    lead = b // 2 - middle  # block r starts at sample r * hop - lead
    first = max(need_first, (lead - b) // hop + 1)
    last = min(need_last, -((-x.shape[-1] - lead) // hop) - 1)
    n_hops = last - first + m
    start = first * hop - lead
    ends = (-start, start + n_hops * hop - x.shape[-1], 0)
    zero = jnp.zeros((), x.dtype)
    x = lax.pad(x, zero, [(0, 0, 0)] * (x.ndim - 1) + [ends])
    blocks = x.reshape(*x.shape[:-1], n_hops, hop)
    width = 1
    while width < m:
        blocks = jnp.concatenate(
            [blocks[..., :-width, :], blocks[..., width:, :]], axis=-1
        )
        width *= 2

    total = None
    for piece in tier.pieces:
        # The barrier hides that the matrix is constant. Otherwise XLA would turn the
        # gradient's product with a concatenation into one small product per slice,
        # which is 10 times slower at batch size 1.
        weights = lax.optimization_barrier(jnp.asarray(piece.weights, x.dtype))
        part = blocks[..., piece.lo : piece.hi]
        products = jnp.matmul(part, weights, precision=lax.Precision.HIGHEST)
        outside = (first - need_first, need_last - last, 0)
        no_pad = [(0, 0, 0)]
        products = lax.pad(
            products, zero, no_pad * (products.ndim - 2) + [outside] + no_pad
        )
        value = _sum_of_shifts(products, piece, m, n_frames, need_first)
        missing = tier.n_bins - value.shape[-1]
        if missing:
            value = jnp.pad(value, [(0, 0)] * (value.ndim - 1) + [(0, missing)])
        total = value if total is None else total + value
    assert total is not None  # the middle of a block is always in a piece
    return total


def _sum_of_shifts(
    products: Float[Array, "*channels n_blocks columns"],
    piece: _Piece,
    m: int,
    n_frames: int,
    first: int,
) -> Float[Array, "*channels n_frames 2 n_bins"]:
    """Return `sum_j products[t + m j - first, columns of j]` for a piece's bins."""
    # One split for all columns: its transpose is one concatenation, while the transpose
    # of every slice would be a pad to the full size.
    widths = [2 * (e - s) * (hi - lo + 1) for s, e, lo, hi in piece.groups]
    axis = products.ndim - 2
    values = []
    for (s, e, lo, hi), part in zip(
        piece.groups, _split(products, widths), strict=True
    ):
        n_terms, n_columns = hi - lo + 1, 2 * (e - s)
        n_rows = n_frames + m * (n_terms - 1)
        at = m * lo - first
        value = lax.slice_in_dim(part, at, at + n_rows, axis=axis)
        rest = []
        # The second half of the terms is shifted and added to the first, until one term
        # is left: log2(n_terms) steps, with a gradient that compiles faster.
        while n_terms > 1:
            n_terms, is_odd = divmod(n_terms, 2)
            half = n_terms * n_columns
            parts = _split(value, [half, half] + [n_columns] * is_odd)
            n_rows, shift = n_frames + m * (n_terms - 1), m * n_terms
            value = lax.slice_in_dim(parts[0], 0, n_rows, axis=axis)
            value += lax.slice_in_dim(parts[1], shift, shift + n_rows, axis=axis)
            if is_odd:
                at = 2 * shift
                rest.append(lax.slice_in_dim(parts[2], at, at + n_frames, axis=axis))
        value = sum(rest, value)
        values.append(value.reshape(*value.shape[:-1], 2, e - s))
    return _concatenate(values)


def _split(x: Array, widths: list[int]) -> list[Array]:
    return jnp.split(x, np.cumsum(widths)[:-1].tolist(), axis=-1)


def _concatenate(arrays: list[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else jnp.concatenate(arrays, axis=-1)


@functools.cache
def _tiers(kernels: VQTKernels, hop: int) -> tuple[_Tier, ...]:
    """Cut the kernels into blocks: one tier, unless some kernels are very long."""
    excess = np.log2(kernels.lengths / (_MOST_BLOCKS * _BLOCK))
    sizes = _BLOCK * 2 ** np.maximum(0, np.ceil(excess)).astype(int)
    cuts = [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist(), sizes.size]
    return tuple(
        _tier(kernels, hop, first, last, int(sizes[first]))
        for first, last in zip(cuts[:-1], cuts[1:], strict=True)
    )


def _tier(kernels: VQTKernels, hop: int, first: int, last: int, size: int) -> _Tier:
    """Lay out bins first to last - 1 in blocks of about `size` samples."""
    # Support of each kernel around the middle of the frame. Lengths decrease, so each
    # support contains the next.
    middle = kernels.frame_length // 2
    left = (kernels.starts - middle)[first:last]
    right = left + kernels.lengths[first:last]
    wanted = _LEAST * min(size, right[0] - left[0])
    # A power of two, so that stacking takes log2(m) steps.
    m = 2 ** max(0, math.ceil(math.log2(wanted / hop)))
    b = m * hop
    lo, hi = max(0, int(left[0]) + b // 2), min(b, int(right[0]) + b // 2)
    # A long hop is cut into an odd number of pieces, as high bins need only the middle
    # one.
    n_pieces = 2 * round((hi - lo) / size / 2 - 0.5) + 1 if hi - lo > size else 1
    edges = np.linspace(lo, hi, n_pieces + 1).round().astype(int).tolist()
    pieces = []
    for lo, hi in zip(edges[:-1], edges[1:], strict=True):
        # Block j of a piece starts j * b - b // 2 + lo samples from the frame's middle.
        j_lo = (left + b // 2 - hi) // b + 1
        j_hi = -((-right - b // 2 + lo) // b) - 1
        n = int(np.count_nonzero(j_hi >= j_lo))
        if n == 0:
            continue
        groups = _groups(j_lo[:n], j_hi[:n])
        weights = []
        for s, e, jl, jh in groups:
            padded = np.zeros((e - s, (jh - jl + 1) * b), np.complex128)
            origin = jl * b - b // 2
            for row, k in zip(padded, range(s, e), strict=True):
                kernel = kernels.kernels[first + k]
                at = int(left[k]) - origin
                c0, c1 = max(0, -at), min(kernel.size, row.size - at)
                row[at + c0 : at + c1] = np.conj(kernel[c0:c1])
            parts = padded.reshape(e - s, -1, b)[:, :, lo:hi]
            both = np.stack([parts.real, parts.imag])  # part, bin, block, sample
            weights.append(both.transpose(3, 2, 0, 1).reshape(hi - lo, -1))
        table = np.concatenate(weights, axis=1)
        table.setflags(write=False)
        pieces.append(_Piece(lo, hi, table, groups))
    return _Tier(last - first, m, tuple(pieces))


def _groups(
    j_lo: np.ndarray, j_hi: np.ndarray
) -> tuple[tuple[int, int, int, int], ...]:
    """Group neighbouring bins so that few columns and few slices are needed.

    A group has the blocks of its first bin, whose kernel is the longest. The groups are
    a shortest path over the bins at which the number of blocks changes.
    """
    counts = j_hi - j_lo + 1
    cuts = [0, *(np.flatnonzero(np.diff(counts)) + 1).tolist(), counts.size]
    best: list[tuple[float, list[int]]] = [(0.0, [0])]
    for e in cuts[1:]:
        options = [
            (cost + float(counts[path[-1]]) * (e - path[-1] + _SLICE_COST), [*path, e])
            for cost, path in best
        ]
        best.append(min(options))
    path = best[-1][1]
    return tuple(
        (s, e, int(j_lo[s]), int(j_hi[s]))
        for s, e in zip(path[:-1], path[1:], strict=True)
    )
