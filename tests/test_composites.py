"""Behaviour of the composites, against straightforward formulations kept here."""

import functools
import re
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import promotion
import pytest
from oracle import assert_close

import korvax_eqx as ke

TIGHT = 1e-6  # float32, the same computation in another order
N_FFT, HOP = 48, 20
HOPS, WINS = (16, 24), (48, 64)


def signals(*lead: int, n: int = 200, seed: int = 0, dtype: Any = np.float32) -> Any:
    x, y = 0.3 * np.random.default_rng(seed).standard_normal((2, *lead, n))
    return jnp.asarray(x, dtype), jnp.asarray(y, dtype)


# ------------------------------------------------- the straightforward formulation


def plain_spectrogram(
    x: jax.Array, n_fft: int, hop: int, power: float = 1.0, window: Any = None
) -> jax.Array:
    """Gather frames, multiply, transform; magnitudes as the textbook has them."""
    if window is None:
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    left = n_fft // 2
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(left, n_fft - left)])
    starts = np.arange(0, x.shape[-1] - n_fft + 1, hop)
    frames = x[..., starts[:, None] + np.arange(n_fft)]
    X = jnp.fft.rfft(frames * jnp.asarray(window, x.dtype))
    S = (X.real**2 + X.imag**2) ** (power / 2)
    return jnp.swapaxes(S, -1, -2)


def plain_mrstft(
    x: jax.Array,
    y: jax.Array,
    w_lin: Any = 1.0,
    w_log: Any = 1.0,
    eps: Any = 1e-2,
    squared: bool = False,
) -> jax.Array:
    def distance(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.mean((a - b) ** 2 if squared else jnp.abs(a - b))

    total = jnp.zeros((), x.dtype)
    for hop, win in zip(HOPS, WINS, strict=True):
        S, T = plain_spectrogram(x, win, hop), plain_spectrogram(y, win, hop)
        log = distance(jnp.log(S + eps), jnp.log(T + eps))
        total += w_lin * distance(S, T) + w_log * log
    return total / len(HOPS)


def mrstft(**options: Any) -> ke.MRSTFTLoss:
    return ke.MRSTFTLoss(HOPS, WINS, **{"log_eps": 1e-2, **options})


def smooth_in_x(**options: Any) -> ke.MRSTFTLoss:
    """With squared distances: its second derivatives are not zero almost everywhere."""
    return mrstft(lin_dist="L2", log_dist="L2", **options)


class Frames(ke.AbstractTransform):
    """A user's transform: frames, differenced by `n` samples."""

    n: int = eqx.field(static=True)

    def apply(self, data: ke.Signals) -> ke.Spectra:
        x = data.x
        n_frames = x.shape[-1] // self.n
        S = x[..., : n_frames * self.n].reshape(*x.shape[:-1], n_frames, self.n)
        return ke.Spectra(S)


class Root(ke.AbstractScale):
    """A user's scale, with a parameter."""

    offset: Any

    def apply(self, data: ke.Spectra) -> ke.Spectra:
        return data.map(lambda S: jnp.sqrt(S**2 + jnp.asarray(self.offset, S.dtype)))


class LastBin(ke.AbstractSpectralLoss):
    """A user's loss to which the order of bins and frames matters."""

    def values(self, x: ke.Spectra, y: ke.Spectra) -> jax.Array:
        last = (x.S - y.S)[..., -1:] ** 2 * jnp.abs(x.S[..., :1])
        return x.holding(last).mean()


class BatchNormalised(eqx.Module):
    """Not derived from the bases: every row changes what all others contribute."""

    def __call__(self, S_x: jax.Array, S_y: jax.Array) -> jax.Array:
        return jnp.sum(jnp.abs(S_x - S_y)) / jnp.max(S_y)


def mixed(**options: Any) -> ke.TimeFrequencyLoss:
    """Rowwise parts only, of the library's and of a user's."""
    return ke.TimeFrequencyLoss(
        ke.Spectrogram(N_FFT, HOP, power=1),
        [ke.ElementwiseLoss(), ke.SpectralConvergenceLoss(), LastBin()],
        [ke.Log(1.0, 1e-2), ke.Identity(), Root(1e-2)],
        [0.5, 0.3, 2.0],
        **options,
    )


def plain_mixed(x: jax.Array, y: jax.Array) -> jax.Array:
    S, T = plain_spectrogram(x, N_FFT, HOP), plain_spectrogram(y, N_FFT, HOP)
    eps = jnp.finfo(S.dtype).eps
    log = jnp.mean(jnp.abs(jnp.log(S + 1e-2) - jnp.log(T + 1e-2)))
    ratio = jnp.sqrt(jnp.sum((S - T) ** 2, (-2, -1)))
    ratio = jnp.mean(ratio / (jnp.sqrt(jnp.sum(T**2, (-2, -1))) + eps))
    A, B = jnp.sqrt(S**2 + 1e-2), jnp.sqrt(T**2 + 1e-2)
    last = jnp.mean((A - B)[..., -1, :] ** 2 * jnp.abs(A[..., 0, :]))
    return 0.5 * log + 0.3 * ratio + 2.0 * last


def whole(**options: Any) -> ke.TimeFrequencyLoss:
    return ke.TimeFrequencyLoss(
        ke.Spectrogram(N_FFT, HOP, power=1),
        [BatchNormalised(), ke.ElementwiseLoss()],
        weights=[0.01, 1.0],
        **options,
    )


def plain_whole(x: jax.Array, y: jax.Array) -> jax.Array:
    S, T = plain_spectrogram(x, N_FFT, HOP), plain_spectrogram(y, N_FFT, HOP)
    return 0.01 * jnp.sum(jnp.abs(S - T)) / jnp.max(T) + jnp.mean(jnp.abs(S - T))


def _lambdas(**options: Any) -> ke.TimeFrequencyLoss:
    return ke.TimeFrequencyLoss(
        lambda x: plain_spectrogram(x, N_FFT, HOP),
        lambda S, T: jnp.mean((S - T) ** 2),
        lambda S: jnp.log(S + 1e-2),
        **options,
    )


def plain_lambdas(x: jax.Array, y: jax.Array) -> jax.Array:
    S, T = plain_spectrogram(x, N_FFT, HOP), plain_spectrogram(y, N_FFT, HOP)
    return jnp.mean((jnp.log(S + 1e-2) - jnp.log(T + 1e-2)) ** 2)


lambdas = functools.cache(_lambdas)  # a new lambda is a new compilation

PLAIN: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "mrstft": (mrstft, plain_mrstft),
    "mrstft L2": (smooth_in_x, functools.partial(plain_mrstft, squared=True)),
    "mixed": (mixed, plain_mixed),
    "whole": (whole, plain_whole),
    "lambdas": (lambdas, plain_lambdas),
}
every = pytest.mark.parametrize("name", PLAIN)
most = pytest.mark.parametrize("name", [name for name in PLAIN if name != "mrstft"])


def value_and_grads(fn: Callable[..., Any], *args: Any) -> Any:
    return jax.jit(jax.value_and_grad(fn, tuple(range(len(args)))))(*args)


@every
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_equals_the_plain_formulation(name, shape):
    make, plain = PLAIN[name]
    with jax.enable_x64(True):
        x, y = signals(*shape, dtype=np.float64)
        assert_close(value_and_grads(make(), x, y), value_and_grads(plain, x, y), 1e-9)


# --------------------------------------------------------------------- with_terms


def test_terms_of_mrstft_are_named_by_size_and_scale():
    x, y = signals(2)
    total, terms = mrstft(w_lin=0.5).with_terms(x, y)
    assert list(terms) == ["48/lin", "48/log", "64/lin", "64/log"]
    assert_close(total, mrstft(w_lin=0.5)(x, y), TIGHT)
    S, T = plain_spectrogram(x, 64, 24), plain_spectrogram(y, 64, 24)
    # The weighted contribution: weight, distance, share of one of two resolutions.
    assert_close(terms["64/lin"], 0.5 * jnp.mean(jnp.abs(S - T)) / 2)


def test_terms_of_equal_resolutions_and_losses_are_numbered():
    x, y = signals()
    loss = ke.MRSTFTLoss((16, 24), (48, 40), (64, 64))
    names = ["64#1/lin", "64#1/log", "64#2/lin", "64#2/log"]
    assert list(loss.with_terms(x, y)[1]) == names
    log = functools.partial(jnp.add, 1.0)
    loss = ke.TimeFrequencyLoss(
        ke.Spectrogram(N_FFT),
        [
            ke.ElementwiseLoss(),
            ke.ElementwiseLoss("L2"),
            ke.SpectralConvergenceLoss(),
            lambda S, T: jnp.mean(S - T),
            functools.partial(ke.loss.elementwise_loss, metric="L2"),
        ],
        [ke.Identity(), ke.Identity(), ke.Log(), ke.Identity(), log],
    )
    total, terms = loss.with_terms(x, y)
    assert list(terms) == list(loss.bind(y).with_terms(x)[1])
    assert len(terms) == len(set(terms)) == 5
    assert all(re.fullmatch(r"[A-Za-z0-9_/#]+", name) for name in terms), terms
    names = list(terms)
    assert names[0].startswith("elementwise") and names[1].startswith("elementwise")
    assert names[2] == "log/spectral_convergence"
    assert "elementwise" in names[4]
    assert_close(total, sum(terms.values()), TIGHT)


@most
def test_terms_sum_to_the_scalar_and_have_its_gradient(name):
    loss = PLAIN[name][0]()
    x, y = signals(3)

    def evaluate(x: jax.Array, y: jax.Array) -> Any:
        total, terms = loss.with_terms(x, y)
        return total, sum(terms.values())

    (total, contributions), pullback = jax.vjp(jax.jit(evaluate), x, y)
    assert_close(contributions, total, TIGHT)
    assert_close(total, loss(x, y), TIGHT)
    grads = pullback((jnp.ones_like(total), jnp.zeros_like(total)))
    assert_close(grads, jax.grad(loss, (0, 1))(x, y), TIGHT)
    assert np.any(grads[0]) and np.any(grads[1])
    of_terms = pullback((jnp.zeros_like(total), jnp.ones_like(total)))
    assert_close(of_terms, grads, TIGHT)
    _, tangent = jax.jvp(jax.jit(evaluate), (x, y), (x, y))
    assert np.any(tangent[0])
    assert_close(tangent[1], tangent[0], TIGHT)


def test_terms_survive_jit_and_vmap_in_order():
    x, y = signals(3)
    loss = ke.MRSTFTLoss((16, 24, 30), (128, 64, 90))
    names = list(loss.with_terms(x, y)[1])
    assert names == [f"{n}/{s}" for n in (128, 64, 90) for s in ("lin", "log")]
    total, terms = jax.vmap(loss.with_terms)(x, y)
    assert set(terms) == set(names)
    assert_close(sum(terms.values()), total, TIGHT)
    assert_close(total, jnp.stack([loss(*pair) for pair in zip(x, y, strict=True)]))


# ----------------------------------------------------------------- weights of zero


def test_a_term_of_weight_zero_is_not_called():
    calls = []

    class Counted(ke.AbstractSpectralLoss):
        name: str = eqx.field(static=True)

        def values(self, x: ke.Spectra, y: ke.Spectra) -> jax.Array:
            calls.append(self.name)
            return x.holding(x.S - y.S).mean()

    def function(S_x: jax.Array, S_y: jax.Array) -> jax.Array:
        calls.append("function")
        return jnp.mean(S_x - S_y)

    x, y = signals(2)
    transform = ke.Spectrogram(N_FFT)
    losses = [Counted("a"), Counted("b")]
    _, terms = ke.TimeFrequencyLoss(transform, losses, weights=[0, 2]).with_terms(x, y)
    assert set(calls) == {"b"} and len(terms) == 1
    calls.clear()
    weights = np.asarray([0.0, 1.0])
    ke.TimeFrequencyLoss(transform, [function, losses[0]], weights=weights)(x, y)
    assert set(calls) == {"a"}
    calls.clear()
    # A leaf may become something else without compiling again: it is computed.
    leaf = ke.TimeFrequencyLoss(transform, losses, weights=jnp.asarray([0.0, 1.0]))
    leaf(x, y)
    assert set(calls) == {"a", "b"}


def cost(fn: Callable[..., Any], *args: Any) -> dict[str, float]:
    analysis = jax.jit(fn).lower(*args).cost_analysis()
    return analysis[0] if isinstance(analysis, list) else analysis


def test_a_term_of_weight_zero_costs_nothing():
    x, y = signals(2)
    both = cost(mrstft(), x, y)["transcendentals"]
    # A root and a logarithm for each bin.
    assert cost(mrstft(w_log=0), x, y)["transcendentals"] == both / 2
    leaf = cost(lambda w, x, y: mrstft(w_log=w)(x, y), jnp.asarray(0.0), x, y)
    assert leaf["transcendentals"] == both
    losses = [ke.ElementwiseLoss(), ke.SpectralOptimalTransportLoss()]
    transform = ke.Spectrogram(N_FFT)
    one = ke.TimeFrequencyLoss(transform, losses, weights=[1.0, 0.0])
    alone = ke.TimeFrequencyLoss(transform, losses[0], weights=[1.0])
    assert cost(one, x, y)["flops"] == cost(alone, x, y)["flops"]


def test_all_weights_zero():
    x, y = signals(2)
    loss = mrstft(w_lin=0.0, w_log=0.0)
    value, grads = value_and_grads(loss, x, y)
    assert float(value) == 0.0 and not np.any(grads[0])
    assert loss.with_terms(x, y)[1] == {}
    assert float(loss.bind(y)(x)) == 0.0
    loss = ke.TimeFrequencyLoss(ke.Spectrogram(N_FFT), LastBin(), weights=[0.0])
    assert float(loss(x, y)) == 0.0 and loss.with_terms(x, y)[1] == {}
    assert float(loss.bind(y)(x)) == 0.0


# --------------------------------------------------------------------------- bind


@most
@pytest.mark.parametrize("shape", [(), (2, 2)])
def test_bind_equals_the_loss(name, shape):
    loss = PLAIN[name][0]()
    x, y = signals(*shape)
    desired = jax.value_and_grad(loss)(x, y)
    bound = loss.bind(y)
    assert_close(jax.value_and_grad(bound)(x), desired, TIGHT)
    total, terms = bound.with_terms(x)
    desired_terms = loss.with_terms(x, y)[1]
    assert list(terms) == list(desired_terms)
    assert_close(dict(terms), dict(desired_terms), TIGHT)
    assert_close(total, desired[0], TIGHT)

    @eqx.filter_jit
    def inside(bound: Any, x: jax.Array) -> Any:
        return jax.value_and_grad(bound)(x)

    assert_close(inside(bound, x), desired, TIGHT)


@most
def test_bind_inside_a_differentiated_function(name):
    """Through the target, and with `vmap` over estimates and over targets."""
    loss = PLAIN[name][0]()
    x, y = signals(3)

    def bound(x: jax.Array, y: jax.Array) -> jax.Array:
        return loss.bind(y)(x)

    assert_close(value_and_grads(bound, x, y), value_and_grads(loss, x, y), TIGHT)
    desired = jax.vmap(jax.value_and_grad(loss))(x, y)
    assert_close(jax.vmap(jax.value_and_grad(bound))(x, y), desired, TIGHT)
    one = loss.bind(y[0])
    desired = jax.vmap(jax.value_and_grad(loss), (0, None))(x, y[0])
    assert_close(jax.vmap(jax.value_and_grad(one))(x), desired, TIGHT)


def test_bind_keeps_learnable_leaves_learnable():
    x, y = signals(3)
    window = jnp.asarray(np.random.default_rng(1).uniform(0.2, 1, N_FFT), jnp.float32)

    def make(leaves: Any) -> ke.TimeFrequencyLoss:
        window, offset, weights = leaves
        return ke.TimeFrequencyLoss(
            ke.Spectrogram(N_FFT, HOP, window=window),
            [ke.ElementwiseLoss("L2"), LastBin()],
            Root(offset),
            weights,
        )

    leaves = (window, jnp.asarray(0.1), jnp.asarray([0.4, 0.7]))
    desired = jax.grad(lambda leaves: make(leaves)(x, y))(leaves)
    actual = jax.grad(lambda leaves: make(leaves).bind(y)(x))(leaves)
    assert_close(actual, desired)
    assert all(map(np.any, desired))
    # Bound beforehand, the target's side is data: only the estimate's side moves.
    bound = make(leaves).bind(y)
    grads = eqx.filter_grad(lambda bound: bound(x))(bound)
    assert any(np.any(g) for g in jax.tree.leaves(grads))


def test_bind_computes_the_target_once():
    x, y = signals(4)
    loss = smooth_in_x()
    bound = loss.bind(y)
    # As a lambda: a module with arrays cannot be hashed, as `jax.jit` wants it.
    ratio = cost(lambda x: bound(x), x)["flops"] / cost(loss, x, y)["flops"]
    assert ratio < 0.6


def test_bind_leaves_bound_parts_their_targets():
    (x, y), (z, _) = signals(2), signals(2, seed=1)
    clean, noisy = mrstft(), ke.WaveformLoss("L2")
    parts = {"clean": clean.bind(y), "noisy": noisy}
    loss = ke.SumLoss(parts, monitor={"sdr": ke.SISDRLoss().bind(y)})
    first, second = jax.value_and_grad(clean)(x, y), jax.value_and_grad(noisy)(x, z)
    expected = jax.tree.map(jnp.add, first, second)
    assert_close(jax.value_and_grad(loss)(x, z), expected, TIGHT)
    bound = loss.bind(z)
    assert_close(jax.value_and_grad(bound)(x), expected, TIGHT)
    sdr = bound.with_terms(x)[1].unweighted["sdr"]
    assert_close(sdr, ke.SISDRLoss()(x, y), TIGHT)
    assert len(bound.targets) == 1
    for again in (clean.bind(y), ke.SumLoss([clean.bind(y)]), bound):
        with pytest.raises(ValueError, match="bound to one already"):
            again.bind(z)


def test_bind_behind_a_map_that_adds_an_axis():
    x, y = signals(3, n=500)
    loss = ke.MappedLoss(ke.PQMF(), ke.WaveformLoss("L2"))
    expected = loss(x, y)
    assert_close(loss.bind(y)(x), expected, TIGHT)
    bound = jax.vmap(loss.bind)(y)
    each = jax.vmap(lambda bound, x: bound(x))(bound, x)
    assert_close(each.mean(), expected, TIGHT)
    with pytest.raises(ValueError, match="mapped by `jax.vmap`"):
        bound(x[0])


def test_bind_refuses_another_shape():
    x, y = signals(2)
    with pytest.raises(ValueError, match="shape"):
        mrstft().bind(y)(x[0])


# --------------------------------------------------------------------- piece sizes


# Gradients are written in blocks of 32 samples: no whole number, whole, and fewer.
@pytest.mark.parametrize(("n", "frame"), [(90, 15), (96, 16), (30, 15)])
@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (5,), (7,), (2, 3)])
def test_piece_size_changes_no_result(shape, n, frame):
    x, y = signals(*shape, n=n)

    def outcome(piece_size: Any) -> Any:
        def evaluate(x: jax.Array, y: jax.Array, weights: jax.Array) -> jax.Array:
            losses = [ke.SpectralConvergenceLoss(), LastBin()]
            loss = ke.TimeFrequencyLoss(
                Frames(frame), losses, weights=weights, piece_size=piece_size
            )
            return loss(x, y)

        return value_and_grads(evaluate, x, y, jnp.asarray([0.4, 3.0]))

    desired = outcome(None)
    for piece_size in (1, 2, 3, "auto"):
        assert_close(outcome(piece_size), desired, TIGHT)


@pytest.mark.parametrize("name", ["mixed", "whole"])
def test_piece_size_changes_no_result_of_any_loss(name):
    x, y = signals(5)
    make, _ = PLAIN[name]
    desired = jax.value_and_grad(make(piece_size=None), (0, 1))(x, y)
    loss = make(piece_size=2)
    assert_close(jax.value_and_grad(loss, (0, 1))(x, y), desired, TIGHT)
    assert_close(
        jax.value_and_grad(loss.bind(y))(x), (desired[0], desired[1][0]), TIGHT
    )


def test_smooth_mrstft_takes_a_piece_size():
    x, y = signals(3, n=80)
    desired = ke.SmoothMRSTFTLoss(piece_size=None)(x, y)
    loss = ke.SmoothMRSTFTLoss(piece_size=2)
    assert_close((loss(x, y), loss.bind(y)(x)), (desired, desired), TIGHT)
    assert list(loss.with_terms(x, y)[1])[:2] == ["67/log", "127/log"]


def temporaries(loss: Any, batch: int, n: int = 2**15) -> int:
    x = jax.ShapeDtypeStruct((batch, n), jnp.float32)
    memory = jax.jit(jax.value_and_grad(loss)).lower(x, x).compile().memory_analysis()
    return memory.temp_size_in_bytes


@pytest.mark.parametrize("n", [2**15, 2**15 + 4])
def test_memory_does_not_grow_with_the_batch(n):
    loss = ke.MRSTFTLoss((128, 256), (512, 1024))
    few, many = temporaries(loss, 8, n), temporaries(loss, 64, n)
    gradient = 4 * n * 64
    assert many - few < gradient / 100
    uncut = ke.MRSTFTLoss((128, 256), (512, 1024), piece_size=None)
    at_once = temporaries(uncut, 64, n)
    assert at_once > 8 * many


# -------------------------------------------------------------------- user's parts


def test_a_part_that_is_not_derived_is_evaluated_whole():
    """However the batch would have been cut: the maximum is over all of it."""
    x, y = signals(5)
    y = y * jnp.arange(1.0, 6.0, dtype=jnp.float32)[:, None]
    desired = value_and_grads(plain_whole, x, y)
    for piece_size in ("auto", 1, 2):
        assert_close(value_and_grads(whole(piece_size=piece_size), x, y), desired)
    rows = jnp.mean(jnp.stack([plain_whole(*pair) for pair in zip(x, y, strict=True)]))
    assert abs(float(rows) / float(desired[0]) - 1) > 0.1


@pytest.mark.parametrize("part", ["transform", "scale", "loss"])
def test_one_plain_part_is_enough_to_evaluate_whole(part):
    seen = []

    def look(value: jax.Array) -> jax.Array:
        seen.append(value.shape[0])
        return value

    transform: Any = Frames(10)
    scale: Any = Root(0.1)
    loss: Any = LastBin()
    if part == "transform":
        transform = lambda x: look(Frames(10)(x))  # noqa: E731
    elif part == "scale":
        scale = lambda S: look(Root(0.1)(S))  # noqa: E731
    else:
        loss = lambda S, T: LastBin()(look(S), T)  # noqa: E731
    x, y = signals(4)
    composite = ke.TimeFrequencyLoss(transform, loss, scale, piece_size=1)
    desired = LastBin()(Root(0.1)(Frames(10)(x)), Root(0.1)(Frames(10)(y)))
    assert_close(composite(x, y), desired)
    assert set(seen) == {4}


def test_a_plain_callable_inside_a_library_class_is_evaluated_whole():
    """A `Chain` promises rows only as far as its scales do."""
    x, y = signals(4)
    y = y * jnp.arange(1.0, 5.0, dtype=jnp.float32)[:, None]
    scale = ke.Chain((ke.Identity(), lambda S: S / jnp.max(S)))
    transform = ke.Spectrogram(N_FFT, HOP)
    loss = ke.TimeFrequencyLoss(transform, ke.ElementwiseLoss(), scale, piece_size=1)
    S, T = (plain_spectrogram(a, N_FFT, HOP, 2.0) for a in (x, y))
    assert_close(loss(x, y), jnp.mean(jnp.abs(S / jnp.max(S) - T / jnp.max(T))))


def test_a_module_that_mixes_rows_inside_a_chain_is_evaluated_whole():
    class Normalise(eqx.Module):
        def __call__(self, S: jax.Array) -> jax.Array:
            return S / jnp.max(S)

    x, y = signals(4)
    y = y * jnp.arange(1.0, 5.0, dtype=jnp.float32)[:, None]
    scale = ke.Chain((ke.Identity(), Normalise()))
    transform = ke.Spectrogram(N_FFT, HOP)
    loss = ke.TimeFrequencyLoss(transform, ke.ElementwiseLoss(), scale, piece_size=1)
    S, T = (plain_spectrogram(a, N_FFT, HOP, 2.0) for a in (x, y))
    assert_close(loss(x, y), jnp.mean(jnp.abs(S / jnp.max(S) - T / jnp.max(T))))


def test_equal_partials_are_compiled_once():
    n_traces = 0

    def scale(S: jax.Array, eps: float) -> jax.Array:
        nonlocal n_traces
        n_traces += 1
        return jnp.log(S + eps)

    @jax.jit
    def step(loss: ke.TimeFrequencyLoss, x: jax.Array, y: jax.Array) -> jax.Array:
        return loss(x, y)

    x, y = signals(2)
    transform = ke.Spectrogram(N_FFT)
    values = []
    for eps in (0.1, 0.1, 0.1):
        part = functools.partial(scale, eps=eps)
        loss = ke.TimeFrequencyLoss(transform, ke.ElementwiseLoss(), part)
        values.append(float(step(loss, x, y)))
    first = n_traces
    assert first == 2  # once for each signal
    assert len(set(values)) == 1
    part = functools.partial(scale, eps=0.2)
    other = step(ke.TimeFrequencyLoss(transform, ke.ElementwiseLoss(), part), x, y)
    assert n_traces == 2 * first and float(other) != values[0]
    # NumPy arrays are configuration, too.
    for _ in range(2):
        part = functools.partial(scale, eps=np.float32(0.3))
        step(ke.TimeFrequencyLoss(transform, ke.ElementwiseLoss(), part), x, y)
    assert n_traces == 3 * first


def test_functions_are_called_at_every_eager_call():
    """Their result may change from call to call."""
    factor = 1.0
    x, y = signals(2)
    loss = ke.TimeFrequencyLoss(
        ke.Spectrogram(N_FFT), lambda S, T: factor * jnp.mean(jnp.abs(S - T))
    )
    one = loss(x, y)
    factor = 2.0
    assert_close(loss(x, y), 2 * one, TIGHT)


def test_equal_losses_are_compiled_once():
    n_traces = 0

    class Counted(ke.AbstractSpectralLoss):
        def values(self, x: ke.Spectra, y: ke.Spectra) -> jax.Array:
            nonlocal n_traces
            n_traces += 1
            return x.holding((x.S - y.S) ** 2).mean()

    x, y = signals(2)
    ke.TimeFrequencyLoss(ke.Spectrogram(N_FFT), Counted())(x, y)
    n_traces_of_one, n_traces = n_traces, 0
    for _ in range(3):
        ke.TimeFrequencyLoss(ke.Spectrogram(N_FFT), Counted())(x, y)
        ke.loss.time_frequency_loss(x, y, ke.Spectrogram(N_FFT), Counted())
    assert n_traces_of_one > 0 and n_traces == 0


@pytest.mark.parametrize("kind", ["functools", "jax", "nested"])
def test_arrays_in_partials_are_parameters(kind):
    def scale(gain: jax.Array, S: jax.Array, power: float = 1.0) -> jax.Array:
        return jnp.log(gain[:, None] * S**power + 1e-2)

    def part(gain: jax.Array) -> Any:
        if kind == "jax":
            return jax.tree_util.Partial(scale, gain)
        if kind == "nested":
            inner = functools.partial(scale, power=1.0)
            return functools.partial(inner, gain)
        return functools.partial(scale, gain, power=1.0)

    x, y = signals(3)
    gain = jnp.linspace(0.5, 2.0, N_FFT // 2 + 1)

    def ours(gain: jax.Array) -> jax.Array:
        transform = ke.Spectrogram(N_FFT, HOP, power=1)
        return ke.TimeFrequencyLoss(transform, ke.ElementwiseLoss("L2"), part(gain))(
            x, y
        )

    def plain(gain: jax.Array) -> jax.Array:
        S, T = (plain_spectrogram(a, N_FFT, HOP) for a in (x, y))
        return jnp.mean((scale(gain, S) - scale(gain, T)) ** 2)

    assert_close(value_and_grads(ours, gain), value_and_grads(plain, gain))
    loss = ke.TimeFrequencyLoss(ke.Spectrogram(N_FFT), ke.ElementwiseLoss(), part(gain))
    leaves = jax.tree.leaves(eqx.filter(loss, eqx.is_array))
    assert [leaf.shape for leaf in leaves] == [gain.shape]


class Learned(ke.AbstractTransform):
    """A learned filter bank, in the rowwise way."""

    conv: eqx.nn.Conv1d

    def apply(self, data: ke.Signals) -> ke.Spectra:
        fn, x = self.conv, data.x
        rows = jax.vmap(lambda row: fn(row[None]).T)(x.reshape(-1, x.shape[-1]))
        return ke.Spectra(jnp.tanh(rows).reshape(*x.shape[:-1], *rows.shape[1:]))


class LearnedScale(eqx.Module):
    """The same kind of thing, outside the bases."""

    linear: eqx.nn.Linear

    def __call__(self, S: jax.Array) -> jax.Array:
        return self.linear.weight @ S + self.linear.bias[:, None]


@pytest.mark.parametrize("is_whole", [False, True])
@pytest.mark.parametrize("piece_size", [2, "auto"])
def test_neural_parts_get_the_gradient_of_their_parameters(is_whole, piece_size):
    keys = jax.random.split(jax.random.key(0))
    conv = Learned(eqx.nn.Conv1d(1, 6, 16, stride=8, key=keys[0]))
    scale: Any = LearnedScale(eqx.nn.Linear(6, 4, key=keys[1]))
    if not is_whole:
        scale = ke.Identity()
    x, y = signals(5)

    def plain(parts: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        conv, scale = parts
        return jnp.mean((scale(conv(x)) - scale(conv(y))) ** 2)

    def ours(parts: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        conv, scale = parts
        loss = ke.ElementwiseLoss("L2")
        return ke.TimeFrequencyLoss(conv, loss, scale, piece_size=piece_size)(x, y)

    parts = (conv, scale)
    # The modules hold functions as leaves, too.
    desired = eqx.filter_value_and_grad(plain)(parts, x, y)
    assert_close(eqx.filter_value_and_grad(ours)(parts, x, y), desired)
    loss = ke.TimeFrequencyLoss(conv, ke.ElementwiseLoss("L2"), scale)
    value, grads = eqx.filter_value_and_grad(lambda loss: loss(x, y))(loss)
    assert_close(value, desired[0])
    assert_close(jax.tree.leaves(grads), jax.tree.leaves(desired[1]))
    assert_close(jax.grad(loss)(x, y), jax.grad(plain, 1)(parts, x, y))


def test_a_network_that_holds_activation_functions():
    """`eqx.nn.MLP` is no pytree of arrays alone: its activation is a leaf."""
    mlp = eqx.nn.MLP(25, 7, 8, 1, key=jax.random.key(0))

    class Net(ke.AbstractScale):
        mlp: eqx.nn.MLP

        def apply(self, data: ke.Spectra) -> ke.Spectra:
            fn = self.mlp
            for _ in data.S.shape[:-1]:
                fn = jax.vmap(fn)
            return data.map(fn)

    x, y = signals(3)
    transform, loss = ke.Spectrogram(N_FFT, HOP, power=1), ke.ElementwiseLoss("L2")

    def plain(net: Any) -> jax.Array:
        S, T = (plain_spectrogram(a, N_FFT, HOP) for a in (x, y))
        return jnp.mean((net(S) - net(T)) ** 2)

    def ours(net: Any) -> jax.Array:
        return ke.TimeFrequencyLoss(transform, loss, net, piece_size=2)(x, y)

    desired = eqx.filter_value_and_grad(plain)(Net(mlp))
    assert_close(eqx.filter_value_and_grad(ours)(Net(mlp)), desired)
    bound = ke.TimeFrequencyLoss(transform, loss, Net(mlp)).bind(y)
    assert_close(bound(x), desired[0])


def test_learnable_leaves_of_mrstft():
    x, y = signals(3)

    def ours(leaves: Any) -> jax.Array:
        w_lin, w_log, eps = leaves
        return mrstft(w_lin=w_lin, w_log=w_log, log_eps=eps, piece_size=2)(x, y)

    def plain(leaves: Any) -> jax.Array:
        return plain_mrstft(x, y, *leaves)

    leaves = (jnp.asarray(0.7), jnp.asarray(0.4), jnp.asarray(0.05))
    assert_close(value_and_grads(ours, leaves), value_and_grads(plain, leaves))


def test_annealing_a_weight_does_not_compile_again():
    x, y = signals(2)
    n_traces = 0

    @jax.jit
    def evaluate(loss: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        nonlocal n_traces
        n_traces += 1
        return loss(x, y)

    values = [evaluate(mrstft(w_lin=jnp.asarray(w)), x, y) for w in (0.0, 0.5, 1.0)]
    assert n_traces == 1
    desired = [plain_mrstft(x, y, w_lin=w) for w in (0.0, 0.5, 1.0)]
    assert_close(jnp.stack(values), jnp.stack(desired))


# ---------------------------------------------------------------------- data types


@most
def test_mixed_precision_is_computed_in_the_higher_one(name):
    make, plain = PLAIN[name]
    # Strict promotion, in force in these tests, is there to refuse what is tested.
    with jax.enable_x64(True), promotion.usual_promotion():
        x, y = signals(2, dtype=np.float64)
        low = x.astype(jnp.float32)
        desired = value_and_grads(plain, low.astype(jnp.float64), y)
        value, (gx, gy) = value_and_grads(make(), low, y)
        assert (value.dtype, gx.dtype, gy.dtype) == (y.dtype, low.dtype, y.dtype)
        assert_close(value, desired[0], 1e-9)
        assert_close(gy, desired[1][1], 1e-9)
        assert_close(gx, desired[1][0].astype(jnp.float32), TIGHT)
        value, (gy, gx) = value_and_grads(make(), y, low)
        assert (value.dtype, gx.dtype, gy.dtype) == (y.dtype, low.dtype, y.dtype)
        assert_close(
            jax.grad(make().bind(y))(low), desired[1][0].astype(low.dtype), TIGHT
        )
        # A float32 target does not take precision from a float64 estimate.
        bound = make().bind(low)
        assert bound(y).dtype == jnp.float64
        assert_close(bound(y), plain(y, low.astype(jnp.float64)), 1e-6)


# ----------------------------------------------------- all of JAX's transformations

# Where second derivatives are not zero or undefined almost everywhere.
twice = pytest.mark.parametrize("name", ["mrstft L2", "mixed", "lambdas"])


def pairs(name: str) -> Any:
    make, plain = PLAIN[name]
    options = {} if name == "lambdas" else {"piece_size": 2}
    return jax.jit(make(**options)), jax.jit(plain)


@most
def test_jvp_and_linearize(name):
    ours, plain = pairs(name)
    with jax.enable_x64(True):
        x, y = signals(3, dtype=np.float64)
        tangents = signals(3, seed=1, dtype=np.float64)
        desired = jax.jvp(plain, (x, y), tangents)
        assert_close(jax.jvp(ours, (x, y), tangents), desired, 1e-9)
        value, linear = jax.linearize(ours, x, y)
        assert_close((value, linear(*tangents)), desired, 1e-9)
        # Only one of them has a tangent.
        one = jax.jvp(lambda y: plain(x, y), (y,), tangents[:1])
        assert_close(jax.jvp(lambda y: ours(x, y), (y,), tangents[:1]), one, 1e-9)


@most
def test_vmap_of_grad_and_grad_of_vmap(name):
    ours, plain = pairs(name)
    with jax.enable_x64(True):
        x, y = signals(3, 2, dtype=np.float64)
        desired = jax.jit(jax.vmap(jax.value_and_grad(plain, (0, 1))))(x, y)
        actual = jax.jit(jax.vmap(jax.value_and_grad(ours, (0, 1))))(x, y)
        assert_close(actual, desired, 1e-9)
        weights = jnp.arange(1.0, 4.0)

        def total(fn: Any, x: jax.Array, y: jax.Array) -> jax.Array:
            return jnp.sum(weights * jax.vmap(fn)(x, y))

        actual = value_and_grads(functools.partial(total, ours), x, y)
        desired = value_and_grads(functools.partial(total, plain), x, y)
        assert_close(actual, desired, 1e-9)
        # One target for all, mapped along another axis.
        actual = jax.vmap(jax.grad(ours, (0, 1)), (1, None))(x, y[:, 0])
        desired = jax.vmap(jax.grad(plain, (0, 1)), (1, None))(x, y[:, 0])
        assert_close(actual, desired, 1e-9)


@twice
def test_second_derivatives(name):
    """Hessian-vector products in all orders of modes, and grad of grad."""
    ours, plain = pairs(name)
    with jax.enable_x64(True):
        x, y = signals(3, n=120, dtype=np.float64)
        v, w = signals(3, n=120, seed=2, dtype=np.float64)

        def products(fn: Any) -> Any:
            def forward_over_reverse(x: jax.Array, y: jax.Array) -> Any:
                return jax.jvp(jax.grad(fn, (0, 1)), (x, y), (v, w))[1]

            def reverse_over_reverse(x: jax.Array, y: jax.Array) -> Any:
                def inner(x: jax.Array, y: jax.Array) -> jax.Array:
                    gx, gy = jax.grad(fn, (0, 1))(x, y)
                    return jnp.vdot(gx, v) + jnp.vdot(gy, w)

                return jax.grad(inner, (0, 1))(x, y)

            def reverse_over_forward(x: jax.Array, y: jax.Array) -> Any:
                def inner(x: jax.Array, y: jax.Array) -> jax.Array:
                    return jax.jvp(fn, (x, y), (v, w))[1]

                return jax.grad(inner, (0, 1))(x, y)

            def all_of_them(x: jax.Array, y: jax.Array) -> Any:
                return (
                    forward_over_reverse(x, y),
                    reverse_over_reverse(x, y),
                    reverse_over_forward(x, y),
                )

            return jax.jit(all_of_them)(x, y)

        actual, desired = products(ours), products(plain)
        assert_close(actual, desired, 1e-9)
        assert_close(desired[0], desired[1], 1e-9)


def test_third_derivative():
    ours, plain = pairs("mrstft L2")
    with jax.enable_x64(True):
        x, y = signals(2, n=100, dtype=np.float64)

        def third(fn: Any) -> jax.Array:
            direction = signals(2, n=100, seed=3, dtype=np.float64)[0]

            def along(t: jax.Array) -> jax.Array:
                return fn(x + t * direction, y)

            return jax.jit(jax.grad(jax.grad(jax.grad(along))))(jnp.zeros(()))

        assert_close(third(ours), third(plain), 1e-9)


def test_jacfwd_and_hessian_of_a_small_input():
    ours, plain = pairs("mrstft L2")
    with jax.enable_x64(True):
        x, y = signals(3, n=100, dtype=np.float64)
        basis = jnp.asarray(np.random.default_rng(4).standard_normal((4, 100)))

        def through(fn: Any) -> Any:
            def model(c: jax.Array) -> jax.Array:
                return fn(x + c @ basis, y)

            return jax.jit(lambda c: (jax.jacfwd(model)(c), jax.hessian(model)(c)))

        c = jnp.asarray([0.1, -0.2, 0.3, 0.05])
        assert_close(through(ours)(c), through(plain)(c), 1e-9)


def test_checkpoint_and_scan():
    ours, plain = pairs("mixed")
    with jax.enable_x64(True):
        x, y = signals(3, 2, dtype=np.float64)

        def over(fn: Any) -> Any:
            def descend(x: jax.Array, y: jax.Array) -> jax.Array:
                def step(x: jax.Array, y: jax.Array) -> Any:
                    value, grad = jax.value_and_grad(jax.checkpoint(fn))(x, y)
                    return x - 0.1 * grad, value

                _, values = jax.lax.scan(step, x[0], y)
                return jnp.sum(values)

            return value_and_grads(descend, x, y)

        # Differentiated through three steps of gradient descent.
        assert_close(over(ours), over(plain), 1e-9)


@pytest.mark.parametrize("transform", [Frames(15), ke.Spectrogram(16)])
def test_no_tracer_leaks(transform):
    # Checking leaks switches JAX's caches off, so the loss is a small one.
    loss = ke.TimeFrequencyLoss(transform, LastBin())
    x, y = signals(2)

    def both(x: jax.Array, y: jax.Array) -> jax.Array:
        return loss(x, y) + loss.bind(y)(x)

    with jax.checking_leaks():
        value, _ = jax.jit(jax.value_and_grad(both))(x, y)
    assert_close(value, 2 * loss(x, y))


@pytest.mark.parametrize("power", [1, None])
def test_signals_of_different_precision(power):
    with jax.enable_x64(True):
        single, double = signals(2)[0], signals(2, seed=1, dtype=np.float64)[1]
        loss = ke.TimeFrequencyLoss(
            ke.Spectrogram(N_FFT, HOP, power=power), ke.ElementwiseLoss()
        )
        for x, y in [(single, double), (double, single)]:
            expected = loss(x.astype(jnp.float64), y.astype(jnp.float64))
            for value in (loss(x, y), loss.with_terms(x, y)[0]):
                assert value.dtype == jnp.float64
                assert_close(value, expected, 1e-12)
            assert_close(loss.bind(y)(x), expected, TIGHT)
            assert jax.grad(loss)(x, y).dtype == x.dtype


@pytest.mark.parametrize("w_lin", [0.0, 1.0])
def test_mrstft_with_spectral_convergence(w_lin):
    x, y = signals(3)

    def expected(x: jax.Array) -> jax.Array:
        total = plain_mrstft(x, y, w_lin=w_lin, w_log=0.5)
        for hop, win in zip(HOPS, WINS, strict=True):
            S, T = plain_spectrogram(x, win, hop), plain_spectrogram(y, win, hop)
            error = jnp.sqrt(jnp.sum((S - T) ** 2, (-2, -1)))
            ratio = error / jnp.sqrt(jnp.sum(T**2, (-2, -1)))
            total += 0.25 * jnp.mean(ratio) / len(HOPS)
        return total

    loss = mrstft(w_lin=w_lin, w_log=0.5, w_sc=0.25)
    value, gradient = jax.value_and_grad(loss)(x, y)
    right, slope = jax.value_and_grad(expected)(x)
    assert_close(value, right, TIGHT)
    assert_close(gradient, slope, 1e-5)
    total, terms = loss.with_terms(x, y)
    assert [name.split("/")[1] for name in terms].count("sc") == len(HOPS)
    assert_close(sum(terms.values()), total, TIGHT)
    weight = jnp.asarray(0.25)
    slope = jax.grad(lambda w: mrstft(w_lin=w_lin, w_log=0.5, w_sc=w)(x, y))(weight)
    without = mrstft(w_lin=w_lin, w_log=0.5)(x, y)
    assert_close(slope, (value - without) / 0.25, 1e-5)


def test_lengths_beyond_the_array_end_with_it_where_they_are_not_known():
    """Under `jax.jit`, where nothing can be refused."""
    loss = ke.SumLoss({"stft": ke.MRSTFTLoss((64,), (256,)), "wave": ke.WaveformLoss()})
    x, y = jax.random.normal(jax.random.key(0), (2, 3, 2000))
    call = jax.jit(lambda n: loss(x, y, lengths=n))
    beyond, within = jnp.array([3000, 2000, -5]), jnp.array([2000, 2000, 0])
    np.testing.assert_array_equal(call(beyond), call(within))
    with pytest.raises(ValueError, match="lengths"):
        loss(x, y, lengths=beyond)


@pytest.mark.parametrize("is_wide", [False, True])
def test_lengths_of_any_integers_are_limited_before_they_are_converted(is_wide):
    with jax.enable_x64(is_wide):
        x, y = jax.random.normal(jax.random.key(0), (2, 2, 300), jnp.float32)
        loss = ke.WaveformLoss()
        call = jax.jit(lambda n: loss(x, y, lengths=n))
        expected = call(jnp.array([300, 0]))
        for dtype in ("uint32", "int32", *(["uint64", "int64"] if is_wide else [])):
            most = jnp.iinfo(dtype).max
            values = [most, 0] if dtype[0] == "u" else [most, -most]
            np.testing.assert_array_equal(call(jnp.array(values, dtype)), expected)
        with pytest.raises(ValueError, match="lengths"):
            loss(x, y, lengths=np.array([2**32 + 300, 0]))
        for dtype in ("uint8", "int8", "int16"):
            n = jnp.array([100, 50], dtype)
            right = loss(x, y, lengths=jnp.array([100, 50]))
            np.testing.assert_array_equal(call(n), right)
            np.testing.assert_array_equal(loss(x, y, lengths=n), right)


def test_weights_that_are_arrays_multiply_along_nested_sums():
    part = ke.WaveformLoss()
    inner = ke.SumLoss({"wave": part}, jnp.asarray([2.0]))
    outer = ke.SumLoss({"inner": inner}, jnp.asarray([3.0]))
    x, y = jax.random.normal(jax.random.key(0), (2, 3, 500))
    value, grads = jax.value_and_grad(lambda loss: loss(x, y))(outer)
    alone = part(x, y)
    np.testing.assert_allclose(value, 6 * alone, rtol=1e-6)
    np.testing.assert_allclose(grads.weights, 2 * alone[None], rtol=1e-6)
    slope = grads.losses["inner"].weights
    np.testing.assert_allclose(slope, 3 * alone[None], rtol=1e-6)


# ----------------------------------------------------------- equal names, no terms


class Twice(ke.AbstractLoss):
    """A user's loss whose terms have one name."""

    one: ke.AbstractLoss
    other: ke.AbstractLoss

    def terms(self, *, key: Any = None) -> Any:
        return self.one.terms(key=key) + self.other.terms(key=key)


def test_terms_of_equal_names_are_numbered():
    x, y = signals(2)
    twice = Twice(ke.WaveformLoss(), ke.WaveformLoss("L2"))
    key = jax.random.key(0)
    losses = {
        ("waveform#1", "waveform#2"): twice,
        ("a/waveform#1", "a/waveform#2", "b"): ke.SumLoss(
            {"a": twice, "b": ke.WaveformLoss()}
        ),
        ("twice/waveform#1", "twice/waveform#2", "esr"): ke.RandomSubsetLoss(
            [twice, ke.ESRLoss()], 2
        ),
    }
    for names, loss in losses.items():
        total, terms = loss.with_terms(x, y, key=key)
        assert tuple(terms) == names
        assert_close(sum(terms.values()), total)
        bound = loss.bind(y, key=key)
        assert tuple(bound.with_terms(x, key=key)[1]) == names

        def of_terms(x: jax.Array) -> Any:
            return sum(loss.with_terms(x, y, key=key)[1].values())  # noqa: B023

        slope = jax.grad(lambda x: loss(x, y, key=key))(x)  # noqa: B023
        assert_close(jax.grad(of_terms)(x), slope)


def test_a_name_that_looks_numbered_is_kept():
    def function(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.mean((x - y) ** 4)

    function.__name__ = "waveform#1"
    x, y = signals(2)
    loss = ke.SumLoss([ke.WaveformLoss(), ke.WaveformLoss("L2"), function])
    total, terms = loss.with_terms(x, y)
    assert list(terms) == ["waveform#2", "waveform#3", "waveform#1"]
    assert_close(sum(terms.values()), total)
    assert_close(terms["waveform#1"], function(x, y))


NOTHING = ke.SumLoss([ke.WaveformLoss()], [0.0])


@pytest.mark.parametrize(
    "loss",
    [
        NOTHING,
        ke.RandomSubsetLoss([NOTHING]),
        ke.MappedLoss(ke.PreEmphasis(), NOTHING),
        ke.SumLoss([NOTHING, ke.RandomSubsetLoss([NOTHING])]),
        ke.TimeFrequencyLoss(ke.Spectrogram(N_FFT), ke.ElementwiseLoss(), weights=[0]),
        ke.MRSTFTLoss((HOP,), (N_FFT,), w_lin=0, w_log=0),
    ],
    ids=["sum", "subset", "mapped", "both", "spectral", "mrstft"],
)
def test_a_loss_without_a_term_is_zero(loss):
    x, y = signals(2)
    keywords: Any = {"key": jax.random.key(0)}
    lengths = jnp.asarray([x.shape[-1], x.shape[-1] // 2])
    values = [
        loss(x, y, **keywords),
        loss(x, y, lengths=lengths, **keywords),
        loss.bind(y, **keywords)(x, **keywords),
        *jax.vmap(lambda x, y: loss(x, y, **keywords))(x, y),
        *loss.with_terms(x, y, **keywords)[1].values(),
        jnp.max(jnp.abs(jax.grad(lambda x: loss(x, y, **keywords))(x))),
    ]
    assert not np.any(values)


@pytest.mark.parametrize("options", [{}, {"power": 2.0}, {"power": 0.5, "floor": 0.1}])
def test_magnitudes_of_a_transform_are_its_spectrogram(options):
    x, y = signals(3)
    complex_ = ke.STFT(N_FFT, HOP)
    power = {"power": 1.0, **options}
    S = ke.Spectrogram(N_FFT, HOP, **power)
    scaled = ke.Magnitude(**options)
    # The same formula in two programs; XLA may fuse products and sums.
    np.testing.assert_array_max_ulp(scaled(complex_(x)), S(x), maxulp=2)
    assert S.path[1] == scaled
    ours = ke.TimeFrequencyLoss(complex_, ke.ElementwiseLoss("L2"), scaled)
    theirs = ke.TimeFrequencyLoss(S, ke.ElementwiseLoss("L2"))
    assert_close(value_and_grads(ours, x, y), value_and_grads(theirs, x, y), TIGHT)


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"power": 0.0}, "power"),
        ({"floor": -1.0}, "floor"),
        ({"floor_mode": "no"}, "floor_mode"),
    ],
)
def test_magnitude_refuses(options, argument):
    with pytest.raises(ValueError, match=rf"`Magnitude\({argument}="):
        ke.Magnitude(**options)


def test_transforms_share_a_turn_on_cpu_while_their_spectra_are_small():
    """More turns take less memory, but XLA then works on one core at a time."""
    x = jax.ShapeDtypeStruct((2, 44100), jnp.float32)

    def turns(loss: Any) -> int:
        return jax.jit(jax.value_and_grad(loss)).lower(x, x).as_text().count(".case")

    assert turns(ke.MRSTFTLoss()) == 0
    assert turns(ke.MRSTFTLoss() + ke.WaveformLoss()) == 0
    # In pieces of one signal: 1.4 million values for each of three transforms.
    dense = [
        ke.TimeFrequencyLoss(ke.Spectrogram(n, n // 16), ke.ElementwiseLoss())
        for n in (512, 1024, 2048)
    ]
    assert turns(ke.SumLoss(dense[:2])) == 0
    assert turns(ke.SumLoss(dense)) == 2
