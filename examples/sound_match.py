"""Match the sound of a recording by gradient descent.

A synthesiser (harmonics and filtered noise, an Equinox module in `_synth.py`) is
fitted to one recording with optax and losses from `korvax_eqx`.

    python examples/sound_match.py                         # a sung phrase
    python examples/sound_match.py speech.wav
    python examples/sound_match.py cello.ogg --loss sot+mrstft --steps 3000

With no file it makes its own recording, a sung phrase. In about 35 seconds of CPU time
the log-spectral distance to it falls from 16.5 to 4.0 dB and the pitch error from 4.3
to 0.4 cents. Speech comes to 4 dB, a cello to 5, a trumpet, a violin or a piano to 7;
two takes of the same noise differ by 7.9. `sot+mrstft` is as close, and its levels are
a little closer. `sot` alone is coarse, 10 dB and 13 cents: transport sees where the
energy is, not every harmonic.

Gradient descent finds the amplitudes of all harmonics and noise bands over time,
starting from small and equal ones, the phases of the harmonics, and the last few cents
of the pitch curve. A pitch tracker in NumPy gives it that curve to within about 0.1
semitones.

It writes `target.wav`, `before.wav`, `after.wav`, `sound_match.png` and
`sound_match_difference.png` to `--out`. It prints the loss of the files that it wrote,
the terms of the loss, and measures that were not fitted, before and after the fit.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import _pictures
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import soundfile
import soxr
from _arguments import duration, folder, whole
from _synth import KNOT, SR, Synth, initial_synth
from _voice import sung_phrase
from jaxtyping import Array, Float
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

import korvax_eqx as ke
from korvax_eqx import plot

Terms = dict[str, Any]

# --- The target -----------------------------------------------------------------------


class Target(NamedTuple):
    """What to match: a signal of peak 0.7, padded to a multiple of `KNOT`."""

    name: str
    steps: str  # what was done to the recording
    x: Float[np.ndarray, " n_samples"]
    length: int  # samples, without the padding
    gain: float  # from `x` back to the level of the recording
    f0: Float[np.ndarray, " n_samples"] | None  # Hz, if it is known


def load_target(path: str | None, seconds: float) -> Target:
    """Read a recording, or sing the example's own phrase if `path` is `None`."""
    f0, steps = None, []
    if path is None:
        x, f0 = sung_phrase()
    else:
        x, steps = read_sound(path)
    length = round(seconds * SR)
    if length < len(x):
        steps.append(f"cut to the first {seconds:g} s of {len(x) / SR:.3g} s")
        x, f0 = x[:length], None if f0 is None else f0[:length]
        x[-KNOT:] *= np.linspace(1, 0, KNOT)  # no click at the cut
    if len(x) < SR // 10:
        sys.exit(f"sound_match: need at least 0.1 s of sound, {path!r} has less.")
    if not np.any(x):
        sys.exit(f"sound_match: {path!r} is silent: there is nothing to match.")
    if not np.all(np.isfinite(x)):
        sys.exit(f"sound_match: {path!r} has samples that are no numbers.")
    gain = float(np.max(np.abs(x))) / 0.7
    padded = np.pad(x / gain, (0, -len(x) % KNOT)).astype(np.float32)
    name = "The sung phrase" if path is None else Path(path).name
    return Target(name, ", ".join(steps), padded, len(x), gain, f0)


def read_sound(path: str) -> tuple[Float[np.ndarray, " n_samples"], list[str]]:
    """Read any file that libsndfile knows, as one channel at `SR`.

    **Returns:** the samples, and what was done to them, to be printed.
    """
    if not Path(path).is_file():  # which a pipe is not, nor anything else to wait for
        sys.exit(f"sound_match: cannot read the sound {path!r}: there is no such file.")
    try:
        x, sr = soundfile.read(path, always_2d=True)
    except (OSError, RuntimeError, TypeError) as error:
        sys.exit(f"sound_match: cannot read the sound {path!r}: {error}")
    if len(x) == 0:
        sys.exit(f"sound_match: {path!r} has no samples.")
    steps = []
    if x.shape[1] > 1:
        steps.append(f"{x.shape[1]} channels mixed to mono")
    if sr != SR:
        steps.append(f"resampled from {sr} to {SR} Hz")
    return soxr.resample(x.mean(axis=1), sr, SR), steps


# --- The loss -------------------------------------------------------------------------


def floored(S: Float[Array, "bins frames"]) -> Float[Array, "bins frames"]:
    """Add a little white noise: silence has no shape that transport could compare."""
    return S + 1e-5


def level(S: Float[Array, "bins frames"]) -> Float[Array, "1 frames"]:
    """Return the level of each frame, which transport between shapes leaves out."""
    return jnp.log(jnp.sum(floored(S), axis=-2, keepdims=True))


def transport_loss() -> ke.TimeFrequencyLoss:
    """Compare the shapes of spectra by optimal transport, and the levels of frames."""
    return ke.TimeFrequencyLoss(
        # Frames cut off by the edges would dominate the transport: valid ones only.
        ke.Spectrogram(2048, hop_length=256, center=False, power=1),
        loss_fn=(ke.SpectralOptimalTransportLoss(p=1), ke.ElementwiseLoss("L1")),
        scale_fn=(floored, level),
        weights=(1.0, 0.1),
    )


LOSSES: dict[str, Callable[[], Any]] = {
    "mrstft": ke.recipes.mrstft,
    "smooth": ke.SmoothMRSTFTLoss,
    "sot": transport_loss,
}


def bound_sum(names: list[str], target: Float[Array, " n_samples"]) -> ke.BoundLoss:
    """Return the sum of some losses for one target, whose spectra are computed once."""
    return ke.SumLoss({name: LOSSES[name]() for name in names}).bind(target)


# --- The fit --------------------------------------------------------------------------


def make_optimiser(steps: int) -> optax.GradientTransformation:
    """Adam at a rate for each kind of parameter.

    The noise learns more slowly than the harmonics, which it would otherwise replace.
    The pitch waits for the amplitudes, then moves by about 0.6 cents per step.
    """

    def adam(peak: float, wait: int = 0) -> optax.GradientTransformation:
        n = steps - wait
        rise_and_fall = optax.warmup_cosine_decay_schedule(0.0, peak, n // 20, n)
        still = optax.constant_schedule(0.0)
        return optax.adam(optax.join_schedules([still, rise_and_fall], [wait]))

    def kinds(synth: Synth) -> Synth:
        others = jax.tree.map(lambda _: "other", synth)
        return eqx.tree_at(
            lambda s: (s.harmonics.pitch, s.noise.log_magnitude),
            others,
            ("pitch", "noise"),
        )

    pitch, noise, other = adam(0.006, steps // 10), adam(0.0125), adam(0.05)
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.multi_transform({"pitch": pitch, "noise": noise, "other": other}, kinds),
    )


def fit(
    synth: Any, loss: ke.BoundLoss, steps: int, chunk: int = 10
) -> tuple[Synth, dict[str, np.ndarray]]:
    """Descend `steps` steps, `chunk` of them in one compiled call.

    **Returns:** the synthesiser, and the terms at every step.
    """
    optimiser = make_optimiser(steps)

    # The leaves of the synthesiser are its parameters and those of the loss are the
    # target's spectra, so plain `jax.jit` and `jax.grad` do.
    @jax.jit
    def descend(synth: Any, state: Any, loss: ke.BoundLoss) -> Any:
        def step(carry: tuple[Any, Any], _: None) -> tuple[Any, Terms]:
            synth, state = carry
            gradient_of = jax.grad(lambda s: loss.with_terms(s()), has_aux=True)
            gradient, terms = gradient_of(synth)
            updates, state = optimiser.update(gradient, state)
            return (eqx.apply_updates(synth, updates), state), terms

        return jax.lax.scan(step, (synth, state), length=chunk)

    state, logs = optimiser.init(synth), []
    with tqdm(total=steps, unit="step", dynamic_ncols=True) as bar:
        for _ in range(0, steps, chunk):
            (synth, state), log = descend(synth, state, loss)
            logs.append(log)
            bar.set_postfix_str(in_brief(log), refresh=False)
            bar.update(chunk)
    return synth, {k: np.concatenate([log[k] for log in logs]) for k in logs[0]}


def in_brief(log: Terms) -> str:
    """Write the latest loss and terms, summed over resolutions, in one line."""
    latest = {name: float(values[-1]) for name, values in log.items()}
    sums = {"loss": sum(latest.values())}
    for name, value in latest.items():
        kind = name.rpartition("/")[2].removeprefix("spectral_")
        sums[kind] = sums.get(kind, 0.0) + value
    return ", ".join(f"{kind} {value:.3f}" for kind, value in sums.items())


# --- The report -----------------------------------------------------------------------

# An FFT size that no loss here uses.
POWERS = ke.Spectrogram(1536, hop_length=384)
MAGNITUDES = ke.Spectrogram(1536, hop_length=384, power=1)


def root_mean_square(
    S_x: Float[Array, "bins frames"], S_y: Float[Array, "bins frames"]
) -> Float[Array, ""]:
    """Return the root mean square difference over frequency, averaged over frames."""
    return jnp.mean(jnp.sqrt(jnp.mean((S_x - S_y) ** 2, axis=-2)))


def in_total(S: Float[Array, "bins frames"]) -> Float[Array, "1 frames"]:
    """Return the power of each frame."""
    return jnp.sum(S, axis=-2, keepdims=True)


def measure(synth: Synth, target: Target) -> dict[str, float]:
    """Return the distance of the sound from its target, by measures that no loss uses.

    Decibels are limited to 80 dB below the target's loudest bin (band, frame). For
    scale: the log-spectral distance of two takes of the same noise is 7.9 dB.
    """
    y, x = jnp.asarray(target.x), synth()

    def decibels(*scales: Callable[..., Any]) -> ke.Chain:
        peak = float(jnp.max(ke.Chain(scales or (ke.Identity(),))(POWERS(y))))
        return ke.Chain((*scales, ke.PowerToDB(peak, amin=1e-8 * peak, top_db=None)))

    mel = ke.MelScale(SR, POWERS.n_fft, n_mels=80)
    distance = ke.ElementwiseLoss("L1")
    losses = {
        "log-spectral distance (dB)": (POWERS, root_mean_square, decibels()),
        "mel-spectral difference (dB)": (POWERS, distance, decibels(mel)),
        "level difference (dB)": (POWERS, distance, decibels(in_total)),
        "spectral convergence": (MAGNITUDES, ke.SpectralConvergenceLoss(), None),
    }
    values = {
        name: float(ke.TimeFrequencyLoss(*parts)(x, y))
        for name, parts in losses.items()
    }
    if target.f0 is not None:
        f0 = np.asarray(synth.harmonics.f0())[: target.length]
        cents = np.abs(1200 * np.log2(f0 / target.f0))
        values["pitch error, median (cents)"] = float(np.nanmedian(cents))
    return values


def report(
    file: Path, synth: Synth, loss: ke.BoundLoss, target: Target
) -> dict[str, float]:
    """Return by name: the loss of a file that was written, its terms, the measures."""
    total, terms = loss.with_terms(read_again(file))
    numbers = {"loss": float(total), **{name: float(v) for name, v in terms.items()}}
    return numbers | measure(synth, target)


LEGEND = (
    "`loss` is that of the files written, the sum of its weighted terms. A term is "
    "called after its loss, the window length in samples, and `lin` for magnitudes or "
    "`log` for their logarithms. The rows after the terms were not fitted. 0 is a "
    "perfect match."
)


def print_table(before: Terms, after: Terms, title: str) -> None:
    """Print two sets of numbers side by side."""
    table = Table("", "before", "after")
    for name, value in before.items():
        table.add_row(name, f"{value:.4g}", f"{after[name]:.4g}")
    console = Console(highlight=False)
    console.print(title)
    console.print(LEGEND)
    console.print(table)


def draw(path: Path, target: Target, result: Synth, history: Terms, title: str) -> None:
    """Draw target and result in the same colours, and all terms of the loss."""
    figure = plt.figure(figsize=(13, 7.4), layout="constrained")
    grid = figure.add_gridspec(1, 2, width_ratios=(3, 2))
    left, right = (figure.add_subfigure(cell) for cell in grid)
    picture = ke.Spectrogram(1536, hop_length=192, power=1)
    peak = float(jnp.max(picture(jnp.asarray(target.x))))
    sounds = {"Target": target.x, "After the fit": np.asarray(result())}
    for ax, (name, x) in zip(left.subplots(2), sounds.items(), strict=True):
        x = x[: target.length]
        plot.spectrogram(x, picture, SR, ax=ax, ref=peak, vmax=0, axis="mel")
        ax.collections[-1].colorbar.set_label("Level (dB re max of target)")
        ax.set_title(name)
    ax = plot.terms(history, ax=right.subplots(), linewidth=1)
    ax.set_title("Loss and its terms")
    figure.suptitle(title)
    _pictures.save(figure, path, dpi=95)
    plt.close(figure)


def draw_difference(path: Path, target: Target, start: Synth, result: Synth) -> None:
    """Draw the level difference between synthesiser and target, before and after."""
    figure, axes = plt.subplots(
        1, 2, figsize=(11, 3.8), sharey=True, layout="constrained"
    )
    picture = ke.Spectrogram(1536, hop_length=192, power=1)
    y = target.x[: target.length]
    for ax, synth, name in zip(axes, (start, result), ("Before", "After"), strict=True):
        x = np.asarray(synth())[: target.length]
        options: dict[str, Any] = {"limit": 40.0, "colorbar": ax is axes[1]}
        plot.difference(x, y, picture, SR, ax=ax, axis="mel", top_db=60.0, **options)
        ax.set_title(f"{name} the fit")
    axes[1].set_ylabel("")
    axes[1].collections[-1].colorbar.set_label("Synthesiser − target (dB)")
    _pictures.save(figure, path)
    plt.close(figure)


# --- The command line -----------------------------------------------------------------


def loss_names(text: str) -> list[str]:
    """Split "sot+mrstft" into names, each of which must be known."""
    names = list(dict.fromkeys(text.split("+")))
    for name in names:
        if name not in LOSSES:
            known = ", ".join(LOSSES)
            raise argparse.ArgumentTypeError(
                f"unknown loss {name!r}; choose from {known}, or several joined by +"
            )
    return names


def parse_arguments() -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument(
        "sound", nargs="?", help="a WAV, FLAC or OGG file (default: a sung phrase)"
    )
    parser.add_argument(
        "--loss",
        type=loss_names,
        default=["mrstft"],
        metavar="NAME[+NAME...]",
        help=f"of {', '.join(LOSSES)} (default: mrstft)",
    )
    parser.add_argument(
        "--steps",
        type=whole(1),
        default=1000,
        help="rounded up to tens (default: 1000)",
    )
    parser.add_argument(
        "--seconds", type=duration, default=3.0, help="at most (default: 3)"
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="of noise and phases")
    parser.add_argument("--out", type=folder, default=Path("outputs/sound_match"))
    parser.add_argument(
        "--quick", action="store_true", help="at most 60 steps and 1 second, to try it"
    )
    _pictures.add_argument(parser)
    arguments = parser.parse_args()
    _pictures.check(parser, arguments)
    if arguments.quick:
        arguments.steps = min(arguments.steps, 60)
        arguments.seconds = min(arguments.seconds, 1.0)
    arguments.steps = -(-arguments.steps // 10) * 10
    return arguments


def write_sound(path: Path, x: Any, target: Target) -> None:
    """Write a signal at the level of the recording."""
    x = target.gain * np.asarray(x)[: target.length]
    soundfile.write(path, np.clip(x, -1, 1), SR)


def read_again(path: Path) -> Float[Array, " n_samples"]:
    """Read a sound that was written here, as `korvax_eqx compare` reads it."""
    return jnp.asarray(soundfile.read(path, dtype="float32")[0])


def main() -> None:
    """Fit, and report."""
    plt.switch_backend("agg")
    arguments = parse_arguments()
    target = load_target(arguments.sound, arguments.seconds)
    if target.steps:
        print(f"{target.name}: {target.steps}.", flush=True)
    loss = bound_sum(arguments.loss, jnp.asarray(target.x))
    start = initial_synth(target.x, arguments.seed)
    result, history = fit(start, loss, arguments.steps)

    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    files = [out / f"{name}.wav" for name in ("target", "before", "after")]
    for file, x in zip(files, (target.x, start(), result()), strict=True):
        write_sound(file, x, target)
    written = bound_sum(arguments.loss, read_again(files[0]))
    before, after = (
        report(file, synth, written, target)
        for file, synth in zip(files[1:], (start, result), strict=True)
    )
    title = f"{target.name} matched with {'+'.join(arguments.loss)}"
    for name in ("log-spectral distance (dB)", "mel-spectral difference (dB)"):
        change = f"{before[name]:.1f} → {after[name]:.1f} dB"
        title += f", {name.removesuffix(' (dB)')} {change}"
    print_table(before, after, title)

    draw(out / "sound_match.png", target, result, history, title)
    draw_difference(out / "sound_match_difference.png", target, start, result)
    if arguments.pictures:
        _pictures.renew(out / "sound_match.png", out / "sound_match_difference.png")
    print(
        f"Wrote target.wav, before.wav, after.wav, sound_match.png and "
        f"sound_match_difference.png to {out}."
    )


if __name__ == "__main__":
    main()
