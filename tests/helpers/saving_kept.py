"""Objects whose files and configs are kept in `data/kept`, and what they compute.

The files were written once, by version 0.1.0, and every later version loads them. New
classes and kinds of arguments get entries of their own. Their files are written by
`python tests/helpers/saving_kept.py`, which does not change existing files.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from saving_cases import Bands, Tilt, triangle
from saving_kept_later import PARTS, RECIPES

import korvax_eqx as ke

FOLDER = Path(__file__).parents[1] / "data" / "kept"
SR = 8000
FRAMES: dict[str, Any] = {"n_fft": 64, "hop_length": 20}


def window(n: int = 64) -> Any:
    return jnp.asarray(triangle(n).astype(np.float32))


def ramp(n: int) -> Any:
    return jnp.asarray(np.arange(n, dtype=np.float32) / n)


def basis(n_mels: int = 8) -> np.ndarray:
    return (np.arange(n_mels * 33) % 37 / 64).reshape(n_mels, 33).astype(np.float32)


def trained_bands() -> Bands:
    """A scale whose constructor makes its parameters, which were changed later."""
    made = Bands(33)
    object.__setattr__(made, "weights", 1 + ramp(33))
    return made


def many() -> ke.TimeFrequencyLoss:
    """Alternating learnable arguments, and parameters that are not arguments."""
    return ke.TimeFrequencyLoss(
        ke.Spectrogram(**FRAMES, window=window()),
        [ke.ElementwiseLoss(), ke.SpectralOptimalTransportLoss(ramp(33))],
        [
            ke.Chain((trained_bands(), ke.Log(jnp.array(2.0)), Bands(33))),
            Tilt(jnp.array(2.0), 0.5),
        ],
        weights=jnp.array([0.75, 0.25]),
    )


KEPT: dict[str, tuple[Callable[[], Any], float]] = {
    "STFT": (lambda: ke.STFT(**FRAMES), 1.350913),
    "STFT-learnable": (lambda: ke.STFT(window=window(), n_fft=64), 0.6397978),
    "STFT-numpy": (lambda: ke.STFT(64, window=triangle(64), center=False), 0.6385121),
    "STFT-tuple": (
        lambda: ke.STFT(64, window=("tukey", 0.25), pad_mode="edge"),
        2.093435,
    ),
    "STFT-number": (lambda: ke.STFT(64, window=8.0), 1.303996),
    "Spectrogram": (lambda: ke.Spectrogram(**FRAMES), 12.05752),
    "Spectrogram-learnable": (
        lambda: ke.Spectrogram(64, 16, 48, window(48), True, 1, "reflect"),
        0.6238446,
    ),
    "Spectrogram-complex": (lambda: ke.Spectrogram(**FRAMES, power=None), 1.350913),
    "MelSpectrogram": (lambda: ke.MelSpectrogram(SR, 64, n_mels=8), 0.1879064),
    "MelSpectrogram-learnable": (
        lambda: ke.MelSpectrogram(
            SR, 64, 8, window=window(), basis=jnp.asarray(basis())
        ),
        29.54415,
    ),
    "MelSpectrogram-mixed": (
        lambda: ke.MelSpectrogram(
            SR, 64, 8, 50.0, 3500, window=window(), basis=basis(), htk=True, norm=1.5
        ),
        29.54415,
    ),
    "MFCC": (lambda: ke.MFCC(SR, 64, n_mfcc=5, n_mels=8), 22.7943),
    "MFCC-learnable": (
        lambda: ke.MFCC(
            SR,
            64,
            5,
            None,
            "log",
            2.0,
            n_mels=8,
            window=window(),
            basis=jnp.asarray(basis()),
        ),
        22.75781,
    ),
    "CQT": (lambda: ke.CQT(SR, fmin=500.0, n_bins=24, hop_length=100), 0.07351795),
    "CQT-window": (
        lambda: ke.CQT(SR, 100, 500.0, 3000.0, window=("kaiser", 4), power=1),
        0.1032101,
    ),
    "VQT": (lambda: ke.VQT(SR, 100, fmin=500.0, n_bins=24, gamma=20.0), 0.08103487),
    "VQT-complex": (
        lambda: ke.VQT(
            SR, 100, 500, n_bins=9, power=None, norm_kernels=np.inf, window=8.0
        ),
        6.143681,
    ),
    "Identity": (lambda: ke.Identity(), 12.05752),
    "Log": (lambda: ke.Log(2.0, 1e-5), 3.141053),
    "Log-integers": (lambda: ke.Log(2, 1), 0.8173986),
    "Log-learnable": (lambda: ke.Log(jnp.array(2.0), jnp.float32(0.5)), 1.122625),
    "AmplitudeToDB": (lambda: ke.AmplitudeToDB(2.0, top_db=None), 34.65483),
    "AmplitudeToDB-learnable": (lambda: ke.AmplitudeToDB(jnp.array(0.5)), 22.16339),
    "PowerToDB": (lambda: ke.PowerToDB(1, 1e-6, 60), 15.24824),
    "PowerToDB-learnable": (lambda: ke.PowerToDB(jnp.float32(0.5)), 13.65315),
    "MelScale": (lambda: ke.MelScale(SR, 64, n_mels=8, norm=np.inf), 52.78614),
    "MelScale-numpy": (lambda: ke.MelScale(SR, 64, 8, basis=basis()), 125.6211),
    "MelScale-learnable": (
        lambda: ke.MelScale(SR, 64, 8, basis=jnp.asarray(basis())),
        125.6211,
    ),
    "AWeighting": (lambda: ke.AWeighting(sr=SR, n_fft=64), 15.25769),
    "AWeighting-tuple": (
        lambda: ke.AWeighting([40.0 * i for i in range(1, 34)]),
        13.69776,
    ),
    "AWeighting-learnable": (
        lambda: ke.AWeighting(3000 * ramp(33) + 50, None),
        13.62568,
    ),
    "BWeighting": (lambda: ke.BWeighting(sr=SR, n_fft=64), 14.63017),
    "BWeighting-learnable": (lambda: ke.BWeighting(3000 * ramp(33) + 50), 12.43625),
    "CWeighting": (lambda: ke.CWeighting(sr=SR, n_fft=64, min_db=-60), 14.01887),
    "CWeighting-numpy": (lambda: ke.CWeighting(np.arange(1.0, 34.0) * 100), 12.15718),
    "DWeighting": (lambda: ke.DWeighting(sr=SR, n_fft=64), 20.9508),
    "DWeighting-learnable": (lambda: ke.DWeighting(3000 * ramp(33) + 50), 17.2298),
    "Chain": (lambda: ke.Chain((ke.MelScale(SR, 64, 8), ke.Log())), 4.749084),
    "Chain-learnable": (
        lambda: ke.Chain(
            (ke.MelScale(SR, 64, 8, basis=jnp.asarray(basis())), ke.Log(jnp.array(2.0)))
        ),
        5.367677,
    ),
    "Chain-custom": (
        lambda: ke.Chain((ke.Log(jnp.array(2.0)), trained_bands(), ke.Identity())),
        4.63066,
    ),
    "ElementwiseLoss": (lambda: ke.ElementwiseLoss("L2"), 5.613274),
    "SpectralConvergenceLoss": (lambda: ke.SpectralConvergenceLoss(), 0.05098809),
    "SpectralOptimalTransportLoss": (
        lambda: ke.SpectralOptimalTransportLoss(p=1),
        0.01315983,
    ),
    "SpectralOptimalTransportLoss-tuple": (
        lambda: ke.SpectralOptimalTransportLoss(
            [2 * i for i in range(33)], 1.5, False, False, True
        ),
        0.09269889,
    ),
    "SpectralOptimalTransportLoss-learnable": (
        lambda: ke.SpectralOptimalTransportLoss(ramp(33), 2.0),
        0.002504526,
    ),
    "TimeFrequencyLoss": (
        lambda: ke.TimeFrequencyLoss(
            ke.Spectrogram(**FRAMES),
            [ke.ElementwiseLoss(), ke.SpectralConvergenceLoss()],
            [ke.Log(), ke.Identity()],
            weights=[1, 0.5],
            piece_size=3,
        ),
        0.7058818,
    ),
    "TimeFrequencyLoss-default": (
        lambda: ke.TimeFrequencyLoss(ke.Spectrogram(**FRAMES), ke.ElementwiseLoss()),
        0.7514867,
    ),
    "TimeFrequencyLoss-learnable": (
        lambda: ke.TimeFrequencyLoss(
            ke.MelSpectrogram(SR, 64, 8, window=window(), basis=jnp.asarray(basis())),
            [ke.ElementwiseLoss(), ke.SpectralOptimalTransportLoss(ramp(8))],
            [ke.Log(jnp.array(2.0)), ke.Identity()],
            weights=jnp.array([0.75, 0.25]),
        ),
        0.05076858,
    ),
    "TimeFrequencyLoss-many": (many, 0.4961759),
    "MRSTFTLoss": (lambda: ke.MRSTFTLoss((16, 32), (64, 128)), 0.5437032),
    "MRSTFTLoss-tuple": (
        lambda: ke.MRSTFTLoss((16, 32), (64, 128), window=("kaiser", 8.0), w_sc=0.5),
        0.5999001,
    ),
    "MRSTFTLoss-windows": (
        lambda: ke.MRSTFTLoss(
            (16, 16, 16, 16, 16),
            (64,) * 5,
            window=["hann", ("tukey", 0.25), 8.0, triangle(64), window()],
            piece_size=None,
        ),
        0.4830533,
    ),
    "MRSTFTLoss-names": (
        lambda: ke.MRSTFTLoss((16, 32), (64, 128), window=["hann", "hamming"]),
        0.5269254,
    ),
    "MRSTFTLoss-learnable": (
        lambda: ke.MRSTFTLoss(
            (16, 32),
            (64, 48),
            (64, 64),
            [window(), window(48)],
            jnp.array(0.5),
            jnp.float32(2.0),
            "L2",
            log_fac=jnp.array(3.0),
            log_eps=jnp.array(1e-3),
            w_sc=jnp.array(0.25),
            center=False,
        ),
        0.6807924,
    ),
    "SmoothMRSTFTLoss": (lambda: ke.SmoothMRSTFTLoss(piece_size=2), 0.01383145),
    "PitchTransportLoss": (lambda: ke.PitchTransportLoss(128, 32), 0.01331555),
    "PitchTransportLoss-window": (
        lambda: ke.PitchTransportLoss(128, 32, ("tukey", 0.25), 1.5, piece_size=None),
        0.005604597,
    ),
    **PARTS,
    **{f"recipe-{name}": entry for name, entry in RECIPES.items()},
}


def value_of(name: str, part: Any) -> float:
    """Return one number for what an object computes from fixed inputs.

    Recipes are computed in float64: every FFT rounds their logarithms of small bins
    differently.
    """
    with jax.enable_x64(name.startswith("recipe-")):
        return _value(part)


def _value(part: Any) -> float:
    dtype = jnp.zeros(0).dtype
    at = np.arange(4000, dtype=np.float64)
    # Energy in every bin: logarithms of rounding errors would change with time.
    tone, noise = np.sin(2 * np.pi * 0.05 * at), (at * 7919 % 101) / 101 - 0.5
    signals = [tone + level * (noise + np.cos(at)) for level in (0.2, 0.3)]
    x, y = (jnp.asarray(s.reshape(2, 2000), dtype) for s in signals)
    transform = ke.Spectrogram(64, 20)
    of_complex = ke.PhaseLoss | ke.GOMPSNRLoss | ke.RealImaginary | ke.Magnitude
    if isinstance(part, of_complex | ke.PowerCompression):
        transform = ke.STFT(64, 20)
    if isinstance(part, ke.ConsistencyLoss | ke.PredictionLoss):
        is_own = isinstance(part, ke.ConsistencyLoss)
        S = jnp.conj((part.transform_fn if is_own else part.step_fn)(x))
        return float(part(S) if is_own else part(S, y))
    if isinstance(part, ke.MixtureInvariantLoss):
        return float(part(jnp.stack([x[0], x[1], y[0]]), y))
    if isinstance(part, ke.GradientBalancer):
        balanced, _ = part.update({"a": x, "b": y}, part.init())
        return float(jnp.mean(jnp.abs(balanced)))
    if isinstance(part, ke.PMSQELoss):
        transform = ke.Spectrogram(256, 100)
    if isinstance(part, ke.AbstractLoss):
        return float(part(x, y, key=jax.random.key(0)))
    if isinstance(part, ke.AbstractSpectralLoss | ke.AbstractBatchLoss):
        return float(part(transform(x), transform(y)))
    made = part(transform(x)) if isinstance(part, ke.AbstractScale) else part(x)
    return float(jnp.mean(jnp.abs(made)))


def main() -> None:
    """Write files and configs that do not exist yet."""
    FOLDER.mkdir(exist_ok=True)
    for name, (make, _) in KEPT.items():
        part = make()
        paths = FOLDER / f"{name}.eqx", FOLDER / f"{name}.json"
        if not paths[0].exists():
            ke.save(paths[0], part)
            print(f"{name}: {value_of(name, part)!r}")
        if not paths[1].exists() and not has_own_parameters(name):
            paths[1].write_text(json.dumps(ke.to_config(part), indent=1) + "\n")


def has_own_parameters(name: str) -> bool:
    """Whether an object has no config, as its parameters are not arguments."""
    return name in ("Chain-custom", "TimeFrequencyLoss-many")


if __name__ == "__main__":
    main()
