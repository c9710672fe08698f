"""Recipes on the command line: by name, for the sample rate of the files."""

import inspect
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from korvax_eqx import recipes
from korvax_eqx._cli._losses import DESCRIPTIONS, builders, descriptions
from korvax_eqx._cli._main import main

SR = 22050
RECIPES = {
    name: recipe for name, recipe in vars(recipes).items() if inspect.isfunction(recipe)
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    rng = np.random.default_rng(0)
    y = 0.1 * rng.standard_normal((SR // 2, 2)).astype(np.float32)
    x = 0.8 * y + 0.01 * rng.standard_normal(y.shape).astype(np.float32)
    soundfile.write(folder / "y.wav", y, SR, "FLOAT")
    soundfile.write(folder / "x.wav", x, SR, "FLOAT")
    return folder


def signals(folder):
    names = (folder / "x.wav", folder / "y.wav")
    return tuple(jnp.asarray(soundfile.read(n, dtype="float32")[0].T) for n in names)


def run(capsys, *arguments):
    code = main(list(map(str, arguments)))
    return code, capsys.readouterr()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("dac_mel", lambda: recipes.dac_mel(SR)),
        ("l1snr_db", recipes.l1snr_db),
        ("log_wmse", lambda: recipes.log_wmse(SR)),
        ("recipes.sot", recipes.sot),
        ("hifigan_mel", lambda: recipes.hifigan_mel(SR)),
    ],
)
@pytest.mark.filterwarnings("ignore:.*mel bands are empty")
def test_value_is_that_of_the_recipe(name, make, folder, capsys):
    files = (folder / "y.wav", folder / "x.wav")
    code, output = run(capsys, "compare", *files, "--loss", name, "--json")
    assert code == 0, output.err
    report = json.loads(output.out)["loss"]
    np.testing.assert_allclose(report["value"], make()(*signals(folder)), rtol=1e-5)
    assert len(report["channels"]) == 2


def test_channels_that_are_compared_together(folder, capsys):
    files = (folder / "y.wav", folder / "x.wav")
    name = "auraloss_sum_difference"
    code, output = run(capsys, "compare", *files, "--loss", name, "--json")
    assert code == 0, output.err
    report = json.loads(output.out)["loss"]
    value = recipes.auraloss_sum_difference()(*signals(folder))
    np.testing.assert_allclose(report["value"], value, rtol=1e-5)
    assert len(report["channels"]) == 1


def test_draws_are_always_the_same(folder, capsys):
    files = (folder / "y.wav", folder / "x.wav")
    arguments = ("compare", *files, "--loss", "auraloss_random", "--json", "--mono")
    outputs = [run(capsys, *arguments)[1] for _ in range(2)]
    assert outputs[0].out == outputs[1].out and outputs[0].out


@pytest.mark.parametrize("command", ["compare", "show"])
def test_list_has_all_of_them(command, capsys):
    code, output = run(capsys, command, "--list")
    assert code == 0
    lines = dict(line.split(maxsplit=1) for line in output.out.splitlines())
    assert lines == descriptions()
    for name, recipe in RECIPES.items():
        assert lines[name] == recipe.__doc__.partition("\n")[0]
    assert lines["korvax"].startswith("MRSTFTLoss()")
    assert lines["bigvgan"].startswith("BigVGAN's") and "PIT" in lines["asteroid"]
    # In the short list of `--help` too.
    assert set(RECIPES) & set(DESCRIPTIONS) == {"mrstft"}
    assert len(set(lines.values())) == len(lines)


@pytest.mark.filterwarnings("ignore:.*mel bands are empty", "ignore:.*`fmax` =")
@pytest.mark.parametrize("name", builders())
def test_every_name_makes_a_loss_for_every_rate(name):
    build = builders()[name]
    assert jax.tree.leaves(build(16000.0)) == []
    if name == "pmsqe":  # its bands are those of two rates
        with pytest.raises(ValueError, match=r"sample_rate=.*16000, 8000"):
            build(48000.0)
        return
    assert jax.tree.leaves(build(48000.0)) == []


def test_show(capsys):
    code, output = run(capsys, "show", "log_wmse", "--json")
    assert code == 0
    assert json.loads(output.out)["class"] == "LogWMSELoss"
    first = run(capsys, "show", "audiotools_mel")[1].out
    second = run(capsys, "show", "audiotools_mel", "--sr", "16000")[1].out
    assert "44100" in first and "16000" in second and "44100" not in second


def test_errors(folder, capsys):
    files = (folder / "y.wav", folder / "x.wav")
    code, output = run(capsys, "compare", *files, "--loss", "dac_mell")
    assert code == 2 and "or a recipe: see --list" in output.err
    assert "Did you mean `dac_mel`?" in output.err
    code, output = run(capsys, "show", "dac_mel", "--sr", "-1")
    assert code == 2 and "must be a rate in Hz. Got -1." in output.err
    code, output = run(capsys, "show", "sot_paper", "--sr", "nan")
    assert code == 2 and "rate in Hz" in output.err
