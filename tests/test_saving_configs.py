"""Configs as other libraries hold them, and files of classes that have changed."""

import collections
import enum
import json
import warnings
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
from registry import ALL, RECIPES, RECIPES_OF_BATCHES
from saving_cases import (
    assert_same,
    config_variants,
    loaded,
    named_variants,
    saved,
)
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


SORTED = {
    "json": lambda config: json.loads(json.dumps(config, sort_keys=True)),
    "yaml": lambda config: yaml.safe_load(yaml.safe_dump(config, sort_keys=True)),
    "reversed": lambda config: convert(
        config, lambda mapping: dict(reversed(mapping.items())), list
    ),
}


def assert_same_in_any_order(loss):
    for form in SORTED.values():
        assert_same(ke.from_config(form(ke.to_config(loss))), loss)


@pytest.mark.parametrize("case", [*ALL, *RECIPES, *RECIPES_OF_BATCHES], ids=repr)
def test_configs_mean_the_same_under_any_order_of_keys(case):
    assert_same_in_any_order(case.make())


@pytest.mark.parametrize("name", [*config_variants(), *named_variants()])
def test_options_mean_the_same_under_any_order_of_keys(name):
    assert_same_in_any_order({**config_variants(), **named_variants()}[name])


def as_before(config):
    """The config as 0.2 wrote it: dictionaries, whose order mattered."""
    if isinstance(config, dict) and list(config) == ["pairs"]:
        return {"dict": {name: as_before(item) for name, item in config["pairs"]}}
    if isinstance(config, dict):
        return {key: as_before(value) for key, value in config.items()}
    return list(map(as_before, config)) if isinstance(config, list) else config


def test_configs_of_dictionaries_load_and_warn_if_sorting_may_have_changed_them():
    def warned(loss, sort_keys=False):
        text = json.dumps(as_before(ke.to_config(loss)), sort_keys=sort_keys)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            made = ke.from_config(json.loads(text))
        assert sort_keys or made == loss
        return [str(w.message) for w in found]

    wave, esr = ke.WaveformLoss(), ke.ESRLoss()
    named, alphabetical = {"b": wave, "a": esr}, {"a": wave, "b": esr}
    for weights in ([1.0, 2.0], jnp.array([1.0, 2.0])):
        assert warned(ke.SumLoss(named, weights)) == []
        for loss in (
            ke.SumLoss(named, weights),
            ke.RandomSubsetLoss(named, 1, weights),
            ke.SumLoss([ke.SumLoss(named, weights)]),
        ):
            (message,) = warned(loss, sort_keys=True)
            assert "the weights are by position" in message and "a, b" in message
        (message,) = warned(ke.SumLoss(alphabetical, weights))
        assert message.startswith("`SumLoss`: the weights are by position")
    for weights in ([2.0, 2.0], None, {"a": 1.0, "b": 2.0}):
        assert warned(ke.SumLoss(alphabetical, weights)) == []
    assert warned(ke.SumLoss(list(named.values()), [1.0, 2.0])) == []


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ({"a": {"class": "ESRLoss"}}, "`losses`: expected a value. Got an object with"),
        (
            {"a": {"class": "ESRLoss"}, "b": {"class": "DCLoss"}},
            "`losses`: expected an object with one of the keys 'class'",
        ),
        ({"pairs": {"a": {"class": "ESRLoss"}}}, "`losses`: expected a value."),
    ],
)
def test_losses_written_by_hand_without_the_form(losses, said):
    with pytest.raises(ke.LoadError) as caught:
        ke.from_config({"class": "SumLoss", "arguments": {"losses": losses}})
    assert str(caught.value).startswith(said)
    form = '{"pairs": [["a", ...]]}'
    assert str(caught.value).endswith(f"such as the losses of a sum, as {form}.")


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([["a", {"class": "ESRLoss"}, 1]], r"`losses\[0\]`: expected a pair of a name"),
        ([{"a": {"class": "ESRLoss"}}], r"`losses\[0\]`: expected a pair of a name"),
        ([[1, {"class": "ESRLoss"}]], "`losses`: expected a string as a name. Got 1"),
        ([["a", {"class": "ESRLoss"}]] * 2, "`losses`: has the name 'a' twice"),
        ([["a", {"class": "Esrloss"}]], "`losses.a`: unknown class 'Esrloss'"),
        ([["a", None]], "`losses`: cannot make `SumLoss`"),
        ([], "`losses`: cannot make `SumLoss`. .* must hold at least one loss"),
    ],
)
def test_pairs_that_are_none(pairs, said):
    config = {"class": "SumLoss", "arguments": {"losses": {"pairs": pairs}}}
    with pytest.raises(ke.LoadError, match=said):
        ke.from_config(config)


@pytest.mark.parametrize("name", ["dac_mel", "recipes.auraloss_mrstft"])
def test_a_recipe_as_a_class_says_how_to_get_its_config(name):
    message = refused(forge_object({"class": name}))
    with pytest.raises(ke.LoadError) as caught:
        ke.from_config({"class": name})
    for said in (message, str(caught.value)):
        assert "That is a recipe, a function that returns a loss: write the" in said
        assert f"`to_config(recipes.{name.rpartition('.')[-1]}(...))`" in said
        assert "Did you mean" not in said


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
    assert "`eps`: cannot make `Log`. `Log(eps=...)` must be a finite real " in said
    assert said.endswith(
        f" '{text}' is a string: write a number without quotes, in YAML as {written} "
        "(which needs a dot and a signed exponent)."
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
        (
            {"class": "MRSTFTLoss", "arguments": {"hop_sizes": [64]}},
            "Did you mean `hop_lengths`?",
        ),
        (
            {"class": "STFT", "arguments": {"win_size": 64}},
            "Did you mean `win_length`?",
        ),
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

    def apply(self, data):
        return data


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
