"""What `import korvax_eqx as korvax` gives: korvax's names, and errors under them."""

import inspect
import types

import jax.numpy as jnp
import korvax
import numpy as np
import pytest

import korvax_eqx as ke
from korvax_eqx._missing import _KORVAX


def public(module, kind):
    """The names of a module that are the library's own, and of a kind."""
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, kind)
        and not name.startswith("_")
        and getattr(value, "__module__", value.__name__).startswith("korvax")
    ]


FUNCTIONS = [n for n in public(korvax, types.FunctionType) if n not in _KORVAX]
LOSSES = public(korvax.loss, types.FunctionType)
LOSSES = [name for name in LOSSES if name.endswith("_loss")]


def test_korvax_names_are_there_or_the_error_says_what_to_do():
    names = public(korvax, types.FunctionType | types.ModuleType)
    assert len(names) > 25 and set(_KORVAX) < set(names)
    for name in set(names) - set(_KORVAX):
        assert type(getattr(ke, name)) is type(getattr(korvax, name))
    for name in _KORVAX:
        with pytest.raises(AttributeError) as caught:
            getattr(ke, name)
        text = str(caught.value)
        assert text.startswith(f"module 'korvax_eqx' has no attribute {name!r}. From ")
        assert "Use korvax's own" in text or "It is one line" in text or "top" in text
    assert len(LOSSES) == 6
    for name in LOSSES:
        ours, theirs = getattr(ke.loss, name), getattr(korvax.loss, name)
        names = list(inspect.signature(ours).parameters)
        assert names == list(inspect.signature(theirs).parameters)


def test_the_lines_for_units_are_right():
    lines = {n: t.split("`")[1] for n, t in _KORVAX.items() if "It is one line" in t}
    values = np.array([30.0, 57.5, 440.0])
    assert len(lines) == 4
    for name, line in lines.items():
        names = dict.fromkeys(["midi", "hz", "cents"], values)
        given = {"hz": 55.0} if name == "cents_to_hz" else {"reference": 55.0}
        found = eval(line, {"jnp": jnp, **names, **given})
        more = (55.0,) if "cents" in name else ()
        expected = getattr(korvax, name)(values, *more)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("MRSTFT", "has no attribute 'MRSTFT'. Did you mean `MRSTFTLoss`?"),
        ("mel_spectrograms", "Did you mean `mel_spectrogram`?"),
        ("nothing_like_it", "has no attribute 'nothing_like_it'."),
        ("__path_of__", "has no attribute '__path_of__'."),
    ],
)
def test_names_that_are_nowhere(name, said):
    with pytest.raises(AttributeError) as caught:
        getattr(ke, name)
    assert str(caught.value).endswith(said)
    assert not hasattr(ke, name)


WRONG = {
    "fft_frequencies": [{"n_fft": 0}, {"sr": -1.0}],
    "cqt_frequencies": [{"bins_per_octave": 0}],
    "mel_frequencies": [{"htk": 2}],
    "mel_filterbank": [{"n_mels": 0}, {"fmin": -1.0}, {"norm": "x"}],
    "hz_to_mel": [{"htk": 2}],
    "mel_to_hz": [{"htk": 2}],
    "A_weighting": [{"min_db": "x"}],
    "B_weighting": [{"min_db": "x"}],
    "C_weighting": [{"min_db": "x"}],
    "D_weighting": [{"min_db": "x"}],
    "amplitude_to_db": [{"amin": 0.0}, {"top_db": -1.0}],
    "power_to_db": [{"amin": 0.0}, {"top_db": -1.0}],
    "stft": [{"n_fft": 0}, {"hop_length": 0}, {"window": "none"}],
    "istft": [{"n_fft": 0}, {"hop_length": 0}, {"length": 0}],
    "spectrogram": [{"n_fft": 0}, {"power": -1.0}, {"win_length": 3000}],
    "mel_spectrogram": [{"n_mels": 0}, {"fmin": -1.0}, {"hop_length": 0}],
    "to_mel_scale": [{"n_mels": 0}, {"fmin": -1.0}, {"sr": 0.0}],
    "cepstral_coefficients": [{"n_cc": 0}, {"norm": "x"}],
    "mfcc": [{"n_mfcc": 0}, {"n_mels": 0}, {"hop_length": 0}, {"lifter": -1.0}],
    "cqt": [{"n_bins": 0}, {"fmin": -1.0}, {"hop_length": 0}],
    "vqt": [{"n_bins": 0}, {"fmin": -1.0}, {"gamma": "x"}],
    "elementwise_loss": [{"metric": "L3"}],
    "spectral_optimal_transport_loss": [{"p": 0}, {"positions": "x"}],
    "time_frequency_loss": [{"weights": "x"}, {"scale_fn": 3}, {"loss_fn": 3}],
    "mrstft_loss": [{"log_eps": 0}, {"hop_lengths": ()}, {"window": "none"}],
}
GIVEN = {
    "cqt_frequencies": ((12,), {"fmin": 32.7}),
    "mel_filterbank": ((), {"sr": 8000, "n_fft": 256}),
    "mel_spectrogram": ((), {"sr": 8000, "n_fft": 256}),
    "to_mel_scale": ((), {"sr": 8000, "n_fft": 256}),
    "mfcc": ((), {"sr": 8000, "n_fft": 256}),
    "cqt": ((), {"sr": 8000}),
    "vqt": ((), {"sr": 8000}),
    "time_frequency_loss": (
        (),
        {"transform_fn": ke.Spectrogram(64), "loss_fn": ke.ElementwiseLoss()},
    ),
}
NO_ARRAY = {"fft_frequencies", "cqt_frequencies", "mel_frequencies", "mel_filterbank"}
ANY_ARRAY = {*(name for name in WRONG if "_to_" in name or "weighting" in name)}
ANY_ARRAY |= {"db_to_amplitude", "db_to_power"}
ANY_ARRAY -= {"to_mel_scale"}
SPECTRA = {"istft", "to_mel_scale", "cepstral_coefficients"}


def function(name):
    return getattr(ke.loss if name in LOSSES else ke, name)


def test_every_function_is_tried():
    tried = {*WRONG, *LOSSES, "db_to_amplitude", "db_to_power"}
    assert tried == {*FUNCTIONS, *LOSSES}


CASES = [(name, wrong) for name, options in WRONG.items() for wrong in options]


@pytest.mark.parametrize(("name", "wrong"), CASES, ids=str)
def test_errors_of_arguments_name_the_function_that_was_called(name, wrong):
    args, keywords = GIVEN.get(name, ((), {}))
    keywords = {**keywords, **wrong}
    if name in LOSSES:
        args = (
            (jnp.ones((129, 20)),) * 2 if name.startswith("s") else (jnp.ones(999),) * 2
        )
    elif name not in NO_ARRAY:
        args = (jnp.ones((129, 20)) if name in SPECTRA else jnp.ones(2000),)
    (argument,) = wrong
    with pytest.raises(ValueError) as caught:
        function(name)(*args, **keywords)
    assert str(caught.value).startswith(f"`{name}(")
    assert argument in str(caught.value).partition("=")[0]


ON_ARRAYS = [n for n in [*FUNCTIONS, *LOSSES] if n not in NO_ARRAY | ANY_ARRAY]


@pytest.mark.parametrize("name", ON_ARRAYS)
def test_errors_of_arrays_name_the_function_that_was_called(name):
    args, keywords = GIVEN.get(name, ((), {}))
    n = 2 if name in LOSSES else 1
    is_loss_of_spectra = name in LOSSES and name.startswith(("elementwise", "spectral"))
    wrong = [("text",) * n, ([1.0],) * n, (jnp.ones((3, 400), int),) * n]
    if n == 2:
        wrong.append((jnp.ones((2, 900)), jnp.ones((1, 900))))
    if is_loss_of_spectra:
        del wrong[2]  # any numbers have a difference
    for arrays in wrong:
        with pytest.raises(ValueError) as caught:
            function(name)(*arrays, **keywords)
        assert str(caught.value).startswith(f"`{name}`: "), str(caught.value)
