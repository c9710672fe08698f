"""Warnings of what is allowed but almost always a mistake."""

import contextlib
import contextvars
import sys
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from korvax_eqx._checks import named, owned_by


def warn_hop_longer_than_window(owner: str, hop_length: int, win_length: int) -> None:
    """Warn of frames that leave samples between them out."""
    if hop_length > win_length:
        _warn(
            owner,
            f"`hop_length` = {hop_length} is longer than the window, {win_length} "
            f"samples: {hop_length - win_length} samples between two frames are "
            "skipped. The order of the arguments is not that of auraloss: use "
            "keywords.",
        )


def warn_hops_longer_than_windows(
    owner: str, hop_lengths: Sequence[int], win_lengths: Sequence[int]
) -> None:
    """Warn once, of the first of several resolutions that leave samples out."""
    for hop_length, win_length in zip(hop_lengths, win_lengths, strict=True):
        if hop_length > win_length:
            warn_hop_longer_than_window(owner, hop_length, win_length)
            return


def warn_fmax_above_nyquist(owner: str, fmax: float | None, sr: float) -> None:
    """Warn of bands above the highest frequency that there is."""
    if fmax is not None and fmax > sr / 2:
        _warn(
            owner,
            f"`fmax` = {fmax:g} Hz is above half the sample rate, {sr / 2:g} Hz: there "
            "is nothing in the bands beyond. Use `fmax=None` for half the sample rate.",
        )


def warn_empty_bands(owner: str, corners: np.ndarray, sr: float, n_fft: int) -> None:
    """Warn of mel bands that no FFT bin lies in.

    **Arguments:** `corners`: the ends of the triangles, ascending, in Hz, of which
    band m uses m to m + 2; shape `(n_mels + 2,)`.
    """
    # The bin is strictly between the ends of a triangle, which is zero there.
    spacing = sr / n_fft
    first = np.floor(corners[:-2] / spacing) + 1
    last = np.minimum(np.ceil(corners[2:] / spacing) - 1, n_fft // 2)
    empty = np.flatnonzero(first > last)
    if empty.size:
        n_mels = corners.size - 2
        _warn(
            owner,
            f"{empty.size} of {n_mels} mel bands are empty, the first is band "
            f"{empty[0]}: no FFT bin lies in them, they are zero for every signal. Use "
            "a larger `n_fft` or a smaller `n_mels`.",
        )


def warn_weights_by_position(owner: str, names: Sequence[str]) -> None:
    """Warn of a config of which sorting the keys may have moved the weights."""
    _warn(
        owner,
        f"the weights are by position and the names of the losses, {', '.join(names)}, "
        "in alphabetical order: if the keys of this config were sorted, the weights "
        'belong to other losses now. Write the weights by name, {"pairs": '
        f'[["{names[0]}", ...], ...]}}, or the losses in this form.',
    )


def warn_recompiled(owner: str, times: int, before: str, after: str) -> None:
    """Warn of a schedule of a number that is part of the compiled program."""
    _warn(
        owner,
        f"it was compiled again {times} times in a row, each time for a new value of "
        f"one number, the last time {after} after {before}. Python numbers are part "
        "of the compiled program. Give a weight or parameter that changes while you "
        f"train as a JAX array, `jnp.array({after})`.",
    )


# While internal parts are made, and files are loaded, nobody has written anything.
_is_quiet: contextvars.ContextVar[bool] = contextvars.ContextVar("quiet", default=False)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Issue no warnings of configurations: the user has been warned, or is not here."""
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


@contextlib.contextmanager
def remade(owner: str, **renamed: str) -> Iterator[None]:
    """Make a part of an object that exists: `owned_by` it, and without warnings."""
    with owned_by(owner, **renamed), without_warnings():
        yield


def _warn(owner: str, message: str) -> None:
    """Warn at the line of the user's that makes the object."""
    if _is_quiet.get():
        return
    owner = named(owner)
    level, frame = 1, sys._getframe()
    while frame is not None and _is_inside(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(f"`{owner}`: {message}", stacklevel=level)


def _is_inside(module: str) -> bool:
    """Whether a module is ours, or one of those through which we are called."""
    root = module.split(".")[0]
    return root in ("korvax_eqx", "equinox", "jaxtyping", "contextlib", "jax")
