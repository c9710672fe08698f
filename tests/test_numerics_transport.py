import dataclasses
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import korvax
import numpy as np
import promotion
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Array

from korvax_eqx._numerics import _transport, _transport_quantiles, _transport_scan
from korvax_eqx._numerics._transport import wasserstein_1d
from korvax_eqx._platform import PLATFORMS, compiling_for

ORDERS = [1, 1.5, 2, 3]
DTYPES = [np.float32, np.float64]
RTOL = {np.float32: 1e-5, np.float64: 1e-9}
# One shape for most tests, so that they share their compilations.
N_ROWS, N = 3, 70

by_order = pytest.mark.parametrize("p", ORDERS)
by_lowpass = pytest.mark.parametrize("lowpass", [False, True])
by_dtype = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture(autouse=True)
def _x64_and_strict_promotion():
    # Every array here has its dtype stated: float32 is not affected by x64.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        yield


def with_slopes(f: Callable[..., Array], p: Any, lowpass: bool, *args: Array):
    W, pull = jax.vjp(lambda u, v, x: f(u, v, x, p, lowpass), *args)
    return W, *pull(jnp.ones_like(W))


@partial(jax.jit, static_argnums=(3, 4))
def ours(u: Array, v: Array, x: Array, p: Any, lowpass: bool):
    """`W_p^p` of each row and the gradients of the sum of them."""
    return with_slopes(wasserstein_1d, p, lowpass, u, v, x)


@partial(jax.jit, static_argnums=(3, 4))
def theirs(u: Array, v: Array, x: Array, p: Any, lowpass: bool):
    """The sum over rows in korvax, and its gradients."""

    def total(u: Array, v: Array, x: Array, p: Any, lowpass: bool) -> Array:
        return u.shape[0] * korvax.loss.spectral_optimal_transport_loss(
            u.T, v.T, x, p=p, normalize=False, balanced=False, quantile_lowpass=lowpass
        )

    with promotion.usual_promotion():
        return with_slopes(total, p, lowpass, u, v, x)


def by_sorting(u: Any, v: Any, x: Any, p: float, lowpass: bool) -> np.ndarray:
    """The definition, in float64, one row at a time."""
    u, v, x = (np.asarray(a, np.float64) for a in (u, v, x))
    out = []
    for U, V in zip(np.cumsum(u, -1), np.cumsum(v, -1), strict=True):
        q = np.sort(np.concatenate([U, V]))
        at_u = x[np.minimum(np.searchsorted(U, q), x.size - 1)]
        at_v = x[np.minimum(np.searchsorted(V, q), x.size - 1)]
        length = np.diff(q, prepend=0.0)
        if lowpass:
            length[q > 1] = 0
        out.append(np.sum(length * np.abs(at_u - at_v) ** p))
    return np.array(out)


def random_case(
    seed: int,
    n: int = N,
    density: float = 1.0,
    balanced: bool = False,
    dtype: Any = np.float64,
) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    masses = []
    for total in (1.5, 1.3):
        # Totals vary around these, some rows below 1 and some above.
        a = (rng.gamma(0.5, size=(N_ROWS, n)) + 1e-3) * rng.uniform(0.5, 1, (N_ROWS, 1))
        a *= rng.random(a.shape) < density
        scale = np.sum(a, -1, keepdims=True) if balanced else np.mean(np.sum(a, -1))
        masses.append(a * ((1 if balanced else total) / np.maximum(scale, 1e-300)))
    x = np.sort(rng.random(n))
    return (
        jnp.asarray(masses[0], dtype),
        jnp.asarray(masses[1], dtype),
        jnp.asarray(x, dtype),
    )


def normalised(a: Array) -> Array:
    return a / jnp.sum(a, -1, keepdims=True)


def assert_close(actual: Any, desired: Any, rtol: float) -> None:
    """Relative to the largest element: rounding reaches every sum alike."""
    actual, desired = np.asarray(actual, np.float64), np.asarray(desired, np.float64)
    assert actual.shape == desired.shape
    scale = max(np.max(np.abs(desired), initial=0.0), 1e-30)
    np.testing.assert_allclose(actual / scale, desired / scale, rtol=0, atol=rtol)


@by_dtype
@by_lowpass
@by_order
def test_value(p, lowpass, dtype):
    for seed, density in enumerate([1.0, 0.5, 0.1]):
        case = random_case(seed, density=density, dtype=dtype)
        W = ours(*case, p, lowpass)[0]
        assert W.dtype == dtype
        assert_close(W, by_sorting(*case, p, lowpass), RTOL[dtype])
        assert_close(jnp.sum(W), theirs(*case, p, lowpass)[0], RTOL[dtype])


@by_dtype
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("n", [1, 2, 32, 33, 1025])
def test_any_number_of_bins(n, p, dtype):
    case = random_case(n, n, dtype=dtype)
    W, *slopes = ours(*case, p, False)
    # The oracles in float64, so that their own rounding does not count.
    u, v, x = (a.astype(np.float64) for a in case)
    assert_close(W, by_sorting(u, v, x, p, False), RTOL[dtype])
    for a, b in zip(slopes, theirs(u, v, x, p, False)[1:], strict=True):
        assert_close(a, b, RTOL[dtype])


@by_dtype
@by_lowpass
@by_order
def test_gradient_matches_korvax(p, lowpass, dtype):
    for seed in range(3):
        case = random_case(seed, dtype=dtype)
        u, v, x = (a.astype(np.float64) for a in case)
        _, *desired = theirs(u, v, x, p, lowpass)
        for a, d in zip(ours(*case, p, lowpass)[1:], desired, strict=True):
            assert a.dtype == dtype
            assert_close(a, d, RTOL[dtype])


@by_order
def test_gradient_matches_korvax_at_bins_with_mass(p):
    # At bins without mass there is only a one-sided derivative; see below.
    for seed in range(5):
        u, v, x = random_case(seed, density=0.4)
        u, v = (u.at[0].set(0), v.at[1].set(0)) if seed == 0 else (u, v)
        actual, desired = ours(u, v, x, p, False), theirs(u, v, x, p, False)
        assert_close(actual[1][u > 0], desired[1][u > 0], 1e-9)
        assert_close(actual[2][v > 0], desired[2][v > 0], 1e-9)
        assert_close(actual[3], desired[3], 1e-9)


@pytest.mark.parametrize("p", [1, 2])
def test_gradient_of_balanced_masses_matches_korvax(p):
    # Equal totals are a kink, which normalising the masses does not feel.
    u, v, x = random_case(6, density=0.4)

    def of_masses(f):
        scaled, pull = jax.vjp(lambda u, v: (normalised(u), normalised(v)), u, v)
        return pull(tuple(f(*scaled, x, p, False)[1:3]))

    for a, d, mass in zip(of_masses(ours), of_masses(theirs), (u, v), strict=True):
        assert_close(a[mass > 0], d[mass > 0], 1e-9)


@by_order
def test_value_matches_pot(p):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Invalid escapes in its docstrings.
        import ot
    u, v, x = random_case(7, density=0.5, balanced=True)
    x_rows = np.tile(np.asarray(x)[:, None], N_ROWS)
    desired = ot.wasserstein_1d(x_rows, x_rows, np.array(u.T), np.array(v.T), p)
    assert_close(ours(u, v, x, p, False)[0], desired, 1e-9)


def test_hand_computed():
    x = jnp.array([0.0, 1.0, 3.0])
    # Half of the mass goes from 0 to 1, half from 0 to 3.
    u, v = jnp.array([[1.0, 0.0, 0.0]]), jnp.array([[0.0, 0.5, 0.5]])
    assert ours(u, v, x, 2, False)[0] == 5.0
    assert ours(u, v, x, 1, False)[0] == 2.0
    # Missing mass is mass of the last bin.
    assert ours(u, 0 * u, x, 2, False)[0] == 9.0
    # Pieces end at 0.5, 1 and 1.25. The last costs (3 - 0)^2 and is dropped.
    assert ours(1.25 * u, v, x, 2, True)[0] == 5.0
    assert ours(1.25 * u, v, x, 2, False)[0] == 5.0 + 0.25 * 9.0
    # One that starts below 1 and ends above is dropped whole.
    assert ours(u, 1.5 * v, x, 2, True)[0] == 0.75 * 1.0 + 0.25 * 9.0
    assert ours(1.25 * u, 3 * v, x, 2, True)[0] == 0.0


@by_dtype
@by_lowpass
@by_order
def test_equal_masses_give_exactly_zero(p, lowpass, dtype):
    for density in (0.0, 0.2, 1.0):
        u, _, x = random_case(2, density=density, dtype=dtype)
        for a in ours(u, u, x, p, lowpass):
            assert np.all(a == 0)


@pytest.mark.parametrize("balanced", [False, True])
def test_equal_masses_give_zero_however_sums_are_rounded(monkeypatch, balanced):
    # Other devices may sum in another order, and the sums may even decrease.
    exact = _transport_scan.masses

    def rounded(a: Array) -> tuple[Array, ...]:
        *sums, total = exact(a)
        noise = jnp.where(jnp.arange(a.shape[-1]) % 3 == 0, 1 + 1e-3, 1)
        return *(part * jnp.broadcast_to(noise, part.shape) for part in sums), total

    monkeypatch.setattr(_transport_scan, "masses", rounded)
    u, _, x = random_case(2)
    solve = partial(
        _transport_quantiles.any_order, p=2, quantile_lowpass=False, balanced=balanced
    )
    assert np.all(jax.jit(solve)(u, u, x)[0] == 0)


@by_order
def test_slopes_vanish_where_masses_are_equal(p):
    # Exact in binary, so that the cumulative masses meet in every bin but one.
    v = jnp.full((1, 64), 1 / 64)
    u = v.at[0, 10].add(-1 / 128).at[0, 11].add(1 / 128)
    _, to_u, to_v, _ = ours(u, v, jnp.arange(64.0), p, False)
    for slope in (to_u[0], to_v[0]):
        assert np.all(slope[11:] == 0)
        assert np.all(slope[:11] == slope[0]) and slope[0] != 0


@pytest.mark.parametrize("p", [1, 2])
def test_lowpass_does_not_see_rounding(p):
    # A total of 1 that rounding has made 1 + 1e-7: the piece above 0.5 stays.
    above = 2.0**-23
    u = jnp.array([[0.5, 0.5 + above, 0.0]], np.float32)
    v = jnp.array([[0.0, 0.0, 1.0 + above]], np.float32)
    W, to_u, *_ = ours(u, v, jnp.arange(3, dtype=np.float32), p, True)
    assert_close(W, [0.5 * 2**p + 0.5], 1e-6)
    assert_close(to_u, [[2**p, 1, 0]], 1e-6)


@by_lowpass
@by_order
def test_derivative_is_the_limit_of_differences(p, lowpass):
    args = random_case(3)
    rng = np.random.default_rng(0)
    _, *slopes = ours(*args, p, lowpass)
    h = 1e-7
    for i, slope in enumerate(slopes):
        along = jnp.asarray(rng.standard_normal(args[i].shape))

        def total(a, i=i):
            return jnp.sum(ours(*args[:i], a, *args[i + 1 :], p, lowpass)[0])

        numeric = (total(args[i] + h * along) - total(args[i] - h * along)) / (2 * h)
        # A central difference has no better than eight digits here.
        np.testing.assert_allclose(jnp.vdot(slope, along), numeric, rtol=1e-6)


@by_order
def test_forward_mode_agrees_with_reverse_mode(p):
    args = random_case(4)
    rng = np.random.default_rng(0)
    along = tuple(jnp.asarray(rng.standard_normal(a.shape)) for a in args)
    f = partial(wasserstein_1d, p=p)
    _, forward = jax.jit(lambda a, t: jax.jvp(f, a, t))(args, along)
    reverse = sum(map(jnp.vdot, ours(*args, p, False)[1:], along))
    np.testing.assert_allclose(jnp.sum(forward), reverse, rtol=1e-9)


@pytest.mark.parametrize("swap", [False, True])
def test_empty_bins_have_the_one_sided_derivative(swap):
    u, v, x = (a[:1] if a.ndim == 2 else a for a in random_case(5, density=0.3))
    # Empty at both ends, where rounding of equal totals must not decide.
    u, v = u.at[:, :4].set(0).at[:, -6:].set(0), v.at[:, :2].set(0).at[:, -3:].set(0)

    @jax.jit
    def f(u):
        a, b = (v, u) if swap else (u, v)
        return wasserstein_1d(normalised(a), normalised(b), x, 2, balanced=True)[0]

    slope, value, h = jax.jit(jax.grad(f))(u)[0], f(u), 1e-7
    for k in np.flatnonzero(u[0] == 0):
        difference = (f(u.at[0, k].add(h)) - value) / h
        # A difference to one side only: in error by `h`, and by rounding over `h`.
        np.testing.assert_allclose(slope[k], difference, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "p,lowpass", [(1, False), (1.5, False), (2, False), (2, True), (3, True)]
)
def test_second_derivatives(p, lowpass):
    args = random_case(7)
    rng = np.random.default_rng(1)
    along = tuple(jnp.asarray(rng.standard_normal(a.shape)) for a in args)

    def f(args):
        # Curved in the masses by the normalisation, and mixed with the positions.
        u, v, x = args
        u, v = 1.4 * normalised(u), 1.2 * normalised(v)
        return jnp.sum(wasserstein_1d(u, v, x, p, lowpass))

    def along_gradient(args):
        return sum(map(jnp.vdot, jax.grad(f)(args), along))

    gradient = jax.jit(jax.grad(f))
    h = 1e-8

    def moved(h):
        return gradient(tuple(a + h * d for a, d in zip(args, along, strict=True)))

    _, forward = jax.jit(lambda a, t: jax.jvp(jax.grad(f), (a,), (t,)))(args, along)
    reverse = jax.jit(jax.grad(along_gradient))(args)
    for a, b, high, low in zip(forward, reverse, moved(h), moved(-h), strict=True):
        assert np.max(np.abs(a)) > 1e-3
        assert_close(b, a, 1e-9)
        # Rounding of the gradients over `h` leaves 1e-7.
        assert_close(a, (high - low) / (2 * h), 1e-6)


@by_lowpass
@by_order
def test_nan_is_passed_on_in_its_row_only(p, lowpass):
    for which in (0, 1):
        for k in (0, 40, N - 1):
            args = list(random_case(8))
            args[which] = args[which].at[1, k].set(jnp.nan)
            W, *slopes = ours(*args, p, lowpass)
            np.testing.assert_array_equal(np.isnan(W), [False, True, False])
            assert np.all(np.isnan(slopes[which][1]))
            assert np.all(np.isfinite(slopes[which][::2]))


masses = st.sampled_from([0.0, 0.0, 1e-30, 1e-8, 0.25, 0.5, 1.0, 1e15])
masses = st.lists(masses | st.floats(0, 4, width=32), min_size=N, max_size=N)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(masses, masses, st.booleans())
def test_finite_and_not_negative(u, v, all_in_one_place):
    u, v = (jnp.broadcast_to(jnp.asarray(a, np.float32), (N_ROWS, N)) for a in (u, v))
    x = jnp.linspace(0, 0 if all_in_one_place else 1, N, dtype=np.float32)
    for p in ORDERS:
        for lowpass in (False, True):
            W, *slopes = ours(u, v, x, p, lowpass)
            assert np.all(W >= 0)
            for a in (W, *slopes):
                assert np.all(np.isfinite(a))


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_tails_keep_their_precision(platform):
    """Masses of 1e-10 on either side of the peaks are compared in float32."""
    bins = np.arange(1025)
    tails = 1e-10 * np.random.default_rng(0).random((2, bins.size))
    u, v = (
        np.exp(-(((bins - at) / 4) ** 2)) + tail
        for at, tail in zip((400, 460), tails, strict=True)
    )
    slopes = []
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(True), compiling_for(platform):
            a, b, x = (np.asarray(w, dtype) for w in (u / u.sum(), v / v.sum(), bins))
            slopes.append(jax.grad(wasserstein_1d)(a, b, x, 1, balanced=True))
    assert slopes[0].dtype == jnp.float32
    # Up to a constant, the slope at a bin is the sum of the signs beyond it.
    signs = [-np.diff(np.asarray(slope)) for slope in slopes]
    assert np.unique(signs[1]).size == 2 and signs[1].min() == -1
    np.testing.assert_array_equal(signs[0], signs[1])


@pytest.mark.parametrize("p", [1, 1.5])
def test_rows_in_pieces_and_vmap_change_nothing(p, monkeypatch):
    u, v, x = random_case(9)
    whole = ours(u, v, x, p, False)

    def check(f):
        solved = jax.jit(partial(with_slopes, f, p, False))(u, v, x)
        for a, b in zip(solved, whole, strict=True):
            assert_close(a, b, 1e-12)

    check(
        lambda u, v, x, p, _: jax.vmap(partial(wasserstein_1d, positions=x, p=p))(u, v)
    )
    check(lambda u, v, x, p, _: wasserstein_1d(u[:, None], v[:, None], x, p)[:, 0])
    # Two pieces for three rows, the last one filled up.
    small = dataclasses.replace(PLATFORMS["cpu"], masses=2 * N)
    monkeypatch.setattr(_transport, "target", lambda: small)
    pieces = jax.make_jaxpr(partial(wasserstein_1d, p=p))
    assert ("scan" in str(pieces(u, v, x))) == (p != 1)
    check(wasserstein_1d)


def test_what_is_not_differentiated_costs_nothing():
    u, v, x = random_case(10)

    def flops(argnums):
        f = jax.value_and_grad(
            lambda u, v, x: jnp.sum(wasserstein_1d(u, v, x, 2)), argnums
        )
        cost = jax.jit(f).lower(u, v, x).compile().cost_analysis()
        assert cost is not None
        return cost["flops"]

    assert flops(0) < flops((0, 1)) < flops((0, 1, 2))
