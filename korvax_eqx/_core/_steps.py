"""Steps of a path: signal maps, transforms and scales."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from korvax_eqx import _checks as checks
from korvax_eqx._axes import Axes
from korvax_eqx._compile import compiled
from korvax_eqx._data import Framing, Signals, Spectra
from korvax_eqx._data._scope import SCOPES, Scope
from korvax_eqx._engine._alone import signals_of, spectra_of
from korvax_eqx._engine._plan import path_of
from korvax_eqx._engine._walk import step_on
from korvax_eqx._names import name_of
from korvax_eqx._platform import compiling_here
from korvax_eqx._repr import constructor_call

Count: TypeAlias = int | Int[Array, "*rows"]


class AbstractStep(eqx.Module):
    """A step on the path from signals to a loss.

    `scope` declares the most that one number of the output depends on: `"value"`, the
    same number of the input; `"frame"`, one frame; `"signal"` (default), one signal;
    `"channels"`, all signals along the axis before the samples; `"batch"`, everything.
    Pieces, segments of long signals, devices, padded batches and `jax.vmap` rely on it:
    if it is too narrow, results are wrong. Test yours with `check_scope`.
    """

    scope: ClassVar[Scope] = "signal"
    base_name: ClassVar[str] = "AbstractStep"
    makes_signals: eqx.AbstractClassVar[bool]
    takes_spectra: eqx.AbstractClassVar[bool]

    @abstractmethod
    def apply(self, data: Any) -> Any:
        """Apply the step to `Signals` or `Spectra`; return one of these."""

    @property
    def path(self) -> tuple["AbstractStep", ...]:
        """The steps that this one consists of, which losses can share; by default the
        step itself. It counts as one step where a subclass changes `apply`."""
        return (self,)

    def framing(self) -> Framing | None:
        """Return where the frames lie, if each depends only on its own samples.

        Long signals can then be cut into segments. `None`: unknown.
        """
        return None

    @abstractmethod
    def check(self, data: Any, out: Any) -> None:
        """Check what `apply` of a user's class returned."""

    def __repr__(self) -> str:
        return constructor_call(self)


class AbstractSignalMap(AbstractStep):
    """Signals to signals, before a transform or a loss.

    A class defines `apply`, from `Signals` to `Signals` with the same leading axes.
    More axes may follow them, e.g. one of sub-bands. A map that combines channels (the
    axis before the samples) sets `scope = "channels"` and may change their number. A
    map that changes the length defines `samples_left`.
    """

    base_name: ClassVar[str] = "AbstractSignalMap"
    makes_signals: ClassVar[bool] = True  # pyright: ignore
    takes_spectra: ClassVar[bool] = False  # pyright: ignore

    @abstractmethod
    def apply(self, data: Signals) -> Signals:
        """Return the mapped signals, zero beyond their ends."""

    def samples_left(self, n_samples: Count) -> Count:
        """Return the lengths of signals after the map; by default unchanged."""
        return n_samples

    def __call__(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Float[Array, "*channels_out n_samples_out"]:
        """Map every signal of `x`.

        **Raises:** `ValueError` if `x` is not a signal, or not what the class expects.
        """
        checks.signal_type(type(self).__name__, "x", x)
        return _mapped(self, x)

    def check(self, data: Signals, out: Any) -> None:
        shape, own = data.x.shape, _shape_of(out)
        n_kept = len(shape) - (2 if self.scope in ("channels", "batch") else 1)
        is_right = isinstance(out, Signals) and len(own) >= len(shape)
        if not is_right or own[:n_kept] != shape[:n_kept]:
            raise ValueError(
                f"The signal map `{name_of(self)}` must return `Signals` with the "
                f"leading axes that it was given, {shape[:-1]}; axes may follow them. "
                f"Got {_described(out, own)}. A map that mixes channels declares "
                '`scope = "channels"`.'
            )
        left = self.samples_left(shape[-1])
        if self.scope != "batch" and own[-1] != left:
            raise ValueError(
                f"The signal map `{name_of(self)}` must return signals of as many "
                f"samples as its `samples_left` says, {left} for {shape[-1]}. Got "
                f"{own[-1]}. A map that changes the length defines `samples_left`, "
                "from lengths before to lengths after."
            )


@compiled
def _mapped(step: AbstractSignalMap, x: Array) -> Array:
    name = type(step).__name__
    with jax.named_scope(f"korvax_eqx.{name}"):
        x = checks.signal(name, "x", x)
        return signals_of(step, x)


class AbstractTransform(AbstractStep):
    """Signals to spectra.

    A class defines `apply`, from `Signals` to `Spectra`. For padded signals it returns
    the number of valid frames of each: `Spectra(S, n_frames)`.
    """

    base_name: ClassVar[str] = "AbstractTransform"
    makes_signals: ClassVar[bool] = False  # pyright: ignore
    takes_spectra: ClassVar[bool] = False  # pyright: ignore

    @abstractmethod
    def apply(self, data: Signals) -> Spectra:
        """Return the spectra of the signals, bins along the last axis."""

    def __call__(
        self, x: Float[Array, "*channels n_samples"]
    ) -> Inexact[Array, "*channels n_bins n_frames"]:
        """Transform each signal of `x`.

        **Raises:** `ValueError` if the signal is not real floating point, or is too
        short for one frame and frames are not centred.
        """
        checks.signal_type(type(self).__name__, "x", x)
        return _transformed(self, x)

    def frames_of(
        self, x: Float[Array, "*rows n_samples"], n_samples: Int[Array, "*rows"]
    ) -> Int[Array, "*rows"]:
        """Return the number of frames of signals of these lengths."""
        if isinstance(self, AbstractFramesTransform):
            return jnp.asarray(self.n_frames(n_samples))
        data = Signals(jnp.zeros_like(x), n_samples)
        out = self.apply(data)
        self.check(data, out)
        assert out.n_frames is not None  # the check has raised
        return out.n_frames

    def check(self, data: Signals, out: Any) -> None:
        lead, shape = data.x.shape[:-1], _shape_of(out)
        is_right = isinstance(out, Spectra) and len(shape) == len(lead) + 2
        if not is_right or shape[:-2] != lead:
            raise ValueError(
                f"The transform `{name_of(self)}` must return spectra of shape "
                "(*channels, n_bins, n_frames), with the leading axes of the signals: "
                f"{lead}. Got {_described(out, shape)} for signals of shape "
                f"{data.x.shape}."
            )
        if data.n_samples is not None and out.n_frames is None:
            raise ValueError(
                f"With `lengths`, the transform `{name_of(self)}` must say how many "
                "frames of each signal are valid. Return `Spectra(S, n_frames)`, with "
                "`n_frames` computed from `data.n_samples`."
            )


@compiled
def _transformed(step: AbstractTransform, x: Array) -> Array:
    name = type(step).__name__
    with jax.named_scope(f"korvax_eqx.{name}"):
        x = checks.signal(name, "x", x)
        return spectra_of(step, x)


class AbstractFramesTransform(AbstractTransform):
    """A transform that knows where its frames and bins lie, like all of the
    library's."""

    @property
    @abstractmethod
    def axes(self) -> Axes:
        """Positions of bins and frames, for plots."""

    @abstractmethod
    def n_frames(self, n_samples: Count) -> Count:
        """Return the number of frames of signals of `n_samples` samples."""


class AbstractScale(AbstractStep):
    """Spectra to spectra: a change of magnitude, of bins, of frames.

    A class defines `apply`, from `Spectra` to `Spectra`. `data.map(fn)` keeps the
    number of valid frames.
    """

    base_name: ClassVar[str] = "AbstractScale"
    makes_signals: ClassVar[bool] = False  # pyright: ignore
    takes_spectra: ClassVar[bool] = True  # pyright: ignore

    @abstractmethod
    def apply(self, data: Spectra) -> Spectra:
        """Return the scaled spectra, bins along the last axis."""

    def __call__(
        self, S: Inexact[Array, "*channels n_bins n_frames"]
    ) -> Inexact[Array, "*channels n_bins_out n_frames_out"]:
        """Scale each spectrum of `S`.

        **Raises:** `ValueError` if `S` is not a spectrum with the expected number of
        bins.
        """
        checks.spectrum_type(type(self).__name__, S)
        return _scaled(self, S)

    def frames_left(self, n_frames: Int[Array, "*rows"]) -> Int[Array, "*rows"]:
        """Return the number of frames after the scale; by default the same."""
        return n_frames

    def check(self, data: Spectra, out: Any) -> None:
        S, shape = data.S, _shape_of(out)
        is_right = isinstance(out, Spectra) and len(shape) == S.ndim
        if not is_right or shape[:-2] != S.shape[:-2]:
            raise ValueError(
                f"The scale `{name_of(self)}` must return spectra of shape (*channels, "
                "n_bins_out, n_frames), with the leading axes that it was given: "
                f"{S.shape[:-2]}. Got {_described(out, shape)} for spectra of shape "
                f"{checks.public_shape(S)}."
            )
        if data.n_frames is not None and out.n_frames is None:
            raise ValueError(
                f"With `lengths`, the scale `{name_of(self)}` must say how many frames "
                "of each spectrum are valid. Return `data.map(...)`, or "
                "`Spectra(S, n_frames)`."
            )


@compiled
def _scaled(step: AbstractScale, S: Any) -> Any:
    name = type(step).__name__
    with jax.named_scope(f"korvax_eqx.{name}"), compiling_here():
        if jnp.ndim(S) < 2:
            with checks.owned_by(name):
                return applied(path_of(step), Spectra(S)).S
        out = applied(path_of(step), Spectra(jnp.swapaxes(S, -1, -2)))
        return jnp.swapaxes(out.S, -1, -2)


def applied(path: Sequence[AbstractStep], data: Any) -> Any:
    """Apply several steps, one after another."""
    for step in path:
        data = step_on(step, data)
    return data


def widest(path: Sequence[AbstractStep]) -> Scope:
    """Return the widest scope of several steps."""
    place = max((SCOPES.index(step.scope) for step in path), default=0)
    return SCOPES[place]


def _shape_of(out: Any) -> tuple[int, ...]:
    """Return the shape of the result of a step, after checking its type."""
    if isinstance(out, Signals):
        return jnp.shape(out.x)
    return jnp.shape(out.S) if isinstance(out, Spectra) else ()


def _described(out: Any, shape: tuple[int, ...]) -> str:
    if isinstance(out, Spectra):
        return f"the shape {(*shape[:-2], *shape[-2:][::-1])}"
    return f"the shape {shape}" if isinstance(out, Signals) else checks.describe(out)
