"""Spectral optimal transport."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._core._losses import AbstractSpectralLoss
from korvax_eqx._core._steps import Scope
from korvax_eqx._data import Spectra
from korvax_eqx._losses._positions import checked_positions, named_positions
from korvax_eqx._numerics._masses import at_most, root, total_mass
from korvax_eqx._numerics._ratio import quotient, quotient_at_most
from korvax_eqx._numerics._safe import in_range
from korvax_eqx._numerics._transport import circular_wasserstein_1d, wasserstein_1d
from korvax_eqx._static import static_or_leaf

_OWNER = "SpectralOptimalTransportLoss"
# A mass below this fraction of the floor counts as zero: dividing by less would
# overflow in the derivatives. Squares of the rest do not underflow in float32.
_SILENT = 1e-6
_LOWEST_FLOOR = 1e-12


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

    The normalisations, with $m_x$ and $m_y$ the frames' total masses:

    | `normalize` | `balanced` | compared |
    | --- | --- | --- |
    | True | True | $S_x / m_x$ with $S_y / m_y$ |
    | True | False | $S_x / m_x$ with $S_y / m_x$ |
    | False | True | $S_x$ with $S_y\, m_x / m_y$ |
    | False | False | $S_x$ with $S_y$ |

    If the totals differ, the missing mass is placed at the last bin.
    `reference="target"` swaps the roles in the table: masses are in units of $m_y$, and
    $S_x$ is scaled.

    **Quiet frames.** Nothing is added to the masses, so single precision agrees with
    double precision at any level. If the masses are made equal and a mass to divide by
    is below `floor`, the frame gets less weight: its cost (and gradient) is multiplied
    by that mass over `floor`, and by 0 below a millionth of `floor`. With
    `normalize=True, balanced=False`, $m_x$ is replaced by `floor` in such frames. The
    default, 1e-12, is the mass of a sine at -174 dBFS in a power spectrogram with a
    Hann window of 2048 samples, at -144 dBFS with one of 64 samples, at -260 dBFS and
    lower in magnitudes.

    korvax and sot-loss add an epsilon to the masses instead, as `eps` does here. In a
    quiet frame that epsilon then counts as missing mass at the last bin, at a large
    cost, and a silent frame counts as a mass there.
    """

    positions: Any
    p: float = eqx.field(static=True)
    normalize: bool = eqx.field(static=True)
    balanced: bool = eqx.field(static=True)
    quantile_lowpass: bool = eqx.field(static=True)
    root: bool = eqx.field(static=True)
    root_eps: float = eqx.field(static=True)
    circular: bool = eqx.field(static=True)
    period: float = eqx.field(static=True)
    axis: str = eqx.field(static=True)
    sr: float | None = eqx.field(static=True)
    fmin: float = eqx.field(static=True)
    htk: bool = eqx.field(static=True)
    reference: str = eqx.field(static=True)
    weighting: str = eqx.field(static=True)
    mass_weight: float = eqx.field(static=True)
    eps: float | None = eqx.field(static=True)
    floor: float = eqx.field(static=True)

    def __init__(
        self,
        positions: Any = None,
        p: float = 2,
        normalize: bool = True,
        balanced: bool = True,
        quantile_lowpass: bool = False,
        *,
        root: bool = False,
        root_eps: float = 0.0,
        circular: bool = False,
        period: float = 1.0,
        axis: str = "frequency",
        sr: float | None = None,
        fmin: float = 32.7,
        htk: bool = False,
        reference: str = "estimate",
        weighting: str = "uniform",
        mass_weight: float = 0.0,
        eps: float | None = None,
        floor: float = 1e-12,
    ):
        r"""**Arguments:**

        - `positions`: positions of the bins, one of

            - shape `(n_bins,)`, in ascending order, in any unit (Hz, mel, octaves). A
                sequence or NumPy array is configuration, a JAX array is learnable and
                must be kept ascending by the user;
            - `None`: `k / n_bins`, i.e. uniform in [0, 1);
            - `"linear"`: uniform from 0 to 1, both included;
            - `"log"`: for bins that are uniform from 0 Hz to `sr / 2`, as an STFT's:
                the logarithm of the frequency, 0 at `fmin` and below, 1 at `sr / 2`;
            - `"mel"`: for the same bins, the frequency in mel, 0 at 0 Hz, 1 at
                `sr / 2`.

            With `axis="time"` the frames' positions.
        - `p`: order of the distance, at least 1. 1 is the fastest.
        - `normalize`, `balanced`: see the table above.
        - `quantile_lowpass`: ignore transport above quantile 1, i.e. the mass that one
            signal has beyond the unit mass of the other (useful with `balanced=False`).
        - `root`: take the distance $W_p$ of each frame instead of $W_p^p$. Where it is
            0 its slope would be infinite; it is defined as 0.
        - `root_eps`: added under the root.
        - `circular`: the bins form a ring that closes after `period`, as those of a
            chroma do (Rabin, Delon, Gousseau 2011). Only for `p=1`, `balanced=True`
            and positions within one period.
        - `period`: the ring's length, in the unit of `positions`.
        - `axis`: `"frequency"`, or `"time"`: the envelope of each bin is moved along
            its frames, and "frame" means "bin" in everything above.
        - `sr`: sample rate in Hz, for positions `"log"` and `"mel"`.
        - `fmin`: lowest frequency of positions `"log"`, in Hz.
        - `htk`: HTK's mel scale, not Slaney's, for positions `"mel"`.
        - `reference`: `"estimate"` or `"target"`: whose mass the table above uses as
            the unit. It makes no difference if both spectra are normalised, or neither.
        - `weighting`: how frames are weighted in the mean of each signal. `"uniform"`;
            `"energy"`: by the target's mass $m_y$; `"active"`: equally, but without
            frames where the target is silent ($m_y$ below `floor`). A signal whose
            frames all have weight 0 gives 0.
        - `mass_weight`: weight of $|\ln((m_x + floor) / (m_y + floor))|$, the level
            difference, added to the cost of each frame. Normalised spectra alone do not
            distinguish a loud sound from a quiet one.
        - `eps`: added to the masses, which then have no `floor`: in float32 korvax adds
            1.2e-7, in float64 2.2e-16, sot-loss 1e-8. `None`: nothing.
        - `floor`: mass below which a frame gets less weight, at least 1e-12.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        self.positions = static_or_leaf(checked_positions(_OWNER, positions))
        self.p = checks.real(_OWNER, "p", p)
        if self.p < 1:
            checks.refuse(_OWNER, "p", "be at least 1", p)
        self.normalize = checks.boolean(_OWNER, "normalize", normalize)
        self.balanced = checks.boolean(_OWNER, "balanced", balanced)
        self.quantile_lowpass = checks.boolean(
            _OWNER, "quantile_lowpass", quantile_lowpass
        )
        self.root = checks.boolean(_OWNER, "root", root)
        self.root_eps = checks.non_negative(_OWNER, "root_eps", root_eps)
        self.circular = checks.boolean(_OWNER, "circular", circular)
        self.period = checks.positive(_OWNER, "period", period)
        self.axis = checks.one_of(_OWNER, "axis", axis, ("frequency", "time"))
        self.sr = None if sr is None else checks.positive(_OWNER, "sr", sr)
        self.fmin = checks.positive(_OWNER, "fmin", fmin)
        self.htk = checks.boolean(_OWNER, "htk", htk)
        options = ("estimate", "target")
        self.reference = checks.one_of(_OWNER, "reference", reference, options)
        options = ("uniform", "energy", "active")
        self.weighting = checks.one_of(_OWNER, "weighting", weighting, options)
        self.mass_weight = checks.non_negative(_OWNER, "mass_weight", mass_weight)
        self.eps = None if eps is None else checks.positive(_OWNER, "eps", eps)
        self.floor = checks.real(_OWNER, "floor", floor)
        if self.floor < _LOWEST_FLOOR:
            checks.refuse(_OWNER, "floor", f"be at least {_LOWEST_FLOOR}", floor)
        self._check_combination()

    def _check_combination(self) -> None:
        """Raise `ValueError` for arguments that do not go together."""
        positions = self.positions
        named = positions if isinstance(positions, str) else None
        if named in ("log", "mel") and self.axis == "time":
            rule = "be None, 'linear' or an array with `axis=\"time\"`"
            checks.refuse(_OWNER, "positions", rule, named)
        if named in ("log", "mel") and self.sr is None:
            rule = f'be the sample rate in Hz for `positions="{named}"`'
            checks.refuse(_OWNER, "sr", rule, None)
        if named == "log" and self.sr is not None and self.fmin >= self.sr / 2:
            checks.refuse(_OWNER, "fmin", "be below `sr / 2`", self.fmin)
        if named is not None:
            self.bin_positions(3)  # what gives none is refused here
        if not self.circular:
            return
        if self.p != 1:
            checks.refuse(_OWNER, "p", "be 1 with `circular=True`", self.p)
        if not self.balanced:
            rule = "be True with `circular=True`"
            checks.refuse(_OWNER, "balanced", rule, self.balanced)
        if self.quantile_lowpass:
            rule = "be False with `circular=True`"
            checks.refuse(_OWNER, "quantile_lowpass", rule, True)
        if named is not None:
            rule = "be None or an array with `circular=True`"
            remedy = "Names place a bin at 1, which on a ring of 1 is the place of 0."
            checks.refuse(_OWNER, "positions", rule, named, remedy)
        if isinstance(positions, np.ndarray):
            if positions[-1] - positions[0] > self.period:
                rule = "be at least the span of the positions"
                checks.refuse(_OWNER, "period", rule, self.period)

    def bin_positions(self, n_bins: int) -> np.ndarray | Float[Array, " n_bins"]:
        """Return the positions of `n_bins` bins, shape `(n_bins,)`.

        With `axis="time"`, of `n_bins` frames.
        """
        positions = self.positions
        if positions is None:
            return np.arange(n_bins) / n_bins
        if not isinstance(positions, str):
            return positions
        return named_positions(_OWNER, positions, n_bins, self.sr, self.fmin, self.htk)

    @property
    def scope(self) -> Scope:  # pyright: ignore[reportIncompatibleVariableOverride]
        is_plain = self.axis == "frequency" and self.weighting == "uniform"
        return "frame" if is_plain else "signal"

    def values(self, x: Spectra, y: Spectra) -> Float[Array, "*rows"]:
        S_x, S_y, n_frames = x.S, y.S, x.n_frames
        checks.real_spectrum(_OWNER, "S_x", S_x)
        checks.real_spectrum(_OWNER, "S_y", S_y)
        stretch = None
        if self.axis == "time" and n_frames is not None:
            # As floats: JAX divides 32-bit integers in single precision.
            stretch = self._stretch(S_x.shape[-2], n_frames.astype(S_x.dtype))
        costs = self.costs(S_x, S_y, stretch)
        # Frames that are zero in both signals cost nothing and have no weight.
        weights = self.frame_weights(S_x, S_y)
        if weights is None:
            if self.axis == "time":
                return jnp.mean(costs, axis=-1)
            return x.holding(costs[..., None]).mean()
        total = jnp.sum(weights, -1)
        is_silent = total == 0
        cost = jnp.sum(weights * costs, -1)
        return quotient(cost, jnp.where(is_silent, 1, total))

    def _stretch(
        self, size: int, n_frames: Float[Array, "*rows"]
    ) -> Float[Array, "*rows"]:
        """Return the factor between frame positions of shorter signals and of the
        longest."""
        is_array = isinstance(self.positions, np.ndarray | jax.Array)
        if is_array or not (self.balanced or self.circular):
            raise ValueError(
                f'`lengths` cannot be combined with `{_OWNER}(axis="time")` and '
                "positions given as an array, nor with `balanced=False`: the last "
                "frame, where missing mass sits, is another one for every signal."
            )
        if self.positions == "linear":
            return max(size - 1, 1) / jnp.maximum(n_frames - 1, 1)
        return size / jnp.maximum(n_frames, 1)

    def costs(
        self,
        u: Float[Array, "*lead n_frames n_bins"],
        v: Float[Array, "*lead n_frames n_bins"],
        stretch: Float[Array, "*lead"] | None = None,
    ) -> Float[Array, "*lead n_costs"]:
        """Return the cost of each frame, or with `axis="time"` of each bin.

        `stretch` multiplies the distances between positions.

        **Raises:** `ValueError` if the number of positions is not the number of bins.
        """
        u, v = self._along(u), self._along(v)
        x = self._checked_positions(u.shape[-1])
        x = jnp.asarray(x, u.dtype)
        if self.reference == "target":
            b, a, fade = self._masses(v, u)
        else:
            a, b, fade = self._masses(u, v)
        if self.circular:
            W = circular_wasserstein_1d(a, b, x, self.period)
        else:
            is_balanced = self.balanced and self.eps is None
            W = wasserstein_1d(a, b, x, self.p, self.quantile_lowpass, is_balanced)
        if stretch is not None:
            W = W * stretch[..., None] ** self.p
        if fade is not None:
            W = W * fade
        if self.root:
            W = root(W + self.root_eps, self.p)
        if self.mass_weight:
            logs = (jnp.log(total_mass(a)[..., 0] + self.floor) for a in (u, v))
            difference = next(logs) - next(logs)
            # Not `abs`, whose derivative at 0 is 1 in JAX.
            sign = jnp.sign(jax.lax.stop_gradient(difference))
            W = W + self.mass_weight * sign * difference
        return W

    def frame_weights(
        self,
        u: Float[Array, "*lead n_frames n_bins"],
        v: Float[Array, "*lead n_frames n_bins"],
    ) -> Float[Array, "*lead n_costs"] | None:
        """Return the weight of each of the `costs`; `None` if they are equal."""
        if self.weighting == "uniform":
            return None
        mass = total_mass(self._along(v))[..., 0]
        if self.weighting == "energy":
            return mass
        return jnp.where(mass < self.floor, 0, jnp.ones_like(mass))

    def _along(self, u: Float[Array, "*lead n_frames n_bins"]) -> Array:
        """Move the axis along which mass is transported to the end."""
        return jnp.swapaxes(u, -1, -2) if self.axis == "time" else u

    def _checked_positions(self, n: int) -> np.ndarray | Array:
        positions = self.bin_positions(n)
        if positions.shape != (n,):
            what = "bin" if self.axis == "frequency" else "frame"
            raise ValueError(
                f"`{_OWNER}(positions=...)` must have one position for each {what} of "
                f"the spectra: {n}. Got {positions.shape[0]}. Take the positions from "
                "the transform in use, e.g. `Spectrogram(...).frequencies`."
            )
        return positions

    def _masses(
        self, u: Float[Array, "*frames n_bins"], v: Float[Array, "*frames n_bins"]
    ) -> tuple[Array, Array, Array | None]:
        """Return both spectra normalised as configured, and the weights of quiet
        frames."""
        if not (self.normalize or self.balanced):
            return u, v, None
        m_u, m_v = total_mass(u), total_mass(v)
        # The bound keeps sums finite for a loud target over a silent estimate's mass.
        largest = float(jnp.finfo(u.dtype).max) / (4 * u.shape[-1])
        fade = None
        if self.eps is not None:
            m_u, m_v = m_u + self.eps, m_v + self.eps
        elif self.normalize and not self.balanced:
            m_u = jnp.where(m_u < self.floor, self.floor, m_u)
        else:
            m_v, fade = self._audible(m_v)
            if self.normalize:
                m_u, fade_u = self._audible(m_u)
                fade = fade * fade_u
        if self.normalize and self.balanced:
            return quotient(u, m_u), quotient(v, m_v), fade
        if self.normalize:
            u, v = (quotient_at_most(a, m_u, largest) for a in (u, v))
            return u, v, fade
        share = quotient_at_most(in_range(m_u), m_v, largest)
        return u, at_most(largest, v * share), fade

    def _audible(self, mass: Float[Array, "*frames 1"]) -> tuple[Array, Array]:
        """Return a mass to divide by, and a weight that reaches 0 before the mass
        does."""
        silent = _SILENT * self.floor
        fade = (mass - silent) / (self.floor - silent)
        fade = jnp.where(mass < silent, 0, jnp.where(mass < self.floor, fade, 1))
        return jnp.where(mass < silent, 1, mass), fade[..., 0]


@checks.owned_by("spectral_optimal_transport_loss")
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
