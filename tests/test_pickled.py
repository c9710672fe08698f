"""Copies of a loss, pickled or deep, are frozen and hash as the original anywhere.

Python hashes texts and bytes otherwise in every process: a hash that an object keeps
would be another one than that of an equal object where it is unpickled, and the loss
would be compiled for twice.
"""

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from registry import ALL
from saving_cases import assert_same, config_variants

TESTS = Path(__file__).parent
WRITE = """
import pickle, sys
from test_pickled import objects

made = {name: make() for name, make in objects().items()}
pickle.dump((hash("text"), made), sys.stdout.buffer)
"""


def objects() -> dict[str, Any]:
    """Ways to make objects of every class, with every kind of argument, by name."""
    variants = {
        name: lambda name=name: config_variants()[name] for name in config_variants()
    }
    return {**{case.name: case.make for case in ALL}, **variants}


@pytest.fixture(scope="module")
def pickled() -> dict[str, Any]:
    """What another process has pickled, which hashes otherwise."""
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    path = os.pathsep.join([str(TESTS), *sys.path])
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", WRITE], capture_output=True, env=environment, check=True
    )
    hashed, made = pickle.loads(done.stdout)
    assert hashed != hash("text")
    return made


def arrays(value: Any) -> Iterator[np.ndarray]:
    """Yield the NumPy arrays that a module has as configuration, at any depth."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from arrays(item)
    elif isinstance(value, eqx.Module):
        for item in vars(value).values():
            yield from arrays(item)


def assert_frozen_and_same(found: Any, made: Any) -> None:
    assert_same(found, made)  # and equal hashes of the structures
    if not jax.tree.leaves(made):
        assert hash(found) == hash(made)
    all_found, all_made = list(arrays(found)), list(arrays(made))
    assert len(all_found) == len(all_made)
    for array in all_found:
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_the_objects_have_arrays_to_be_frozen():
    assert sum(bool(list(arrays(make()))) for make in objects().values()) >= 5


@pytest.mark.parametrize("name", list(objects()))
def test_what_another_process_has_pickled(name, pickled):
    assert_frozen_and_same(pickled[name], objects()[name]())


@pytest.mark.cheap
@pytest.mark.parametrize("name", list(objects()))
def test_copies_of_this_process(name):
    made = objects()[name]()
    for again in (copy.deepcopy(made), copy.copy(made)):
        assert_frozen_and_same(again, made)
    assert_frozen_and_same(pickle.loads(pickle.dumps(made)), made)
