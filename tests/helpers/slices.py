"""Which cases of a test run by default: some, spread over all, not always the same."""

import math
import os

SHARE = 8
# Every case of every test; of how many cases at most; and which choice of them.
RUNS_ALL = os.environ.get("KORVAX_EQX_ALL") == "1"
MOST = int(os.environ.get("KORVAX_EQX_MOST", "4"))
SLICE = int(os.environ.get("KORVAX_EQX_SLICE", "0"))


def of(n_cases: int, start: int, most: int) -> range:
    """One case in `SHARE`, at most `most` and at least one. All starts make up all."""
    step = max(SHARE, math.ceil(n_cases / most))
    return range(start % min(step, n_cases), n_cases, step)
