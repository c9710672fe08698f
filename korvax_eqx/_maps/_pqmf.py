"""Sub-bands of signals by a cosine-modulated filter bank."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from korvax_eqx import _checks as checks
from korvax_eqx._compile import compiled
from korvax_eqx._core._steps import AbstractSignalMap, Count
from korvax_eqx._data import Signals
from korvax_eqx._numerics._filter_bank import filter_bank
from korvax_eqx._numerics._frames import padded
from korvax_eqx._numerics._padding import cut_off
from korvax_eqx._static import Fixed
from korvax_eqx._tables._pqmf import analysis_taps, prototype, synthesis_taps
from korvax_eqx._tables._size import check_finite, check_size

_OWNER = "PQMF"


class PQMF(AbstractSignalMap):
    r"""Sub-bands: a pseudo-quadrature-mirror filter bank, critically sampled.

    $$y_{k,t} = \sum_{n=0}^{L} 2 h_n \cos\!\Big((2k+1) \tfrac{\pi}{2K} (n - \tfrac L2)
      + (-1)^k \tfrac\pi4\Big)\, x_{tK + n - L/2}$$

    with $K$ = `n_bands`, $L$ = `n_taps` and the low-pass filter $h_n = \sin(\pi c (n -
    L/2)) / (\pi (n - L/2))$ times a Kaiser window, zeros outside of the signal. Signals
    of shape `(*channels, n_samples)` become `(*channels, n_bands, n_samples //
    n_bands)`; a loss behind it is a mean over bands, too: `MappedLoss(PQMF(),
    MRSTFTLoss())`. `inverse` makes signals of bands.

    The defaults are those of multi-band MelGAN and are tuned for 4 bands; their
    reconstruction of noise is good to 64 dB. Source: kan-bayashi/ParallelWaveGAN at
    8674037, `layers/pqmf.py`, where a batch of shape (B, 1, n_samples) becomes (B,
    n_bands, ...). Nguyen (1994), "Near-perfect-reconstruction pseudo-QMF banks", IEEE
    Trans. Signal Process. 42(1); Lin and Vaidyanathan (1998), "A Kaiser window approach
    for the design of prototype filters", IEEE Signal Process. Lett. 5(6).
    """

    n_bands: int = eqx.field(static=True)
    n_taps: int = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    beta: float = eqx.field(static=True)
    delay: int = eqx.field(static=True)

    def __init__(
        self,
        n_bands: int = 4,
        n_taps: int = 62,
        cutoff: float = 0.142,
        beta: float = 9.0,
        *,
        delay: int = 0,
    ) -> None:
        """**Arguments:**

        - `n_bands`: number of bands.
        - `n_taps`: samples of the filters less one, even.
        - `cutoff`: $c$, of the low-pass filter, in half sample rates, between 0 and 1:
            a little more than `1 / (2 * n_bands)`.
        - `beta`: of its Kaiser window, non-negative, below about 700.
        - `delay`: samples that the bands are late, at most `n_taps // 2`. RAVE's are
            late by 1.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        self.n_bands = checks.positive_int(_OWNER, "n_bands", n_bands)
        self.n_taps = checks.positive_int(_OWNER, "n_taps", n_taps)
        if self.n_taps % 2 == 1:
            remedy = f"Use {self.n_taps + 1}."
            checks.refuse(_OWNER, "n_taps", "be even", n_taps, remedy)
        check_size(_OWNER, "n_taps", n_taps, 4 * self.n_bands * (self.n_taps + 1))
        self.cutoff = checks.positive(_OWNER, "cutoff", cutoff)
        if self.cutoff >= 1:
            checks.refuse(_OWNER, "cutoff", "be between 0 and 1", cutoff)
        self.beta = checks.non_negative(_OWNER, "beta", beta)
        table = prototype(self.n_taps, self.cutoff, self.beta)
        check_finite(_OWNER, {"beta": beta}, table)
        self.delay = checks.non_negative_int(_OWNER, "delay", delay)
        if self.delay > self.n_taps // 2:
            rule = f"be at most n_taps // 2 = {self.n_taps // 2}"
            checks.refuse(_OWNER, "delay", rule, delay)

    def samples_left(self, n_samples: Count) -> Count:
        return n_samples // self.n_bands

    def apply(self, data: Signals) -> Signals:
        """Return the bands of signals.

        **Raises:** `ValueError` for signals of less than a sample in each band.
        """
        n_left = data.x.shape[-1] // self.n_bands
        if isinstance(n_left, int) and n_left < 1:
            raise ValueError(
                f"`{_OWNER}`: the signal is too short for {self.n_bands} bands: "
                f"{self.n_bands} samples are needed, {data.x.shape[-1]} were given. "
                "Pad the signal."
            )
        taps = analysis_taps(self.n_bands, self.n_taps, self.cutoff, self.beta)
        left = self.n_taps // 2 + self.delay
        y = filter_bank(data.x, taps, self.n_bands, left, n_left)
        y = jnp.swapaxes(y, -1, -2)
        if data.n_samples is None:
            return Signals(y)
        n_samples = jnp.asarray(self.samples_left(data.n_samples))
        n_samples = jnp.broadcast_to(n_samples[..., None], y.shape[:-1])
        return Signals(cut_off(y, n_samples), n_samples)

    def inverse(
        self,
        bands: Float[Array, "*channels n_bands n_frames"],
        length: int | None = None,
    ) -> Float[Array, "*channels n_samples"]:
        """Return the signals of bands: their synthesis.

        It is nearly an inverse, but for about `n_taps` samples at both ends, where the
        filters see the end of the signal.

        **Arguments:**

        - `bands`: as a call returns them.
        - `length`: samples of the signals, cut or with zeros at the end. `None`:
            `n_bands` for each sample of the bands.

        **Raises:** `ValueError` for another number of bands.
        """
        owner = "PQMF.inverse"
        checks.signal_type(owner, "bands", bands)
        if length is not None:
            length = checks.positive_int(owner, "length", length)
        return _inverted(self, bands, Fixed(length))


@compiled
def _inverted(
    step: PQMF, bands: Float[Array, "*channels n_bands n_frames"], length: Fixed
) -> Float[Array, "*channels n_samples"]:
    owner = "PQMF.inverse"
    with jax.named_scope(f"korvax_eqx.{owner}"):
        bands = checks.signal(owner, "bands", bands, may_be_short=True)
        if bands.ndim < 2 or bands.shape[-2] != step.n_bands:
            raise ValueError(
                f"`{owner}`: `bands` must have the shape (*channels, n_bands, "
                f"n_frames) with {step.n_bands} bands. Got {bands.shape}."
            )
        own = step.n_bands, step.n_taps, step.cutoff, step.beta, step.delay
        taps, left = synthesis_taps(*own)
        n_frames = bands.shape[-1]
        interleaved = jnp.swapaxes(bands, -1, -2).reshape(*bands.shape[:-2], -1)
        y = filter_bank(interleaved, taps, step.n_bands, left, n_frames)
        y = y.reshape(*y.shape[:-2], -1)
        n = y.shape[-1] if length.value is None else length.value
        y = padded(y, 0, max(0, n - y.shape[-1]))
        return lax.slice_in_dim(y, 0, n, axis=-1)
