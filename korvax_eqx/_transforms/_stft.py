"""The short-time Fourier transform."""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from korvax_eqx import _checks as checks
from korvax_eqx import _warnings
from korvax_eqx._axes import Axes
from korvax_eqx._compile import compiled
from korvax_eqx._core._steps import AbstractFramesTransform, Count
from korvax_eqx._data import Framing, Signals, Spectra
from korvax_eqx._engine._alone import inverse_of
from korvax_eqx._numerics._fft import rfft
from korvax_eqx._numerics._frames import windowed_frames
from korvax_eqx._numerics._padding import extended
from korvax_eqx._numerics._safe import norm, reciprocal_or_zero
from korvax_eqx._static import Fixed, is_leaf, static_or_leaf
from korvax_eqx._tables._frequencies import fft_frequencies_table
from korvax_eqx._tables._size import check_size
from korvax_eqx._tables._windows import unweighed_window_values, window_values
from korvax_eqx._transforms._framing import (
    Padding,
    check_padding,
    count_frames,
    pad_widths,
)
from korvax_eqx._transforms._inverse import (
    check_invertible,
    check_length,
    check_spectra,
    inverted,
)
from korvax_eqx._tree import unchecked

Normalized = bool | Literal["window", "frame_length", "sum"]

NORMALIZED = (False, True, "window", "frame_length", "sum")
PAD_MODES = (
    "constant",
    "edge",
    "linear_ramp",
    "maximum",
    "mean",
    "median",
    "minimum",
    "reflect",
    "symmetric",
    "wrap",
)


class STFT(AbstractFramesTransform):
    r"""Short-time Fourier transform: the complex spectra of windowed frames.

    $$X_{k,t} = \sum_{n=0}^{N-1} w_n\, x_{n + tH}\, e^{-2\pi i k n / N}$$

    with $N$ = `n_fft`, $H$ = `hop_length` and the padded signal $x$. The middle of a
    centred frame $t$ is at sample $tH$: `n_fft // 2` samples are padded on the left and
    `n_fft - n_fft // 2` on the right (as in korvax; librosa and torch pad one sample
    less on the right for odd sizes).

    Framings of other projects (with `pad_mode="reflect"`, except DDSP's):

    | frames | arguments | number of frames |
    | --- | --- | --- |
    | `torch.stft` | `padding="torch"` | $1 + T // H$ for even $N$ |
    | HiFi-GAN's mel | `padding="same"` | $T // H$ for even $N - H$ |
    | `tf.signal.stft(pad_end=True)`, DDSP | `padding="end"` | $\lceil T/H \rceil$ |
    | EnCodec's mel | `padding="same", extra_padding=True` | $\lceil T/H \rceil$ |

    With their defaults `scipy.signal.stft` and `jax.scipy.signal.stft` are
    `STFT(nperseg, nperseg - noverlap, padding="torch", extra_padding=True,
    normalized="sum")`. For an `nfft` above `nperseg` their windows begin with the
    frame, while here they are in its middle: magnitudes are equal, phases are not.
    """

    window: Any
    n_fft: int = eqx.field(static=True)
    hop_length: int = eqx.field(static=True)
    win_length: int = eqx.field(static=True)
    center: bool = eqx.field(static=True)
    pad_mode: str = eqx.field(static=True)
    padding: Padding = eqx.field(static=True)
    extra_padding: bool = eqx.field(static=True)
    normalized: Normalized = eqx.field(static=True)

    def __init__(
        self,
        n_fft: int = 2048,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Any = "hann",
        center: bool = True,
        pad_mode: str = "constant",
        *,
        padding: Padding = None,
        extra_padding: bool = False,
        normalized: Normalized = False,
    ):
        """**Arguments:**

        - `n_fft`: length of a frame and of its FFT, in samples.
        - `hop_length`: samples between the starts of two frames. `None`:
            `win_length // 4`.
        - `win_length`: length of the window, in samples, at most `n_fft`. A shorter
            window is centred in the frame. `None`: `n_fft`, or the length of the window
            if that is an array.
        - `window`: a name or a tuple for `scipy.signal.get_window`, which is made
            periodic; `"sqrt_hann"` or `"hann_symmetric"`; a NumPy array of shape
            `(win_length,)`; or a JAX array of that shape, which is learnable.
        - `center`: whether to pad the signal so that frames are centred. `False`: only
            frames inside the signal.
        - `pad_mode`: how to pad, a mode of `jax.numpy.pad`. `"reflect"` needs signals
            longer than the padding, as in torch.
        - `padding`: how much to pad, overriding `center`. `"torch"`: `n_fft // 2`
            samples on each side; `"same"`: `(n_fft - hop_length) // 2` on each side;
            `"end"`: the window of frame $t$ begins at sample $tH$, for every $tH$
            inside the signal; `(left, right)`: numbers of samples.
        - `extra_padding`: whether to append zeros until the last frame is full.
            `False`: trailing samples that do not fill a frame are dropped.
        - `normalized`: divides the spectrum. `True` or `"window"`: by the 2-norm of the
            window, as in torchaudio; `"frame_length"`: by the square root of `n_fft`,
            as `torch.stft(normalized=True)`; `"sum"`: by the sum of the window, as
            `scipy.signal.stft`, so that a sine of amplitude 1 on a bin has magnitude
            1/2; `False`: by nothing.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        owner = "STFT"
        self.n_fft = checks.positive_int(owner, "n_fft", n_fft)
        check_size(owner, "n_fft", n_fft, self.n_fft)
        if isinstance(window, jax.Array | np.ndarray):
            checks.floating_array(owner, "window", window, ndim=1)
            if win_length is None:
                win_length = window.shape[0]
            if win_length != window.shape[0]:
                rule = f"have the shape (win_length,) = ({win_length},)"
                checks.refuse(owner, "window", rule, window)
        elif win_length is None:
            win_length = self.n_fft
        self.win_length = checks.positive_int(owner, "win_length", win_length)
        if self.win_length > self.n_fft:
            rule = f"be at most n_fft = {n_fft}"
            remedy = "Make `n_fft` at least as long as the window."
            checks.refuse(owner, "win_length", rule, win_length, remedy)
        if hop_length is None:
            hop_length = max(1, self.win_length // 4)
        self.hop_length = checks.positive_int(owner, "hop_length", hop_length)
        _warnings.warn_hop_longer_than_window(owner, self.hop_length, self.win_length)
        self.center = checks.boolean(owner, "center", center)
        self.pad_mode = checks.one_of(owner, "pad_mode", pad_mode, PAD_MODES)
        self.padding = check_padding(owner, padding)
        self.extra_padding = checks.boolean(owner, "extra_padding", extra_padding)
        self.normalized = checks.one_of(owner, "normalized", normalized, NORMALIZED)
        self.window = static_or_leaf(window)
        # Refuse a padding that cannot be, and an unknown window.
        _pad_widths_of(self)
        if not is_leaf(window):
            values = window_values(self.window, self.win_length, self.n_fft)
            _normalized(values, self.normalized)

    @property
    def window_values(self) -> np.ndarray | Float[Array, " n_fft"]:
        """The window as it is applied, shape `(n_fft,)`."""
        if is_leaf(self.window):
            left = (self.n_fft - self.win_length) // 2
            right = self.n_fft - self.win_length - left
            values = jnp.pad(self.window, (left, right))
        else:
            own = self.window, self.win_length, self.n_fft
            values = unweighed_window_values(*own, "STFT")
        return _normalized(values, self.normalized)

    @property
    def window_part(self) -> tuple[Any, tuple[int, int]]:
        """The window without the zeros of its frame, and how many come around it."""
        before = (self.n_fft - self.win_length) // 2
        values = self.window_values[before : before + self.win_length]
        return values, (before, self.n_fft - self.win_length - before)

    @property
    def pad_widths(self) -> tuple[int, int]:
        """How many samples are padded on the left and on the right.

        The middle of frame $t$ is sample `t * hop_length + n_fft // 2 - left`.
        """
        return _pad_widths_of(self)

    @property
    def frequencies(self) -> np.ndarray:
        """Centre frequencies of the bins in cycles a sample, shape `(n_bins,)`.

        Multiply by the sample rate for Hz.
        """
        return fft_frequencies_table(1.0, self.n_fft)

    @property
    def axes(self) -> Axes:
        first = self.n_fft / 2 - self.pad_widths[0]
        return Axes("hz", self.frequencies, None, self.hop_length, first, 1.0)

    def n_frames(self, n_samples: Count) -> Count:
        return count_frames(
            n_samples,
            self.n_fft,
            self.hop_length,
            self.pad_widths,
            self.pad_mode,
            self.extra_padding,
        )

    def framing(self) -> Framing:
        left, right = self.pad_widths
        return Framing(self.hop_length, self.n_fft, left, right, self.pad_mode)

    def unpadded(self) -> "STFT":
        """Return the transform of signals that are padded already."""
        return unchecked(self, padding=(0, 0), extra_padding=False)

    def inverse(
        self,
        S: Complex[Array, "*channels n_bins n_frames"],
        length: int | None = None,
    ) -> Float[Array, "*channels n_samples"]:
        r"""Return the signals whose spectra are closest to `S`.

        $$y_n = \frac{\sum_t w_{n-tH}\, z_{t,n-tH}}{\sum_t w_{n-tH}^2}$$

        with the inverse FFTs $z_t$ of the frames: of spectra that a signal has, that
        signal; of others, the signal with the least sum of squared differences between
        its frames and $z$ (Griffin and Lim, 1984). What was padded is cut off. Samples
        that no frame weights, e.g. the first one with a Hann window and
        `center=False`, and samples beyond the last frame are 0.

        **Arguments:**

        - `S`: complex spectra of this transform.
        - `length`: samples of the signals. `None`: as many as the shortest signal with
            so many frames has.

        **Raises:** `ValueError` for spectra that are not complex or have other bins,
        for a window and a hop that leave samples without weight (the condition NOLA),
        and for a missing `length` where no signal of at least a sample has so few
        frames.
        """
        if length is not None:
            length = checks.positive_int("STFT.inverse", "length", length)
        check_spectra(self, S)
        n_samples = check_length(self, S.shape[-1], length)
        check_invertible(self, self.window_part[0])
        return _inverted(self, S, Fixed(n_samples))

    def inverted(
        self, S: Complex[Array, "*rows n_frames n_bins"], length: int
    ) -> Float[Array, "*rows length"]:
        """Return `inverse` of spectra whose bins are the last axis."""
        return inverted(self, S, length)

    def apply(self, data: Signals) -> Spectra:
        x, n_samples = data.x, data.n_samples
        left, right = self.pad_widths
        n_given, n_needed = x.shape[-1], self.n_fft - left - right
        if n_given < n_needed and not self.extra_padding:
            raise ValueError(
                f"The signal is too short for one frame: {n_needed} samples are "
                f"needed, {n_given} were given. Pad the signal, use "
                "`center=True`, or choose a smaller `n_fft`."
            )
        if self.extra_padding:
            # What is left over is at the end of the longest signal; of the others, at
            # their own ends, where there are zeros already.
            n_steps = int(self.n_frames(n_given)) - 1
            n_extra = max(0, n_steps * self.hop_length + n_needed - n_given)
        else:
            n_extra = 0
        if self.pad_mode != "constant" and left + right > 0:
            x = extended(x, n_samples, left, right, self.pad_mode)
            left, right = 0, 0
        right += n_extra
        window, zeros = self.window_part
        window = jnp.asarray(window, x.dtype)
        hop_length = self.hop_length
        frames = windowed_frames(x, window, hop_length, left, right, zeros=zeros)
        S = rfft(frames, self.n_fft)
        if n_samples is None:
            return Spectra(S)
        return Spectra(S, jnp.asarray(self.n_frames(n_samples)))


def _pad_widths_of(step: STFT) -> tuple[int, int]:
    sizes = step.n_fft, step.hop_length, step.win_length
    return pad_widths("STFT", step.center, step.padding, *sizes)


def _normalized(values: Any, normalized: Normalized) -> Any:
    if normalized is False:
        return values
    if normalized == "frame_length":
        return values * values.shape[0] ** -0.5
    is_sum = normalized == "sum"
    if isinstance(values, np.ndarray):
        return values / (_sum_of(values) if is_sum else np.linalg.norm(values))
    size = jnp.sum(values) if is_sum else norm(values, -1)
    return values * reciprocal_or_zero(size)


def _sum_of(window: np.ndarray) -> float:
    """Return the sum of a window, to divide by."""
    total = float(np.sum(window))
    if abs(total) <= 1e-12 * np.sum(np.abs(window)):
        rule = "be another than 'sum' for a window whose sum is 0"
        checks.refuse("STFT", "normalized", rule, "sum")
    return total


@compiled
def _inverted(
    step: STFT, S: Complex[Array, "*channels n_bins n_frames"], length: Fixed
) -> Float[Array, "*channels n_samples"]:
    with jax.named_scope("korvax_eqx.STFT.inverse"):
        return inverse_of(step, jnp.asarray(S), length.value)


@checks.owned_by("stft")
def stft(
    x: Float[Array, "*channels n_samples"],
    /,
    n_fft: int = 2048,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = "hann",
    center: bool = True,
    pad_kwargs: dict[str, Any] | None = None,
) -> Complex[Array, "*channels n_bins n_frames"]:
    """Apply `STFT` to `x`; `pad_kwargs` are arguments of `jax.numpy.pad`."""
    x, center = pad_for_frames(x, n_fft, center, pad_kwargs)
    with _warnings.remade("STFT"):
        transform = STFT(n_fft, hop_length, win_length, window, center)
    return transform(x)


def pad_for_frames(
    x: Any, n_fft: int, center: bool, pad_kwargs: dict[str, Any] | None
) -> tuple[Any, bool]:
    """Pad for centred frames as `pad_kwargs` say; return the remaining arguments."""
    if not (center and pad_kwargs):
        return x, center
    x = checks.signal("stft", "x", x)
    left = n_fft // 2
    widths = [(0, 0)] * (x.ndim - 1) + [(left, n_fft - left)]
    return jnp.pad(x, widths, **pad_kwargs), False
