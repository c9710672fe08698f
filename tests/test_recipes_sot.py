"""Recipes of transport: against sot-loss, and the paper's by its formula."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from formulas import assert_is, end_padded_stft
from packages import assert_agrees, package

from korvax_eqx import recipes

RNG = np.random.default_rng(0)
X, Y = (0.3 * RNG.standard_normal((2, 3000)) for _ in "xy")
# What float32 can hold, so that both precisions see the same numbers.
X, Y = (a.astype(np.float32).astype(np.float64) for a in (X, Y))


def original(sr=22050, **arguments):
    """sot-loss in float64: its windows and positions are rounded to float32."""
    torch = pytest.importorskip("torch")
    losses = package("sot.losses")
    loss = losses.Wasserstein1DLoss(sample_rate=sr, **arguments).double()
    transform = loss.transform_module
    window = scipy.signal.get_window("flattop", transform.win_length)
    transform.window = torch.tensor(window)
    n = transform.fft_size
    positions = np.linspace(0, 1, n // 2 + 1)
    if arguments.get("bin_position_scaling") == "absolute":
        positions = np.fft.rfftfreq(n, 1 / sr)
    loss.bin_positions = torch.tensor(positions)
    return loss


SMALL = {"fft_size": 256, "hop_length": 128}
CASES = [
    {},
    {"normalize": False},
    {"balanced": False},
    {"normalize": False, "balanced": False},
    {"balanced": False, "quantile_lowpass": True},
    {"p": 1},
    {"p": 1, "balanced": False},
    {"p": 1.5, "apply_root": True},
    {"apply_root": True},
    {"square_magnitude": True, "win_length": 200},
    {"bin_position_scaling": "absolute"},
]


@pytest.mark.parametrize("arguments", CASES, ids=str)
def test_equals_sot_loss(arguments):
    arguments = {**SMALL, **arguments}
    ours, theirs = recipes.sot(**arguments), original(**arguments)
    assert_agrees(ours, theirs, X, Y, double=1e-12, single=2e-6)


def test_equals_sot_loss_by_default():
    assert_agrees(recipes.sot(), original(), X, Y, double=1e-12, single=2e-6)


def test_equals_the_sum_over_resolutions():
    package("sot.losses")
    sizes = zip((1024, 2048, 512), (256, 512, 128), strict=True)
    losses = [original(fft_size=n, hop_length=hop) for n, hop in sizes]

    def theirs(x, y):
        return sum(loss(x, y) for loss in losses)

    ours = recipes.sot_multiresolution()
    assert_agrees(ours, theirs, X, Y, double=1e-12, single=2e-6)
    _, terms = ours.with_terms(jnp.asarray(X), jnp.asarray(Y))
    assert list(terms) == ["1024", "2048", "512"]


# -------------------------------------------------------------------- the paper


def transport(u, v, positions, cut):
    """$W_2^2$ of two spectra by sorting all quantiles."""
    U, V = np.cumsum(u), np.cumsum(v)
    q = np.sort(np.concatenate([U, V]))
    last = positions.size - 1
    at_u = positions[np.minimum(np.searchsorted(U, q), last)]
    at_v = positions[np.minimum(np.searchsorted(V, q), last)]
    length = np.diff(q, prepend=0.0)
    if cut:
        # A total of 1 is one, however it was rounded.
        length[q > 1 + 1e-12] = 0
    return np.sum(length * (at_u - at_v) ** 2)


# Frames at the end hold a few samples, on which the window is next to nothing.
LEAST = 1e-7


def paper(x, y, positions, n_fft, hop_length, cut=True, own_mass=False, weight=0.05):
    S_x, S_y = (
        np.abs(end_padded_stft(a, n_fft, hop_length, "flattop")) ** 2 / n_fft
        for a in (x, y)
    )
    costs = [
        transport(
            u / max((u if own_mass else v).sum(), LEAST),
            v / max(v.sum(), LEAST),
            positions,
            cut,
        )
        for u, v in zip(S_x.T, S_y.T, strict=True)
    ]
    total = np.mean(costs)
    for n in (2048, 1024, 512, 256, 128, 64):
        M_x, M_y = (np.abs(end_padded_stft(a, n, n // 4)) / n**0.5 for a in (x, y))
        total += weight * np.mean(np.abs(M_x - M_y))
    return total


# Its slope jumps where cumulative masses meet.
STEP = 1e-8


def midi(f):
    return 12 * np.log2(f / 440) + 69


def test_paper():
    formula = functools.partial(
        paper, positions=np.linspace(0, 1, 1025), n_fft=2048, hop_length=256
    )
    assert_is(recipes.sot_paper(), formula, X, Y, step=STEP)


def test_paper_with_logarithmic_positions():
    notes = np.concatenate([[0.0], midi(np.fft.rfftfreq(512, 1 / 16000)[1:])])
    top = midi(32.7 * 2 ** (284 / 36))  # of a CQT of 285 bins, below 8 kHz
    positions = (notes - midi(32.7)) / (top - midi(32.7))
    formula = functools.partial(
        paper, positions=positions, n_fft=512, hop_length=256, weight=0.1
    )
    loss = recipes.sot_paper(16000, log_scaled_x=True, mss_weight=0.1)
    assert_is(loss, formula, X, Y, step=STEP)


def test_paper_without_cutoff():
    positions = np.linspace(0, 1, 257)
    formula = functools.partial(
        paper, positions=positions, n_fft=512, hop_length=128, cut=False, own_mass=True
    )
    loss = recipes.sot_paper(
        n_fft=512, hop_length=128, dont_normalize=False, limit_quantile_range=False
    )
    assert_is(loss, formula, X, Y, step=STEP)


def test_masses_are_the_targets():
    """Twice the target costs the same; twice the estimate does not."""
    loss = recipes.sot_paper(mss_weight=0.0, limit_quantile_range=False)
    x, y = jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32)
    np.testing.assert_allclose(loss(2 * x, 2 * y), loss(x, y), rtol=1e-5)
    assert abs(loss(2 * x, y) / loss(x, y) - 1) > 0.1


@pytest.mark.cheap
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: recipes.sot(fft_size=0), r"`sot\(fft_size="),
        (lambda: recipes.sot(apply_root=1), r"`sot\(apply_root="),
        (lambda: recipes.sot(eps=0.0), r"`sot\(eps="),
        (lambda: recipes.sot(hop_length=-1), r"`sot\(hop_length="),
        (lambda: recipes.sot(bin_position_scaling="mel"), r"`sot\(bin_position_scal"),
        (
            lambda: recipes.sot_multiresolution(fft_sizes=(512,)),
            r"`sot_multiresolution\(hop_lengths=.*each of the 1 FFT sizes",
        ),
        (
            lambda: recipes.sot_multiresolution(win_lengths=(1024, 2048, 4096)),
            r"`sot_multiresolution\(win_lengths=...\)` must be at most",
        ),
        (lambda: recipes.sot_paper(-1), r"`sot_paper\(sample_rate=...\)` must be pos"),
        (
            lambda: recipes.sot_paper(100, log_scaled_x=True),
            r"`sot_paper\(n_fft=...\)` must be at most 12",
        ),
        (
            lambda: recipes.sot_paper(8000, n_fft=2048, log_scaled_x=True),
            r"`sot_paper\(n_fft=...\)` must be at most 978",
        ),
        (
            lambda: recipes.sot_paper(limit_quantile_range=0),
            r"`sot_paper\(limit_quantile_range=",
        ),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
