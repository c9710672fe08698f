r"""Distances of signals in time, one number for each signal.

Every function takes estimates x and targets y of shape `(*rows, n_samples)`, and `n`,
the length of each row: an int, or a floating array of shape `(*rows,)`. Samples beyond
the length must be zero in both, and do not change the result: where zeros would add
something (after subtracting the mean, or in the logarithm of a cosh), the formula is
written so that they do not. A row of length 0 gives a finite number.

Quotients and logarithms have derivative rules of their own, which divide by a
denominator twice instead of by its square. The square of an energy overflows in single
precision for signals of 1e10 already, and the derivative would be zero or NaN. If the
energy itself is out of range, for signals above about 1e16 or an infinite sample, the
quotient is NaN: never 0, which would be a perfect score.
"""

import functools
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._bounds import SILENT, UNBOUNDED, Bounds, bounded
from ._safe import difference, in_range, magnitude, reciprocal_or_zero

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

    A quotient is limited to an eighth of the dtype's largest number.
    """
    del n  # cancels in the quotient
    return _ratio(_energy(x - y), _energy(y) + _floored(eps, y))


def dc_error(x: Samples, y: Samples, n: Count, eps: float = 1e-8) -> Row:
    r"""Return $m^2 / (\frac1n \sum y^2 + \epsilon)$, $m = \frac1n \sum (y - x)$.

    A quotient is limited to an eighth of the dtype's largest number.
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

    For equal signals this is $\ln(1 + \epsilon)/a$ and not 0. The $\epsilon$ comes from
    auraloss; it is not needed, as a cosh is never below 1. Where the cosh overflows, in
    single precision from $a|x - y| = 89$ on, a term is $|x - y| - \ln(2)/a$ up to
    rounding.
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

    With `zero_mean` the means are subtracted first. `bounds` limit the ratio.
    """
    u = bounds.mixture
    is_silent = _is_silent(y, u, n, zero_mean)
    error = x - y
    if eps_mode == "relative":
        error, y, u = _by_peak(_peak(x, y, u), error, y, u)
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
    that is y. With `zero_mean` the means are subtracted first. `bounds` limit the
    ratio.
    """
    u = bounds.mixture
    is_silent = _is_silent(y, u, n, zero_mean)
    if eps_mode == "relative":
        u = _where_silent(is_silent, u)
        x, u = _at_one_level(x, u)
        (y,) = _at_one_level(y)
    if zero_mean:
        x, y, u = (_centred(s, n) for s in (x, y, u))
    alpha, energy = _projection(x, y, eps, eps_mode)
    error = _energy(difference(x, alpha[..., None] * y))
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

    $t$ and `zero_mean` are as in `si_sdr`. A wrong level adds to the error, too.
    """
    u = bounds.mixture
    is_silent = _is_silent(y, u, n, zero_mean)
    error = x - y
    if eps_mode == "relative":
        u = _where_silent(is_silent, u)
        x, error, u = _by_peak(_peak(x, y, u), x, error, u)
        (y,) = _at_one_level(y)
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

    $P_x$ is the mean of $x^2$. $\lambda$ is `least`, plus `extra` times
    $\min(|L_x - L_y| / (L_y - L_0), 1)$ for an estimate that is too quiet:
    $L_y > \max(L_x, L_0)$ with $L_0$ = `silence_db`. $\lambda$ is treated as a
    constant. The derivative of the absolute value is 0 at equal levels.
    """
    eps = _floored(eps, y)
    power_x, power_y = _power(x, n) + eps, _power(y, n) + eps
    gap = magnitude(_decibels(power_x, power_y))
    level_x, level_y = _DB * jnp.log(power_x), _DB * jnp.log(power_y)
    is_quiet = level_y > jnp.maximum(level_x, silence_db)
    range_db = jnp.where(is_quiet, level_y - silence_db, 1.0)
    share = jnp.where(is_quiet, jnp.minimum(gap / range_db, 1.0), 0.0)
    return jax.lax.stop_gradient(least + extra * share) * gap


@jax.custom_jvp
def _distance(x: Samples, y: Samples) -> Samples:
    """Return $|x - y|$, with derivative 0 where $x = y$."""
    return jnp.abs(x - y)


@_distance.defjvp
def _distance_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    # `y - x` and not `x - y`: XLA would store a difference that two loops share, which
    # takes the memory of a signal.
    return _distance(x, y), jnp.sign(y - x) * (dy - dx)


def _count(n: Count, dtype: jnp.dtype) -> Array:
    return jnp.maximum(jnp.asarray(n, dtype), 1)  # divided by


def _mean(x: Samples, n: Count) -> Row:
    return jnp.sum(x, axis=-1) / _count(n, x.dtype)


def _energy(x: Any) -> Any:
    return None if x is None else in_range(jnp.sum(jnp.square(x), axis=-1))


def _power(x: Samples, n: Count) -> Row:
    return _energy(x) / _count(n, x.dtype)


def _centred(x: Any, n: Count) -> Any:
    """Subtract the mean of the valid samples, a single one exactly; padding stays 0."""
    if x is None:
        return None
    if isinstance(n, int) and n == x.shape[-1]:
        # Scaled before it is added up: on GPU a mean is then no kernel of its own.
        return x - jnp.sum(x * (1 / n), axis=-1, keepdims=True)
    centred = difference(*jnp.broadcast_arrays(x, _mean(x, n)[..., None]))
    index = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
    within = index < jnp.asarray(n, jnp.int32)[..., None]
    return jnp.where(within, centred, 0)


def _at_one_level(*signals: Any) -> tuple[Any, ...]:
    """Return signals divided by their common peak, which is treated as a constant.

    Squares of signals of any level are then in range. For functions that do not depend
    on a common factor, the derivative is still right. Silence stays silence. Subtract
    signals first: XLA may fuse product and difference, and equal signals then differ.
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
    """Whether targets have almost none of the energy of their mixture."""
    if u is None:
        return None
    y, u = _at_one_level(y, u)
    if zero_mean:
        y, u = _centred(y, n), _centred(u, n)
    return ~(_energy(y) > SILENT * _energy(u))  # True for NaN, to pass it on


def _where_silent(is_silent: Any, u: Any) -> Any:
    """Return the mixture where its level matters, else 0."""
    return None if u is None else jnp.where(is_silent[..., None], u, 0)


def _projection(
    x: Samples, y: Samples, eps: float, eps_mode: EpsMode
) -> tuple[Row, Row]:
    r"""Return $\alpha$ and the energy of $\alpha y$.

    Not computed as $\alpha^2$ times the energy of y: the square may overflow first.
    """
    energy = _energy(y)
    product = in_range(jnp.sum(x * y, axis=-1))
    if eps_mode == "both":
        product = product + _floored(eps, y)
    eps = 0.0 if eps_mode == "relative" else eps
    alpha = _ratio(product, energy + _floored(eps, y))
    return alpha, alpha * (alpha * energy)


def _negated_decibels(signal: Row, error: Row, eps: float, eps_mode: EpsMode) -> Row:
    """Return the negated ratio of two energies in dB; the epsilon may be 0.

    The epsilon is added to the error and to the quotient (`"denominator"`), or to both
    energies (`"both"`), or times their sum to both energies (`"relative"`).
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

    Computed from the quotient of $e + \epsilon$ and $s + \epsilon(e + \epsilon)$:
    the formula's quotient may overflow while its logarithm does not. The derivative has
    a rule of its own: for a silent target, the chain rule would make the derivative
    w.r.t. e a difference of equal numbers.
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
    """`eps`, but at least the smallest number with a normal square: avoids 0/0."""
    return max(eps, math.sqrt(jnp.finfo(like.dtype).tiny))


@jax.custom_jvp
def _ratio(a: Row, b: Row) -> Row:
    """Return `a / b`, limited to a part of the dtype's largest number; NaN stays."""
    return _at_most_largest(a / b)


@_ratio.defjvp
def _ratio_jvp(primals, tangents):
    (a, b), (da, db) = primals, tangents
    q = _ratio(a, b)
    # Limited as well: at silence it is multiplied by derivatives that are 0.
    return q, da / b - _at_most_largest(q / b) * db


def _at_most_largest(q: Row) -> Row:
    """Limit q to an eighth of the largest number, so that a factor does not make it
    infinite before it is multiplied by 0."""
    largest = float(jnp.finfo(q.dtype).max) / 8
    return jnp.where(q > largest, largest, q)


def _decibels(a: Row, b: Row) -> Row:
    """Return `10 log10(a / b)`, as `log_ratio`."""
    return _DB * log_ratio(a, b)


@jax.custom_jvp
def log_ratio(a: Row, b: Row) -> Row:
    """Return `ln(a / b)` of positive numbers whose quotient may overflow.

    Exactly 0 for equal numbers, which XLA's division by a root does not guarantee.
    """
    return jnp.where(a == b, 0, 2.0 * jnp.log(jnp.sqrt(a) / jnp.sqrt(b)))


@log_ratio.defjvp
def _log_ratio_jvp(primals, tangents):
    (a, b), (da, db) = primals, tangents
    return log_ratio(a, b), da / a - db / b


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _log_cosh_above_least(u: Samples, eps: float) -> Samples:
    r"""Return $\ln((\cosh u + \epsilon)/(1 + \epsilon))$: 0 at 0, finite for any u.

    Small u use $\cosh u - 1 = 2 \sinh^2(u/2)$, which does not cancel, and large u
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
