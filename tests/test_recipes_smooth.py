"""Readings of the smooth multi-scale spectral loss, by their formulas."""

import numpy as np
import pytest
from formulas import assert_is, torch_stft

from korvax_eqx import recipes

RNG = np.random.default_rng(0)
X, Y = (0.3 * RNG.standard_normal((2, 2500)) for _ in "xy")
X, Y = (a.astype(np.float32).astype(np.float64) for a in (X, Y))
SIZES = (67, 127, 257, 509, 1021, 2053)
HOPS = (33, 63, 128, 254, 510, 1026)


def differences(x, y, factor=1.0, eps=1.0, floor=0.0):
    """Of the logarithms at each scale."""
    for n, hop in zip(SIZES, HOPS, strict=True):
        M_x, M_y = (
            np.sqrt(np.maximum(np.abs(torch_stft(a, n, hop, None, "flattop")) ** 2, f))
            for a, f in ((x, floor), (y, floor))
        )
        yield np.log(eps + factor * M_x) - np.log(eps + factor * M_y)


def test_paper():
    def formula(x, y):
        return sum(np.sum(d**2) for d in differences(x, y))

    assert_is(recipes.smooth_paper(), formula, X, Y)


def test_scrapl():
    def formula(x, y):
        return sum(np.sqrt(np.sum(d**2)) for d in differences(x, y))

    assert_is(recipes.smooth_scrapl(), formula, X, Y)


def test_scrapl_of_first_order():
    def formula(x, y):
        return sum(np.sum(np.abs(d)) for d in differences(x, y, 2.0, 0.5))

    loss = recipes.smooth_scrapl(p=1, gamma=2.0, log_mag_eps=0.5)
    assert_is(loss, formula, X, Y)


def test_auraloss():
    def formula(x, y):
        return np.mean([np.mean(d**2) for d in differences(x, y, floor=1e-8)])

    assert_is(recipes.smooth_auraloss(), formula, X, Y)


def test_auraloss_with_other_constants():
    def formula(x, y):
        d = differences(x, y, factor=3.0, eps=0.1, floor=1e-2)
        return np.mean([np.mean(one**2) for one in d])

    loss = recipes.smooth_auraloss(log_fac=3.0, log_eps=0.1, eps=1e-2)
    assert_is(loss, formula, X, Y)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: recipes.smooth_paper(win_lengths=()), r"`smooth_paper\(win_lengths="),
        (lambda: recipes.smooth_paper(gamma=0), r"`smooth_paper\(gamma=...\)` must be"),
        (lambda: recipes.smooth_paper(window="no"), r"`smooth_paper\(window="),
        (lambda: recipes.smooth_scrapl(p=3), r"`smooth_scrapl\(p=...\)` must be one"),
        (lambda: recipes.smooth_scrapl(log_mag_eps=0), r"`smooth_scrapl\(log_mag_eps="),
        (lambda: recipes.smooth_scrapl(hop_sizes=(1,)), r"`smooth_scrapl\(hop_sizes="),
        (
            lambda: recipes.smooth_scrapl(win_lengths=(68,) * 6),
            r"`smooth_scrapl\(win_lengths=...\)` must be at most",
        ),
        (lambda: recipes.smooth_auraloss(eps=-1.0), r"`smooth_auraloss\(eps="),
        (lambda: recipes.smooth_auraloss(log_eps=0.0), r"`smooth_auraloss\(log_eps="),
        (lambda: recipes.smooth_auraloss(log_fac=0.0), r"`smooth_auraloss\(log_fac="),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
