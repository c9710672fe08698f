"""Signal maps on eight devices: prints their checks' outcomes.

Run by `test_maps.py` in a process of its own, as `checks.py` is by its test.
"""

import json
import traceback

import jax
import jax.numpy as jnp
import numpy as np
from checks import KINDS, agree, collectives, compiled, make_mesh, put, spec_of

from korvax_eqx._maps._a_weighting import AWeightingFilter
from korvax_eqx._maps._channel_mix import ChannelMix
from korvax_eqx._maps._fir import FIRFilter
from korvax_eqx._maps._k_weighting import KWeightingFilter
from korvax_eqx._maps._mid_side import MidSide
from korvax_eqx._maps._pre_emphasis import PreEmphasis

X = np.random.default_rng(0).standard_normal((16, 2, 1500))
TAPS = np.random.default_rng(1).standard_normal(600)
MAPS = (
    FIRFilter(TAPS[:3]),
    FIRFilter(TAPS[:33]),
    FIRFilter(TAPS),
    PreEmphasis(),
    AWeightingFilter(16000, 51),
    KWeightingFilter(44100),
    MidSide(),
    ChannelMix(TAPS[:6].reshape(3, 2)),
)


def check_rows_stay() -> None:
    """Nothing is communicated, and outputs and gradients lie where the rows do."""
    for kind in KINDS:
        mesh = make_mesh(kind)
        for map_fn in MAPS:

            def both(x, map_fn=map_fn):
                out, pullback = jax.vjp(map_fn, x)
                return out, *pullback(jnp.sin(out))

            expected = jax.jit(both)(X)
            for spec in ("data", ("data", "model")):
                x = put(X, mesh, spec)
                run = compiled(both, x)
                assert collectives(run) == [], (map_fn, collectives(run))
                got = run(x)
                agree(got, expected)
                assert all(spec_of(one)[0] == spec for one in got)


def check_gradient_of_taps() -> None:
    """Of learnable taps only the gradient is communicated."""

    def energy(taps, x):
        return jnp.sum(jnp.square(FIRFilter(taps)(x)))

    for kind in KINDS:
        mesh = make_mesh(kind)
        for taps in (TAPS[:3], TAPS[:33], TAPS):
            x, h = put(X, mesh, "data"), put(taps, mesh)
            run = compiled(jax.grad(energy), h, x)
            found = collectives(run)
            assert {name for name, _ in found} == {"all-reduce"}, found
            agree(run(h, x), jax.jit(jax.grad(energy))(taps, X), 1e-10)


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    assert jax.device_count() == 8
    outcomes: dict[str, str | None] = {}
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            try:
                check()
                outcomes[name] = None
            except Exception:
                outcomes[name] = traceback.format_exc()
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
