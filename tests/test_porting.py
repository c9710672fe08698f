"""The blocks of the porting page run, and give the same values on both sides."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from packages import with_torchaudio

PAGE = Path(__file__).parent.parent / "examples" / "porting.md"
BLOCK = re.compile(r"```python (torch|jax)( draws)?\n(.*?)```", re.S)


def sections():
    """The blocks under each heading: title, PyTorch's, ours, and whether it draws."""
    for section in PAGE.read_text("utf-8").split("\n## ")[1:]:
        blocks = {
            kind: (code, bool(draws)) for kind, draws, code in BLOCK.findall(section)
        }
        (torch_code, draws), (jax_code, _) = blocks["torch"], blocks["jax"]
        yield pytest.param(
            torch_code, jax_code, draws, id=section.partition("\n")[0].strip()
        )


SECTIONS = list(sections())
RNG = np.random.default_rng(0)
Y = (0.1 * RNG.standard_normal((2, 9000))).astype(np.float32)
X = (0.7 * Y + 0.03 * RNG.standard_normal(Y.shape)).astype(np.float32)


def run(code, x, y):
    names = {"x": x, "y": y}
    exec(compile(code, "porting.md", "exec"), names)
    return names["loss"]


def test_page_has_all_projects():
    names = " ".join(str(section.id) for section in SECTIONS)
    for project in (
        "auraloss",
        "sot",
        "Descript",
        "EnCodec",
        "HiFi",
        "DDSP",
        "RAVE",
        "stoi",
        "PMSQE",
    ):
        assert project in names
    for project in (
        "torch-l1-snr",
        "torch-log-wmse",
        "sound-separation",
        "DCUNet",
        "mixture",
    ):
        assert project in names
    assert "AudioSeal" in names and "flamo" in names and "quantile" in names
    for project in ("BigVGAN", "Vocos", "Stable Audio", "NeMo", "FreeV", "APNet2"):
        assert project in names
    for project in ("DeepFilterNet", "GTCRN"):
        assert project in names
    for project in ("RAVE with its sub-bands", "Multi-band MelGAN", "MP-SENet"):
        assert project in names


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*mel bands are empty")
@pytest.mark.parametrize(("torch_code", "jax_code", "draws"), SECTIONS)
def test_ours_runs(torch_code, jax_code, draws):
    del torch_code, draws
    value = run(jax_code, jnp.asarray(X), jnp.asarray(Y))
    assert value.shape == () and jnp.isfinite(value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("torch_code", "jax_code", "draws"), SECTIONS)
def test_values_are_equal(torch_code, jax_code, draws):
    torch = pytest.importorskip("torch")
    with_torchaudio()
    try:
        theirs = run(torch_code, torch.tensor(X), torch.tensor(Y))
    except ImportError as error:
        pytest.skip(f"not installed: {error}")
    ours = run(jax_code, jnp.asarray(X), jnp.asarray(Y))
    if not draws:
        np.testing.assert_allclose(float(ours), float(theirs), rtol=5e-6)
