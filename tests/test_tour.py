"""The notebook `examples/tour.ipynb`: it runs, and the file holds what it shows.

`python tests/test_tour.py` runs it in full and stores what it returns. It runs in an
empty folder: it needs no other file.
"""

import base64
import io
import re
import tempfile
import wave
from pathlib import Path

import matplotlib.image
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.long

PATH = Path(__file__).parents[1] / "examples" / "tour.ipynb"
LARGEST = 2_000_000  # bytes
# All there is: what a run or a machine would change is left out.
METADATA = {
    "kernelspec": {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}


def execute(notebook):
    """Run all cells in a kernel of its own; an error in a cell is raised."""
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=300,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        client.execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell):
    return "".join(out.text for out in cell.outputs if out.output_type == "stream")


def pictures(cell):
    """Return the pictures of a cell as arrays."""
    data = [out.data for out in cell.outputs if "data" in out]
    files = [base64.b64decode(one["image/png"]) for one in data if "image/png" in one]
    return [matplotlib.image.imread(io.BytesIO(file)) for file in files]


def sounds(cell):
    """Return the sounds of a cell's players: sample rate and samples."""
    found = []
    for out in cell.outputs:
        page = out.get("data", {}).get("text/html", "")
        for data in re.findall(r"data:audio/wav;base64,([A-Za-z0-9+/=]+)", page):
            with wave.open(io.BytesIO(base64.b64decode(data))) as file:
                assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
                samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
                found.append((file.getframerate(), samples))
    return found


def kinds(cell):
    """Return what a cell returned: kinds of its outputs, and its text but numbers."""
    types = [sorted(out.get("data", {"stream": 0})) for out in cell.outputs]
    text = re.sub(r"-?[+\d.]+", "#", texts(cell))
    return types, " ".join(text.split())


@pytest.fixture(scope="module")
def stored():
    return nbformat.read(PATH, as_version=4)


@pytest.fixture(scope="module")
def ran():
    """The notebook after a run of fewer steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KORVAX_EQX_QUICK", "1")
        return execute(nbformat.read(PATH, as_version=4))


def test_it_runs(ran, stored):
    """No cell raises, and each returns what the file holds, but for the numbers."""
    for now, before in zip(code_cells(ran), code_cells(stored), strict=True):
        assert kinds(now) == kinds(before), now.source
        assert not any(out.get("name") == "stderr" for out in now.outputs), now.source


def test_the_file_is_valid_and_small(stored):
    nbformat.validate(stored)
    assert PATH.stat().st_size < LARGEST
    assert stored.metadata == METADATA
    assert all(not cell.metadata for cell in stored.cells)
    numbers = [cell.execution_count for cell in code_cells(stored)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(cell.outputs for cell in code_cells(stored))
    # One idea a cell, and words before each.
    pairs = zip(stored.cells, stored.cells[1:], strict=False)
    assert all(a.cell_type != b.cell_type for a, b in pairs)
    assert all(len(cell.source.splitlines()) <= 32 for cell in code_cells(stored))


@pytest.mark.parametrize("which", ["stored", "ran"])
def test_pictures_and_sounds(which, request):
    cells = code_cells(request.getfixturevalue(which))
    seen = [picture for cell in cells for picture in pictures(cell)]
    assert len(seen) >= 5
    for picture in seen:
        colours = (picture[..., :3] * 255).astype(int) @ [1, 256, 65536]
        assert picture.shape[1] > 500 and len(np.unique(colours)) > 50
    heard = [sound for cell in cells for sound in sounds(cell)]
    assert len(heard) >= 6
    for rate, samples in heard:
        assert rate == 16_000 and 0.4 < len(samples) / rate < 4
        assert 1000 < np.max(np.abs(samples.astype(int))) < 32_767


def test_nothing_of_a_machine_is_stored(stored):
    for cell in code_cells(stored):
        for out in cell.outputs:
            assert out.output_type in ("stream", "display_data", "execute_result")
            text = str(out.get("text", "")) + str(out.get("data", {}).get("text/plain"))
            assert str(Path.home()) not in text and " at 0x" not in text


def test_what_the_words_say_of_the_numbers(stored, ran):
    said = "".join(texts(cell) for cell in code_cells(stored))
    for notebook in (stored, ran):  # transport: one minimum, at the target
        text = "".join(texts(cell) for cell in code_cells(notebook))
        lines = re.findall(r"(.+): local minima +(\d+), the nearest (\d+) cents", text)
        minima = {name.strip(): (int(n), int(cents)) for name, n, cents in lines}
        assert minima["Optimal transport"] == (1, 0)
        assert minima["L1 of spectra"][0] > 5
        assert minima["Multi-resolution STFT"][0] > 3
    before, after, cents = re.findall(r"Loss ([\d.]+) -> ([\d.]+); (\S+) cents", said)[
        0
    ]
    assert float(after) < float(before) / 50 and abs(float(cents)) < 2
    rows = {
        name: (float(coded), float(dull))
        for name, coded, dull in re.findall(
            r"(waveform|log mel|convergence) +([\d.]+) +([\d.]+)", said
        )
    }
    for name, coded_is_worse in (
        ("waveform", True),
        ("log mel", True),
        ("convergence", False),
    ):
        coded, dull = rows[name]
        assert (coded > dull) == coded_is_worse, name


if __name__ == "__main__":
    nbformat.write(execute(nbformat.read(PATH, as_version=4)), PATH)
