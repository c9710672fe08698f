"""Checks that need several devices: `python checks.py shardy` prints their outcomes.

Run by `test_engine_devices.py` in a process of its own, since the number of devices
is fixed when JAX starts. Prints one JSON object, from the name of each check to null
or the traceback of its failure.
"""

import dataclasses
import functools
import json
import math
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from korvax_eqx._numerics._fft import rfft
from korvax_eqx._sharding._devices import keep_sharded, map_rows

N = 64
N_BINS = N // 2 + 1
KINDS = (AxisType.Auto, AxisType.Explicit)
RNG = np.random.default_rng(0)
X, Y, V = RNG.standard_normal((3, 8, 4, N))
WINDOW = np.hanning(N)
TABLE = RNG.standard_normal(N_BINS)


@dataclasses.dataclass(frozen=True)
class Spectra:
    """A row function with a bit of everything: a loop, an FFT, a table, two sums."""

    power: float = 2.0
    with_sums: bool = True

    def __call__(self, shared: Any, rows: Any) -> Any:
        (window,), (x, y) = shared, rows
        lead = x.shape[:-1]

        def one(pair: tuple[Array, Array]) -> tuple[Array, Array]:
            difference = jnp.fft.rfft(pair[0] * window) - jnp.fft.rfft(pair[1])
            spectrum = jnp.abs(difference) ** self.power * jnp.asarray(TABLE)
            # The cosine makes a row of zeros, XLA's padding, count in the sums.
            return spectrum.mean(), jnp.cos(spectrum)

        flat = (x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1]))
        value, spectrum = jax.lax.map(one, flat, batch_size=2)
        row_outputs = value.reshape(lead), spectrum.reshape(*lead, -1)
        sums = spectrum.sum(0), jnp.full((), float(math.prod(lead)))
        return row_outputs, sums if self.with_sums else ()


def mapped(window: Any, x: Any, y: Any, with_sums: bool = True) -> Any:
    fn = Spectra(with_sums=with_sums)
    n_sums = 2 if with_sums else 0
    return map_rows(fn, (window,), (x, y), n_row_outputs=2, n_summed_outputs=n_sums)


@functools.partial(jax.jit, static_argnames="with_sums")
def plain(window: Any, x: Any, y: Any, with_sums: bool = True) -> Any:
    return Spectra(with_sums=with_sums)((window,), (x, y))


def make_mesh(kind: AxisType) -> Mesh:
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind,) * 2)


def put(array: Any, mesh: Mesh, *spec: Any) -> Array:
    return jax.device_put(array, NamedSharding(mesh, P(*spec)))


def agree(got: Any, expected: Any, tolerance: float = 1e-12) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype, (one.dtype, other.dtype)
        scale = np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * scale)


def compiled(fn: Callable[..., Any], *args: Any) -> Any:
    return jax.jit(fn).lower(*args).compile()


def collectives(run: Any) -> list[tuple[str, int]]:
    """What a compiled function communicates: kind and number of elements of each."""
    text = run.as_text()
    kinds = "all-gather|all-to-all|all-reduce|collective-permute|reduce-scatter"
    found = re.findall(rf"= (.*?) ({kinds})(?:-start)?\(", text)
    shapes = [(kind, re.findall(r"\w\d+\[([\d,]*)\]", what)) for what, kind in found]
    return [
        (kind, math.prod(int(size) for size in shape.split(",") if size))
        for kind, many in shapes
        for shape in many
    ]


def communicates_at_most(size: int, run: Any) -> None:
    found = collectives(run)
    assert all(kind == "all-reduce" and n <= size for kind, n in found), found


def spec_of(array: Array) -> tuple[Any, ...]:
    assert isinstance(array.sharding, NamedSharding)
    spec = [None if entry == () else entry for entry in array.sharding.spec]
    spec += [None] * (array.ndim - len(spec))
    return tuple(spec)


def check_control_gathers() -> None:
    """A batch that is gathered is seen: the check can fail.

    An FFT without `map_rows` was gathered, too, until JAX 0.12.
    """
    for kind in KINDS:
        mesh = make_mesh(kind)
        x = put(X, mesh, "data")
        everywhere = NamedSharding(mesh, P())
        run = jax.jit(lambda x: 2 * x, out_shardings=everywhere).lower(x).compile()
        found = collectives(run)
        assert ("all-gather", X.size) in found, found


def check_rows_stay() -> None:
    specs = [("data",), (("data", "model"),), ("data", "model"), (None, "data")]
    for kind in KINDS:
        mesh = make_mesh(kind)
        for spec in specs:
            x, y = put(X, mesh, *spec), put(Y, mesh, *spec)
            window = put(WINDOW, mesh)
            run = compiled(mapped, window, x, y)
            got = run(window, x, y)
            agree(got, plain(WINDOW, X, Y))
            padded = (*spec, None, None)
            assert spec_of(got[0][0]) == padded[:2], got[0][0].sharding
            assert spec_of(got[0][1]) == padded[:3], got[0][1].sharding
            communicates_at_most(N_BINS, run)


def check_without_sums_nothing_is_communicated() -> None:
    for kind in KINDS:
        mesh = make_mesh(kind)
        args = put(WINDOW, mesh), put(X, mesh, "data"), put(Y, mesh, "data")
        fn = functools.partial(mapped, with_sums=False)
        run = compiled(fn, *args)
        assert collectives(run) == []
        agree(run(*args), plain(WINDOW, X, Y, with_sums=False))


def check_operands_sharded_differently() -> None:
    cases = [
        (("data",), ()),
        ((), ("data",)),
        (("data",), ("model",)),
        (("data",), (None, "model")),
        ((None, None, "data"), ()),
        (("data", None, "model"), (None, None, "model")),
        ((None, None, "data"), (None, "data")),
        ((), ()),
    ]
    for kind in KINDS:
        mesh = make_mesh(kind)
        for x_spec, y_spec in cases:
            # The window is the sharded one in the last case.
            window = put(WINDOW, mesh, *([] if x_spec or y_spec else ["data"]))
            x, y = put(X, mesh, *x_spec), put(Y, mesh, *y_spec)
            agree(jax.jit(mapped)(window, x, y), plain(WINDOW, X, Y))


def check_a_replicated_target_is_not_a_reason_to_gather() -> None:
    for kind in KINDS:
        mesh = make_mesh(kind)
        x, y = put(X, mesh, "data"), put(Y, mesh)
        run = compiled(mapped, put(WINDOW, mesh), x, y)
        communicates_at_most(N_BINS, run)
    mesh = make_mesh(AxisType.Auto)
    run = compiled(mapped, put(WINDOW, mesh), put(X, mesh), put(Y, mesh, "data"))
    communicates_at_most(N_BINS, run)


def check_arrays_that_are_on_no_mesh() -> None:
    for kind in KINDS:
        mesh = make_mesh(kind)
        agree(mapped(WINDOW, X, Y), plain(WINDOW, X, Y))
        with jax.set_mesh(mesh):
            agree(jax.jit(mapped)(WINDOW, X, Y), plain(WINDOW, X, Y))
            x = put(X, mesh, "data")
            agree(jax.jit(mapped)(WINDOW, x, Y), plain(WINDOW, X, Y))
            agree(mapped(WINDOW, x, Y), plain(WINDOW, X, Y))


def check_not_jitted() -> None:
    for kind in KINDS:
        mesh = make_mesh(kind)
        x, y = put(X, mesh, "data"), put(Y, mesh, "data")
        got = mapped(put(WINDOW, mesh), x, y)
        agree(got, plain(WINDOW, X, Y))
        assert spec_of(got[0][0]) == ("data", None)


def check_mixed_kinds_of_axes() -> None:
    for kinds in ((AxisType.Auto, AxisType.Explicit), KINDS[::-1]):
        mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=kinds)
        for spec in ("data",), ("data", "model"):
            x, y = put(X, mesh, *spec), put(Y, mesh, *spec)
            agree(jax.jit(mapped)(put(WINDOW, mesh), x, y), plain(WINDOW, X, Y))


def check_no_leading_axis() -> None:
    for kind in KINDS:
        mesh = make_mesh(kind)
        expected = plain(WINDOW, X[0, 0], Y[0, 0])
        for spec in (), ("data",):
            x = put(X[0, 0], mesh, *spec)
            agree(jax.jit(mapped)(put(WINDOW, mesh), x, Y[0, 0]), expected)


def check_vmap() -> None:
    """Some and all arguments mapped, one and two deep, along a sharded axis."""
    rows, target, window, every = (1, 2), (2,), (0,), (0, 1, 2)
    one_deep = [(rows,), (target,), (window,), (every,)]
    two_deep = [(rows, target), (rows, window), (window, rows), (every, every)]
    for kind in KINDS:
        # Explicit axes are in the types: a second level adds nothing to the first.
        for mapped_at in [*one_deep, *(two_deep if kind == AxisType.Auto else [])]:
            _vmap_agrees(make_mesh(kind), mapped_at, with_sums=True)
    for mapped_at in (rows,), (rows, target), (rows, window):
        _vmap_agrees(make_mesh(AxisType.Auto), mapped_at, with_sums=False)


def _vmap_agrees(
    mesh: Mesh, mapped_at: Sequence[tuple[int, ...]], with_sums: bool
) -> None:
    """With the arguments mapped that are in `mapped_at[0]`, outermost, and so on."""
    fn = functools.partial(mapped, with_sums=with_sums)
    reference = functools.partial(plain, with_sums=with_sums)
    args = [WINDOW, X[:2], Y[:2]]
    for level in reversed(range(len(mapped_at))):
        size = 4 - level
        for which in mapped_at[level]:
            scaled = [args[which] * (1 + 0.1 * i) for i in range(size)]
            args[which] = np.stack(scaled)
        axes = tuple(0 if which in mapped_at[level] else None for which in range(3))
        fn = jax.vmap(fn, in_axes=axes)
        reference = functools.partial(_loop, reference, axes, size)
    # All mapped arguments: JAX wants a mapped axis sharded alike in all of them.
    placed = [
        put(arg, mesh, *(["data"] if which in mapped_at[0] else []))
        for which, arg in enumerate(args)
    ]
    agree(jax.jit(fn)(*placed), reference(*args))


def _loop(
    fn: Callable[..., Any], axes: Sequence[int | None], size: int, *args: Any
) -> Any:
    """What `vmap` computes, one example at a time."""
    outputs = [
        fn(
            *(
                arg if axis is None else arg[i]
                for arg, axis in zip(args, axes, strict=True)
            )
        )
        for i in range(size)
    ]
    return jax.tree.map(lambda *examples: np.stack(examples), *outputs)


def check_vmap_keeps_rows_in_place() -> None:
    for kind in KINDS:
        mesh = make_mesh(kind)
        for with_sums in True, False:
            fn = functools.partial(mapped, with_sums=with_sums)
            x, y = put(X, mesh, "data", "model"), put(Y, mesh, "data", "model")
            window = put(WINDOW, mesh)
            batched = jax.vmap(fn, in_axes=(None, 0, 0))
            communicates_at_most(8 * N_BINS, compiled(batched, window, x, y))
            batched = jax.vmap(fn, in_axes=(None, 1, 1))
            communicates_at_most(4 * N_BINS, compiled(batched, window, x, y))


def check_vmap_with_spmd_axis_name() -> None:
    mesh = make_mesh(AxisType.Auto)
    batched = jax.vmap(mapped, in_axes=(None, 0, 0), spmd_axis_name="data")
    args = put(WINDOW, mesh), put(X, mesh, "data"), put(Y, mesh, "data")
    expected = jax.vmap(plain, in_axes=(None, 0, 0))(WINDOW, X, Y)
    agree(jax.jit(batched)(*args), expected)


def check_inside_shard_map() -> None:
    for kind in KINDS:
        mesh = make_mesh(kind)
        for names in {"data"}, {"data", "model"}:
            run = jax.shard_map(
                functools.partial(mapped, with_sums=False),
                mesh=mesh,
                in_specs=(P(), P("data"), P("data")),
                out_specs=P("data"),
                axis_names=names,
                check_vma=False,
            )
            args = put(WINDOW, mesh), put(X, mesh, "data"), put(Y, mesh, "data")
            run = compiled(run, *args)
            agree(run(*args), plain(WINDOW, X, Y, with_sums=False))
            if names == {"data", "model"}:
                assert collectives(run) == []


def check_an_explicit_axis_left_by_shard_map() -> None:
    mesh = make_mesh(AxisType.Explicit)
    run = jax.shard_map(
        functools.partial(mapped, with_sums=False),
        in_specs=(P(), P("data"), P("data")),
        out_specs=P("data"),
        axis_names={"data"},
        check_vma=False,
    )
    with jax.set_mesh(mesh):
        x, y = put(X, mesh, "data", "model"), put(Y, mesh, "data", "model")
        args = put(WINDOW, mesh), x, y
        agree(jax.jit(run)(*args), plain(WINDOW, X, Y, with_sums=False))


def check_batches_that_the_devices_do_not_divide() -> None:
    """Under automatic axes XLA pads them; JAX refuses to make them any other way."""
    mesh = make_mesh(AxisType.Auto)
    for spec in ("data", "model"), (("data", "model"),):
        sharding = NamedSharding(mesh, P(*spec))
        for with_sums in True, False:

            def run(window: Any, x: Any, y: Any) -> Any:
                x, y = jax.lax.with_sharding_constraint((x, y), sharding)  # noqa: B023
                return mapped(window, x, y, with_sums=with_sums)  # noqa: B023

            x, y = X[:5, :3], Y[:5, :3]
            expected = plain(WINDOW, x, y, with_sums=with_sums)
            agree(jax.jit(run)(WINDOW, x, y), expected)


def check_rfft_is_jaxs() -> None:
    for kind in KINDS:
        mesh = make_mesh(kind)
        for n in 1, 2, 63, 64:
            frames, tangent = X[..., :n], V[..., :n]
            bins = RNG.standard_normal((2, 8, 4, n // 2 + 1))
            cotangent = bins[0] + 1j * bins[1]
            args = frames, tangent, cotangent
            placed = [put(arg, mesh, "data") for arg in args]
            agree(
                _rfft_and_derivatives(functools.partial(rfft, n=n), *placed),
                _rfft_and_derivatives(functools.partial(jnp.fft.rfft, n=n), *args),
            )


@functools.partial(jax.jit, static_argnums=0)
def _rfft_and_derivatives(
    fn: Callable[[Any], Array], frames: Any, tangent: Any, cotangent: Any
) -> Any:
    value, pull = jax.vjp(fn, frames)
    # The transpose of the transpose, as in grad of grad.
    back = jax.linear_transpose(lambda c: pull(c)[0], cotangent)(tangent)
    return value, jax.jvp(fn, (frames,), (tangent,)), pull(cotangent), back


def _spectrogram(transform: Callable[..., Array], x: Any, window: Any) -> Array:
    hop = N // 8
    frame = 4 * hop
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(hop, hop)])
    blocks = x.reshape(*x.shape[:-1], -1, hop)
    n_frames = blocks.shape[-2] - 3
    parts = [blocks[..., i : i + n_frames, :] for i in range(4)]
    frames = jnp.concatenate(parts, -1) * window[:frame]
    spectrum = transform(frames, n=frame)
    return jnp.swapaxes(spectrum.real**2 + spectrum.imag**2, -1, -2)


def _loss(transform: Callable[..., Array], x: Any, window: Any) -> Array:
    return jnp.log(_spectrogram(transform, x, window) + 1e-3).mean()


def _folding(x: Any, window: Any) -> Array:
    """A transform that folds its leading axes, which explicit axes refuse."""
    folded = _spectrogram(rfft, x.reshape(-1, x.shape[-1]), window)
    return folded.reshape(*x.shape[:-1], *folded.shape[1:])


def _kept_loss(x: Any, window: Any) -> Array:
    return jnp.log(keep_sharded(_folding, x, window) + 1e-3).mean()


def _derivatives(loss: Callable[..., Array], x: Any, v: Any, window: Any) -> Any:
    grad = jax.grad(loss)
    hessian_product = jax.jvp(lambda x: grad(x, window), (x,), (v,))[1]
    grad_of_grad = jax.grad(lambda x: (grad(x, window) ** 2).sum())(x)
    both = jax.value_and_grad(loss, (0, 1))(x, window)
    return both, hessian_product, grad_of_grad


def check_spectrogram_and_its_derivatives() -> None:
    window = WINDOW + 0.1
    reference = functools.partial(_loss, jnp.fft.rfft)
    expected = jax.jit(functools.partial(_derivatives, reference))(X, V, window)
    for kind in KINDS:
        mesh = make_mesh(kind)
        for spec in ("data",), ("data", "model"):
            args = put(X, mesh, *spec), put(V, mesh, *spec), put(window, mesh)
            for loss in functools.partial(_loss, rfft), _kept_loss:
                if loss is _kept_loss and kind == AxisType.Auto:
                    continue
                fn = functools.partial(_derivatives, loss)
                run = compiled(fn, *args)
                got = run(*args)
                agree(got, expected)
                assert spec_of(got[0][1][0])[: len(spec)] == spec
                communicates_at_most(N, run)


def check_vmap_of_the_gradient_of_a_spectrogram() -> None:
    window = WINDOW + 0.1
    reference = jax.vmap(jax.grad(functools.partial(_loss, jnp.fft.rfft)), (0, None))
    expected = jax.jit(reference)(X, window)
    for kind in KINDS:
        mesh = make_mesh(kind)
        args = put(X, mesh, "data", "model"), put(window, mesh)
        fn = jax.vmap(jax.grad(functools.partial(_loss, rfft)), (0, None))
        run = compiled(fn, *args)
        agree(run(*args), expected)
        communicates_at_most(1, run)


def check_gradient_of_a_spectrogram_inside_shard_map() -> None:
    window = WINDOW + 0.1
    grad = jax.grad(functools.partial(_loss, jnp.fft.rfft))
    expected = jax.vmap(grad, (0, None))(X, window)
    for kind in KINDS:
        mesh = make_mesh(kind)
        per_example = jax.vmap(jax.grad(functools.partial(_loss, rfft)), (0, None))
        fn = jax.shard_map(
            per_example,
            mesh=mesh,
            in_specs=(P("data"), P()),
            out_specs=P("data"),
        )
        args = put(X, mesh, "data"), put(window, mesh)
        run = compiled(fn, *args)
        agree(run(*args), expected)
        assert collectives(run) == []


def check_sharded_samples() -> None:
    for kind in KINDS:
        mesh = make_mesh(kind)
        x, window = put(X, mesh, None, None, "data"), put(WINDOW, mesh)
        expected = jax.value_and_grad(functools.partial(_loss, jnp.fft.rfft))(X, WINDOW)
        if kind == AxisType.Explicit:
            agree(jax.jit(jax.value_and_grad(_kept_loss))(x, window), expected)
        agree(jax.jit(rfft, static_argnums=1)(x, N), jnp.fft.rfft(X))


@dataclasses.dataclass(frozen=True)
class LossRows:
    """A multi-resolution STFT loss of each row, and its gradient: one fused pass."""

    fft_sizes: tuple[int, ...]
    with_gradient: bool

    def __call__(self, shared: Any, rows: Any) -> Any:
        del shared
        lead, n = rows[0].shape[:-1], rows[0].shape[-1]
        fn = jax.value_and_grad(self._row) if self.with_gradient else self._row
        flat = tuple(row.reshape(-1, n) for row in rows)
        outputs = jax.lax.map(lambda pair: fn(*pair), flat, batch_size=2)
        if not self.with_gradient:
            return (outputs.reshape(lead),), ()
        return (outputs[0].reshape(lead), outputs[1].reshape(*lead, n)), ()

    def _row(self, x: Array, y: Array) -> Array:
        terms = [self._term(x, y, n_fft) for n_fft in self.fft_sizes]
        return sum(terms[1:], terms[0]) / len(terms)

    def _term(self, x: Array, y: Array, n_fft: int) -> Array:
        window = jnp.asarray(np.hanning(n_fft + 1)[:-1], x.dtype)
        hop = n_fft // 4
        signals = jnp.pad(jnp.stack([x, y]), ((0, 0), (n_fft // 2, n_fft // 2)))
        blocks = signals.reshape(2, -1, hop)
        n_frames = blocks.shape[1] - 3
        parts = [blocks[:, i : i + n_frames] for i in range(4)]
        spectra = jnp.fft.rfft(jnp.concatenate(parts, -1) * window)
        magnitudes = jnp.sqrt(spectra.real**2 + spectra.imag**2 + 1e-7)
        logarithms = jnp.log(magnitudes)
        linear = jnp.abs(magnitudes[0] - magnitudes[1]).mean()
        return linear + jnp.abs(logarithms[0] - logarithms[1]).mean()


FFT_SIZES = (64, 512)


@jax.custom_jvp
def fused_loss(x: Array, y: Array) -> Array:
    fn = LossRows(FFT_SIZES, with_gradient=False)
    ((values,), _) = map_rows(fn, (), (x, y), n_row_outputs=1)
    return values.mean()


@fused_loss.defjvp
def _fused_loss_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    fn = LossRows(FFT_SIZES, with_gradient=True)
    (values, gradient), _ = map_rows(fn, (), primals, n_row_outputs=2)
    return values.mean(), (gradient * tangents[0]).sum() / values.size


def check_a_fused_multi_resolution_loss() -> None:
    """Value and gradient in one pass, in pieces: one scalar all-reduce."""
    x, y = RNG.standard_normal((2, 16, 2, 4096)).astype(np.float32)
    rows = LossRows(FFT_SIZES, with_gradient=False)
    reference = jax.value_and_grad(lambda x: rows((), (x, y))[0][0].mean())
    value, gradient = jax.jit(reference)(x)
    for kind in KINDS:
        mesh = make_mesh(kind)
        spec = ("data", "model")
        args = put(x, mesh, spec), put(y, mesh, spec)
        run = compiled(jax.value_and_grad(fused_loss), *args)
        got = run(*args)
        agree(got, (value, gradient), 1e-6)
        assert spec_of(got[1]) == (spec, None, None)
        assert collectives(run) == [("all-reduce", 1)]


def check_a_wrong_number_of_outputs_is_named() -> None:
    try:
        fn = functools.partial(map_rows, Spectra(), n_row_outputs=1, n_summed_outputs=2)
        fn(*jax.tree.map(jnp.asarray, ((WINDOW,), (X, Y))))
    except ValueError as error:
        assert "(1, 2)" in str(error) and "(2, 2)" in str(error)
    else:
        raise AssertionError("accepted")


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_use_shardy_partitioner", sys.argv[1] == "shardy")
    assert jax.device_count() == 8
    chosen = sys.argv[2:]
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
