"""Invalid files with a valid checksum."""

import hashlib
import io
import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import korvax_eqx as ke


def small() -> ke.Chain:
    return ke.Chain((ke.Log(jnp.array([0.5], jnp.float32)[0]), ke.Identity()))


def saved(loss) -> bytes:
    buffer = io.BytesIO()
    ke.save(buffer, loss)
    return buffer.getvalue()


SMALL = saved(small())
LINE = SMALL[: SMALL.index(b"\n") + 1]
ARRAYS = SMALL[len(LINE) :]
HEADER = json.loads(LINE)
LOG = {"class": "Log"}


def seal(text: str | bytes, data: bytes = ARRAYS) -> bytes:
    """Add a valid checksum to the text of a header (without its last member)."""
    line = text.encode() if isinstance(text, str) else text
    digest = hashlib.sha256(line + data).hexdigest()
    return line + f', "sha256": "{digest}"}}\n'.encode() + data


def forge(data: bytes = ARRAYS, **members: Any) -> bytes:
    """A file like `SMALL` with other members, and a valid checksum."""
    header = {k: v for k, v in (HEADER | members).items() if k != "sha256"}
    return seal(json.dumps(header)[:-1], data)


def forge_object(entry: Any) -> bytes:
    """A file of one object without arrays."""
    return forge(b"", object=entry, leaves=[])


def refused(content: bytes, custom: Any = ()) -> str:
    """Check that loading a file raises `LoadError`; return the message."""
    with pytest.raises(ke.LoadError) as caught:
        ke.load(io.BytesIO(content), custom=custom)
    return str(caught.value)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
