"""`examples/train_pitch_encoder.py`: transport teaches the pitch, and its parts."""

import csv
import dataclasses
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
from promotion import usual_promotion

pytestmark = pytest.mark.long

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import a module of the examples by its name; types as for whoever runs it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with usual_promotion():
        yield importlib.import_module


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_interrupted_and_resumed_is_bit_for_bit(
    examples: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a run."""
    script, parts = examples("train_pitch_encoder"), examples("_pitch_encoder")

    def run(*arguments: Any) -> None:
        command = ["train_pitch_encoder.py", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        script.main()

    one, other = tmp_path / "interrupted", tmp_path / "not"
    run("--quick", "--out", other)

    def interrupt(path: Path, study: Any) -> None:
        parts.save(path, study)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(script, "save", interrupt)
        run("--quick", "--out", one)
    assert parts.load(one / "checkpoint.eqx").epoch == 1
    run("--resume", one / "checkpoint.eqx")
    for name in ("runs.csv", "log.csv", "pitch_encoder.md"):
        assert (one / name).read_text() == (other / name).read_text()
    rows = read(one / "runs.csv")
    assert [row["seed"] for row in rows] == ["0", "1"]
    assert len(read(one / "log.csv")) == 4
    picture = matplotlib.image.imread(one / "pitch_encoder.png")
    assert min(picture.shape[:2]) > 400 and picture.std() > 0.03

    (one / "checkpoint.eqx").write_bytes(b"{}\n")
    with pytest.raises(SystemExit, match="Cannot resume"):
        run("--resume", one / "checkpoint.eqx")


ON_TWO_DEVICES = """
import jax
jax.config.update("jax_num_cpu_devices", 2)
import numpy as np
import _pitch_encoder as parts
import _processes
settings = parts.QUICK
signals, _, _ = parts.make_signals(settings)
arrays = signals.x[:4], signals.features[:4], signals.amplitudes[:4]
layout = _processes.layout(4)
cut = tuple(map(layout.spread, arrays))
assert len(cut[0].sharding.device_set) == 2
model, state = parts.start(settings, 0)
step = parts.make_step(settings, parts.LOSSES["PitchTransportLoss"]())
results = [step(model, state, *some, jax.random.key(0)) for some in (arrays, cut)]
for (_, (_, (one, _)), value), (_, (_, (two, _)), other) in [results]:
    np.testing.assert_allclose(value, other, rtol=1e-5)
    # Adam's first moments: a tenth of the gradient.
    a, b = (np.concatenate([*map(np.ravel, jax.tree.leaves(m.mu))]) for m in (one, two))
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.max(np.abs(b)))
"""


def test_a_step_on_two_devices_is_that_on_one() -> None:
    """The loss and the gradient; Adam's sign of what is nearly 0 is rounding."""
    result = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES],
        cwd=EXAMPLES,
        env={**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-3000:]


def test_transport_teaches_the_pitch_and_magnitudes_do_not(examples: Any) -> None:
    """A smaller one, of an octave; for the default see the page of the examples."""
    parts = examples("_pitch_encoder")
    settings = dataclasses.replace(
        parts.Settings(),
        signals=400,
        batch=8,
        channels=(8, 8, 8, 8, 1),
        rate=2e-3,
        epochs=4,
    )
    assert settings.sizes == [280, 80, 40] and settings.steps == 35
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parts, "FREQUENCIES", (300.0, 600.0))
        training, validation, _ = parts.make_signals(settings)

    def accuracy(name: str) -> float:
        model, state = parts.start(settings, 0)
        step = parts.make_step(settings, parts.LOSSES[name]())
        for i in range(80):
            rows = np.random.default_rng(i).integers(0, 280, 8)
            x, seen, amplitudes, _ = training.part(rows)
            model, state, _ = step(model, state, x, seen, amplitudes, jax.random.key(i))
        pitch, _ = jax.vmap(model)(validation.features[:, 0])
        error = np.abs(1200 * np.log2(pitch / validation.f0))
        return float(100 * np.mean(error < 50))

    assert accuracy("PitchTransportLoss") > 90
    assert accuracy("recipes.mrstft") < 20


class Told(eqx.Module):
    """A model that is told the pitch, and multiplies it."""

    factor: float = eqx.field(static=True)

    def __call__(self, frame: jax.Array, key: None) -> tuple[jax.Array, jax.Array]:
        return self.factor * frame[0], frame[1:]


def test_measures(examples: Any) -> None:
    """Of the right pitch, an octave too high, and a quarter tone and more too low."""
    parts = examples("_pitch_encoder")
    settings = dataclasses.replace(parts.QUICK, signals=20)
    signals, _, _ = parts.make_signals(settings)
    # In place of the CQT: pitch and amplitudes.
    frames = np.concatenate([signals.f0[:, None], signals.amplitudes], 1)[:, None]
    expected = {1.0: (100, 100, 0), 2.0: (0, 100, 100), 0.96: (0, 0, 0)}
    for factor, values in expected.items():
        result = parts.measure(
            settings, Told(factor), signals.x, frames, signals.amplitudes, signals.f0
        )
        names = ("raw_pitch_accuracy", "raw_chroma_accuracy", "octave_errors")
        for name, value in zip(names, values, strict=True):
            np.testing.assert_array_equal(result[name], value)
        distance = np.mean(result["log_spectral_distance"])
        assert distance < 1e-3 if factor == 1 else distance > 10


def test_the_synthesiser(examples: Any) -> None:
    """One pitch, by hand; and a glide with fading harmonics, by their phases."""
    parts = examples("_pitch_encoder")
    f0, amplitudes = np.array([3000.0]), np.array([[0.5, 0.3, 0.2]])
    t = np.arange(1, parts.SAMPLES + 1) / parts.SR
    # The third harmonic is above half the sample rate.
    expected = sum(
        a * np.sin(2 * np.pi * 3000 * k * t) for k, a in ((1, 0.5), (2, 0.3))
    )
    x = parts.synthesise(jnp.float32(f0), jnp.float32(amplitudes))
    np.testing.assert_allclose(x, expected, atol=2e-3)

    f0, amplitudes = np.array([200.0, 400.0]), np.array([[1.0, 0.0], [0.0, 1.0]])
    x = parts.synthesise(jnp.float32(f0), jnp.float32(amplitudes))
    half = parts.SAMPLES // 2
    middles = np.arange(2) * half + half / 2 - 0.5
    pitch = np.interp(np.arange(parts.SAMPLES), middles, f0)
    phase = 2 * np.pi * np.cumsum(pitch) / parts.SR
    fade = np.where(
        np.arange(parts.SAMPLES) < half,
        np.sin(np.pi / 2 * np.arange(parts.SAMPLES) / half) ** 2,
        1.0,
    )
    expected = (1 - fade) * np.sin(phase) + fade * np.sin(2 * phase)
    np.testing.assert_allclose(x, expected, atol=2e-3)
