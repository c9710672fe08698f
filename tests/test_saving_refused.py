"""Well-formed files and configs of wrong content: an error that says where."""

import base64
import io
import json
import pickle
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saving_forgery import (
    ARRAYS,
    HEADER,
    forge,
    forge_object,
    npy,
    refused,
    saved,
)

import korvax_eqx as ke

# ------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("entry", "where", "reason"),
    [
        ({"class": "os.system"}, "outermost", "unknown class 'os.system'"),
        ({"class": "korvax_eqx.Log"}, "outermost", "unknown class"),
        ({"class": "BoundLoss"}, "outermost", "unknown class"),
        ({"class": "AbstractScale"}, "outermost", "unknown class"),
        ({"class": ["Log"]}, "outermost", "unknown class"),
        ({"class": None}, "outermost", "unknown class"),
        ({"class": "Log", "more": 1}, "outermost", "'class' and 'arguments'"),
        ({"class": "Log", "arguments": [1]}, "outermost", "'class' and 'arguments'"),
        ({"class": "Log", "arguments": {"offset": 2}}, "`offset`", "factor, eps"),
        ({"class": "Identity", "arguments": {"self": 2}}, "`self`", "It has: none"),
        ({"class": "MelScale", "arguments": {"sr": 8000}}, "`n_fft`", "needs this"),
        ({"class": "Log", "arguments": {"eps": "1e-7"}}, "eps", "cannot make `Log`"),
        ({"class": "Log", "arguments": {"eps": -1.0}}, "`eps`", "be positive"),
        ({"class": "Log", "arguments": {"eps": True}}, "eps", "cannot make `Log`"),
        ({"class": "Log", "arguments": {"eps": [1.0]}}, "eps", "cannot make `Log`"),
        ({"class": "Log", "arguments": {"eps": {}}}, "`eps`", "one of the keys"),
        ({"class": "Log", "arguments": {"eps": {"a": 1}}}, "`eps`", "expected a value"),
        ({"class": "Log", "arguments": {"eps": {"float": 1}}}, "`eps`", "a value"),
        ({"class": "Log", "arguments": {"eps": {"float": "nan"}}}, "`eps`", "a value"),
        ({"class": "Log", "arguments": {"eps": {"list": 1}}}, "`eps`", "a value"),
        (
            {"class": "Log", "arguments": {"eps": {"class": "Log"}}},
            "eps",
            "cannot make",
        ),
        ({"class": "STFT", "arguments": {"n_fft": 64.0}}, "n_fft", "cannot make"),
        ({"class": "STFT", "arguments": {"n_fft": 0}}, "`n_fft`", "positive integer"),
        ({"class": "STFT", "arguments": {"window": "hanning?"}}, "`window`", "SciPy"),
        ({"class": "ElementwiseLoss", "arguments": {"metric": "L3"}}, "metric", "L1"),
        ({"class": "Chain", "arguments": {"scales": []}}, "scales", "non-empty"),
        ({"class": "Chain", "arguments": {"scales": ["Log"]}}, "scales", "callables"),
        (
            {"class": "Chain", "arguments": {"scales": [{"class": "Lg"}]}},
            "`scales[0]`",
            "unknown class 'Lg'",
        ),
        (
            {
                "class": "TimeFrequencyLoss",
                "arguments": {
                    "transform_fn": {"class": "Spectrogram"},
                    "loss_fn": [
                        {"class": "ElementwiseLoss"},
                        {
                            "class": "SpectralOptimalTransportLoss",
                            "arguments": {"positions": [1.0, 0.5]},
                        },
                    ],
                },
            },
            "`loss_fn[1].positions`",
            "be ascending",
        ),
    ],
)
def test_wrong_entries_say_what_and_where(entry, where, reason):
    for message in (refused(forge_object(entry)), refused_config(entry)):
        assert where in message and reason in message


def refused_config(entry: Any, custom: Any = ()) -> str:
    before = repr(entry)
    with pytest.raises(ke.LoadError) as caught:
        ke.from_config(entry, custom=custom)
    assert repr(entry) == before
    return str(caught.value)


@pytest.mark.parametrize("entry", [None, 1, 2.5, "Log", [], [{"class": "Log"}], {}])
def test_a_file_without_a_module_is_refused(entry):
    refused(forge_object(entry))


@pytest.mark.parametrize(
    "value", [np.float32(1.0), {1.0}, b"1", object(), float("inf"), float("nan"), 1j]
)
def test_a_config_holds_plain_values_only(value):
    for entry in (value, [1.0, value], {"list": [value]}):
        assert "eps" in refused_config({"class": "Log", "arguments": {"eps": entry}})
    assert "string as a name" in refused_config({"class": "Log", "arguments": {1: 2}})


WINDOW = {"dtype": "float64", "shape": [2], "values": [0.5, 1.0]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dtype": "float128"}, "unknown dtype"),
        ({"dtype": "object"}, "unknown dtype"),
        ({"dtype": "O"}, "unknown dtype"),
        ({"dtype": ["float64"]}, "unknown dtype"),
        ({"dtype": "float64,float64"}, "unknown dtype"),
        ({"dtype": "complex64"}, "expected base64"),
        ({"dtype": "int8"}, "expected int"),
        ({"dtype": "bool"}, "expected bool"),
        ({"dtype": "int8", "values": [1, 300]}, "do not fit"),
        ({"dtype": "float32", "values": [1e300, 0.0]}, "not finite"),
        ({"values": [10**400, 0]}, "do not fit"),
        ({"values": [True, False]}, "expected int or float"),
        ({"values": [0.5, None]}, r"`window[1]`"),
        ({"values": [0.5]}, "list of 2 items"),
        ({"values": [[0.5], [1.0]]}, "expected int or float"),
        ({"values": "ab"}, "list of 2 items"),
        ({"values": 0.5}, "list of 2 items"),
        ({"shape": [1]}, "list of 1 items"),
        ({"shape": [-2]}, "a shape is"),
        ({"shape": [True, 2]}, "a shape is"),
        ({"shape": [2.0]}, "a shape is"),
        ({"shape": 2}, "a shape is"),
        ({"shape": [1] * 33}, "a shape is"),
        ({"more": 1}, "exactly the keys"),
        ({"base64": "AAAA"}, "exactly the keys"),
    ],
)
@pytest.mark.parametrize("tag", ["numpy", "array"])
def test_wrong_arrays_are_refused(change, reason, tag):
    entry = {"class": "STFT", "arguments": {"window": {tag: WINDOW | change}}}
    message = refused_config(entry)
    assert "window" in message and reason in message
    refused(forge_object(json.loads(json.dumps(entry))))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("AAA", "broken base64"),
        ("AAAA\n", "broken base64"),
        ("ä", "broken base64"),
        (base64.b64encode(bytes(15)).decode(), "takes 16 bytes. Got 15"),
        (None, "must be a string"),
    ],
)
def test_wrong_base64_is_refused(text, reason):
    window = {"dtype": "float64", "shape": [2], "base64": text}
    entry = {"class": "STFT", "arguments": {"window": {"numpy": window}}}
    assert reason in refused_config(entry)


def test_wrong_bool_bytes_are_refused():
    array = {
        "dtype": "bool",
        "shape": [2],
        "base64": base64.b64encode(b"\1\2").decode(),
    }
    entry = {"class": "STFT", "arguments": {"window": {"numpy": array}}}
    assert "0 and 1" in refused_config(entry)


def test_weak_types_that_do_not_exist_are_refused():
    for change in ({"weak_type": 1}, {"weak_type": True, "dtype": "float16"}):
        entry = {"class": "STFT", "arguments": {"window": {"array": WINDOW | change}}}
        assert "window" in refused_config(entry)
    leaf = HEADER["leaves"][0]
    for value in (1, "true", None):
        refused(forge(leaves=[leaf | {"weak_type": value}]))
    assert "jax_enable_x64" in refused_config(
        {"class": "STFT", "arguments": {"window": {"array": WINDOW}}}
    )


# --------------------------------------------------------------------- array section


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was executed')",)


def test_pickles_are_never_loaded():
    leaf = HEADER["leaves"]
    bomb = npy(np.array([Bomb()], object))
    with pytest.raises(SystemExit):  # it would go off
        np.load(io.BytesIO(bomb), allow_pickle=True)
    assert "pickled objects" in refused(forge(bomb))
    plain = pickle.dumps(Bomb())
    for data in (plain, npy(np.ones((), "f4")) + plain, bomb.replace(b"|O", b"|V")):
        refused(forge(data))
    object_dtype = [{"dtype": "object", "shape": [1]}]
    assert "unknown dtype" in refused(forge(bomb, leaves=object_dtype))
    assert leaf == HEADER["leaves"]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.ones((), np.float64), "declared as float32[]. Got float64[]"),
        (np.ones((), np.int32), "Got int32[]"),
        (np.ones((1,), np.float32), "Got float32[1]"),
        (np.ones((), ">f4"), "Got >f4[]"),
        (np.ones((), "f4,f4"), "declared as"),
        (np.array("text"), "declared as"),
    ],
)
def test_arrays_must_be_what_was_declared(array, reason):
    message = refused(forge(npy(array)))
    assert "`leaves[0]`" in message and reason in message


@pytest.mark.parametrize(
    ("leaves", "reason"),
    [
        ([], "follow"),
        (HEADER["leaves"] * 2, "`leaves[1]` is not an array"),
        ([{"dtype": "float32", "shape": [1]}], "declared as float32[1]"),
        ([{"dtype": "float16", "shape": []}], "declared as float16[]"),
        ([{"dtype": "float64", "shape": []}], "jax_enable_x64"),
        ([{"dtype": "float32"}], "exactly the keys"),
        ([{"dtype": "float32", "shape": [], "more": 1}], "exactly the keys"),
        ([None], "exactly the keys"),
        (["float32"], "exactly the keys"),
        ({}, "must have the members"),
        (None, "must have the members"),
    ],
)
def test_declarations_must_be_what_follows(leaves, reason):
    assert reason in refused(forge(leaves=leaves))


def test_arrays_must_fit_the_object():
    two = HEADER["leaves"] * 2
    assert "It has 1 arrays, not 2" in refused(forge(ARRAYS * 2, leaves=two))
    for i in (1, -1, "0", None, True, 0.0, 10**30):
        entry = {"class": "Log", "arguments": {"factor": {"array": {"leaf": i}}}}
        assert "`factor`" in refused(forge(object=entry))
        assert "`factor`" in refused_config(entry)
    vector = forge(npy(np.ones(3, "f4")), leaves=[{"dtype": "float32", "shape": [3]}])
    assert "`scales[0].factor`" in refused(vector)
    integer = forge(npy(np.ones((), "i4")), leaves=[{"dtype": "int32", "shape": []}])
    assert "`scales[0].factor`" in refused(integer)


class Made(eqx.Module):
    weights: jax.Array

    def __init__(self):
        self.weights = jnp.ones(3)


def test_arrays_must_fit_what_a_constructor_makes():
    content = saved(Made())
    assert isinstance(ke.load(io.BytesIO(content), custom=(Made,)), Made)
    for array in (np.ones(4, "f4"), np.ones((3, 1), "f4"), np.ones(3, "i4")):
        leaf = {"dtype": array.dtype.name, "shape": list(array.shape)}
        message = refused(
            forge(npy(array), object={"class": "Made"}, leaves=[leaf]), (Made,)
        )
        assert "Its array 0 is float32[3]" in message


def test_whatever_a_constructor_raises_is_the_one_error():
    class Fails(eqx.Module):
        def __init__(self, kind: str):
            raise {"key": KeyError, "memory": MemoryError, "stop": StopIteration}[kind]

    for kind in ("key", "memory", "stop", "other"):
        entry = {"class": "Fails", "arguments": {"kind": kind}}
        assert "cannot make `Fails`" in refused(forge_object(entry), (Fails,))
