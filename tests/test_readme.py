"""The code of the README runs, from top to bottom as one program."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import promotion
import pytest

import korvax_eqx as ke

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


# Users' code promotes dtypes in the usual way.
@pytest.fixture(autouse=True)
def usual_promotion():
    with promotion.usual_promotion():
        yield


def test_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) >= 6
    namespace: dict[str, object] = {"__name__": "readme"}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), namespace)


def test_first_example_is_short():
    lines = [line for line in BLOCKS[0].splitlines() if line.strip()]
    assert len(lines) <= 20


def test_learnable_windows_start_from_those_that_have_names():
    """A symmetric window is 0.2 % off."""
    (written,) = re.findall(r"window=(jnp\.hanning\(.*?\])\),  # periodic", README)
    window = eval(written, {"jnp": jnp})
    expected = ke.STFT(512, window="hann").window_values
    np.testing.assert_allclose(window, expected, atol=1e-6)
