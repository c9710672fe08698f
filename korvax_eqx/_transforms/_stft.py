"""The short-time Fourier transform."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from korvax_eqx import _checks as checks
from korvax_eqx._base import AbstractTransform
from korvax_eqx._engine._devices import keep_sharded
from korvax_eqx._numerics._fft import rfft
from korvax_eqx._numerics._frames import windowed_frames
from korvax_eqx._static import FrozenArray, Static, parameter
from korvax_eqx._tables._frequencies import fft_frequencies_table
from korvax_eqx._tables._windows import window_values

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


class STFT(AbstractTransform):
    r"""Short-time Fourier transform: the complex spectra of windowed frames.

    $$X_{k,t} = \sum_{n=0}^{N-1} w_n\, x_{n + tH}\, e^{-2\pi i k n / N}$$

    with $N$ = `n_fft`, $H$ = `hop_length` and the padded signal $x$. A centred frame
    $t$ has its middle at sample $tH$: `n_fft // 2` samples are padded on the left and
    `n_fft - n_fft // 2` on the right (as in korvax; librosa and torch pad one less on
    the right for odd sizes).
    """

    window: Array | Static
    n_fft: int = eqx.field(static=True)
    hop_length: int = eqx.field(static=True)
    win_length: int = eqx.field(static=True)
    center: bool = eqx.field(static=True)
    pad_mode: str = eqx.field(static=True)

    def __init__(
        self,
        n_fft: int = 2048,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Any = "hann",
        center: bool = True,
        pad_mode: str = "constant",
    ):
        """**Arguments:**

        - `n_fft`: length of a frame and of its FFT, in samples.
        - `hop_length`: samples between the starts of two frames. `None`:
            `win_length // 4`.
        - `win_length`: length of the window, in samples, at most `n_fft`; a shorter
            one is centred in the frame. `None`: `n_fft`, or the length of a window
            given as an array.
        - `window`: a name or a tuple for `scipy.signal.get_window`; a NumPy array of
            shape `(win_length,)`; or a JAX array of that shape, which is learnable.
        - `center`: whether to pad the signal so that frames are centred. `False`:
            only frames that lie wholly inside the signal.
        - `pad_mode`: how to pad for centred frames, a mode of `jax.numpy.pad`.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        owner = "STFT"
        self.n_fft = checks.positive_int(owner, "n_fft", n_fft)
        if isinstance(window, jax.Array | np.ndarray | FrozenArray):
            values = window.value if isinstance(window, FrozenArray) else window
            checks.floating_array(owner, "window", values, ndim=1)
            if win_length is None:
                win_length = values.shape[0]
            if win_length != values.shape[0]:
                rule = f"have the shape (win_length,) = ({win_length},)"
                checks.refuse(owner, "window", rule, values)
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
        self.center = checks.boolean(owner, "center", center)
        self.pad_mode = checks.one_of(owner, "pad_mode", pad_mode, PAD_MODES)
        self.window = parameter(window)
        if isinstance(self.window, Static):
            self.window_values  # noqa: B018 an unknown window is refused here

    @property
    def window_values(self) -> np.ndarray | Float[Array, " n_fft"]:
        """The window as it is applied, shape `(n_fft,)`."""
        if isinstance(self.window, Static):
            return window_values(self.window.value, self.win_length, self.n_fft)
        left = (self.n_fft - self.win_length) // 2
        right = self.n_fft - self.win_length - left
        return jnp.pad(self.window, (left, right))

    @property
    def frequencies(self) -> np.ndarray:
        """Centre frequencies of the bins in cycles a sample, shape `(n_bins,)`.

        Multiply by the sample rate for Hz.
        """
        return fft_frequencies_table(1.0, self.n_fft)

    def frames_first(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Complex[Array, "*channels n_frames n_bins"]:
        """Return the transform with the bins along the last axis, as computed."""
        left, right = 0, 0
        if self.center:
            left, right = self.n_fft // 2, self.n_fft - self.n_fft // 2
            if self.pad_mode != "constant":
                widths = [(0, 0)] * (x.ndim - 1) + [(left, right)]
                x = jnp.pad(x, widths, mode=self.pad_mode)
                left, right = 0, 0
        elif x.shape[-1] < self.n_fft:
            raise ValueError(
                f"The signal is too short for one frame: {self.n_fft} samples are "
                f"needed, {x.shape[-1]} were given. Pad the signal, use "
                "`center=True`, or choose a smaller `n_fft`."
            )
        window = jnp.asarray(self.window_values, x.dtype)
        frames = windowed_frames(x, window, self.hop_length, left, right)
        return rfft(frames, self.n_fft)

    @jax.named_scope("korvax_eqx.STFT")
    def __call__(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Complex[Array, "*channels n_bins n_frames"]:
        """Return the spectra of `x`, with `n_fft // 2 + 1` bins.

        **Raises:** `ValueError` for a signal that is not real floating point, or too
        short for one frame with `center=False`.
        """
        x = checks.signal("STFT", "x", x)
        return jnp.swapaxes(keep_sharded(self.frames_first, x), -1, -2)


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
    return STFT(n_fft, hop_length, win_length, window, center)(x)


def pad_for_frames(
    x: Any, n_fft: int, center: bool, pad_kwargs: dict[str, Any] | None
) -> tuple[Any, bool]:
    """Pad for centred frames in a way of the user's; return what is left to do."""
    if not (center and pad_kwargs):
        return x, center
    x = checks.signal("stft", "x", x)
    left = n_fft // 2
    widths = [(0, 0)] * (x.ndim - 1) + [(left, n_fft - left)]
    return jnp.pad(x, widths, **pad_kwargs), False
