"""The command line, on audio files in many formats."""

import itertools
import json
import os
import pty
import subprocess
import sys
import tracemalloc

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr
from registry import BATCHES, COMPOSITES, LEVELS

import korvax_eqx as ke
from korvax_eqx._cli import _align, _audio, _losses, _picture
from korvax_eqx._cli._error import CommandError
from korvax_eqx._cli._main import main

# -------------------------------------------------------------------- the audio


def speech(sr, seconds, seed=0):
    """Return vowels: pulses of a gliding voice, through the resonances of a mouth."""
    rng = np.random.default_rng(seed)
    n = int(sr * seconds)
    at = np.arange(n) / sr
    phase = np.cumsum(120.0 + 30.0 * np.sin(2 * np.pi * 1.3 * at)) / sr
    source = np.diff(np.floor(phase), prepend=0.0) + 0.002 * rng.standard_normal(n)
    vowels = [(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240)]
    out = np.zeros(n)
    for index, formants in enumerate(vowels):
        y = source
        for formant in formants:
            radius = np.exp(-np.pi * 80.0 / sr)
            angle = 2 * np.pi * formant / sr
            y = scipy.signal.lfilter(
                [1 - radius], [1, -2 * radius * np.cos(angle), radius**2], y
            )
        out += y * (np.floor(at * 3) % 3 == index)
    return (0.5 * out / np.abs(out).max()).astype(np.float32)


def pluck(sr, seconds, frequency=196.0):
    """Return a plucked string: noise that goes round in a lossy delay (Karplus)."""
    n, period = int(sr * seconds), round(sr / frequency)
    noise = np.zeros(n)
    noise[:period] = np.random.default_rng(1).uniform(-1, 1, period)
    loop = np.zeros(period + 2)
    loop[0], loop[period], loop[period + 1] = 1.0, -0.498, -0.498
    string = np.asarray(scipy.signal.lfilter([1.0], loop, noise))
    return (0.5 * string).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files that differ in format, rate, length, channels and contents."""
    folder = tmp_path_factory.mktemp("audio")

    def write(name, data, sr, subtype=None):
        soundfile.write(folder / name, data, sr, subtype)

    sr = 22050
    voice, string = speech(sr, 1.6), pluck(sr, 1.6)
    noise = np.random.default_rng(2).standard_normal((voice.size, 2)).astype("f")
    stereo = np.stack([voice, string], axis=1)
    write("ref.wav", stereo, sr, "PCM_16")
    write("est.flac", 0.8 * stereo + 0.003 * noise, sr, "PCM_24")
    write("voice.wav", voice, sr, "FLOAT")
    write("short.wav", voice[:-5000], sr, "PCM_16")
    write("voice.mp3", voice, sr)
    write("voice16k.ogg", soxr.resample(voice, sr, 16000), 16000)
    late = np.concatenate([np.zeros(1234, np.float32), -0.7 * voice])[: voice.size]
    write("late.aiff", soxr.resample(late, sr, 44100), 44100, "PCM_24")
    write("three.wav", np.stack([voice, string, voice + string], 1), sr, "DOUBLE")
    write("three_half.wav", np.stack([voice, string, 0.5 * voice], 1), sr, "DOUBLE")
    write("silent.wav", np.zeros_like(voice), sr)
    write("tiny.wav", voice[:300], sr)
    write("empty.wav", voice[:0], sr)
    broken = voice.copy()
    broken[4410] = np.nan
    write("nan.wav", broken, sr, "FLOAT")
    write("fast.wav", voice, 2**31 - 1)
    loud = voice.astype(np.float64)
    loud[4410] = -1e299
    write("beyond.wav", loud, sr, "DOUBLE")
    write("loud.wav", 1e30 * voice, sr, "FLOAT")
    write("faint.wav", 1e-22 * voice, sr, "FLOAT")
    write("slow.wav", voice[:3000], 1)
    write("slow_half.wav", 0.5 * voice[:3000], 1)
    (folder / "text.wav").write_text("not audio")
    (folder / "nothing.wav").touch()
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "p.png")
    whole = (folder / "est.flac").read_bytes()
    (folder / "cut.flac").write_bytes(whole[: len(whole) // 2])
    endless = bytearray(whole)
    endless[21] &= 0xF0  # the number of samples: 36 bits of the stream's header
    endless[22:26] = bytes(4)
    (folder / "endless.flac").write_bytes(endless)
    ke.save(folder / "saved.eqx", ke.MRSTFTLoss(w_lin=jnp.float32(0.25)))
    mel = ke.MelSpectrogram(16000, 512, n_mels=40)
    loss = ke.TimeFrequencyLoss(
        mel, [ke.ElementwiseLoss(), ke.SpectralConvergenceLoss()], [ke.Log(), ke.Log()]
    )
    ke.save(folder / "mel16k.eqx", loss)
    sums = ke.SumLoss({"b": ke.SumLoss({"mel": loss}), "a": ke.WaveformLoss()})
    ke.save(folder / "sums16k.eqx", sums)
    weighting = ke.MappedLoss(ke.AWeightingFilter(8000), ke.WaveformLoss())
    resampled = ke.MappedLoss(ke.Resample(22050, 16000), sums)
    ke.save(folder / "resampled.eqx", resampled)
    ke.save(folder / "rates.eqx", ke.SumLoss({"a": sums, "b": weighting}))
    mid_side = ke.MappedLoss(ke.MidSide(), ke.MRSTFTLoss())
    ke.save(folder / "mid_side.eqx", ke.RandomSubsetLoss({"a": mid_side}))
    ke.save(folder / "transform.eqx", ke.Spectrogram())
    scale = ke.Chain((ke.PowerToDB(), ke.AWeighting(sr=1e12, n_fft=64)))
    fast = ke.TimeFrequencyLoss(ke.Spectrogram(64), ke.ElementwiseLoss(), scale)
    ke.save(folder / "fast.eqx", fast)
    damaged = bytearray((folder / "saved.eqx").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (folder / "damaged.eqx").write_bytes(damaged)
    return folder


def run(folder, *args, **kwargs):
    """Run the real command."""
    command = [sys.executable, "-W", "error", "-m", "korvax_eqx", *map(str, args)]
    options = {"capture_output": True, "text": True, "cwd": folder, **kwargs}
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "COLUMNS": "100"}
    return subprocess.run(command, env=environment, **options)  # noqa: S603


def read(path):
    data, sr = soundfile.read(path, dtype="float32", always_2d=True)
    return np.ascontiguousarray(data.T), sr


def by_hand(loss, x, y):
    """Return one value for each channel, and the terms of each."""
    rows = zip(x, y, strict=True)
    both = [loss.with_terms(jnp.asarray(a), jnp.asarray(b)) for a, b in rows]
    return [float(v) for v, _ in both], [
        {name: float(term) for name, term in terms.items()} for _, terms in both
    ]


# ------------------------------------------------------------- the real command


def test_compare_prints_json(folder):
    done = run(folder, "compare", "ref.wav", "est.flac", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    (y, sr), (x, _) = read(folder / "ref.wav"), read(folder / "est.flac")
    loss = ke.recipes.mrstft()
    values, terms = by_hand(loss, x, y)
    whole = float(loss(jnp.asarray(x), jnp.asarray(y)))
    assert report["loss"]["name"] == "mrstft"
    assert report["loss"]["class"] == "MRSTFTLoss"
    assert report["loss"]["value"] == pytest.approx(whole, rel=1e-5)
    assert len(report["loss"]["channels"]) == 2
    assert values[0] != pytest.approx(values[1], rel=0.05)
    channels = report["loss"]["channels"]
    for channel, value, parts in zip(channels, values, terms, strict=True):
        assert channel["value"] == pytest.approx(value, rel=1e-5)
        assert channel["terms"] == pytest.approx(parts, rel=1e-5)
    total = sum(report["loss"]["terms"].values())
    assert total == pytest.approx(report["loss"]["value"], rel=1e-5)
    assert list(report["loss"]["terms"]) == list(terms[0])
    length = {"sample_rate": sr, "channels": 2, "samples": 35280, "seconds": 1.6}
    assert report["reference"] == {"path": "ref.wav", **length}
    assert report["estimate"] == {"path": "est.flac", **length}
    compared = {**length, "blocks": 1, "offset_samples": None, "steps": []}
    assert report["compared"] == compared
    assert report["warnings"] == []


def test_compare_prints_a_table_and_draws(folder):
    done = run(folder, "compare", "ref.wav", "est.flac", "--plot", "picture.png")
    assert (done.returncode, done.stderr) == (0, "")
    (y, _), (x, _) = read(folder / "ref.wav"), read(folder / "est.flac")
    values, terms = by_hand(ke.recipes.mrstft(), x, y)
    lines = done.stdout.splitlines()
    assert (
        lines[0].split() == "reference ref.wav: 22050 Hz, 2 channels, 1.600 s".split()
    )
    assert (
        lines[1].split() == "estimate est.flac: 22050 Hz, 2 channels, 1.600 s".split()
    )
    rows = {cells[0]: cells[1:] for cells in map(_cells, lines) if len(cells) == 5}
    assert rows["term"][:2] == ["value", "share"]
    assert rows["term"][2:] == ["channel 1", "channel 2"]
    assert len(rows) == 12 + 2
    for name in terms[0]:
        mean = (terms[0][name] + terms[1][name]) / 2
        cells = rows[name]
        assert float(cells[0]) == pytest.approx(mean, rel=1e-5)
        share = 100 * mean / np.mean(values)
        assert float(cells[1].rstrip("%")) == pytest.approx(share, abs=0.06)
        assert float(cells[2]) == pytest.approx(terms[0][name], rel=1e-5)
        assert float(cells[3]) == pytest.approx(terms[1][name], rel=1e-5)
    numbers = [float(cell) for cell in rows["loss"] if cell]
    assert numbers == pytest.approx([np.mean(values), *values], rel=1e-5)
    picture = matplotlib.image.imread(folder / "picture.png")[..., :3]
    third = picture.shape[0] // 3
    panels = [picture[i * third : (i + 1) * third] for i in range(3)]
    assert lines[-1] == "Wrote picture.png."
    for panel in panels:
        assert np.std(panel.mean(axis=-1)) > 0.05
        assert len(np.unique(panel.reshape(-1, 3), axis=0)) > 500


def _cells(line):
    return [cell.strip() for cell in line.replace("┃", "│").split("│")[1:-1]]


def test_saved_loss_with_resampling_mono_and_alignment(folder):
    done = run(
        folder,
        *("compare", "ref.wav", "late.aiff", "--loss", "saved.eqx", "--json"),
        *("--resample", "--mono", "--align", "offset"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (y, sr), (x, sr_x) = read(folder / "ref.wav"), read(folder / "late.aiff")
    assert (sr, sr_x) == (22050, 44100)
    y, x = y.mean(axis=0), soxr.resample(x[0], 44100, 22050)
    assert report["compared"]["offset_samples"] == 1234
    n = y.size - 1234
    loss = ke.load(folder / "saved.eqx")
    value = float(loss(jnp.asarray(x[1234:]), jnp.asarray(y[:n])))
    assert report["loss"]["value"] == pytest.approx(value, rel=1e-4)
    assert report["loss"]["class"] == "MRSTFTLoss"
    assert report["compared"]["samples"] == n
    assert report["compared"]["steps"] == [
        "channels averaged",
        "estimate resampled from 44100 to 22050 Hz",
        "estimate late by 1234 samples (0.055964 s)",
        "reference trimmed by 1234 samples",
    ]


def test_blocks_are_averaged_and_progress_is_shown(folder):
    args = (
        "compare ref.wav est.flac --block-seconds 0.3 --loss convergence --json".split()
    )
    master, slave = pty.openpty()  # a bar is drawn on terminals only
    try:
        process = run(
            folder, *args, capture_output=False, stdout=subprocess.PIPE, stderr=slave
        )
        os.set_blocking(master, False)
        shown = os.read(master, 2**16).decode()
    finally:
        os.close(slave)
        os.close(master)
    assert process.returncode == 0
    assert "comparing" in shown and "/2 s" in shown and "100%" in shown
    report = json.loads(process.stdout)
    (y, sr), (x, _) = read(folder / "ref.wav"), read(folder / "est.flac")
    size = round(0.3 * sr)
    bounds = [0, size, 2 * size, 3 * size, 4 * size, y.shape[1]]
    assert size / 2 < bounds[-1] - bounds[-2] < 1.5 * size
    assert report["compared"]["blocks"] == 5
    loss = _losses.get_loss("convergence")[0](sr)
    expected = np.zeros(2)
    for a, b in itertools.pairwise(bounds):
        values, _ = by_hand(loss, x[:, a:b], y[:, a:b])
        expected += np.array(values) * (b - a) / y.shape[1]
    found = [channel["value"] for channel in report["loss"]["channels"]]
    assert found == pytest.approx(expected.tolist(), rel=1e-5)
    assert report["loss"]["value"] == pytest.approx(expected.mean(), rel=1e-5)


def test_show_and_errors_of_the_real_command(folder):
    done = run(folder, "show", "mel16k.eqx")
    assert (done.returncode, done.stderr) == (0, "")
    for text in (
        "mel16k.eqx: 0 learnable values",
        "transform_fn: MelSpectrogram",
        "sr: 16000",
        "1: SpectralConvergenceLoss",
        "metric: 'L1'",
        "weights: None",
    ):
        assert text in done.stdout
    done = run(folder, "show", "damaged.eqx")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "error: Cannot load 'damaged.eqx'" in done.stderr
    done = run(folder, "compare", "ref.wav", "missing.wav", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "python -m korvax_eqx: error: missing.wav: no such file.\n"


@pytest.mark.long
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("show saved.eqx > /dev/full", 2, "cannot be written: No space left on device"),
        ("show saved.eqx --json > /dev/full", 2, "cannot be written: No space left"),
        ("--help > /dev/full", 2, "cannot be written: No space left on device"),
        ("show saved.eqx >&-", 2, "standard output is closed"),
        ("show saved.eqx | true", 141, ""),
        ("show missing.eqx 2>&-", 2, ""),
        ("show saved.eqx > out.txt 2>&-", 0, ""),
    ],
)
def test_outputs_that_cannot_be_written(folder, command, code, said):
    # The pipe's reader is gone before anything is written: imports take a second.
    line = f"set -o pipefail; {sys.executable} -W error -m korvax_eqx {command}"
    # Unbuffered, argparse itself would swallow the error of writing its help.
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONUNBUFFERED": ""}
    done = subprocess.run(  # noqa: S603
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
    )
    assert done.returncode == code
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.count("\n") == bool(said)


def test_drawing_library_is_imported_when_used():
    code = "import sys, korvax_eqx.plot, korvax_eqx._cli._main as m; m.parser();"
    code += "print([n for n in ('matplotlib', 'rich', 'soxr') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)  # noqa: S603
    assert done.stdout == "[]\n", done.stderr


# --------------------------------------------------- the same, within this process


def call(capsys, monkeypatch, folder, *args):
    monkeypatch.chdir(folder)
    code = main([*map(str, args)])
    output = capsys.readouterr()
    return code, output.out, output.err


@pytest.mark.parametrize(
    ("args", "texts"),
    [
        (("ref.wav", "text.wav"), ["text.wav: cannot be read as audio"]),
        (("ref.wav", "."), ["one is a folder and one is not"]),
        (("ref.wav", "empty.wav"), ["empty.wav: the file has no samples"]),
        (("ref.wav", "cut.flac"), ["cut.flac: the file is damaged"]),
        (("ref.wav", "cut.flac", "--start", "1.5"), ["cut.flac: the file is damaged"]),
        (("ref.wav", "endless.flac"), ["does not say how long it is"]),
        (("voice.wav", "nan.wav"), ["nan.wav", "0.200000 s (sample 4410)", "NaN"]),
        (
            ("voice.wav", "beyond.wav"),
            ["beyond the range of 32-bit floats (3.4e38)", "(sample 4410). Scale"],
        ),
        (
            ("voice.wav", "voice16k.ogg"),
            ["reference has 22050 Hz", "estimate 16000 Hz", "--resample"],
        ),
        (
            ("voice.wav", "short.wav"),
            ["35280 samples (1.600 s)", "30280", "--align trim", "--align offset"],
        ),
        (("ref.wav", "voice.wav"), ["reference has 2, the estimate 1", "--mono"]),
        (("ref.wav", "late.aiff"), ["--resample", "--mono"]),
        (
            ("voice.wav", "voice.wav", "--loss", "mel16k.eqx"),
            ["made for 16000 Hz", "22050 Hz", "--resample"],
        ),
        (
            ("voice.wav", "voice.wav", "--loss", "sums16k.eqx"),
            ["made for 16000 Hz", "22050 Hz", "--resample"],
        ),
        (
            ("voice.wav", "voice.wav", "--loss", "rates.eqx"),
            ["its parts are made for different sample rates: 8000, 16000 Hz"],
        ),
        (
            ("voice16k.ogg", "voice16k.ogg", "--loss", "resampled.eqx"),
            ["made for 22050 Hz", "16000 Hz", "--resample"],
        ),
        (
            ("voice.wav", "voice.wav", "--loss", "auraloss_sum_difference"),
            ["compares 2 channels with one another, the files have 1. Give files of 2"],
        ),
        (
            ("ref.wav", "ref.wav", "--loss", "auraloss_sum_difference", "--mono"),
            ["compares 2 channels", "their mean is one. Leave out --mono, or choose"],
        ),
        (
            ("three.wav", "three.wav", "--loss", "mid_side.eqx"),
            ["compares 2 channels with one another, the files have 3"],
        ),
        (
            ("tiny.wav", "tiny.wav", "--loss", "pitch"),
            ["--loss pitch", "too short", "1024"],
        ),
        (
            ("voice.wav", "voice.wav", "--loss", "pitch", "--block-seconds", "0.01"),
            ["too short", "raise --block-seconds"],
        ),
        (
            ("voice.wav", "voice.wav", "--loss", "mrstf"),
            [
                "neither a name (mrstft, korvax, smooth, pitch, mel, convergence, "
                "si_sdr, snr, or a recipe: see --list) nor a file that exists. Did you "
                "mean `mrstft`?"
            ],
        ),
        (("voice.wav", "voice.wav", "--loss", "damaged.eqx"), ["damaged.eqx"]),
        (
            ("voice.wav", "voice.wav", "--loss", "voice.wav"),
            ["Cannot load 'voice.wav'"],
        ),
        (
            ("voice.wav", "voice.wav", "--loss", "transform.eqx"),
            ["holds a Spectrogram", "does not compare signals"],
        ),
        (("voice.wav", "voice.wav", "--plot", "a.xyz"), ["--plot a.xyz", ".png"]),
        (("voice.wav", "voice.wav", "--plot", "no/a.png"), ["there is no folder no"]),
        (("voice.wav", "voice.wav", "--start", "1.6"), ["1.600 s", "--start 1.6"]),
        (("voice.wav", "voice.wav", "--start", "1e308"), ["--start 1e+308"]),
        (("ref.wav", "nothing.wav"), ["nothing.wav: cannot be read as audio"]),
        (("ref.wav", "pipe"), ["pipe: is a pipe or a device, not a file"]),
        (("/dev/zero", "ref.wav"), ["/dev/zero: is a pipe or a device"]),
        (("voice.wav", "voice.wav", "--loss", "pipe"), ["pipe: is a pipe or a device"]),
        (("voice.wav", "voice.wav", "--loss", "."), ["is a directory, not a file"]),
        (("voice.wav", "voice.wav", "--plot", "p.png"), ["p.png: exists already"]),
        (("voice.wav", "a" * 5000 + ".wav"), ["aaa.wav: no such file"]),
        (("fast.wav", "fast.wav"), ["2.14748e+09 Hz is out of range", "damaged"]),
        (
            ("voice.wav", "voice.wav", "--loss", "fast.eqx", "--resample"),
            ["a sample rate of 1e+12 Hz is out of range"],
        ),
    ],
)
def test_errors_say_what_to_do(args, texts, folder, capsys, monkeypatch):
    code, out, err = call(capsys, monkeypatch, folder, "compare", *args)
    assert (code, out) == (2, "")
    assert err.startswith("python -m korvax_eqx: error: ")
    assert "Traceback" not in err
    for text in texts:
        assert text in err


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["compare", "a.wav"], "required: estimate"),
        (["compare", "a", "b", "--align", "left"], "invalid choice: 'left'"),
        (["compare", "a", "b", "--block-seconds", "0"], "more than 0 seconds"),
        (["compare", "a", "b", "--start", "x"], "invalid number of seconds value: 'x'"),
        (["compare", "a", "b", "--start", "-1"], "must be seconds, 0 or more"),
        (["compare", "a", "b", "--start", "nan"], "must be seconds, 0 or more"),
        (["compare", "a", "b", "--start", "1e999"], "must be seconds, 0 or more"),
        (["compare", "a", "b", "--duration", "inf"], "must be seconds, 0 or more"),
        (["compare", "a", "b", "--block-seconds", "1e-300"], "at least 0.01 seconds"),
        ([], "required: COMMAND"),
    ],
)
def test_wrong_arguments(args, text, capsys):
    assert main(args) == 2
    output = capsys.readouterr()
    assert text in output.err
    assert output.out == ""


def test_the_options_that_errors_name_resolve_them(folder, capsys, monkeypatch):
    def compare(*args):
        arguments = ("compare", "voice.wav", *args, "--json")
        code, out, err = call(capsys, monkeypatch, folder, *arguments)
        assert (code, err) == (0, "")
        report = json.loads(out)
        return report["loss"]["value"], report["compared"]

    def expect(x, y, name="convergence"):
        loss = ke.load(folder / name) if "." in name else _losses.get_loss(name)[0](sr)
        return pytest.approx(float(loss(jnp.asarray(x), jnp.asarray(y))), rel=2e-5)

    (y,), sr = read(folder / "voice.wav")
    (short,), _ = read(folder / "short.wav")
    convergence = ("--loss", "convergence")
    value, compared = compare("short.wav", "--align", "trim", *convergence)
    assert value == expect(short, y[: short.size])
    assert compared["steps"] == ["reference trimmed by 5000 samples"]
    value, compared = compare("short.wav", "--align", "pad", *convergence)
    assert value == expect(np.pad(short, (0, 5000)), y)
    assert compared["steps"] == ["estimate padded by 5000 samples"]
    value, compared = compare("voice16k.ogg", "--resample", *convergence)
    (coded,), _ = read(folder / "voice16k.ogg")
    assert value == expect(soxr.resample(coded, 16000, sr), y)
    assert compared["sample_rate"] == sr
    value, _ = compare("ref.wav", "--mono", *convergence)
    assert value == expect(read(folder / "ref.wav")[0].mean(axis=0), y)
    part = slice(round(0.5 * sr), round(0.9 * sr))
    value, compared = compare(
        "short.wav", "--start", "0.5", "--duration", "0.4", *convergence
    )
    assert value == expect(short[part], y[part])
    assert compared["seconds"] == pytest.approx(0.4)
    # A loss that is made for one rate brings both files to it.
    options = "--loss mel16k.eqx --resample --align trim".split()
    value, compared = compare("short.wav", *options)
    a, b = (soxr.resample(s, sr, 16000) for s in (short, y))
    assert value == expect(a, b[: a.size], "mel16k.eqx")
    assert compared["sample_rate"] == 16000
    options = "--loss sums16k.eqx --resample --align trim".split()
    value, compared = compare("short.wav", *options)
    assert value == expect(a, b[: a.size], "sums16k.eqx")
    assert compared["sample_rate"] == 16000


@pytest.mark.parametrize(
    "name", ["mrstft", "korvax", "smooth", "pitch", "mel", "convergence"]
)
def test_losses_by_name(name, folder, capsys, monkeypatch):
    args = ("compare", "three.wav", "three_half.wav", "--loss", name, "--json")
    code, out, _ = call(capsys, monkeypatch, folder, *args)
    assert code == 0
    report = json.loads(out)["loss"]
    (y, sr), (x, _) = read(folder / "three.wav"), read(folder / "three_half.wav")
    build, rate = _losses.get_loss(name)
    assert rate is None
    loss = build(sr)
    values = [channel["value"] for channel in report["channels"]]
    assert values == pytest.approx(by_hand(loss, x, y)[0], rel=1e-5, abs=1e-9)
    assert report["value"] == pytest.approx(np.mean(values), rel=1e-6)
    assert values[0] == pytest.approx(0.0, abs=1e-6)
    assert values[2] > 1e-4
    noise = np.random.default_rng(0).standard_normal((1, y.shape[1])).astype("f")
    at_44k = {"mrstft": ke.recipes.mrstft(), "korvax": ke.MRSTFTLoss()}
    at_44k["smooth"] = ke.SmoothMRSTFTLoss()
    at_44k["pitch"] = ke.PitchTransportLoss()
    assert build(44100) == at_44k.get(name, build(44100))
    if name == "mel":  # in dB
        gain = by_hand(loss, 0.5 * noise, noise)[0][0]
        assert gain == pytest.approx(20 * np.log10(2), rel=1e-4)
    if name == "convergence":
        assert by_hand(loss, 0.5 * noise, noise)[0][0] == pytest.approx(0.5, rel=1e-4)


def test_tables_of_one_and_of_many_channels(folder, capsys, monkeypatch):
    voice, sr = read(folder / "voice.wav")
    many = np.concatenate([voice * gain for gain in (1, 0.9, 0.8, 0.7, 0.6)])
    soundfile.write(folder / "[bold]many.wav", many.T, sr, "FLOAT")
    args = ("compare", "[bold]many.wav", "[bold]many.wav", "--loss", "smooth")
    code, out, _ = call(capsys, monkeypatch, folder, *args)
    assert code == 0
    assert "[bold]many.wav: 22050 Hz, 5 channels" in out
    assert "channel 1" not in out
    rows = [cells[0] for cells in map(_cells, out.splitlines()) if len(cells) == 2]
    assert rows == ["channel", *"12345"]
    assert max(map(len, out.splitlines())) <= 80
    code, out, _ = call(
        capsys, monkeypatch, folder, "compare", "voice.wav", "voice.wav"
    )
    assert "1 channel," in out and "channel 1" not in out


def table(out):
    rows = [cells for cells in map(_cells, out.splitlines()) if len(cells) == 3]
    return {name: (value, share) for name, value, share in rows}


def test_shares_of_terms_of_one_sign_and_of_both(tmp_path, capsys, monkeypatch):
    (x, y), sr = np.random.default_rng(0).standard_normal((2, 8000)), 8000
    for name, data in (("x.wav", 0.05 * x), ("y.wav", 0.05 * (x + 0.1 * y))):
        soundfile.write(tmp_path / name, data, sr, "FLOAT")
    spectral = ke.TimeFrequencyLoss(ke.Spectrogram(256), ke.ElementwiseLoss())
    losses = {"a": ke.SNRLoss(), "b": ke.SISDRLoss(), "c": spectral}

    def shares(*names, of="x.wav"):
        ke.save(tmp_path / "l.eqx", ke.SumLoss({name: losses[name] for name in names}))
        args = ("compare", "y.wav", of, "--loss", "l.eqx")
        code, out, err = call(capsys, monkeypatch, tmp_path, *args)
        assert (code, err) == (0, "")
        rows = table(out)
        return [rows[name][1] for name in names if name in rows]

    assert shares("a") == shares("c") == ["100.0%"]
    both = [float(share.rstrip("%")) for share in shares("a", "b")]
    assert min(both) > 0 and sum(both) == pytest.approx(100, abs=0.11)
    assert shares("a", "c") == shares("a", "b", "c")[1:] == ["-", "-"]
    assert shares("c", of="y.wav") == ["-"]


def test_terms_that_are_not_drawn_take_no_lines(folder, capsys, monkeypatch):
    bank = {f"wave{i}": ke.WaveformLoss() for i in range(9)}
    ke.save(folder / "drawn.eqx", ke.RandomSubsetLoss(bank, 2))
    args = ("compare", "voice.wav", "silent.wav", "--loss", "drawn.eqx")
    _, out, _ = call(capsys, monkeypatch, folder, *args)
    assert [name[:4] for name in table(out)] == ["term", "wave", "wave", "loss"]
    assert "and 7 terms of value 0" in out
    _, out, _ = call(capsys, monkeypatch, folder, *args, "--json")
    assert len(json.loads(out)["loss"]["terms"]) == 9
    args = ("compare", "voice.wav", "voice.wav", "--loss", "drawn.eqx")
    _, out, _ = call(capsys, monkeypatch, folder, *args)
    assert len(table(out)) == 2 + 9 and "of value 0" not in out


@pytest.mark.parametrize("name", ["loud.wav", "faint.wav"])
def test_pictures_of_any_level(name, folder, capsys, monkeypatch):
    """Powers of these are beyond the range of float32; they are drawn as others are."""
    pictures = []
    for reference in ("voice.wav", name):
        args = ("compare", reference, reference, "--loss", "smooth", "--plot", "l.png")
        code, _, err = call(capsys, monkeypatch, folder, *args)
        assert code == 0 and "Traceback" not in err
        pictures.append(matplotlib.image.imread(folder / "l.png")[150:400])
    np.testing.assert_allclose(*pictures, atol=0.02)


# --------------------------------------------- headers that do not say how long it is


def silent_frames(sr, kbits):
    """Return frames of an MP3 file of these bit rates: a header, and no sound."""
    rates = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
    place = {44100: 0, 48000: 1, 32000: 2}[sr]
    frames = b""
    for kbit in kbits:
        header = bytes([255, 251, (1 + rates.index(kbit)) << 4 | place << 2, 0xC4])
        frames += header.ljust(144000 * kbit // sr, b"\0")
    return frames


@pytest.mark.parametrize("tag", [b"", b"ID3\3\0\0\0\0\1\x48" + bytes(200)])
@pytest.mark.parametrize("end", [b"", b"TAG" + bytes(125)])
@pytest.mark.parametrize("sr", [44100, 48000, 32000])
def test_mp3_of_variable_bit_rate_without_a_header(sr, tag, end, tmp_path):
    kbits = [32] * 5 + [320] * 40 + [64, 128] * 30
    path = tmp_path / "a.mp3"
    path.write_bytes(tag + silent_frames(sr, kbits) + end)
    assert soundfile.info(path).frames != 1152 * len(kbits)
    signal = _audio.open_signal(str(path))
    assert signal.n_samples == 1152 * len(kbits)
    assert samples(signal).shape == (1, signal.n_samples)
    path.write_bytes(tag + silent_frames(sr, kbits)[:-3000] + end)
    cut = _audio.open_signal(str(path))
    assert 0 < cut.n_samples == samples(cut).size < signal.n_samples
    noise = np.random.default_rng(0).bytes(200_000) + b"\xff" * 200_000
    path.write_bytes(tag + silent_frames(sr, kbits) + end + noise)
    longer = _audio.open_signal(str(path))
    assert longer.n_samples == samples(longer).size == signal.n_samples


def without_first_frame(content):
    """Return an MP3 file without the frame that holds the number of its frames."""
    assert content[:2] == b"\xff\xfb" and b"Xing" in content[:64]
    rates = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
    length = 144000 * rates[content[2] >> 4] // 44100 + (content[2] >> 1 & 1)
    return content[length:]


def test_mp3_is_read_in_one_piece(tmp_path, capsys, monkeypatch):
    """All samples, with no gap where reading goes on, and from any place."""
    sr = 44100
    quiet = 1e-3 * np.sin(2 * np.pi * 200 * np.arange(3 * sr) / sr)
    x = np.concatenate([quiet, 0.3 * np.random.default_rng(0).standard_normal(3 * sr)])
    whole, headless = tmp_path / "whole.mp3", tmp_path / "headless.mp3"
    soundfile.write(whole, x, sr)
    headless.write_bytes(without_first_frame(whole.read_bytes()))
    assert soundfile.info(headless).frames < x.size / 2
    (expected,), _ = read(whole)
    assert expected.size == x.size
    monkeypatch.setattr(_audio, "_CHUNK", 30000)
    (found,) = samples(_audio.open_signal(str(whole)))
    np.testing.assert_array_equal(found, expected)
    (later,) = samples(_audio.open_signal(str(whole), start=3.1))
    np.testing.assert_array_equal(later, expected[round(3.1 * sr) :])
    # Without the header nobody knows the delay of the encoder, 1105 samples.
    (found,) = samples(_audio.open_signal(str(headless)))
    assert 0 <= found.size - x.size - 1105 < 1152
    np.testing.assert_allclose(found[1105:][: x.size], expected, atol=1e-5)
    # The header of the first of two says nothing of the second.
    twice = tmp_path / "twice.mp3"
    twice.write_bytes(2 * whole.read_bytes())
    assert soundfile.info(twice).frames == x.size
    (both,) = samples(_audio.open_signal(str(twice)))
    assert 0 <= both.size - 2 * (x.size + 1105) < 3 * 1152
    np.testing.assert_allclose(both[1105:][: x.size], expected, atol=1e-5)
    args = ("compare", "whole.mp3", "headless.mp3", "--align", "offset")
    code, out, _ = call(capsys, monkeypatch, tmp_path, *args, "--loss", "convergence")
    assert code == 0 and "late by 1105 samples" in out


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "DOUBLE"])
def test_wav_whose_data_have_size_0(subtype, tmp_path):
    """As programs leave it that write to a pipe, or that were stopped."""
    path = tmp_path / "a.wav"
    data = 0.1 * np.random.default_rng(0).standard_normal((44000, 2))
    soundfile.write(path, data, 22050, subtype)
    expected, _ = read(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    for is_riff in (False, True):
        content[at : at + 4] = bytes(4)
        content[4:8] = bytes(4) if is_riff else content[4:8]
        path.write_bytes(content)
        assert soundfile.info(path).frames == 0
        np.testing.assert_array_equal(samples(_audio.open_signal(str(path))), expected)
    later = samples(_audio.open_signal(str(path), start=1.0))
    np.testing.assert_array_equal(later, expected[:, 22050:])
    for rest in (b"", b"LIST\4\0\0\0INFO"):  # none there, or chunks of other things
        path.write_bytes(content[: at + 4] + rest)
        with pytest.raises(CommandError, match="the file has no samples"):
            _audio.open_signal(str(path))


def test_au_whose_data_have_size_0(tmp_path):
    path = tmp_path / "a.au"
    soundfile.write(path, 0.1 * np.ones(3000), 22050, "PCM_16")
    expected, _ = read(path)
    content = path.read_bytes()
    path.write_bytes(content[:8] + bytes(4) + content[12:])
    assert soundfile.info(path).frames == 0
    np.testing.assert_array_equal(samples(_audio.open_signal(str(path))), expected)


FORMATS = [("flac", "PCM_16"), ("ogg", "VORBIS"), ("opus", "OPUS"), ("aiff", "PCM_24")]


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
def test_reading_goes_on_where_it_stopped(kind, subtype, tmp_path, monkeypatch):
    path = tmp_path / f"a.{kind}"
    x = 0.1 * np.random.default_rng(0).standard_normal((48000, 2))
    form = "OGG" if kind == "opus" else None
    soundfile.write(path, x, 48000, subtype, format=form)
    expected, _ = read(path)
    monkeypatch.setattr(_audio, "_CHUNK", 10000)
    np.testing.assert_array_equal(samples(_audio.open_signal(str(path))), expected)


def test_silence_is_compared_with_a_warning(folder, capsys, monkeypatch):
    args = ("compare", "voice.wav", "silent.wav", "--json")
    code, out, err = call(capsys, monkeypatch, folder, *args)
    assert code == 0
    report = json.loads(out)
    assert np.isfinite(report["loss"]["value"])
    assert report["warnings"] == ["silent.wav is silent: all samples compared are 0"]
    assert err == "warning: " + report["warnings"][0] + "\n"
    args = (
        "compare",
        "silent.wav",
        "silent.wav",
        "--align",
        "offset",
        "--plot",
        "s.svg",
    )
    code, out, err = call(capsys, monkeypatch, folder, *args)
    assert code == 0 and "no delay" in out and err.count("is silent") == 2
    assert "<svg" in (folder / "s.svg").read_text()[:1000]


def test_show(folder, capsys, monkeypatch):
    code, out, _ = call(capsys, monkeypatch, folder, "show", "saved.eqx", "--json")
    assert code == 0
    assert json.loads(out) == ke.to_config(ke.load(folder / "saved.eqx"))
    code, out, _ = call(capsys, monkeypatch, folder, "show", "saved.eqx")
    assert code == 0
    assert "saved.eqx: 1 learnable value\n" in out
    assert "w_lin: float32: 0.25, learnable" in out
    assert "win_lengths: (64, 128, 256, 512, 1024, 2048)" in out
    code, out, err = call(capsys, monkeypatch, folder, "show", "voice.wav")
    assert (code, out) == (2, "") and "Cannot load 'voice.wav'" in err
    code, out, err = call(capsys, monkeypatch, folder, "show", "missing.eqx")
    assert (code, out) == (2, "") and "missing.eqx: no such file" in err


def test_show_a_sum(tmp_path, capsys, monkeypatch):
    """Every part of a tree has a line of its own, however it is held."""
    inner = ke.SumLoss([ke.WaveformLoss("L2"), ke.ESRLoss()])
    spectral = ke.TimeFrequencyLoss(ke.STFT(256), ke.ElementwiseLoss(), ke.Log())
    loss = ke.SumLoss(
        {"stft": spectral, "time": inner}, weights={"stft": 1.0, "time": 2.0}
    )
    ke.save(tmp_path / "sum.eqx", loss)
    code, out, _ = call(capsys, monkeypatch, tmp_path, "show", "sum.eqx")
    assert code == 0
    lines = out.splitlines()
    assert "    losses:" in lines
    assert "        stft: TimeFrequencyLoss" in lines
    assert "        time: SumLoss" in lines
    assert "                0: WaveformLoss" in lines
    assert "    weights: {'stft': 1.0, 'time': 2.0}" in lines
    assert max(map(len, lines)) < 88 and "'class'" not in out


def test_missing_libraries(folder, capsys, monkeypatch):
    args = ("compare", "voice.wav", "voice.wav")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "rich", None)
        patch.setitem(sys.modules, "soundfile", None)
        assert call(capsys, patch, folder, "show", "saved.eqx")[0] == 0
        code, _, err = call(capsys, patch, folder, *args)
    assert code == 2 and 'pip install "korvax_eqx[audio]"' in err
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "soxr", None)
        code, out, err = call(capsys, patch, folder, *args)
    assert (code, out) == (2, "")
    assert "`soxr` is not installed" in err
    assert 'pip install "korvax_eqx[audio]"' in err
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib", None)
        code, out, err = call(capsys, patch, folder, *args, "--plot", "a.png")
    assert (code, out) == (2, "")
    assert 'pip install "korvax_eqx[plot]"' in err


@pytest.mark.parametrize("option", ["--start", "--duration", "--block-seconds"])
def test_seconds_beyond_the_range_of_floats(option, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    args = ["compare", "tiny.wav", "tiny.wav", option, "1e308", "--loss", "convergence"]
    assert main(args) == (2 if option == "--start" else 0)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["mrstft", "korvax", "smooth", "pitch", "mel", "convergence"]
)
def test_files_of_one_hertz(name, folder, capsys, monkeypatch):
    files = ("slow_half.wav", "slow.wav")
    args = ("compare", *files, "--loss", name, "--json", "--plot", "slow.svg")
    code, out, err = call(capsys, monkeypatch, folder, *args)
    report = json.loads(out)
    doubts = ["mel bands are empty"] if name == "mel" else []
    assert code == 0 and err.count("\n") == len(report["warnings"]) == len(doubts)
    assert all(map(str.__contains__, report["warnings"], doubts))
    assert report["loss"]["value"] > 0 and report["compared"]["seconds"] == 3000
    assert report["picture"] == "slow.svg" and (folder / "slow.svg").exists()
    args = ("compare", "voice.wav", "slow.wav", "--loss", name, "--resample")
    code, _, err = call(capsys, monkeypatch, folder, *args, "--align", "trim", "--json")
    assert code in (0, 2) and "Traceback" not in err


@pytest.mark.parametrize(
    "name",
    [
        "声音 и звук ♪.wav",
        "e\u0301\U0001f3b5.wav",
        "new\nline\ttab.wav",
        b"no \xff text.wav",
        "$x^2$ [bold] \\.wav",
        "long" * 60 + ".wav",
    ],
)
def test_names_of_files_can_be_anything(name, folder, capsys, monkeypatch):
    path = os.fsdecode(name)
    (folder / path).write_bytes((folder / "tiny.wav").read_bytes())
    args = ("compare", path, path, "--loss", "convergence", "--plot", path + "p.png")
    if len(path) > 200:
        args = (*args[:-1], "short.png")
    code, out, err = call(capsys, monkeypatch, folder, *args)
    assert (code, err) == (0, "")
    assert "Wrote" in out
    code, out, err = call(capsys, monkeypatch, folder, *args[:-2], "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["reference"]["path"] == path
    code, out, err = call(capsys, monkeypatch, folder, "show", path)
    assert (code, out) == (2, "") and "Cannot load" in err


@pytest.mark.parametrize(
    "kind", ["tiny.wav", "late.aiff", "est.flac", "voice16k.ogg", "voice.mp3"]
)
def test_headers_with_anything_in_them(kind, folder, tmp_path):
    content = (folder / kind).read_bytes()
    rng = np.random.default_rng(0)
    n_refused = 0
    for trial in range(150):
        damaged = bytearray(content)
        for at in rng.integers(0, 100, 1 + trial % 4):
            damaged[at] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
        (tmp_path / kind).write_bytes(damaged)
        try:
            signal = _audio.open_signal(str(tmp_path / kind))
            for _, chunk in zip(range(3), signal.chunks(), strict=False):
                assert chunk.shape[0] == signal.n_channels
        except CommandError as error:
            n_refused += 1
            assert kind in str(error)
    # In MP3 there is no header of the file: what is damaged is passed over.
    assert n_refused > 10 or kind == "voice.mp3"


# -------------------------------------------------------------------- the parts


def samples(signal):
    return np.concatenate(list(signal.chunks()), axis=1)


@pytest.mark.parametrize("chunk", [1000, 2**20])
def test_streams_equal_whole_files(chunk, folder, monkeypatch):
    monkeypatch.setattr(_audio, "_CHUNK", chunk)
    signal = _audio.open_signal(str(folder / "ref.wav"))
    data, sr = read(folder / "ref.wav")
    np.testing.assert_array_equal(samples(signal), data)
    for other in (16000, 44100, 22000):
        converted = _audio.resample(signal, other)
        expected = soxr.resample(data.T, sr, other).T
        assert converted.n_samples == expected.shape[1]
        np.testing.assert_allclose(samples(converted), expected, atol=1e-6)
    averaged = samples(_audio.mono(signal))
    np.testing.assert_allclose(averaged[0], data.mean(axis=0), atol=1e-7)
    longer = samples(_audio.cut(signal, 35000, 3000))
    np.testing.assert_array_equal(longer[:, :280], data[:, 35000:])
    assert longer.shape == (2, 3000) and not longer[:, 280:].any()
    sizes = _audio.block_sizes(signal.n_samples, 7000)
    assert sizes == [7000] * 4 + [7280]
    parts = list(_audio.blocks(signal, sizes))
    assert [part.shape for part in parts] == [(2, size) for size in sizes]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), data)


def test_block_sizes():
    for n_samples in range(1, 100):
        sizes = _audio.block_sizes(n_samples, 10)
        assert sum(sizes) == n_samples
        assert set(sizes[:-1]) <= {10}
        assert len(sizes) == 1 or 5 <= sizes[-1] < 15
    assert _audio.block_sizes(14, 10) == [14]


def rates_of(config):
    """Return every `sr` that a config holds."""
    if isinstance(config, dict):
        own = {config["sr"]} if isinstance(config.get("sr"), int | float) else set()
        return own.union(*map(rates_of, config.values()))
    return set().union(*map(rates_of, config)) if isinstance(config, list) else set()


@pytest.mark.parametrize("case", [*COMPOSITES, *LEVELS, *BATCHES], ids=repr)
def test_rates_are_found_wherever_they_are(case):
    """Law: whatever a saved loss is made for, files are brought to that rate."""
    loss = case.make()
    expected = rates_of(ke.to_config(loss))
    wave = ke.WaveformLoss()
    for nested in (
        loss,
        ke.SumLoss([wave, loss]),
        ke.SumLoss({"b": ke.SumLoss({"z": loss, "a": wave}), "a": wave}, [1, 2]),
        ke.RandomSubsetLoss({"a": ke.MappedLoss(ke.PreEmphasis(), loss)}),
    ):
        assert set(_losses._rates(nested)) == expected


@pytest.mark.parametrize("delay", [0, 1, 700, -2500, 12000])
def test_delays_are_found(delay, tmp_path):
    clean = np.stack([speech(16000, 2.0), pluck(16000, 2.0)])
    noise = np.random.default_rng(0).standard_normal(clean.shape)
    shifted = -0.3 * np.roll(clean, delay, axis=1) + 0.01 * noise
    lead = slice(0, delay) if delay > 0 else slice(delay or clean.shape[1], None)
    shifted[:, lead] = 0.0
    paths = [str(tmp_path / name) for name in ("y.wav", "x.wav")]
    for path, data in zip(paths, (clean, shifted), strict=True):
        soundfile.write(path, data.T, 16000, "FLOAT")
    signals = [_audio.open_signal(path) for path in paths]
    offset, strength = _align.find_offset(*signals)
    assert offset == delay
    assert 0.2 < strength <= 1.0 + 1e-6


def test_lengths_may_differ_by_the_rounding_of_a_conversion(tmp_path):
    def compared(n_reference):
        for name, n, sr in (("y.wav", n_reference, 44100), ("x.wav", 16000, 16000)):
            soundfile.write(tmp_path / name, np.zeros(n), sr)
        y, x = (_audio.open_signal(str(tmp_path / name)) for name in ("y.wav", "x.wav"))
        pair = _align.Pair(y, x)
        _align.make_comparable(pair, None, False, True, None)
        return pair.reference.n_samples, pair.estimate.n_samples

    # A sample at 16000 Hz is 2.8 at 44100 Hz.
    assert compared(44103) == (44100, 44100)
    with pytest.raises(CommandError, match="lengths differ"):
        compared(44104)


def test_long_pictures_are_means_of_frames(monkeypatch):
    monkeypatch.setattr(_picture, "_FRAMES", 8)
    sr, n_samples = 11025, 15999
    x = np.stack([speech(sr, 1.6), pluck(sr, 1.6)])[:, :n_samples]
    frames = ke.Spectrogram(512, 128)(jnp.asarray(x))  # 46 ms
    expected = np.asarray(frames, np.float64).mean(axis=0)
    for most, n_frames in ((1200, 1), (40, 4), (20, 7)):
        monkeypatch.setattr(_picture, "_MOST_COLUMNS", most)
        long = _picture.LongSpectrogram(sr, n_samples, 2)
        assert (long.n_fft, long.hop, long.frames_a_column) == (512, 128, n_frames)
        for start in range(0, n_samples, 3333):
            long.add(x[:, start : start + 3333])
        columns = [
            expected[:, i : i + n_frames].mean(axis=1)
            for i in range(0, expected.shape[1], n_frames)
        ]
        found = long.finish()
        np.testing.assert_allclose(found, np.stack(columns, 1), rtol=1e-4, atol=1e-6)
        assert long.columns.hop_length == 128 * n_frames
        assert long.start == pytest.approx((n_frames - 1) / 2 * 128 / sr)


def test_memory_does_not_grow_with_the_file(tmp_path):
    sr, seconds = 44100, 240
    path = str(tmp_path / "long.flac")
    soundfile.write(path, np.tile(pluck(sr, 4.0), seconds // 4), sr, "PCM_16")
    peaks = []
    for duration in (40.0, float(seconds)):
        signal = _audio.resample(_audio.open_signal(path, 0.0, duration), 48000)
        picture = _picture.LongSpectrogram(48000, signal.n_samples, 1)
        sizes = _audio.block_sizes(signal.n_samples, 48000)
        tracemalloc.start()
        for index, block in enumerate(_audio.blocks(signal, sizes)):
            if index < 3:
                picture.add(block)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # All of the longer file is 46 MB of samples.
    assert peaks[1] < 1.3 * peaks[0]
    assert peaks[1] < 30e6


def test_the_command_runs_out_of_memory_with_advice(folder, capsys, monkeypatch):
    def exhausted(self, x, y, **keywords):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(ke.MRSTFTLoss, "with_terms", exhausted)
    args = ("compare", "voice.wav", "voice.wav")
    code, out, err = call(capsys, monkeypatch, folder, *args)
    assert (code, out) == (2, "")
    assert "out of memory. Lower --block-seconds" in err
