r"""Distances of signals in time, one number for each signal.

Every function takes estimates x and targets y of shape `(*rows, n_samples)`, and `n`,
how many samples of each row count: an int, or a floating array of shape `(*rows,)`.
Samples beyond must be zero in both. They are then no different from samples that are
not there: where a formula would make something of a zero (the mean that is taken away,
the logarithm of a cosh) it is written so that it does not. A row of no samples gives a
finite number.

Quotients and logarithms have derivative rules of their own, which divide by a
denominator twice rather than by its square. A square of an energy leaves the range of
single precision already at signals of 1e10, and the derivative would be zero or NaN.
An energy that is itself out of range, from signals of about 1e16 on, or an infinite
sample makes what is divided by it NaN: never 0, which would be a perfect score.
"""

import functools
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._bounds import SILENT, UNBOUNDED, Bounds, bounded
from ._safe import in_range, magnitude, reciprocal_or_zero

Samples = Float[Array, "*rows n_samples"]
Row = Float[Array, "*rows"]
Count = int | Float[Array, "*rows"]
# Where the epsilon of a ratio in dB stands: see `_negated_decibels`.
EpsMode = Literal["denominator", "both", "relative"]
EPS_MODES: tuple[EpsMode, ...] = ("denominator", "both", "relative")

_DB = 10.0 / math.log(10.0)


def waveform_l1(x: Samples, y: Samples, n: Count) -> Row:
    r"""Return $\frac1n \sum |x - y|$. The derivative is 0 where $x = y$."""
    return _mean(_distance(x, y), n)


def waveform_l2(x: Samples, y: Samples, n: Count) -> Row:
    r"""Return $\frac1n \sum (x - y)^2$."""
    return _mean(jnp.square(x - y), n)


def error_to_signal(x: Samples, y: Samples, n: Count, eps: float = 1e-8) -> Row:
    r"""Return $\sum (y - x)^2 / (\sum y^2 + \epsilon)$.

    A quotient beyond an eighth of the dtype's largest number counts as that.
    """
    del n  # of both sums the same
    return _ratio(_energy(x - y), _energy(y) + _floored(eps, y))


def dc_error(x: Samples, y: Samples, n: Count, eps: float = 1e-8) -> Row:
    r"""Return $m^2 / (\frac1n \sum y^2 + \epsilon)$, $m = \frac1n \sum (y - x)$.

    A quotient beyond an eighth of the dtype's largest number counts as that.
    """
    offset = in_range(jnp.square(_mean(y - x, n)))
    return _ratio(offset, _power(y, n) + _floored(eps, y))


def log_cosh(
    x: Samples,
    y: Samples,
    n: Count,
    a: float | Float[Array, ""] = 1.0,
    eps: float = 1e-8,
) -> Row:
    r"""Return $\frac1n \sum \frac1a \ln(\cosh(a (x - y)) + \epsilon)$.

    For equal signals this is $\ln(1 + \epsilon)/a$ and not 0. The $\epsilon$ is of no
    use, as a cosh is never below 1; it is auraloss's. Where that overflows, in single
    precision from $a|x - y| = 89$ on, this is $|x - y| - \ln(2)/a$ to rounding.
    """
    a = jnp.asarray(a, x.dtype)
    terms = _log_cosh_above_least(a * (x - y), eps)
    return (_mean(terms, n) + math.log1p(eps)) / a


def snr(
    x: Samples,
    y: Samples,
    n: Count,
    zero_mean: bool = True,
    eps: float = 1e-8,
    eps_mode: EpsMode = "denominator",
    bounds: Bounds = UNBOUNDED,
) -> Row:
    r"""Return $-10 \log_{10}(\sum y^2 / (\sum (x - y)^2 + \epsilon) + \epsilon)$, dB.

    With `zero_mean`, of signals whose means are taken away; with `bounds`, limited.
    """
    u = bounds.mixture
    is_silent = _is_silent(y, u, n, zero_mean)
    if eps_mode == "relative":
        x, y, u = _at_one_level(x, y, u)
    error = x - y
    if zero_mean:
        error, y, u = (_centred(s, n) for s in (error, y, u))
    energies = bounded(_energy(y), _energy(error), _energy(u), is_silent, bounds)
    return _negated_decibels(*energies, eps, eps_mode)


def si_sdr(
    x: Samples,
    y: Samples,
    n: Count,
    zero_mean: bool = True,
    eps: float = 1e-8,
    eps_mode: EpsMode = "denominator",
    bounds: Bounds = UNBOUNDED,
) -> Row:
    r"""Return $-10 \log_{10}(\sum t^2 / (\sum (x - t)^2 + \epsilon) + \epsilon)$, dB.

    $t = \alpha y$ with $\alpha = \sum x y / (\sum y^2 + \epsilon)$ is the part of x
    that is y. With `zero_mean`, of signals whose means are taken away; with `bounds`,
    limited.
    """
    u = bounds.mixture
    is_silent = _is_silent(y, u, n, zero_mean)
    if eps_mode == "relative":
        # Only silence is measured by the level of the mixture.
        u = None if u is None else jnp.where(is_silent[..., None], u, 0)
        x, u = _at_one_level(x, u)
        (y,) = _at_one_level(y)
    if zero_mean:
        x, y, u = (_centred(s, n) for s in (x, y, u))
    alpha, energy = _projection(x, y, eps, eps_mode)
    error = _energy(x - alpha[..., None] * y)
    energies = bounded(energy, error, _energy(u), is_silent, bounds)
    return _negated_decibels(*energies, eps, eps_mode)


def sd_sdr(
    x: Samples,
    y: Samples,
    n: Count,
    zero_mean: bool = True,
    eps: float = 1e-8,
    eps_mode: EpsMode = "denominator",
    bounds: Bounds = UNBOUNDED,
) -> Row:
    r"""Return $-10 \log_{10}(\sum t^2 / (\sum (x - y)^2 + \epsilon) + \epsilon)$, dB.

    $t$ and `zero_mean` as in `si_sdr`; the error counts a wrong level too.
    """
    u = bounds.mixture
    is_silent = _is_silent(y, u, n, zero_mean)
    if eps_mode == "relative":
        x, y, u = _at_one_level(x, y, u)
    error = x - y
    if zero_mean:
        x, y, error, u = (_centred(s, n) for s in (x, y, error, u))
    _, energy = _projection(x, y, eps, eps_mode)
    energies = bounded(energy, _energy(error), _energy(u), is_silent, bounds)
    return _negated_decibels(*energies, eps, eps_mode)


def l1_snr(x: Samples, y: Samples, n: Count, eps: float = 1e-3) -> Row:
    r"""Return $10 \log_{10}((\mu_{|x - y|} + \epsilon) / (\mu_{|y|} + \epsilon))$, dB.

    $\mu$ is the mean over the samples. The derivative of $|u|$ at 0 is 0.
    """
    eps = _floored(eps, y)
    error, target = _mean(_distance(x, y), n), _mean(magnitude(y), n)
    return _decibels(in_range(error) + eps, in_range(target) + eps)


def level_penalty(
    x: Samples,
    y: Samples,
    n: Count,
    least: float = 0.1,
    extra: float = 0.9,
    silence_db: float = -60.0,
    eps: float = 1e-8,
) -> Row:
    r"""Return $\lambda |L_x - L_y|$, where $L_x = 10 \log_{10}(P_x + \epsilon)$, dB.

    $P_x$ is the mean of $x^2$. $\lambda$ is `least`; for an estimate that is too quiet,
    $L_y > \max(L_x, L_0)$ with $L_0$ = `silence_db`, it is more by `extra` times
    $\min(|L_x - L_y| / (L_y - L_0), 1)$. It counts as a constant and has no derivative.
    That of the absolute value is 0 at equal levels.
    """
    eps = _floored(eps, y)
    power_x, power_y = _power(x, n) + eps, _power(y, n) + eps
    difference = magnitude(_decibels(power_x, power_y))
    level_x, level_y = _DB * jnp.log(power_x), _DB * jnp.log(power_y)
    is_quiet = level_y > jnp.maximum(level_x, silence_db)
    range_db = jnp.where(is_quiet, level_y - silence_db, 1.0)
    share = jnp.where(is_quiet, jnp.minimum(difference / range_db, 1.0), 0.0)
    return jax.lax.stop_gradient(least + extra * share) * difference


@jax.custom_jvp
def _distance(x: Samples, y: Samples) -> Samples:
    """Return $|x - y|$, with derivative 0 where $x = y$."""
    return jnp.abs(x - y)


@_distance.defjvp
def _distance_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    # By the other difference: XLA would keep a common one, a signal of memory, that
    # two loops read.
    return _distance(x, y), jnp.sign(y - x) * (dy - dx)


def _count(n: Count, dtype: jnp.dtype) -> Array:
    """`n` as a number to divide by: that of a row of no samples is 1."""
    return jnp.maximum(jnp.asarray(n, dtype), 1)


def _mean(x: Samples, n: Count) -> Row:
    return jnp.sum(x, axis=-1) / _count(n, x.dtype)


def _energy(x: Any) -> Any:
    return None if x is None else in_range(jnp.sum(jnp.square(x), axis=-1))


def _power(x: Samples, n: Count) -> Row:
    return _energy(x) / _count(n, x.dtype)


def _centred(x: Any, n: Count) -> Any:
    """Take the mean away from the samples that count; the others stay 0."""
    if x is None:
        return None
    centred = x - _mean(x, n)[..., None]
    if isinstance(n, int) and n == x.shape[-1]:
        return centred
    count = jnp.asarray(n, jnp.int32)[..., None]
    index = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
    return jnp.where(index < count, centred, 0)


def _at_one_level(*signals: Any) -> tuple[Any, ...]:
    """Return signals by their common peak, which counts as a constant.

    Of a function that no common factor changes the derivative is right all the same,
    and squares of signals of any level are in range. Silence stays silence.
    """
    return _by_peak(_peak(*signals), *signals)


def _peak(*signals: Any) -> Row:
    found = [s for s in signals if s is not None]
    peaks = [jnp.max(jnp.abs(jax.lax.stop_gradient(s)), -1) for s in found]
    return in_range(functools.reduce(jnp.maximum, peaks))


def _by_peak(peak: Row, *signals: Any) -> tuple[Any, ...]:
    factor = reciprocal_or_zero(peak)[..., None]
    return tuple(None if s is None else s * factor for s in signals)


def _is_silent(y: Samples, u: Any, n: Count, zero_mean: bool) -> Any:
    """Whether targets have next to none of the energy of their mixture."""
    if u is None:
        return None
    y, u = _at_one_level(y, u)
    if zero_mean:
        y, u = _centred(y, n), _centred(u, n)
    return _energy(y) <= SILENT * _energy(u)


def _projection(
    x: Samples, y: Samples, eps: float, eps_mode: EpsMode
) -> tuple[Row, Row]:
    r"""Return $\alpha$ and the energy of $\alpha y$.

    Not $\alpha^2$ times an energy: that square may overflow where the product does not.
    """
    energy = _energy(y)
    product = in_range(jnp.sum(x * y, axis=-1))
    if eps_mode == "both":
        product = product + _floored(eps, y)
    eps = 0.0 if eps_mode == "relative" else eps
    alpha = _ratio(product, energy + _floored(eps, y))
    return alpha, alpha * (alpha * energy)


def _negated_decibels(signal: Row, error: Row, eps: float, eps_mode: EpsMode) -> Row:
    """Return the ratio of two energies in dB, negated, for an epsilon that may be 0.

    It is added to the error and to the quotient (`"denominator"`), to both energies
    (`"both"`), or to both times their sum (`"relative"`).
    """
    eps = _floored(eps, signal)
    if eps_mode == "denominator":
        return _negated_ratio_decibels(signal, error, eps)
    if eps_mode == "both":
        return _decibels(error + eps, signal + eps)
    total = signal + error
    floor = eps * jnp.where(total > 0, total, 1)
    return _decibels(error + floor, signal + floor)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _negated_ratio_decibels(signal: Row, error: Row, eps: float) -> Row:
    r"""Return $-10 \log_{10}(s/(e + \epsilon) + \epsilon)$ of two energies.

    As a quotient of $e + \epsilon$ and $s + \epsilon(e + \epsilon)$, since the quotient
    of the formula may overflow while its logarithm does not. By the chain rule the
    derivative for e would be a difference of equal numbers where the target is silent.
    """
    error = error + eps
    return _decibels(error, signal + eps * error)


@_negated_ratio_decibels.defjvp
def _negated_ratio_decibels_jvp(eps, primals, tangents):
    (s, e), (ds, de) = primals, tangents
    total = s + eps * (e + eps)
    change = s / total * (de / (e + eps)) - ds / total
    return _negated_ratio_decibels(s, e, eps), _DB * change


def _floored(eps: float, like: Array) -> float:
    """`eps`, or the least number whose square is not 0, so that no quotient is 0/0."""
    return max(eps, math.sqrt(jnp.finfo(like.dtype).tiny))


@jax.custom_jvp
def _ratio(a: Row, b: Row) -> Row:
    """Return `a / b`, at most about the dtype's largest number; NaN stays."""
    return _at_most_largest(a / b)


@_ratio.defjvp
def _ratio_jvp(primals, tangents):
    (a, b), (da, db) = primals, tangents
    q = _ratio(a, b)
    # Clipped as well, since it meets derivatives that are 0 at silence.
    return q, da / b - _at_most_largest(q / b) * db


def _at_most_largest(q: Row) -> Row:
    """An eighth of it: what is multiplied next must not overflow before a 0 does."""
    largest = float(jnp.finfo(q.dtype).max) / 8
    return jnp.where(q > largest, largest, q)


def _decibels(a: Row, b: Row) -> Row:
    """Return `10 log10(a / b)`, as `log_ratio`."""
    return _DB * log_ratio(a, b)


@jax.custom_jvp
def log_ratio(a: Row, b: Row) -> Row:
    """Return `ln(a / b)` of positive numbers whose quotient may overflow.

    Of equal numbers exactly 0, which XLA's way to divide by a root need not give.
    """
    return jnp.where(a == b, 0, 2.0 * jnp.log(jnp.sqrt(a) / jnp.sqrt(b)))


@log_ratio.defjvp
def _log_ratio_jvp(primals, tangents):
    (a, b), (da, db) = primals, tangents
    return log_ratio(a, b), da / a - db / b


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _log_cosh_above_least(u: Samples, eps: float) -> Samples:
    r"""Return $\ln((\cosh u + \epsilon)/(1 + \epsilon))$: 0 at 0, at any u finite.

    Small u by $\cosh u - 1 = 2 \sinh^2(u/2)$, which loses no digits, large u by
    $\cosh u = e^{|u|} (1 + e^{-2|u|})/2$, which does not overflow.
    """
    size = jnp.abs(u)
    is_small = size < 1
    small = jnp.sinh(jnp.where(is_small, size, 0) / 2)
    near = jnp.log1p(2 * jnp.square(small) / (1 + eps))
    falling = jnp.exp(-size)
    far = size + jnp.log((1 + jnp.square(falling)) / 2 + eps * falling)
    return jnp.where(is_small, near, far - math.log1p(eps))


@_log_cosh_above_least.defjvp
def _log_cosh_jvp(eps, primals, tangents):
    ((u,), (du,)) = primals, tangents
    falling = jnp.exp(-magnitude(u))
    inverse_cosh = 2 * falling / (1 + jnp.square(falling))
    slope = jnp.tanh(u) / (1 + eps * inverse_cosh)
    return _log_cosh_above_least(u, eps), slope * du
