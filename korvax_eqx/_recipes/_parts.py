"""Helpers that several recipes share."""

from collections.abc import Sequence
from typing import Any

from korvax_eqx import _checks as checks
from korvax_eqx._composites._mapped import MappedLoss
from korvax_eqx._composites._multi_resolution import MultiResolutionLoss
from korvax_eqx._data._term import is_off
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._losses._spectral_convergence import BatchSpectralConvergenceLoss
from korvax_eqx._maps._gradient_scale import GradientScale
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._log import Log
from korvax_eqx._static import items_of
from korvax_eqx._transforms._spectrogram import Spectrogram

FFT_SIZES = (1024, 2048, 512)
HOP_SIZES = (120, 240, 50)
WIN_LENGTHS = (600, 1200, 240)

# torch's windows and their defaults, with SciPy's names.
_TORCH_WINDOWS: dict[str, Any] = {
    "bartlett_window": "bartlett",
    "blackman_window": "blackman",
    "hamming_window": "hamming",
    "hann_window": "hann",
    "kaiser_window": ("kaiser", 12.0),
}

Term = tuple[str, Any, Any, Any]


def window_of(window: Any) -> Any:
    """Return SciPy's name for a torch window such as `"hann_window"`."""
    return _TORCH_WINDOWS.get(window, window) if isinstance(window, str) else window


def sizes_of(owner: str, **sizes: Any) -> list[tuple[int, ...]]:
    """Check sequences of positive integers, one entry for each resolution.

    **Returns:** their entries, resolution by resolution.
    """
    columns = [checks.positive_ints(owner, name, v) for name, v in sizes.items()]
    same_length(owner, **dict(zip(sizes, columns, strict=True)))
    return list(zip(*columns, strict=True))


def same_length(owner: str, **columns: Sequence[Any]) -> None:
    """Raise `ValueError` if the sequences differ in length."""
    (first, expected), *others = ((name, len(v)) for name, v in columns.items())
    for name, count in others:
        if count != expected:
            rule = f"have one entry for each of the {expected} `{first}`"
            checks.refuse(owner, name, rule, tuple(columns[name]))


def numbers_of(owner: str, argument: str, value: Any) -> tuple[Any, ...]:
    """Return the entries of a sequence, which are checked later."""
    items = items_of(value)
    if not items:
        checks.refuse(owner, argument, "be a non-empty sequence", value)
    return tuple(items)


def weight_of(owner: str, argument: str, value: Any) -> Any:
    """Check a weight: a number, or a JAX scalar, which is a leaf."""
    return checks.number_or_leaf(owner, argument, value)


def active(terms: Sequence[Term]) -> list[Term]:
    """Return the terms (name, loss, scale, weight) that are computed.

    If all weights are 0, return one of them: a loss needs a term.
    """
    return [term for term in terms if not is_off(term[-1])] or [terms[0]]


def columns_of(terms: Sequence[Term]) -> dict[str, Any]:
    """Return terms as the arguments of a `TimeFrequencyLoss`."""
    names, losses, scales, weights = zip(*active(terms), strict=True)
    return {
        "loss_fn": losses,
        "scale_fn": scales,
        "weights": weights,
        "names": names,
    }


def magnitudes(
    n_fft: int,
    hop_length: int,
    win_length: int,
    window: Any,
    **options: Any,
) -> Spectrogram:
    """Return the magnitudes of `torch.stft`: centred, padded by reflection."""
    return Spectrogram(
        n_fft,
        hop_length,
        win_length,
        window_of(window),
        power=1.0,
        pad_mode="reflect",
        padding="torch",
        **options,
    )


def convergence_and_log(
    sizes: Sequence[tuple[int, ...]],
    window: Any,
    w_sc: Any,
    w_log: Any,
    *,
    eps: float | None = None,
    **options: Any,
) -> MultiResolutionLoss:
    """Return the mean over resolutions of convergence and log-magnitude distance.

    `eps` is added to the denominator and to the magnitudes. `None`: to neither, because
    the magnitudes have a floor.
    """
    log = Log(floor_mode="replace") if eps is None else Log(eps=eps)
    convergence = BatchSpectralConvergenceLoss(0.0 if eps is None else eps)
    transforms = [
        magnitudes(n_fft, hop_length, win_length, window, **options)
        for n_fft, hop_length, win_length in sizes
    ]
    terms = [
        ("sc", convergence, Identity(), w_sc),
        ("log", ElementwiseLoss(), log, w_log),
    ]
    return MultiResolutionLoss(transforms, **columns_of(terms))


def with_gradient_scale(owner: str, scale: Any, loss: Any) -> Any:
    """Return the loss with its gradient multiplied by the argument `grad_scale`."""
    scale = checks.positive(owner, "grad_scale", scale)
    return loss if scale == 1 else MappedLoss(GradientScale(scale), loss)
