"""How far spectra are from those of a signal."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from korvax_eqx import _checks as checks
from korvax_eqx._compile import compiled
from korvax_eqx._core._plain import as_scale, as_spectral_loss
from korvax_eqx._core._steps import AbstractScale, applied
from korvax_eqx._data import Spectra
from korvax_eqx._engine._alone import inverse_of, spectra_of
from korvax_eqx._engine._devices import keep_rows
from korvax_eqx._engine._plan import path_of
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._platform import compiling_here
from korvax_eqx._repr import constructor_call
from korvax_eqx._scales._identity import Identity
from korvax_eqx._static import Fixed
from korvax_eqx._transforms._inverse import (
    check_invertible,
    check_length,
    check_spectra,
)
from korvax_eqx._transforms._stft import STFT

from ._arguments import AbstractOutermost, SpectralLoss, part

_OWNER = "ConsistencyLoss"


class ConsistencyLoss(AbstractOutermost):
    r"""STFT consistency $L(S, \mathrm{STFT}(\mathrm{STFT}^{-1}(S)))$ of spectra.

    Most arrays of complex numbers are the spectra of no signal: frames overlap and must
    agree. The loss asks a network that predicts spectra for those of a signal. There is
    no target: `loss(S)`. Both sides are differentiated.

    See Le Roux, Ono, Sagayama (2008), "Explicit consistency constraints for STFT
    spectrograms and their application to phase reconstruction", SAPA. With the scale
    `PowerCompression(0.3)` it is the consistency term of MP-SENet (yxlu-0102/MP-SENet
    at 89932cf, `train.py`), without the 1e-9 that is added to powers there.
    `PredictionLoss` combines it with losses that have a target.
    """

    transform_fn: STFT
    loss_fn: Any
    scale_fn: Any
    called_with: ClassVar[str] = "spectra alone"  # pyright: ignore
    remedy: ClassVar[str] = (  # pyright: ignore
        "Use `PredictionLoss(..., consistency=...)`."
    )

    def __init__(
        self,
        transform_fn: STFT,
        loss_fn: Callable[..., Any] | None = None,
        scale_fn: Callable[..., Any] | None = None,
    ) -> None:
        """**Arguments:**

        - `transform_fn`: the `STFT` that the spectra are of.
        - `loss_fn`: a loss on spectra, a mean over signals. `None`:
            `ElementwiseLoss("L2")`.
        - `scale_fn`: a scale that both sides take, e.g. `Magnitude(0.3)`. `None`: none.

        **Raises:** `ValueError` for anything else.
        """
        if not isinstance(transform_fn, STFT):
            checks.refuse(_OWNER, "transform_fn", "be an `STFT`", transform_fn)
        loss_fn = ElementwiseLoss("L2") if loss_fn is None else loss_fn
        scale_fn = Identity() if scale_fn is None else scale_fn
        self.transform_fn = transform_fn
        self.loss_fn = part(_OWNER, "loss_fn", loss_fn, SpectralLoss)
        self.scale_fn = part(_OWNER, "scale_fn", scale_fn, AbstractScale)
        if as_spectral_loss(self.loss_fn).is_of_batch:
            rule = "be a mean over signals"
            checks.refuse(_OWNER, "loss_fn", rule, self.loss_fn)

    def __call__(
        self, S: Complex[Array, "*channels n_bins n_frames"], length: int | None = None
    ) -> Float[Array, ""]:
        """Return the mean over the leading axes.

        **Arguments:**

        - `S`: complex spectra, of the shape that the transform returns.
        - `length`: samples of the signals that they stand for, as in `STFT.inverse`.

        **Raises:** `ValueError` for what `STFT.inverse` refuses.
        """
        with checks.owned_by(_OWNER):
            if length is not None:
                length = checks.positive_int(_OWNER, "length", length)
            check_spectra(self.transform_fn, S)
            n_samples = check_length(self.transform_fn, S.shape[-1], length)
            check_invertible(self.transform_fn, self.transform_fn.window_part[0])
        return _consistency(self, S, Fixed(n_samples))

    def __repr__(self) -> str:
        return constructor_call(self)


@compiled
def _consistency(
    loss: ConsistencyLoss,
    S: Complex[Array, "*channels n_bins n_frames"],
    length: Fixed,
) -> Float[Array, ""]:
    stft = loss.transform_fn
    S = jnp.asarray(S)
    with jax.named_scope(f"korvax_eqx.{_OWNER}"), compiling_here():
        again = spectra_of(stft, inverse_of(stft, S, length.value))
        rows = jnp.swapaxes(S, -1, -2), jnp.swapaxes(again, -1, -2)
        values = functools.partial(_values, loss)
        # A function of the user's sees the whole batch.
        parts = as_spectral_loss(loss.loss_fn), as_scale(loss.scale_fn)
        if any(p.scope == "batch" for p in parts):
            return jnp.mean(values(*rows))
        return jnp.mean(keep_rows(values, rows, 2))


def _values(loss: ConsistencyLoss, S: Array, again: Array) -> Array:
    end: Any = as_spectral_loss(loss.loss_fn)
    scale = path_of(as_scale(loss.scale_fn))
    x, y = applied(scale, Spectra(S)), applied(scale, Spectra(again))
    values = jnp.asarray(end.values(x, y))
    end.check(x, values)
    return values
