"""`examples/train_separation.py`: it learns, goes on after a stop, and its parts."""

import csv
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
import soundfile
from promotion import usual_promotion

import korvax_eqx as ke

pytestmark = pytest.mark.long

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a module of the examples by its name; types as for whoever runs it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with usual_promotion():
        yield importlib.import_module


def write_sounds(folder: Path, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.standard_normal(9000), 16_000)


def test_stopped_and_resumed_is_bit_for_bit(
    examples: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a folder of sounds, which may be moved in between."""
    script = examples("train_separation")

    def run(*arguments: Any) -> None:
        monkeypatch.setattr(sys, "argv", ["train_separation.py", *map(str, arguments)])
        script.main()

    folder, moved = tmp_path / "sounds", tmp_path / "moved"
    write_sounds(folder, 3)
    one, other = tmp_path / "stopped", tmp_path / "not stopped"
    common = ("--quick", "--data", folder)
    run(*common, "--out", other, "--epochs", 2)
    run(*common, "--out", one, "--epochs", 1)
    with open(one / "checkpoint.eqx", "rb") as file:
        assert len(json.loads(file.readline())["table"]) == 2
    folder.rename(moved)
    run("--resume", one / "checkpoint.eqx", "--data", moved, "--epochs", 2)

    separation = examples("_separation")
    first = separation.load(one / "checkpoint.eqx")
    second = separation.load(other / "checkpoint.eqx")
    assert first.table[0].keys() == second.table[0].keys()
    np.testing.assert_array_equal(
        [list(row.values()) for row in first.table],
        [list(row.values()) for row in second.table],
    )
    tail = [
        (out / "checkpoint.eqx").read_bytes().partition(b"\n")[2]
        for out in (one, other)
    ]
    assert tail[0] == tail[1]
    assert (one / "epochs.csv").read_text() == (other / "epochs.csv").read_text()
    with open(one / "epochs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert np.isfinite(float(rows[-1]["improvement_db"]))
    picture = matplotlib.image.imread(one / "separation.png")
    assert min(picture.shape[:2]) > 400 and picture.std() > 0.1
    x, sr = soundfile.read(one / "separation.wav")
    assert sr == 16_000 and x.shape == (3 * 8192,) and np.all(np.isfinite(x))

    write_sounds(tmp_path / "more", 4)
    with pytest.raises(SystemExit, match="are not those of the checkpoint"):
        run("--resume", one / "checkpoint.eqx", "--data", tmp_path / "more")
    (one / "checkpoint.eqx").write_bytes(b"{}\n")
    with pytest.raises(SystemExit, match="Cannot resume"):
        run("--resume", one / "checkpoint.eqx")


def test_the_network_learns(examples: Any) -> None:
    """A smaller one, in a few steps; the default gains more, see the README."""
    voices, separation = examples("_voices"), examples("_separation")
    sounds = examples("_sounds")
    settings = separation.Settings(
        batch=4, samples=8192, width=32, dilations=(1, 2), rate=5e-3
    )
    model, state = separation.start(settings)
    step = separation.make_step(settings)

    def made(number: int, count: int, part: int) -> np.ndarray:
        return voices.mixtures(voices.Voices(), 0, number, count, 8192, part)

    def gain(model: Any) -> float:
        held_out = jnp.asarray(made(0, 16, sounds.HELD_OUT))
        return float(jnp.mean(separation.separated(model, held_out)[1]))

    before = gain(model)
    for number in range(80):
        model, state, _ = step(model, state, made(number, 4, sounds.TRAINING))
    assert abs(before) < 1
    assert gain(model) > before + 1.5  # 2.2 dB


def test_estimates_are_in_the_order_of_the_voices(examples: Any) -> None:
    """And what they gain is the difference of two ratios."""
    voices, separation = examples("_voices"), examples("_separation")
    model, _ = separation.start(separation.QUICK)
    x = jnp.asarray(voices.mixtures(voices.Voices(), 0, 0, 3, 8192, 0))
    estimates, gains = separation.separated(model, x)
    swapped, same = separation.separated(model, x[:, ::-1])
    np.testing.assert_allclose(swapped, estimates[:, ::-1], rtol=0, atol=1e-6)
    np.testing.assert_allclose(same, gains, rtol=0, atol=1e-4)
    loss, mixture = ke.SISDRLoss(), jnp.sum(x, axis=1)
    for i in range(3):
        before = [loss(mixture[i], voice) for voice in x[i]]
        after = [loss(*pair) for pair in zip(estimates[i], x[i], strict=True)]
        expected = np.mean(before) - np.mean(after)
        np.testing.assert_allclose(gains[i], expected, rtol=0, atol=1e-4)


def test_mixtures_depend_on_their_numbers_alone(examples: Any) -> None:
    voices = examples("_voices")
    whole = voices.mixtures(voices.Voices(), 0, 7, 6, 8000, 0)
    assert whole.shape == (6, 2, 8000) and whole.dtype == np.float32
    np.testing.assert_array_equal(
        voices.mixtures(voices.Voices(), 0, 7, 2, 8000, 0), whole[:2]
    )
    np.testing.assert_allclose(np.sqrt(np.mean(whole**2, -1)), 0.1, rtol=1e-4)
    for seed, step, part in [(1, 7, 0), (0, 8, 0), (0, 7, 1)]:
        other = voices.mixtures(voices.Voices(), seed, step, 6, 8000, part)
        assert not np.any(np.all(np.isclose(other, whole), axis=-1))
    # Low and high voices come first alike.
    power = np.abs(np.fft.rfft(whole * np.hanning(8000))) ** 2
    low = power[..., 40:66].sum(-1)  # 80 to 130 Hz, where a high voice has nothing
    assert len(set(np.argmax(low, axis=-1).tolist())) == 2
