"""Fit the pitch of a tone by gradient descent, by the loss that is minimised.

From starts up to two octaves away, optax's Adam on the logarithm of the frequency:
the share of runs that end within 10 and within 50 cents of the target. Prints a table
and writes it as `pitch_fit.csv`.

    python examples/pitch_fit.py
    python examples/pitch_fit.py --quick

The question is that of Turian and Henry (2020), "I'm sorry for your loss", Schwär and
Müller (2023), "Multi-scale spectral loss revisited", and Torres, Peeters and Richard
(2024). What differs: they train networks that estimate parameters, or look at the
gradient; here one frequency is fitted directly, with amplitudes and phases known up to
random phases, for 0.5 s at 16 kHz.
"""

import argparse
import csv
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _arguments import folder, one_of, whole
from _tones import NAMES as EXPLAINED
from _tones import TONES, Tone, losses
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
NAMES = ("mrstft", "smooth", "log-mel", "log-cqt", "sot, log-frequency", "pitch")


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
    parser.add_argument("--out", type=folder, default=Path("outputs/pitch_fit"))
    parser.add_argument("--quick", action="store_true", help="two losses, few steps")
    options = parser.parse_args()
    names, seeds, steps = options.loss, options.seeds, options.steps
    tones = TONES
    if options.quick:
        names, seeds, steps, tones = ("pitch",), 4, 20, TONES[:1]
    options.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    starts = jnp.asarray(rng.uniform(-2, 2, seeds), jnp.float32)
    rows = []
    table = Table(title=f"runs that end within 10 / 50 cents, % of {seeds}")
    for column in ("loss", *(tone.name for tone in tones), "all"):
        table.add_column(column, justify="left" if column == "loss" else "right")
    for name in tqdm(names, unit="loss"):
        ends = [fit(available[name], tone, starts, steps) for tone in tones]
        cents = 1200 * np.abs(np.asarray(ends))
        shares = [100 * np.mean(cents <= limit, axis=1) for limit in (10, 50)]
        cells = [f"{a:.0f} / {b:.0f}" for a, b in zip(*shares, strict=True)]
        total = " / ".join(f"{share.mean():.0f}" for share in shares)
        table.add_row(name, *cells, total)
        for tone, a, b in zip(tones, *shares, strict=True):
            rows.append({"loss": name, "tone": tone.name, "10 cents": a, "50 cents": b})
    # Into a file or a pipe, rich would squeeze the table into 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(LEGEND, EXPLAINED, table, sep="\n")
    with open(options.out / "pitch_fit.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"Written to {options.out}.")


if __name__ == "__main__":
    main()
