"""The examples that compare losses, and what they say of the recommended one."""

import subprocess
import sys
from pathlib import Path

import promotion
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

from _tones import TONES, losses  # noqa: E402
from gradient_direction import score  # noqa: E402

# Words above the tables, each explained before it is used.
EXPLAINED = {
    "gradient_direction": [
        "coarse",
        "fine",
        "amplitude",
        "time",
        "not finite",
        "mrstft",
    ],
    "pitch_fit": ["pitch", " / "],
}


@pytest.fixture(autouse=True)
def usual_promotion():
    """Examples promote dtypes in the usual way."""
    with promotion.usual_promotion():
        yield


@pytest.mark.parametrize("tone", TONES, ids=lambda tone: tone.name)
def test_the_recommended_loss_points_the_right_way(tone):
    """At least 97 % over two octaves and 99 % over 100 cents, on every tone."""
    loss = losses()["pitch"]
    for seed in (None, 1):
        coarse = score("pitch", loss, tone, seed, "coarse", 100)
        fine = score("pitch", loss, tone, seed, "fine", 100)
        assert coarse.right >= 97 and fine.right >= 99
        assert coarse.not_finite == fine.not_finite == 0


def test_centred_frames_do_not():
    """What the configuration is for: with frames over the edges, it is near chance."""
    loss = losses()["sot, centred"]
    shares = [score("", loss, tone, None, "coarse", 40).right for tone in TONES[:3]]
    assert min(shares) < 80


@pytest.mark.parametrize(
    "name, files",
    [
        (
            "gradient_direction",
            ["gradient_direction.csv", "gradient_direction.png"],
        ),
        ("pitch_fit", ["pitch_fit.csv"]),
        ("loss_landscape", ["landscape_profiles.png", "landscape_surfaces.png"]),
    ],
)
def test_example_runs(name, files, tmp_path):
    shown = {path: path.read_bytes() for path in (EXAMPLES / "pictures").iterdir()}
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--quick"]
    result = subprocess.run(
        [*command, "--out", str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr[-3000:]
    for file in files:
        written = (tmp_path / file).read_bytes()
        is_table = file.endswith(".csv") and len(written.splitlines()) >= 2
        assert is_table or written.startswith(b"\x89PNG")
    assert shown == {p: p.read_bytes() for p in (EXAMPLES / "pictures").iterdir()}
    # What the columns and cells of the table are, and the names in its rows.
    for word in EXPLAINED.get(name, ()):
        before, _, after = result.stdout.partition("━━")
        assert word in before and word in after
