"""Compare every recipe with the project that it reproduces, and print a table.

    python tests/benchmarks/recipes.py            writes the table into RECIPES.md
    python tests/benchmarks/recipes.py --only rave vocos    renews these rows
    python tests/benchmarks/recipes.py --quick    small signals; prints, and checks

Differences are those of value and gradient in float64, relative to the largest entry.
Times are of this process's CPU in float32, medians of calls in turn; PyTorch runs
eagerly. Memory is what XLA's analysis says of ours. Where an original cannot be
imported (`originals.py` says how to install them) or has no package, the recipe is
compared with its formula in NumPy, from the tests; of the gradient then the slope along
one direction, by differences of values.

Both run on one thread: the CPU time of several counts those that spin and wait.
"""

import argparse
import contextlib
import dataclasses
import functools
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false "
    "intra_op_parallelism_threads=1"
)

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

ROOT = Path(__file__).parent
sys.path[:0] = [str(ROOT), str(ROOT.parent), str(ROOT.parent / "helpers")]

import originals  # noqa: E402
import recipes_numpy as formulas  # noqa: E402
import recipes_numpy_speech as speech  # noqa: E402
from intelligibility_numpy import pmsqe  # noqa: E402
from measure import temporary_bytes  # noqa: E402
from opponents import torch_value_and_grad  # noqa: E402

from korvax_eqx import recipes  # noqa: E402

SR = 44100
TABLE = ROOT / "RECIPES.md"
MARKS = "<!-- table -->", "<!-- end of table -->"
# Of values: some originals compute partly in float32, whatever they are given.
LIMIT = 1e-6
# Seconds for the timed calls of a recipe.
BUDGET = 5.0


@dataclasses.dataclass(frozen=True)
class Case:
    """A recipe with what it is compared with.

    **Arguments:**

    - `make`: makes ours.
    - `original`, `make_original`: its name, and how to make it.
    - `formula`: of two batches in NumPy, in place of the original.
    - `one_signal`: whether the two are compared for one signal: the original takes
        means over a batch in another way.
    - `n_channels`: of the signals.
    """

    make: Callable[[], Any]
    original: str = "formula"
    make_original: Callable[[], Callable[..., Any]] | None = None
    formula: Callable[..., Any] | None = None
    one_signal: bool = False
    n_channels: int = 1


def _drawn() -> tuple[Any, list[tuple[Any, ...]]]:
    """auraloss's random loss with one draw, and the sizes that are drawn."""
    loss, key = recipes.auraloss_random(max_fft_size=4096), jax.random.key(0)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 8192)), jnp.float32)
    _, terms = loss.with_terms(x, 0.5 * x, key=key)
    drawn = [name for name in loss.losses if any(_of(terms, name))]
    sizes = []
    for name in drawn:
        n_fft, hop, win_length, window = name.split("#")[0].split("-", 3)
        sizes.append((int(n_fft), int(hop), int(win_length), window))
    return functools.partial(loss, key=key), sizes


def _of(terms: dict[str, Any], name: str) -> list[bool]:
    return [
        bool(value != 0)
        for term, value in terms.items()
        if term == name or term.startswith(f"{name}/")
    ]


def _summed(x: np.ndarray, y: np.ndarray) -> Any:
    signed = ((s[:, 0] + sign * s[:, 1] for s in (x, y)) for sign in (1, -1))
    return sum(formulas.auraloss(*pair) for pair in signed) / 2


def _of_each(formula: Callable[..., Any]) -> Callable[..., Any]:
    """The mean over signals of a formula of one."""
    return lambda x, y: np.mean([formula(a, b) for a, b in zip(x, y, strict=True)])


def _smooth(kind: str) -> Callable[..., Any]:
    from test_recipes_smooth import differences

    def formula(x: np.ndarray, y: np.ndarray) -> Any:
        if kind == "auraloss":
            return np.mean([np.mean(d**2) for d in differences(x, y, floor=1e-8)])
        sums = [np.sum(d**2) for d in differences(x, y)]
        return np.sum(np.sqrt(sums) if kind == "scrapl" else sums)

    return _of_each(formula)


def _sot_paper(x: np.ndarray, y: np.ndarray) -> Any:
    from test_recipes_sot import paper

    sizes = {"positions": np.linspace(0, 1, 1025), "n_fft": 2048, "hop_length": 256}
    return _of_each(functools.partial(paper, **sizes))(x, y)


def _loudness(x: np.ndarray, y: np.ndarray) -> Any:
    from test_loudness_ratio import as_torchaudio, ratio

    formula = functools.partial(ratio, weigh=as_torchaudio, mean=True)
    return _of_each(lambda x, y: formula(x, y, 16000, 16, 0.5, 0.5, 1.0))(x, y)


DAC: dict[str, Any] = {
    "n_mels": [5, 10, 20, 40, 80, 160, 320],
    "window_lengths": [32, 64, 128, 256, 512, 1024, 2048],
    "mel_fmin": [0.0] * 7,
    "mel_fmax": [None] * 7,
    "pow": 1.0,
    "mag_weight": 0.0,
}


def cases() -> dict[str, Case]:
    o, f = originals, formulas
    random, drawn = _drawn()

    def auraloss(make: Any, name: str, *args: Any, **options: Any) -> Case:
        original = functools.partial(o.auraloss, name, *args)
        return Case(make, "auraloss", original, **options)

    def of(package: str, make: Any, original: Any, *args: Any, **options: Any) -> Case:
        return Case(make, package, functools.partial(original, *args), **options)

    return {
        "auraloss_stft": auraloss(
            recipes.auraloss_stft,
            "STFTLoss",
            formula=lambda x, y: f.auraloss(x, y, [(1024, 256, 1024)]),
        ),
        "auraloss_mrstft": auraloss(
            recipes.auraloss_mrstft, "MultiResolutionSTFTLoss", formula=f.auraloss
        ),
        "auraloss_mel": auraloss(
            lambda: recipes.auraloss_mel(SR),
            "MelSTFTLoss",
            SR,
            formula=lambda x, y: f.auraloss(x, y, [(1024, 256, 1024)], mel=(SR, 128)),
        ),
        "auraloss_sum_difference": auraloss(
            recipes.auraloss_sum_difference,
            "SumAndDifferenceSTFTLoss",
            *map(list, zip(*f.SIZES, strict=True)),
            formula=_summed,
            n_channels=2,
        ),
        "auraloss_random": of(
            "auraloss",
            lambda: random,
            o.auraloss_drawn,
            drawn,
            formula=lambda x, y: np.mean(
                [
                    f.auraloss(x, y, [size], window=recipes_window(window))
                    for *size, window in drawn
                ]
            ),
        ),
        # denoiser's is a copy of ParallelWaveGAN's, with factors.
        "parallel_wavegan": of(
            "denoiser",
            recipes.parallel_wavegan,
            o.denoiser,
            1.0,
            1.0,
            formula=f.parallel_wavegan,
        ),
        "parallel_wavegan_mel": Case(
            recipes.parallel_wavegan_mel, formula=f.parallel_wavegan_mel
        ),
        "hifigan_mel": Case(lambda: recipes.hifigan_mel(22050), formula=f.hifigan_mel),
        "denoiser": of(
            "denoiser",
            recipes.denoiser,
            o.denoiser,
            0.1,
            0.1,
            formula=lambda x, y: f.parallel_wavegan(x, y, factors=(0.1, 0.1)),
        ),
        "audiocraft_mrstft": of(
            "audiocraft",
            recipes.audiocraft_mrstft,
            o.audiocraft_mrstft,
            formula=f.audiocraft_mrstft,
            one_signal=True,
        ),
        "encodec_mel": of(
            "audiocraft",
            lambda: recipes.encodec_mel(24000),
            o.audiocraft_mel,
            24000,
            formula=f.encodec_mel,
        ),
        "ddsp": Case(
            lambda: recipes.ddsp(logmag_weight=1.0),
            formula=functools.partial(f.ddsp, mag_weight=1.0, logmag_weight=1.0),
        ),
        "audiotools_stft": of(
            "audiotools",
            recipes.audiotools_stft,
            o.audiotools,
            "MultiScaleSTFTLoss",
            SR,
            formula=f.audiotools,
        ),
        "audiotools_mel": of(
            "audiotools",
            lambda: recipes.audiotools_mel(SR),
            o.audiotools,
            "MelSpectrogramLoss",
            SR,
            formula=functools.partial(f.audiotools, mels=(150, 80)),
        ),
        "dac_mel": of(
            "audiotools",
            lambda: recipes.dac_mel(SR),
            functools.partial(o.audiotools, **DAC),
            "MelSpectrogramLoss",
            SR,
            formula=lambda x, y: f.audiotools(
                x, y, DAC["window_lengths"], DAC["n_mels"], 0.0, 1.0
            ),
        ),
        "rave": of("acids-rave", recipes.rave, o.rave, formula=f.rave),
        "asteroid": of("asteroid", recipes.asteroid, o.asteroid, formula=f.asteroid),
        "sot": of("sot-loss", recipes.sot, o.sot, "Wasserstein1DLoss"),
        "sot_multiresolution": of(
            "sot-loss", recipes.sot_multiresolution, o.sot, "MultiResolutionSOTLoss"
        ),
        "sot_paper": Case(recipes.sot_paper, formula=_sot_paper),
        "smooth_paper": Case(recipes.smooth_paper, formula=_smooth("paper")),
        "smooth_scrapl": Case(recipes.smooth_scrapl, formula=_smooth("scrapl")),
        "smooth_auraloss": Case(recipes.smooth_auraloss, formula=_smooth("auraloss")),
        "flamo_mss": of("flamo", recipes.flamo_mss, o.flamo, one_signal=True),
        "cel": of("cels-audio", recipes.cel, o.cel),
        "l1snr_db": of("torch-l1-snr", recipes.l1snr_db, o.l1_snr, "L1SNRDBLoss"),
        "l1snr_db_stft": of(
            "torch-l1-snr", recipes.l1snr_db_stft, o.l1_snr, "STFTL1SNRDBLoss"
        ),
        "l1snr_db_multi": of(
            "torch-l1-snr", recipes.l1snr_db_multi, o.l1_snr, "MultiL1SNRDBLoss"
        ),
        "log_wmse": of("torch-log-wmse", lambda: recipes.log_wmse(SR), o.log_wmse, SR),
        "vocos": of("vocos", recipes.vocos, o.vocos, formula=speech.vocos),
        "bigvgan": Case(
            lambda: recipes.bigvgan(SR),
            formula=lambda x, y: speech.bigvgan(
                x, y, SR, DAC["window_lengths"], DAC["n_mels"]
            ),
        ),
        "stable_audio": of(
            "auraloss",
            lambda: recipes.stable_audio(SR),
            o.stable_audio,
            [list(column) for column in zip(*speech.STEREO_SIZES, strict=True)],
            SR,
            one_signal=True,
            n_channels=2,
        ),
        "nemo_codec": Case(
            lambda: recipes.nemo_codec(SR),
            formula=lambda x, y: speech.nemo_codec(x, y, SR),
        ),
        "gtcrn": Case(recipes.gtcrn, formula=speech.gtcrn),
        "deepfilternet": of(
            "deepfilternet",
            recipes.deepfilternet,
            o.deepfilternet,
            formula=speech.deepfilternet,
        ),
        "apnet2": Case(recipes.apnet2, formula=speech.apnet2),
        "freev": Case(recipes.freev, formula=speech.freev),
        "mp_senet": Case(recipes.mp_senet, formula=f.mp_senet),
        "mb_melgan": Case(recipes.mb_melgan, formula=f.mb_melgan),
        "rave(n_bands=16)": Case(
            lambda: recipes.rave((512, 256, 128), n_bands=16),
            formula=lambda x, y: f.rave_objective(x, y, (512, 256, 128)),
        ),
        "pmsqe": of(
            "asteroid",
            lambda: recipes.pmsqe(16000),
            o.pmsqe,
            16000,
            formula=_of_each(lambda x, y: pmsqe(x, y, 16000)),
        ),
        "audiocraft_loudness_ratio": Case(
            lambda: recipes.audiocraft_loudness_ratio(16000, n_bands=16),
            formula=_loudness,
        ),
        "flamo_edc": of(
            "flamo",
            recipes.flamo_edc,
            functools.partial(o.flamo_decay, is_broadband=True),
            "edc_loss",
            formula=_of_each(f.flamo_edc),
            one_signal=True,
        ),
        "flamo_edr": of(
            "flamo",
            lambda: recipes.flamo_edr(48000),
            functools.partial(o.flamo_decay, sample_rate=48000),
            "edr_loss",
            formula=_of_each(f.flamo_edr),
            one_signal=True,
        ),
    }


def recipes_window(window: str) -> Any:
    """A window of torch's by the name that SciPy has for it."""
    name = window.removesuffix("_window")
    return ("kaiser", 12.0) if name == "kaiser" else name


def relative(actual: Any, desired: Any) -> float:
    actual, desired = np.asarray(actual), np.asarray(desired)
    return float(np.max(np.abs(actual - desired)) / np.max(np.abs(desired)))


@contextlib.contextmanager
def default_dtype(dtype: str) -> Iterator[None]:
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def in_double(ours: Any, x: np.ndarray, y: np.ndarray) -> Any:
    with jax.enable_x64(True):
        # Optimising would take most of the time.
        options: Any = {"xla_backend_optimization_level": 0}
        fn = jax.jit(jax.value_and_grad(ours), compiler_options=options)
        own = fn(jnp.asarray(x), jnp.asarray(y))
        return jax.tree.map(np.asarray, own)


def from_original(
    case: Case, ours: Any, x: np.ndarray, y: np.ndarray
) -> tuple[float, float]:
    """Return the relative differences of value and gradient."""
    import torch

    assert case.make_original is not None
    with default_dtype("float64"):
        theirs = case.make_original()
        estimate = torch.tensor(x, requires_grad=True)
        value = theirs(estimate, torch.tensor(y))
        (gradient,) = torch.autograd.grad(value, estimate)
    own = in_double(ours, x, y)
    return relative(own[0], value.detach()), relative(own[1], gradient)


def from_formula(
    case: Case, ours: Any, x: np.ndarray, y: np.ndarray
) -> tuple[float, float]:
    """Return the relative differences of the value and of the slope in a direction."""
    formula = case.formula
    assert formula is not None
    value, gradient = in_double(ours, x, y)
    v = np.random.default_rng(1).standard_normal(x.shape) * 0.1

    def along(h: float) -> Any:
        return (formula(x + h * v, y) - formula(x - h * v, y)) / (2 * h)

    slope = (4 * along(0.5e-7) - along(1e-7)) / 3
    return relative(value, formula(x, y)), relative(np.sum(gradient * v), slope)


def cpu_seconds(calls: list[Callable[[], Any]], rounds: int) -> list[float]:
    """Return the median CPU time of each call, made in turn, in about the budget."""
    times: list[list[float]] = [[] for _ in calls]
    first = time.perf_counter()
    for round_ in range(rounds + 1):
        for call, own in zip(calls, times, strict=True):
            jax.block_until_ready(call())  # gives back what the other has left
            start = time.process_time()
            jax.block_until_ready(call())
            if round_:
                own.append(time.process_time() - start)
        if round_ and time.perf_counter() - first > BUDGET / 2:
            break
    return [statistics.median(own) for own in times]


def speeds(case: Case, ours: Any, x: np.ndarray, y: np.ndarray, rounds: int) -> str:
    assert case.make_original is not None
    ratios = []
    with default_dtype("float32"):
        theirs = case.make_original()
        for is_gradient in (False, True):
            fn = jax.jit(jax.value_and_grad(ours) if is_gradient else ours)
            own = [jnp.asarray(a) for a in (x, y)]
            calls = [
                lambda fn=fn, own=own: fn(*own),
                torch_value_and_grad(theirs, x, y, gradient=is_gradient),
            ]
            mine, other = cpu_seconds(calls, rounds)
            ratios.append(f"{other / mine:.1f}x")
    return " | ".join(ratios)


def row(
    name: str, case: Case, shape: tuple[int, ...], rounds: int, is_quick: bool
) -> tuple[str, float]:
    """Return a row of the table, and the relative difference of the values."""
    rng = np.random.default_rng(0)
    if case.n_channels > 1:
        shape = (max(1, shape[0] // case.n_channels), case.n_channels, shape[1])
    pair = [rng.standard_normal(shape).astype(np.float32) * 0.1 for _ in "xy"]
    few = [s[: 1 if case.one_signal else 2, ..., :11025].astype(float) for s in pair]
    ours: Any = case.make()
    original = case.original
    try:
        if case.make_original is None:
            raise ImportError("there is no package")
        differing, speed = from_original(case, ours, *few), ""
    except ImportError:
        if case.formula is None:
            raise
        original, differing, speed = "formula", from_formula(case, ours, *few), "- | -"
    memory = ""
    if not is_quick:
        speed = speed or speeds(case, ours, *pair, rounds)
        arrays = [jnp.asarray(s) for s in pair]
        size = temporary_bytes(jax.value_and_grad(ours), *arrays)
        memory = f"{size / 1e6:.1f} MB"
    value, gradient = (f"{d:.0e}" for d in differing)
    cells = f"{original} | {value} | {gradient} | {speed or '- | -'} | {memory or '-'}"
    return f"| `{name}` | {cells} |", differing[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="compare and time nothing")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of calls")
    parser.add_argument("--shape", type=int, nargs=2, help="of the signals")
    parser.add_argument("--only", nargs="+", help="recipes, whose rows are renewed")
    options = parser.parse_args()
    all_cases = cases()
    if not {*(options.only or ())} <= {*all_cases}:
        parser.error(f"--only takes {', '.join(all_cases)}")
    shape = tuple(options.shape or ((2, 4410) if options.quick else (8, 44100)))
    lines, skipped, wrong = {}, [], []
    warnings.simplefilter("ignore")  # of the packages, and of NumPy's logarithms of 0
    for name, case in all_cases.items():
        if options.only and name not in options.only:
            continue
        try:
            line, value = row(name, case, shape, options.rounds, options.quick)
        except ImportError as error:
            skipped.append(f"{name}: {case.original} cannot be imported, {error}")
            continue
        lines[name] = line
        print(line, flush=True)
        if value > LIMIT:
            wrong.append(f"{name}: the values differ by {value:.1e}")
    if options.only:
        lines = written() | lines
    table = "\n".join(
        [
            "| recipe | original | value | gradient | speed of value | of value and "
            "gradient | memory |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
            *(lines[name] for name in all_cases if name in lines),
            "",
            f"Signals of shape {shape}; differences are those of two of 11025 samples. "
            f"JAX {jax.__version__} and PyTorch on CPU, one thread each.",
            *(f"\nNot compared: {line}." for line in skipped),
        ]
    )
    if not options.quick:
        write(table)
    for line in skipped + wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def written() -> dict[str, str]:
    """Return the rows of the table by their recipes."""
    lines = TABLE.read_text("utf-8").split(MARKS[0])[1].split(MARKS[1])[0].splitlines()
    return {line.split("`")[1]: line for line in lines if line.startswith("| `")}


def write(table: str) -> None:
    """Put the table between its marks."""
    text = TABLE.read_text("utf-8")
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    TABLE.write_text(f"{before}{MARKS[0]}\n\n{table}\n\n{MARKS[1]}{after}", "utf-8")


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    sys.exit(main())
