"""Measure the library against what a user could pick instead, and print a table.

    python tests/benchmarks/run.py            the whole table, some minutes
    python tests/benchmarks/run.py --quick    small sizes, to see that it runs

Opponents are called in turn with ours (see `measure.interleaved`), so the ratios hold
on a busy machine; the seconds do not. Memory is what XLA's analysis of the compiled
program says. Needs `pip install -e ".[bench]"`.
"""

import argparse
import functools
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import korvax
import numpy as np
import opponents
import plain
from measure import (
    Timing,
    compile_seconds,
    first_call,
    interleaved,
    temporary_bytes,
)
from rich.console import Console
from rich.table import Table

import korvax_eqx as ke

Call = Callable[[], Any]
SAMPLE_RATE = 44100
# Opponents that run on the CPU, whatever JAX runs on.
ON_CPU = {"torch", "specux", "auraloss", "sot-loss"}


class Report:
    """Rows of the table: what, ours, the opponent, how many times faster."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.table = Table(title=_machine(), title_justify="left")
        for column in ("what", "ours", "opponent", "", "ratio", "quartiles"):
            self.table.add_column(column)

    def times(self, what: str, ours: Call, others: dict[str, Call]) -> None:
        if jax.default_backend() != "cpu" and ON_CPU & others.keys():
            # Their calls here are for CPUs: the ratio would be one of machines.
            self.skip(f"{what}: {', '.join(sorted(ON_CPU & others.keys()))} on CPU")
            others = {k: call for k, call in others.items() if k not in ON_CPU}
        timings = interleaved({"ours": ours, **others}, self.rounds)
        mine = timings["ours"]
        if not others:
            self.table.add_row(what, _milliseconds(mine), "", "", "", "")
        for name in others:
            other = timings[name]
            spread = f"{other.low / mine.high:.1f} - {other.high / mine.low:.1f}"
            cells = (what, _milliseconds(mine), name, _milliseconds(other))
            self.table.add_row(*cells, f"{other.median / mine.median:.2f}x", spread)

    def optional(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` makes, or `None` without the package of that name."""
        try:
            return make()
        except ImportError as error:
            self.skip(f"{name}: {error}")
            return None

    def skip(self, what: str) -> None:
        """Say below the table what was not measured, and why."""
        caption = self.table.caption
        lines = [caption] if isinstance(caption, str) else []
        self.table.caption = "\n".join([*lines, f"Skipped: {what}"])

    def values(
        self, what: str, ours: float, name: str, other: float, unit: str
    ) -> None:
        cells = (what, f"{ours:.3g} {unit}", name, f"{other:.3g} {unit}")
        self.table.add_row(*cells, f"{other / ours:.2f}x", "")


def _milliseconds(timing: Timing) -> str:
    return f"{timing.median * 1e3:.2f} ms"


def _machine() -> str:
    devices = jax.devices()
    kinds = f"{len(devices)} x {devices[0].device_kind}"
    cores = os.cpu_count()
    return (
        f"{platform.machine()}, {cores} cores, JAX {jax.__version__} on "
        f"{devices[0].platform} ({kinds}), float32"
    )


def noise(*shape: int) -> tuple[jax.Array, jax.Array]:
    keys = jax.random.split(jax.random.key(0))
    x, y = (0.1 * jax.random.normal(key, shape) for key in keys)
    return x, y


def jitted(fn: Callable[..., Any], *args: Any) -> Call:
    compiled = jax.jit(fn)
    return lambda: compiled(*args)


def jitted_each(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function of several arguments of `fn`, which calls it once for each."""
    compiled = jax.jit(fn)
    return lambda each: [compiled(*args) for args in each]


def both(
    ours: Callable[..., Any], theirs: Callable[..., Any], *args: Any
) -> Iterator[tuple[str, Call, Call]]:
    """Forward, then value and gradient, of ours and of an opponent's in JAX."""
    yield "forward", jitted(ours, *args), jitted(theirs, *args)
    grads = jax.value_and_grad(ours), jax.value_and_grad(theirs)
    yield "value and gradient", jitted(grads[0], *args), jitted(grads[1], *args)


def torch_calls(
    loss: Callable[..., Any], x: jax.Array, y: jax.Array
) -> tuple[Call, Call]:
    """Forward, and value and gradient, of a PyTorch loss."""
    arrays = np.asarray(x), np.asarray(y)
    forward = opponents.torch_value_and_grad(loss, *arrays, gradient=False)
    return forward, opponents.torch_value_and_grad(loss, *arrays, gradient=True)


def mrstft(report: Report, shapes: list[tuple[int, ...]]) -> None:
    ours = ke.MRSTFTLoss()
    for shape in shapes:
        x, y = noise(*shape)
        others = torch_calls(opponents.auraloss_mrstft(), x, y)
        rows = both(ours, korvax.loss.mrstft_loss, x, y)
        for (kind, mine, theirs), aura in zip(rows, others, strict=True):
            name = f"mrstft {shape}, {kind}"
            report.times(name, mine, {"korvax": theirs, "auraloss": aura})


def floor(report: Report, shape: tuple[int, ...]) -> None:
    """Compare with the FFTs alone: framed already, in pieces that fit the cache."""
    x, y = noise(*shape)
    rows = x.size // x.shape[-1]
    sizes = [(n, 1 + x.shape[-1] // (n // 2)) for n in ke.MRSTFTLoss().fft_sizes]
    frames = [jnp.ones((rows, 2, t, n)) for n, t in sizes]
    spectra = [jnp.ones((rows, t, n // 2 + 1), complex) for n, t in sizes]

    def forward(frames: list[jax.Array]) -> list[jax.Array]:
        # One bin of each frame is kept, so that nothing else is written.
        return [jax.lax.map(lambda f: jnp.fft.rfft(f)[..., 1], f) for f in frames]

    def inverse(spectra: list[jax.Array]) -> list[jax.Array]:
        pairs = zip(spectra, sizes, strict=True)
        return [
            jax.lax.map(lambda S, n=n: jnp.fft.irfft(S, n)[..., 1], S)
            for S, (n, _) in pairs
        ]

    loss = ke.MRSTFTLoss()
    report.times(
        f"mrstft {shape}, forward",
        jitted(loss, x, y),
        {"its FFTs alone": jitted(forward, frames)},
    )
    report.times(
        f"mrstft {shape}, value and gradient",
        jitted(jax.value_and_grad(loss), x, y),
        {
            "its FFTs and inverses alone": jitted(
                lambda f, S: (forward(f), inverse(S)), frames, spectra
            )
        },
    )


def memory(report: Report, shape: tuple[int, ...], batches: tuple[int, int]) -> None:
    x, y = noise(*shape)
    ours = jax.value_and_grad(ke.MRSTFTLoss())
    theirs = jax.value_and_grad(korvax.loss.mrstft_loss)
    megabytes = (temporary_bytes(f, x, y) / 1e6 for f in (ours, theirs))
    name = f"mrstft {shape}, value and gradient, temporary memory"
    report.values(name, next(megabytes), "korvax", next(megabytes), "MB")
    small, large = (
        temporary_bytes(ours, *noise(b, 1, shape[-1])) / 1e6 for b in batches
    )
    name = f"the same at batch {batches[1]}"
    report.values(name, large, f"batch {batches[0]}", small, "MB")
    five = ke.MRSTFTLoss((32, 64, 128, 256, 512), (64, 128, 256, 512, 1024))
    fewer = temporary_bytes(jax.value_and_grad(five), x, y) / 1e6
    more = temporary_bytes(ours, x, y) / 1e6
    report.values("six resolutions, memory", more, "five resolutions", fewer, "MB")


def memory_of_one_signal(report: Report, n_samples: int) -> None:
    """A signal that is cut into segments, and a loss that needs all of it."""
    x = jax.ShapeDtypeStruct((1, n_samples), jnp.float32)
    losses = (ke.MRSTFTLoss(), korvax.loss.mrstft_loss, ke.MRSTFTLoss(w_sc=1.0))
    ours, theirs, whole = (
        temporary_bytes(jax.value_and_grad(loss), x, x) / 1e6 for loss in losses
    )
    name = f"mrstft (1, {n_samples}), value and gradient, temporary memory"
    report.values(name, ours, "korvax", theirs, "MB")
    report.values(name, ours, "with spectral convergence", whole, "MB")


def transport(report: Report, shape: tuple[int, int, int]) -> None:
    keys = jax.random.split(jax.random.key(1))
    S_x, S_y = (jnp.abs(jax.random.normal(key, shape)) ** 2 for key in keys)
    for p in (2, 1):
        ours = ke.SpectralOptimalTransportLoss(p=p)
        theirs = functools.partial(korvax.loss.spectral_optimal_transport_loss, p=p)
        others = torch_calls(opponents.sot_loss(p, shape[1]), S_x, S_y)
        rows = both(ours, theirs, S_x, S_y)
        for (kind, mine, other), torch_call in zip(rows, others, strict=True):
            name = f"transport p={p} {shape}, {kind}"
            report.times(name, mine, {"korvax": other, "sot-loss": torch_call})


def constant_q(report: Report, n_samples: int, n_bins: int, sr: int) -> None:
    (x, _) = noise(n_samples)
    ours = ke.CQT(sr, n_bins=n_bins, fmin=32.70)
    theirs = functools.partial(korvax.cqt, sr=sr, n_bins=n_bins, fmin=32.70)
    compiled = jax.jit(theirs)
    seconds = first_call(jitted(ours, x)), first_call(lambda: compiled(x))
    report.values(f"cqt {n_bins} bins, first call", *_named("korvax", seconds), "s")
    for batch in (1, 8):
        x, w = noise(batch, n_samples)

        def total(fn: Callable[..., Any], x: jax.Array) -> jax.Array:
            return jnp.sum(jnp.sqrt(fn(x) + 1e-3))

        rows = both(
            functools.partial(total, ours),
            functools.partial(total, jax.vmap(theirs)),
            x,
        )
        for kind, mine, other in rows:
            report.times(f"cqt batch {batch}, {kind}", mine, {"korvax": other})


def _named(name: str, pair: tuple[float, float]) -> tuple[float, str, float]:
    return pair[0], name, pair[1]


def others(report: Report, shape: tuple[int, ...]) -> None:
    """Mel, smooth, spectral convergence, binding, hops that do not divide."""
    x, y = noise(*shape)
    log = ke.Log(eps=1e-5)
    mel = ke.TimeFrequencyLoss(
        ke.MelSpectrogram(SAMPLE_RATE, 2048, power=1), ke.ElementwiseLoss(), log
    )

    def korvax_mel(x: jax.Array, y: jax.Array) -> jax.Array:
        return korvax.loss.time_frequency_loss(
            x,
            y,
            functools.partial(
                korvax.mel_spectrogram, sr=SAMPLE_RATE, n_fft=2048, power=1
            ),
            korvax.loss.elementwise_loss,
            lambda S: jnp.log(S + 1e-5),
        )

    def korvax_convergence(x: jax.Array, y: jax.Array) -> jax.Array:
        sizes = ke.MRSTFTLoss().win_lengths
        elementwise = korvax.loss.elementwise_loss
        convergence = korvax.loss.spectral_convergence_loss
        losses = [
            korvax.loss.time_frequency_loss(
                x,
                y,
                functools.partial(
                    korvax.spectrogram, n_fft=n, hop_length=n // 2, power=1
                ),
                [elementwise, elementwise, convergence],
                [lambda S: S, lambda S: jnp.log(S + 1e-7), lambda S: S],
                [1.0, 1.0, 1.0],
            )
            for n in sizes
        ]
        return sum(losses[1:], losses[0]) / len(losses)

    _, aura_mel = torch_calls(opponents.auraloss_mel(SAMPLE_RATE), x, y)
    _, aura_convergence = torch_calls(opponents.auraloss_mrstft(w_sc=1.0), x, y)
    grad = jax.value_and_grad
    cases: list[tuple[str, Any, Any, dict[str, Call]]] = [
        ("log-mel", mel, korvax_mel, {"auraloss": aura_mel}),
        ("smooth", ke.SmoothMRSTFTLoss(), korvax.loss.smooth_mrstft_loss, {}),
        (
            "mrstft with spectral convergence",
            ke.MRSTFTLoss(w_sc=1.0),
            korvax_convergence,
            {"auraloss": aura_convergence},
        ),
    ]
    for name, mine, theirs, more in cases:
        report.times(
            f"{name} {shape}, value and gradient",
            jitted(grad(mine), x, y),
            {"korvax": jitted(grad(theirs), x, y), **more},
        )
    loss = ke.MRSTFTLoss()
    bound = loss.bind(y)
    report.times(
        f"mrstft bound to its target {shape}, value and gradient",
        jitted(grad(bound), x),
        {"not bound": jitted(grad(loss), x, y)},
    )
    divides = ke.MRSTFTLoss((256,), (1024,))
    odd = ke.MRSTFTLoss((250,), (1024,))
    report.times(
        f"one resolution, hop 250 of 1024 {shape}, value and gradient",
        jitted(grad(odd), x, y),
        {"hop 256": jitted(grad(divides), x, y)},
    )


def transforms(report: Report, shape: tuple[int, int]) -> None:
    """Spectrograms on their own, against specux and PyTorch, and their memory."""
    x, _ = noise(*shape)
    sizes = [64, 128, 256, 512, 1024, 2048]
    mel = ke.MelSpectrogram(22050, 1024, 80, hop_length=256)
    spectrograms = [ke.Spectrogram(n, n // 4, power=1.0) for n in sizes]
    cases: list[tuple[str, list[Any], list[int], int | None, Any]] = [
        ("mel spectrogram of 1024", [mel], [1024], 22050, mel.matrix),
        ("spectrograms of six sizes", spectrograms, sizes, None, None),
    ]
    for name, made, n_ffts, sr, matrix in cases:

        def forward(x: jax.Array, made: list[Any] = made) -> list[jax.Array]:
            return [transform(x) for transform in made]

        def squares(x: jax.Array, made: list[Any] = made) -> jax.Array:
            return sum((jnp.sum(t(x) ** 2) for t in made), jnp.zeros((), x.dtype))

        theirs = report.optional(
            "specux", lambda n=n_ffts, sr=sr: opponents.specux_transforms(n, sr)
        )
        array = np.asarray(x)
        fast = {"specux": theirs(array)} if theirs else {}
        report.times(
            f"{name} {shape}, forward",
            jitted(forward, x),
            {
                **fast,
                "torch": opponents.torch_transforms(n_ffts, matrix, array, False),
            },
        )
        report.times(
            f"{name} {shape}, sum of squares, value and gradient",
            jitted(jax.value_and_grad(squares), x),
            {"torch": opponents.torch_transforms(n_ffts, matrix, array, True)},
        )
        (more, _) = noise(4 * shape[0], shape[1])
        held = [temporary_bytes(forward, a) / 1e6 for a in (more, x)]
        what = f"{name}, forward, temporary memory at batch {4 * shape[0]}"
        report.values(what, held[0], f"batch {shape[0]}", held[1], "MB")


def combinations(report: Report, shape: tuple[int, ...]) -> None:
    """What `vmap`, sums, repeated transforms and `lengths` cost."""
    x, y = noise(*shape)
    grad, loss = jax.value_and_grad, ke.MRSTFTLoss()
    rows = x.reshape(-1, shape[-1]), y.reshape(-1, shape[-1])
    report.times(
        f"jax.vmap(mrstft) {shape}, values and gradients",
        jitted(jax.vmap(grad(loss)), *rows),
        {"not mapped": jitted(grad(loss), *rows)},
    )

    def stft(n: int, **options: Any) -> ke.TimeFrequencyLoss:
        return ke.TimeFrequencyLoss(ke.Spectrogram(n, n // 4), **options)

    parts = [stft(n, loss_fn=ke.ElementwiseLoss()) for n in (128, 256, 512, 1024)]
    parts.append(ke.WaveformLoss())
    calls = [jitted(grad(part), x, y) for part in parts]
    report.times(
        f"sum of five losses {shape}, value and gradient",
        jitted(grad(ke.SumLoss(parts)), x, y),
        {"its parts": lambda: [call() for call in calls]},
    )
    kinds = (
        ke.ElementwiseLoss(),
        ke.ElementwiseLoss("L2"),
        ke.SpectralConvergenceLoss(),
    )
    repeated = ke.SumLoss([stft(1024, loss_fn=kind) for kind in kinds])
    report.times(
        f"three losses of one transform {shape}, value and gradient",
        jitted(grad(repeated), x, y),
        {"one of them": jitted(grad(stft(1024, loss_fn=kinds[0])), x, y)},
    )
    lengths = jnp.full(shape[:-1], shape[-1] - 7)
    report.times(
        f"mrstft with lengths {shape}, value and gradient",
        jitted(grad(lambda x, y: loss(x, y, lengths=lengths)), x, y),
        {"without": jitted(grad(loss), x, y)},
    )


def pairs(report: Report, shape: tuple[int, int]) -> None:
    """Every signal of a batch with every one of another, by `jax.vmap`."""
    x, y = noise(*shape)

    def all_pairs(loss: Callable[..., Any]) -> Callable[..., Any]:
        each = jax.vmap(jax.vmap(loss, (None, 0)), (0, None))
        return lambda x, y: jnp.mean(each(x, y))

    rows = both(all_pairs(ke.MRSTFTLoss()), all_pairs(plain.mrstft), x, y)
    for kind, ours, theirs in rows:
        name = f"all pairs of two batches {shape}, mrstft, {kind}"
        report.times(name, ours, {"jax.numpy": theirs})


def sources(report: Report, numbers: list[int], shape: tuple[int, int]) -> None:
    """Losses of sources in any order, and as many calls of the loss in theirs."""
    loss, grad = ke.MRSTFTLoss(), jax.value_and_grad
    in_order = jitted_each(grad(loss))
    for n in numbers:
        x, y = noise(shape[0], n, shape[1])
        each = [(x[:, i], y[:, i]) for i in range(n)]
        report.times(
            f"mrstft of {n} sources in any order {x.shape}, value and gradient",
            jitted(grad(ke.PermutationInvariantLoss(loss)), x, y),
            {f"{n} calls": functools.partial(in_order, each)},
        )


def compiling_a_sum(report: Report, shape: tuple[int, ...]) -> None:
    """Time to a compiled value and gradient of a sum of three losses."""
    x, y = noise(*shape)
    ours = ke.SumLoss(
        [
            ke.MRSTFTLoss(),
            ke.SmoothMRSTFTLoss(),
            ke.TimeFrequencyLoss(ke.Spectrogram(1024, 256), ke.ElementwiseLoss("L2")),
        ]
    )

    def theirs(x: jax.Array, y: jax.Array) -> jax.Array:
        spectrogram = functools.partial(korvax.spectrogram, n_fft=1024, hop_length=256)
        elementwise = functools.partial(korvax.loss.elementwise_loss, metric="L2")
        return (
            korvax.loss.mrstft_loss(x, y)
            + korvax.loss.smooth_mrstft_loss(x, y)
            + korvax.loss.time_frequency_loss(x, y, spectrogram, elementwise)
        )

    grad = jax.value_and_grad
    seconds = [compile_seconds(grad(fn), x, y) for fn in (ours, theirs)]
    name = f"sum of three losses {shape}, value and gradient, compile time"
    report.values(name, *_named("korvax", (seconds[0], seconds[1])), "s")


def small(report: Report) -> None:
    """One short signal: what a call costs, and what compiling costs."""
    x, y = noise(1, 4096)
    loss = ke.MRSTFTLoss()
    theirs = jitted(korvax.loss.mrstft_loss, x, y)
    report.times(
        "mrstft (1, 4096), called eagerly",
        lambda: loss(x, y),
        {"korvax jitted": theirs},
    )
    x, y = noise(8, 1, 65536)
    pairs = [
        [
            compile_seconds(jax.value_and_grad(f), x, y)
            for f in (loss, korvax.loss.mrstft_loss)
        ]
        for _ in range(min(5, report.rounds))
    ]
    seconds = [statistics.median(times) for times in zip(*pairs, strict=True)]
    name = "mrstft (8, 1, 65536), value and gradient, compile time"
    report.values(name, seconds[0], "korvax", seconds[1], "s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    parser.add_argument("--rounds", type=int, help="rounds of calls to take medians of")
    options = parser.parse_args()
    quick = options.quick
    report = Report(options.rounds or (2 if quick else 15))
    long = (2, 1, 8192) if quick else (32, 1, 44100)
    mrstft(report, [long] if quick else [(8, 1, 65536), long])
    floor(report, long)
    memory(report, long, (2, 8) if quick else (8, 512))
    memory_of_one_signal(report, 200_000 if quick else 26_000_000)
    transport(report, (1, 257, 20) if quick else (8, 1025, 129))
    others(report, long)
    transforms(report, (2, 8192) if quick else (32, 44100))
    combinations(report, long)
    pairs(report, (2, 4096) if quick else (16, 16000))
    sources(report, [2] if quick else [2, 3, 4, 8], (2, 4096) if quick else (8, 44100))
    small(report)
    compiling_a_sum(report, (2, 1, 8192) if quick else (8, 1, 65536))
    if quick:
        constant_q(report, 8192, n_bins=6, sr=4000)
    else:
        constant_q(report, 65536, n_bins=84, sr=22050)
    Console(width=200 if not sys.stdout.isatty() else None).print(report.table)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
