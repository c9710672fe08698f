"""`compare` of folders, and of several losses."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

import korvax_eqx as ke
from korvax_eqx._cli._evaluate import _padded_length
from korvax_eqx._cli._main import main
from korvax_eqx._cli._table import summary_of

SR = 16000
LENGTHS = {"a": 16000, "b": 9001, "inner/c": 12345}
T_2 = 4.302652729749464  # 97.5 % of Student's t with 2 degrees of freedom


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    for i, (name, n) in enumerate(LENGTHS.items(), 1):
        y = 0.2 * rng.standard_normal((n, 2))
        x = y + 0.05 * i * rng.standard_normal((n, 2))
        ending = "flac" if name == "b" else "wav"
        for role, data, end in (("ref", y, "wav"), ("est", np.clip(x, -1, 1), ending)):
            path = root / role / f"{name}.{end}"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, data, SR)
    soundfile.write(root / "ref" / "alone.wav", np.ones(100), SR)
    (root / "ref" / "notes.txt").write_text("no sound")
    return root


def values_by_hand(folder: Path) -> dict[str, dict[str, float]]:
    """Both losses on the files as they are, each channel alone."""
    losses = {"si_sdr": ke.SISDRLoss(), "recipe": ke.recipes.hifigan_mel(SR)}
    found = {}
    for name in LENGTHS:
        end = "flac" if name == "b" else "wav"
        y = soundfile.read(folder / "ref" / f"{name}.wav", dtype="float32")[0].T
        x = soundfile.read(folder / "est" / f"{name}.{end}", dtype="float32")[0].T
        found[name] = {
            key: np.mean(
                [
                    float(loss(jnp.asarray(a), jnp.asarray(b)))
                    for a, b in zip(x, y, strict=True)
                ]
            )  # fmt: skip
            for key, loss in losses.items()
        }
        found[name]["si_sdr"] *= -1
    return found


def test_folders(folder: Path, capsys: Any, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    paths = [str(folder / "ref"), str(folder / "est")]
    options = ["--loss", "si_sdr", "--loss", "hifigan_mel", "--csv", str(table)]
    assert main(["compare", *paths, *options, "--json"]) == 0
    printed = capsys.readouterr()
    assert "left out: alone (1)" in printed.err
    report = json.loads(printed.out)
    expected = values_by_hand(folder)
    weights = np.array(list(LENGTHS.values())) / SR
    for name, key in (("si_sdr", "si_sdr"), ("hifigan_mel", "recipe")):
        values = np.array([file["values"][name] for file in report["files"]])
        desired = np.array([expected[file][key] for file in LENGTHS])
        np.testing.assert_allclose(values, desired, rtol=1e-5)
        mean = np.sum(weights * values) / np.sum(weights)
        squares = np.sum(weights**2 * (values - mean) ** 2)
        half = T_2 * np.sqrt(1.5 * squares) / np.sum(weights)
        got = report["losses"][name]
        desired = [mean, mean - half, mean + half, np.mean(values)]
        np.testing.assert_allclose(list(got.values()), desired, rtol=1e-12)
    assert [file["file"] for file in report["files"]] == list(LENGTHS)

    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [*LENGTHS, "", "", "", ""]
    kinds = ["file"] * 3 + ["mean", "low", "high", "mean_of_files"]
    assert [row["row"] for row in rows] == kinds
    for row, file in zip(rows, report["files"], strict=False):
        assert float(row["hifigan_mel"]) == file["values"]["hifigan_mel"]
        assert float(row["seconds"]) == LENGTHS[row["file"]] / SR
    assert float(rows[3]["si_sdr"]) == report["losses"]["si_sdr"]["mean"]


def test_two_files_and_several_losses(folder: Path, capsys: Any) -> None:
    paths = [str(folder / role / "a.wav") for role in ("ref", "est")]
    assert main(["compare", *paths, "--loss", "snr", "--loss", "si_sdr"]) == 0
    printed = capsys.readouterr().out
    assert "1 file, 1.000 s" in printed and "a.wav" in printed
    y, x = (soundfile.read(p, dtype="float32")[0].T for p in paths)
    ratio = -float(ke.SNRLoss()(jnp.asarray(x), jnp.asarray(y)))
    assert f"{ratio:.5g}"[:-1] in printed


def test_what_is_monitored_hides_no_short_file(tmp_path: Path, capsys: Any) -> None:
    """A file too short for the loss is refused, with a monitored term and without."""
    mrstft = ke.MRSTFTLoss((256,), (2400,), pad_mode="reflect")
    ke.save(tmp_path / "plain.eqx", ke.SumLoss([mrstft]))
    monitored = ke.SumLoss([mrstft], monitor={"snr": ke.SNRLoss()})
    ke.save(tmp_path / "monitored.eqx", monitored)
    folders = [tmp_path / role for role in ("ref", "est")]
    for i, role in enumerate(folders):
        role.mkdir()
        for name, n in (("long", 8000), ("short", 1100)):
            sound = 0.1 * np.random.default_rng(i).standard_normal(n)
            soundfile.write(role / f"{name}.wav", sound, SR)
        # macOS writes such a file beside each.
        (role / "._long.wav").write_bytes(b"\0\5\x16\7")
    for name in ("plain", "monitored"):
        loss = str(tmp_path / f"{name}.eqx")
        assert main(["compare", *map(str, folders), "--loss", loss]) == 2
        assert "1201 samples are needed, 1100 were" in capsys.readouterr().err
    for role in folders:
        (role / "short.wav").unlink()
    assert main(["compare", *map(str, folders), "--loss", loss]) == 0


def test_an_interval_holds_the_mean_95_times_of_100() -> None:
    """Of files of many lengths, whose values do not depend on them."""
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(2000):
        weights, values = rng.uniform(1, 5, 12), 3 + rng.standard_normal(12)
        found = summary_of(values, weights)
        assert found.low is not None and found.high is not None
        hits.append(found.low <= 3 <= found.high)
    assert 0.935 < np.mean(hits) < 0.965
    alone = summary_of([2.5], [7.0])
    assert (alone.mean, alone.low, alone.high) == (2.5, None, None)
    assert summary_of([1.0, 4.0], [3.0, 1.0]).mean == 1.75


def test_few_lengths_are_compiled() -> None:
    lengths = {_padded_length(n) for n in range(SR // 2, 4 * SR)}
    assert len(lengths) <= 8
    for n in [1, 2, 3, *range(100, 200_000, 777)]:
        assert n <= _padded_length(n) <= 1.42 * n + 1


def test_refuses(folder: Path, capsys: Any, tmp_path: Path) -> None:
    ref, est = str(folder / "ref"), str(folder / "est")
    odd = tmp_path / "odd"
    odd.mkdir()
    soundfile.write(odd / "a.wav", np.ones((500, 2)), SR)
    (tmp_path / "none").mkdir()
    twice = tmp_path / "twice"
    twice.mkdir()
    for end in ("wav", "flac"):
        soundfile.write(twice / f"a.{end}", np.ones((500, 2)) / 2, SR)
    cases = [
        ([ref, f"{est}/a.wav"], "one is a folder and one is not"),
        ([ref, str(tmp_path / "none")], "no audio file has the same name"),
        ([ref, str(twice)], "have the same name"),
        ([ref, est, "--plot", "p.png"], "--plot draws two files"),
        ([ref, str(odd)], "the lengths differ"),
        ([ref, str(tmp_path / "nowhere")], "one is a folder and one is not"),
        ([ref, est, "--loss", "nothing"], "neither a name"),
        ([ref, est, "--loss", "snr", "--csv", str(tmp_path)], "cannot be written"),
        (
            [str(odd), str(odd), "--loss", "snr", "--loss", "pitch"],
            "at least.*samples|too short",
        ),
    ]
    for arguments, message in cases:
        assert main(["compare", *arguments]) == 2
        error = capsys.readouterr().err
        assert re.search(message, error), error
