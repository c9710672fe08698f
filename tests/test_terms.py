"""Terms for a log: weighted and not, by part, and of losses that are monitored."""

import copy
import pickle
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import COMPOSITES, signals

import korvax_eqx as ke
from korvax_eqx import plot

STFT = ke.MRSTFTLoss((64, 100), (256, 400), w_log=0.5, w_sc=2.0)
MEL = ke.TimeFrequencyLoss(
    ke.MelSpectrogram(8000, 400, n_mels=20, hop_length=100, power=1),
    [ke.ElementwiseLoss(), ke.SpectralConvergenceLoss()],
    [ke.Log(eps=1e-3), ke.Identity()],
    [3.0, 0.25],
)
BATCH = ke.TimeFrequencyLoss(ke.Spectrogram(256), ke.BatchSpectralConvergenceLoss())
LOSSES = {"stft": STFT, "mel": MEL, "sdr": ke.SISDRLoss(), "batch": BATCH}
WEIGHTS = {"stft": 2.0, "mel": 15.0, "sdr": 0.01, "batch": 0.0}
MONITOR = {
    "large": ke.MRSTFTLoss((200,), (800,)),
    "wave": ke.WaveformLoss(),
    "shared": ke.TimeFrequencyLoss(
        MEL.transform_fn, ke.RelativeLoss(), ke.Log(eps=1e-3)
    ),
    "whole": BATCH,
    "mapped": ke.MappedLoss(ke.PreEmphasis(), ke.MRSTFTLoss((64,), (256,))),
    "function": lambda x, y: jnp.mean((x - y) ** 4),
}
PLAIN = ke.SumLoss(LOSSES, WEIGHTS)
LOSS = ke.SumLoss(LOSSES, WEIGHTS, MONITOR)


def close(actual: Any, desired: Any, rtol: float = 1e-12) -> None:
    np.testing.assert_allclose(actual, desired, rtol=rtol, atol=1e-300)


@pytest.fixture(autouse=True)
def float64() -> Any:
    with jax.enable_x64(True):
        yield


def pair(*lead: int) -> tuple[jax.Array, jax.Array]:
    return signals(*lead, dtype=jnp.float64)


def expected_unweighted(x: Any, y: Any, **keywords: Any) -> dict[str, float]:
    """Every term by a loss of its own, evaluated alone."""
    resolution = {}
    for n_fft, hop in ((256, 64), (400, 100)):
        transform = ke.Spectrogram(n_fft, hop, power=1)
        kinds = {
            "lin": (ke.ElementwiseLoss(), ke.Identity()),
            "log": (ke.ElementwiseLoss(), ke.Log(eps=1e-7)),
            "sc": (ke.SpectralConvergenceLoss(), ke.Identity()),
        }
        for kind, (loss, scale) in kinds.items():
            alone = ke.TimeFrequencyLoss(transform, loss, scale)
            resolution[f"stft/{n_fft}/{kind}"] = alone(x, y, **keywords)
    mel = MEL.transform_fn
    log = ke.TimeFrequencyLoss(mel, ke.ElementwiseLoss(), ke.Log(eps=1e-3))
    convergence = ke.TimeFrequencyLoss(mel, ke.SpectralConvergenceLoss())
    return {
        **resolution,
        "mel/log/elementwise": log(x, y, **keywords),
        "mel/spectral_convergence": convergence(x, y, **keywords),
        "sdr": ke.SISDRLoss()(x, y, **keywords),
    }


@pytest.mark.parametrize("padded", [False, True])
def test_unweighted_terms_and_parts(padded: bool) -> None:
    x, y = pair(3)
    keywords = {"lengths": jnp.array([1500, 900, 0])} if padded else {}
    value, terms = PLAIN.with_terms(x, y, **keywords)
    expected = expected_unweighted(x, y, **keywords)
    assert list(terms) == list(terms.unweighted) == list(expected)
    for name, desired in expected.items():
        close(terms.unweighted[name], desired)
    weights = {"lin": 2 / 2, "log": 2 * 0.5 / 2, "sc": 2 * 2 / 2}
    weights |= {"elementwise": 45.0, "spectral_convergence": 15 * 0.25, "sdr": 0.01}
    for name, term in terms.items():
        close(term, weights[name.split("/")[-1]] * expected[name])
    close(sum(terms.values()), value)

    parts = terms.parts
    assert list(parts) == list(parts.unweighted) == ["stft", "mel", "sdr"]
    for name in parts:
        alone = LOSSES[name](x, y, **keywords)
        close(parts.unweighted[name], alone)
        close(parts[name], WEIGHTS[name] * alone)
    assert parts.parts is parts
    close(list(PLAIN.parts(x, y, **keywords).values()), list(parts.values()))


def test_parts_of_resolutions_and_of_plain_losses() -> None:
    x, y = pair(2)
    parts = STFT.with_terms(x, y)[1].parts
    first = ke.MRSTFTLoss((64,), (256,), w_log=0.5, w_sc=2.0)
    close(parts.unweighted["256"], first(x, y))
    close(parts["256"], first(x, y) / 2)
    terms = MEL.with_terms(x, y)[1]
    assert terms.parts is terms


@pytest.mark.parametrize("case", COMPOSITES, ids=repr)
def test_of_every_loss(case: Any) -> None:
    """Terms are weights times unweighted ones; parts add up; nothing is lost."""
    loss = case.make()
    x, y = case.signals(2, dtype=jnp.float64)
    value, terms = loss.with_terms(x, y, **case.keywords)
    own = [
        logged
        for term in loss.terms(**case.keywords)
        for logged in term.logged
        if not logged.weight == 0
    ]
    assert len(terms) == len(terms.unweighted) == len(own)
    for term, name in zip(own, terms, strict=True):
        weight = 0.0 if term.is_monitored else float(term.weight)
        close(terms[name], weight * terms.unweighted[name], 1e-6)
    close(sum(terms.parts.values()), value, 1e-6)
    if isinstance(loss, ke.SumLoss) and not case.draws:
        losses = loss.losses if isinstance(loss.losses, dict) else {}
        for name, part in losses.items():
            if name in terms.parts:
                close(terms.parts.unweighted[name], part(x, y), 1e-6)


@pytest.mark.parametrize("padded", [False, True])
def test_monitored_losses_are_reported_and_nothing_else(padded: bool) -> None:
    x, y = pair(3)
    losses, monitor = LOSSES, MONITOR
    keywords: dict[str, Any] = {}
    if padded:  # a function has no lengths
        keywords = {"lengths": jnp.array([1500, 900, 1100])}
        monitor = {n: v for n, v in MONITOR.items() if n != "function"}
    plain = ke.SumLoss(losses, WEIGHTS)
    loss = ke.SumLoss(losses, WEIGHTS, monitor)
    both = jax.value_and_grad(loss.with_terms, has_aux=True)
    (value, terms), gradient = jax.jit(both)(x, y, **keywords)
    desired = jax.jit(jax.value_and_grad(plain.with_terms, has_aux=True))
    (desired_value, own), desired_gradient = desired(x, y, **keywords)
    close(value, desired_value)
    np.testing.assert_allclose(gradient, desired_gradient, rtol=1e-9, atol=1e-17)
    close(loss(x, y, **keywords), desired_value)
    assert list(terms)[: len(own)] == list(own)
    close(sum(terms.values()), value)
    for name, other in monitor.items():
        call = ke.SumLoss({name: other})
        close(terms.parts.unweighted[name], call(x, y, **keywords))
        assert float(terms.parts[name]) == 0
    assert all(float(terms[name]) == 0 for name in set(terms) - set(own))


def test_signals_too_short_for_what_is_monitored_count() -> None:
    """The loss is that without a monitor, and what is reported is of long signals."""
    x, y = pair(3)
    lengths = jnp.array([1500, 300, 1100])
    long = ke.TimeFrequencyLoss(
        ke.Spectrogram(800, center=False), ke.ElementwiseLoss(), ke.Log(eps=1e-3)
    )
    plain = ke.SumLoss({"wave": ke.WaveformLoss(), "stft": STFT})
    loss = ke.SumLoss(plain.losses, monitor={"long": long})
    desired = jax.value_and_grad(plain)(x, y, lengths=lengths)
    for call in (loss, lambda x, y, lengths: loss.bind(y, lengths=lengths)(x)):
        value, gradient = jax.value_and_grad(call)(x, y, lengths=lengths)
        close(value, desired[0])
        np.testing.assert_allclose(gradient, desired[1], rtol=1e-9, atol=1e-17)
        assert np.any(gradient[1])
    for terms in (
        loss.with_terms(x, y, lengths=lengths)[1],
        loss.bind(y, lengths=lengths).with_terms(x)[1],
    ):
        close(terms.unweighted["long"], long(x[::2], y[::2], lengths=lengths[::2]))
        close(sum(terms.values()), desired[0])


def test_the_gradient_of_what_is_monitored_is_exactly_zero() -> None:
    x, y = pair(2)
    nothing = ke.SumLoss([ke.WaveformLoss()], [0.0], monitor=MONITOR)
    (value, terms), gradient = jax.value_and_grad(nothing.with_terms, has_aux=True)(
        x, y
    )
    assert float(value) == 0 and not np.any(gradient)
    assert np.all(np.abs(list(terms.unweighted.values())) > 0)
    learned = ke.SumLoss(
        [ke.WaveformLoss()], monitor={"w": ke.SumLoss([MEL], jnp.array([2.0]))}
    )
    grads = eqx.filter_grad(lambda loss: loss.with_terms(x, y)[0])(learned)
    assert float(grads.monitor["w"].weights[0]) == 0


def test_what_is_monitored_costs_no_gradient() -> None:
    """The plain value and gradient are the same program; with terms less than in it."""
    x, y = pair(4)

    def flops(fn: Any) -> float:
        analysis = jax.jit(fn).lower(x, y).compile().cost_analysis()
        assert analysis is not None
        return analysis["flops"]

    large = ke.MRSTFTLoss((64,), (256,))
    wave = {"wave": ke.WaveformLoss("L2")}
    plain, monitored = ke.SumLoss(wave), ke.SumLoss(wave, monitor={"stft": large})
    trained = ke.SumLoss({**wave, "stft": large})
    assert flops(jax.value_and_grad(monitored)) == flops(jax.value_and_grad(plain))
    value = flops(trained.with_terms)
    with_terms = flops(jax.value_and_grad(monitored.with_terms, has_aux=True))
    everything = flops(jax.value_and_grad(trained.with_terms, has_aux=True))
    assert with_terms < value + 0.1 * (everything - value)


def test_terms_of_what_is_monitored_have_derivatives() -> None:
    x, y = pair(2)
    gradient = jax.grad(lambda x: LOSS.with_terms(x, y)[1].parts.unweighted["large"])(x)
    desired = jax.grad(MONITOR["large"])(x, y)
    np.testing.assert_allclose(gradient, desired, rtol=1e-9, atol=1e-17)


def test_inside_of_other_losses() -> None:
    x, y = pair(2)
    inner = ke.SumLoss({"sdr": ke.SISDRLoss()}, monitor={"wave": ke.WaveformLoss()})
    outer = ke.SumLoss({"a": inner, "b": MEL}, {"a": 0.5, "b": 2.0})
    terms = outer.with_terms(x, y)[1]
    close(terms.unweighted["a/wave"], ke.WaveformLoss()(x, y))
    close(terms.parts.unweighted["a"], inner(x, y))
    off = ke.SumLoss({"a": inner, "b": MEL}, {"a": 0.0, "b": 2.0})
    assert list(off.with_terms(x, y)[1].parts) == ["b"]
    mapped = ke.MappedLoss(ke.PreEmphasis(), inner).with_terms(x, y)[1]
    assert float(mapped["wave"]) == 0 < float(mapped.unweighted["wave"])


def test_transformations_keep_terms() -> None:
    x, y = pair(3)
    monitor = {n: v for n, v in MONITOR.items() if n not in ("function", "whole")}
    loss = ke.SumLoss({"stft": STFT, "sdr": ke.SISDRLoss()}, [1, 0.01], monitor)
    terms = loss.with_terms(x, y)[1]
    mapped = jax.jit(jax.vmap(loss.with_terms))(x, y)[1]
    bound = loss.bind(y).with_terms(x)[1]

    def step(carry: None, pair: Any) -> Any:
        return carry, loss.with_terms(*pair)[1]

    scanned = jax.lax.scan(step, None, (x, y))[1]
    for other in (mapped, bound, scanned):
        assert isinstance(other, ke.Terms) and list(other) == list(terms)
        assert list(other.parts) == list(terms.parts)
        for a, b in (
            (other, terms),
            (other.unweighted, terms.unweighted),
            (other.parts.unweighted, terms.parts.unweighted),
        ):
            for name in b:
                close(jnp.mean(a[name]), b[name], 1e-9)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(terms)]
    assert {"['sdr']", ".unweighted['sdr']", ".parts['sdr']"} <= set(paths)
    assert len(set(paths)) == len(paths)


def test_is_a_dictionary() -> None:
    x, y = pair(2)
    terms = PLAIN.with_terms(x, y)[1]
    assert isinstance(terms, dict) and dict(terms) == {**terms}
    for other in (copy.deepcopy(terms), pickle.loads(pickle.dumps(terms))):
        assert list(other) == list(terms) and list(other.parts) == list(terms.parts)
        assert other.unweighted.keys() == terms.unweighted.keys()
    as_floats = jax.tree.map(float, terms)
    assert as_floats.parts.unweighted["sdr"] == float(ke.SISDRLoss()(x, y))


def test_plots_parts() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    x, y = pair(2)
    history = [LOSS.with_terms(a * x, y)[1].parts.unweighted for a in (1.0, 0.5)]
    ax = plot.terms(history, ax=pyplot.figure().subplots(), total=False)
    assert set(ax.get_legend_handles_labels()[1]) == {"stft", "mel", "sdr", *MONITOR}
    pyplot.close("all")


def test_saving_and_repr() -> None:
    monitor = {n: v for n, v in MONITOR.items() if n != "function"}
    loss = ke.SumLoss(LOSSES, WEIGHTS, monitor)
    assert ke.from_config(ke.to_config(loss)) == loss
    assert "monitor={" in repr(loss) and "monitor" not in repr(PLAIN)
    old = ke.to_config(PLAIN)
    del old["arguments"]["monitor"]  # as files before 0.4 have it
    assert ke.from_config(old) == PLAIN


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        ({"mel": MEL}, "monitor.*names that none of `losses` has"),
        ({"a/b": MEL}, "monitor.*without '/'"),
        ({}, "monitor.*at least one"),
        ({"a": 3}, "monitor.*callable"),
        ([ke.Log()], "monitor.*a loss on signals"),
    ],
)
def test_refuses(monitor: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ke.SumLoss(LOSSES, monitor=monitor)
