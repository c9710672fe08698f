"""FFT bins to mel bands."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx._checks import (
    floating_array,
    owned_by,
    public_shape,
    refuse,
    scale_input,
)
from korvax_eqx._core._steps import AbstractScale, Scope
from korvax_eqx._data import Spectra
from korvax_eqx._platform import target
from korvax_eqx._static import static_or_leaf
from korvax_eqx._tables._mel import (
    MelNorm,
    check_mel,
    mel_centres,
    mel_corners,
    mel_matrix,
)
from korvax_eqx._warnings import (
    remade,
    warn_empty_bands,
    warn_fmax_above_nyquist,
)

# A mel matrix is almost all zeros. On CPU a large one is four products: neighbouring
# bands, each group over the bins that it needs. Value and gradient of a log-mel loss of
# 1025 bins then take 0.88 of their time with 128 bands (two or three groups: 1.0, 0.9),
# and 0.77 with 256. With fewer it is 0.9 and more, and compiling takes twice as long.
_N_GROUPS = 4
_LEAST_GROUPED = 2**17


class MelScale(AbstractScale):
    """FFT bins summed into mel bands with triangular weights: `mel = M S`.

    `M` is `mel_filterbank`; the defaults are librosa's.
    """

    scope: ClassVar[Scope] = "frame"
    sr: float = eqx.field(static=True)
    n_fft: int = eqx.field(static=True)
    n_mels: int = eqx.field(static=True)
    fmin: float = eqx.field(static=True)
    fmax: float | None = eqx.field(static=True)
    htk: bool = eqx.field(static=True)
    norm: MelNorm = eqx.field(static=True)
    basis: Any

    def __init__(
        self,
        sr: float,
        n_fft: int,
        n_mels: int = 128,
        fmin: float = 0.0,
        fmax: float | None = None,
        htk: bool = False,
        norm: MelNorm = "slaney",
        *,
        basis: Float[Array | np.ndarray, "n_mels n_bins"] | None = None,
    ) -> None:
        """**Arguments:**

        - `sr`: sample rate of the signal, Hz.
        - `n_fft`: samples of a frame; the spectrum has `n_fft // 2 + 1` bins.
        - `n_mels`: number of bands.
        - `fmin`, `fmax`: lower edge of the first band and upper edge of the last one,
            Hz. `fmax=None` is `sr / 2`.
        - `htk`: whether to use HTK's mel scale instead of Slaney's.
        - `norm`: `"slaney"` for bands of unit area over Hz, a number `p` for a unit
            p-norm, `None` for a unit peak between bins.
        - `basis`: weights to use instead of the table, shape `(n_mels, n_fft // 2 +
            1)`. A JAX array is learnable, a NumPy array is not.

        **Raises:** `ValueError` for a value outside these ranges, or a basis with
        another shape.
        """
        checked = check_mel("MelScale", sr, n_fft, n_mels, fmin, fmax, htk, norm)
        self.sr, self.n_fft, self.n_mels = checked.sr, checked.n_fft, checked.n_mels
        self.fmin, self.fmax = checked.fmin, checked.fmax
        self.htk, self.norm = checked.htk, checked.norm
        if basis is not None:
            shape = (self.n_mels, self.n_fft // 2 + 1)
            rule = f"be an array of shape (n_mels, n_fft // 2 + 1) = {shape}"
            if not isinstance(basis, jax.Array | np.ndarray) or basis.shape != shape:
                remedy = "Pass the `n_mels` and `n_fft` that the basis was made for."
                refuse("MelScale", "basis", rule, basis, remedy)
            basis = floating_array("MelScale", "basis", basis, 2)
        self.basis = static_or_leaf(basis)
        warn_fmax_above_nyquist("MelScale", self.fmax, self.sr)
        if basis is None:
            corners = mel_corners(self.sr, self.n_mels, self.fmin, self.fmax, self.htk)
            warn_empty_bands("MelScale", corners, self.sr, self.n_fft)
            _table(self)  # refuses what gives no finite weights

    @property
    def matrix(self) -> Float[Array | np.ndarray, "n_mels n_bins"]:
        """The weights: `basis` if it is a JAX array, otherwise float64 NumPy."""
        basis = self.basis
        if basis is None:
            return _table(self)
        if isinstance(basis, jax.Array):
            return basis
        matrix = np.array(basis, np.float64)
        matrix.setflags(write=False)
        return matrix

    @property
    def frequencies(self) -> Float[np.ndarray, " n_mels"]:
        """Centre frequencies of the bands in Hz, where the triangles peak."""
        return mel_centres(self.sr, self.n_mels, self.fmin, self.fmax, self.htk)

    def apply(self, data: Spectra) -> Spectra:
        S = scale_input("MelScale", data.S, bins_last=True)
        n_bins = self.n_fft // 2 + 1
        if S.shape[-1] != n_bins:
            raise ValueError(
                "`MelScale`: the spectrogram must have n_fft // 2 + 1 = "
                f"{n_bins} bins, shape (*channels, {n_bins}, n_frames). Got "
                f"{public_shape(S)}. Use the `n_fft` of the transform: "
                f"`MelScale(n_fft={2 * (S.shape[-1] - 1)})` fits this one."
            )
        matrix, groups = self.matrix, [(slice(None), self.matrix)]
        is_large = matrix.size >= _LEAST_GROUPED
        if is_large and isinstance(matrix, np.ndarray) and not target().joins_products:
            groups = _row_groups(matrix)
        bands = [_product(S[..., bins], weights) for bins, weights in groups]
        return data.holding(jnp.concatenate(bands, axis=-1))


def _table(scale: MelScale) -> Float[np.ndarray, "n_mels n_bins"]:
    own = scale.sr, scale.n_fft, scale.n_mels, scale.fmin, scale.fmax
    return mel_matrix(*own, scale.htk, scale.norm)


def _product(
    frames: Float[Array, "*channels n_frames n_bins"],
    weights: Float[Array | np.ndarray, "n_bands n_bins"],
) -> Float[Array, "*channels n_frames n_bands"]:
    weights = jnp.asarray(weights, frames.dtype)
    precision = jax.lax.Precision.HIGHEST
    return jnp.einsum("...f,mf->...m", frames, weights, precision=precision)


def _row_groups(
    matrix: Float[np.ndarray, "n_mels n_bins"],
) -> list[tuple[slice, np.ndarray]]:
    """Split the rows into groups, each with the range of bins that it uses."""
    groups = []
    for rows in np.array_split(matrix, min(_N_GROUPS, len(matrix))):
        (used,) = np.nonzero(rows.any(axis=0))
        bins = slice(used[0], used[-1] + 1) if used.size else slice(0, 1)
        groups.append((bins, rows[:, bins]))
    is_sparse = 2 * sum(weights.size for _, weights in groups) <= matrix.size
    return groups if is_sparse else [(slice(None), matrix)]


@owned_by("to_mel_scale")
def to_mel_scale(
    S: Float[Array, "*channels n_freqs n_frames"],
    /,
    sr: float,
    n_fft: int,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
) -> Float[Array, "*channels {n_mels} n_frames"]:
    """Sum FFT bins into mel bands: `MelScale` with these arguments, applied to `S`.

    **Arguments:**

    - `S`: spectrogram of `n_fft // 2 + 1` bins.
    - `sr`, `n_fft`, `n_mels`, `fmin`, `fmax`: as in `MelScale`.

    **Returns:** mel spectrogram.
    """
    with remade("MelScale"):
        scale = MelScale(sr, n_fft, n_mels, fmin, fmax)
    return scale(S)
