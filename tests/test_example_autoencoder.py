"""`examples/train_autoencoder.py`: interrupted and resumed, and its parts."""

import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
import soundfile

import korvax_eqx as ke

pytestmark = pytest.mark.long

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPT = EXAMPLES / "train_autoencoder.py"
PATIENCE = 600  # seconds, for a machine that is busy with other things


def start(*arguments: Any) -> subprocess.Popen[str]:
    flags = "--xla_backend_optimization_level=0"  # compiled faster
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors[-3000:]
    return output


def header_of(checkpoint: Path) -> dict[str, Any]:
    with open(checkpoint, "rb") as file:
        return json.loads(file.readline())


def write_sounds(folder: Path, count: int) -> None:
    """Noise of half a second, in all kinds of rates and channels."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        sr = (16_000, 22_050, 8_000)[i % 3]
        x = 0.1 * rng.standard_normal((sr // 2, 1 + i % 2))
        soundfile.write(folder / f"{i:02d}.{('wav', 'flac')[i % 2]}", x, sr)


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of the examples by its name."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def test_interrupted_and_resumed_is_bit_for_bit(tmp_path: Path) -> None:
    """On a folder of sounds, with a saved loss that has a learnable window."""
    folder, saved = tmp_path / "sounds", tmp_path / "loss.eqx"
    write_sounds(folder, 4)
    window = jnp.asarray(np.hanning(128), jnp.float32)
    loss = ke.MRSTFTLoss((50,), window=[window], win_lengths=(128,), log_eps=1e-2)
    ke.save(saved, loss)
    common = ("--quick", "--data", folder, "--loss", saved, "--every", 3)

    one = tmp_path / "interrupted"
    log, checkpoint = one / "log.jsonl", one / "checkpoint.eqx"
    process = start(*common, "--out", one, "--steps", 10**6)
    deadline = time.monotonic() + PATIENCE
    while not log.exists() or len(log.read_text().splitlines()) < 3:
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert "--resume" in finish(process)
    header = header_of(checkpoint)
    steps = header["step"] + 4
    assert 3 <= header["step"] < 10**6
    assert ke.from_config(header["loss"]).window[0].tolist() == window.tolist()

    # What a run logs after its last checkpoint, and then loses in a crash.
    log.write_text(log.read_text() + '{"step": -1}\n' * 2)
    finish(start("--resume", checkpoint, "--steps", steps))

    other = tmp_path / "not interrupted"
    finish(start(*common, "--out", other, "--steps", steps))
    assert header_of(checkpoint)["step"] == steps
    assert checkpoint.read_bytes() == (other / "checkpoint.eqx").read_bytes()
    assert log.read_text() == (other / "log.jsonl").read_text()

    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["step"] for entry in entries] == list(range(1, steps + 1))
    assert set(entries[0]) == {"step", "loss", "128/lin", "128/log"}
    for entry in entries:
        assert entry["128/lin"] + entry["128/log"] == pytest.approx(entry["loss"])
    assert len({entry["loss"] for entry in entries}) == steps
    picture = matplotlib.image.imread(other / "reconstructions.png")
    assert min(picture.shape[:2]) > 400 and picture.std() > 0.1
    x, sr = soundfile.read(other / "reconstructions.wav")
    assert sr == 16_000 and x.shape == (3 * 2 * 4 * 2048,) and np.all(np.isfinite(x))


def test_balanced_parts_have_equal_shares(tmp_path: Path) -> None:
    out = tmp_path / "balanced"
    common = ("--out", out, "--loss", "sum", "--balance", "--quick")
    finish(start(*common, "--steps", 4))
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert header_of(out / "checkpoint.eqx")["settings"]["balance"] == [
        *("mel", "sdr", "stft", "wave")
    ]
    norms = [entry["norms"] for entry in lines]
    assert list(norms[0]["balanced"].values()) == pytest.approx([1 / 4] * 4)
    without = np.array([list(entry["sum"].values()) for entry in norms])
    # An average of one step's norms and of all, as near to each other as the norms.
    means = np.cumsum(without, 0) / np.arange(1, len(without) + 1)[:, None]
    balanced = np.array([list(entry["balanced"].values()) for entry in norms])
    np.testing.assert_allclose(balanced, without / means / 4, rtol=2e-3)
    assert np.max(without[0]) > 3 * np.min(without[0])  # or there was nothing to do
    for entry in lines:
        terms = {k: v for k, v in entry.items() if k not in ("step", "loss", "norms")}
        assert sum(terms.values()) == pytest.approx(entry["loss"], rel=1e-4)
    picture = matplotlib.image.imread(out / "gradient_norms.png")
    assert min(picture.shape[:2]) > 300 and picture.std() > 0.05


def test_sounds_depend_on_seed_step_and_row_alone(examples: Any) -> None:
    sounds = examples("_sounds")
    tunes = sounds.open_sounds(None)
    whole = sounds.batch(tunes, 0, 7, range(4), 2000)
    assert whole.shape == (4, 1, 2000) and whole.dtype == np.float32
    np.testing.assert_array_equal(sounds.batch(tunes, 0, 7, [2, 3], 2000), whole[2:])
    others = [(1, 7, sounds.TRAINING), (0, 8, sounds.TRAINING), (0, 7, sounds.HELD_OUT)]
    for seed, step, part in others:
        other = sounds.batch(tunes, seed, step, range(4), 2000, part)
        assert not np.any(np.all(np.isclose(other, whole), axis=-1))


def test_every_tenth_file_is_held_out(examples: Any, tmp_path: Path) -> None:
    sounds = examples("_sounds")
    folder = tmp_path / "constants"
    folder.mkdir()
    for i in range(10):  # each a constant, by which it is known again
        soundfile.write(folder / f"{i}.wav", np.full(3000, (i + 1) / 20), 16_000)
    (folder / "notes.txt").write_text("no sound")
    files = sounds.open_sounds(str(folder))

    def seen(part: int) -> set[int]:
        x = sounds.batch(files, 0, 0, range(60), 500, part)
        return set(np.round(20 * x[:, 0, 0]).astype(int).tolist())

    assert seen(sounds.TRAINING) == set(range(1, 10))
    assert seen(sounds.HELD_OUT) == {10}
    padded = sounds.batch(files, 0, 0, [0], 4000)
    assert np.all(padded[..., :3000] > 0) and np.all(padded[..., 3000:] == 0)
    soundfile.write(folder / "10.wav", np.zeros(3000), 16_000)
    assert sounds.open_sounds(str(folder)).fingerprint() != files.fingerprint()
    with pytest.raises(SystemExit, match="No audio files"):
        sounds.open_sounds(str(tmp_path / "nothing here"))


@pytest.mark.parametrize("balance", [(), ("wave", "stft")])
def test_a_checkpoint_is_whole_or_the_old_one(
    examples: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    balance: tuple[str, ...],
) -> None:
    autoencoder, checkpoint = examples("_autoencoder"), examples("_checkpoint")
    settings = dataclasses.replace(autoencoder.QUICK, balance=balance)
    shapes = eqx.filter_eval_shape(autoencoder.start, settings)
    # Anything of these shapes: starting in earnest compiles for seconds.
    model, state = jax.tree.map(lambda s: jnp.full(s.shape, 7, s.dtype), shapes)
    loss = ke.MRSTFTLoss((50,), (128,))
    run = checkpoint.Checkpoint(5, settings, None, "tunes", loss, model, state)
    path = tmp_path / "checkpoint.eqx"
    checkpoint.save(path, run)
    whole = path.read_bytes()
    loaded = checkpoint.load(path)
    assert loaded[:5] == run[:5] and eqx.tree_equal(loaded[5:], run[5:])

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(eqx, "tree_serialise_leaves", fail)
        with pytest.raises(OSError, match="full"):
            checkpoint.save(path, run._replace(step=6))
    assert path.read_bytes() == whole
    for damaged in (whole[:-100], whole[:50], b"", b"{}\n", b"\0" + whole):
        path.write_bytes(damaged)
        with pytest.raises(SystemExit, match="Cannot resume"):
            checkpoint.load(path)
