"""Damaged, foreign and huge files: one error, nothing kept, no memory taken."""

import io
import json
import pickle
import re
import time
import tracemalloc
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from saving_cases import Learnable
from saving_forgery import (
    ARRAYS,
    HEADER,
    LINE,
    LOG,
    SMALL,
    forge,
    forge_object,
    npy,
    refused,
    saved,
    seal,
    small,
)

import korvax_eqx as ke
from korvax_eqx._saving import _limits
from korvax_eqx._tables._size import MAX_TABLE_VALUES
from korvax_eqx._tables._windows import window_size

MEBIBYTE = 2**20


def test_the_helpers_forge_files_that_load():
    # Without this, a refusal could come from the forgery and not from what it tests.
    assert forge() == SMALL
    assert bool(ke.load(io.BytesIO(forge())) == small())
    entry = {"class": "Log", "arguments": {"factor": 2.0}}
    assert ke.load(io.BytesIO(forge_object(entry))) == ke.Log(2.0)


# ------------------------------------------------------------------------- damage


def test_a_file_cut_off_at_any_byte_is_refused():
    for end in range(len(SMALL)):
        assert "Cannot load" in refused(SMALL[:end])
    assert "empty" in refused(b"")
    assert "cut off in its first line" in refused(SMALL[: len(LINE) - 1])
    assert "checksum" in refused(SMALL[:-1])


def test_every_flipped_bit_is_detected():
    for i in range(len(SMALL)):
        for bit in range(8):
            damaged = bytearray(SMALL)
            damaged[i] ^= 1 << bit
            refused(bytes(damaged))


def test_every_flipped_bit_of_sealed_arrays_gives_the_error_or_another_value():
    # The checksum does not protect against malice: with a true one, only flips in the
    # four bytes of the number itself can load, all but that of its sign.
    for i in range(len(ARRAYS)):
        for bit in range(8):
            damaged = bytearray(ARRAYS)
            damaged[i] ^= 1 << bit
            try:
                loss = ke.load(io.BytesIO(forge(bytes(damaged))))
            except ke.LoadError:
                is_sign = i == len(ARRAYS) - 1 and bit == 7
                assert i < len(ARRAYS) - 4 or is_sign
                continue
            assert jax.tree.structure(loss) == jax.tree.structure(small())
            is_number = i >= len(ARRAYS) - 4
            assert is_number != (bool(loss == small()))


@given(st.binary(min_size=1, max_size=300))
@settings(deadline=None, max_examples=200, derandomize=True)
def test_any_bytes_are_refused(content):
    refused(content)
    refused(content + SMALL)
    refused(LINE + content)


def test_more_than_the_file_is_refused():
    assert "More data follows" in refused(SMALL + bytes(2000))
    refused(SMALL + b"\0")
    assert "1 bytes too many" in refused(forge(ARRAYS + b"\0"))
    assert "More data follows" in refused(forge(b"more", object=LOG, leaves=[]))


def test_an_edited_header_is_refused():
    edited = SMALL.replace(b'"eps": 1e-07', b'"eps": 1e-06')
    assert edited != SMALL
    assert "edited" in refused(edited) and "to_config" in refused(edited)


# ------------------------------------------------------------------ foreign content


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1}\n',
        b"[]\n",
        b"null\n",
        b"\xef\xbb\xbf" + SMALL,
        b" " + SMALL,
        b"PK\x03\x04 a zip archive",
        pickle.dumps({"format": "korvax_eqx"}),
        npy(np.ones(3)),
        b'{"format": "korvax", ' + LINE[24:],
        json.dumps(json.loads(LINE), indent=1).encode(),
        json.dumps(dict(reversed(HEADER.items()))).encode() + b"\n",
    ],
)
def test_foreign_files_are_refused(content):
    assert "not a file of `korvax_eqx.save`" in refused(content)


@pytest.mark.parametrize("version", [2, 10, 999999999])
def test_a_newer_version_says_so(version):
    # Whatever else a later format changes, its first members stay.
    content = b'{"format": "korvax_eqx", "format_version": %d, ' % version
    content += b'"library_version": "7.1.0", and then anything'
    message = refused(content)
    assert f"version {version}" in message and "korvax_eqx 7.1.0" in message
    assert "up to 1" in message and "Update" in message


@pytest.mark.parametrize("version", [0, -1, 1.0, True, "1", None, 10**30])
def test_a_version_that_is_none_is_refused(version):
    refused(forge(format_version=version))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"eps": 1e-07', '"eps": NaN', "NaN"),
        ('"eps": 1e-07', '"eps": -Infinity', "Infinity"),
        ('"eps": 1e-07', '"eps": 1e999', "out of range"),
        ('"eps": 1e-07', '"eps": ' + "9" * 5000, "valid JSON"),
        ('"eps": 1e-07', '"eps": 1e-07, "eps": 1e-07', "twice"),
        ('"eps": 1e-07', '"eps": 1e-07,', "valid JSON"),
        ('"eps": 1e-07', '"eps": 01', "valid JSON"),
        ('"eps": 1e-07', '"eps": "\\ud8"', "valid JSON"),
        ('"eps": 1e-07', '"eps": "\x07"', "valid JSON"),
        ('"eps": 1e-07', '"eps": "é"', "valid JSON"),
        ('"leaves": [', '"leaves": [], "leaves": [', "twice"),
        ('"leaves": [', '"more": [], "leaves": [', "must have the members"),
        ('"leaves": ', '"leavs": ', "must have the members"),
    ],
)
def test_json_is_strict(old, new, reason):
    text = LINE.decode()[: LINE.decode().index(', "sha256"')]
    assert text.count(old) == 1
    assert reason in refused(seal(text.replace(old, new)))


def test_no_sealed_bytes_of_a_header_do_more_than_refuse():
    text = LINE[: LINE.index(b', "sha256"')]
    for i in range(len(text)):
        for new in (b"", b'"', b"}", b"]", b"[", b"9", b"\xff", b"\n"):
            content = seal(text[:i] + new + text[i + 1 :])
            try:
                loss = ke.load(io.BytesIO(content))
            except ke.LoadError:
                continue
            assert type(loss) is ke.Chain


# --------------------------------------------------------------------------- memory


def peak_of_refusing(content: bytes) -> tuple[int, str]:
    tracemalloc.start()
    try:
        message = refused(content)
        return tracemalloc.get_traced_memory()[1], message
    finally:
        tracemalloc.stop()


def nested(depth: int, opening: str, closing: str) -> bytes:
    text = LINE.decode()[: LINE.decode().index(', "sha256"')]
    return seal(text.replace("1e-07", opening * depth + "1" + closing * depth))


@pytest.mark.parametrize("depth", [70, 190, 10**4, 10**6])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "}")])
def test_deep_nesting_is_refused(depth, opening, closing):
    content = nested(depth, opening, closing)
    peak, message = peak_of_refusing(content)
    assert peak < 32 * MEBIBYTE
    if depth > 200:
        assert ("200 deep" if depth < 10**5 else "parts") in message


def test_deep_nesting_of_modules_is_refused():
    entry: Any = {"class": "Identity"}
    for _ in range(64):
        entry = {"class": "Chain", "arguments": {"scales": [entry]}}
    assert "nested more than 64 deep" in refused(forge_object(entry))
    with pytest.raises(ke.LoadError, match="nested more than 64 deep"):
        ke.from_config(entry)
    circular: Any = {"class": "Chain", "arguments": {"scales": []}}
    circular["arguments"]["scales"].append(circular)
    with pytest.raises(ke.LoadError, match="nested more than 64 deep"):
        ke.from_config(circular)


def test_a_list_of_a_million_elements_is_refused():
    million = list(range(1, 10**6 + 1))
    entry = {"class": "MRSTFTLoss", "arguments": {"hop_lengths": million}}
    content = forge_object(entry)
    peak, message = peak_of_refusing(content)
    assert "parts" in message and peak < 5 * len(content)
    with pytest.raises(ke.LoadError, match=r"`hop_lengths\[\d+\]`: more than 65536"):
        ke.from_config(entry)
    lists = {"class": "Chain", "arguments": {"scales": [[]] * 100_000}}
    with pytest.raises(ke.LoadError, match="more than 65536"):
        ke.from_config(lists)


def test_a_repeated_alias_of_yaml_is_refused():
    laughs: Any = {"class": "Identity"}
    for _ in range(30):
        laughs = [laughs] * 10
    with pytest.raises(ke.LoadError, match="more than 65536"):
        ke.from_config({"class": "Chain", "arguments": {"scales": laughs}})


def test_a_long_first_line_is_refused():
    content = LINE[:-1] + b" " * (2**26 + 10)
    assert "longer than 67108864 bytes" in refused(content)


@pytest.mark.parametrize(
    "shape", [[10**12], [2**61], [2**31, 2**31], [0, 2**61], [2**61] * 32, [1, 10**9]]
)
def test_huge_shapes_take_no_memory(shape):
    leaf = [{"dtype": "float32", "shape": shape}]
    header = str({"descr": "<f4", "fortran_order": False, "shape": tuple(shape)})
    array = b"\x93NUMPY\x01\x00\xf6\x02" + header.encode().ljust(757) + b"\n"
    for data in (b"", ARRAYS, array, array + bytes(100)):
        peak, _ = peak_of_refusing(forge(data, leaves=leaf))
        assert peak < MEBIBYTE
    for form in ({"values": []}, {"values": [1.0]}, {"base64": ""}, {"base64": "AAAA"}):
        inline = {"dtype": "float32", "shape": shape, **form}
        for tag in ("numpy", "array"):
            arguments = {"window": {tag: inline}}
            peak, message = peak_of_refusing(
                forge_object({"class": "STFT", "arguments": arguments})
            )
            assert "`window" in message and peak < MEBIBYTE


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("STFT", {"n_fft": 10**10}),
        ("STFT", {"n_fft": 10**400 // 3}),
        ("STFT", {"n_fft": 2048, "win_length": 10**9}),
        ("STFT", {"n_fft": 2048, "window": ["taylor", 10**9]}),
        ("STFT", {"n_fft": 2048, "window": ["taylor", 1e9]}),
        ("STFT", {"n_fft": 2048, "window": ["taylor", {"float": "inf"}]}),
        ("STFT", {"n_fft": 2, "window": ["taylor", 10**6]}),
        ("STFT", {"n_fft": 2048, "window": ["taylorwin_periodic", 10**9]}),
        ("STFT", {"n_fft": 2**24, "window": ["dpss", 3.0]}),
        ("STFT", {"n_fft": 2**24, "window": ["chebwin", 100]}),
        ("STFT", {"n_fft": 2**24, "window": ["cheb_symmetric", 100]}),
        ("STFT", {"n_fft": 2**24, "window": ["taylor", 4]}),
        ("STFT", {"n_fft": 2**24, "window": ["general cosine", [0.25] * 4]}),
        ("PitchTransportLoss", {"n_fft": 2**24, "window": ["dpss", 3.0]}),
        (
            "MRSTFTLoss",
            {
                "win_lengths": [8, 2**22],
                "hop_lengths": [8, 8],
                "window": {"list": ["hann", ["dpss", 3.0]]},
            },
        ),
        (
            "MRSTFTLoss",
            {
                "win_lengths": [8, 2**22],
                "hop_lengths": [8, 8],
                "window": [
                    {"numpy": {"dtype": "float64", "shape": [8], "values": [1.0] * 8}},
                    ["dpss", 3.0],
                ],
            },
        ),
        ("MRSTFTLoss", {"win_lengths": [8] * 9000, "hop_lengths": [8] * 9000}),
        ("VQT", {"sr": 8000, "fmin": 1e-2, "window": ["dpss", 3.0], "n_bins": 12}),
        ("VQT", {"sr": 8000, "filter_scale": 1e-9, "n_bins": 65536}),
        ("MelSpectrogram", {"sr": 8000, "n_fft": 10**9}),
        ("VQT", {"sr": 1e12}),
        ("VQT", {"sr": 8000, "fmin": 1e-6}),
        ("VQT", {"sr": 8000, "fmin": 1e-300}),
        ("VQT", {"sr": 8000, "bins_per_octave": 10**6}),
        ("CQT", {"sr": 8000, "filter_scale": 1e9}),
        ("CQT", {"sr": 8000, "fmin": 1e-300, "fmax": 4000.0}),
        ("VQT", {"sr": 1e7, "fmin": 1e-300, "gamma": 1.0, "n_bins": 900}),
    ],
)
def test_huge_tables_are_refused_before_they_are_made(name, arguments):
    peak, message = peak_of_refusing(
        forge_object({"class": name, "arguments": arguments})
    )
    assert re.search(
        "sizes are too large|must be small enough|valid JSON|must be at most|2\\*\\*31",
        message,
    )
    assert peak < 8 * MEBIBYTE


def test_huge_tables_of_many_windows_are_refused():
    sizes = {"win_lengths": [10**6] * 100, "hop_lengths": [1] * 100}
    entry = {"class": "MRSTFTLoss", "arguments": sizes}
    assert "tables together would have more" in refused(forge_object(entry))


def test_a_window_of_many_terms_is_refused_before_it_is_made():
    window = ["general_cosine", [1.0, *[1e-9] * 60_000]]
    arguments = {"n_fft": 2**24, "window": window}
    before = time.perf_counter()
    message = refused(forge_object({"class": "STFT", "arguments": arguments}))
    assert "`STFT(window=...)` must be small enough" in message
    assert time.perf_counter() - before < 5
    for few in ([1.0, 0.5], [1.0, *[1e-9] * 60_000]):
        arguments = {"n_fft": 64, "window": ["general_cosine", few]}
        loaded = ke.from_config({"class": "STFT", "arguments": arguments})
        assert loaded == ke.STFT(64, window=("general_cosine", tuple(few)))


# Parameters for the windows that want some, the dearest that are usual.
PARAMETERS: dict[str, tuple[Any, ...]] = {
    "chebwin": (100.0,),
    "dpss": (3.0,),
    "exponential": (None, 1e-300),
    "gaussian": (1e-300,),
    "general_cosine": ((0.25,) * 100,),
    "general_gaussian": (1e300, 1e-300),
    "general_hamming": (0.7,),
    "kaiser": (1e3,),
    "kaiser_bessel_derived": (8.0,),
    "taylor": (100, 30),
    "tukey": (0.5,),
}
WINDOWS = sorted(set(scipy.signal.windows.__all__) - {"get_window"})


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", WINDOWS)
def test_the_longest_window_takes_less_than_a_second(name):
    window = (name, *PARAMETERS.get(name, ()))
    n = 2**15
    times = []
    for _ in range(3):
        before = time.thread_time()
        is_periodic = name != "kaiser_bessel_derived"  # which is symmetric only
        scipy.signal.get_window(window, n, fftbins=is_periodic)
        times.append(time.thread_time() - before)
    longest = n * (MAX_TABLE_VALUES / window_size(window, n))
    assert min(times) / n * longest < 1


@pytest.mark.parametrize(
    ("short", "name"),
    [
        ("cheb", "chebwin"),
        ("taylorwin", "taylor"),
        ("general cosine", "general_cosine"),
        ("ksr", "kaiser"),
        ("han", "hann"),
        ("poisson", "exponential"),
        ("unheard of", "dpss"),
    ],
)
def test_other_names_of_a_window_weigh_the_same(short, name):
    parameters = (5, (0.5,) * 4)
    for end in ("", "_periodic", "_symmetric"):
        size = window_size((short + end, *parameters), 1000)
        assert size == window_size((name, *parameters), 1000)


def test_many_objects_take_seconds():
    vqt = {"sr": 8000, "fmin": 100.0, "filter_scale": 1e-9, "bins_per_octave": 30_000}
    sizes = (30_000, 30_001, 30_002)
    objects = [{"class": "VQT", "arguments": vqt | {"n_bins": n}} for n in sizes]
    chain = {"class": "Chain", "arguments": {"scales": objects}}
    with pytest.raises(ke.LoadError, match=r"`scales\[2\].*sizes are too large"):
        ke.from_config(chain)
    losses = [{"class": "MRSTFTLoss"}] * 1000
    chain = {"class": "Chain", "arguments": {"scales": losses}}
    before = time.perf_counter()
    with pytest.raises(ke.LoadError, match="sizes are too large"):
        ke.from_config(chain)
    assert time.perf_counter() - before < 10


def test_what_jax_compiles_is_limited(monkeypatch):
    assert _limits.MAX_COMPILED == 64
    monkeypatch.setattr(_limits, "MAX_COMPILED", 4)

    def weak(n):
        entry = {"dtype": "float32", "shape": [n], "values": [0.5] * n}
        return {"array": entry | {"weak_type": True}}

    logs = [
        {"class": "Learnable", "arguments": {"value": weak(n)}} for n in range(1, 7)
    ]
    chain = {"class": "Learnable", "arguments": {"value": logs}}
    with pytest.raises(ke.LoadError, match=r"`value\[4\].value`: more than 4 shapes"):
        ke.from_config(chain, custom=(Learnable,))
    again = {"class": "Learnable", "arguments": {"value": logs[:3] * 40}}
    assert len(ke.from_config(again, custom=(Learnable,)).value) == 120
    leaves = [
        {"dtype": "float32", "shape": [n], "weak_type": True} for n in range(1, 7)
    ]
    data = b"".join(npy(np.ones(n, "f4")) for n in range(1, 7))
    message = refused(forge(data, object={"class": "Log"}, leaves=leaves))
    assert "`leaves[4]`: more than 4 shapes" in message
    with pytest.raises(ValueError, match="Cannot save this: it would not load.*dtype"):
        saved(Learnable(tuple(jnp.full(n, 0.5) for n in range(1, 7))))
    strong = Learnable(tuple(jnp.full(n, 0.5, "float32") for n in range(1, 7)))
    assert len(ke.load(io.BytesIO(saved(strong)), custom=(Learnable,)).value) == 6
    number = {"array": {"dtype": "float32", "shape": [], "values": 0.5}}
    losses = [
        {
            "class": "TimeFrequencyLoss",
            "arguments": {
                "transform_fn": {"class": "Spectrogram", "arguments": {"n_fft": 4}},
                "loss_fn": [{"class": "ElementwiseLoss"}] * n,
                "weights": [number] * n,
            },
        }
        for n in range(1, 7)
    ]
    chain = {"class": "Learnable", "arguments": {"value": losses}}
    with pytest.raises(ke.LoadError, match=r"`value\[4\].weights`: more than 4"):
        ke.from_config(chain, custom=(Learnable,))


def test_huge_tables_of_many_small_ones_are_refused():
    scale = {"class": "STFT", "arguments": {"n_fft": 2**21}}
    entry = {"class": "Chain", "arguments": {"scales": [scale] * 40}}
    assert "`scales[" in refused(forge_object(entry))
