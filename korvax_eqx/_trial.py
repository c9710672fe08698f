"""Finding out by trial what a part of the user's does with frames beyond the end.

The parts of the library say it by the base that they derive from. Of another part the
evaluation must know, for signals of unequal lengths, that the frames of a padded
signal are those of the signal itself (a transform), that frames are treated one by one
(a scale), and that the value is a mean over frames (a loss). It is tried on noise, with
the part as it is or, under a transformation, with parameters of ones.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from korvax_eqx._tree import take_arrays

_TOLERANCE = 1e-3
_N_FRAMES = 3


def check_scale(scale: Any, S: Array) -> None:
    """Check that a scale treats frames one by one.

    **Raises:** `ValueError` if it does not.
    """
    with jax.ensure_compile_time_eval():
        noise = _noise((1, S.shape[-2], _N_FRAMES), S.dtype)
        scale = _concrete(scale)
        whole = np.asarray(scale(noise))
        parts = [np.asarray(scale(noise[..., i : i + 1])) for i in range(_N_FRAMES)]
    _refuse_unless(
        _is_close(whole, np.concatenate(parts, axis=-1)),
        scale,
        "a scale of one frame at a time",
        "derive it from `AbstractFramesScale`, which is told how many frames are valid",
    )


def check_loss(loss: Any, S: Array) -> None:
    """Check that a loss on spectra, here with bins last, is a mean over frames.

    **Raises:** `ValueError` if it is not.
    """
    with jax.ensure_compile_time_eval():
        S_x = _noise((S.shape[-1], _N_FRAMES), S.dtype)
        S_y = _noise((S.shape[-1], _N_FRAMES), S.dtype, seed=1)
        loss = _concrete(loss)
        whole = np.asarray(loss(S_x, S_y))
        frames = [slice(i, i + 1) for i in range(_N_FRAMES)]
        parts = [np.asarray(loss(S_x[:, i], S_y[:, i])) for i in frames]
    _refuse_unless(
        _is_close(whole, np.mean(parts, axis=0)),
        loss,
        "a mean over frames",
        "derive it from `AbstractFramesLoss`, which is told how many frames are valid",
    )


def frame_counts(transform: Any, n_samples: int, dtype: Any) -> np.ndarray:
    """Return the number of frames of signals of each length up to `n_samples`.

    **Raises:** `ValueError` if the frames of a signal followed by zeros are not those
    of the signal.
    """
    counts = _counts(transform, n_samples)
    lengths = [n for n in (n_samples // 2 + 1, (3 * n_samples) // 4) if counts[n] > 0]
    is_right = bool(lengths)
    with jax.ensure_compile_time_eval():
        noise = _noise((1, n_samples), dtype)
        concrete = _concrete(transform)
        for n in lengths:
            alone = np.asarray(concrete(noise[:, :n]))
            padded = np.asarray(concrete(noise.at[:, n:].set(0)))[..., : counts[n]]
            is_right = is_right and _is_close(padded, alone)
    _refuse_unless(
        is_right,
        transform,
        "a transform of the signal and the zeros that follow it",
        "derive it from `AbstractFramesTransform`, which is told where signals end",
    )
    return counts


def _counts(transform: Any, n_samples: int) -> np.ndarray:
    """The numbers of frames are steps of one width: find the last two, and check."""

    def count(n: int) -> int:
        try:
            x = jax.ShapeDtypeStruct((1, n), jnp.float32)
            return jax.eval_shape(transform, x).shape[-1]
        except Exception:
            return 0  # too short for it

    def start(n: int) -> int:
        """The shortest length with as many frames as `n` samples."""
        low, high, wanted = 0, n, count(n)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if count(middle) == wanted else (middle, high)
        return high

    last = start(n_samples)
    hop = last - start(last - 1) if last > 1 else n_samples
    lengths = np.arange(n_samples + 1)
    counts = np.maximum(0, count(n_samples) + (lengths - last) // max(1, hop))
    tried = np.unique(np.linspace(1, n_samples, 12).astype(int))
    counts[0] = 0
    for n in tried:
        if count(int(n)) != counts[n]:
            counts[: n + 1] = 0
    return counts


def _noise(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Array:
    # Positive, as the spectra of a loss mostly are.
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.1, 1.0, shape)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        noise = noise + 1j * rng.uniform(0.1, 1.0, shape)
    return jnp.asarray(noise, dtype)


def _concrete(part: Any) -> Any:
    skeleton, arrays = take_arrays(part)
    is_traced = any(isinstance(array, Tracer) for array in arrays)
    if is_traced:
        arrays = tuple(jnp.ones(array.shape, array.dtype) for array in arrays)
    return skeleton.filled(arrays)


def _is_close(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.allclose(
        a, b, rtol=_TOLERANCE, atol=_TOLERANCE * np.max(np.abs(b), initial=0.0)
    )


def _refuse_unless(is_right: bool, part: Any, what: str, remedy: str) -> None:
    if not is_right:
        name = type(part).__name__
        raise ValueError(
            f"`lengths` cannot be combined with `{name}`, which is not {what}: "
            f"{remedy}."
        )
