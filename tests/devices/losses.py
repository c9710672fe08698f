"""The public losses and transforms on eight devices: prints their checks' outcomes.

Run by `test_sharding.py` in a process of its own, as `checks.py` is by its test.
"""

import functools
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import registry
from checks import (
    KINDS,
    agree,
    collectives,
    communicates_at_most,
    compiled,
    make_mesh,
    put,
    spec_of,
)
from jax import Array
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import korvax_eqx as ke

N = 512
BATCH = 16
N_FFT = 64
X, Y = 0.3 * np.random.default_rng(0).standard_normal((2, BATCH, N))
WINDOW = np.hanning(N_FFT) + 0.1

# In pieces of one or two signals, so that every device loops over its own.
MRSTFT = ke.MRSTFTLoss((16, 30), (N_FFT, 128), log_eps=1e-3, piece_size=1)
SMOOTH = ke.SmoothMRSTFTLoss(piece_size=2)
TRANSPORT = ke.TimeFrequencyLoss(
    ke.Spectrogram(N_FFT, 30, center=False),
    [ke.SpectralOptimalTransportLoss(), ke.SpectralOptimalTransportLoss(p=1)],
    piece_size=1,
)
MEL = ke.TimeFrequencyLoss(
    ke.MelSpectrogram(8000, N_FFT, n_mels=12, hop_length=20),
    [ke.SpectralConvergenceLoss(), ke.ElementwiseLoss()],
    [ke.Identity(), ke.Log(eps=1e-3)],
    weights=(1.0, 0.1),
    piece_size=1,
)
N_TERMS = {MRSTFT: 4, SMOOTH: 6, TRANSPORT: 2, MEL: 2}


def learnable(window: Any, weight: Any) -> ke.MRSTFTLoss:
    return ke.MRSTFTLoss(
        (16,), window=[window], win_lengths=(N_FFT,), w_log=weight, piece_size=1
    )


@functools.cache
def on_one_device(loss: Any) -> Any:
    return jax.jit(jax.value_and_grad(loss))(X, Y)


def filter_compiled(fn: Callable[..., Any], *args: Any) -> tuple[Any, Any]:
    """A call that `eqx.filter_jit` compiled, and what it compiled."""
    jitted: Any = eqx.filter_jit(fn)
    run = jitted.lower(*args).compile()
    return run, run.compiled


def check_value_and_gradient() -> None:
    for kind in KINDS:
        mesh = make_mesh(kind)
        for loss in (MRSTFT, SMOOTH, TRANSPORT, MEL):
            specs = ["data", ("data", "model")] if loss == MRSTFT else ["data"]
            for spec in specs:
                args = put(X, mesh, spec), put(Y, mesh, spec)
                run, program = filter_compiled(jax.value_and_grad(loss), *args)
                assert " while(" in program.as_text(), "evaluated without pieces"
                communicates_at_most(N_TERMS[loss], program)
                assert collectives(program), "a mean that nothing is communicated for"
                got = run(*args)
                agree(got, on_one_device(loss), 1e-10)
                assert spec_of(got[1]) == (spec, None)


def check_forward() -> None:
    for kind in KINDS:
        mesh = make_mesh(kind)
        args = put(X, mesh, "data"), put(Y, mesh, "data")
        for loss in (MRSTFT, SMOOTH, TRANSPORT):
            run, program = filter_compiled(loss, *args)
            assert " while(" in program.as_text(), "evaluated without pieces"
            communicates_at_most(N_TERMS[loss], program)
            agree(run(*args), on_one_device(loss)[0], 1e-10)


def check_single_precision() -> None:
    x, y = X.astype(np.float32), Y.astype(np.float32)
    run = jax.jit(jax.value_and_grad(MRSTFT))
    expected = run(x, y)
    for kind in KINDS:
        mesh = make_mesh(kind)
        agree(run(put(x, mesh, "data"), put(y, mesh, "data")), expected, 1e-6)


def check_not_jitted() -> None:
    """Called by itself a loss compiles itself: nothing is gathered then either."""
    for kind in KINDS:
        mesh = make_mesh(kind)
        x, y = put(X, mesh, "data"), put(Y, mesh, "data")
        agree(MRSTFT(x, y), on_one_device(MRSTFT)[0], 1e-10)
        with jax.set_mesh(mesh):  # which JAX itself needs for explicit axes here
            value, gradient = jax.value_and_grad(MRSTFT)(x, y)
        agree((value, gradient), on_one_device(MRSTFT), 1e-10)
        assert spec_of(gradient) == ("data", None)


def check_terms() -> None:
    expected = jax.jit(TRANSPORT.with_terms)(X, Y)
    for kind in KINDS:
        mesh = make_mesh(kind)
        args = put(X, mesh, "data"), put(Y, mesh, "data")
        run = compiled(TRANSPORT.with_terms, *args)
        communicates_at_most(2, run)
        agree(run(*args), expected, 1e-10)


def check_bound_losses() -> None:
    def value_and_gradient(bound: Any, x: Array) -> Any:
        return jax.value_and_grad(lambda x: bound(x))(x)

    for kind in KINDS:
        mesh = make_mesh(kind)
        x, y = put(X, mesh, "data"), put(Y, mesh, "data")
        for loss in (MRSTFT, TRANSPORT):
            bind = compiled(lambda y: loss.bind(y), y)  # noqa: B023
            assert collectives(bind) == []
            bound = bind(y)
            assert {spec_of(leaf)[0] for leaf in jax.tree.leaves(bound)} == {"data"}
            run = compiled(value_and_gradient, bound, x)
            communicates_at_most(N_TERMS[loss], run)
            agree(run(bound, x), on_one_device(loss), 1e-10)


def check_learnable_leaves() -> None:
    """What their gradient sums over devices is of the leaves' size."""

    def objective(leaves: Any, x: Array, y: Array) -> Array:
        return learnable(*leaves)(x, y)

    fn = jax.value_and_grad(objective, (0, 1))
    leaves = WINDOW, np.asarray(0.5)
    expected = jax.jit(fn)(leaves, X, Y)
    for kind in KINDS:
        mesh = make_mesh(kind)
        placed = jax.tree.map(lambda leaf: put(leaf, mesh), leaves)  # noqa: B023
        args = placed, put(X, mesh, "data"), put(Y, mesh, "data")
        run = compiled(fn, *args)
        assert ("all-reduce", N_FFT) in collectives(run), collectives(run)
        communicates_at_most(N_FFT, run)
        agree(run(*args), expected, 1e-10)


def check_transforms_stay_sharded() -> None:
    """In a model's input pipeline, with their gradients: nothing is communicated."""
    names = ("STFT", "Spectrogram", "MelSpectrogram", "MFCC", "CQT", "VQT")
    x = np.asarray(registry.signals(8)[0], np.float64)
    for case in registry.TRANSFORMS:
        if case.name not in names:
            continue

        def run(x: Array) -> Any:
            S, pull = jax.vjp(case.make(), x)  # noqa: B023
            return S, pull(S)[0]

        expected = jax.jit(run)(x)
        for kind in KINDS:
            placed = put(x, make_mesh(kind), "data")
            program = compiled(run, placed)
            assert collectives(program) == [], (case, collectives(program))
            got = program(placed)
            agree(got, expected, 1e-10)
            assert [spec_of(array)[0] for array in got] == ["data", "data"]


def check_inside_a_users_shard_map() -> None:
    """The mean over devices is the user's; what they replicate is summed by JAX."""
    positions = np.linspace(0.0, 1.0, N_FFT // 2 + 1) ** 2
    leaves = WINDOW, np.asarray(0.5), positions
    spectrogram = ke.Spectrogram(N_FFT, 30, center=False)

    def objective(leaves: Any, x: Array, y: Array) -> Array:
        window, weight, positions = leaves
        transport = ke.SpectralOptimalTransportLoss(positions)
        in_pieces = ke.TimeFrequencyLoss(spectrogram, transport, piece_size=1)
        by_itself = transport(spectrogram(x), spectrogram(y))
        return learnable(window, weight)(x, y) + in_pieces(x, y) + by_itself

    fn = jax.value_and_grad(objective, (0, 1))
    expected = jax.jit(fn)(leaves, X, Y)
    for kind in KINDS:
        mesh = make_mesh(kind)

        def local(leaves: Any, x: Array, y: Array) -> Any:
            value, (of_leaves, of_x) = fn(leaves, x, y)
            of_leaves = jax.tree.map(lambda g: g / 4, of_leaves)
            return jax.lax.pmean(value, "data"), (of_leaves, of_x / 4)

        mapped = jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(P(), P("data"), P("data")),
            out_specs=(P(), (P(), P("data"))),
        )
        placed = jax.tree.map(lambda leaf: put(leaf, mesh), leaves)  # noqa: B023
        args = placed, put(X, mesh, "data"), put(Y, mesh, "data")
        run = compiled(mapped, *args)
        communicates_at_most(N_FFT, run)
        agree(run(*args), expected, 1e-10)


def check_a_replicated_estimate_inside_a_users_shard_map() -> None:
    """One estimate for all targets: JAX sums its gradient over the devices, once."""

    def mean(x: Array, y: Array) -> Array:
        return MRSTFT(jnp.broadcast_to(x, y.shape), y)

    fn = jax.value_and_grad(mean)
    expected = jax.jit(fn)(X[0], Y)
    for kind in KINDS:
        mesh = make_mesh(kind)

        def local(x: Array, y: Array) -> Any:
            value, gradient = fn(x, y)
            return jax.lax.pmean(value, "data"), gradient / 4

        mapped = jax.shard_map(
            local, mesh=mesh, in_specs=(P(), P("data")), out_specs=P()
        )
        got = jax.jit(mapped)(put(X[0], mesh), put(Y, mesh, "data"))
        agree(got, expected, 1e-10)


def check_vmap() -> None:
    """Per-example values and gradients: nothing is communicated at all."""
    for loss in (MRSTFT, TRANSPORT):
        per_example = jax.vmap(jax.value_and_grad(loss))
        one = jax.jit(jax.value_and_grad(loss))
        examples = [one(x, y) for x, y in zip(X, Y, strict=True)]
        expected = jax.tree.map(lambda *leaves: np.stack(leaves), *examples)
        for kind in KINDS:
            mesh = make_mesh(kind)
            args = put(X, mesh, "data"), put(Y, mesh, "data")
            run = compiled(per_example, *args)
            assert collectives(run) == [], collectives(run)
            got = run(*args)
            agree(got, expected, 1e-10)
            assert spec_of(got[0]) == ("data",)


def check_vmap_over_losses() -> None:
    """An ensemble of windows, each with the whole of a sharded batch."""
    windows = np.stack([WINDOW, WINDOW**2])

    def one(window: Array, x: Array, y: Array) -> Array:
        return learnable(window, jnp.asarray(1.0))(x, y)

    fn = jax.value_and_grad(one, (0, 1))
    ensemble = jax.vmap(fn, in_axes=(0, None, None))
    members = [jax.jit(fn)(window, X, Y) for window in windows]
    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *members)
    for kind in KINDS:
        mesh = make_mesh(kind)
        args = put(windows, mesh), put(X, mesh, "data"), put(Y, mesh, "data")
        run = compiled(ensemble, *args)
        communicates_at_most(2 * N_FFT, run)
        agree(run(*args), expected, 1e-10)


def check_a_model_parallel_axis() -> None:
    """Channels made by a model that is cut over the second axis stay cut over it."""
    rng = np.random.default_rng(1)
    weights, target = rng.standard_normal((4, 2)), rng.standard_normal((BATCH, 4, N))
    x = np.stack([X, Y], 1)

    def objective(weights: Array, x: Array, y: Array) -> Array:
        return MRSTFT(jnp.tanh(jnp.einsum("oc,bcn->bon", weights, x)), y)

    fn = jax.value_and_grad(objective)
    expected = jax.jit(fn)(weights, x, target)
    for kind in KINDS:
        mesh = make_mesh(kind)
        placed = put(weights, mesh, "model"), put(x, mesh, "data")
        args = *placed, put(target, mesh, "data", "model")
        run = compiled(fn, *args)
        communicates_at_most(weights.size, run)
        got = run(*args)
        agree(got, expected, 1e-10)
        assert spec_of(got[1]) == ("model", None)


def check_batches_that_the_devices_do_not_divide() -> None:
    """Under automatic axes they work; JAX refuses to place them in any other way."""
    x, y = X[:6], Y[:6]
    expected = jax.jit(jax.value_and_grad(MRSTFT))(x, y)
    sharding = NamedSharding(make_mesh(AxisType.Auto), P("data"))

    def constrained(x: Array, y: Array) -> Any:
        x, y = jax.lax.with_sharding_constraint((x, y), sharding)
        return jax.value_and_grad(MRSTFT)(x, y)

    agree(jax.jit(constrained)(x, y), expected, 1e-10)
    for kind in KINDS:
        mesh = make_mesh(kind)
        try:
            put(x, mesh, "data")
        except ValueError as error:
            reasons = "partitioned 4 times", "divisible by 4"
            assert any(reason in str(error) for reason in reasons), error
        else:
            raise AssertionError("accepted: this check and the README are out of date")
        replicated = jax.jit(jax.value_and_grad(MRSTFT))(put(x, mesh), put(y, mesh))
        agree(replicated, expected, 1e-10)


def check_what_is_evaluated_whole() -> None:
    """A user's function sees the whole batch, wherever it is."""

    def envelope(x: Array) -> Array:
        return jnp.abs(jnp.stack([x[..., ::2], x[..., 1::2]], -2))

    loss = ke.TimeFrequencyLoss(envelope, ke.ElementwiseLoss("L2"))
    expected = on_one_device(loss)
    for kind in KINDS:
        mesh = make_mesh(kind)
        x, y = put(X, mesh, "data"), put(Y, mesh, "data")
        agree(jax.jit(jax.value_and_grad(loss))(x, y), expected, 1e-10)


def check_mixtures_in_every_layout() -> None:
    """Sources and mixtures that are cut along any axes, each in its own way."""
    loss = ke.MixtureInvariantLoss(ke.SNRLoss(max_db=30.0))
    x, y = X.reshape(4, 4, N), Y[:8].reshape(4, 2, N)
    expected = jax.value_and_grad(loss)(x, y)
    best = loss.assignment(x, y)
    mesh = make_mesh(AxisType.Explicit)
    layouts = [(), ("data",), ("data", "model"), (None, "model"), (None, None, "data")]
    with jax.set_mesh(mesh):
        for of_x in layouts:
            for of_y in layouts:
                a, b = put(x, mesh, *of_x), put(y, mesh, *of_y)
                agree(jax.jit(jax.value_and_grad(loss))(a, b), expected)
                agree(loss.assignment(a, b), best)


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    assert jax.device_count() == 8
    chosen = sys.argv[1:]
    outcomes: dict[str, str | None] = {}
    for name, check in list(globals().items()):
        if name.startswith("check_") and (not chosen or name in chosen):
            try:
                check()
                outcomes[name] = None
            except Exception:
                outcomes[name] = traceback.format_exc()
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
