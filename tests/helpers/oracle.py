"""Comparing values and gradients of a function with those of a reference.

Not every configuration has a well-conditioned gradient in float32: the logarithm of a
bin that nearly cancels magnifies the rounding of the FFT. Where the agreed tolerance
is out of reach, the measure is the reference's own float32 error against float64.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import promotion

DOUBLE, SINGLE = 1e-9, 1e-5
# Either of two float32 computations may be the more accurate one. A DFT by a matrix
# product, which the library uses for some sizes, has several times the rounding error
# of an FFT.
SLACK = 10.0
# Compiling is most of a test's time, and optimising most of compiling.
_UNOPTIMISED = {"xla_backend_optimization_level": 0}


def relative_error(actual: Any, desired: Any) -> float:
    """Return max|a - b| / max|b|, over the entries of `desired` that are finite."""
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.shape == desired.shape
    is_finite = np.isfinite(desired)
    assert is_finite.any(), "nothing to compare with"
    wide = np.complex128 if np.iscomplexobj(desired) else np.float64
    actual, desired = actual[is_finite].astype(wide), desired[is_finite].astype(wide)
    error, scale = np.max(np.abs(actual - desired)), np.max(np.abs(desired))
    return float(error / scale) if scale > 0 else float(error)


def assert_close(actual: Any, desired: Any, tolerance: float = SINGLE) -> None:
    """Compare all leaves of two trees by `relative_error`."""
    assert jax.tree.structure(actual) == jax.tree.structure(desired)
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(desired), strict=True)
    for a, b in pairs:
        error = relative_error(a, b)
        assert error <= tolerance, f"relative error {error:.2e} > {tolerance:.2e}"


def standard(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` with the standard promotion of dtypes, which korvax needs."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with promotion.usual_promotion():
            return fn(*args, **kwargs)

    return call


def number(value: Any) -> Any:
    """A scalar for any output: for an array, a random combination of its entries."""
    if value.ndim == 0 and not jnp.iscomplexobj(value):
        return value
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((2, *value.shape)).astype(value.real.dtype)
    total = jnp.sum(weights[0] * value.real)
    return (
        total + jnp.sum(weights[1] * value.imag) if value.dtype.kind == "c" else total
    )


def outcome(fn: Callable[..., Any], wrt: Sequence[int]) -> Callable[..., list[Any]]:
    """Compile a function for the value of `fn` and the gradients of `number` of it."""

    def scalar(*args: Any) -> tuple[Any, Any]:
        value = fn(*args)
        return number(value), value

    both = jax.value_and_grad(scalar, tuple(wrt), has_aux=True)
    compiled = jax.jit(both, compiler_options=_UNOPTIMISED)

    def call(*args: Any) -> list[Any]:
        (_, value), grads = compiled(*args)
        return [value, *grads]

    return call


def cast(args: Sequence[np.ndarray], n_bytes: int) -> list[jax.Array]:
    kinds = {"f": f"f{n_bytes}", "c": f"c{2 * n_bytes}"}
    return [jnp.asarray(a.astype(kinds[a.dtype.kind])) for a in args]


def assert_same(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    *args: np.ndarray,
    wrt: Sequence[int] = (0, 1),
) -> list[Any]:
    """Compare value and gradients with the reference in float64 and in float32.

    `args` hold values that float32 represents, so that both see the same numbers.
    Returns the values of `ours` in both.
    """
    return assert_same_for_all(ours, theirs, [args], wrt)


def assert_same_for_all(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    cases: Sequence[Sequence[np.ndarray]],
    wrt: Sequence[int] = (0, 1),
) -> list[Any]:
    """`assert_same` for many arguments of the same shapes, which compiles only once."""
    theirs = outcome(standard(theirs), wrt)
    ours = outcome(ours, wrt)
    values = []
    for index, args in enumerate(cases):
        with jax.enable_x64(True):
            double = cast(args, 8)
            actual, desired = ours(*double), theirs(*double)
        single = ours(*cast(args, 4))
        assert np.all(np.isfinite(desired[0]))
        rounded = None
        for k, (a, s, d) in enumerate(zip(actual, single, desired, strict=True)):
            name = f"case {index}, " + (f"gradient {wrt[k - 1]}" if k else "value")
            assert a.dtype == d.dtype and s.dtype.itemsize * 2 == d.dtype.itemsize, name
            assert np.all(np.isfinite(a)) and np.all(np.isfinite(s)), name
            error = relative_error(a, d)
            assert error <= DOUBLE, f"float64 {name}: relative error {error:.2e}"
            error, tolerance = relative_error(s, d), SINGLE
            if error > tolerance:
                rounded = rounded or theirs(*cast(args, 4))
                tolerance = max(tolerance, SLACK * relative_error(rounded[k], d))
            assert error <= tolerance, (
                f"float32 {name}: relative error {error:.2e}, allowed {tolerance:.2e}"
            )
        values += [actual[0], single[0]]
    return values


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Noise of a random level, exact in float32."""
    level = 10.0 ** rng.uniform(-1.5, 0.5)
    return (level * rng.standard_normal(shape)).astype(np.float32).astype(np.float64)


def lead(index: int) -> tuple[int, ...]:
    """0, 1 or 2 leading axes."""
    return ((), (2,), (2, 3))[index % 3]


def pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.integers(len(options)))]


def cycle(index: int, *options: Sequence[Any]) -> tuple[Any, ...]:
    """The `index`-th combination of the options; indices cycle through all."""
    combinations = list(itertools.product(*options))
    return combinations[index % len(combinations)]
