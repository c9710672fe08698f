"""Which cases of a test run by default: some, spread over all, not always the same."""

import math

SHARE = 8


def of(n_cases: int, start: int, most: int) -> range:
    """One case in `SHARE`, at most `most` and at least one. All starts make up all."""
    step = max(SHARE, math.ceil(n_cases / most))
    return range(start % min(step, n_cases), n_cases, step)
