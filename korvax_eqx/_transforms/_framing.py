"""How signals are padded, and how many frames they have."""

from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from korvax_eqx import _checks as checks
from korvax_eqx._core._steps import Count
from korvax_eqx._numerics._padding import least_to_reflect

Padding = Literal["torch", "same", "end"] | tuple[int, int] | None

_NAMES = ("torch", "same", "end")


def check_padding(owner: str, padding: Any) -> Padding:
    """Check the argument `padding`; return it with lists as tuples."""
    if padding is None or (isinstance(padding, str) and padding in _NAMES):
        return padding
    is_pair = isinstance(padding, tuple | list) and len(padding) == 2
    if not is_pair or not all(map(_is_count, padding)):
        rule = "be 'torch', 'same', 'end', None or two non-negative integers"
        checks.refuse(owner, "padding", rule, padding)
    left, right = padding
    return int(left), int(right)


def _is_count(value: Any) -> bool:
    is_int = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return is_int and bool(value >= 0)


def pad_widths(
    owner: str,
    center: bool,
    padding: Padding,
    n_fft: int,
    hop_length: int,
    win_length: int,
) -> tuple[int, int]:
    """Return how many samples are padded on the left and on the right.

    **Raises:** `ValueError` for `"same"` and frames shorter than a hop.
    """
    if padding is None:
        return (n_fft // 2, n_fft - n_fft // 2) if center else (0, 0)
    if padding == "torch":
        return n_fft // 2, n_fft // 2
    if padding == "same":
        if n_fft < hop_length:
            rule = f"be another than 'same' for n_fft = {n_fft} < hop_length"
            remedy = f"Make the hop of {hop_length} samples shorter."
            checks.refuse(owner, "padding", rule, padding, remedy)
        return (n_fft - hop_length) // 2, (n_fft - hop_length) // 2
    if padding == "end":
        # So that the window, centred in the frame, begins at sample t H, and that
        # there is a frame for every t with t H < n_samples.
        left = (n_fft - win_length) // 2
        return left, n_fft - 1 - left
    left, right = padding
    return left, right


def count_frames(
    n_samples: Count,
    n_fft: int,
    hop_length: int,
    widths: tuple[int, int],
    pad_mode: str,
    extra_padding: bool,
) -> Count:
    """Return the number of frames of padded signals.

    It is 0 for signals too short for a frame, or for their padding.
    """
    spare = n_samples + (sum(widths) - n_fft)
    if extra_padding:
        count, least = 1 - (-spare) // hop_length, 1  # rounded up
    else:
        count, least = 1 + spare // hop_length, 0
    if isinstance(count, int):
        count = max(least, count)
    else:
        count = jnp.maximum(least, count)
    return zero_below(least_to_reflect(*widths, pad_mode), n_samples, count)


def zero_below(least: int, n_samples: Count, count: Count) -> Count:
    """Return `count`, but 0 for signals of fewer than `least` samples."""
    if least == 0:
        return count
    if isinstance(n_samples, int):
        return 0 if n_samples < least else count
    return jnp.where(n_samples < least, 0, count)
