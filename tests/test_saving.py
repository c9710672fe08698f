"""Saving and loading: what comes back is what was saved."""

import functools
import inspect
import json
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import promotion
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry import ALL, COMPOSITES, signals
from saving_cases import (
    CUSTOM,
    Bands,
    Learnable,
    PositionOnly,
    Tilt,
    assert_config_round_trips,
    assert_round_trips,
    assert_same,
    config_variants,
    learnable_everywhere,
    loaded,
    saved,
)

import korvax_eqx as ke
from korvax_eqx._saving._registry import CLASSES, NOT_SAVED

# ------------------------------------------------------------------- every class


# What flows through a loss or a training: no part of a loss.
FLOWS = {ke.BalancerState, ke.Signals, ke.Spectra, ke.Term}


def test_every_public_class_can_be_named_in_a_file():
    public = {
        value
        for value in vars(ke).values()
        if inspect.isclass(value)
        and issubclass(value, eqx.Module)
        and not inspect.isabstract(value)
    }
    assert public - FLOWS == set(CLASSES.values()) | set(NOT_SAVED)
    assert all(cls.__name__ == name for name, cls in CLASSES.items())


@pytest.mark.parametrize("case", ALL, ids=repr)
def test_every_class_round_trips(case):
    assert_round_trips(case.make())


@pytest.mark.parametrize("name", list(config_variants()))
def test_every_kind_of_argument_round_trips(name):
    assert_round_trips(config_variants()[name])


@pytest.mark.parametrize("p", [2, 2.0])
def test_integers_and_floats_stay_apart(p):
    loss = ke.SpectralOptimalTransportLoss(p=p)
    assert type(loaded(saved(loss)).p) is type(p)
    assert type(ke.from_config(ke.to_config(loss)).p) is type(p)


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "int32", "complex64"]
)
@pytest.mark.parametrize("n", [3, 200])
def test_every_bit_of_a_leaf_comes_back(dtype, n):
    with jax.enable_x64(dtype == "float64"):
        size = np.dtype(jnp.dtype(dtype)).itemsize * n
        bits = np.random.default_rng(0).bytes(size)  # NaNs and denormals among them
        leaf = jnp.asarray(np.frombuffer(bits, jnp.dtype(dtype)))
        assert np.asarray(leaf).tobytes() == bits
        module = loaded(saved(Learnable(leaf)), (Learnable,))
        assert module.value.dtype == dtype
        assert np.asarray(module.value).tobytes() == bits
        module = ke.from_config(ke.to_config(Learnable(leaf)), custom=(Learnable,))
        assert np.asarray(module.value).tobytes() == bits


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 2, 3), (70, 2)])
def test_every_shape_of_an_array_comes_back(shape):
    values = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    assert_round_trips(Learnable(jnp.asarray(values)), CUSTOM)
    module = loaded(saved(Learnable(values)), CUSTOM)
    assert isinstance(module.value, np.ndarray)
    np.testing.assert_array_equal(module.value, values, strict=True)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_few_numbers_that_are_not_finite_come_back(array):
    module = Learnable(array(np.array([1.0, math.inf, -math.nan, -0.0], np.float32)))
    text = json.dumps(ke.to_config(module), allow_nan=False)
    for again in (
        loaded(saved(module), CUSTOM),
        ke.from_config(json.loads(text), custom=CUSTOM),
    ):
        assert np.asarray(again.value).tobytes() == np.asarray(module.value).tobytes()


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("is_wide", [False, True])
def test_weakly_typed_leaves_stay_so(x64, is_wide):
    with jax.enable_x64(is_wide):
        scalar, vector = jnp.array(0.1), jnp.full((3,), 0.1)
        count = jnp.asarray(3)
    assert scalar.weak_type and vector.weak_type and count.weak_type
    content = saved(Learnable((scalar, vector, count)))
    if is_wide and not x64:
        with pytest.raises(ke.LoadError, match="jax_enable_x64"):
            loaded(content, CUSTOM)
        return
    with jax.enable_x64(x64):
        assert_same(loaded(content, CUSTOM), Learnable((scalar, vector, count)))


def test_a_strongly_typed_scalar_stays_so():
    loss = ke.Log(jnp.float32(2.0))
    assert not loaded(saved(loss)).factor.weak_type
    assert_round_trips(loss)


def test_float64_parameters_need_64_bit_mode():
    with jax.enable_x64(True):
        loss = ke.Log(factor=jnp.asarray(0.1, jnp.float64))
        content, config = saved(loss), ke.to_config(loss)
        assert_round_trips(loss)
    with pytest.raises(ke.LoadError, match="float64.*jax_enable_x64"):
        loaded(content)
    with pytest.raises(ke.LoadError, match="`factor`.*float64.*jax_enable_x64"):
        ke.from_config(config)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner).map(tuple) | st.lists(inner),
    max_leaves=20,
)


class Plain(eqx.Module):
    value: Any = eqx.field(static=True)

    def __init__(self, value):
        self.value = value


@given(JSON_VALUES)
@settings(deadline=None, max_examples=100, derandomize=True)
def test_every_plain_value_comes_back(value):
    for module in (
        ke.from_config(json.loads(json.dumps(to_config(value))), custom=(Plain,)),
        loaded(saved(Plain(value)), (Plain,)),
    ):
        assert repr(module.value) == repr(value)  # types, signs of zero


def to_config(value):
    return ke.to_config(Plain(value))


def test_dictionaries_and_nothing_else_of_python():
    module = Plain({"a": (1, {"b": [2.5]}), "class": None})
    assert loaded(saved(module), (Plain,)).value == module.value
    for value in ({1: 2}, {1}, b"bytes", 1j, object(), np.dtype("f4"), range(3)):
        with pytest.raises(ValueError, match=r"Cannot save this: `value` is of type"):
            saved(Plain(value))
    with pytest.raises(ValueError, match=r"`value\[1\]` is NaN"):
        saved(Plain((1.0, math.nan)))


# ----------------------------------------------- what a loaded loss does


@pytest.mark.parametrize(
    "make",
    [
        learnable_everywhere,
        functools.partial(
            ke.MRSTFTLoss,
            (64, 64),
            (256, 512),
            w_log=jnp.array(0.3),
            window=[np.hanning(256), jnp.asarray(np.hanning(512), jnp.float32)],
        ),
    ],
)
def test_values_and_gradients_are_the_same_bits(make):
    loss = make()
    again = loaded(saved(loss))
    x, y = signals(2)

    @eqx.filter_jit
    def value_and_gradients(loss, x):
        fn = lambda arguments: arguments[0](arguments[1], y)  # noqa: E731
        return eqx.filter_value_and_grad(fn)((loss, x))

    expected = jax.tree.leaves(value_and_gradients(loss, x))
    actual = jax.tree.leaves(value_and_gradients(again, x))
    assert len(expected) == 2 + len(jax.tree.leaves(loss))
    assert any(np.any(np.asarray(g) != 0) for g in expected[1:])
    for a, b in zip(expected, actual, strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("case", COMPOSITES, ids=repr)
def test_a_loaded_loss_is_not_compiled_again(case):
    assert_compiled_once(case.make(), case.make)


@pytest.mark.parametrize("name", list(config_variants()))
def test_no_argument_makes_a_loaded_object_compile_again(name):
    assert_compiled_once(config_variants()[name], lambda: config_variants()[name])


def assert_compiled_once(loss, make):
    traces = []

    @jax.jit
    def traced(loss):
        traces.append(loss)
        return sum((jnp.sum(leaf) for leaf in jax.tree.leaves(loss)), jnp.zeros(()))

    for same in (loss, loaded(saved(loss)), ke.from_config(ke.to_config(loss)), make()):
        with promotion.usual_promotion():
            traced(same)
    assert len(traces) == 1
    other = ke.TimeFrequencyLoss(ke.Spectrogram(64), ke.ElementwiseLoss())
    traced(other)
    assert len(traces) == 2


# ------------------------------------------------------------- the user's classes


def test_classes_of_the_user_are_passed_to_load():
    loss = ke.TimeFrequencyLoss(
        ke.Spectrogram(256),
        ke.ElementwiseLoss(),
        [Tilt(jnp.array(2.0), 0.5, "steep"), ke.Chain((Bands(129), PositionOnly(5)))],
    )
    assert_round_trips(loss, CUSTOM)
    x, y = signals()
    np.testing.assert_array_equal(loaded(saved(loss), CUSTOM)(x, y), loss(x, y))
    for custom, missing in [((), "Tilt"), ((Tilt,), "Bands"), ((Bands,), "Tilt")]:
        with pytest.raises(ke.LoadError, match=f"unknown class '{missing}'.*custom="):
            loaded(saved(loss), custom)
        with pytest.raises(ke.LoadError, match=f"unknown class '{missing}'.*custom="):
            ke.from_config(ke.to_config(loss), custom=custom)


def test_positional_only_arguments():
    for module in (PositionOnly(), PositionOnly(3, 4, c=jnp.ones(2))):
        assert_round_trips(module, CUSTOM)
    config = {"class": "PositionOnly", "arguments": {"b": 7}}
    assert_same(ke.from_config(config, custom=CUSTOM), PositionOnly(1, 7))


def test_parameters_that_a_constructor_made_are_saved_but_not_in_a_config():
    trained = eqx.tree_at(lambda m: m.weights, Bands(4), jnp.arange(4.0))
    assert_same(loaded(saved(trained), CUSTOM), trained)
    half = eqx.tree_at(lambda m: m.weights, Bands(4), jnp.arange(4, dtype=jnp.bfloat16))
    assert_same(loaded(saved(half), CUSTOM), half)
    assert_config_round_trips(Bands(4), CUSTOM)
    loss = ke.Chain((ke.Log(), trained))
    with pytest.raises(ValueError, match=r"`scales\[1\]`, a `Bands`.*kept by `save`"):
        ke.to_config(loss)


def test_a_class_that_does_not_keep_its_arguments_is_refused():
    class Forgets(ke.AbstractScale):
        def __init__(self, gain: float = 1.0):
            pass

        def apply(self, data):
            return data

    class Doubles(ke.AbstractScale):
        gain: float = eqx.field(static=True)

        def __init__(self, gain: float = 1.0):
            self.gain = 2 * gain

        def apply(self, data):
            return data

    with pytest.raises(
        ValueError, match=r"`scales\[0\].gain`.*`Forgets` does not keep"
    ):
        saved(ke.Chain((Forgets(),)))
    with pytest.raises(
        ValueError, match=r"`scales\[1\]`, a `Doubles`, does not come b"
    ):
        saved(ke.Chain((ke.Log(), Doubles(3.0))))


def test_names_of_classes_are_unambiguous():
    class Log(ke.AbstractScale):
        def apply(self, data):
            return data

    mine = type("Tilt", (Tilt,), {"__annotations__": {}})
    with pytest.raises(ValueError, match="Two classes are called `Log`.*korvax_eqx"):
        saved(Log())
    with pytest.raises(ValueError, match="Two classes are called `Log`.*korvax_eqx"):
        loaded(saved(ke.Log()), (Log,))
    with pytest.raises(ValueError, match="Two classes are called `Tilt`"):
        saved(ke.Chain((Tilt(jnp.ones(()), 1.0), mine(jnp.ones(()), 1.0))))
    assert_same(loaded(saved(ke.Log()), (ke.Log, Tilt, Tilt)), ke.Log())


# ------------------------------------------------------------ configs written by hand


def test_arguments_left_out_have_their_defaults():
    config = {
        "class": "TimeFrequencyLoss",
        "arguments": {
            "transform_fn": {
                "class": "Spectrogram",
                "arguments": {"n_fft": 256, "window": ["kaiser", 8.0]},
            },
            "loss_fn": [{"class": "ElementwiseLoss"}, {"class": "ElementwiseLoss"}],
            "scale_fn": [{"class": "Identity"}, {"class": "Log"}],
            "weights": [1, 0.5],
        },
    }
    expected = ke.TimeFrequencyLoss(
        ke.Spectrogram(256, window=("kaiser", 8.0)),
        [ke.ElementwiseLoss(), ke.ElementwiseLoss()],
        [ke.Identity(), ke.Log()],
        weights=[1, 0.5],
    )
    assert_same(ke.from_config(config), expected)
    assert_same(ke.from_config({"class": "MRSTFTLoss"}), ke.MRSTFTLoss())


def test_all_arguments_are_written():
    config = ke.to_config(ke.Spectrogram())
    assert list(config["arguments"]) == list(
        inspect.signature(ke.Spectrogram).parameters
    )


def test_arrays_are_written_to_be_read():
    window = {"dtype": "float64", "shape": [4], "values": [0, 0.5, 1, 0.5]}
    config = {"class": "STFT", "arguments": {"n_fft": 4, "window": {"numpy": window}}}
    assert_same(ke.from_config(config), ke.STFT(4, window=np.array([0, 0.5, 1, 0.5])))
    written = ke.to_config(ke.STFT(4, window=np.array([0, 0.5, 1, 0.5])))
    assert written["arguments"]["window"] == {"numpy": window}
    config["arguments"]["window"] = {"array": window | {"dtype": "float32"}}
    learnable = jnp.array([0, 0.5, 1, 0.5], jnp.float32)
    assert_same(ke.from_config(config), ke.STFT(4, window=learnable))


def test_a_config_may_hold_tuples_as_yaml_loaders_give_them():
    config = {"class": "STFT", "arguments": {"n_fft": 64, "window": ("kaiser", 8.0)}}
    assert_same(ke.from_config(config), ke.STFT(64, window=("kaiser", 8.0)))


def test_a_list_of_numbers_is_no_window():
    config = {"class": "STFT", "arguments": {"n_fft": 2, "window": [0.5, 1.0]}}
    with pytest.raises(ke.LoadError, match="`window`: cannot make `STFT`"):
        ke.from_config(config)
