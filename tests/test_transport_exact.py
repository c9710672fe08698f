"""The transport loss against rational arithmetic, on masses with every kind of tie.

The loss is written down once more with fractions: quantile functions, nothing shared
with the package. Its one-sided derivatives are differences with a step of 1e-40, which
rational numbers do not round. The gradient must lie between the two.
"""

import functools
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import korvax_eqx as ke

ORDERS = [1, 1.3, 2, 3]
STEP = Fraction(1, 10**40)
Row = Sequence[Fraction]

# By name, masses in eighths. All totals are at least 1/8.
CASES: dict[str, tuple[list[int], list[int]]] = {
    "top bins empty": ([6, 0, 0], [0, 6, 0]),
    "top bins empty in both": ([6, 1, 0, 0, 0], [0, 3, 2, 0, 0]),
    "bottom bins empty": ([0, 0, 3, 5], [0, 2, 0, 6]),
    "single bins": ([0, 0, 8, 0, 0], [0, 8, 0, 0, 0]),
    "single bins, last": ([0, 0, 0, 8], [8, 0, 0, 0]),
    "one bin alone": ([5], [3]),
    "shifted, all breakpoints meet": ([2, 3, 1, 0, 0], [0, 0, 2, 3, 1]),
    "shifted by one": ([2, 3, 1, 2, 0], [0, 2, 3, 1, 2]),
    "empty bins where breakpoints meet": ([4, 0, 0, 4, 0, 0], [2, 2, 0, 0, 0, 4]),
    "meet within runs of both": ([0, 3, 0, 0, 5, 0, 1], [3, 0, 0, 0, 0, 5, 1]),
    "nearly equal": ([1, 2, 3, 2], [1, 3, 2, 2]),
    "no tie": ([5, 1, 7, 0, 2, 0], [1, 3, 0, 2, 3, 0]),
    "lighter target": ([5, 1, 7, 0, 0], [1, 0, 3, 2, 0]),
    "lighter target, meets its total": ([2, 4, 1, 3], [1, 3, 2, 0]),
    "lighter estimate": ([1, 2, 0, 0], [2, 0, 8, 0]),
    "same total, other top": ([1, 4, 3, 0, 0], [0, 3, 1, 4, 0]),
}


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def cumulative(a: Row) -> list[Fraction]:
    total, out = Fraction(0), []
    for mass in a:
        total += mass
        out.append(total)
    return out


def transport(u: Row, v: Row, cost: Callable[[int, int], Fraction]) -> Fraction:
    """`W_p^p`, missing mass at the last bin."""
    U, V, n = cumulative(u), cumulative(v), len(u)
    W = before = Fraction(0)
    for q in sorted({*U, *V} - {0}):
        i = next((k for k in range(n) if U[k] >= q), n - 1)
        j = next((k for k in range(n) if V[k] >= q), n - 1)
        W, before = W + (q - before) * cost(i, j), q
    return W


def exact_loss(x: Row, y: Row, p: float, normalize: bool, balanced: bool) -> Fraction:
    m_x, m_y = sum(x, Fraction(0)), sum(y, Fraction(0))
    if normalize:
        x, y = [a / m_x for a in x], [a / (m_y if balanced else m_x) for a in y]
    elif balanced:
        y = [a * m_x / m_y for a in y]
    return transport(x, y, partial(power, len(x), p))


@functools.cache
def power(n: int, p: float, i: int, j: int) -> Fraction:
    d = Fraction(abs(i - j), n)
    if p == int(p):
        return d ** int(p)
    with mpmath.workdps(60):
        value = mpmath.mpf(d.numerator) / d.denominator
        # To 55 digits: differences below are divided by a step of 1e-40.
        return Fraction(int(mpmath.floor(value ** mpmath.mpf(p) * 10**55)), 10**55)


def one_sided(
    x: Row, y: Row, which: int, k: int, sign: int, f: Callable[[Row, Row], Fraction]
) -> float:
    moved = [list(x), list(y)]
    moved[which][k] += sign * STEP
    return float((f(*moved) - f(x, y)) / (sign * STEP))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("p", ORDERS)
def test_value_and_gradient_are_exact(p, balanced, normalize):
    loss = ke.SpectralOptimalTransportLoss(None, p, normalize, balanced)
    solve = jax.jit(jax.value_and_grad(loss, (0, 1)))
    n_two_sided = n_kinks = n_empty = 0
    for name, (x8, y8) in CASES.items():
        x, y = ([Fraction(a, 8) for a in row] for row in (x8, y8))
        f = partial(exact_loss, p=p, normalize=normalize, balanced=balanced)
        columns = [jnp.array(row, float)[:, None] for row in (x, y)]
        value, gradients = solve(*columns)
        np.testing.assert_allclose(value, float(f(x, y)), rtol=1e-13, err_msg=name)
        for which, row in enumerate((x, y)):
            for k, slope in enumerate(gradients[which][:, 0]):
                where = f"{name}, {'xy'[which]}[{k}]"
                right = one_sided(x, y, which, k, 1, f)
                if row[k] == 0:
                    # What is best for the kinks elsewhere can only be too low here.
                    assert slope <= right + 1e-12, where
                    n_empty += 1
                    continue
                left = one_sided(x, y, which, k, -1, f)
                assert left - 1e-12 <= slope <= right + 1e-12, where
                n_kinks += right - left > 1e-9
                n_two_sided += right - left <= 1e-9
    assert n_two_sided > 20 and n_kinks > 5 and n_empty > 20


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("p", ORDERS)
def test_empty_bins_have_the_derivative_upwards(p, normalize):
    """Where no breakpoints meet, on top, below and in between."""
    x8, y8 = [0, 5, 0, 0, 7, 0, 1, 0, 0], [0, 0, 2, 0, 6, 3, 0, 0, 0]
    x, y = ([Fraction(a, 8) for a in row] for row in (x8, y8))
    f = partial(exact_loss, p=p, normalize=normalize, balanced=True)
    loss = ke.SpectralOptimalTransportLoss(None, p, normalize)
    columns = [jnp.array(row, float)[:, None] for row in (x, y)]
    for which, gradient in enumerate(jax.grad(loss, (0, 1))(*columns)):
        right = [one_sided(x, y, which, k, 1, f) for k in range(len(x))]
        if p == 1:
            # Beyond all mass the cumulative masses meet: the mean of both sides.
            filled = [k for k in range(len(x)) if x[k] or y[k]]
            inner = slice(filled[0], filled[-1] + 1)
            right, gradient = right[inner], gradient[inner]
        np.testing.assert_allclose(gradient[:, 0], right, rtol=1e-12, atol=1e-13)


def test_gradient_without_normalisation_of_a_spectrum_with_empty_top():
    x, y = jnp.array([[0.75], [0], [0]]), jnp.array([[0.0], [0.75], [0]])
    loss = ke.SpectralOptimalTransportLoss(p=2, normalize=False)
    # All of it moves by a third; more of it anywhere costs by how far it would move.
    gradient = jax.grad(loss)(x, y)[:, 0]
    np.testing.assert_allclose(gradient, [1 / 9, 0, 1 / 9], atol=1e-15)
