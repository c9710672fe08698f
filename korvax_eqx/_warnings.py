"""Warnings about settings that are allowed but almost always a mistake."""

import contextlib
import contextvars
import sys
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from korvax_eqx._checks import named, owned_by


def warn_hop_longer_than_window(owner: str, hop_length: int, win_length: int) -> None:
    """Warn when the hop skips samples."""
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
    """Warn once, for the first of several resolutions whose hop skips samples."""
    for hop_length, win_length in zip(hop_lengths, win_lengths, strict=True):
        if hop_length > win_length:
            warn_hop_longer_than_window(owner, hop_length, win_length)
            return


def warn_fmax_above_nyquist(owner: str, fmax: float | None, sr: float) -> None:
    """Warn of bands above the Nyquist frequency."""
    if fmax is not None and fmax > sr / 2:
        _warn(
            owner,
            f"`fmax` = {fmax:g} Hz is above half the sample rate, {sr / 2:g} Hz: the "
            "bands above that are empty. Use `fmax=None` for half the sample rate.",
        )


def warn_empty_bands(owner: str, corners: np.ndarray, sr: float, n_fft: int) -> None:
    """Warn of mel bands that contain no FFT bin.

    **Arguments:** `corners`: corner frequencies of the triangles, ascending, in Hz,
    shape `(n_mels + 2,)`. Band m extends from corner m to corner m + 2.
    """
    # A triangle is zero at both ends, so a bin must lie strictly between them.
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
    """Warn of a config whose weights are wrong if its keys were sorted."""
    _warn(
        owner,
        f"the weights are by position, and the losses, {', '.join(names)}, are in "
        "alphabetical order. If the keys of this config were sorted, the weights now "
        'belong to the wrong losses. Write the weights by name, {"pairs": '
        f'[["{names[0]}", ...], ...]}}, or write the losses in this form.',
    )


def warn_recompiled(owner: str, times: int, before: str, after: str) -> None:
    """Warn if a number that is part of the compiled program keeps changing."""
    _warn(
        owner,
        f"it was compiled again {times} times in a row, each time for a new value of "
        f"one number, the last time {after} after {before}. Python numbers are part "
        "of the compiled program. Give a weight or parameter that changes while you "
        f"train as a JAX array, `jnp.array({after})`.",
    )


# True while the library makes its own parts or loads files: the user did not write
# these settings.
_is_quiet: contextvars.ContextVar[bool] = contextvars.ContextVar("quiet", default=False)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Issue no warnings about settings that the user did not write just now."""
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


@contextlib.contextmanager
def remade(owner: str, **renamed: str) -> Iterator[None]:
    """Let errors name an existing object while its part is remade; no warnings."""
    with owned_by(owner, **renamed), without_warnings():
        yield


def _warn(owner: str, message: str) -> None:
    """Warn at the line of the user's code that makes the object."""
    if _is_quiet.get():
        return
    owner = named(owner)
    level, frame = 1, sys._getframe()
    while frame is not None and _is_inside(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(f"`{owner}`: {message}", stacklevel=level)


def _is_inside(module: str) -> bool:
    """Whether a module is ours, or of a library that may call ours."""
    root = module.split(".")[0]
    return root in ("korvax_eqx", "equinox", "jaxtyping", "contextlib", "jax")
