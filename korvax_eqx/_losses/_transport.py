"""Spectral optimal transport."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractSpectralLoss
from korvax_eqx._numerics._transport import wasserstein_1d
from korvax_eqx._static import FrozenArray, Static, parameter, thaw


class SpectralOptimalTransportLoss(AbstractSpectralLoss):
    r"""Optimal transport between the spectra of each frame, along frequency.

    For every frame, $W_p^p$ between the two spectra taken as masses at the bins'
    positions $x_k$ (Cazelles, Robert, Tobar 2021; as a loss: Torres, Peeters, Richard
    2024), then the mean over frames and leading axes. With the cumulative masses $U$
    and $V$ and their quantile functions:

    $$W_p^p = \int |U^{-1}(q) - V^{-1}(q)|^p\,dq$$

    Its gradient moves energy *along* frequency, so it points to the right pitch from
    octaves away, where bin-by-bin losses are flat. Use valid frames and power spectra
    (`Spectrogram(center=False)`): centred frames at the edges of the signal are cut
    off by the padding, their broad-band leakage is weighted by distance to the power
    $p$, and the gradient's sign degrades to near chance.

    The normalisations, with $m_x$ and $m_y$ the frames' total masses plus epsilon:

    | `normalize` | `balanced` | compared |
    | --- | --- | --- |
    | True | True | $S_x / m_x$ with $S_y / m_y$ |
    | True | False | $S_x / m_x$ with $S_y / m_x$ |
    | False | True | $S_x$ with $S_y\, m_x / m_y$ |
    | False | False | $S_x$ with $S_y$ |

    Where the totals differ, the missing mass sits at the last bin.
    """

    positions: Array | Static
    p: float = eqx.field(static=True)
    normalize: bool = eqx.field(static=True)
    balanced: bool = eqx.field(static=True)
    quantile_lowpass: bool = eqx.field(static=True)

    def __init__(
        self,
        positions: Any = None,
        p: float = 2,
        normalize: bool = True,
        balanced: bool = True,
        quantile_lowpass: bool = False,
    ):
        """**Arguments:**

        - `positions`: the bins' positions, shape `(n_bins,)`, in ascending order, in
            any unit (Hz, mel, octaves). A sequence or NumPy array is configuration, a
            JAX array is learnable and must be kept ascending by the user. `None`:
            `k / n_bins`, i.e. uniform in [0, 1).
        - `p`: order of the distance, at least 1. 1 is the fastest.
        - `normalize`, `balanced`: see the table above.
        - `quantile_lowpass`: leave out transport above quantile 1, i.e. what one
            signal has in excess of the other's unit mass (useful with
            `balanced=False`).

        **Raises:** `ValueError` for an argument outside these rules.
        """
        owner = "SpectralOptimalTransportLoss"
        if positions is not None and not isinstance(positions, jax.Array):
            values = np.asarray(thaw(positions), np.float64)
            checks.floating_array(owner, "positions", values, ndim=1)
            if np.any(np.diff(values) < 0):
                remedy = "Sort the bins by position first."
                checks.refuse(owner, "positions", "be ascending", positions, remedy)
            positions = values
        elif positions is not None:
            checks.floating_array(owner, "positions", positions, ndim=1)
        self.positions = parameter(positions)
        self.p = checks.real(owner, "p", p)
        if self.p < 1:
            checks.refuse(owner, "p", "be at least 1", p)
        self.normalize = checks.boolean(owner, "normalize", normalize)
        self.balanced = checks.boolean(owner, "balanced", balanced)
        self.quantile_lowpass = checks.boolean(
            owner, "quantile_lowpass", quantile_lowpass
        )

    def bin_positions(self, n_bins: int) -> np.ndarray | Float[Array, " n_bins"]:
        """The positions in use for spectra of `n_bins` bins, shape `(n_bins,)`."""
        if isinstance(self.positions, Static):
            if self.positions.value is None:
                return np.arange(n_bins) / n_bins
            assert isinstance(self.positions.value, FrozenArray)
            return self.positions.value.value
        return self.positions

    @jax.named_scope("korvax_eqx.SpectralOptimalTransportLoss")
    def __call__(
        self,
        S_x: Float[Array, "*channels n_bins n_frames"],
        S_y: Float[Array, "*channels n_bins n_frames"],
    ) -> Float[Array, ""]:
        """Return the mean transport cost of two non-negative spectrograms.

        **Raises:** `ValueError` if the shapes differ, if the spectra are complex, or
        if the number of bins is not the number of positions.
        """
        owner = "SpectralOptimalTransportLoss"
        checks.pair(owner, S_x, S_y)
        checks.spectrum(owner, "S_x", S_x)
        checks.real_spectrum(owner, "S_x", S_x)
        checks.real_spectrum(owner, "S_y", S_y)
        n_bins = S_x.shape[-2]
        positions = self.bin_positions(n_bins)
        if positions.shape != (n_bins,):
            raise ValueError(
                f"`{owner}(positions=...)` must have one position for each bin of the "
                f"spectra: {n_bins}. Got {positions.shape[0]}. Take the positions from "
                "the transform in use, e.g. `Spectrogram(...).frequencies`."
            )
        u, v = self._masses(jnp.swapaxes(S_x, -1, -2), jnp.swapaxes(S_y, -1, -2))
        positions = jnp.asarray(positions, u.dtype)
        costs = wasserstein_1d(u, v, positions, self.p, self.quantile_lowpass)
        return jnp.mean(costs)

    def _masses(
        self, u: Float[Array, "*frames n_bins"], v: Float[Array, "*frames n_bins"]
    ) -> tuple[Float[Array, "*frames n_bins"], Float[Array, "*frames n_bins"]]:
        """Return both spectra normalised as configured."""
        if not (self.normalize or self.balanced):
            return u, v
        mass_u, mass_v = _mass(u), _mass(v)
        largest = jnp.finfo(u.dtype).max / (4 * u.shape[-1])
        if not self.normalize:
            return u, _at_most(largest, v * _at_most(largest, mass_u / mass_v))
        # The bound keeps sums finite for a loud target over a silent estimate's mass.
        # It also keeps the two quotients apart from what comes next: fused into a
        # multiply-add, the difference of equal quotients would not be zero.
        u = _at_most(largest, u / mass_u)
        return u, _at_most(largest, v / (mass_v if self.balanced else mass_u))


def _at_most(high: Any, u: Float[Array, "*frames n"]) -> Float[Array, "*frames n"]:
    """Return the smaller of the two; NaN stays: XLA's minimum on CPU may drop it."""
    return jnp.where(u > high, high, u)


def _mass(u: Float[Array, "*frames n_bins"]) -> Float[Array, "*frames 1"]:
    """Return the total mass of each frame plus epsilon."""
    return jnp.sum(u, axis=-1, keepdims=True) + jnp.finfo(u.dtype).eps


def spectral_optimal_transport_loss(
    S_x: Float[Array, "*channels n_bins n_frames"],
    S_y: Float[Array, "*channels n_bins n_frames"],
    /,
    positions: Any = None,
    p: float = 2,
    normalize: bool = True,
    balanced: bool = True,
    quantile_lowpass: bool = False,
) -> Float[Array, ""]:
    """Apply `SpectralOptimalTransportLoss`."""
    loss = SpectralOptimalTransportLoss(
        positions, p, normalize, balanced, quantile_lowpass
    )
    return loss(S_x, S_y)
