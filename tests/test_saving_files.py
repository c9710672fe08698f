"""Files, folders and what cannot be saved; files that load in every version."""

import base64
import functools
import inspect
import io
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from registry import signals
from saving_cases import (
    CUSTOM,
    Anything,
    Learnable,
    assert_same,
    config_variants,
    learnable_everywhere,
    loaded,
    saved,
)
from saving_kept import FOLDER, KEPT, has_own_parameters, value_of

import korvax_eqx as ke
from korvax_eqx import recipes
from korvax_eqx._saving import _atomic as atomic_module
from korvax_eqx._saving import _file as file_module
from korvax_eqx._saving._registry import CLASSES

DATA = Path(__file__).parent / "data"


# ---------------------------------------------------------------- what is refused


def double(S):
    return 2 * S


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: ke.TimeFrequencyLoss(lambda x: x, ke.ElementwiseLoss()), "transform_"),
        (lambda: ke.Chain((ke.Log(), double)), r"scales\[1\]` is a function"),
        (lambda: ke.Chain((ke.PowerToDB(ref=jnp.max),)), r"scales\[0\].ref` is a func"),
        (
            lambda: ke.TimeFrequencyLoss(
                functools.partial(ke.spectrogram, n_fft=64), ke.ElementwiseLoss()
            ),
            "transform_fn` is a partial function",
        ),
        (lambda: Anything(np.max), "value` is a function"),
        (lambda: ke.Chain((jax.tree_util.Partial(double),)), r"scales\[0\]` is a part"),
    ],
)
def test_functions_are_refused_by_name(make, where):
    for write in (saved, ke.to_config):
        with pytest.raises(ValueError, match=f"Cannot save this: `{where}.*class of"):
            write(make())


def test_other_things_that_cannot_be_saved(tmp_path):
    x, y = signals()
    bound = ke.MRSTFTLoss((64,), (256,)).bind(y)
    with pytest.raises(ValueError, match="`BoundLoss`.*bind it again"):
        ke.save(tmp_path / "loss", bound)
    with pytest.raises(ValueError, match=r"outside of `jax.jit`"):
        jax.jit(lambda factor: saved(ke.Log(factor)))(1.0)
    with pytest.raises(ValueError, match=r"`value` is an array key"):
        saved(Learnable(jax.random.key(0)))
    with pytest.raises(ValueError, match=r"`value` is an array object"):
        saved(Learnable(np.array([None])))
    on_host = jax.device_get(ke.Chain((ke.Log(jnp.array(2.0)),)))
    with pytest.raises(ValueError, match=r"`scales\[0\]`, a `Log`.*jax.numpy.asarray"):
        saved(on_host)
    stacked = eqx.filter_vmap(ke.Log)(jnp.ones(3))
    with pytest.raises(
        ValueError, match="a `Log`, does not come back.*real floating scalar"
    ):
        saved(stacked)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def unchecked():
    """Without run-time type checks, which would come before the library's own."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
def test_arguments_of_the_wrong_type():
    with pytest.raises(ValueError, match="Only an `eqx.Module` can be saved"):
        ke.save(io.BytesIO(), max)  # type: ignore
    with pytest.raises(ValueError, match="Only an `eqx.Module` can be saved"):
        ke.to_config([ke.Log()])  # type: ignore
    for config in ([], "Log", None, {}, {"Log": {}}):
        with pytest.raises(ke.LoadError, match="A config is a dictionary"):
            ke.from_config(config)  # type: ignore
    for custom in ([ke.Log()], ["Log"], [int]):
        with pytest.raises(ValueError, match="`custom` must hold classes"):
            ke.from_config(ke.to_config(ke.Log()), custom=custom)  # type: ignore
    for file in (3, None, object()):
        with pytest.raises(ValueError, match=r"`save\(path_or_file=...\)` must be"):
            ke.save(file, ke.Log())  # type: ignore
        with pytest.raises(ValueError, match=r"`load\(path_or_file=...\)` must be"):
            ke.load(file)  # type: ignore


# --------------------------------------------------------------- files and folders


def test_paths_and_files(tmp_path):
    loss = learnable_everywhere()
    content = saved(loss)
    ke.save(tmp_path / "a", loss)
    ke.save(str(tmp_path / "b.eqx"), loss)
    with open(tmp_path / "c", "wb", buffering=0) as file:
        ke.save(file, loss)
    for name in ("a", "b.eqx", "c"):
        assert (tmp_path / name).read_bytes() == content
        assert_same(ke.load(tmp_path / name), loss)
        assert_same(ke.load(str(tmp_path / name)), loss)
        with open(tmp_path / name, "rb", buffering=0) as file:
            assert_same(ke.load(file), loss)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b.eqx", "c"]


def test_a_file_is_read_and_written_from_where_it_stands():
    file = io.BytesIO()
    file.write(b"before")
    ke.save(file, ke.Log())
    file.seek(6)
    assert_same(ke.load(file), ke.Log())


def test_an_unbuffered_file_may_take_a_part_at_a_time():
    class Slow(io.RawIOBase):
        content = b""

        def writable(self):
            return True

        def write(self, data, /):
            self.content += bytes(data)[:7]
            return min(7, len(data))

    slow = Slow()
    ke.save(slow, ke.Log())
    assert_same(loaded(slow.content), ke.Log())


def test_text_files_are_refused(tmp_path):
    path = tmp_path / "loss"
    ke.save(path, ke.Log())
    with open(path) as file, pytest.raises(ValueError, match="'rb'"):
        ke.load(file)  # type: ignore
    for open_text in (io.StringIO, functools.partial(open, tmp_path / "text", "w")):
        with open_text() as file, pytest.raises(ValueError, match="'wb'"):
            ke.save(file, ke.Log())  # type: ignore
    with tempfile.NamedTemporaryFile("w+") as file:
        with pytest.raises(ValueError, match="'wb'"):
            ke.save(file, ke.Log())  # type: ignore
        file.write("text\n")
        file.seek(0)
        with pytest.raises(ValueError, match="'rb'"):
            ke.load(file)  # type: ignore


def test_a_missing_file_or_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        ke.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        ke.save(tmp_path / "nothing" / "loss", ke.Log())
    with pytest.raises(ValueError, match="not a regular file"):
        ke.save(tmp_path, ke.Log())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_a_path_that_is_no_file_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="not a regular file"):
        ke.save(pipe, ke.Log())


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_permissions_and_links_are_kept(tmp_path):
    path, link = tmp_path / "loss", tmp_path / "link"
    (tmp_path / "new").touch()
    ke.save(path, ke.Log())
    assert path.stat().st_mode == (tmp_path / "new").stat().st_mode
    path.chmod(0o640)
    link.symlink_to(path)
    ke.save(link, ke.Log(2.0))
    assert link.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert_same(ke.load(path), ke.Log(2.0))


@pytest.mark.parametrize("step", ["write", "fsync", "replace", "leaf"])
def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "loss"
    ke.save(path, ke.Log())
    old = path.read_bytes()

    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    if step == "leaf":
        monkeypatch.setattr(jnp, "save", fail)
    elif step == "write":
        monkeypatch.setattr(file_module, "write_leaves", fail)
    else:
        monkeypatch.setattr(os, step, fail)
    with pytest.raises(KeyboardInterrupt):
        ke.save(path, learnable_everywhere())
    monkeypatch.undo()
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]
    ke.save(path, learnable_everywhere())
    assert_same(ke.load(path), learnable_everywhere())


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_killed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "loss"
    ke.save(path, ke.Log())
    old = path.read_bytes()
    program = (
        "import os, runpy, sys, signal\n"
        "replace_file = runpy.run_path(sys.argv[1])['replace_file']\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "replace_file(sys.argv[2], b'new')\n"
    )
    arguments = [sys.executable, "-c", program, atomic_module.__file__, str(path)]
    result = subprocess.run(arguments, capture_output=True, timeout=100)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert path.read_bytes() == old
    left = [p for p in tmp_path.iterdir() if p != path]
    assert [p.read_bytes() for p in left] == [b"new"]  # it was killed after writing


# ------------------------------------------------------------ Equinox's own format


def test_the_file_is_the_form_that_equinox_documents():
    loss = learnable_everywhere()
    file = io.BytesIO(saved(loss))
    header = json.loads(file.readline())
    assert header["format"] == "korvax_eqx" and header["format_version"] == 1
    assert header["object"]["class"] == "TimeFrequencyLoss"
    zeros = jax.tree.map(lambda leaf: leaf * 0, loss)
    again = eqx.tree_deserialise_leaves(file, zeros)
    assert bool(again == loss) and not bool(zeros == loss)
    assert file.read() == b""


class Model(eqx.Module):
    loss: Any
    layer: eqx.nn.Linear


@pytest.mark.parametrize("make", [learnable_everywhere, ke.MRSTFTLoss])
def test_equinox_saves_losses_and_models_with_losses(make):
    layer = eqx.nn.Linear(3, 4, key=jax.random.key(0))
    for tree in (make(), Model(make(), layer)):
        buffer = io.BytesIO()
        eqx.tree_serialise_leaves(buffer, tree)
        buffer.seek(0)
        zeros = jax.tree.map(lambda leaf: leaf * 0, tree)
        again = eqx.tree_deserialise_leaves(buffer, zeros)
        assert jax.tree.structure(again) == jax.tree.structure(tree)
        assert bool(again == tree)
        assert buffer.read() == b""


def test_pickle_and_copy_round_trip():
    loss = config_variants()["windows-mixed"]
    assert_same(pickle.loads(pickle.dumps(loss)), loss)


# --------------------------------------------------------------- files kept for ever


def expected_files():
    with jax.enable_x64(True):
        wide = jnp.asarray([0.1, 0.2], jnp.float64)
    return {
        "saved_v1.eqx": ke.MRSTFTLoss(),
        "saved_v1_learnable.eqx": learnable_everywhere(),
        "saved_v1_dtypes.eqx": Learnable(
            (
                jnp.arange(3, dtype=jnp.bfloat16),
                wide,
                jnp.array(0.5),
                np.arange(100.0, dtype=np.float32),
                np.array([0.1, 2.5]),
            )
        ),
    }


@pytest.mark.parametrize("name", list(expected_files()))
def test_files_of_version_1_load_in_every_later_version(name):
    expected = expected_files()[name]
    with jax.enable_x64(True):
        actual = ke.load(DATA / name, custom=(Learnable,))
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    leaves = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    for a, b in leaves:
        np.testing.assert_array_equal(a, b, strict=True)
        assert isinstance(a, np.ndarray) == isinstance(b, np.ndarray)
        assert getattr(a, "weak_type", None) == getattr(b, "weak_type", None)


def test_configs_of_version_1_load_in_every_later_version():
    configs = json.loads((DATA / "config_v1.json").read_text())
    for name, expected in (("default", ke.MRSTFTLoss()), *config_variants().items()):
        assert_same(ke.from_config(configs.pop(name)), expected)
    assert not configs


# Differences of nearly equal numbers.
CANCELLING = {"DCLoss", "SpectralLevelLoss", "STOILoss"}
# What they compute is rounded since 0.3.0, to be the same on every machine.
UNROUNDED = {"recipe-ddsp", "recipe-log_wmse"}


def array_of(config):
    array = config["numpy"]
    data = base64.b64decode(array["base64"])
    return np.frombuffer(data, array["dtype"]).reshape(array["shape"])


def assert_nearly_same(one, other):
    """Configs that are equal but for the last digits of arrays, and lists or tuples."""
    one, other = (
        c["list"] if isinstance(c, dict) and "list" in c else c for c in (one, other)
    )
    assert type(one) is type(other)
    if isinstance(one, dict) and "numpy" in one:
        np.testing.assert_allclose(array_of(one), array_of(other), rtol=0, atol=1e-9)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_nearly_same(one[name], other[name])
    elif isinstance(one, list):
        for a, b in zip(one, other, strict=True):
            assert_nearly_same(a, b)
    else:
        assert one == other


def assert_kept(actual, name):
    expected = KEPT[name][0]()
    if name in UNROUNDED:
        assert_nearly_same(ke.to_config(actual), ke.to_config(expected))
    else:
        assert_same(actual, expected)


@pytest.mark.filterwarnings("ignore:.*(hop_length|mel bands)")  # of two recipes
@pytest.mark.parametrize("name", list(KEPT))
def test_kept_files_and_configs_of_every_class_load_in_every_later_version(name):
    assert_kept(ke.load(FOLDER / f"{name}.eqx", custom=CUSTOM), name)
    if not has_own_parameters(name):
        config = json.loads((FOLDER / f"{name}.json").read_text())
        assert_kept(ke.from_config(config), name)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*(hop_length|mel bands)")  # of two recipes
@pytest.mark.parametrize("name", list(KEPT))
def test_kept_files_have_the_values_that_they_had(name):
    rtol = 1e-3 if name in CANCELLING else 1e-5
    if name.startswith("recipe-"):
        rtol = 1e-8
    loaded = ke.load(FOLDER / f"{name}.eqx", custom=CUSTOM)
    assert value_of(name, loaded) == pytest.approx(KEPT[name][1], rel=rtol)


MAKE_ALL = """
import json, os, sys
import korvax_eqx as ke
from saving_kept import KEPT, has_own_parameters
made = {n: make() for n, (make, _) in KEPT.items() if not has_own_parameters(n)}
json.dump({name: ke.to_config(part) for name, part in made.items()}, sys.stdout)
"""


def test_what_is_made_is_the_same_on_other_processors():
    """Whose sums and sines have other last digits, and with other threads."""
    features = np._core._multiarray_umath.__cpu_dispatch__  # pyright: ignore
    other = {
        "NPY_DISABLE_CPU_FEATURES": " ".join(features),
        "OPENBLAS_CORETYPE": "Prescott",
        "OPENBLAS_NUM_THREADS": "1",
    }
    one, two = (
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", MAKE_ALL],
            env={**os.environ, "PYTHONPATH": ":".join(sys.path), **environment},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for environment in ({}, other)
    )
    one, two = json.loads(one), json.loads(two)
    assert [name for name in one if one[name] != two[name]] == []


def test_files_are_kept_of_every_class_and_every_recipe():
    """And classes keep their names. A new one: run `tests/helpers/saving_kept.py`."""
    classes = {name.split("-")[0] for name in KEPT if not name.startswith("recipe-")}
    assert classes == set(CLASSES)
    functions = {n for n, f in vars(recipes).items() if inspect.isfunction(f)}
    assert {f"recipe-{name}" for name in functions} <= set(KEPT)
    files = {f"{name}.eqx" for name in KEPT}
    configs = {f"{name}.json" for name in KEPT if not has_own_parameters(name)}
    assert {path.name for path in FOLDER.iterdir()} == files | configs


def test_arguments_have_the_names_that_older_files_have_for_them():
    """`floor_mode` of a logarithm was `floor`, and "clip" was "clamp"."""
    config = json.loads((FOLDER / "Log-clamp.json").read_text())
    assert config["arguments"]["floor"] == "clamp"
    assert "floor" not in ke.to_config(ke.from_config(config))["arguments"]
    for word in ("add", "replace"):
        config["arguments"]["floor"] = word
        assert ke.from_config(config).floor_mode == word
    config["arguments"]["floor_mode"] = "clip"
    with pytest.raises(ke.LoadError, match="`Log` has no such argument"):
        ke.from_config(config)
    config["arguments"] = {"floor": [1]}
    with pytest.raises(ke.LoadError, match="must be one of 'add'"):
        ke.from_config(config)
