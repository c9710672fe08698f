"""Fit the pitch of a tone by gradient descent, by the loss that is minimised.

From starts up to two octaves away, optax's Adam on the logarithm of the frequency:
the share of runs that end within 10 and within 50 cents of the target. Prints a table
and writes it as `pitch_fit.csv`. Then pitch, level, time and timbre of other sounds
together, from random starts: a second table, `sound_fit.csv`.

    python examples/pitch_fit.py
    python examples/pitch_fit.py --quick

The question is that of Turian and Henry (2020), "I'm sorry for your loss", Schwär and
Müller (2023), "Multi-scale spectral loss revisited", and Torres, Peeters and Richard
(2024). What differs: they train networks that estimate parameters, or look at the
gradient; here one frequency is fitted directly, with amplitudes and phases known up to
random phases, for 0.5 s at 16 kHz.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _arguments import folder, one_of, whole
from _intervals import bootstrapped
from _notes import Sound, drawn
from _results import write_csv
from _tones import NAMES as EXPLAINED
from _tones import TONES, Tone, losses
from gradient_direction import SEED
from jaxtyping import Array, Float
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

import korvax_eqx as ke

LEGEND = (
    "Each run starts up to two octaves from the frequency of a tone and descends with "
    "Adam. `a / b`: of the runs, a % end within 10 cents of it (a tenth of a semitone) "
    "and b % within 50, where 2 % begin."
)
TOGETHER = (
    "A plucked string and a struck bar, all four together, from random starts: pitch "
    "within 1.5 octaves, level 9 dB, time 75 ms and the slope of the spectrum 4.5 dB "
    "per octave. Of the runs, in %: how many end within 50 cents, 1 dB, 5 ms and 1 dB "
    "per octave; and in all four. In brackets the 95 % interval (bootstrap over runs)."
)
# Arguments of a sound, a step's unit for each, and how near is right.
ARGUMENTS = {
    "octaves": (1.0, 50 / 1200),
    "decibels": (6.0, 1.0),
    "shift": (50.0, 5.0),
    "timbre": (3.0, 1.0),
}
REACH = 1.5
ALL = ("mrstft, 1e-2", "pitch", "cel", "sound matching")
NAMES = (
    "mrstft",
    "smooth",
    "log-mel",
    "log-cqt",
    "sot, log-frequency",
    "pitch",
    "cel",
    "sound matching",
)


def fit(
    loss: ke.AbstractLoss, tone: Tone, starts: Float[Array, " seeds"], steps: int
) -> Float[Array, " seeds"]:
    """Return where each start ends up, in octaves from the target."""
    target = tone(jnp.asarray(tone.frequency), tone.phases(None))
    targets = jnp.broadcast_to(target, (starts.size, target.size))
    phases = jnp.stack([tone.phases(seed) for seed in range(1, starts.size + 1)])
    # From steps of 60 cents to 0.6: far enough, and in the end fine enough.
    optimiser = optax.adam(optax.cosine_decay_schedule(0.05, steps, alpha=0.01))

    def objective(octaves: Float[Array, " seeds"]) -> Float[Array, ""]:
        frequencies = tone.frequency * 2.0**octaves
        # The mean over seeds: Adam makes each seed's step independent of its scale.
        return loss(jax.vmap(tone)(frequencies, phases), targets)

    def step(carry: tuple[Array, optax.OptState], _: None):
        octaves, state = carry
        updates, state = optimiser.update(jax.grad(objective)(octaves), state)
        return (optax.apply_updates(octaves, updates), state), None

    @jax.jit
    def run(octaves: Array) -> Array:
        carry = (octaves, optimiser.init(octaves))
        (octaves, _), _ = jax.lax.scan(step, carry, None, length=steps)
        return octaves

    return run(starts)


def fit_together(
    loss: ke.AbstractLoss,
    sound: Sound,
    starts: Float[Array, "seeds arguments"],
    steps: int,
) -> Float[Array, "seeds arguments"]:
    """Return how far off each argument of the sound is in the end, in its unit."""
    zero = jnp.zeros(len(sound.ratios))
    target = sound(zero, is_moved=True)
    targets = jnp.broadcast_to(target, (len(starts), target.size))
    units = jnp.array([unit for unit, _ in ARGUMENTS.values()])
    optimiser = optax.adam(optax.cosine_decay_schedule(0.05, steps, alpha=0.01))

    def estimate(point: Float[Array, " arguments"]) -> Float[Array, " n_samples"]:
        arguments: dict[str, Any] = dict(zip(ARGUMENTS, point * units, strict=True))
        return sound(zero, is_moved=True, **arguments)

    def step(carry: tuple[Array, optax.OptState], _: None):
        points, state = carry
        gradient = jax.grad(lambda p: loss(jax.vmap(estimate)(p), targets))(points)
        updates, state = optimiser.update(gradient, state)
        return (optax.apply_updates(points, updates), state), None

    @jax.jit
    def run(points: Array) -> Array:
        carry = (points, optimiser.init(points))
        (points, _), _ = jax.lax.scan(step, carry, None, length=steps)
        return points * units

    return run(starts)


def compare_together(
    contenders: dict[str, ke.AbstractLoss],
    sounds: Sequence[Sound],
    seeds: int,
    steps: int,
) -> tuple[Table, list[dict[str, Any]]]:
    """Fit all arguments of all sounds, by loss: the table, and a row for each fit."""
    draws = np.random.default_rng(0).uniform(-REACH, REACH, (seeds, len(ARGUMENTS)))
    starts = jnp.asarray(draws, jnp.float32)
    near = np.array([limit for _, limit in ARGUMENTS.values()])
    table = Table(title=f"fits of pitch, level, time and timbre, % of {seeds} a sound")
    for column in ("loss", *ARGUMENTS, "all"):
        table.add_column(column, justify="left" if column == "loss" else "right")
    rows = []
    for name, loss in tqdm(contenders.items(), unit="loss"):
        shares = []
        for sound in sounds:
            ends = np.asarray(fit_together(loss, sound, starts, steps))
            is_near = np.abs(ends) <= near
            shares += np.c_[is_near, is_near.all(1)].tolist()
            for seed, end in enumerate(ends.tolist()):
                row = dict(zip(ARGUMENTS, end, strict=True))
                rows.append({"loss": name, "sound": sound.name, "seed": seed, **row})
        columns = 100.0 * np.array(shares).T
        cells = [
            "{:.0f} ({:.0f}-{:.0f})".format(c.mean(), *bootstrapped(c)) for c in columns
        ]
        table.add_row(name, *cells)
    return table, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    available = losses()
    parser.add_argument("--seeds", type=whole(1), default=50)
    parser.add_argument("--steps", type=whole(1), default=200)
    parser.add_argument(
        "--loss",
        nargs="+",
        type=one_of(available),
        default=NAMES,
        help="names of losses",
    )
    parser.add_argument(
        "--together", action="store_true", help="only fit all arguments together"
    )
    parser.add_argument("--out", type=folder, default=Path("outputs/pitch_fit"))
    parser.add_argument("--quick", action="store_true", help="one loss, few steps")
    options = parser.parse_args()
    names, seeds, steps = options.loss, options.seeds, options.steps
    tones, sounds, few = TONES, drawn(SEED, 1)[:2], 8
    if options.quick:
        names, seeds, steps, tones, few = ("pitch",), 4, 20, TONES[:1], 2
        sounds = sounds[:1]
    options.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    starts = jnp.asarray(rng.uniform(-2, 2, seeds), jnp.float32)
    rows = []
    table = Table(title=f"runs that end within 10 / 50 cents, % of {seeds}")
    for column in ("loss", *(tone.name for tone in tones), "all"):
        table.add_column(column, justify="left" if column == "loss" else "right")
    for name in () if options.together else tqdm(names, unit="loss"):
        ends = [fit(available[name], tone, starts, steps) for tone in tones]
        cents = 1200 * np.abs(np.asarray(ends))
        shares = [100 * np.mean(cents <= limit, axis=1) for limit in (10, 50)]
        cells = [f"{a:.0f} / {b:.0f}" for a, b in zip(*shares, strict=True)]
        total = " / ".join(f"{share.mean():.0f}" for share in shares)
        table.add_row(name, *cells, total)
        for tone, a, b in zip(tones, *shares, strict=True):
            rows.append({"loss": name, "tone": tone.name, "10 cents": a, "50 cents": b})
    chosen = ALL if tuple(names) == NAMES else names
    both = compare_together({n: available[n] for n in chosen}, sounds, few, steps)
    # Into a file or a pipe, rich would squeeze the table into 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    if rows:
        console.print(LEGEND, EXPLAINED, table, sep="\n")
        write_csv(rows, options.out / "pitch_fit.csv")
    console.print(TOGETHER, both[0], sep="\n")
    write_csv(both[1], options.out / "sound_fit.csv")
    print(f"Written to {options.out}.")


if __name__ == "__main__":
    main()
