"""The pictures of the pages: small, shown, and written when asked for only."""

import re
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(EXAMPLES))

import _pictures  # noqa: E402

PICTURES = sorted((EXAMPLES / "pictures").iterdir())
PAGES = [ROOT / "README.md", EXAMPLES / "README.md"]


def shown(page):
    """Return the descriptions of the pictures of a page, by their files."""
    found = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text("utf-8"))
    return {(page.parent / path).resolve(): words for words, path in found}


def test_pictures_and_pages_agree():
    described = {path: words for page in PAGES for path, words in shown(page).items()}
    assert set(described) == {path.resolve() for path in PICTURES}
    assert len(PICTURES) >= 5
    # For those who cannot see them.
    assert all(len(words) > 40 for words in described.values())


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small_and_readable(path):
    assert path.suffix == ".png"
    assert path.stat().st_size < _pictures.LARGEST
    picture = matplotlib.image.imread(path)
    height, width = picture.shape[:2]
    assert 1000 <= width <= 1600 and height >= 350
    # Nothing is cut off: the outermost pixels are the paper.
    edges = (picture[0], picture[-1], picture[:, 0], picture[:, -1])
    assert all(np.all(edge[:, :3] > 0.95) for edge in edges)


def figure_of(values):
    figure = Figure(figsize=(6, 4))
    figure.subplots().imshow(values)
    return figure


def test_save_keeps_colours_and_no_date(tmp_path):
    steps = np.linspace(0, 1, 64)[None].repeat(64, 0)
    for name in ("one.png", "two.png"):
        _pictures.save(figure_of(steps), tmp_path / name)
    one, two = ((tmp_path / name).read_bytes() for name in ("one.png", "two.png"))
    assert one == two
    assert b"tEXt" not in one and b"tIME" not in one
    drawn = matplotlib.image.imread(tmp_path / "one.png")[..., :3]
    figure_of(steps).savefig(tmp_path / "full.png", dpi=110)
    full = matplotlib.image.imread(tmp_path / "full.png")[..., :3]
    assert np.max(np.abs(drawn - full)) < 0.15
    assert np.mean(np.abs(drawn - full)) < 2e-3


@pytest.mark.long
def test_save_refuses_large_pictures(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).random((400, 400))
    _pictures.save(figure_of(noise), tmp_path / "noise.png")
    monkeypatch.setattr(_pictures, "LARGEST", 10_000)
    with pytest.raises(SystemExit, match="no small picture"):
        _pictures.save(figure_of(noise), tmp_path / "large.png")
    assert not (tmp_path / "large.png").exists()


def test_renew(tmp_path, monkeypatch):
    monkeypatch.setattr(_pictures, "FOLDER", tmp_path)
    new = tmp_path / "run" / "a.png"
    new.parent.mkdir()
    new.write_bytes(b"new")
    (tmp_path / "a.png").write_bytes(b"old")
    _pictures.renew(new)
    assert (tmp_path / "a.png").read_bytes() == b"new"
