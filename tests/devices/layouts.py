"""Every class on eight devices with explicit axes, in every layout of its arrays.

Run by `test_sharding.py` in a process of its own, as `checks.py` is by its
test: `python layouts.py 1 0` prints the outcomes of all classes in all layouts, and
`python layouts.py 7 3` those of every seventh from the third on.
"""

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import registry
from checks import agree, make_mesh, put
from jax import Array
from jax.sharding import AxisType

import korvax_eqx as ke

# The leading axes, and what cuts them and the last axis. The mesh is of 4 and 2.
LAYOUTS = {
    "batch": ((4,), ("data",), None),
    "batch, cut twice": ((8,), (("data", "model"),), None),
    "batch and channels": ((4, 2), ("data", "model"), None),
    "channels": ((4, 2), (None, "model"), None),
    "one channel": ((4, 1), ("data",), None),
    "three axes": ((2, 4, 1), ("model", "data"), None),
    "inner axis": ((2, 4, 1), (None, "data"), None),
    "last axis": ((2,), (), "data"),
    "batch and last axis": ((4,), ("data",), "model"),
    "last axis of one": ((), (), "data"),
}


def arguments(case: Any, lead: tuple[int, ...]) -> list[np.ndarray]:
    """What an object takes: signals, or spectra of them."""
    n_arrays = len(registry.arguments(case)) if case in registry.ALL else 2
    kinds = [*registry.SCALES, *registry.SPECTRAL_LOSSES, *registry.LEVEL_LOSSES]
    complex_kinds = [*registry.COMPLEX_SCALES, *registry.COMPLEX_LOSSES]
    arrays: Any = case.signals(*lead)[:n_arrays]
    if case in [*kinds, *complex_kinds, *registry.BATCH_LOSSES]:
        make = ke.STFT if case in complex_kinds else ke.Spectrogram
        arrays = map(make(**registry.SIZES), arrays)
    return list(map(np.asarray, arrays))


def everything(case: Any, lead: tuple[int, ...]) -> Callable[..., Array]:
    """One number of all that a user may call an object for."""
    module, keywords, fn = case.make(), case.keywords, case.callable()

    def size(out: Any) -> Array:
        return jnp.mean(jnp.square(out.real) + jnp.square(out.imag))

    def of_loss(x: Array, y: Array) -> Array:
        terms = module.with_terms(x, y, **keywords)[1].values()
        total = sum((i * t for i, t in enumerate(terms, 1)), jnp.zeros(()))
        total += fn(x, y) + sum(module.parts(x, y, **keywords).values())
        total += module.bind(y, **keywords)(x, **keywords)
        if lead:
            total += jnp.mean(jax.vmap(fn)(x, y) ** 2)
        if case in [*registry.BATCHES, *registry.RECIPES_OF_BATCHES]:
            return total
        lengths = jnp.asarray(np.full(lead[:1], 1400))
        lengths = lengths.reshape(*lead[:1], *(1,) * (x.ndim - 1 - len(lead[:1])))
        bound = module.bind(y, lengths=lengths, **keywords)
        return total + module(x, y, lengths=lengths, **keywords) + bound(x, **keywords)

    def of_map(*arrays: Array) -> Array:
        total = size(fn(*arrays))
        return total + size(jax.vmap(fn)(*arrays)) if lead else total

    return of_loss if isinstance(module, ke.AbstractLoss) else of_map


def check(case: Any, layout: str) -> None:
    """Value and gradients are those of one device, and lie where the arrays do."""
    lead, cut, last = LAYOUTS[layout]
    arrays = arguments(case, lead)
    fn = jax.value_and_grad(everything(case, lead), tuple(range(len(arrays))))
    expected = jax.jit(fn)(*arrays)
    mesh = make_mesh(AxisType.Explicit)
    whole = (None,) * (arrays[0].ndim - 1 - len(cut))
    placed = [put(a, mesh, *cut, *whole, last) for a in arrays]
    got = jax.jit(fn)(*placed)
    assert all(
        jax.typeof(g) == jax.typeof(a) for g, a in zip(got[1], placed, strict=True)
    )
    agree(got, expected, 1e-4)


def chosen(step: int, first: int) -> Iterator[tuple[Any, str]]:
    """Pairs of a class and a layout, such that every few have all layouts."""
    kinds = [*registry.ALL, *registry.RECIPES, *registry.RECIPES_OF_BATCHES]
    pairs = [
        (case, layout)
        for i in range(len(LAYOUTS))
        for k, case in enumerate(kinds)
        for layout in [list(LAYOUTS)[(i + k) % len(LAYOUTS)]]
    ]
    yield from pairs[first % step :: step]


def main() -> None:
    step, first = map(int, sys.argv[1:3])
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    assert jax.device_count() == 8
    outcomes: dict[str, str | None] = {}
    for case, layout in chosen(step, first):
        name = f"{case.name}, {layout}"
        if sys.argv[3:] and case.name not in sys.argv[3:]:
            continue
        try:
            check(case, layout)
            outcomes[name] = None
        except Exception:
            outcomes[name] = traceback.format_exc()
        print(name, outcomes[name] or "", file=sys.stderr)
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
