"""Which cases of a test run by default: a sample spread over all, which can vary."""

import math
import os

import pytest

SHARE = 8
# Whether all cases run; the largest number of cases of a test; which sample runs.
RUNS_ALL = os.environ.get("KORVAX_EQX_ALL") == "1"
MOST = int(os.environ.get("KORVAX_EQX_MOST", "1"))
SLICE = int(os.environ.get("KORVAX_EQX_SLICE", "0"))

# Random configurations: some by default, the rest with the tests that take long.
BY_SEEDS = pytest.mark.parametrize(
    "seeds",
    [range(12), pytest.param(range(12, 50), marks=pytest.mark.long)],
    ids=["some", "rest"],
)


def of(n_cases: int, start: int, most: int) -> range:
    """Every `SHARE`th case, at least one and at most `most`. All `start`s cover all."""
    step = max(SHARE, math.ceil(n_cases / most))
    return range(start % min(step, n_cases), n_cases, step)
