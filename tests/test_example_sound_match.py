"""The example `sound_match.py`, run as a user runs it, with `--quick`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile

from korvax_eqx._cli._main import main

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).parents[1] / "examples" / "sound_match.py"
SHOWN = SCRIPT.parent / "pictures"
PICTURES = ("sound_match.png", "sound_match_difference.png")
SR = 24_000
SOUNDS = ("target.wav", "before.wav", "after.wav")


def write_organ(path, sr=44_100, seconds=0.6):
    """Write a stereo chord of harmonics that fade, quieter on the right."""
    t = np.arange(int(sr * seconds)) / sr
    x = sum(0.2 / k * np.sin(2 * np.pi * 330 * k * t) for k in range(1, 9))
    x *= np.exp(-3 * t)
    soundfile.write(path, np.stack([x, 0.5 * x], axis=1), sr)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run the example in all ways at once, each in a folder of its own."""
    inputs = tmp_path_factory.mktemp("inputs")
    write_organ(inputs / "organ.wav")
    (inputs / "text.wav").write_text("This is no sound.")
    soundfile.write(inputs / "silence.wav", np.zeros(SR), SR)
    commands = {
        "default": ["--quick"],
        "file": [
            str(inputs / "organ.wav"),
            *("--quick", "--loss", "sot+mrstft", "--out", "here", "--seed", "3"),
        ],
        "cut": [str(inputs / "organ.wav"), *("--steps", "10", "--seconds", "0.5")],
        "missing": [str(inputs / "missing.wav"), "--quick"],
        "unreadable": [str(inputs / "text.wav"), "--quick"],
        "silent": [str(inputs / "silence.wav"), "--quick"],
        "unknown": ["--loss", "mrstft+nonsense"],
    }
    environment = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1"}
    environment.pop("MPLBACKEND", None)
    shown = {path: path.read_bytes() for path in SHOWN.iterdir()}
    processes = {}
    for name, arguments in commands.items():
        folder = tmp_path_factory.mktemp(name)
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *arguments],
            cwd=folder,
            env={**environment, "PYTHONIOENCODING": "utf-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        processes[name] = (process, folder)
    try:
        yield {
            name: (*process.communicate(timeout=300), process.returncode, folder)
            for name, (process, folder) in processes.items()
        }
    finally:
        for process, _ in processes.values():
            process.kill()
    assert shown == {path: path.read_bytes() for path in SHOWN.iterdir()}


def numbers(output):
    """Return the rows of the printed table: name to (before, after)."""
    cells = [line.split("│")[1:-1] for line in output.splitlines() if "│" in line]
    return {name.strip(): (float(old), float(new)) for name, old, new in cells}


@pytest.mark.parametrize(
    ("run", "out", "seconds"),
    [("default", "outputs/sound_match", 1.0), ("file", "here", 0.6)],
)
def test_writes_sounds_and_a_picture(runs, run, out, seconds):
    _, errors, code, folder = runs[run]
    assert code == 0, errors
    files = {path.name for path in (folder / out).iterdir()}
    assert files == {*SOUNDS, *PICTURES}
    for name in SOUNDS:
        x, sr = soundfile.read(folder / out / name)
        assert sr == SR
        assert x.ndim == 1
        assert len(x) == round(seconds * SR)
        assert np.sqrt(np.mean(x**2)) > 1e-3
    for name in PICTURES:
        picture = matplotlib.image.imread(folder / out / name)
        assert min(picture.shape[:2]) > 400
        # Spectrograms have many colours: a picture of empty axes has few.
        colours = (picture[::4, ::4, :3] * 255).astype(int) @ [1, 256, 65536]
        assert len(np.unique(colours)) > 48


def test_keeps_the_level_of_the_recording(runs):
    x, _ = soundfile.read(runs["file"][3] / "here" / "target.wav")
    # Both channels' mean: 0.75 of the left one, whose harmonics start in phase.
    t = np.arange(len(x)) / SR
    left = sum(0.2 / k * np.sin(2 * np.pi * 330 * k * t) for k in range(1, 9))
    np.testing.assert_allclose(x[200:-200], (0.75 * left * np.exp(-3 * t))[200:-200],
                               atol=2e-3)  # fmt: skip


def test_default_run_gets_closer_by_all_numbers(runs):
    table = numbers(runs["default"][0])
    old, new = table["loss"]
    assert new < old / 1.4
    terms = {name: row for name, row in table.items() if name.startswith("mrstft/")}
    assert len(terms) == 12
    for old, new in terms.values():
        assert new < old
    assert sum(new for _, new in terms.values()) == pytest.approx(
        table["loss"][1], rel=2e-3
    )
    for measure, factor in {
        "log-spectral distance (dB)": 1.4,
        "mel-spectral difference (dB)": 1.4,
        "level difference (dB)": 1.05,
        "spectral convergence": 1.05,
    }.items():
        old, new = table[measure]
        assert new < old / factor, measure
    # The pitch has hardly begun to move, but starts and stays close.
    assert max(table["pitch error, median (cents)"]) < 6


def test_compare_gives_the_number_that_is_printed(runs, capsys):
    """The row `loss`, of the files: rounded to 16 bits, cut, at their own level."""
    output, _, _, folder = runs["default"]
    out = folder / "outputs" / "sound_match"
    for column, name in enumerate(("before", "after")):
        files = str(out / "target.wav"), str(out / f"{name}.wav")
        assert main(["compare", *files, "--json"]) == 0
        value = json.loads(capsys.readouterr().out)["loss"]["value"]
        assert numbers(output)["loss"][column] == pytest.approx(value, rel=6e-4)


def test_says_what_it_did_to_the_file(runs):
    first = runs["file"][0].splitlines()[0]
    steps = "2 channels mixed to mono, resampled from 44100 to 24000 Hz"
    assert first == f"organ.wav: {steps}."
    assert runs["cut"][0].startswith(
        f"organ.wav: {steps}, cut to the first 0.5 s of 0.6 s.\n"
    )
    assert "sung phrase: cut to the first 1 s of 2.7 s." in runs["default"][0]


def test_file_with_combined_losses(runs):
    output, progress, _, _ = runs["file"]
    table = numbers(output)
    old, new = table["loss"]
    assert new < old / 1.2  # the decay is the slow part
    kinds = {name.partition("/")[0] for name in table if "/" in name}
    assert kinds == {"sot", "mrstft"}
    assert "pitch error, median (cents)" not in table  # unknown for a recording
    assert "organ.wav matched with sot+mrstft" in output
    assert "60/60" in progress
    for word in ("loss", "lin", "log", "optimal_transport"):
        assert word in progress


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("missing", "cannot read the sound"),
        ("unreadable", "cannot read the sound"),
        ("silent", "is silent"),
        ("unknown", "unknown loss 'nonsense'; choose from mrstft, smooth, sot"),
    ],
)
def test_bad_input_gets_a_clear_error(runs, run, message):
    output, errors, code, folder = runs[run]
    assert code != 0
    assert message in errors
    assert "Traceback" not in errors
    assert output == ""
    assert not list(folder.iterdir())
