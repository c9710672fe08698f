"""Configs as other libraries hold them, and files of classes that have changed."""

import collections
import enum
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import omegaconf
import pytest
import yaml
from registry import ALL
from saving_cases import assert_same, config_variants, loaded, saved
from saving_forgery import forge, forge_object, npy, refused

import korvax_eqx as ke
from korvax_eqx._saving._encode import Encoder
from korvax_eqx._static import (
    StaticArray,
    StaticFloat,
    StaticInt,
    StaticStr,
    StaticTuple,
)

# -------------------------------------------------------- mappings and sequences


class Box(Mapping):
    """A mapping that is no dictionary."""

    def __init__(self, content):
        self.content = content

    def __getitem__(self, key):
        return self.content[key]

    def __iter__(self):
        return iter(self.content)

    def __len__(self):
        return len(self.content)


class Row(Sequence):
    """A sequence that is no list."""

    def __init__(self, content):
        self.content = content

    def __getitem__(self, index):
        return self.content[index]

    def __len__(self):
        return len(self.content)


class Text(str):
    pass


class Number(float):
    pass


class Count(int):
    pass


def convert(value: Any, mapping: Any, sequence: Any) -> Any:
    """Rebuild a config of other types; those of numbers and texts, too."""
    if isinstance(value, dict):
        items = value.items()
        return mapping({k: convert(v, mapping, sequence) for k, v in items})
    if isinstance(value, list):
        return sequence([convert(v, mapping, sequence) for v in value])
    own = {str: Text, float: Number, int: Count}.get(type(value))
    return own(value) if own is not None and mapping is Box else value


FORMS = {
    "own": lambda config: convert(config, Box, Row),
    "proxy": lambda config: convert(config, MappingProxyType, collections.deque),
    "tuple": lambda config: convert(config, collections.OrderedDict, tuple),
    "omegaconf": omegaconf.OmegaConf.create,
    "yaml": lambda config: yaml.safe_load(yaml.safe_dump(config, sort_keys=False)),
    "user dict": lambda config: convert(config, collections.UserDict, list),
}


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("name", list(config_variants()))
def test_configs_of_other_types(name, form):
    loss = config_variants()[name]
    config = FORMS[form](ke.to_config(loss))
    assert_same(ke.from_config(config), loss)


@pytest.mark.parametrize("case", ALL[::5], ids=repr)
def test_configs_of_classes_of_other_types(case):
    for form in FORMS.values():
        assert_same(ke.from_config(form(ke.to_config(case.make()))), case.make())


def test_a_part_of_a_larger_config():
    text = """
    rate: 16000
    loss:
      class: TimeFrequencyLoss
      arguments:
        transform_fn:
          class: MelSpectrogram
          arguments: {sr: "${rate}", n_fft: 512, window: [kaiser, 8.0]}
        loss_fn: [{class: ElementwiseLoss, arguments: {metric: L1}}]
        scale_fn: {class: Log, arguments: {eps: 1.0e-5}}
    """
    config = omegaconf.OmegaConf.create(text)
    transform = ke.MelSpectrogram(16000, 512, window=("kaiser", 8.0))
    expected = ke.TimeFrequencyLoss(transform, [ke.ElementwiseLoss()], ke.Log(eps=1e-5))
    assert_same(ke.from_config(config.loss), expected)


@pytest.mark.parametrize("value", ["???", "${nothing}", "${oc.env:NO_SUCH_VARIABLE}"])
def test_values_that_a_config_lacks(value):
    log = {"class": "Log", "arguments": {"factor": value}}
    scales = {"class": "Chain", "arguments": {"scales": [{"class": "Log"}, log]}}
    config = omegaconf.OmegaConf.create(scales)
    with pytest.raises(ke.LoadError, match=r"`scales\[1\]`: cannot be read"):
        ke.from_config(config)


def test_sequences_without_end_are_refused():
    for endless in (range(1, 10**12), Row(range(1, 10**9))):
        config = {"class": "MRSTFTLoss", "arguments": {"hop_lengths": endless}}
        with pytest.raises(
            ke.LoadError, match=r"`hop_lengths\[\d+\]`: more than 65536"
        ):
            ke.from_config(config)
    for text in (b"\1\2", bytearray(2), memoryview(b"\1\2")):
        config = {"class": "MRSTFTLoss", "arguments": {"hop_lengths": text}}
        with pytest.raises(ke.LoadError, match="`hop_lengths`: expected a value of"):
            ke.from_config(config)


def test_numbers_and_texts_of_other_types_become_pythons():
    class Kind(enum.StrEnum):
        L1 = "L1"

    config = {"class": "ElementwiseLoss", "arguments": {"metric": Kind.L1}}
    assert type(ke.from_config(config).metric) is str
    config = {"class": "Log", "arguments": {"eps": np.float64(0.5)}}
    assert_same(ke.from_config(config), ke.Log(eps=0.5))


# ----------------------------------------------------------------------- remedies


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1e-5", "1.0e-05"),
        ("1E5", "100000.0"),
        ("2.5e20", "2.5e+20"),
        ("3", "3.0"),
        (".5", "0.5"),
        ("-1e-7", "-1.0e-07"),
    ],
)
def test_a_number_that_is_a_string_says_how_to_write_it(text, written):
    yaml_reads = yaml.safe_load(f"class: Log\narguments: {{eps: '{text}'}}")
    with pytest.raises(ke.LoadError) as caught:
        ke.from_config(yaml_reads)
    said = str(caught.value)
    assert "`eps`: `Log` refuses this. `Log(eps=...)` must be a finite real " in said
    assert said.endswith(
        f" '{text}' is a string: write a number without quotes, in YAML as {written} "
        "(which wants a dot and a signed exponent)."
    )
    assert yaml.safe_load(written) == float(text)


def test_a_number_that_is_a_string_in_a_list():
    config = yaml.safe_load(
        """
        class: TimeFrequencyLoss
        arguments:
          transform_fn: {class: Spectrogram}
          loss_fn: [{class: ElementwiseLoss}, {class: ElementwiseLoss}]
          weights: [1, 1e-3]
        """
    )
    assert config["arguments"]["weights"] == [1, "1e-3"]
    with pytest.raises(
        ke.LoadError, match="`weights`.*'1e-3' is a string.*in YAML as 0.001"
    ):
        ke.from_config(config)
    config = {"class": "MelScale", "arguments": {"sr": 1, "n_fft": 8, "norm": "inf"}}
    with pytest.raises(
        ke.LoadError, match=r"'inf' is a string: write .\"float\": \"inf"
    ):
        ke.from_config(config)
    with pytest.raises(ke.LoadError) as caught:
        ke.from_config({"class": "STFT", "arguments": {"window": "nothing"}})
    assert "is a string" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "guess"),
    [
        ({"class": "MRSTFT"}, "Did you mean `MRSTFTLoss`?"),
        ({"class": "mrstftloss"}, "Did you mean `MRSTFTLoss`?"),
        ({"class": "Melscale"}, "Did you mean `MelScale`?"),
        ({"class": "korvax_eqx.Log"}, "Did you mean `Log`?"),
        ({"class": "os.system"}, None),
        ({"class": "Spectrogram" * 10**6}, None),
        ({"class": ["Log"]}, None),
        ({"class": "Log", "arguments": {"epsilon": 1}}, "Did you mean `eps`?"),
        ({"class": "Log", "arguments": {"offset": 1}}, None),
        ({"class": "Log", "arguments": {"facter": 1}}, "Did you mean `factor`?"),
    ],
)
def test_names_that_are_almost_right(entry, guess):
    message = refused(forge_object(entry))
    with pytest.raises(ke.LoadError) as caught:
        ke.from_config(entry)
    for said in (message, str(caught.value)):
        assert said.count("Did you mean") == (guess is not None)
        assert guess is None or guess in said


# ------------------------------------------------------------ classes that changed


def part(fields: list[str]) -> type[eqx.Module]:
    """A class with two learnable arguments and two arrays of its own, in any order."""

    def construct(self, a, b, n=3):
        self.a, self.b, self.n = a, b, n
        self.made, self.more = jnp.zeros(n), jnp.zeros(n)

    annotations: dict[str, Any] = dict.fromkeys(fields, jax.Array)
    namespace = {
        "__annotations__": {**annotations, "n": int},
        "n": eqx.field(static=True),
        "__init__": construct,
    }
    return type("Part", (eqx.Module,), namespace)


@pytest.mark.parametrize(
    "fields",
    [
        ["a", "b", "made", "more"],
        ["b", "a", "made", "more"],
        ["made", "more", "b", "a"],
        ["made", "b", "more", "a"],
    ],
)
@pytest.mark.parametrize("is_tied", [False, True])
def test_files_load_when_fields_have_changed_their_order(fields, is_tied):
    Old, New = part(["a", "made", "b", "more"]), part(fields)
    a = jnp.arange(3.0)
    old = Old(a, a if is_tied else 10 + a)
    old = eqx.tree_at(lambda p: (p.made, p.more), old, (20 + a, 30 + a))
    new = loaded(saved(old), (New,))
    for name in ("a", "b", "made", "more"):
        np.testing.assert_array_equal(getattr(new, name), getattr(old, name))
    nested = loaded(saved(ke.Chain((ke.Log(a[1]), Wrapped(old)))), (New, Wrapped))
    np.testing.assert_array_equal(nested.scales[1].part.more, old.more)
    np.testing.assert_array_equal(nested.scales[1].part.b, old.b)


class Wrapped(ke.AbstractScale):
    part: Any

    def __call__(self, S):
        return S


def test_arrays_that_are_nowhere_in_the_object_are_refused():
    Old, New = part(["a", "b", "made", "more"]), part(["a", "b", "made", "more"])
    old = Old(jnp.arange(3.0), jnp.ones(3))
    entry = {"class": "Part", "arguments": {"a": {"array": {"leaf": 0}}}}
    entry["arguments"]["b"] = {"array": {"leaf": 0}}
    data = b"".join(npy(np.asarray(leaf)) for leaf in jax.tree.leaves(old))
    leaves = [{"dtype": "float32", "shape": [3]}] * 4
    message = refused(forge(data, object=entry, leaves=leaves), (New,))
    assert "It makes 2 of its arrays itself, not 3" in message


# ----------------------------------------- forms in which the package keeps values


SAMPLES = np.array([0.5, 1.0])


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (StaticFloat(0.5), 0.5),
        (StaticFloat("inf"), {"float": "inf"}),
        (StaticInt(3), 3),
        (StaticStr("hann"), "hann"),
        (StaticTuple(("kaiser", 8.0)), ["kaiser", 8.0]),
        (StaticTuple((1, StaticTuple((2,)))), {"list": [1, [2]]}),
        (True, True),
        (
            StaticArray(SAMPLES),
            {"numpy": {"dtype": "float64", "shape": [2], "values": [0.5, 1.0]}},
        ),
        # Several windows: a plain tuple that holds configuration in these forms.
        (
            (StaticStr("hann"), StaticTuple(("kaiser", 8.0)), StaticFloat(8.0)),
            {"list": ["hann", ["kaiser", 8.0], 8.0]},
        ),
        (("hann", 8.0), ["hann", 8.0]),
    ],
)
def test_values_are_written_as_what_they_are(value, encoded):
    found = Encoder({}).encode(value)
    assert found == encoded and repr(found) == repr(encoded)
    json.dumps(found)


class Level(enum.IntEnum):
    HIGH = 3


Pair = collections.namedtuple("Pair", "a b")


@pytest.mark.parametrize("value", [Level.HIGH, Text("a"), Number(0.5), Pair(1, 2)])
def test_the_users_own_kinds_of_numbers_are_refused(value):
    with pytest.raises(ValueError, match=r"Cannot save this: `value` is of type"):
        Encoder({}).encode(value, "value")
