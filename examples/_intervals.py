"""95 % confidence intervals of what the examples measure."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import stats

LEVEL = 0.95


def of_share(count: int, trials: int) -> tuple[float, float]:
    """The interval of a share of independent trials (Wilson 1927)."""
    interval = stats.binomtest(count, trials).proportion_ci(LEVEL, "wilson")
    return float(interval.low), float(interval.high)


def of_mean(values: Sequence[float]) -> tuple[float, float]:
    """The interval of the mean of independent values (Student's t); NaN for one."""
    n = len(values)
    if n < 2:
        return float("nan"), float("nan")
    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(n)
    reach = stats.t.ppf(0.5 + LEVEL / 2, n - 1) * error
    return float(mean - reach), float(mean + reach)


def bootstrapped(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """The interval of the mean: percentiles of 2000 resamplings (Efron 1979)."""
    draws = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(values[draws].mean(axis=1), (tail, 100 - tail))
    return float(low), float(high)
