"""The code of the README runs: the first example, and each section by itself."""

import inspect
import re
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import promotion
import pytest

import korvax_eqx as ke

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCK = re.compile(r"^```python( flax| haiku)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(text):
    """Return pairs: the library other than Equinox that it needs, and the code."""
    return [(library.strip(), code) for library, code in BLOCK.findall(text)]


PARTS = re.split(r"^## ", README, flags=re.MULTILINE)
FIRST = blocks(PARTS[0])
TITLES = {part.partition("\n")[0]: blocks(part) for part in PARTS[1:]}
# What all sections start from.
((_, COMMON),) = TITLES.pop("By question")
SECTIONS = {title: found for title, found in TITLES.items() if found}


# Users' code promotes dtypes in the usual way.
@pytest.fixture(autouse=True)
def usual_promotion():
    with promotion.usual_promotion():
        yield


def run(*code):
    namespace: dict[str, object] = {"__name__": "readme"}
    for block in code:
        exec(compile(block, "README.md", "exec"), namespace)


@pytest.mark.long
@pytest.mark.parametrize("title", SECTIONS)
def test_section_stands_alone(title, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(COMMON, *(code for library, code in SECTIONS[title] if not library))


@pytest.mark.filterwarnings("ignore")  # those of other libraries
@pytest.mark.parametrize("library", ["flax", "haiku"])
def test_other_libraries(library):
    pytest.importorskip(library)
    run(COMMON, *(code for needs, code in blocks(README) if needs == library))


def test_all_blocks_are_run():
    n_found = sum(map(len, SECTIONS.values())) + len(FIRST) + 1
    assert n_found == len(blocks(README)) == README.count("```python") >= 13
    assert {library for library, _ in blocks(README)} == {"", "flax", "haiku"}


def test_first_example_prints_what_it_says(capsys):
    """It is short, and learns. Other processors round 200 steps in another way."""
    ((_, code),) = FIRST
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    run(code)
    printed = re.findall(r"step \d+: (\S+)", capsys.readouterr().out)
    (said,) = re.findall(r"# about (\d+\.\d+, .*?)$", code, re.MULTILINE)
    said, printed = (
        np.array(s, float) for s in (re.findall(r"\d+\.\d+", said), printed)
    )
    np.testing.assert_allclose(printed[0], said[0], rtol=1e-3, atol=5e-3)
    # With inputs that differ in the last digits: 0.39 to 0.53, then 0.21 to 0.23.
    np.testing.assert_allclose(printed[1], said[1], rtol=0.3)
    np.testing.assert_allclose(printed[2], said[2], rtol=0.1)


def test_the_table_of_parts_has_every_class():
    """And no other: a new one is named there."""
    (table,) = re.findall(r"^\| signal maps (?s:.*?)\n\n", README, re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", table))
    elsewhere = {ke.BalancerState, ke.BoundLoss, ke.Framing, ke.Signals, ke.Spectra}
    elsewhere |= {ke.Term, ke.Terms}
    public = {
        name
        for name, value in vars(ke).items()
        if inspect.isclass(value) and issubclass(value, eqx.Module)
        if not inspect.isabstract(value) and value not in elsewhere
    }
    assert named == public


def test_learnable_windows_start_from_those_that_have_names():
    """A symmetric window is 0.2 % off."""
    (written,) = re.findall(r"window=(jnp\.hanning\(.*?\])\),  # periodic", README)
    window = eval(written, {"jnp": jnp})
    expected = ke.STFT(512, window="hann").window_values
    np.testing.assert_allclose(window, expected, atol=1e-6)
