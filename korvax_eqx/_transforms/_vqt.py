"""The variable-Q transform."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact, Int

from korvax_eqx import _checks as checks
from korvax_eqx._axes import Axes
from korvax_eqx._core._steps import (
    AbstractFramesTransform,
    AbstractStep,
    Count,
    applied,
)
from korvax_eqx._data import Framing, Signals, Spectra
from korvax_eqx._numerics._padding import extended, least_to_reflect
from korvax_eqx._numerics._vqt import vqt_coefficients
from korvax_eqx._scales._magnitude import Magnitude
from korvax_eqx._static import freeze
from korvax_eqx._tables._cqt_kernels import Normalization, VQTKernels, vqt_kernels
from korvax_eqx._tree import part_of, unchecked

from ._framing import zero_below
from ._stft import PAD_MODES


class VQT(AbstractFramesTransform):
    r"""Variable-Q transform: logarithmically spaced bins of variable bandwidth.

    Bin $k$ at $f_k = f_\mathrm{min} 2^{k/B}$ correlates the signal with a windowed
    complex exponential of $\lceil Q f_s / (f_k + \gamma / \alpha) \rceil$ samples,
    with $Q$ = `filter_scale` $/ \alpha$ and $\alpha = 2^{1/B} - 1$. `gamma = 0` is the
    constant-Q transform (Brown 1991); $\gamma > 0$ shortens the kernels of low bins
    (Schörkhuber, Klapuri, Holighaus, Dörfler 2014). Every kernel is evaluated in the
    time domain at its own length: exact, where librosa resamples the signal octave by
    octave and sparsifies the kernels.
    """

    sr: float = eqx.field(static=True)
    hop_length: int = eqx.field(static=True)
    fmin: float = eqx.field(static=True)
    fmax: float | None = eqx.field(static=True)
    n_bins: int = eqx.field(static=True)
    gamma: float = eqx.field(static=True)
    bins_per_octave: int = eqx.field(static=True)
    filter_scale: float = eqx.field(static=True)
    norm_kernels: float | None = eqx.field(static=True)
    power: float | None = eqx.field(static=True)
    window: Any = eqx.field(static=True)
    center: bool = eqx.field(static=True)
    normalization_type: Normalization = eqx.field(static=True)
    pad_mode: str = eqx.field(static=True)

    def __init__(
        self,
        sr: float,
        hop_length: int = 512,
        fmin: float = 32.70,
        fmax: float | None = None,
        n_bins: int = 84,
        gamma: float = 0.0,
        bins_per_octave: int = 12,
        filter_scale: float = 1.0,
        norm_kernels: float | None = 1,
        power: float | None = 2.0,
        window: Any = "hann",
        center: bool = True,
        normalization_type: Normalization = "librosa",
        pad_mode: str = "constant",
    ):
        """**Arguments:**

        - `sr`: sample rate in Hz.
        - `hop_length`: samples between two frames.
        - `fmin`: frequency of the lowest bin in Hz.
        - `fmax`: if given, bins go up to below this frequency in Hz, and `n_bins` is
            not used.
        - `n_bins`: number of bins.
        - `gamma`: bandwidth added to every bin, in Hz.
        - `bins_per_octave`: bins to an octave, $B$.
        - `filter_scale`: scales the length of all kernels; below 1 is sharper in time.
        - `norm_kernels`: order of the norm that each kernel is divided by, or `None`.
        - `power`: exponent of the magnitude; `None` for complex coefficients.
        - `window`: a name or tuple for `scipy.signal.get_window`.
        - `center`: whether to pad so that frame $t$ is centred on sample $t H$.
        - `normalization_type`: `"librosa"` multiplies each bin by the square root of
            its kernel's length, `"convolutional"` by 1, `"wrap"` by 2.
        - `pad_mode`: how to pad for centred frames, a mode of `jax.numpy.pad`.
            `"reflect"` needs signals longer than the padding, as in torch.

        **Raises:** `ValueError` for an argument outside these rules, and for bins
        above the Nyquist frequency.
        """
        owner = "VQT"
        self.sr, self.fmin, self.fmax = freeze(sr), freeze(fmin), freeze(fmax)
        self.n_bins, self.gamma = freeze(n_bins), freeze(gamma)
        self.bins_per_octave = freeze(bins_per_octave)
        self.filter_scale = freeze(filter_scale)
        self.norm_kernels, self.window = freeze(norm_kernels), freeze(window)
        self.normalization_type = normalization_type
        self.hop_length = checks.positive_int(owner, "hop_length", hop_length)
        if power is not None:
            power = checks.positive(owner, "power", power)
        self.power = power
        self.center = checks.boolean(owner, "center", center)
        self.pad_mode = checks.one_of(owner, "pad_mode", pad_mode, PAD_MODES)
        _kernels_of(self)  # checks everything that the kernels are made of

    @property
    def kernels(self) -> VQTKernels:
        """The tables: frequencies, lengths and kernels, in float64."""
        return _kernels_of(self)

    @property
    def frequencies(self) -> np.ndarray:
        """Centre frequencies of the bins in Hz, shape `(n_bins,)`."""
        return self.kernels.frequencies

    @property
    def path(self) -> tuple[AbstractStep, ...]:
        if self.power is None:
            return (self,)
        linear = unchecked(self, power=None)
        return linear, part_of(self, Magnitude, floor=0.0, floor_mode="clip")

    @property
    def axes(self) -> Axes:
        first = 0.0 if self.center else self.kernels.frame_length / 2
        power = self.power or 1.0
        return Axes("log", self.frequencies, self.sr, self.hop_length, first, power)

    def n_frames(self, n_samples: Count) -> Count:
        if self.center:
            half = self.kernels.frame_length // 2
            least = least_to_reflect(half, half, self.pad_mode)
            return zero_below(least, n_samples, 1 + n_samples // self.hop_length)
        count = 1 + (n_samples - self.kernels.frame_length) // self.hop_length
        return max(0, count) if isinstance(count, int) else jnp.maximum(0, count)

    def framing(self) -> Framing:
        length = self.kernels.frame_length
        left = length // 2 if self.center else 0
        return Framing(self.hop_length, length, left, left, self.pad_mode)

    def unpadded(self) -> "VQT":
        """Return the transform of signals that are padded already."""
        return unchecked(self, center=False, pad_mode="constant")

    def apply(self, data: Signals) -> Spectra:
        if self.power is not None:
            return applied(self.path, data)
        n_samples = data.n_samples
        S = self._frames(data.x, n_samples)
        if n_samples is None:
            return Spectra(S)
        return Spectra(S, jnp.asarray(self.n_frames(n_samples)))

    def _frames(
        self, x: Float[Array, "*rows n_samples"], n_samples: Int[Array, "*rows"] | None
    ) -> Complex[Array, "*rows n_frames n_bins"]:
        center = self.center
        if center and self.pad_mode != "constant":
            half = self.kernels.frame_length // 2
            x, center = extended(x, n_samples, half, half, self.pad_mode), False
        real, imag = vqt_coefficients(x, self.kernels, self.hop_length, center)
        return jnp.swapaxes(jax.lax.complex(real, imag), -1, -2)


def _kernels_of(step: VQT) -> VQTKernels:
    return vqt_kernels(
        sr=step.sr,
        fmin=step.fmin,
        fmax=step.fmax,
        n_bins=step.n_bins,
        gamma=step.gamma,
        bins_per_octave=step.bins_per_octave,
        filter_scale=step.filter_scale,
        norm_kernels=step.norm_kernels,
        window=step.window,
        normalization_type=step.normalization_type,
    )


@checks.owned_by("vqt")
def vqt(
    x: Float[Array, "*channels n_samples"],
    /,
    sr: float,
    hop_length: int = 512,
    fmin: float = 32.70,
    fmax: float | None = None,
    n_bins: int = 84,
    gamma: float = 0.0,
    bins_per_octave: int = 12,
    filter_scale: float = 1.0,
    norm_kernels: float | None = 1,
    power: float | None = 2.0,
    window: Any = "hann",
    center: bool = True,
    normalization_type: Normalization = "librosa",
    pad_kwargs: dict[str, Any] | None = None,
) -> Inexact[Array, "*channels n_bins n_frames"]:
    """Apply `VQT` to `x`; `pad_kwargs` are arguments of `jax.numpy.pad`."""
    transform = VQT(
        sr,
        hop_length,
        fmin,
        fmax,
        n_bins,
        gamma,
        bins_per_octave,
        filter_scale,
        norm_kernels,
        power,
        window,
        center,
        normalization_type,
    )
    if center and pad_kwargs:
        half = transform.kernels.frame_length // 2
        x = checks.signal("vqt", "x", x)
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(half, half)], **pad_kwargs)
        transform = VQT(
            sr,
            hop_length,
            fmin,
            fmax,
            n_bins,
            gamma,
            bins_per_octave,
            filter_scale,
            norm_kernels,
            power,
            window,
            False,
            normalization_type,
        )
    return transform(x)
