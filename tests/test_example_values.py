"""What `examples/what_values_mean.py` says of values, on its own made-up sounds."""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import promotion
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

import jax.numpy as jnp  # noqa: E402
from _degradations import families, mp3, noise, shift_pitch, without_codecs  # noqa: E402
from _excerpts import SR, Excerpt, made  # noqa: E402
from _value_pictures import draw  # noqa: E402
from rich.console import Console  # noqa: E402
from what_values_mean import (  # noqa: E402
    BETTER,
    IDENTICAL,
    PARITY,
    Study,
    agreement,
    run,
    sines,
)

import korvax_eqx as ke  # noqa: E402

pytestmark = pytest.mark.long

KINDS = ("voice", "music", "drums")
codecs = pytest.mark.skipif(without_codecs() != "", reason=without_codecs())


@pytest.fixture(autouse=True)
def usual_promotion():
    """Examples promote dtypes in the usual way."""
    with promotion.usual_promotion():
        yield


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The study of the quick mode, what it printed, and where it wrote."""
    out = tmp_path_factory.mktemp("values")
    options = argparse.Namespace(
        quick=True, sounds=None, seconds=5.0, seeds=10, out=out
    )
    console = Console(file=io.StringIO(), width=140)
    kept = {path: path.read_bytes() for path in (EXAMPLES / "pictures").glob("*")}
    with promotion.usual_promotion():
        study, _ = run(options, console)
    assert kept == {p: p.read_bytes() for p in (EXAMPLES / "pictures").glob("*")}
    return study, console.file.getvalue(), out


def test_writes_tables_and_a_picture(quick):
    study, printed, out = quick
    assert "1 semitone up" in printed and "fits, % of 2" in printed
    lines = (out / "values.csv").read_text().splitlines()
    assert len(lines) == 1 + len(KINDS) * len(study.degradations)
    assert len((out / "pitch.csv").read_text().splitlines()) == 3
    assert (out / "what_values_mean.png").read_bytes().startswith(b"\x89PNG")


def test_identical_is_zero_and_nothing_else_is(quick):
    study, _, _ = quick
    names = list(study.degradations)
    for values in study.values.values():
        assert np.all(values[:, names.index(IDENTICAL)] == 0)
        assert np.all(np.delete(values, names.index(IDENTICAL), axis=1) > 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("label", [PARITY, BETTER])
def test_more_of_a_degradation_costs_more(quick, kind, label):
    """The parity default cannot tell Opus at 96 kbit/s from Opus at 48: left out."""
    study, _, _ = quick
    for family, members in families().items():
        if family == "Opus" and label == PARITY:
            continue
        done = [name for name in members if name in study.degradations]
        values = [study.value(label, kind, name) for name in done]
        assert np.all(np.diff(values) > 0), (family, values)


@codecs
@pytest.mark.parametrize("kind", KINDS)
def test_a_quieter_sound_and_a_coded_one_change_places(quick, kind):
    """The parity default prefers 6 dB less to an MP3 that is hard to tell apart."""
    study, _, _ = quick
    coded, quieter = "MP3 96 kbit/s", "-6 dB"
    assert study.value(PARITY, kind, coded) > study.value(PARITY, kind, quieter)
    assert study.value(BETTER, kind, coded) < study.value(BETTER, kind, quieter)


def test_faint_noise_is_the_worst_but_for_the_parity_default_only(quick):
    """50 dB below a voice: above a semitone, and above clipping at half the peak."""
    study, _, _ = quick
    for other in ("1 semitone up", "clipped at 0.5 of the peak", "low-pass 3.5 kHz"):
        ratio = [
            study.value(label, "voice", "noise, SNR 50 dB")
            / study.value(label, "voice", other)
            for label in (PARITY, BETTER)
        ]
        assert ratio[0] > 1 > ratio[1], other


def test_sines_are_spiky_for_the_parity_default_only():
    """Three sines, each too low by most of an octave, ought to cost about the same."""
    spread = {e: np.std(sines(e)) / np.mean(sines(e)) for e in (PARITY, BETTER)}
    assert spread[PARITY] > 0.1 and spread[BETTER] < 0.02


def test_factor_and_level_are_the_constant_in_disguise():
    """`log_fac` f, or a signal f times as loud: as `log_eps` divided by f."""
    x = jnp.asarray(made(0.5)[1].signal)
    y = jnp.asarray(noise(np.asarray(x), 20.0), jnp.float32)
    plain = ke.MRSTFTLoss(w_lin=0, log_eps=1e-2)(y, x)
    factor = ke.MRSTFTLoss(w_lin=0, log_fac=100.0, log_eps=1.0)(y, x)
    louder = ke.MRSTFTLoss(w_lin=0, log_eps=1.0)(100 * y, 100 * x)
    np.testing.assert_allclose(factor, plain, rtol=1e-5)
    np.testing.assert_allclose(louder, plain, rtol=1e-5)
    other = ke.MRSTFTLoss(w_lin=0, log_eps=1.0)(y, x)
    assert not np.isclose(other, plain, rtol=0.1)


def study_of(values, ratings):
    names = {IDENTICAL: IDENTICAL, "a": "MP3", "b": "noise", "c": "clipping"}
    excerpt = Excerpt("music", "", np.zeros(1))
    return Study(
        [excerpt],
        names,
        {"1e-7": np.array([values]), "1e-2": np.array([values])},
        {"judge": np.array([ratings])},
    )


def test_agreement_counts_what_is_inverted():
    ratings = [5.0, 4.0, 3.0, 2.9]
    agreed = agreement(study_of([0, 1, 2, 3], ratings), "1e-7", "music", "judge")
    assert (agreed.rank_correlation, agreed.inverted, agreed.worst) == (1, 0, 0)
    # "b" and "c" are too close for their order to count.
    swapped = agreement(study_of([0, 1, 3, 2], ratings), "1e-7", "music", "judge")
    assert swapped.rank_correlation == pytest.approx(0.5) and swapped.inverted == 0
    assert (
        swapped.worst == pytest.approx(0.1)
        and swapped.worst_pair == "b costs more than c"
    )
    worst = agreement(study_of([0, 3, 2, 1], ratings), "1e-7", "music", "judge")
    assert worst.rank_correlation == -1 and worst.inverted == 100
    assert (
        worst.worst == pytest.approx(1.1) and worst.worst_pair == "a costs more than c"
    )


def test_draws_agreement(tmp_path):
    study = study_of([0, 1, 2, 3], [5.0, 4.0, 3.0, 2.9])
    scores = [agreement(study, label, "music", "judge") for label in study.values]
    draw(study, scores, tmp_path / "judged.png")
    assert (tmp_path / "judged.png").read_bytes().startswith(b"\x89PNG")


@codecs
@pytest.mark.parametrize("rate", [160, 40])
def test_coded_sounds_are_aligned(rate):
    """At 40 kbit/s the decoder leaves a delay of 1105 samples."""
    x = made(1.0)[2].signal
    y = mp3(x, rate)
    products = np.fft.rfft(y) * np.conj(np.fft.rfft(x))
    assert np.argmax(np.fft.irfft(products)) == 0 and y.shape == x.shape


def test_a_semitone_is_a_semitone():
    t = np.arange(SR) / SR
    y = shift_pitch(np.sin(2 * np.pi * 440 * t), 1)
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
    assert np.argmax(spectrum) == round(440 * 2 ** (1 / 12)) and len(y) == len(t)
