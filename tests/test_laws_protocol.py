"""Laws of the protocol of losses, tested for every loss on signals.

What a padded batch is worth, what `bind`, `with_terms` and `parts` return, what
`jax.vmap` of a loss does, how objects are written, replaced and compiled.
"""

import dataclasses
import functools
import gc
import os

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import (
    ALL,
    BATCHES,
    COMPOSITES,
    LEVELS,
    N_SAMPLES,
    SIZES,
    arguments,
    signals,
)

import korvax_eqx as ke
from korvax_eqx import _repr
from korvax_eqx._engine._plan import active

# All but one, which takes minutes to compile and differs in its sizes alone.
MEANS = [c for c in [*COMPOSITES, *LEVELS] if c.name != "SmoothMRSTFTLoss"]
LOSSES = [*MEANS, *BATCHES]
means = pytest.mark.parametrize("case", MEANS, ids=repr)
losses = pytest.mark.parametrize("case", LOSSES, ids=repr)

# One of each way in which losses are evaluated: what differs in its formula alone is
# left out where the formula does not matter.
DIFFERENT = [
    case
    for case in LOSSES
    if case in BATCHES
    or case.name
    in {
        "MRSTFTLoss",
        "MultiResolutionLoss",
        "MappedLoss-ChannelMix",
        "MappedLoss-KWeightingFilter",
        "MappedLoss-MidSide",
        "PermutationInvariantLoss",
        "PermutationInvariantLoss-SISDR",
        "PitchTransportLoss",
        "RandomSubsetLoss",
        "SISDRLoss",
        "SmoothMRSTFTLoss-two",
        "SumLoss",
        "SumLoss-draws",
        "SumLoss-nested",
        "SumLoss-weights",
        "TimeFrequencyLoss",
        "TimeFrequencyLoss-MFCC",
        "TimeFrequencyLoss-PhaseLoss",
        "TimeFrequencyLoss-VQT",
        "WaveformLoss",
    }
]
different = pytest.mark.parametrize("case", DIFFERENT, ids=repr)
SEVERAL = [case for case in DIFFERENT if len(case.make().terms(**case.keywords)) > 1]


def close(a, b, rtol):
    """Compare by the largest entry: gradients are large and small by place."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape and a.dtype == b.dtype
    assert np.all(np.isfinite(b))
    np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.max(np.abs(b), initial=0))


def in_pieces(node, size):
    """The same configuration, evaluated in pieces of `size` signals."""
    if isinstance(node, eqx.Module):
        names = [f.name for f in dataclasses.fields(node) if f.init]
        fields = {name: in_pieces(getattr(node, name), size) for name in names}
        if "piece_size" in fields:
            fields["piece_size"] = size
        return dataclasses.replace(node, **fields)
    if isinstance(node, dict):
        return {name: in_pieces(value, size) for name, value in node.items()}
    if type(node) is tuple:
        return tuple(in_pieces(value, size) for value in node)
    return node


def temporary_memory(fn, *args):
    analysis = jax.jit(fn).lower(*args).compile().memory_analysis()
    assert analysis is not None
    return analysis.temp_size_in_bytes


# ----------------------------------------------------------------------- padded batches

SHORT = 1033
LENGTHS = (N_SAMPLES, SHORT, 0, SHORT, N_SAMPLES)


def padded(case, dtype, filling):
    """A batch, zero or filled beyond the lengths, and where it is filled."""
    x, y = case.signals(len(LENGTHS), dtype=dtype)
    is_padding = np.arange(N_SAMPLES) >= np.asarray(LENGTHS)[:, None]
    if case.n_channels is not None:
        is_padding = np.repeat(is_padding[:, None], case.n_channels, 1)
    noise = 100 * np.random.default_rng(0).standard_normal(x.shape)
    other = {"noise": noise, "nan": np.nan, "inf": -np.inf}[filling]
    return *(jnp.where(is_padding, other, s).astype(dtype) for s in (x, y)), is_padding


def lengths_of(case, lengths=LENGTHS):
    """The lengths in the shape of the leading axes, or broadcasting to it."""
    array = jnp.asarray(lengths)
    return array if case.n_channels is None else array[:, None]


def unpadded_mean(loss, x, y, lengths=LENGTHS):
    """Values and gradients of signals cut to their lengths; their means over signals.

    Signals of one length are one batch: a loss is a mean over signals.
    """
    both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    count = sum(n > 0 for n in lengths)
    value, gx, gy = 0.0, np.zeros(x.shape, x.dtype), np.zeros(x.shape, x.dtype)
    for n in {n for n in lengths if n > 0}:
        rows = [i for i, own in enumerate(lengths) if own == n]
        part, (px, py) = both(
            x[np.asarray(rows), ..., :n], y[np.asarray(rows), ..., :n]
        )
        value += part * len(rows) / count
        gx[rows, ..., :n] = np.asarray(px) * len(rows) / count
        gy[rows, ..., :n] = np.asarray(py) * len(rows) / count
    return value, gx, gy


def check_padded(case, dtype, value_rtol, rtol, size):
    """Of the loss in pieces, and of what it binds if that is evaluated otherwise."""
    loss = in_pieces(case.make(), size)
    count = 0

    @jax.jit
    def values(x, y, lengths):
        nonlocal count
        count += 1

        def of_pair(x, y):
            return loss(x, y, lengths=lengths, **case.keywords)

        def of_bound(x):
            bound = loss.bind(y, lengths=lengths, **case.keywords)
            return bound(x, **case.keywords)

        pair = jax.value_and_grad(of_pair, argnums=(0, 1))(x, y)
        return pair, jax.value_and_grad(of_bound)(x) if case in DIFFERENT else None

    x, y, is_padding = padded(case, dtype, "noise")
    expected, gx, gy = unpadded_mean(case.callable(), x, y)
    for filling in ("noise", "nan", "inf"):
        x, y, _ = padded(case, dtype, filling)
        (value, grads), bound = values(x, y, lengths_of(case))
        results = [(value, expected), (grads[0], gx), (grads[1], gy)]
        if bound is not None:
            results += [(bound[0], expected), (bound[1], gx)]
        for got, wanted in results:
            assert got.ndim == 0 or not np.any(np.asarray(got)[is_padding])
            close(got, wanted, rtol if got.ndim else value_rtol)
    # Other lengths: the same signals in another order, and one more left out.
    order = np.asarray([4, 2, 3, 1, 0])
    lengths = np.asarray(LENGTHS)[order]
    (value, grads), _ = values(x[order], y[order], lengths_of(case, lengths))
    close(value, expected, value_rtol)
    close(grads[0], gx[order], rtol)
    assert count == 1


@means
def test_padded_batch_is_the_mean_of_its_signals(case):
    """In double precision, in pieces of 2, 2 and 1 signals."""
    with jax.enable_x64(True):
        check_padded(case, jnp.float64, 1e-12, 1e-9, 2)


@pytest.mark.parametrize("case", [c for c in DIFFERENT if c in MEANS], ids=repr)
def test_padded_batch_in_single_precision(case):
    check_padded(case, jnp.float32, 1e-5, 1e-5, None)


@pytest.mark.parametrize("case", [c for c in DIFFERENT if c in MEANS], ids=repr)
def test_padded_signals_one_by_one(case):
    """Under `jax.vmap` each has the value of the signal itself, 0 if it is empty."""
    with jax.enable_x64(True):
        x, y, _ = padded(case, jnp.float64, "nan")
        keywords, loss = case.keywords, case.make()
        each = jax.vmap(lambda x, y, n: loss(x, y, lengths=n, **keywords))
        values = np.asarray(jax.jit(each)(x, y, lengths_of(case)))
        assert values[2] == 0
        for lengths in (LENGTHS, LENGTHS[::-1]):
            # Means of the first signals of each length alone.
            first = [lengths.index(N_SAMPLES), lengths.index(SHORT)]
            cut = [n if i in first else 0 for i, n in enumerate(lengths)]
            flip = slice(None) if lengths is LENGTHS else slice(None, None, -1)
            value = loss(x[flip], y[flip], lengths=lengths_of(case, cut), **keywords)
            close(np.mean(values[flip][first]), np.asarray(value), 1e-9)


# ------------------------------------------------------------------- bind, terms, parts


@losses
def test_bound_loss_is_the_loss(case):
    with jax.enable_x64(True):
        x, y = case.signals(3, dtype=jnp.float64)
        value, gradient = jax.value_and_grad(case.callable())(x, y)
        bound = case.make().bind(y, **case.keywords)
        of_x = functools.partial(bound, **case.keywords)
        got, bound_gradient = jax.value_and_grad(of_x)(x)
        close(got, value, 1e-12)
        close(bound_gradient, gradient, 1e-9)
        if case not in DIFFERENT:
            return
        total, terms = bound.with_terms(x, **case.keywords)
        close(total, value, 1e-12)
        expected = case.make().with_terms(x, y, **case.keywords)[1]
        assert list(terms) == list(expected)
        for name, term in terms.items():
            np.testing.assert_allclose(term, expected[name], rtol=1e-12)


@different
def test_terms_and_parts_add_up_and_have_names(case):
    with jax.enable_x64(True):
        x, y = case.signals(3, dtype=jnp.float64)
        loss, keywords = case.make(), case.keywords
        value = case.callable()(x, y)
        total, terms = loss.with_terms(x, y, **keywords)
        assert type(terms) is ke.Terms
        terms_in_use = active(loss.terms(**keywords))
        names = [one.name for term in terms_in_use for one in term.logged]
        assert len(set(names)) == len(names) and list(terms) == names
        assert all(name and term.shape == () for name, term in terms.items())
        close(total, value, 1e-12)
        close(sum(terms.values()), value, 1e-12)
        parts = loss.parts(x, y, **keywords)
        part_of = {n: n.split("/")[0] if has_parts(loss) else n for n in names}
        assert list(parts) == list(dict.fromkeys(part_of.values()))
        close(sum(parts.values()), value, 1e-12)
        for part, sum_of_terms in parts.items():
            own = [term for name, term in terms.items() if part_of[name] == part]
            np.testing.assert_allclose(sum_of_terms, sum(own), rtol=1e-12)


def has_parts(loss):
    """Whether a loss has parts or resolutions, after which its terms are called."""
    if isinstance(loss, ke.MappedLoss | ke.PermutationInvariantLoss):
        return has_parts(loss.loss)
    sums = ke.SumLoss, ke.RandomSubsetLoss
    kinds = (*sums, ke.MultiResolutionLoss, ke.MRSTFTLoss, ke.SmoothMRSTFTLoss)
    return isinstance(loss, kinds)


def test_parts_of_one_transform_are_its_terms():
    """Their names have slashes too, which separate a scale from a loss."""
    x, y = signals(2)
    kinds = [ke.ElementwiseLoss(), ke.SpectralConvergenceLoss(), ke.ElementwiseLoss()]
    scales = [ke.Log(), ke.Log(), ke.Identity()]
    one = ke.TimeFrequencyLoss(ke.Spectrogram(**SIZES), kinds, scales)
    names = ["log/elementwise", "log/spectral_convergence", "elementwise"]
    mapped = ke.MappedLoss(ke.PreEmphasis(), one)
    for loss in (one, mapped):
        for parts in (loss.parts(x, y), loss.bind(y).parts(x)):
            assert list(parts) == names == list(loss.with_terms(x, y)[1])
    for loss in (ke.SumLoss({"a": one}), ke.SumLoss({"a": mapped, "b": one}, [1, 0])):
        parts = loss.parts(x, y)
        assert list(parts) == ["a"]
        close(parts["a"], loss(x, y), 1e-6)


@different
def test_parts_of_a_bound_loss_are_those_of_the_loss(case):
    x, y = case.signals(2)
    loss, keywords = case.make(), case.keywords

    def combined(parts):
        return sum((i + 2) * part for i, part in enumerate(parts.values()))

    bound = loss.bind(y, **keywords)
    got = jax.value_and_grad(lambda x: combined(bound.parts(x, **keywords)))(x)
    expected = jax.value_and_grad(lambda x: combined(loss.parts(x, y, **keywords)))(x)
    close(got[0], expected[0], 1e-5)
    close(got[1], expected[1], 2e-4)


@pytest.mark.parametrize("case", SEVERAL, ids=repr)
def test_terms_and_parts_are_differentiable(case):
    """Each term has its own gradient: that of central differences; they add up."""
    with jax.enable_x64(True):
        x, y = case.signals(2, dtype=jnp.float64)
        t = jax.random.normal(jax.random.key(7), x.shape, x.dtype)
        loss, keywords = case.make(), case.keywords
        names = list(loss.with_terms(x, y, **keywords)[1])

        @jax.jit
        def terms(x):
            return jnp.stack([loss.with_terms(x, y, **keywords)[1][n] for n in names])

        @jax.jit
        def gradients(x):
            each = jax.jacrev(terms)(x)
            forward = jax.jvp(terms, (x,), (t,))[1]
            total = jax.grad(lambda x: loss(x, y, **keywords))(x)

            def combined(x):
                parts = loss.parts(x, y, **keywords)
                return sum((i + 2) * part for i, part in enumerate(parts.values()))

            return each, forward, total, jax.grad(combined)(x)

        each, forward, total, combined = gradients(x)
        slopes = np.sum(
            np.asarray(each) * np.asarray(t), axis=tuple(range(1, 1 + x.ndim))
        )
        central = [
            (terms(x + h * t) - terms(x - h * t)) / (2 * h) for h in (2e-7, 1e-7)
        ]
        scale = np.max(np.abs(slopes))
        np.testing.assert_allclose(
            slopes, (4 * central[1] - central[0]) / 3, rtol=2e-5, atol=1e-7 * scale
        )
        np.testing.assert_allclose(forward, slopes, rtol=1e-9, atol=1e-12 * scale)
        close(jnp.sum(each, axis=0), total, 1e-9)
        order = list(dict.fromkeys(name.split("/")[0] for name in names))
        weights = [order.index(name.split("/")[0]) + 2.0 for name in names]
        close(combined, jnp.tensordot(jnp.asarray(weights), each, 1), 1e-9)


@pytest.mark.parametrize("case", SEVERAL, ids=repr)
def test_terms_for_a_log_cost_no_memory(case):
    """Taken along with the gradient, they are a by-product."""
    x, y = (jnp.tile(s, 8) for s in case.signals(8))
    loss, keywords = in_pieces(case.make(), 2), case.keywords
    plain = jax.value_and_grad(functools.partial(loss, **keywords))
    logging = jax.value_and_grad(
        functools.partial(loss.with_terms, **keywords), has_aux=True
    )
    value, gradient = jax.jit(plain)(x, y)
    (total, terms), with_terms = jax.jit(logging)(x, y)
    close(total, value, 1e-6)
    close(with_terms, gradient, 1e-6)
    assert set(terms) == set(loss.with_terms(x, y, **keywords)[1])
    # Some bytes for the terms themselves. (For short signals, XLA packs less well.)
    alone = temporary_memory(plain, x, y)
    assert temporary_memory(logging, x, y) <= alone + 256 * len(terms)


@different
def test_nothing_is_kept_of_a_trace(case):
    x, y = case.signals(2)
    gc.collect()
    gc.freeze()  # JAX collects garbage for every function that it traces
    try:
        with jax.checking_leaks():
            jax.eval_shape(jax.grad(case.callable()), x, y)
    finally:
        gc.unfreeze()


# ----------------------------------------------------------------------------- jax.vmap


@different
def test_vmap_is_a_loop(case):
    """Values, over both arguments and over one; gradients of a weighted sum."""
    with jax.enable_x64(True):
        x, y = case.signals(3, dtype=jnp.float64)
        loss = case.callable()
        weights = jnp.asarray([0.5, -2.0, 3.0])

        @jax.jit
        def loop(x, y):
            return jax.value_and_grad(loss, argnums=(0, 1))(x, y)

        @jax.jit
        def mapped(x, y):
            def total(x, y):
                values = jax.vmap(loss)(x, y)
                return jnp.sum(weights * values), values

            def to_one(x, y):
                values = jax.vmap(loss, (0, None))(x, y)
                return jnp.sum(weights * values), values

            gradient = functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
            return gradient(total)(x, y), gradient(to_one)(x, y[0])

        ((gx, gy), values), ((one_gx, one_gy), to_one) = mapped(x, y)
        pairs = [loop(x[i], y[i]) for i in range(3)]
        close(values, jnp.stack([value for value, _ in pairs]), 1e-12)
        close(
            gx,
            jnp.stack([w * g for w, (_, (g, _)) in zip(weights, pairs, strict=True)]),
            1e-9,
        )
        close(
            gy,
            jnp.stack([w * g for w, (_, (_, g)) in zip(weights, pairs, strict=True)]),
            1e-9,
        )
        pairs = [loop(x[i], y[0]) for i in range(3)]
        close(to_one, jnp.stack([value for value, _ in pairs]), 1e-12)
        expected = [w * g for w, (_, (g, _)) in zip(weights, pairs, strict=True)]
        close(one_gx, jnp.stack(expected), 1e-9)
        close(
            one_gy,
            sum(w * g for w, (_, (_, g)) in zip(weights, pairs, strict=True)),
            1e-9,
        )


@losses
def test_vmap_over_no_examples(case):
    """What JAX makes of an empty batch, of the value, the gradient and bound ones."""
    x, _ = case.signals(0)
    loss, keywords = case.callable(), case.keywords

    def bound(x):
        return case.make().bind(x, **keywords)(x, **keywords)

    assert jax.eval_shape(jax.vmap(loss), x, x).shape == (0,)
    assert jax.eval_shape(jax.vmap(jax.grad(loss)), x, x).shape == x.shape
    assert jax.eval_shape(jax.vmap(bound), x).shape == (0,)


@different
def test_vmap_nests(case):
    """Also with axes elsewhere than in front, of values and of gradients."""
    with jax.enable_x64(True):
        x, y = case.signals(2, 3, dtype=jnp.float64)
        loss = case.callable()
        over_inner = jax.vmap(loss, (0, 0))
        over_all_pairs = jax.vmap(jax.vmap(loss, (0, None)), (None, 0))
        got = jax.jit(jax.vmap(over_inner, (1, 1)))(x, y)
        flat = jax.jit(jax.vmap(jax.value_and_grad(loss)))
        last = x.shape[1:]
        values, gradients = flat(x.reshape(-1, *last[1:]), y.reshape(-1, *last[1:]))
        close(got, values.reshape(2, 3).T, 1e-12)
        close(
            values,
            jnp.stack([loss(x[i, j], y[i, j]) for i in range(2) for j in range(3)]),
            1e-12,
        )

        def total(x, y):
            return jnp.sum(jnp.sin(1 + jax.vmap(over_inner)(x, y)))

        gradient = jax.jit(jax.grad(total))(x, y).reshape(gradients.shape)
        factor = jnp.cos(1 + values).reshape(-1, *(1,) * (gradients.ndim - 1))
        close(gradient, factor * gradients, 1e-9)
        pairs = jax.jit(over_all_pairs)(x[0], y[0])
        expected = [[loss(a, b) for a in x[0]] for b in y[0]]
        close(pairs, jnp.asarray(expected), 1e-12)


def _weighted(weights):
    parts = [ke.SpectralConvergenceLoss(), ke.ElementwiseLoss("L2")]
    return ke.TimeFrequencyLoss(ke.Spectrogram(**SIZES), parts, weights=weights)


LEARNABLE = {
    "TimeFrequencyLoss": _weighted,
    "SumLoss": lambda w: ke.SumLoss([_weighted(None), ke.MRSTFTLoss((64,), (256,))], w),
    "SumLoss-nested": lambda w: ke.SumLoss(
        {"b": _weighted(w), "a": ke.MRSTFTLoss((64,), (256,), w_log=w[0])},
        {"a": w[1], "b": w[0]},
    ),
    "MRSTFTLoss": lambda w: ke.MRSTFTLoss((64,), (256,), w_lin=w[0], w_sc=w[1]),
    "MultiResolutionLoss": lambda w: ke.MultiResolutionLoss(
        [ke.Spectrogram(128), ke.Spectrogram(256)],
        [ke.ElementwiseLoss(), ke.ElementwiseLoss("L2")],
        weights=w,
        resolution_weights=w[::-1],
    ),
    "MappedLoss": lambda w: ke.MappedLoss(
        ke.FIRFilter(w), ke.TimeFrequencyLoss(ke.Spectrogram(128), ke.ElementwiseLoss())
    ),
}


@pytest.mark.parametrize("name", LEARNABLE)
def test_vmap_over_losses(name):
    """An ensemble of losses with weights of their own, over one batch or over many."""
    make = LEARNABLE[name]
    with jax.enable_x64(True):
        x, y = signals(3, 2, dtype=jnp.float64)
        weights = jnp.asarray([[0.5, 2.0], [1.0, 0.3], [3.0, 1.0]])

        def value(w, x, y):
            return make(w)(x, y)

        loop = jax.jit(jax.value_and_grad(value, argnums=(0, 1)))
        each = [loop(w, x[0], y[0]) for w in weights]
        own = [loop(*arguments) for arguments in zip(weights, x, y, strict=True)]

        @jax.jit
        def mapped(weights, x, y):
            gradient = jax.value_and_grad(value, argnums=(0, 1))
            return (
                jax.vmap(gradient, (0, None, None))(weights, x[0], y[0]),
                jax.vmap(gradient)(weights, x, y),
            )

        def stacked(results):
            return jax.tree.map(lambda *parts: jnp.stack(parts), *results)

        for got, results in zip(mapped(weights, x, y), (each, own), strict=True):
            jax.tree.map(functools.partial(close, rtol=1e-9), got, stacked(results))
        ensemble = eqx.filter_vmap(make)(weights)
        values = eqx.filter_vmap(lambda loss, x: loss(x, y[0]), in_axes=(0, None))
        close(values(ensemble, x[0]), stacked(each)[0], 1e-9)


@different
def test_vmap_needs_the_memory_of_the_plain_call(case):
    x, y = case.signals(64)
    loss = functools.partial(in_pieces(case.make(), 4), **case.keywords)

    def total(x, y):
        return jnp.sum(jax.vmap(loss)(x, y))

    plain = temporary_memory(jax.value_and_grad(loss), x, y)
    assert temporary_memory(jax.value_and_grad(total), x, y) <= 1.3 * plain
    plain = temporary_memory(loss, x, y)
    assert temporary_memory(jax.vmap(loss), x, y) <= 1.3 * plain


# ------------------------------------------------------------- written, replaced, moved

NAMES = {**vars(ke), "np": np, "jnp": jnp}


@pytest.mark.cheap
@pytest.mark.parametrize("case", ALL, ids=repr)
def test_repr_makes_an_equal_object(case):
    made = case.make()
    again = eval(repr(made), dict(NAMES))
    assert again == made and type(again) is type(made)
    assert repr(again) == repr(made)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_repr_has_as_few_digits_as_make_the_same_numbers(dtype):
    short = {"bfloat16": "0.100098"}.get(dtype, "0.1")
    with jax.enable_x64(True):
        scale = ke.Log(jnp.asarray(0.1, dtype))
        assert repr(scale) == f"Log(factor=jnp.array({short}, dtype='{dtype}'))"
        rng = np.random.default_rng(0)
        values = rng.standard_normal(250) * 10.0 ** rng.integers(-30, 30, 250)
        for special in (values, values / 1e30, [np.inf, -np.inf, 0.0, -0.0, 1 / 3]):
            with np.errstate(over="ignore"):
                array = jnp.asarray(np.asarray(special).astype(dtype))
            names = {**NAMES, "array": array}
            for kind in ("jnp", "np"):
                taps = eval(f"{kind}.asarray(array)", names)
                again = eval(_repr._text(taps, 0), dict(NAMES))
                assert type(again) is type(taps) and again.dtype == taps.dtype
                assert np.asarray(again).tobytes() == np.asarray(taps).tobytes()


def test_repr_of_parts_by_name_is_aligned():
    mel = ke.TimeFrequencyLoss(
        ke.Spectrogram(512, window="flattop"),
        [ke.SpectralConvergenceLoss(), ke.ElementwiseLoss()],
        weights=jnp.array([0.1, 0.3]),
    )
    loss = ke.SumLoss({"mel": mel, "wave": ke.WaveformLoss()}, {"mel": 2, "wave": 0.1})
    assert (
        repr(loss)
        == """\
SumLoss(
    losses={
        'mel': TimeFrequencyLoss(
            transform_fn=Spectrogram(n_fft=512, hop_length=128, win_length=512, window='flattop'),
            loss_fn=(SpectralConvergenceLoss(), ElementwiseLoss()),
            scale_fn=(Identity(), Identity()),
            weights=jnp.array([0.1, 0.3], dtype='float32'),
        ),
        'wave': WaveformLoss(),
    },
    weights={'mel': 2.0, 'wave': 0.1},
)"""  # noqa: E501
    )
    _, y = signals(2)
    bound = ke.SumLoss([ke.WaveformLoss()]).bind(y)
    text = "SumLoss(losses=(WaveformLoss(),)).bind(float32[2,1500]"
    assert repr(bound) == text + ")"
    lengths = jnp.array([1500, 2])
    bound = bound.loss.bind(y, lengths=lengths)
    assert repr(bound) == text + ", lengths=int32[2])"
    assert repr(loss.bind(y)).startswith("SumLoss(\n    losses={\n")


@pytest.mark.cheap
@pytest.mark.parametrize("case", ALL, ids=repr)
def test_replaced_by_nothing_is_equal(case):
    made = case.make()
    again = dataclasses.replace(made)
    assert again == made and hash(again) == hash(made)
    assert jax.tree.structure(again) == jax.tree.structure(made)


def applied(case, module):
    """What an object of the kind of the case's returns."""
    return module(*arguments(case), **case.keywords)


def numeric_fields():
    """Each field of each class that holds a number which may also be an array."""
    seen = set()
    for case in ALL:
        if case.name == "SmoothMRSTFTLoss":
            continue
        made = case.make()
        for field in dataclasses.fields(made):
            value, at = getattr(made, field.name), (type(made), field.name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and not field.metadata.get("static") and at not in seen:
                seen.add(at)
                yield pytest.param(case, field.name, id=f"{case.name}.{field.name}")


@pytest.mark.parametrize("case, name", list(numeric_fields()))
def test_a_number_put_in_place_is_as_one_given(case, name):
    """`eqx.tree_at` with a number, or an array, makes what the constructor does."""
    made = case.make()
    if name == "log_fac":  # a logarithm of a product: it moves nothing but the epsilon
        made = dataclasses.replace(made, log_eps=0.1)
    number = 1.5 * getattr(made, name) + 0.25
    expected = applied(case, dataclasses.replace(made, **{name: number}))
    assert not np.array_equal(expected, applied(case, made))
    for new in (number, jnp.asarray(number, jnp.float32)):
        moved = eqx.tree_at(lambda module: getattr(module, name), made, new)
        close(applied(case, moved), expected, 1e-5)
        given = dataclasses.replace(made, **{name: new})
        close(applied(case, given), expected, 1e-5)


# ----------------------------------------------------------------------------- compiled

_COMPILED = [0]


def _count(event, duration, **keywords):
    if event == "/jax/core/compile/backend_compile_duration":
        _COMPILED[0] += 1


jax.monitoring.register_event_duration_secs_listener(_count)


def used(case):
    """Everything that a user may do with an object at every step, on a new instance."""
    module, keywords = case.make(), case.keywords
    inputs = arguments(case)
    plain = functools.partial(module, **keywords)
    out, pullback = jax.vjp(plain, *inputs)
    results = [plain(*inputs), *pullback(out), jax.vmap(plain)(*inputs)]
    if isinstance(module, ke.AbstractLoss):
        x, y = inputs
        results += [
            jax.grad(plain)(x, y),
            module.with_terms(x, y, **keywords)[0],
            module.bind(y, **keywords)(x, **keywords),
        ]
        if case not in BATCHES:
            lengths = lengths_of(case, LENGTHS[:2])
            results.append(module(x, y, lengths=lengths, **keywords))
    return results


# Every class, and every way in which losses are evaluated.
USED = [
    case
    for case in ALL
    if case in DIFFERENT
    or case not in [*COMPOSITES, *LEVELS]
    or ("-" not in case.name and case.name != "SmoothMRSTFTLoss")
]


@pytest.mark.parametrize("case", USED, ids=repr)
def test_nothing_is_compiled_twice(case):
    """An equal object, called outside of `jax.jit`, finds what was compiled before."""
    before = _COMPILED[0]
    first = used(case)
    # Something was compiled, unless a test before did.
    again = functools.partial(used, case)
    counted = _COMPILED[0]
    assert counted >= before
    second = again()
    assert _COMPILED[0] == counted
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_compilations_are_counted():
    before = _COMPILED[0]
    jax.jit(lambda x: x + 1.25)(jnp.ones(3))
    assert _COMPILED[0] > before


def _resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux only")
@pytest.mark.parametrize(
    "name", ["MRSTFTLoss", "SumLoss-nested", "RandomSubsetLoss", "MelSpectrogram"]
)
def test_repeated_use_keeps_no_memory(name):
    """Of 300 times everything, on new instances, neither arrays nor programs stay."""
    (case,) = (case for case in ALL if case.name == name)
    for _ in range(20):
        used(case)
    gc.collect()
    arrays, resident = len(jax.live_arrays()), _resident_bytes()
    for _ in range(300):
        used(case)
    gc.collect()
    assert len(jax.live_arrays()) <= arrays
    assert _resident_bytes() - resident < 8e6
