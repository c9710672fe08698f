"""Arguments of the examples that are wrong: one line that says why, no traceback."""

import importlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

EXAMPLES = Path(__file__).parents[1] / "examples"
INTEGERS = ["-1", "1.5", "nan", "inf", "1e3", "ten", "", "9" * 5000, str(2**31)]

# Of each example: its numeric arguments, with values that are refused besides.
NUMBERS = {
    "pitch_fit": {"--seeds": ["0"], "--steps": ["0"]},
    "loss_landscape": {"--n": ["0", "8"], "--steps": ["0"]},
    "gradient_direction": {"--n": ["0", "1"]},
    "two_sinusoids": {"--n": ["0"]},
    "sound_match": {"--steps": ["0"], "--seed": []},
    "train_pitch_encoder": {"--seeds": ["0"], "--epochs": ["0"]},
    "train_separation": {"--epochs": ["0"]},
    "train_autoencoder": {"--steps": ["0"], "--every": ["0"]},
    "train_distributed": {
        "--num-processes": ["0"],
        "--process-id": [],
        "--cpu-devices": ["0"],
        "--steps": ["0"],
        "--print-every": ["0"],
    },
}


@pytest.fixture
def refused(monkeypatch, capsys):
    """Run an example; return what it says when it ends, wrong arguments being met."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def run(example: str, *arguments: str, code: int = 2) -> str:
        module = importlib.import_module(example)
        monkeypatch.setattr(sys, "argv", [f"{example}.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            (vars(module).get("main") or module.parse_arguments)()
        output = capsys.readouterr()
        assert output.out == ""
        if code == 2:
            assert ended.value.code == 2
            return output.err.splitlines()[-1]
        assert isinstance(ended.value.code, str)  # Python prints it, and exits with 1
        return ended.value.code

    return run


@pytest.mark.parametrize(
    ("example", "option", "value"),
    [
        (example, option, value)
        for example, options in NUMBERS.items()
        for option, more in options.items()
        for value in [*more, *INTEGERS]
    ],
)
def test_whole_numbers(example, option, value, refused):
    said = refused(example, option, value)
    lowest = said.partition("at least ")[2].partition(" ")[0]
    assert f"argument {option}: must be a whole number, at least {lowest} and" in said
    assert said.endswith(f"Got {value[:40]}.")


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-1", "0", "0.09", "1e308", "1e999", "x"]
)
def test_seconds(value, refused):
    said = refused("sound_match", "--seconds", value)
    assert "argument --seconds: must be a number of seconds from 0.1 to 86400" in said


@pytest.mark.parametrize("example", NUMBERS)
def test_folders_that_cannot_be_made(example, refused, tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below" / "it"):
        said = refused(example, "--out", str(out))
        assert f"argument --out: {tmp_path / 'file'} is there and is no folder." in said


@pytest.mark.parametrize(
    ("example", "arguments", "name"),
    [
        ("sound_match", ["--quick"], "quick"),
        ("sound_match", ["cello.ogg"], "sound"),
        ("sound_match", ["--loss", "sot"], "loss"),
        ("sound_match", ["--steps", "990"], "steps"),
        ("loss_landscape", ["--quick"], "quick"),
        ("loss_landscape", ["--n", "99"], "n"),
        ("two_sinusoids", ["--n", "999"], "n"),
        ("train_pitch_encoder", ["--complete"], "complete"),
    ],
)
def test_pictures_of_the_pages_show_a_full_run(example, arguments, name, refused):
    said = refused(example, "--pictures", *arguments)
    assert f"--pictures shows the default run: leave `{name}` out." in said


@pytest.mark.parametrize(
    "example", ["pitch_fit", "loss_landscape", "gradient_direction", "two_sinusoids"]
)
def test_names_of_losses(example, refused):
    said = refused(example, "--loss", "mrstft", "no such loss")
    assert "argument --loss: must be one of 'mrstft'" in said
    assert said.endswith("Got 'no such loss'.")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--coordinator", "127.0.0.1"], "must be HOST:PORT"),
        (["--coordinator", "127.0.0.1:x"], "must be HOST:PORT"),
        (["--coordinator", ":9876"], "must be HOST:PORT"),
        (["--coordinator", "127.0.0.1:0"], "a port is from 1 to 65535"),
        (["--coordinator", "127.0.0.1:65536"], "a port is from 1 to 65535"),
        (["--coordinator", "127.0.0.1:9876"], "needs --num-processes and --process-id"),
        (["--num-processes", "2", "--process-id", "0"], "need --coordinator HOST:PORT"),
        (
            ["--coordinator", "auto", "--process-id", "0"],
            "need --coordinator HOST:PORT",
        ),
        (
            "--coordinator 127.0.0.1:9876 --num-processes 2 --process-id 2".split(),
            "--process-id must be below --num-processes",
        ),
    ],
)
def test_processes(arguments, why, refused):
    for example in ("train_distributed", "train_pitch_encoder"):
        assert why in refused(example, *arguments)


def test_a_resumed_study_keeps_its_settings(refused):
    said = refused("train_pitch_encoder", "--resume", "checkpoint.eqx", "--seeds", "2")
    assert "--resume goes on with its settings: leave `seeds` out." in said


def test_sounds_that_cannot_be_matched(refused, tmp_path):
    def write(name, x):
        soundfile.write(tmp_path / name, x, 24_000, "FLOAT")
        return str(tmp_path / name)

    broken = np.ones(24_000)
    broken[100] = np.nan
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "sound.raw").write_bytes(bytes(100))
    (tmp_path / "nothing.wav").touch()
    for path, why in {
        write("silent.wav", np.zeros(24_000)): "is silent: there is nothing to match",
        write("short.wav", np.ones(100)): "need at least 0.1 s of sound",
        write("empty.wav", np.ones(0)): "has no samples",
        write("broken.wav", broken): "has samples that are no numbers",
        str(tmp_path / "missing.wav"): "there is no such file",
        str(tmp_path / "pipe.wav"): "there is no such file",
        str(tmp_path): "there is no such file",
        str(tmp_path / "sound.raw"): "cannot read the sound",
        str(tmp_path / "nothing.wav"): "cannot read the sound",
    }.items():
        said = refused("sound_match", path, "--quick", code=1)
        assert said.startswith("sound_match: ") and "\n" not in said
        assert why in said and repr(path) in said
