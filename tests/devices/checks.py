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

import korvax_eqx as ke
from korvax_eqx._engine._call import call_rows
from korvax_eqx._engine._functions import RowFunction

N = 64
N_BINS = N // 2 + 1
KINDS = (AxisType.Auto, AxisType.Explicit)
RNG = np.random.default_rng(0)
X, Y, V = RNG.standard_normal((3, 8, 4, N))
WINDOW = np.hanning(N)
TABLE = RNG.standard_normal(N_BINS)


@dataclasses.dataclass(frozen=True)
class Everything(RowFunction):
    """A row function with a bit of everything: pieces, an FFT, a table, two sums."""

    power: float = 2.0
    with_sums: bool = True

    def rows_at_once(self, n_rows: Any, n_samples: int) -> int:
        return 2

    def kinds(self, shared: Any, rows: Any) -> Any:
        value = jax.ShapeDtypeStruct((), rows[0].dtype)
        spectrum = jax.ShapeDtypeStruct((N_BINS,), rows[0].dtype)
        return (value, spectrum), (spectrum, value) if self.with_sums else ()

    def __call__(self, shared: Any, rows: Any, is_all: bool = False) -> Any:
        (window,), (x, y) = shared, rows
        difference = jnp.fft.rfft(x * window[None]) - jnp.fft.rfft(y)
        spectrum = jnp.abs(difference) ** self.power * jnp.asarray(TABLE)[None]
        # The cosine makes a row of zeros, XLA's padding, count in the sums.
        outputs = spectrum.mean(-1), jnp.cos(spectrum)
        sums = outputs[1].sum(0), jnp.full((), float(len(x)))
        return outputs, sums if self.with_sums else ()


def mapped(window: Any, x: Any, y: Any, with_sums: bool = True) -> Any:
    return call_rows(Everything(with_sums=with_sums), (window,), (x, y))


@functools.partial(jax.jit, static_argnames="with_sums")
def plain(window: Any, x: Any, y: Any, with_sums: bool = True) -> Any:
    """What `mapped` computes, of all rows at once and without the engine."""
    flat = (x.reshape(-1, N), y.reshape(-1, N))
    outputs, sums = Everything(with_sums=with_sums)((window,), flat)
    lead = x.shape[:-1]
    return tuple(o.reshape(*lead, *o.shape[1:]) for o in outputs), sums


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
    """A batch that is gathered is seen: the check can fail."""
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


def of_mapped(fn: Callable[..., Any]) -> Callable[..., Array]:
    """A number that every output, and every sum if there are any, counts in."""

    def number(window: Any, x: Any, y: Any) -> Array:
        (value, spectrum), sums = fn(window, x, y)
        total = jnp.sum(jnp.sin(value)) + jnp.sum(spectrum @ jnp.asarray(TABLE))
        return total + sum((jnp.sum(jnp.sin(s / 8)) for s in sums), jnp.zeros(()))

    return number


def second_order(fn: Callable[..., Array], tangents: Any, *args: Any) -> Any:
    """Value, gradients, forward mode and second order both ways, for all arguments."""
    argnums = tuple(range(len(args)))
    gradient = jax.grad(fn, argnums)

    def along(*args: Any) -> Array:
        pairs = zip(gradient(*args), tangents, strict=True)
        return sum((jnp.sum(g * t) for g, t in pairs), jnp.zeros(()))

    return {
        "reverse": jax.value_and_grad(fn, argnums)(*args),
        "forward": jax.jvp(fn, args, tangents),
        "forward over reverse": jax.jvp(gradient, args, tangents)[1],
        "reverse over reverse": jax.grad(along, argnums)(*args),
    }


def check_derivatives() -> None:
    """For what is shared and for rows, of row outputs with and without sums."""
    tangents = np.cos(WINDOW), V, V[::-1]
    for with_sums in True, False:
        of = functools.partial(plain, with_sums=with_sums)
        reference = functools.partial(second_order, of_mapped(of))
        expected = jax.jit(reference)(tangents, WINDOW, X, Y)
        ours = functools.partial(mapped, with_sums=with_sums)
        fn = functools.partial(second_order, of_mapped(ours))
        agree(jax.jit(fn)(tangents, WINDOW, X, Y), expected, 1e-10)
        for kind in KINDS:
            mesh = make_mesh(kind)
            for spec in ("data",), ("data", "model"):
                rows = [put(a, mesh, *spec) for a in (X, Y, V, V[::-1])]
                window, change = put(WINDOW, mesh), put(tangents[0], mesh)
                args = (change, *rows[2:]), window, *rows[:2]
                run = compiled(fn, *args)
                communicates_at_most(N, run)
                got = run(*args)
                agree(got, expected, 1e-10)
                padded = (*spec, None, None)[:3]
                assert spec_of(got["reverse"][1][1]) == padded
                assert spec_of(got["reverse over reverse"][2]) == padded


def check_derivatives_of_what_lies_elsewhere() -> None:
    """A target that is the same for all or on all devices, a window that is cut."""
    for y, y_spec, window_spec in (
        (Y[:1, :1], (), ()),
        (Y[:1], (None, "data"), ()),
        (Y, (), ()),
        (Y, (None, "model"), ()),
        (Y, ("data",), ("data",)),
    ):

        def whole(window: Any, x: Any, y: Any) -> Any:
            return plain(window, x, jnp.broadcast_to(y, x.shape))

        argnums = (0, 1, 2)
        reference = jax.grad(of_mapped(whole), argnums)
        expected = jax.jit(reference)(WINDOW, X, y)
        for kind in KINDS:
            mesh = make_mesh(kind)
            window, x = put(WINDOW, mesh, *window_spec), put(X, mesh, "data")
            args = window, x, put(y, mesh, *y_spec)
            got = jax.jit(jax.grad(of_mapped(mapped), argnums))(*args)
            agree(got, expected, 1e-10)
            with jax.set_mesh(mesh):
                agree(jax.grad(of_mapped(mapped), argnums)(*args), expected, 1e-10)


def check_vmap_of_derivatives() -> None:
    """Per-example gradients: of rows nothing moves, a window has one for each."""
    fn = jax.grad(of_mapped(mapped), (0, 1, 2))
    reference = jax.jit(jax.grad(of_mapped(plain), (0, 1, 2)))
    windows = np.stack([WINDOW * (1 + i / 8) for i in range(8)])
    for axes in (None, 0, 0), (0, 0, 0), (0, None, None), (None, 0, None):
        window = WINDOW if axes[0] is None else windows
        x, y = (a[0] if n is None else a for a, n in ((X, axes[1]), (Y, axes[2])))
        expected = _loop(reference, axes, 8, window, x, y)
        for kind in KINDS:
            mesh = make_mesh(kind)
            placed = [
                put(a, mesh, *([] if n is None else ["data"]))
                for a, n in zip((window, x, y), axes, strict=True)
            ]
            run = compiled(jax.vmap(fn, axes), *placed)
            agree(run(*placed), expected, 1e-10)
            if axes[1:] == (0, 0):
                assert collectives(run) == []


def check_derivatives_inside_shard_map() -> None:
    """What is replicated has the gradient of all rows: JAX sums it, once."""
    for with_sums in True, False:
        fns = [functools.partial(f, with_sums=with_sums) for f in (mapped, plain)]
        if with_sums:  # every device has sums of its own
            halves = [slice(i, i + 2) for i in range(0, 8, 2)]

            def reference(window: Any, x: Any, y: Any) -> Array:
                number = of_mapped(plain)
                return sum((number(window, x[h], y[h]) for h in halves), jnp.zeros(()))  # noqa: B023

        else:
            reference = of_mapped(fns[1])
        expected = jax.jit(jax.grad(reference, (0, 1, 2)))(WINDOW, X, Y)
        for kind in KINDS:
            mesh = make_mesh(kind)
            inside = jax.shard_map(
                jax.grad(of_mapped(fns[0]), (0, 1, 2)),
                mesh=mesh,
                in_specs=(P(), P("data"), P("data")),
                out_specs=(P(), P("data"), P("data")),
            )
            args = put(WINDOW, mesh), put(X, mesh, "data"), put(Y, mesh, "data")
            run = compiled(inside, *args)
            communicates_at_most(N, run)
            agree(run(*args), expected, 1e-10)


# Of a transform on its own: its values are one operation, and its derivatives another.
HOP = 12


def spectrum(window: Any, x: Any) -> Array:
    return ke.STFT(N, HOP, window=window)(x)


def spectrogram(window: Any, x: Any) -> Array:
    return ke.Spectrogram(N, HOP, window=window)(x)


def naive_spectrum(window: Any, x: Any) -> Array:
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(N // 2, N // 2)])
    starts = range(0, x.shape[-1] - N + 1, HOP)
    frames = jnp.stack([x[..., start : start + N] for start in starts], -2)
    return jnp.swapaxes(jnp.fft.rfft(frames * window), -1, -2)


def naive_spectrogram(window: Any, x: Any) -> Array:
    S = naive_spectrum(window, x)
    return S.real**2 + S.imag**2


def of_spectrum(fn: Callable[..., Array]) -> Callable[..., Array]:
    def number(window: Any, x: Any) -> Array:
        S = fn(window, x)
        if not jnp.iscomplexobj(S):
            return jnp.log(S + 1e-3).mean()
        return jnp.sin(S.real).mean() + jnp.cos(S.imag).mean()

    return number


TRANSFORMS = (spectrum, naive_spectrum), (spectrogram, naive_spectrogram)


def check_a_transform_stays_where_its_signals_are() -> None:
    """With windows that are learnable, and along samples that are not on one device."""
    specs = [("data",), (("data", "model"),), ("data", "model"), (None, "data"), ()]
    for kind in KINDS:
        mesh = make_mesh(kind)
        for ours, naive in TRANSFORMS:
            expected = jax.jit(naive)(WINDOW, X)
            for spec in specs:
                args = put(WINDOW, mesh), put(X, mesh, *spec)
                run = compiled(ours, *args)
                assert collectives(run) == []
                got = run(*args)
                agree(got, expected)
                assert spec_of(got) == (*spec, None, None, None, None)[:4]
                agree(ours(*args), expected)
            cut = put(X, mesh, None, None, "data")
            agree(jax.jit(ours)(put(WINDOW, mesh), cut), expected)


def check_derivatives_of_a_transform() -> None:
    tangents = np.cos(WINDOW), V
    for ours, naive in TRANSFORMS:
        reference = functools.partial(second_order, of_spectrum(naive))
        expected = jax.jit(reference)(tangents, WINDOW + 0.1, X)
        fn = functools.partial(second_order, of_spectrum(ours))
        for kind in KINDS:
            mesh = make_mesh(kind)
            for spec in ("data",), ("data", "model"):
                changes = put(tangents[0], mesh), put(V, mesh, *spec)
                args = changes, put(WINDOW + 0.1, mesh), put(X, mesh, *spec)
                run = compiled(fn, *args)
                communicates_at_most(N, run)
                got = run(*args)
                agree(got, expected, 1e-10)
                padded = (*spec, None, None)[:3]
                assert spec_of(got["reverse"][1][1]) == padded
                assert spec_of(got["forward over reverse"][1]) == padded


def check_a_linear_transform_has_a_transpose() -> None:
    """Of its change, which is linear: and of that the transpose, as in grad of grad."""
    S = jax.eval_shape(naive_spectrum, WINDOW, X)
    bins = RNG.standard_normal((2, *S.shape))
    cotangent = bins[0] + 1j * bins[1]

    def both(fn: Callable[..., Array], window: Any, x: Any, v: Any, c: Any) -> Any:
        change = functools.partial(jax.jvp, functools.partial(fn, window), (x,))
        back = jax.linear_transpose(lambda v: change((v,))[1], x)
        forth = jax.linear_transpose(lambda c: back(c)[0], c)
        return change((v,))[1], back(c), forth(v)

    expected = jax.jit(functools.partial(both, naive_spectrum))(WINDOW, X, V, cotangent)
    for kind in KINDS:
        mesh = make_mesh(kind)
        rows = [put(a, mesh, "data") for a in (X, V, cotangent)]
        args = put(WINDOW, mesh), *rows
        run = compiled(functools.partial(both, spectrum), *args)
        assert collectives(run) == []
        agree(run(*args), expected, 1e-11)


def check_vmap_of_the_gradient_of_a_transform() -> None:
    for ours, naive in TRANSFORMS:
        for axes in (None, 0), (0, None), (0, 0):
            window = WINDOW + 0.1 + np.zeros((8, 1))
            window = window[0] if axes[0] is None else window
            x = X if axes[1] == 0 else X[0]
            reference = jax.vmap(jax.grad(of_spectrum(naive), (0, 1)), axes)
            expected = jax.jit(reference)(window, x)
            fn = jax.vmap(jax.grad(of_spectrum(ours), (0, 1)), axes)
            for kind in KINDS:
                mesh = make_mesh(kind)
                placed = [
                    put(a, mesh, *(["data"] if n == 0 else []))
                    for a, n in zip((window, x), axes, strict=True)
                ]
                run = compiled(fn, *placed)
                agree(run(*placed), expected, 1e-10)
                if axes[1] == 0:
                    assert collectives(run) == []


def check_the_gradient_of_a_transform_inside_shard_map() -> None:
    """Of all devices' rows; with and without JAX's check of what varies."""
    for ours, naive in TRANSFORMS:

        def total(window: Any, x: Any, naive: Any = naive) -> Array:
            return sum((of_spectrum(naive)(window, one) for one in x), jnp.zeros(()))

        expected = jax.jit(jax.grad(total, (0, 1)))(WINDOW + 0.1, X)
        for kind in KINDS:
            mesh = make_mesh(kind)

            def local(window: Any, x: Any, ours: Any = ours) -> Any:
                gradients = jax.vmap(jax.grad(of_spectrum(ours), (0, 1)), (None, 0))
                of_window, of_x = gradients(window, x)
                return of_window.sum(0), of_x

            fn = jax.shard_map(
                local,
                mesh=mesh,
                in_specs=(P(), P("data")),
                out_specs=(P(), P("data")),
            )
            args = put(WINDOW + 0.1, mesh), put(X, mesh, "data")
            run = compiled(fn, *args)
            communicates_at_most(2 * N, run)  # a gradient for each example
            agree(run(*args), expected, 1e-10)
            unchecked = jax.shard_map(
                lambda w, x, local=local: local(w, x)[1],
                mesh=mesh,
                in_specs=(P(), P("data")),
                out_specs=P("data"),
                check_vma=False,
            )
            run = compiled(unchecked, *args)
            assert collectives(run) == []
            agree(run(*args), expected[1], 1e-10)


def check_under_a_mesh_that_is_set() -> None:
    """By `jax.set_mesh`: values, gradients and examples one by one, eager as well."""
    for kind in KINDS:
        mesh = make_mesh(kind)
        with jax.set_mesh(mesh):
            args = put(WINDOW + 0.1, mesh), put(X, mesh, "data")
            for ours, naive in TRANSFORMS:
                fn = jax.value_and_grad(of_spectrum(ours), (0, 1))
                reference = jax.value_and_grad(of_spectrum(naive), (0, 1))
                expected = jax.jit(reference)(WINDOW + 0.1, X)
                agree(jax.jit(fn)(*args), expected, 1e-10)
                agree(fn(*args), expected, 1e-10)
                agree(fn(WINDOW + 0.1, X), expected, 1e-10)
                each = jax.jit(jax.vmap(ours, (None, 0)))(*args)
                agree(each, jax.jit(naive)(WINDOW + 0.1, X))
                assert spec_of(each)[0] == "data"


@dataclasses.dataclass(frozen=True)
class LossRows(RowFunction):
    """A multi-resolution STFT loss of each row, and its gradient: one fused pass."""

    fft_sizes: tuple[int, ...]
    with_gradient: bool

    def rows_at_once(self, n_rows: Any, n_samples: int) -> int:
        return 2

    def kinds(self, shared: Any, rows: Any) -> Any:
        value = jax.ShapeDtypeStruct((), rows[0].dtype)
        return ((value, rows[0]) if self.with_gradient else (value,)), ()

    def __call__(self, shared: Any, rows: Any, is_all: bool = False) -> Any:
        if not self.with_gradient:
            return (self._values(*rows),), ()
        values, transpose = jax.vjp(lambda x: self._values(x, rows[1]), rows[0])
        return (values, *transpose(jnp.ones_like(values))), ()

    def _values(self, x: Array, y: Array) -> Array:
        terms = [self._term(x, y, n_fft) for n_fft in self.fft_sizes]
        return sum(terms[1:], terms[0]) / len(terms)

    def _term(self, x: Array, y: Array, n_fft: int) -> Array:
        window = jnp.asarray(np.hanning(n_fft + 1)[:-1], x.dtype)
        hop = n_fft // 4
        signals = jnp.stack([x, y])
        signals = jnp.pad(signals, ((0, 0), (0, 0), (n_fft // 2, n_fft // 2)))
        blocks = signals.reshape(2, len(x), -1, hop)
        n_frames = blocks.shape[-2] - 3
        parts = [blocks[..., i : i + n_frames, :] for i in range(4)]
        spectra = jnp.fft.rfft(jnp.concatenate(parts, -1) * window)
        magnitudes = jnp.sqrt(spectra.real**2 + spectra.imag**2 + 1e-7)
        logarithms = jnp.log(magnitudes)
        linear = jnp.abs(magnitudes[0] - magnitudes[1]).mean((-2, -1))
        return linear + jnp.abs(logarithms[0] - logarithms[1]).mean((-2, -1))


FFT_SIZES = (64, 512)


@jax.custom_jvp
def fused_loss(x: Array, y: Array) -> Array:
    fn = LossRows(FFT_SIZES, with_gradient=False)
    ((values,), _) = call_rows(fn, (), (x, y))
    return values.mean()


@fused_loss.defjvp
def _fused_loss_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    fn = LossRows(FFT_SIZES, with_gradient=True)
    (values, gradient), _ = call_rows(fn, (), primals)
    return values.mean(), (gradient * tangents[0]).sum() / values.size


def check_a_fused_multi_resolution_loss() -> None:
    """Value and gradient in one pass, in pieces: one scalar all-reduce."""
    x, y = RNG.standard_normal((2, 16, 2, 4096)).astype(np.float32)
    rows = LossRows(FFT_SIZES, with_gradient=False)
    flat = y.reshape(-1, y.shape[-1])

    def reference(x: Array) -> Array:
        return rows((), (x.reshape(flat.shape), flat))[0][0].mean()

    value, gradient = jax.jit(jax.value_and_grad(reference))(x)
    for kind in KINDS:
        mesh = make_mesh(kind)
        spec = ("data", "model")
        args = put(x, mesh, spec), put(y, mesh, spec)
        run = compiled(jax.value_and_grad(fused_loss), *args)
        got = run(*args)
        agree(got, (value, gradient), 1e-6)
        assert spec_of(got[1]) == (spec, None, None)
        assert collectives(run) == [("all-reduce", 1)]


def check_operations_one_by_one_on_explicit_axes() -> None:
    """Under `jax.disable_jit`; JAX differentiates in the context of the mesh alone."""
    x, y = X[:8, 0], Y[:8, 0]
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Explicit,))
    arrays = jax.device_put((x, y), NamedSharding(mesh, P("data")))
    for loss in (ke.PitchTransportLoss(32, 8), ke.MRSTFTLoss((8,), (32,))):
        value, gradient = jax.jit(jax.value_and_grad(loss))(x, y)
        with jax.disable_jit():
            agree(loss(*arrays), value, 1e-10)
            with jax.sharding.set_mesh(mesh):
                agree(jax.value_and_grad(loss)(*arrays), (value, gradient), 1e-10)


def check_the_platform_compiled_for_decides() -> None:
    """What is broken on TPUs is not in a program for one, made anywhere."""
    operations = {AxisType.Auto: "CustomSPMD", AxisType.Explicit: "all_reduce"}
    for kind, operation in operations.items():
        mesh = make_mesh(kind)
        args = WINDOW, put(X, mesh, "data"), put(Y, mesh, "data")
        traced = jax.jit(mapped).trace(*args)
        for platform in ("cpu", "tpu"):
            text = traced.lower(lowering_platforms=(platform,)).as_text()
            works = kind is AxisType.Explicit or platform == "cpu"
            assert (operation in text) == works, text


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
